import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { openNotificationStore } from '../../test/support/notification-store.ts';
import { createTracker } from '../analytics/tracker.ts';
import { MemoryHints } from '../cache/memory.ts';
import { systemClock } from '../clock.ts';
import { type Lane, writeBody } from '../notification/notification.ts';
import { bodyOf } from '../notification/notification-store.conformance.ts';
import type { QueueEntry } from '../notification/notification-store.ts';
import { entriesOf } from '../notification/queue-entry.ts';
import { MemoryQueue, MemoryQueuePublisher } from '../queue/memory.ts';
import { createCompleter } from './completer.ts';
import { createProcessor } from './processor.ts';
import type { Settlement } from './settlement.ts';

const APPLICATION = 7;
const CLAIM_MS = 60_000;
const SHARES = { concurrency: 8, reservedHigh: 0.25, guaranteedMedium: 0, guaranteedLow: 0 };

function delivered(entry: QueueEntry): Settlement {
  return {
    events: [],
    completion: {
      messageId: entry.messageId,
      claim: entry.claim + 1,
      status: 'delivered',
      nextAt: null,
      attempt: entry.attempt + 1,
      attemptsBefore: entry.attemptsBefore,
      step: 0,
      route: null,
      channel: 'email',
      provider: 'test',
      providerMessageId: null,
      reason: null,
      at: systemClock.now(),
    },
  };
}

/** A processor with a store and a queue of its own, whose deliveries the test lets go. */
async function open({ shares = SHARES, places = 100 } = {}) {
  const { store, events, [Symbol.asyncDispose]: close } = openNotificationStore();
  const { port1, port2 } = new MessageChannel();
  const publisher = new MemoryQueuePublisher(port1);
  const queue = new MemoryQueue({ channels: ['email'], claimMs: CLAIM_MS });
  const clock = systemClock;
  const tracker = createTracker({ events, clock });
  const begun: QueueEntry[] = [];
  const held: (() => void)[] = [];
  let waiter: { count: number; resolve(): void } | undefined;
  const completer = createCompleter({
    store,
    tracker,
    hints: new MemoryHints(),
    clock,
    stored: () => {},
  });
  const processor = createProcessor({
    store,
    queue,
    completer,
    clock,
    capacity: () => places - held.length,
    shares,
    laneCapacity: 1000,
    claimMs: CLAIM_MS,
    deliver: (entry) =>
      new Promise((resolve) => {
        begun.push(entry);
        held.push(() => resolve(delivered(entry)));
        if (waiter && begun.length >= waiter.count) waiter.resolve();
      }),
  });
  queue.offer({ lanes: [0, 4, 0], channel: () => 4 });
  const told = once(port1, 'message');
  await processor.start();
  queue.connect(port2);
  await told;
  // As the sweeper does when it has looked into the store.
  processor.incomplete.clear();

  async function accept({ late = 0, lane = 1 as Lane } = {}): Promise<number> {
    const createdAt = clock.now() - late;
    const body = bodyOf({ createdAt });
    const place = publisher.place(lane, 'email');
    const claimUntil = place ? createdAt + place.claimMs : null;
    const accepted = await store.accept({
      applicationId: APPLICATION,
      lane,
      body,
      text: writeBody(body),
      leaseUntil: createdAt + 300_000,
      claimUntil,
      idempotency: null,
    });
    assert.equal(accepted.kind, 'accepted');
    const { id } = accepted as { id: number };
    const [entry] = entriesOf({
      id,
      applicationId: APPLICATION,
      body,
      text: writeBody(body),
      watched: false,
      claimedUntil: claimUntil,
      defaultOrder: [],
    });
    publisher.publish([{ ...(entry as QueueEntry), lane }]);
    return id;
  }

  /** A message whose claim was never completed, so often. */
  async function inherit(deaths: number): Promise<QueueEntry> {
    const body = bodyOf({ createdAt: clock.now() });
    const accepted = await store.accept({
      applicationId: APPLICATION,
      lane: 1,
      body,
      text: writeBody(body),
      leaseUntil: clock.now() + 300_000,
      claimUntil: null,
      idempotency: null,
    });
    const { id } = accepted as { id: number };
    const until = clock.now() + CLAIM_MS;
    for (let claim = 0; claim < deaths; claim++)
      await store.claim([{ messageId: id + 1, claim, until }]);
    const [entry] = entriesOf({
      id,
      applicationId: APPLICATION,
      body,
      text: writeBody(body),
      watched: false,
      claimedUntil: null,
      defaultOrder: [],
    });
    return { ...(entry as QueueEntry), claim: deaths, attempt: deaths, suspect: true };
  }

  return {
    store,
    queue,
    inherit,
    publisher,
    processor,
    begun,
    accept,
    letGo: () => {
      for (const go of held.splice(0)) go();
    },
    async untilBegun(count: number): Promise<void> {
      if (begun.length >= count) return;
      await new Promise<void>((resolve) => {
        waiter = { count, resolve };
      });
    },
    async [Symbol.asyncDispose]() {
      for (const go of held.splice(0)) go();
      await processor.stop();
      await completer.stop();
      await tracker.stop();
      await publisher.stop();
      await queue.stop();
      await close();
    },
  };
}

describe('processor', () => {
  it('delivers what was claimed with its acceptance, and its outcome counts', async () => {
    await using bench = await open();
    const id = await bench.accept();
    await bench.untilBegun(1);
    assert.ok(bench.begun[0]?.claimedUntil, 'it had a place');
    assert.equal((await bench.store.get(APPLICATION, id))?.messages[0]?.claim, 1);
    bench.letGo();
    await bench.processor.stop();
    const [message] = (await bench.store.get(APPLICATION, id))?.messages ?? [];
    assert.deepEqual([message?.status, message?.attempt, message?.claim], ['delivered', 1, 1]);
  });

  it('claims anew what has lost time on its way, and counts no attempt for it', async () => {
    await using bench = await open();
    const id = await bench.accept({ late: 10_000 });
    await bench.untilBegun(1);
    const [entry] = bench.begun;
    assert.deepEqual(
      [entry?.claimedUntil, entry?.claim, (entry?.attempt ?? 0) - (entry?.attemptsBefore ?? 0)],
      [null, 1, 0],
    );
    bench.letGo();
    await bench.processor.stop();
    const [message] = (await bench.store.get(APPLICATION, id))?.messages ?? [];
    assert.deepEqual([message?.status, message?.claim], ['delivered', 2]);
  });

  it('begins no more than its share, and offers no place while others wait', async () => {
    await using bench = await open();
    const accepted = 20;
    for (let i = 0; i < accepted; i++) await bench.accept();
    // A quarter is kept for high priority.
    const most = SHARES.concurrency * (1 - SHARES.reservedHigh);
    await bench.untilBegun(most);
    assert.equal(bench.begun.length, most);
    assert.equal(bench.publisher.place(1, 'email'), undefined);
    while (bench.begun.length < accepted) {
      const before = bench.begun.length;
      bench.letGo();
      await bench.untilBegun(Math.min(accepted, before + 1));
      assert.ok(bench.processor.underWay[1] <= most);
    }
    assert.equal(new Set(bench.begun.map(({ messageId }) => messageId)).size, accepted);
  });

  it('lets no lane starve on a channel that has fewer places than high could fill', async () => {
    const shares = { concurrency: 64, reservedHigh: 0, guaranteedMedium: 0.2, guaranteedLow: 0.1 };
    await using bench = await open({ shares, places: 4 });
    const each = 60;
    for (let i = 0; i < each; i++)
      for (const lane of [0, 1, 2] as const) await bench.accept({ lane });
    // While there is still high to be sent.
    const looked = 80;
    while (bench.begun.length < looked) {
      const before = bench.begun.length;
      await bench.untilBegun(before === 0 ? 1 : before);
      bench.letGo();
      await bench.untilBegun(before + 1);
    }
    const shareOf = (lane: number): number =>
      bench.begun.slice(0, looked).filter((entry) => entry.lane === lane).length / looked;
    assert.ok(shareOf(1) >= 0.15 && shareOf(2) >= 0.06, `${shareOf(1)} ${shareOf(2)}`);
    assert.ok(shareOf(0) >= 0.5, `${shareOf(0)}`);
    const claims = bench.begun.map(({ messageId }) => messageId);
    assert.equal(new Set(claims).size, claims.length, 'nothing is claimed in vain');
  });

  it('delivers what has died once a few at a time, and what has died twice alone', async () => {
    await using bench = await open({ shares: { ...SHARES, concurrency: 64 } });
    const entries: QueueEntry[] = [];
    for (let i = 0; i < 40; i++) entries.push(await bench.inherit(1));
    const twice = await bench.inherit(2);
    bench.processor.take(1, [twice, ...entries, twice], () => {});
    await bench.untilBegun(16);
    assert.equal(bench.begun.length, 16);
    while (bench.begun.length < 40) {
      const before = bench.begun.length;
      bench.letGo();
      await bench.untilBegun(before + 1);
    }
    assert.ok(!bench.begun.some(({ messageId }) => messageId === twice.messageId));
  });

  it('begins nothing twice when the clock jumps over a claim', async () => {
    await using bench = await open();
    const id = await bench.accept();
    await bench.untilBegun(1);
    const jumped = Date.now() + 3_600_000;
    const afterwards = { until: jumped, leaseUntil: jumped + 300_000 };
    const due = await bench.store.takeDue(1, { ...afterwards, limit: 10, queuedOnly: false });
    assert.deepEqual(
      due.map(({ messageId }) => messageId),
      [id + 1],
    );
    bench.processor.take(1, due, () => {});
    // Begun after it, whichever way the entry would have gone.
    bench.processor.take(1, [await bench.inherit(1)], () => {});
    await bench.untilBegun(2);
    assert.equal(bench.begun.filter(({ messageId }) => messageId === id + 1).length, 1);
    bench.letGo();
    await bench.processor.stop();
    const [message] = (await bench.store.get(APPLICATION, id))?.messages ?? [];
    assert.deepEqual([message?.status, message?.attempt, message?.claim], ['delivered', 1, 1]);
  });

  it('goes on offering places when all have been filled and left again', async () => {
    await using bench = await open();
    for (let i = 1; i <= 30; i++) {
      await bench.accept();
      await bench.untilBegun(i);
      bench.letGo();
    }
    const claimed = bench.begun.filter(({ claimedUntil }) => claimedUntil !== null);
    assert.ok(claimed.length >= 10, `${claimed.length} of 30 had a place`);
  });
});
