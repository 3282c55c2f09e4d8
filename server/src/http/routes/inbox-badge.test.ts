/**
 * Badges and lists that a client keeps from its stream alone: items come, are replaced, removed and
 * marked, connections are lost at any moment, and in the end the client has what the store has.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { InboxCounts, InboxItem } from '@tidings/contracts/inbox';
import { formatId } from '../../id.ts';
import {
  bearer,
  type InboxApp,
  type LiveMessage,
  messagesIn,
  openInboxApp,
  SocketClient,
  StreamClient,
} from '../../inbox/conformance-app.ts';

const STREAM = '/v1/inbox/stream';
const SEEDS = [1, 22, 333];
const STEPS = 300;
const id = (n: number) => formatId('msg', n);

/** Numbers from 0 to below 1, the same for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

/** What a client knows: only what it has received in full. */
class Follower {
  readonly shown = new Map<string, InboxItem>();
  readonly told: string[] = [];
  counts: InboxCounts | undefined;
  last = '0';
  resumed = true;

  take(messages: readonly LiveMessage[], last: string | undefined): void {
    for (const { type, data } of messages) {
      if (type === 'item') this.#come(data);
      if (type === 'marked' && data.replacedBy !== null) this.#leave('replaced', data.items);
      if (type === 'removed') this.#leave('removed', data.items);
      if (type === 'counts') this.counts = data;
      if (type === 'ready') this.resumed &&= data.resumed;
    }
    this.last = last ?? this.last;
  }

  #come(item: InboxItem): void {
    this.told.push(`item ${item.id}`);
    if (item.archivedAt === null) this.shown.set(item.id, item);
  }

  #leave(how: string, items: string[]): void {
    for (const one of items) {
      this.told.push(`${how} ${one}`);
      this.shown.delete(one);
    }
  }
}

type Connect = (api: InboxApp, follower: Follower) => Promise<{ lose(bytes: number): void }>;

async function overStream(api: InboxApp, follower: Follower) {
  const client = await StreamClient.open(api, STREAM, {
    ...bearer(await api.token()),
    'last-event-id': follower.last,
  });
  return {
    lose(share: number) {
      client.destroy();
      const text = client.text.slice(0, Math.ceil(client.text.length * share));
      const whole = text.slice(0, text.lastIndexOf('\n\n') + 2);
      follower.take(messagesIn(whole), [...whole.matchAll(/^id: (.*)$/gm)].at(-1)?.[1]);
    },
  };
}

async function overSocket(api: InboxApp, follower: Follower) {
  const client = await SocketClient.open(api, await api.token(), follower.last);
  return {
    lose() {
      client.socket.terminate();
      follower.take(client.all, client.last);
    },
  };
}

/** One random thing that happens to the inbox. */
async function step(api: InboxApp, n: number, random: () => number): Promise<void> {
  const kind = random();
  if (kind < 0.6) {
    const collapseKey = random() < 0.5 ? `k${Math.floor(random() * 3)}` : null;
    await api.deliver(n, api.ada, { collapseKey });
  } else if (kind < 0.8) {
    await api.inbox.remove(Math.ceil(random() * n));
  } else {
    await fetch(`${api.url}/v1/inbox/mark`, {
      method: 'POST',
      headers: { ...bearer(await api.token()), 'content-type': 'application/json' },
      body: JSON.stringify({ action: random() < 0.5 ? 'seen' : 'read', items: 'all' }),
    });
  }
  if (random() < 0.3) await api.look();
  for (let turns = Math.floor(random() * 4); turns > 0; turns--) await setImmediate();
}

async function run(connect: Connect, seed: number): Promise<void> {
  await using api = await openInboxApp();
  const random = randomFrom(seed);
  const follower = new Follower();
  let connection = await connect(api, follower);
  for (let n = 1; n <= STEPS; n++) {
    await step(api, n, random);
    if (random() < 0.1) {
      connection.lose(random());
      connection = await connect(api, follower);
    }
  }
  connection.lose(1);
  // A last connection until it has heard everything.
  const expected = await api.inbox.store.counts(api.ada);
  using client = await StreamClient.open(api, STREAM, {
    ...bearer(await api.token()),
    'last-event-id': follower.last,
  });
  await client.until('counts');
  follower.take(client.all, undefined);
  assert.deepEqual(follower.counts, expected);
  const { items } = await api.inbox.store.list(api.ada, {
    state: 'all',
    category: null,
    limit: 1000,
    cursor: null,
  });
  assert.deepEqual([...follower.shown.keys()].sort(), items.map((item) => item.id).sort());
  assert.equal(new Set(follower.told).size, follower.told.length, 'repeated 0');
  assert.ok(follower.resumed);
  const kinds = new Set(follower.told.map((told) => told.split(' ')[0]));
  assert.deepEqual([...kinds].sort(), ['item', 'removed', 'replaced']);
}

for (const [name, connect] of [
  ['event stream', overStream],
  ['WebSocket', overSocket],
] as const) {
  describe(`a list kept over ${name}`, { timeout: 120_000 }, () => {
    for (const seed of SEEDS) {
      test(`seed ${seed}: ends as the store has it, nothing told twice`, () => run(connect, seed));
    }
  });
}

async function open(api: InboxApp, last?: string): Promise<StreamClient> {
  const client = await StreamClient.open(api, STREAM, {
    ...bearer(await api.token()),
    ...(last !== undefined && { 'last-event-id': last }),
  });
  await client.until('counts');
  return client;
}

test('an open stream is told what an item replaced, and the counts that follow', async () => {
  await using api = await openInboxApp();
  using stream = await open(api);
  await api.deliver(1, api.ada, { collapseKey: 'k' });
  await api.look();
  assert.deepEqual((await stream.nextOf('counts')).data, { unseen: 1, unread: 1, total: 1 });
  await api.deliver(2, api.ada, { collapseKey: 'k' });
  await api.look();
  assert.equal((await stream.next()).data.id, id(2));
  const marked = await stream.next();
  assert.equal(marked.type, 'marked');
  const { at, ...data } = marked.data;
  assert.deepEqual(data, { action: 'archive', items: [id(1)], category: null, replacedBy: id(2) });
  assert.ok(!Number.isNaN(Date.parse(at)));
  await api.deliver(3);
  await api.look();
  assert.equal((await stream.next()).data.id, id(3), 'counts that are as they were are not told');
  assert.deepEqual((await stream.next()).data, { unseen: 2, unread: 2, total: 2 });
});

test('an open stream is told what was removed, also before reads had shown it', async () => {
  await using api = await openInboxApp();
  using stream = await open(api);
  await api.deliver(1);
  await api.inbox.remove(1);
  await api.look();
  assert.equal((await stream.next()).type, 'item');
  const removed = await stream.next();
  assert.equal(removed.type, 'removed');
  assert.deepEqual(removed.data.items, [id(1)]);
  assert.equal(stream.all.filter(({ type }) => type === 'counts').length, 1, 'still none');
});

test('counts wait for what was told: behind a slow projection they come late, and right', async () => {
  await using api = await openInboxApp();
  using stream = await open(api);
  api.inbox.following = false;
  await api.deliver(1);
  for (let looks = 0; looks < 3; looks++) {
    api.clock.advance(100);
    await setImmediate();
  }
  api.inbox.following = true;
  await api.look();
  assert.equal((await stream.next()).type, 'item');
  assert.deepEqual((await stream.next()).data, { unseen: 1, unread: 1, total: 1 });
});

test('what lies too far back is not resumed, and the client is told', async () => {
  await using api = await openInboxApp();
  await api.deliver(1);
  await api.inbox.store.position();
  const { last } = api.inbox.messages.prepare('SELECT max(seq) AS last FROM inbox_log').get() as {
    last: number;
  };
  // As if very much had happened to other inboxes since.
  api.inbox.projection.exec(`UPDATE position SET value = ${last + 300_000} WHERE name = 'inbox'`);
  using stream = await StreamClient.open(api, STREAM, {
    ...bearer(await api.token()),
    'last-event-id': `${last}-${last}`,
  });
  const ready = await stream.nextOf('ready');
  assert.equal(ready.data.resumed, false);
});
