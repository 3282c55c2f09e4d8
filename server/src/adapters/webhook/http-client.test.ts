import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, test } from 'node:test';
import tls from 'node:tls';
import {
  type Answer,
  type HttpReceiver,
  makeCertificate,
  startHttpReceiver,
} from '../../../test/support/http-receiver.ts';
import { type AddressGuardOptions, createAddressGuard, type ResolveAll } from './address-guard.ts';
import {
  ANSWER_LIMIT_BYTES,
  createHttpClient,
  type Exchange,
  type HttpClient,
} from './http-client.ts';

const HOST = 'hooks.example.com';
const certificate = makeCertificate(HOST);
tls.setDefaultCACertificates([...tls.getCACertificates('default'), certificate.cert]);

/** Every name is this machine, as for a receiver behind a public name. */
const here: ResolveAll = (_hostname, _options, callback) =>
  callback(null, [{ address: '127.0.0.1', family: 4 }]);
const own: AddressGuardOptions = { allowedNetworks: ['127.0.0.1/32'], lookup: here };
/** Far longer than any of these tests takes; those about the limit set their own. */
const NEVER_MS = 30_000;

function openClient(
  options: { guard?: AddressGuardOptions; timeoutMs?: number; maxConnectionsPerHost?: number } = {},
): HttpClient & Disposable {
  const client = createHttpClient({
    guard: createAddressGuard(options.guard ?? own),
    timeoutMs: options.timeoutMs ?? NEVER_MS,
    maxConnectionsPerHost: options.maxConnectionsPerHost ?? 4,
  });
  return Object.assign(client, { [Symbol.dispose]: () => client.close() });
}

function post(client: HttpClient, url: string, signal = new AbortController().signal) {
  const headers = { 'content-type': 'application/json', 'x-test': 'yes' };
  return client.post(new URL(url), { headers, body: '{"a":"é"}' }, signal);
}

function answered(exchange: Exchange): Exchange & { kind: 'answer' } {
  assert.equal(exchange.kind, 'answer', JSON.stringify(exchange));
  return exchange as Exchange & { kind: 'answer' };
}

function failed(exchange: Exchange): Exchange & { kind: 'failure' } {
  assert.equal(exchange.kind, 'failure', JSON.stringify(exchange));
  return exchange as Exchange & { kind: 'failure' };
}

const SCHEMES = {
  http: () => startHttpReceiver(),
  https: () => startHttpReceiver({ tls: certificate }),
};

for (const [scheme, start] of Object.entries(SCHEMES)) {
  describe(`a POST over ${scheme}`, () => {
    test('arrives as it was given, and connections are kept', async () => {
      await using receiver = await start();
      using client = openClient();
      receiver.answer({ status: 201, headers: { 'x-answer': '1' }, body: 'thanks' });
      for (let i = 0; i < 3; i++) {
        const answer = answered(await post(client, `${receiver.origin}/a%20b?c=d`));
        assert.equal(answer.status, 201);
        assert.equal(answer.headers['x-answer'], '1');
        assert.equal(answer.body.toString(), 'thanks');
        assert.ok(answer.complete);
      }
      assert.equal(receiver.connections, 1);
      const [request] = receiver.requests;
      assert.equal(request?.method, 'POST');
      assert.equal(request?.path, '/a%20b?c=d');
      assert.equal(request?.body.toString(), '{"a":"é"}');
      assert.equal(request?.headers['content-length'], '10');
      assert.equal(request?.headers['x-test'], 'yes');
      assert.equal(request?.headers.host, new URL(receiver.origin).host);
    });

    const cases: { answer: Answer; reason: string; written?: boolean }[] = [
      { answer: 'reset-before-body', reason: 'connection_reset', written: true },
      { answer: 'reset-after-reading', reason: 'connection_reset', written: true },
      { answer: 'garbage', reason: 'invalid_response', written: true },
      { answer: 'upgrade', reason: 'invalid_response', written: true },
      // Over http the kernel may have told of the connection before it was broken, or not.
      {
        answer: 'reset-on-connect',
        reason: 'connection_reset',
        ...(scheme === 'https' ? { written: false } : {}),
      },
    ];
    for (const { answer, reason, written } of cases) {
      test(`fails with ${reason} for ${answer}`, async () => {
        await using receiver = await start();
        using client = openClient();
        receiver.answer(answer);
        const exchange = failed(await post(client, receiver.origin));
        assert.equal(exchange.reason, reason);
        assert.ok(exchange.theirs);
        if (written !== undefined) assert.equal(exchange.written, written);
        await worksOn(client, receiver);
      });
    }

    for (const answer of ['hang', 'drip-head'] as const) {
      test(`gives up on ${answer}`, async () => {
        await using receiver = await start();
        using client = openClient({ timeoutMs: 200 });
        receiver.answer(answer);
        const exchange = failed(await post(client, receiver.origin));
        assert.deepEqual(
          [exchange.reason, exchange.written, exchange.theirs],
          ['timeout', true, true],
        );
        await receiver.until(({ open }) => open === 0);
      });
    }

    test('takes the status of an answer whose body never ends', async () => {
      await using receiver = await start();
      using client = openClient({ timeoutMs: 200 });
      receiver.answer('drip-body');
      const answer = answered(await post(client, receiver.origin));
      assert.deepEqual([answer.status, answer.complete], [200, false]);
      await receiver.until(({ open }) => open === 0);
    });

    test('reads at most 64 KiB of 10 GB', async () => {
      await using receiver = await start();
      using client = openClient();
      receiver.answer('flood');
      const answer = answered(await post(client, receiver.origin));
      assert.deepEqual([answer.status, answer.complete], [200, false]);
      assert.equal(answer.body.length, ANSWER_LIMIT_BYTES);
      await receiver.until(({ open }) => open === 0);
      // What the two kernels and the server buffered; nothing near 10 GB.
      assert.ok(receiver.bytesFlooded < 64 * 1024 * 1024, `${receiver.bytesFlooded}`);
      await worksOn(client, receiver);
    });

    test('ends with an answer that comes before the request was read', async () => {
      await using receiver = await start();
      using client = openClient();
      const read = Promise.withResolvers<void>();
      receiver.answer({ status: 413, readAfter: read.promise });
      // More than the buffers of both kernels take.
      const request = { headers: {}, body: 'x'.repeat(32 * 1024 * 1024) };
      const { signal } = new AbortController();
      const answer = answered(await client.post(new URL(receiver.origin), request, signal));
      assert.equal(answer.status, 413);
      read.resolve();
      await receiver.until(({ open }) => open === 0);
      assert.equal(receiver.requests.length, 0, 'the rest is not sent');
      await worksOn(client, receiver);
    });

    test('is given up when the caller says so', async () => {
      await using receiver = await start();
      using client = openClient();
      receiver.answer('hang');
      for (const [reason, word] of [
        [new DOMException('too long', 'TimeoutError'), 'timeout'],
        [undefined, 'aborted'],
      ] as const) {
        const controller = new AbortController();
        const sending = post(client, receiver.origin, controller.signal);
        await receiver.until(({ holding }) => holding === 1);
        controller.abort(reason);
        const exchange = failed(await sending);
        assert.deepEqual([exchange.reason, exchange.written], [word, true]);
        await receiver.until(({ open }) => open === 0);
      }
    });

    test('does not begin when the caller has given up', async () => {
      await using receiver = await start();
      using client = openClient();
      const exchange = failed(await post(client, receiver.origin, AbortSignal.abort()));
      assert.deepEqual(exchange, {
        kind: 'failure',
        reason: 'aborted',
        written: false,
        theirs: false,
      });
      assert.equal(receiver.connections, 0);
    });

    test('ends when the client is closed, and none begins afterwards', async () => {
      await using receiver = await start();
      const client = openClient();
      receiver.answer('hang');
      const sending = post(client, receiver.origin);
      await receiver.until(({ holding }) => holding === 1);
      client.close();
      client.close();
      assert.equal(failed(await sending).theirs, false);
      await receiver.until(({ open }) => open === 0);
      assert.equal(failed(await post(client, receiver.origin)).reason, 'aborted');
      assert.equal(receiver.connections, 1);
    });

    test('waits for a connection no longer than half its time', async () => {
      await using receiver = await start();
      using client = openClient({ timeoutMs: 2000, maxConnectionsPerHost: 1 });
      receiver.answer('hang');
      const controller = new AbortController();
      const first = post(client, receiver.origin, controller.signal);
      await receiver.until(({ holding }) => holding === 1);
      const second = failed(await post(client, receiver.origin));
      assert.deepEqual(
        [second.reason, second.written, second.theirs],
        ['connection_limit', false, false],
      );
      controller.abort();
      await first;
      assert.equal(receiver.connections, 1);
      await worksOn(client, receiver);
    });
  });
}

/** Nothing of a failed request is in the way of the next. */
async function worksOn(client: HttpClient, receiver: HttpReceiver): Promise<void> {
  receiver.answer({ status: 204 });
  assert.equal(answered(await post(client, receiver.origin)).status, 204);
}

describe('connections that cannot be had', () => {
  test('refused', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    server.close();
    await once(server, 'close');
    using client = openClient();
    const exchange = failed(await post(client, `http://127.0.0.1:${port}/`));
    assert.deepEqual([exchange.reason, exchange.written], ['connection_refused', false]);
  });

  test('a name that does not resolve', async () => {
    for (const code of ['ENOTFOUND', 'EAI_AGAIN']) {
      const lookup: ResolveAll = (_hostname, _options, callback) =>
        callback(Object.assign(new Error(code), { code }), []);
      using client = openClient({ guard: { lookup } });
      const exchange = failed(await post(client, 'https://nobody.example.com/'));
      assert.deepEqual([exchange.reason, exchange.written], ['dns_failure', false]);
    }
  });

  test('a name that is never resolved', async () => {
    using client = openClient({ guard: { lookup: () => {} }, timeoutMs: 100 });
    const exchange = failed(await post(client, 'https://slow.example.com/'));
    assert.deepEqual([exchange.reason, exchange.written], ['timeout', false]);
  });

  test('a handshake that never ends', async () => {
    await using silent = await startSilent();
    using client = openClient({ timeoutMs: 100 });
    const exchange = failed(await post(client, `https://${HOST}:${silent.port}/`));
    assert.deepEqual([exchange.reason, exchange.written], ['timeout', false]);
    await silent.closed;
  });

  test('closing ends a handshake', async () => {
    await using silent = await startSilent();
    const client = openClient();
    const sending = post(client, `https://${HOST}:${silent.port}/`);
    await silent.connected;
    client.close();
    assert.equal(failed(await sending).reason, 'aborted');
    await silent.closed;
  });

  test('certificates that are not valid for the host, and servers without TLS', async () => {
    await using unknown = await startHttpReceiver({ tls: makeCertificate(HOST) });
    await using other = await startHttpReceiver({ tls: certificate });
    await using plain = await startHttpReceiver();
    using client = openClient();
    const urls = [
      unknown.origin,
      `https://other.example.com:${other.port}`,
      `https://${HOST}:${plain.port}`,
    ];
    for (const url of urls) {
      const exchange = failed(await post(client, url));
      assert.deepEqual([exchange.reason, exchange.written], ['tls_failure', false], url);
    }
    // The certificate names the address as well.
    assert.equal(answered(await post(client, `https://127.0.0.1:${other.port}/`)).status, 200);
    assert.equal(unknown.requests.length + plain.requests.length, 0);
  });
});

async function startSilent() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const connected = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    socket.once('data', () => connected.resolve());
    socket.once('close', () => closed.resolve());
  });
  return {
    port: (server.address() as { port: number }).port,
    /** Resolves with the first bytes of a handshake. */
    connected: connected.promise,
    closed: closed.promise,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}

describe('the inside is not reached', () => {
  test('by a literal address, which no resolver is asked about', async () => {
    await using internal = await startHttpReceiver({ host: '0.0.0.0' });
    using client = openClient({ guard: {} });
    for (const host of ['127.0.0.1', '2130706433', '0x7f.1', '[::ffff:127.0.0.1]', '0.0.0.0']) {
      assert.deepEqual(await post(client, `http://${host}:${internal.port}/`), { kind: 'refused' });
    }
    assert.equal(internal.connections, 0);
  });

  test('by a name', async () => {
    await using internal = await startHttpReceiver();
    using client = openClient({ guard: { lookup: here } });
    for (const scheme of ['http', 'https']) {
      assert.deepEqual(await post(client, `${scheme}://${HOST}:${internal.port}/`), {
        kind: 'refused',
      });
    }
    assert.equal(internal.connections, 0);
  });

  test('by a name that is resolved to it only the second time (DNS rebinding)', async () => {
    // 127.0.0.1 stands for the public address, 127.0.0.2 for the inside; both lead to this server.
    await using receiver = await startHttpReceiver({ host: '0.0.0.0' });
    const answers = ['127.0.0.1', '127.0.0.2'];
    const rebinding: ResolveAll = (_hostname, _options, callback) =>
      callback(null, [{ address: answers.shift() ?? '127.0.0.2', family: 4 }]);
    const guard = { allowedNetworks: ['127.0.0.1/32'], lookup: rebinding };
    for (const expected of ['answer', 'refused', 'refused']) {
      using client = openClient({ guard });
      const exchange = await post(client, `http://${HOST}:${receiver.port}/`);
      assert.equal(exchange.kind, expected);
      if (expected === 'answer') receiver.answer({ status: 200, headers: { connection: 'close' } });
    }
    assert.equal(receiver.connections, 1);
  });

  test('by one of several addresses of a name', async () => {
    await using receiver = await startHttpReceiver({ host: '0.0.0.0' });
    const mixed: ResolveAll = (_hostname, _options, callback) =>
      callback(
        null,
        ['127.0.0.2', '127.0.0.1', '10.0.0.1'].map((address) => ({ address, family: 4 })),
      );
    using client = openClient({ guard: { allowedNetworks: ['127.0.0.1/32'], lookup: mixed } });
    answered(await post(client, `http://${HOST}:${receiver.port}/`));
    assert.equal(receiver.connections, 1);
  });

  test('when all before has failed: the peer is judged before a byte is written', async () => {
    for (const scheme of ['http', 'https']) {
      await using internal = await startSilent();
      const bytes: Buffer[] = [];
      internal.connected.then(() => bytes.push(Buffer.from('x')));
      const strict = createAddressGuard();
      const broken = { ...strict, lookup: createAddressGuard(own).lookup };
      const client = createHttpClient({
        guard: broken,
        timeoutMs: NEVER_MS,
        maxConnectionsPerHost: 1,
      });
      const exchange = await post(client, `${scheme}://${HOST}:${internal.port}/`);
      assert.deepEqual(exchange, { kind: 'refused' });
      await internal.closed;
      assert.deepEqual(bytes, []);
      client.close();
    }
  });

  test('by a redirect', async () => {
    await using internal = await startHttpReceiver();
    await using receiver = await startHttpReceiver();
    using client = openClient();
    for (const status of [301, 302, 303, 307, 308]) {
      receiver.answer({ status, headers: { location: `${internal.origin}/secret` } });
      assert.equal(answered(await post(client, receiver.origin)).status, status);
    }
    assert.equal(internal.connections, 0);
  });

  test('by a proxy of the environment', async () => {
    await using proxy = await startHttpReceiver();
    await using receiver = await startHttpReceiver();
    const script = `
      import { createAddressGuard } from ${JSON.stringify(moduleUrl('address-guard.ts'))};
      import { createHttpClient } from ${JSON.stringify(moduleUrl('http-client.ts'))};
      const guard = createAddressGuard({ allowedNetworks: ['127.0.0.1/32'] });
      const client = createHttpClient({ guard, timeoutMs: 30000, maxConnectionsPerHost: 1 });
      const request = { headers: {}, body: '{}' };
      const signal = new AbortController().signal;
      const exchange = await client.post(new URL('${receiver.origin}/'), request, signal);
      client.close();
      console.log(exchange.status);`;
    const env = {
      ...process.env,
      NODE_USE_ENV_PROXY: '1',
      HTTP_PROXY: proxy.origin,
      http_proxy: proxy.origin,
      NO_PROXY: '',
      no_proxy: '',
    };
    const output = await new Promise((resolve, reject) => {
      execFile(process.execPath, ['--input-type=module', '-e', script], { env }, (error, stdout) =>
        error ? reject(error) : resolve(stdout.trim()),
      );
    });
    assert.equal(output, '200');
    assert.equal(proxy.connections, 0);
    assert.equal(receiver.requests.length, 1);
  });
});

function moduleUrl(name: string): string {
  return new URL(name, import.meta.url).href;
}
