/** The generator must not flatter: each way of an answer to go wrong, and of a server to be slow. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { isLoopback, type LoadJob, startLoad } from './load.ts';
import { answer, incomplete, malformed, readAnswer } from './load-answer.ts';
import { requestFactory } from './load-request.ts';
import { runLoad } from './load-run.ts';

const accepted = 'HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nX: y\r\n\r\nok';

/** A server that hands each whole request (head and body of a POST) to `reply`. */
async function startServer(reply: (socket: Socket, request: string, count: number) => void) {
  let count = 0;
  const requests: string[] = [];
  const server = createServer({ noDelay: true }, (socket) => {
    let text = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      text += chunk;
      const head = text.indexOf('\r\n\r\n');
      const length = Number(/content-length: (\d+)/.exec(text)?.[1] ?? 0);
      if (head < 0 || text.length < head + 4 + length) return;
      requests.push(text);
      reply(socket, text, ++count);
      text = '';
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert(address !== null && typeof address === 'object');
  return {
    port: address.port,
    requests,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}

function job(port: number, changes: Partial<LoadJob> = {}): LoadJob {
  return {
    host: '127.0.0.1',
    port,
    mode: 'open',
    ratePerSecond: 200,
    connections: 4,
    warmupSeconds: 0,
    seconds: 0.5,
    graceSeconds: 0.3,
    timeoutMs: 5000,
    pollMs: 0.5,
    requests: [{ method: 'POST', path: '/x', body: '{"id":"<<n>>","to":"<<user>>"}' }],
    firstNumber: 40,
    users: 10,
    ...changes,
  };
}

test('numbers and users are patched in place and keep the length', () => {
  const build = requestFactory([{ method: 'POST', path: '/é', body: 'ü<<n>> <<user>>' }], 'h', 7)();
  const first = build(12).toString();
  assert.match(first, /content-length: 21\r\n\r\nü0000000012 0000000[0-6]$/);
  assert.match(build(4_294_967_299).toString(), /ü4294967299 /);
  assert.equal(build(12).toString(), first);
  const keyed = requestFactory([{ method: 'GET', path: '/<<key>>' }], 'h', 7)();
  const keys = new Set([...Array(5000).keys()].map((n) => keyed(n).toString()));
  assert.equal(keys.size, 5000);
});

test('an answer is read at any length, and what is not plain is malformed', () => {
  const read = (text: string) => readAnswer(Buffer.from(text), Buffer.byteLength(text));
  for (let length = 0; length < accepted.length; length++) {
    assert.equal(read(accepted.slice(0, length)), incomplete, `${length} bytes`);
  }
  assert.equal(read(`${accepted}more`), accepted.length);
  assert.deepEqual(answer, { status: 202, closes: false });
  assert.equal(read('HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n'), 46);
  assert.deepEqual(answer, { status: 204, closes: true });
  const wrong = [
    'HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'HTTP/1.1 202 Accepted\r\n\r\n',
    'HTTP/1.1 202 Accepted\r\nContent-Length: 1x\r\n\r\n1',
    'HTTP/1.1 202 Accepted\r\nContent-Length: \r\n\r\n',
    'HTTP/1.1 202 Accepted\r\nContent-Length: 99999999\r\n\r\n',
    'HTTP/1.1 100 Continue\r\n\r\n',
    'HTTP/1.0 202 Accepted\r\nContent-Length: 2\r\n\r\nok',
    'SSH-2.0-OpenSSH_9.9\r\n',
  ];
  for (const text of wrong) assert.equal(read(text), malformed, text);
});

test('it refuses to send anywhere but to loopback', async () => {
  for (const host of ['127.0.0.1', '127.8.8.8', '::1']) assert(isLoopback(host));
  for (const host of ['10.0.0.1', 'localhost', '127.0.0.1.example', '::', '0.0.0.0']) {
    assert(!isLoopback(host), host);
  }
  await assert.rejects(startLoad(job(1, { host: '192.0.2.1' })), /loopback only/);
});

test('it keeps its schedule, and every request is another one', async () => {
  await using server = await startServer((socket) => {
    // In three parts, so that answers are put together; chained, since late timers change places.
    socket.write(accepted.slice(0, 5));
    setTimeout(() => {
      socket.write(accepted.slice(5, 40));
      setTimeout(() => socket.write(accepted.slice(40)), 2);
    }, 2);
  });
  const result = await runLoad(job(server.port, { graceSeconds: 10 }));
  assert.equal(result.sent, 100);
  assert.equal(result.accepted, 100);
  assert.deepEqual(result.statuses, { 202: 100 });
  assert(result.latency.p50Ms >= 3.5, `${result.latency.p50Ms} ms`);
  const ids = server.requests.map((text) => Number(/"id":"(\d{10})"/.exec(text)?.[1]));
  assert.deepEqual(
    ids.toSorted((a, b) => a - b),
    [...Array(100).keys()].map((k) => 40 + k),
  );
});

test('a stall is charged to every request that was due in it', async () => {
  let stalledUntilMs = 0;
  await using server = await startServer((socket, _request, count) => {
    if (count === 100) stalledUntilMs = performance.now() + 200;
    setTimeout(() => socket.write(accepted), Math.max(0, stalledUntilMs - performance.now()));
  });
  const result = await runLoad(
    job(server.port, { ratePerSecond: 1000, seconds: 1, graceSeconds: 10 }),
  );
  assert.equal(result.latency.count, 1000);
  // A fifth of the requests falls into the stall and waits for half of it on average.
  const { p90Ms, p99Ms } = result.latency;
  assert(p90Ms > 70 && p99Ms > 170, JSON.stringify(result.latency));
  assert(result.queued > 150, `${result.queued} queued`);
});

test('what is never answered counts with the time it waited', async () => {
  await using server = await startServer((socket, _request, count) => {
    if (count <= 20) socket.write(accepted);
  });
  const result = await runLoad(job(server.port));
  assert.equal(result.statuses[202], 20);
  assert.equal(result.failures.unanswered, 80);
  assert.equal(result.latency.count, 100);
  assert(result.latency.p99Ms > 600, `${result.latency.p99Ms} ms`);
});

test('lost connections, time-outs and strange answers are failures, and it carries on', async () => {
  await using server = await startServer((socket, _request, count) => {
    if (count === 5) socket.destroy();
    else if (count === 10)
      socket.write('HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n');
    else if (count === 15) socket.write(`${accepted}${accepted}`);
    else if (count === 20) socket.write(accepted.replace('X: y', 'Connection: close'));
    else if (count === 25) socket.write(accepted.replace('202', '503'));
    else if (count !== 30) socket.write(accepted);
  });
  const result = await runLoad(
    job(server.port, { timeoutMs: 800, graceSeconds: 10, connections: 2 }),
  );
  const { closed, protocol, timeout, unanswered } = result.failures;
  assert.deepEqual([closed, protocol, timeout, unanswered], [1, 2, 1, 0]);
  assert.deepEqual(result.statuses, { 202: 95, 503: 1 });
});

test('a closed loop keeps one request in flight per connection', async () => {
  let [inFlight, most] = [0, 0];
  await using server = await startServer((socket) => {
    most = Math.max(most, ++inFlight);
    setTimeout(() => {
      inFlight--;
      socket.write(accepted);
    }, 5);
  });
  const result = await runLoad(job(server.port, { mode: 'closed', connections: 7 }));
  assert.equal(most, 7);
  assert.equal(result.accepted, result.sent);
  const limited = await startLoad(
    job(server.port, { mode: 'closed', seconds: 30, maxRequests: 50 }),
  );
  assert.equal(limited.accepted, 50);
  assert(limited.seconds < 25);
});
