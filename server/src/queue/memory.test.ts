import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import type { QueueEntry } from '../notification/notification-store.ts';
import { MemoryQueue, MemoryQueuePublisher } from './memory.ts';
import { entryOf, runQueueConformance } from './queue.conformance.ts';

runQueueConformance('memory', async () => {
  const { port1, port2 } = new MessageChannel();
  const publisher = new MemoryQueuePublisher(port1);
  const queue = new MemoryQueue({ channels: ['email'], claimMs: 1000 });
  queue.connect(port2);
  return {
    publisher,
    queue,
    async [Symbol.asyncDispose]() {
      await publisher.stop();
      await queue.stop();
    },
  };
});

describe('memory queue', () => {
  it('tells its consumer that every lane must be read from the store at a start', async () => {
    const queue = new MemoryQueue({ channels: ['email'], claimMs: 1000 });
    const missed: number[] = [];
    queue.consume({ room: () => 1, take: () => {}, missed: (lane) => missed.push(lane) });
    await queue.start();
    assert.deepEqual(missed, [0, 1, 2]);
    await queue.stop();
  });

  it('has the successor of a consumer that has ended claim anew what was claimed for it', async () => {
    const first = new MessageChannel();
    const publisher = new MemoryQueuePublisher(first.port1);
    const ended = once(first.port1, 'close');
    first.port2.close();
    await ended;
    const claimed = { claimedUntil: 99, claim: 0, attempt: 0, attemptsBefore: 0 };
    // The last one was found out to have no consumer by whoever accepted it.
    const anew = { claim: 1, attempt: 1, attemptsBefore: 1 };
    publisher.publish([
      { ...entryOf(2), claim: 0 },
      { ...entryOf(4), ...claimed },
      { ...entryOf(6), ...anew },
    ]);
    const second = new MessageChannel();
    const queue = new MemoryQueue({ channels: ['email'], claimMs: 1000 });
    const missed: number[] = [];
    const taken = new Promise<QueueEntry[]>((resolve) => {
      queue.consume({
        room: () => 10,
        take: (_lane, entries) => resolve(entries),
        missed: (lane) => missed.push(lane),
      });
    });
    queue.connect(second.port2);
    publisher.reconnect(second.port1);
    assert.deepEqual(
      await taken,
      [
        { ...entryOf(4), claimedUntil: null, claim: 1, attempt: 1, attemptsBefore: 1 },
        { ...entryOf(6), ...anew },
      ],
      'the other one is found in the store',
    );
    assert.deepEqual(missed, [0, 1, 2]);
    await publisher.stop();
    await queue.stop();
  });

  it('gives no place while there is no consumer', async () => {
    const { port1, port2 } = new MessageChannel();
    const publisher = new MemoryQueuePublisher(port1);
    const queue = new MemoryQueue({ channels: ['email'], claimMs: 1000 });
    queue.consume({ room: () => 10, take: () => {}, missed: () => {} });
    queue.offer({ lanes: [1, 1, 1], channel: () => 3 });
    const told = once(port1, 'message');
    queue.connect(port2);
    await told;
    const place = publisher.place(1, 'email');
    assert.deepEqual([place?.claimMs, place?.isGone()], [1000, false]);
    const ended = once(port1, 'close');
    await queue.stop();
    await ended;
    assert.equal(place?.isGone(), true);
    assert.equal(publisher.place(0, 'email'), undefined);
    await publisher.stop();
  });

  it('says which lane lost entries, and fills the others', async () => {
    const queue = new MemoryQueue({ channels: ['email'], claimMs: 1000 });
    const missed: number[] = [];
    const taken: number[] = [];
    queue.consume({
      room: (lane) => (lane === 1 ? 2 : 10),
      take: (_lane, entries) => taken.push(...entries.map(({ messageId }) => messageId)),
      missed: (lane) => missed.push(lane),
    });
    queue.publish([entryOf(2), entryOf(4), entryOf(6), entryOf(8, 0)]);
    assert.deepEqual([taken.sort(), missed], [[2, 4, 8], [1]]);
    await queue.stop();
  });
});
