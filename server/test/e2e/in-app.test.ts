/** The in-app inbox as a user's devices see it: over HTTP, event streams and WebSockets, and across restarts. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import type {
  InboxClosing,
  InboxCounts,
  InboxItem,
  InboxMarked,
  InboxReady,
  InboxRemoved,
} from '@tidings/contracts/inbox';
import type { Notification } from '@tidings/contracts/notification';
import { EventSource } from 'eventsource';
import { WebSocket } from 'ws';
import { EventStreamReader } from '../support/event-stream.ts';
import type { HttpAnswer, HttpCall } from '../support/http-client.ts';
import { assertProblem } from '../support/problem.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';
import { until, within } from '../support/within.ts';

let tidings: Tidings;
before(async () => {
  tidings = await startTidings({ env: PATIENT });
});
after(async () => {
  await tidings?.[Symbol.asyncDispose]();
});

/** A user with a token, as the application of a shop would let them in. */
interface User {
  id: string;
  token: string;
  call(path: string, call?: HttpCall): Promise<HttpAnswer>;
}

let users = 0;
async function newUser(id = `ada-${++users}`, service = tidings): Promise<User> {
  const minted = await service.call('/v1/inbox/tokens', { body: { userId: id } });
  assert.equal(minted.status, 201, minted.text);
  const { token } = minted.json<{ token: string }>();
  const call: User['call'] = (path, options = {}) =>
    service.call(path, {
      ...options,
      headers: { authorization: `Bearer ${token}`, ...options.headers },
    });
  return { id, token, call };
}

async function send(user: User, body: object = {}, service = tidings): Promise<Notification> {
  const answer = await service.call('/v1/notifications?wait=30s', {
    body: { to: { userId: user.id }, channels: ['in_app'], content: { title: 'Hello' }, ...body },
  });
  assert.equal(answer.status, 200, answer.text);
  return answer.json<Notification>();
}

async function sendTitled(user: User, title: string, service = tidings): Promise<string> {
  const { messages } = await send(user, { content: { title } }, service);
  assert.equal(messages[0]?.status, 'delivered');
  return messages[0]?.id as string;
}

async function items(user: User, query = ''): Promise<InboxItem[]> {
  return (await user.call(`/v1/inbox${query}`)).json<{ items: InboxItem[] }>().items;
}

async function counts(user: User): Promise<InboxCounts> {
  return (await user.call('/v1/inbox/counts')).json<InboxCounts>();
}

async function mark(user: User, action: string, what: string[] | 'all') {
  const answer = await user.call('/v1/inbox/mark', { body: { action, items: what } });
  assert.equal(answer.status, 200, answer.text);
  return answer.json<{ changed: number; counts: InboxCounts }>();
}

function openStream(user: User, lastEventId?: string): Promise<EventStreamReader> {
  return EventStreamReader.open(`${tidings.url}/v1/inbox/stream`, {
    authorization: `Bearer ${user.token}`,
    ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
  });
}

function ready(stream: EventStreamReader): Promise<void> {
  return stream.until('ready', (one) => one.of('counts').length > 0);
}

function titlesOf(stream: EventStreamReader): unknown[] {
  return stream.of('item').map(({ data }) => (data as InboxItem).title);
}

/** The client of browsers, with the token in a header, which comes back by itself. */
function browser(user: User): { source: EventSource; titles: string[] } & Disposable {
  const titles: string[] = [];
  const source = new EventSource(`${tidings.url}/v1/inbox/stream`, {
    fetch: (url, init) =>
      fetch(url, { ...init, headers: { ...init.headers, Authorization: `Bearer ${user.token}` } }),
  });
  source.addEventListener('item', ({ data }) =>
    titles.push((JSON.parse(data) as InboxItem).title as string),
  );
  return { source, titles, [Symbol.dispose]: () => source.close() };
}

interface Frame {
  type: string;
  position?: string;
  id?: unknown;
  data?: unknown;
}

/** A device that follows over WebSocket. */
class Device implements Disposable {
  readonly socket: WebSocket;
  readonly frames: Frame[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;

  constructor(query = '', options: { origin?: string; headers?: Record<string, string> } = {}) {
    this.socket = new WebSocket(`ws://127.0.0.1:${tidings.port}/v1/inbox/socket${query}`, options);
    this.socket.on('message', (data) => this.frames.push(JSON.parse(String(data)) as Frame));
    this.closed = new Promise((resolve) => {
      this.socket.on('close', (code, reason) => resolve({ code, reason: String(reason) }));
    });
    this.socket.on('error', () => {});
  }

  static async open(user: User, lastPosition?: string): Promise<Device> {
    const device = new Device();
    await once(device.socket, 'open');
    device.send({ type: 'auth', token: user.token, lastPosition });
    await device.until('counts', ({ type }) => type === 'counts');
    return device;
  }

  send(frame: unknown): void {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  until(what: string, condition: (frame: Frame) => boolean): Promise<Frame> {
    return until(what, () => this.frames.find(condition), { seconds: 30 });
  }

  of(type: string): unknown[] {
    return this.frames.filter((frame) => frame.type === type).map(({ data }) => data);
  }

  [Symbol.dispose](): void {
    this.socket.terminate();
  }
}

describe('what is sent', () => {
  it('is in the inbox, and on every device at once', async () => {
    const user = await newUser('张三/🎉 ');
    using stream = await openStream(user);
    await ready(stream);
    using device = await Device.open(user);
    const minted = await user.call('/v1/inbox/tickets', { method: 'POST' });
    assert.equal(minted.status, 201, minted.text);
    const { ticket } = minted.json<{ ticket: string }>();
    const ticketed = new EventSource(`${tidings.url}/v1/inbox/stream?ticket=${ticket}`);
    using page = browser(user);
    const heard = once(ticketed, 'item') as Promise<[{ data: string }]>;
    await within(
      30,
      'both pages',
      Promise.all([once(ticketed, 'ready'), once(page.source, 'ready')]),
    );

    const content = {
      title: '您好 {{ name }}',
      text: 'It has shipped. 🎉',
      url: 'https://shop.example/o/42',
      actions: [{ label: 'Track', url: 'https://shop.example/t/42' }],
      payload: { order: 42 },
    };
    const sent = await send(user, { content, data: { name: '李' }, category: 'orders' });
    const [listed] = await items(user);
    assert.deepEqual(
      { ...listed, createdAt: '' },
      {
        id: sent.messages[0]?.id,
        title: '您好 李',
        text: 'It has shipped. 🎉',
        url: content.url,
        imageUrl: null,
        actions: content.actions,
        data: { order: 42 },
        category: 'orders',
        collapseKey: null,
        createdAt: '',
        seenAt: null,
        readAt: null,
        archivedAt: null,
      },
    );
    await stream.until('the item', (one) => one.of('item').length > 0);
    assert.deepEqual(stream.of('item')[0]?.data, listed);
    assert.deepEqual((await device.until('the item', ({ type }) => type === 'item')).data, listed);
    const [event] = await within(30, 'the item by ticket', heard);
    assert.deepEqual(JSON.parse(event.data), listed);
    await until('the item on the page', () => page.titles.length > 0);
    assert.deepEqual(page.titles, ['您好 李']);
    ticketed.close();
    const again = await tidings.call(`/v1/inbox/stream?ticket=${ticket}`, {
      headers: { authorization: '' },
    });
    assertProblem(again, 401, 'a ticket works once');
  });

  it('is counted until it is read, and what was read is told to the application', async () => {
    const user = await newUser();
    const sent = [await send(user), await send(user), await send(user)];
    const ids = sent.map(({ messages }) => messages[0]?.id as string);
    assert.deepEqual(await counts(user), { unseen: 3, unread: 3, total: 3 });
    using laptop = await openStream(user);
    await ready(laptop);
    assert.deepEqual(laptop.of('counts')[0]?.data, { unseen: 3, unread: 3, total: 3 });
    using phone = await Device.open(user);

    const marked = await mark(user, 'read', [ids[0] as string]);
    assert.deepEqual(marked, { changed: 1, counts: { unseen: 2, unread: 2, total: 3 } });
    await laptop.until('the mark', (one) => one.of('counts').length > 1);
    const told = laptop.of('marked').map(({ data }) => data as InboxMarked);
    assert.deepEqual(
      told.map(({ action, items: what }) => [action, what]),
      [['read', [ids[0]]]],
    );
    assert.deepEqual(laptop.of('counts')[1]?.data, marked.counts);
    await phone.until('the mark', ({ type }) => type === 'marked');
    phone.send({ type: 'mark', id: 'm', action: 'seen', items: 'all' });
    const result = await phone.until('the answer', ({ id }) => id === 'm');
    assert.deepEqual(result.data, { changed: 2, counts: { unseen: 0, unread: 2, total: 3 } });
    await laptop.until('the other mark', (one) => one.of('marked').length > 1);
    await mark(user, 'archive', [ids[1] as string]);
    assert.deepEqual(await counts(user), { unseen: 0, unread: 1, total: 2 });
    assert.deepEqual(
      (await items(user, '?state=archived')).map(({ id }) => id),
      [ids[1]],
    );
    assert.deepEqual(
      (await items(user, '?state=unread')).map(({ id }) => id),
      [ids[2]],
    );
    assert.equal((await mark(user, 'read', ['msg_00000000000', 'nonsense'])).changed, 0);

    const engagementOf = async (id: string | undefined): Promise<string[]> => {
      const found = (await tidings.call(`/v1/notifications/${id}`)).json<Notification>();
      const [message] = found.messages;
      assert.equal(message?.status, 'delivered', 'engagement never changes the status');
      return Object.keys(message?.engagement ?? {}).sort();
    };
    assert.deepEqual(await engagementOf(sent[0]?.id), ['readAt', 'seenAt']);
    assert.deepEqual(await engagementOf(sent[1]?.id), ['archivedAt', 'seenAt']);
    assert.deepEqual(await engagementOf(sent[2]?.id), ['seenAt']);
    await mark(user, 'unread', [ids[0] as string]);
    await mark(user, 'unarchive', [ids[1] as string]);
    assert.deepEqual(await engagementOf(sent[0]?.id), ['seenAt']);
    assert.deepEqual(await counts(user), { unseen: 0, unread: 3, total: 3 });
  });

  it('replaces what it says it replaces', async () => {
    const user = await newUser();
    const collapsing = (title: string) =>
      send(user, { content: { title }, collapseKey: 'build-7' });
    const running = (await collapsing('running')).messages[0]?.id;
    using stream = await openStream(user);
    await ready(stream);
    await sendTitled(user, 'another');
    const passed = (await collapsing('passed')).messages[0]?.id;
    await stream.until('the replacement', (one) => one.of('marked').length > 0);
    const [{ action, items: replaced, replacedBy }] = stream
      .of('marked')
      .map(({ data }) => data) as [InboxMarked];
    assert.deepEqual([action, replaced, replacedBy], ['archive', [running], passed]);
    await stream.until('the counts', (one) =>
      one.of('counts').some(({ data }) => (data as InboxCounts).total === 2),
    );
    assert.deepEqual(
      (await items(user)).map(({ title }) => title),
      ['passed', 'another'],
    );
    assert.deepEqual(
      (await items(user, '?state=archived')).map(({ title }) => title),
      ['running'],
    );
    assert.deepEqual(await counts(user), { unseen: 2, unread: 2, total: 2 });
  });

  it('is not sent to who does not want it', async () => {
    const user = await newUser();
    await tidings.call(`/v1/users/${user.id}`, {
      method: 'PUT',
      body: { preferences: { channels: { in_app: false } } },
    });
    const { messages } = await send(user);
    assert.deepEqual([messages[0]?.status, messages[0]?.reason], ['suppressed', 'opted_out']);
    assert.deepEqual(await counts(user), { unseen: 0, unread: 0, total: 0 });
  });

  it('is gone when its notification is deleted', async () => {
    const user = await newUser();
    const { id, messages } = await send(user);
    using stream = await openStream(user);
    await ready(stream);
    assert.equal((await tidings.call(`/v1/notifications/${id}`, { method: 'DELETE' })).status, 204);
    assert.deepEqual(await items(user), []);
    assert.deepEqual(await counts(user), { unseen: 0, unread: 0, total: 0 });
    await stream.until('the counts', (one) => one.of('counts').length > 1);
    assert.deepEqual(
      stream.of('removed').map(({ data }) => (data as InboxRemoved).items),
      [[messages[0]?.id]],
    );
    assert.deepEqual(stream.of('counts').at(-1)?.data, { unseen: 0, unread: 0, total: 0 });
  });

  it('comes page by page, newest first', async () => {
    const user = await newUser();
    for (let n = 0; n < 12; n++) await sendTitled(user, `${n}`);
    const seen: unknown[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const from: string = cursor === '' ? '' : `&cursor=${cursor}`;
      const page = (await user.call(`/v1/inbox?limit=5${from}`)).json<{
        items: InboxItem[];
        next: string | null;
      }>();
      seen.push(...page.items.map(({ title }) => title));
      cursor = page.next;
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 12 }, (_, n) => `${11 - n}`),
    );
  });
});

describe('an inbox', () => {
  it('is of one user alone', async () => {
    const [ada, eve] = [await newUser('ada'), await newUser('Ada')];
    using hers = await openStream(eve);
    await ready(hers);
    using device = await Device.open(eve);
    const id = await sendTitled(ada, 'for Ada');
    assert.equal((await mark(eve, 'archive', [id])).changed, 0);
    device.send({ type: 'mark', id: 1, action: 'read', items: [id] });
    const result = await device.until('the answer', (frame) => frame.id === 1);
    assert.equal((result.data as { changed: number }).changed, 0);
    await sendTitled(eve, 'for Eve');
    await hers.until('an item', (one) => one.of('item').length > 0);
    assert.deepEqual(titlesOf(hers), ['for Eve']);
    await device.until('an item', ({ type }) => type === 'item');
    assert.deepEqual(
      (device.of('item') as InboxItem[]).map(({ title }) => title),
      ['for Eve'],
    );
    assert.deepEqual(
      (await items(eve)).map(({ title }) => title),
      ['for Eve'],
    );
    assert.deepEqual(await counts(ada), { unseen: 1, unread: 1, total: 1 });
  });

  it('is opened by its token, in its place', async () => {
    const user = await newUser();
    const refusals: Device[] = [
      new Device(`?token=${user.token}`),
      new Device(`?ticket=${user.token}`),
      new Device('', { origin: 'https://evil.example' }),
      new Device('', { origin: `http://127.0.0.1:${tidings.port + 1}` }),
    ];
    for (const device of refusals) {
      await within(30, 'a refusal', device.closed);
      assert.equal(device.frames.length, 0);
    }
    for (const [first, code] of [
      [{ type: 'auth', token: `${user.token}x` }, 4401],
      [{ type: 'auth', token: tidings.key }, 4401],
      [{ type: 'mark', action: 'read', items: 'all' }, 4401],
      ['not JSON', 1008],
      ['x'.repeat(1024 * 1024), 1009],
    ] as const) {
      using device = new Device();
      await once(device.socket, 'open');
      device.send(first);
      assert.equal(
        (await within(30, 'a close', device.closed)).code,
        code,
        JSON.stringify(first).slice(0, 80),
      );
    }
    using device = await Device.open(user);
    device.socket.send(Buffer.alloc(10), { binary: true });
    assert.equal((await within(30, 'a close', device.closed)).code, 1003);
    for (const path of [`/v1/inbox?token=${user.token}`, `/v1/inbox/stream?token=${user.token}`]) {
      const answer = await tidings.call(path, { headers: { authorization: '' } });
      assertProblem(answer, [400, 401], path);
    }
    assertProblem(await tidings.call('/v1/inbox'), 401, 'a key of the application is no token');
    assert.equal((await tidings.call('/health/ready')).status, 200);
  });
});

describe('a connection that is lost', () => {
  it('goes on where it was, over a restart', async () => {
    const user = await newUser();
    await sendTitled(user, 'old');
    using first = await openStream(user);
    await ready(first);
    await sendTitled(user, 'one');
    await first.until('one', (one) => one.of('item').length > 0);
    assert.deepEqual(titlesOf(first), ['one']);
    using page = browser(user);
    await within(30, 'the page', once(page.source, 'ready'));
    using device = await Device.open(user);

    assert.equal((await tidings.stop()).code, 0);
    await within(30, 'the end', first.ended);
    assert.deepEqual(
      first.of('closing').map(({ data }) => (data as InboxClosing).reason),
      ['shutting_down'],
    );
    assert.ok((first.retries.at(-1) ?? 0) > 0, 'it says when to come back');
    assert.equal((await within(30, 'the close', device.closed)).code, 1001);
    assert.deepEqual(
      (device.of('closing') as InboxClosing[]).map(({ reason }) => reason),
      ['shutting_down'],
    );

    await tidings.restart();
    for (const title of ['two', 'three']) await sendTitled(user, title);
    using second = await openStream(user, first.lastId);
    await ready(second);
    assert.deepEqual(titlesOf(second), ['two', 'three'], 'what was missed, once, in order');
    await sendTitled(user, 'four');
    await second.until('four', (one) => one.of('item').length > 2);
    const position = (device.of('ready')[0] as InboxReady).position;
    using resumed = await Device.open(user, position);
    assert.deepEqual(
      (resumed.of('item') as InboxItem[]).map(({ title }) => title),
      ['two', 'three', 'four'],
    );
    await until('the page to come back', () => page.titles.length >= 3, { seconds: 45 });
    assert.deepEqual(page.titles, ['two', 'three', 'four']);
    assert.deepEqual(await counts(user), { unseen: 5, unread: 5, total: 5 });
  });

  it('goes on where it was, over a crash', async () => {
    const user = await newUser();
    using page = browser(user);
    await within(30, 'the page', once(page.source, 'ready'));
    using stream = await openStream(user);
    await ready(stream);
    for (const title of ['one', 'two']) await sendTitled(user, title);
    await stream.until('two', (one) => one.of('item').length > 1);
    await until('two', () => page.titles.length > 1);
    await tidings.kill();
    await tidings.restart();
    await sendTitled(user, 'three');
    using again = await openStream(user, stream.lastId);
    await ready(again);
    assert.deepEqual(titlesOf(again), ['three']);
    await until('the page to come back', () => page.titles.length > 2, { seconds: 45 });
    assert.deepEqual(page.titles, ['one', 'two', 'three']);
    assert.equal((await items(user)).length, 3);
  });
});

describe('a user who is removed', () => {
  it('is let in nowhere any more, on no device, and comes back to an empty inbox', async () => {
    await using service = await startTidings({ env: { ...PATIENT, TIDINGS_HTTP_THREADS: '2' } });
    const path = '/v1/users/leaver';
    assert.equal((await service.call(path, { method: 'PUT', body: {} })).status, 201);
    const user = await newUser('leaver', service);
    await sendTitled(user, 'before', service);
    const headers = { authorization: `Bearer ${user.token}` };
    // Over both threads, as it happens.
    const streams = await Promise.all(
      Array.from({ length: 8 }, () =>
        EventStreamReader.open(`${service.url}/v1/inbox/stream`, headers),
      ),
    );
    await Promise.all(streams.map(ready));
    assert.equal((await service.call(path, { method: 'DELETE' })).status, 204);
    for (let n = 0; n < 8; n++) {
      assertProblem(await user.call('/v1/inbox'), 401, 'at once, in every thread');
    }
    await within(10, 'the ends', Promise.all(streams.map((stream) => stream.ended)));
    for (const stream of streams) {
      assert.deepEqual(
        stream.of('closing').map(({ data }) => (data as InboxClosing).reason),
        ['user_removed'],
      );
    }
    assert.equal((await service.call(path, { method: 'PUT', body: {} })).status, 201);
    const again = await newUser('leaver', service);
    assert.deepEqual(await items(again), []);
    assert.deepEqual(await counts(again), { unseen: 0, unread: 0, total: 0 });
    await service.kill();
    await service.restart();
    assertProblem(await user.call('/v1/inbox'), 401, 'also after a crash');
    assert.deepEqual(await items(again), []);
  });
});
