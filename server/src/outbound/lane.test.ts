import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { QueueEntry } from '../notification/notification-store.ts';
import { LaneBuffer } from './lane-buffer.ts';
import { divide, freeSlots, type LaneShares } from './lane-share.ts';

function entry(messageId: number, channel = 'email', applicationId = 1): QueueEntry {
  return {
    messageId,
    notificationId: messageId - 1,
    applicationId,
    lane: 1,
    channel,
    claim: 0,
    attempt: 0,
    attemptsBefore: 0,
    step: 0,
    route: null,
    body: '{}',
    watched: false,
    claimedUntil: null,
    suspect: false,
  };
}

function take(
  buffer: LaneBuffer,
  limit: number,
  capacity: (channel: string) => number = () => 1e9,
): number[] {
  const into: QueueEntry[] = [];
  const taken = buffer.take(limit, capacity, into);
  assert.equal(taken, into.length);
  return into.map(({ messageId }) => messageId);
}

describe('lane buffer', () => {
  it('keeps the order within a channel and application', () => {
    const buffer = new LaneBuffer(10_000);
    for (let i = 0; i < 5000; i++) buffer.add(entry(i));
    const seen: number[] = [];
    while (buffer.size > 0) seen.push(...take(buffer, 37));
    assert.deepEqual(
      seen,
      Array.from({ length: 5000 }, (_, i) => i),
    );
    assert.deepEqual(take(buffer, 10), []);
  });

  it('passes over a channel without capacity and takes no more than another has', () => {
    const buffer = new LaneBuffer(1000);
    for (let i = 0; i < 10; i++) buffer.add(entry(i, 'email'));
    for (let i = 10; i < 20; i++) buffer.add(entry(i, 'webhook'));
    assert.deepEqual(
      take(buffer, 100, (channel) => (channel === 'email' ? 0 : 3)),
      [10, 11, 12],
    );
    assert.equal(buffer.size, 17);
    assert.deepEqual(
      take(buffer, 2, (channel) => (channel === 'email' ? 9 : 0)),
      [0, 1],
    );
  });

  it('shares one channel capacity among its applications', () => {
    const buffer = new LaneBuffer(1000);
    for (let i = 0; i < 20; i++) buffer.add(entry(i, 'email', i % 2));
    assert.equal(take(buffer, 100, () => 5).length, 5);
  });

  it('lets a quiet application through beside a noisy one', () => {
    const buffer = new LaneBuffer(100_000);
    for (let i = 0; i < 50_000; i++) buffer.add(entry(i, 'email', 1));
    buffer.add(entry(99_999, 'email', 2));
    assert.ok(take(buffer, 64).includes(99_999));
  });

  it('tells its room', () => {
    const buffer = new LaneBuffer(2);
    buffer.add(entry(1));
    assert.equal(buffer.room, 1);
    buffer.add(entry(2));
    buffer.add(entry(3));
    assert.equal(buffer.room, 0);
  });

  it('hands out every entry exactly once, whatever the order of calls', () => {
    const steps = fc.array(
      fc.oneof(
        fc.record({ add: fc.constantFrom('email', 'webhook', 'in_app'), application: fc.nat(3) }),
        fc.record({ take: fc.nat(20), blocked: fc.constantFrom('email', 'none') }),
      ),
      { maxLength: 200 },
    );
    fc.assert(
      fc.property(steps, (calls) => {
        const buffer = new LaneBuffer(1000);
        const seen: number[] = [];
        let added = 0;
        for (const call of calls) {
          if ('add' in call) buffer.add(entry(added++, call.add, call.application));
          else
            seen.push(...take(buffer, call.take, (channel) => (channel === call.blocked ? 0 : 7)));
        }
        while (buffer.size > 0) seen.push(...take(buffer, 50));
        assert.deepEqual(
          [...seen].sort((a, b) => a - b),
          Array.from({ length: added }, (_, i) => i),
        );
      }),
    );
  });
});

const shares: LaneShares = {
  concurrency: 100,
  reservedHigh: 0.25,
  guaranteedMedium: 0.15,
  guaranteedLow: 0.1,
};

describe('lane shares', () => {
  it('keeps the reserved part for high, and a part for each of the others', () => {
    assert.equal(freeSlots(0, [0, 0, 0], shares), 75);
    assert.equal(freeSlots(1, [0, 0, 0], shares), 65);
    assert.equal(freeSlots(2, [0, 0, 0], shares), 60);
    assert.equal(
      freeSlots(0, [0, 50, 25], shares),
      25,
      'the others can never take what is reserved',
    );
    assert.equal(freeSlots(2, [75, 15, 0], shares), 10);
  });

  it('never lets the sum pass the concurrency, and never starves a lane', () => {
    const lanes = [0, 1, 2] as const;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(...lanes), fc.boolean()), { maxLength: 400 }),
        (steps) => {
          const underWay: [number, number, number] = [0, 0, 0];
          for (const [lane, begin] of steps) {
            if (begin && freeSlots(lane, underWay, shares) > 0) underWay[lane]++;
            else if (!begin && underWay[lane] > 0) underWay[lane]--;
            assert.ok(underWay[0] + underWay[1] + underWay[2] <= shares.concurrency);
          }
          const kept = [25, 15, 10];
          for (const lane of lanes) {
            if (underWay[lane] < (kept[lane] as number))
              assert.ok(freeSlots(lane, underWay, shares) > 0, `lane ${lane} starves`);
          }
        },
      ),
    );
  });

  it('divides a claim: all for the only one, parts for the others when they have work', () => {
    assert.deepEqual(divide(64, [100, 0, 0], shares), [64, 0, 0]);
    assert.deepEqual(divide(64, [0, 0, 100], shares), [0, 0, 64]);
    assert.deepEqual(divide(64, [100, 100, 100], shares), [47, 10, 7]);
    assert.deepEqual(divide(64, [2, 100, 100], shares), [2, 55, 7]);
    assert.deepEqual(divide(0, [1, 1, 1], shares), [0, 0, 0]);
  });
});
