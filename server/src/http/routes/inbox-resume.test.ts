/**
 * Clients that lose their connection again and again while items come: whatever the moment, each
 * item arrives once. A client knows only what it has received in full, as browsers do.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { InboxOwner } from '../../adapters/in-app/inbox-store.ts';
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

const SEEDS = [1, 22, 333];
const ITEMS_PER_USER = 400;
const USERS = 3;
/** A connection is killed after at most this many bytes: some 8 items. */
const LONGEST_LIFE_BYTES = 4_000;

/** Numbers from 0 to below 1, the same for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

/** Lets others have their turn, so that what happens at the same time is mixed differently each time. */
async function turns(random: () => number): Promise<void> {
  for (let left = Math.floor(random() * 6); left > 0; left--) await setImmediate();
}

interface Follower {
  owner: InboxOwner;
  /** Ids in the order in which they came. */
  received: string[];
  /** Resumes after this. */
  last: string;
  connections: number;
}

/** Follows over one connection, which is lost after a number of bytes or when everything has come. */
type Follow = (api: InboxApp, follower: Follower, token: string, bytes: number) => Promise<void>;

async function overStream(api: InboxApp, follower: Follower, token: string, bytes: number) {
  using client = await StreamClient.open(api, '/v1/inbox/stream', {
    ...bearer(token),
    'last-event-id': follower.last,
  });
  const lost = new Promise<void>((resolve) => {
    client.ended.then(resolve, resolve);
    client.response.on('data', () => {
      if (client.text.length >= bytes || hasAll(follower, client.all)) resolve();
    });
  });
  await lost;
  client.destroy();
  // In the middle of an event as well: what was cut off was not received.
  const text = client.text.slice(0, Math.max(bytes, 1));
  const whole = text.slice(0, text.lastIndexOf('\n\n') + 2);
  take(follower, messagesIn(whole), [...whole.matchAll(/^id: (.*)$/gm)].at(-1)?.[1]);
}

async function overSocket(api: InboxApp, follower: Follower, token: string, bytes: number) {
  using client = await SocketClient.open(api, token, follower.last);
  let read = 0;
  const lost = new Promise<void>((resolve) => {
    client.closed.then(() => resolve(), resolve);
    client.socket.on('message', (data) => {
      read += String(data).length;
      if (read >= bytes || hasAll(follower, client.all)) resolve();
    });
  });
  await lost;
  client.socket.terminate();
  take(follower, client.all, client.last);
}

function hasAll({ received }: Follower, messages: readonly LiveMessage[]): boolean {
  return received.length + messages.filter(({ type }) => type === 'item').length >= ITEMS_PER_USER;
}

function take(
  follower: Follower,
  messages: readonly LiveMessage[],
  last: string | undefined,
): void {
  for (const { type, data } of messages) {
    if (type === 'item') follower.received.push(data.id);
  }
  follower.last = last ?? follower.last;
  follower.connections++;
}

/** Delivers everything, several at a time, mixed over the users; some are delivered again. */
async function deliverAll(
  api: InboxApp,
  owners: InboxOwner[],
  random: () => number,
): Promise<void> {
  const left = owners.map((owner, user) => ({
    owner,
    ids: Array.from({ length: ITEMS_PER_USER }, (_, i) => user * ITEMS_PER_USER + i + 1),
  }));
  while (left.some(({ ids }) => ids.length > 0)) {
    const group: Promise<number>[] = [];
    for (const { owner, ids } of left) {
      for (const n of ids.splice(0, Math.floor(random() * 6))) {
        group.push(api.deliver(n, owner));
        if (random() < 0.1) group.push(api.deliver(n, owner));
      }
    }
    await Promise.all(group);
    await turns(random);
  }
}

async function run(follow: Follow, seed: number): Promise<Follower[]> {
  await using api = await openInboxApp();
  const random = randomFrom(seed);
  // Catching up takes a while, in which items keep coming.
  api.inbox.pause = () => turns(random);
  const followers = Array.from({ length: USERS }, (_, i): Follower => {
    const owner = { ...api.ada, userId: `user-${i}` };
    return { owner, received: [], last: '0', connections: 0 };
  });
  const owners = followers.map(({ owner }) => owner);
  const delivered = deliverAll(api, owners, random);
  await Promise.all(
    followers.map(async (follower) => {
      const token = await api.token(follower.owner);
      while (follower.received.length < ITEMS_PER_USER) {
        await follow(api, follower, token, random() * LONGEST_LIFE_BYTES);
      }
    }),
  );
  await delivered;
  return followers;
}

for (const [name, follow] of [
  ['event stream', overStream],
  ['WebSocket', overSocket],
] as const) {
  describe(`lost connections over ${name}`, { timeout: 120_000 }, () => {
    for (const seed of SEEDS) {
      test(`seed ${seed}: missed 0, repeated 0, in order`, async () => {
        for (const [user, { received, connections }] of (await run(follow, seed)).entries()) {
          const expected = Array.from({ length: ITEMS_PER_USER }, (_, i) =>
            formatId('msg', user * ITEMS_PER_USER + i + 1),
          );
          assert.deepEqual(received, expected);
          assert.ok(connections > 20, `${connections} connections`);
        }
      });
    }
  });
}
