import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { MemoryQueue, MemoryQueuePublisher } from './memory.ts';
import { entryOf, runQueueConformance } from './queue.conformance.ts';

runQueueConformance('memory', async () => {
  const { port1, port2 } = new MessageChannel();
  const publisher = new MemoryQueuePublisher(port1);
  const queue = new MemoryQueue();
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
    const queue = new MemoryQueue();
    const missed: number[] = [];
    queue.consume({ room: () => 1, take: () => {}, missed: (lane) => missed.push(lane) });
    await queue.start();
    assert.deepEqual(missed, [0, 1, 2]);
    await queue.stop();
  });

  it('says which lane lost entries, and fills the others', async () => {
    const queue = new MemoryQueue();
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
