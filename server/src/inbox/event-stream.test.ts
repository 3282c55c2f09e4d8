/** The carrier of event streams on a plain HTTP server; with everything around it: http/routes/inbox-stream.test.ts. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { ServiceError } from '../errors.ts';
import { EventStream } from './event-stream.ts';

/** Sends raw text to a server with this listener. */
async function ask(listener: RequestListener, request: string) {
  const server = createServer(listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.write(request);
  const read = { text: '' };
  socket.setEncoding('utf8').on('data', (more: string) => {
    read.text += more;
  });
  return {
    socket,
    read,
    async [Symbol.asyncDispose]() {
      socket.destroy();
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

test('the head is HTTP, the body ends with the connection, and blocks of one turn go together', async () => {
  const { promise: begun, resolve } = Promise.withResolvers<[EventStream, Socket]>();
  await using asked = await ask((_, response) => {
    const stream = new EventStream(response);
    stream.begin({ vary: 'Origin', 'cache-control': 'public' }, 1234);
    resolve([stream, response.socket as Socket]);
  }, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  const [stream, socket] = await begun;
  const writes: string[] = [];
  const write = socket.write.bind(socket);
  socket.write = ((chunk: string) => {
    writes.push(chunk);
    return write(chunk);
  }) as typeof socket.write;
  stream.write('data: 1\n\n');
  stream.write('data: 2\n\n');
  assert.equal(stream.bufferedBytes, 18);
  await once(asked.socket, 'data');
  stream.close('token_expired', 500);
  const gone = new Promise<void>((done) => stream.onGone(done));
  await once(asked.socket, 'close');
  await gone;
  assert.deepEqual(writes, [
    'data: 1\n\ndata: 2\n\n',
    'retry: 500\nevent: closing\ndata: {"reason":"token_expired","retryAfterMs":500}\n\n',
  ]);
  const [head = '', ...body] = asked.read.text.split('\r\n\r\n');
  assert.deepEqual(
    head.split('\r\n').filter((line) => !/^date:/i.test(line)),
    [
      'HTTP/1.1 200 OK',
      'vary: Origin',
      'cache-control: no-store, no-transform',
      'content-type: text/event-stream',
      'x-accel-buffering: no',
      'connection: close',
    ],
  );
  assert.equal(body.join(), `retry: 1234\n\n${writes.join('')}`);
});

test('behind an answer that is not finished there is no stream, so that the two cannot mix', async () => {
  const waiting: ServerResponse[] = [];
  await using asked = await ask((_, response) => {
    waiting.push(response);
    if (waiting.length < 2) return;
    assert.throws(
      () => new EventStream(response),
      (error: unknown) => error instanceof ServiceError && error.code === 'invalid_request',
    );
    response.shouldKeepAlive = false;
    response.end('second');
    waiting[0]?.end('first');
  }, 'GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(asked.socket, 'close');
  assert.match(asked.read.text, /first[\s\S]*second/);
});

test('writing to a connection that is gone does nothing, and nobody waits for it', async () => {
  const { promise: begun, resolve } = Promise.withResolvers<EventStream>();
  await using asked = await ask((_, response) => {
    const stream = new EventStream(response);
    stream.begin({}, 0);
    resolve(stream);
  }, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  const stream = await begun;
  const gone = new Promise<void>((done) => stream.onGone(done));
  asked.socket.pause();
  while (stream.bufferedBytes < 100_000) {
    stream.write('x'.repeat(1_000_000));
    stream.flush();
  }
  const drained = stream.drained();
  asked.socket.resetAndDestroy();
  await Promise.all([gone, drained]);
  stream.write('data: late\n\n');
  stream.heartbeat();
  await stream.drained();
  stream.close('slow_reader', 0);
  stream.destroy();
});
