/** Inboxes over Server-Sent Events: real sockets, the usual client, and one that hides nothing. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { EventSource } from 'eventsource';
import { until, within } from '../../../test/support/within.ts';
import { formatId } from '../../id.ts';
import {
  bearer,
  type InboxApp,
  itemPositionOf,
  itemsOf,
  openInboxApp,
  Received,
  StreamClient,
} from '../../inbox/conformance-app.ts';

const STREAM = '/v1/inbox/stream';
const id = (n: number) => formatId('msg', n);
const PATIENCE_SECONDS = 60;

async function open(api: InboxApp, lastEventId?: number | string): Promise<StreamClient> {
  return StreamClient.open(api, STREAM, {
    ...bearer(await api.token()),
    ...(lastEventId === undefined ? {} : { 'last-event-id': String(lastEventId) }),
  });
}

async function ticket(api: InboxApp, token: string): Promise<string> {
  const response = await fetch(`${api.url}/v1/inbox/tickets`, {
    method: 'POST',
    headers: bearer(token),
  });
  return ((await response.json()) as { ticket: string }).ticket;
}

test('a stream begins with where it is and what there is, then tells what comes', async () => {
  await using api = await openInboxApp();
  const before = await api.deliver(1);
  using stream = await open(api);
  const { headers } = stream.response;
  assert.equal(stream.status, 200);
  assert.equal(headers['content-type'], 'text/event-stream');
  assert.equal(headers['cache-control'], 'no-store, no-transform');
  assert.equal(headers['x-accel-buffering'], 'no');
  assert.equal(headers['transfer-encoding'], undefined);
  const [ready, counts] = await stream.until('counts');
  const expiresAt = new Date(api.clock.now() + 3_600_000).toISOString();
  assert.deepEqual(ready, {
    type: 'ready',
    position: before,
    data: { position: `${before}-${before}`, resumed: false, expiresAt },
  });
  assert.deepEqual(counts?.data, { unseen: 1, unread: 1, total: 1 });

  const position = await api.deliver(2, api.ada, { category: 'news', collapseKey: 'k' });
  const item = await stream.next();
  assert.equal(item.type, 'item');
  assert.equal(item.position, position);
  const { items } = await api.inbox.store.list(api.ada, {
    state: 'all',
    category: null,
    limit: 1,
    cursor: null,
  });
  assert.deepEqual(item.data, items[0]);
});

test('the head comes at once, before anything is known about the inbox', async () => {
  await using api = await openInboxApp();
  api.inbox.following = false;
  await api.deliver(1);
  using stream = await open(api);
  assert.equal(stream.status, 200);
  await stream.ended;
  assert.match(stream.text, /^retry: \d+\n\n/);
});

test('a client that comes back gets what it missed, once, and in order', async () => {
  await using api = await openInboxApp();
  const positions: number[] = [];
  for (let n = 1; n <= 5; n++) positions.push(await api.deliver(n));
  using stream = await open(api, positions[1]);
  const missed = await stream.until('ready');
  assert.deepEqual(
    missed.map(({ position }) => position),
    [...positions.slice(2), positions[4]],
  );
  assert.deepEqual(
    itemsOf(missed).map((item) => item.id),
    [3, 4, 5].map(id),
  );
  await stream.nextOf('counts');
  await api.deliver(6);
  assert.equal((await stream.next()).data.id, id(6));
});

test('the position may stand in the query; the header wins', async () => {
  await using api = await openInboxApp();
  const first = await api.deliver(1);
  const second = await api.deliver(2);
  const token = await api.token();
  using byQuery = await StreamClient.open(api, `${STREAM}?lastEventId=${first}`, bearer(token));
  assert.deepEqual(
    itemsOf(await byQuery.until('ready')).map((item) => item.id),
    [id(2)],
  );
  using both = await StreamClient.open(api, `${STREAM}?lastEventId=${first}`, {
    ...bearer(token),
    'last-event-id': String(second),
  });
  assert.deepEqual(itemsOf(await both.until('ready')), []);
  using empty = await StreamClient.open(api, STREAM, { ...bearer(token), 'last-event-id': '' });
  assert.deepEqual(itemsOf(await empty.until('ready')), []);
});

test('a position from the future, as after a restored backup, begins now', async () => {
  await using api = await openInboxApp();
  const position = await api.deliver(1);
  using stream = await open(api, 999_999_999);
  assert.equal((await stream.nextOf('ready')).position, position);
  await api.deliver(2);
  assert.equal((await stream.nextOf('item')).data.id, id(2));
});

test('a long absence is made up for page by page', async () => {
  await using api = await openInboxApp();
  await Promise.all(Array.from({ length: 350 }, (_, i) => api.deliver(i + 1)));
  using stream = await open(api, 0);
  const messages = await stream.until('ready');
  assert.deepEqual(
    itemsOf(messages).map((item) => item.id),
    Array.from({ length: 350 }, (_, i) => id(i + 1)),
  );
});

test('devices of one user learn of each other’s marks, other users do not', async () => {
  await using api = await openInboxApp();
  for (const n of [1, 2]) await api.deliver(n);
  using phone = await open(api);
  using laptop = await open(api);
  const bob = await api.token({ ...api.ada, userId: 'bob' });
  using other = await StreamClient.open(api, STREAM, bearer(bob));
  for (const stream of [phone, laptop, other]) await stream.until('counts');
  const mark = (body: object) =>
    fetch(`${api.url}/v1/inbox/mark`, {
      method: 'POST',
      headers: { ...bearer(token), 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  const token = await api.token();
  await mark({ action: 'read', items: [id(1), id(9)] });
  await mark({ action: 'read', items: [id(1)] });
  await mark({ action: 'archive', items: 'all', category: 'none' });
  await mark({ action: 'archive', items: 'all' });
  const at = new Date(api.clock.now()).toISOString();
  for (const stream of [phone, laptop]) {
    assert.deepEqual(
      [await stream.next(), await stream.next(), await stream.next(), await stream.next()],
      [
        {
          type: 'marked',
          data: { action: 'read', items: [id(1), id(9)], category: null, at, replacedBy: null },
          position: undefined,
        },
        { type: 'counts', data: { unseen: 1, unread: 1, total: 2 }, position: undefined },
        {
          type: 'marked',
          data: { action: 'archive', items: 'all', category: null, at, replacedBy: null },
          position: undefined,
        },
        { type: 'counts', data: { unseen: 0, unread: 0, total: 0 }, position: undefined },
      ],
      'a mark that changes nothing is not told',
    );
  }
  await api.deliver(3, { ...api.ada, userId: 'bob' });
  assert.equal((await other.next()).type, 'item');
});

test('the usual client of browsers follows with a ticket, which works once', async () => {
  await using api = await openInboxApp();
  const url = `${api.url}${STREAM}?ticket=${await ticket(api, await api.token())}`;
  const source = new EventSource(url);
  const received = new Received();
  for (const type of ['item', 'ready', 'counts']) {
    source.addEventListener(type, (event) => {
      received.push({
        type,
        position: itemPositionOf(event.lastEventId),
        data: JSON.parse(event.data),
      });
    });
  }
  await received.until('counts');
  const position = await api.deliver(1);
  assert.equal((await received.next()).position, position);

  using again = await StreamClient.open(api, url.slice(api.url.length));
  assert.equal(again.status, 401);
  source.close();
});

test('a ticket for nothing valid opens nothing, and is not used up by a bad request', async () => {
  await using api = await openInboxApp();
  const token = await api.token();
  for (const text of ['x', token]) {
    using stream = await StreamClient.open(api, `${STREAM}?ticket=${text}`);
    assert.equal(stream.status, 401);
  }
  const good = await ticket(api, token);
  using bad = await StreamClient.open(api, `${STREAM}?ticket=${good}&lastEventId=x`);
  assert.equal(bad.status, 400);
  using stream = await StreamClient.open(api, `${STREAM}?ticket=${good}`);
  assert.equal(stream.status, 200);
  const late = await ticket(api, token);
  api.clock.advance(30_000);
  using refused = await StreamClient.open(api, `${STREAM}?ticket=${late}`);
  assert.equal(refused.status, 401);
});

test('the usual client comes back by itself after a lost connection, and misses nothing', async () => {
  await using api = await openInboxApp();
  const token = await api.token();
  const sockets = new Set<Socket>();
  api.app.server.on('connection', (socket) => sockets.add(socket));
  const source = new EventSource(api.url + STREAM, {
    fetch: (input, init) =>
      fetch(input, { ...init, headers: { ...init.headers, ...bearer(token) } }),
  });
  const received = new Received();
  for (const type of ['item', 'ready']) {
    source.addEventListener(type, (event) => {
      received.push({
        type,
        position: itemPositionOf(event.lastEventId),
        data: JSON.parse(event.data),
      });
    });
  }
  await received.nextOf('ready');
  await api.deliver(1);
  assert.equal((await received.next()).data.id, id(1));
  const failed = new Promise((resolve) =>
    source.addEventListener('error', resolve, { once: true }),
  );
  for (const socket of sockets) socket.resetAndDestroy();
  await failed;
  await api.deliver(2);
  await api.deliver(3);
  assert.deepEqual(
    itemsOf(await received.until('ready')).map((item) => item.id),
    [id(2), id(3)],
  );
  source.close();
});

test('a stream ends with its token and says so; nothing comes after that', async () => {
  await using api = await openInboxApp();
  using stream = await StreamClient.open(api, STREAM, bearer(await api.token(api.ada, 60)));
  await stream.until('counts');
  api.clock.advance(60_000);
  await api.deliver(1);
  await stream.ended;
  const { type, data } = stream.all.at(-1) ?? {};
  assert.equal(type, 'closing');
  assert.equal(data.reason, 'token_expired');
  assert.equal(itemsOf(stream.all).length, 0);
});

test('heartbeats keep an idle stream alive', async () => {
  await using api = await openInboxApp();
  using stream = await open(api);
  await stream.until('counts');
  const comments = () => stream.text.split('\n').filter((line) => line === ':').length;
  assert.equal(comments(), 0);
  api.clock.advance(30_000);
  await api.deliver(1);
  await stream.nextOf('item');
  assert.equal(comments(), 2);
});

test('a stop sends clients away with a time to come back, and the server ends', async () => {
  await using api = await openInboxApp();
  api.clock.randomValue = 0.5;
  using stream = await open(api);
  await stream.until('counts');
  await api.app.close();
  await stream.ended;
  assert.deepEqual(stream.all.at(-1), {
    type: 'closing',
    position: undefined,
    data: { reason: 'shutting_down', retryAfterMs: 1000 },
  });
  assert.equal(stream.retries.at(-1), 1000);
  assert.equal(api.hub.connections, 0);
  assert.equal(api.clock.timers, 0);
});

test('a user has only so many streams, and a stream that ended makes room', async () => {
  await using api = await openInboxApp({ maxConnectionsPerUser: 2 });
  const streams = [await open(api), await open(api)];
  using refused = await open(api);
  assert.equal(refused.status, 429);
  assert.ok(Number(refused.response.headers['retry-after']) > 0);
  streams[0]?.destroy();
  while (api.hub.connections > 1) await setImmediate();
  using next = await open(api);
  assert.equal(next.status, 200);
});

test('while the store cannot tell everything, a stream ends and its client comes back', async () => {
  await using api = await openInboxApp();
  const position = await api.deliver(1);
  using stream = await open(api);
  await stream.until('counts');
  api.inbox.following = false;
  await api.deliver(2);
  assert.equal((await stream.next()).data.id, id(2), 'open streams go on');
  using refused = await open(api, position);
  await refused.ended;
  assert.deepEqual(
    refused.all.map(({ type, data }) => [type, data.reason]),
    [['closing', 'unavailable']],
  );
  assert.equal(api.failures.length, 1);
  api.inbox.following = true;
  using resumed = await open(api, position);
  assert.deepEqual(
    itemsOf(await resumed.until('ready')).map((item) => item.id),
    [id(2)],
  );
});

test('a HEAD request opens no stream', async () => {
  await using api = await openInboxApp();
  const answer = await fetch(api.url + STREAM, {
    method: 'HEAD',
    headers: bearer(await api.token()),
  });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'text/event-stream');
  assert.equal(api.hub.connections, 0);
  const unknown = await fetch(api.url + STREAM, { method: 'HEAD' });
  assert.equal(unknown.status, 401);
  const minted = await ticket(api, await api.token());
  await fetch(`${api.url}${STREAM}?ticket=${minted}`, { method: 'HEAD' });
  using stream = await StreamClient.open(api, `${STREAM}?ticket=${minted}`);
  assert.equal(stream.status, 200, 'nor does it use up a ticket');
});

test('a HEAD request is answered as the GET would be', async () => {
  await using api = await openInboxApp({ maxConnectionsPerUser: 1 });
  const token = await api.token();
  const answers = async (path: string, headers: Record<string, string> = {}) => {
    const statuses: number[] = [];
    for (const method of ['HEAD', 'GET']) {
      const { status, body } = await fetch(api.url + path, { method, headers });
      await body?.cancel();
      statuses.push(status);
    }
    return statuses;
  };
  const used = await ticket(api, token);
  assert.deepEqual(await answers(`${STREAM}?ticket=${used}`), [200, 200]);
  await until('the end of the stream', () => api.hub.connections === 0);
  assert.deepEqual(await answers(`${STREAM}?ticket=${used}`), [401, 401]);
  assert.deepEqual(await answers(`${STREAM}?ticket=x`, bearer(token)), [401, 401]);
  assert.deepEqual(await answers(`${STREAM}?lastEventId=zz`, bearer(token)), [400, 400]);
  assert.deepEqual(await answers(`${STREAM}?unknown=1`, bearer(token)), [400, 400]);
  const faulty = { ...bearer(token), 'last-event-id': 'zz' };
  assert.deepEqual(await answers(STREAM, faulty), [400, 400]);
  using stream = await StreamClient.open(api, STREAM, bearer(token));
  await stream.until('counts');
  assert.deepEqual(await answers(STREAM, bearer(token)), [429, 429]);
  assert.deepEqual(await answers(`${STREAM}?ticket=${await ticket(api, token)}`), [429, 429]);
});

test('a client that does not read is closed at its bound; others get everything', async () => {
  await using api = await openInboxApp();
  const slow = connect(api.port, '127.0.0.1');
  slow.pause();
  slow.on('error', () => {});
  slow.write(
    `GET ${STREAM} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await api.token()}\r\n\r\n`,
  );
  using fast = await open(api);
  await fast.until('counts');
  while (api.hub.connections < 2) await setImmediate();
  const { content } = {
    content: {
      title: 'Long',
      text: 'x'.repeat(60_000),
      url: null,
      imageUrl: null,
      actions: [],
      data: {},
    },
  };
  let sent = 0;
  // What the kernel holds for a socket that is not read is some MB; the bound comes on top.
  while (api.hub.connections === 2 && sent < 2_000) {
    await api.deliver(++sent, api.ada, { content });
    await fast.nextOf('item');
  }
  assert.equal(api.hub.connections, 1, `still open after ${sent}`);
  await api.deliver(++sent);
  assert.equal((await fast.nextOf('item')).data.id, id(sent));
  slow.destroy();
});

test('a client that does not read while it catches up takes little memory and is closed in the end', async () => {
  await using api = await openInboxApp();
  const content = {
    title: 'Long',
    text: 'x'.repeat(60_000),
    url: null,
    imageUrl: null,
    actions: [],
    data: {},
  };
  for (let n = 1; n <= 300; n++)
    await api.inbox.store.deliver({
      ...api.ada,
      messageId: id(n),
      content,
      category: null,
      collapseKey: null,
      at: n,
    });
  const slow = connect(api.port, '127.0.0.1');
  slow.pause();
  slow.on('error', () => {});
  const closed = once(slow, 'close');
  const opened = once(api.app.server, 'connection') as Promise<[Socket]>;
  slow.write(
    `GET ${STREAM}?lastEventId=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await api.token()}\r\n\r\n`,
  );
  const [socket] = await opened;
  while (!socket.writableNeedDrain) await setImmediate();
  assert.ok(socket.writableLength < 256 * 1024, `${socket.writableLength} bytes wait`);
  assert.equal(api.hub.connections, 1);
  api.clock.advance(30_000);
  assert.equal(api.hub.connections, 0);
  slow.resume();
  await within(PATIENCE_SECONDS, 'the close', closed);
});

test('1,000 idle connections are kept, told, and sent away', { timeout: 120_000 }, async () => {
  await using api = await openInboxApp();
  api.clock.random = Math.random;
  const users = Array.from({ length: 50 }, (_, i) => ({ ...api.ada, userId: `user-${i}` }));
  const streams: StreamClient[] = [];
  for (const user of users) {
    const headers = bearer(await api.token(user));
    streams.push(
      ...(await Promise.all(
        Array.from({ length: 20 }, () => StreamClient.open(api, STREAM, headers)),
      )),
    );
  }
  await Promise.all(streams.map((stream) => stream.until('counts')));
  assert.equal(api.hub.connections, 1000);
  for (const [i, user] of users.entries()) await api.deliver(i + 1, user);
  const items = await Promise.all(streams.map((stream) => stream.next()));
  assert.deepEqual(
    items.map(({ data }) => data.id),
    streams.map((_, i) => id(Math.floor(i / 20) + 1)),
  );
  await api.hub.stop();
  await Promise.all(streams.map((stream) => stream.ended));
  const times = streams.map((stream) => stream.retries.at(-1) ?? 0);
  assert.ok(Math.max(...times) <= 3_000 && new Set(times).size > 500, 'each has a time of its own');
});
