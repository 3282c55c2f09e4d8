/** Inboxes over WebSocket: real sockets and the ws client. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { formatId } from '../../id.ts';
import { type InboxApp, itemsOf, openInboxApp, SocketClient } from '../../inbox/conformance-app.ts';

const id = (n: number) => formatId('msg', n);

async function open(api: InboxApp, lastPosition?: number): Promise<SocketClient> {
  return SocketClient.open(api, await api.token(), lastPosition);
}

/** A socket that is connected and has said nothing yet. */
async function connected(
  api: InboxApp,
  headers: Record<string, string> = {},
): Promise<SocketClient> {
  const client = new SocketClient(api, headers);
  await once(client.socket, 'open');
  return client;
}

test('a socket begins with where it is and what there is, then tells what comes', async () => {
  await using api = await openInboxApp();
  const before = await api.deliver(1);
  using client = await open(api);
  const [ready, counts] = await client.until('counts');
  const expiresAt = new Date(api.clock.now() + 3_600_000).toISOString();
  assert.deepEqual(ready, {
    type: 'ready',
    position: before,
    data: { position: `${before}-${before}`, resumed: false, expiresAt },
  });
  assert.deepEqual(counts?.data, { unseen: 1, unread: 1, total: 1 });
  const position = await api.deliver(2);
  const item = await client.next();
  assert.deepEqual([item.type, item.position, item.data.id], ['item', position, id(2)]);
});

test('a client that comes back gets what it missed, once, and in order', async () => {
  await using api = await openInboxApp();
  const positions: number[] = [];
  for (let n = 1; n <= 250; n++) positions.push(await api.deliver(n));
  using client = await open(api, positions[1]);
  const missed = await client.until('ready');
  assert.deepEqual(
    missed.map(({ position }) => position),
    [...positions.slice(2), positions.at(-1)],
  );
});

test('marks are made over the socket and reach the other devices', async () => {
  await using api = await openInboxApp();
  for (const n of [1, 2]) await api.deliver(n);
  using phone = await open(api);
  using laptop = await open(api);
  for (const client of [phone, laptop]) await client.until('counts');
  phone.send({ type: 'mark', id: 'a', action: 'read', items: [id(1)] });
  const counts = { unseen: 1, unread: 1, total: 2 };
  const [marked, counted, result] = [await phone.next(), await phone.next(), await phone.next()];
  assert.equal(marked.type, 'marked');
  assert.deepEqual(counted.data, counts);
  assert.deepEqual(result, {
    type: 'result',
    position: undefined,
    id: 'a',
    data: { changed: 1, counts },
  });
  assert.deepEqual((await laptop.next()).data.items, [id(1)]);
  assert.deepEqual((await laptop.next()).data, counts);
  phone.send({ type: 'ping', id: 7 });
  phone.send({ type: 'ping' });
  assert.deepEqual((await phone.next()).data, { id: 7 });
  assert.equal((await phone.next()).type, 'pong');
});

test('frames are answered in their order', async () => {
  await using api = await openInboxApp();
  for (let n = 1; n <= 10; n++) await api.deliver(n);
  using client = await open(api);
  await client.until('counts');
  for (let n = 1; n <= 10; n++) {
    client.send({ type: 'mark', id: 2 * n, action: 'seen', items: [id(n)] });
    client.send({ type: 'ping', id: 2 * n + 1 });
  }
  const answered: unknown[] = [];
  while (answered.length < 20) {
    const message = (await client.next()) as { type: string; id?: number; data: { id?: number } };
    if (message.type === 'result') answered.push(message.id);
    if (message.type === 'pong') answered.push(message.data.id);
  }
  assert.deepEqual(
    answered,
    Array.from({ length: 20 }, (_, i) => i + 2),
  );
});

test('a mark that cannot be done is answered with what is wrong, and the socket stays', async () => {
  await using api = await openInboxApp();
  using client = await open(api);
  await client.until('counts');
  const refusedAt = async (frame: object) => {
    client.send({ type: 'mark', id: 1, ...frame });
    const { type, data } = await client.next();
    assert.equal(type, 'error');
    assert.equal(data.code, 'invalid_request');
    return data.errors.map((error: { path: string }) => error.path);
  };
  assert.deepEqual(await refusedAt({ action: 'unarchive', items: 'all' }), ['items']);
  assert.ok((await refusedAt({ action: 'delete', items: 'all' })).includes('action'));
  assert.ok((await refusedAt({ action: 'read', items: [] })).includes('items'));
  assert.ok((await refusedAt({ action: 'read', items: 'all', userId: 'bob' })).includes('userId'));
  api.inbox.following = false;
  await api.inbox.store.deliver({
    ...api.ada,
    messageId: id(1),
    content: { title: 'T', text: null, url: null, imageUrl: null, actions: [], data: {} },
    category: null,
    collapseKey: null,
    at: 0,
  });
  client.send({ type: 'mark', id: 9, action: 'read', items: 'all' });
  assert.equal((await client.next()).data.code, 'store_unavailable');
  client.send({ type: 'ping', id: 10 });
  assert.deepEqual((await client.next()).data, { id: 10 });
});

test('a token that is not valid, or no token first, ends with 4401', async () => {
  await using api = await openInboxApp();
  const token = await api.token();
  const expired = await api.token(api.ada, 30);
  api.clock.advance(30_000);
  const first = [
    { type: 'auth', token: expired },
    { type: 'auth', token: 'x' },
    { type: 'auth', token: `${token.slice(0, -4)}AAAA` },
    { type: 'auth', token: api.apiKey },
    { type: 'auth' },
    { type: 'auth', token, lastPosition: -1 },
    { type: 'auth', token, lastPosition: 1 },
    { type: 'auth', token, lastPosition: '1-' },
    { type: 'auth', token, lastPosition: '1-2-3' },
    { type: 'auth', token, userId: 'bob' },
    { type: 'ping' },
    { type: 'mark', action: 'read', items: 'all' },
    null,
    [],
    'text',
  ];
  for (const frame of first) {
    using client = await connected(api);
    client.send(JSON.stringify(frame));
    assert.equal((await client.closed).code, 4401, JSON.stringify(frame));
    assert.deepEqual(client.all, []);
  }
  assert.equal(api.hub.connections, 0);
});

test('what is wrong with an auth or ping frame is in the reason, by the name of the field', async () => {
  await using api = await openInboxApp();
  const token = await api.token();
  const long = 'é'.repeat(500);
  for (const [frame, expected] of [
    [{ type: 'auth', token, lastEventId: '1' }, /^auth frame: lastEventId .*known/],
    [{ type: 'auth', token: 5 }, /^auth frame: token must be .*string|text/],
    [{ type: 'auth' }, /^auth frame: token /],
    [{ type: 'auth', token, lastPosition: 1 }, /^auth frame: lastPosition must be /],
    [{ type: 'auth', token, [long]: 1 }, /^auth frame: \?{40}\.\.\. .*known/],
    [{ type: 'ping' }, /^the first frame must be auth$/],
    [null, /^the first frame must be auth$/],
  ] as const) {
    using client = await connected(api);
    client.send(JSON.stringify(frame));
    const { code, reason } = await client.closed;
    assert.equal(code, 4401);
    assert.match(reason, expected);
    assert.ok(Buffer.byteLength(reason) <= 123);
  }
  using client = await SocketClient.open(api, token);
  await client.until('counts');
  client.send({ type: 'ping', seq: 1 });
  const { code, reason } = await client.closed;
  assert.equal(code, 1008);
  assert.match(reason, /^ping frame: seq /);
});

test('a token in the URL is refused before there is a socket', async () => {
  await using api = await openInboxApp();
  const socket = connect(api.port, '127.0.0.1');
  socket.write(
    `GET /v1/inbox/socket?token=${await api.token()} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
  );
  let text = '';
  socket.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  await once(socket, 'close');
  assert.match(text, /^HTTP\/1\.1 400 [\s\S]*"path":"query.token"/);
});

test('whoever says nothing is closed after 5 s with 4401', async () => {
  await using api = await openInboxApp();
  using client = await connected(api);
  api.clock.advance(4_999);
  client.socket.ping();
  await once(client.socket, 'pong');
  api.clock.advance(1);
  assert.equal((await client.closed).code, 4401);
});

test('pages of foreign origins get no socket; listed ones, the own one and apps do', async () => {
  await using api = await openInboxApp({ allowedOrigins: ['https://shop.example'] });
  for (const origin of ['https://evil.example', 'null', 'https://shop.example:8443']) {
    using client = new SocketClient(api, { origin });
    const [request, response] = (await once(client.socket, 'unexpected-response')) as [
      { destroy(): void },
      { statusCode: number },
    ];
    assert.equal(response.statusCode, 403, origin);
    request.destroy();
  }
  const token = await api.token();
  for (const headers of [{ origin: 'https://shop.example' }, { origin: api.url }, {}]) {
    using client = await connected(api, headers as Record<string, string>);
    client.send({ type: 'auth', token });
    await client.nextOf('ready');
  }
});

test('a frame of 1 MiB ends with 1009, before and after the token', async () => {
  await using api = await openInboxApp();
  const frame = JSON.stringify({ type: 'auth', token: 'x'.repeat(1024 * 1024) });
  using stranger = await connected(api);
  stranger.send(frame);
  assert.equal((await stranger.closed).code, 1009);
  using client = await open(api);
  await client.until('counts');
  client.send(frame);
  assert.equal((await client.closed).code, 1009);
  while (api.hub.connections > 0) await setImmediate();
});

test('what is no frame of the protocol ends the socket', async () => {
  await using api = await openInboxApp();
  await api.deliver(1);
  const cases: [string | Buffer, number][] = [
    ['{', 1008],
    ['"x"', 1008],
    ['{"type":"subscribe","topic":"bob"}', 1008],
    ['{"type":"auth","token":"x"}', 1008],
    ['{"type":"ping","extra":1}', 1008],
    ['{"type":"ping","__proto__":{"id":1}}', 1008],
    ['{"type":"ping","type":"ping"}', 1008],
    ['{"type":"mark","action":"seen","items":"all","action":"archive"}', 1008],
    ['{"type":"ping","id":"\\u0000"}', 1008],
    ['{"type":"ping","id":"\\ud83d"}', 1008],
    ['{"type":"ping","id":9007199254740993}', 1008],
    [`${'['.repeat(30_000)}${']'.repeat(30_000)}`, 1008],
    ['', 1008],
    [Buffer.from('{"type":"ping"}'), 1003],
  ];
  for (const [frame, code] of cases) {
    using client = await open(api);
    await client.until('counts');
    client.socket.send(frame);
    assert.equal((await client.closed).code, code, String(frame));
  }
  assert.equal(({} as { id?: number }).id, undefined);
  assert.equal((await api.inbox.store.counts(api.ada)).total, 1, 'nothing was done by halves');
});

test('a flood of frames ends the socket', async () => {
  await using api = await openInboxApp();
  using client = await open(api);
  await client.until('counts');
  for (let n = 0; n < 500; n++) client.send({ type: 'mark', action: 'read', items: 'all' });
  assert.equal((await client.closed).code, 1008);
});

/** Lets time pass in steps in which the client answers heartbeats. */
async function pass(api: InboxApp, client: SocketClient, seconds: number): Promise<void> {
  for (let left = seconds; left > 0; left -= 5) {
    api.clock.advance(Math.min(left, 5) * 1000);
    client.send({ type: 'ping' });
    await client.nextOf('pong');
  }
}

test('a socket ends with its token and says so; nothing comes after that', async () => {
  await using api = await openInboxApp();
  using client = await SocketClient.open(api, await api.token(api.ada, 60));
  await client.until('counts');
  await pass(api, client, 59);
  api.clock.advance(1000);
  await api.deliver(1);
  const { code, reason } = await client.closed;
  assert.equal(code, 4401);
  assert.match(reason, /^token_expired; retry-after-ms=\d+$/);
  assert.equal(client.all.at(-1)?.type, 'closing');
  assert.deepEqual(itemsOf(client.all), []);
});

test('nothing is done with a token that has ended, also before anybody noticed', async () => {
  await using api = await openInboxApp();
  await api.deliver(1);
  // Its turn for a heartbeat, by which idle connections are looked at, is 100 ms from now and every 15 s.
  using client = await SocketClient.open(api, await api.token(api.ada, 32));
  await client.until('counts');
  await pass(api, client, 31);
  api.clock.advance(1000);
  assert.equal(api.hub.connections, 1);
  client.send({ type: 'mark', action: 'read', items: 'all' });
  assert.equal((await client.closed).code, 4401);
  assert.equal((await api.inbox.store.counts(api.ada)).unread, 1);
});

test('a stop closes sockets with 1001 and a time to come back, known or not', async () => {
  await using api = await openInboxApp();
  api.clock.randomValue = 0.25;
  using client = await open(api);
  await client.until('counts');
  using stranger = await connected(api);
  await api.app.close();
  assert.deepEqual(await client.closed, {
    code: 1001,
    reason: 'shutting_down; retry-after-ms=500',
  });
  assert.deepEqual(client.all.at(-1)?.data, { reason: 'shutting_down', retryAfterMs: 500 });
  assert.equal((await stranger.closed).code, 1001);
});

test('a peer that does not answer heartbeats is given up', async () => {
  await using api = await openInboxApp();
  using client = await open(api);
  await client.until('counts');
  client.socket.pause();
  api.clock.advance(15_000);
  assert.equal(api.hub.connections, 1);
  api.clock.advance(15_000);
  while (api.hub.connections > 0) await setImmediate();
});

test('a peer that answers heartbeats stays', async () => {
  await using api = await openInboxApp();
  using client = await open(api);
  await client.until('counts');
  for (let beat = 0; beat < 3; beat++) {
    const pinged = once(client.socket, 'ping');
    api.clock.advance(15_000);
    await pinged;
    client.send({ type: 'ping' });
    await client.nextOf('pong');
  }
  assert.equal(api.hub.connections, 1);
});

test('a client that does not read is closed at its bound; others get everything', async () => {
  await using api = await openInboxApp();
  using slow = await open(api);
  await slow.until('counts');
  slow.socket.pause();
  using fast = await open(api);
  await fast.until('counts');
  const content = {
    title: 'Long',
    text: 'x'.repeat(60_000),
    url: null,
    imageUrl: null,
    actions: [],
    data: {},
  };
  let sent = 0;
  while (api.hub.connections === 2 && sent < 2_000) {
    await api.deliver(++sent, api.ada, { content });
    await fast.nextOf('item');
  }
  assert.equal(api.hub.connections, 1, `still open after ${sent}`);
  await api.deliver(++sent);
  assert.equal((await fast.nextOf('item')).data.id, id(sent));
  slow.socket.resume();
  const { code, reason } = await slow.closed;
  assert.equal(code, 1013);
  assert.match(reason, /^slow_reader/);
});

test('limits hold for sockets and streams together', async () => {
  await using api = await openInboxApp({ maxConnectionsPerUser: 1 });
  using first = await open(api);
  await first.until('counts');
  using second = await open(api);
  const { code, reason } = await second.closed;
  assert.equal(code, 1013);
  assert.match(reason, /live connections already/);
});
