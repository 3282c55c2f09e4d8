/** What every queue must do, as the port says it. A queue may lose and repeat; what it hands over must be whole. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Lane } from '../notification/notification.ts';
import type { QueueEntry } from '../notification/notification-store.ts';
import type { Queue, QueueConsumer } from './queue.ts';

export interface QueueBench extends AsyncDisposable {
  /** A publishing end in another thread or process. */
  publisher: Queue;
  /** The consuming end, not started. */
  queue: Queue;
}

export function entryOf(messageId: number, lane: Lane = 1): QueueEntry {
  return {
    messageId,
    notificationId: messageId - 1,
    applicationId: 7,
    lane,
    channel: 'email',
    claim: 2,
    attempt: 1,
    attemptsBefore: 1,
    step: 1,
    route: ['in_app', 'email'],
    body: '{"text":"你好 🎉"}',
    watched: true,
    claimedUntil: null,
    suspect: false,
  };
}

class Collector implements QueueConsumer {
  readonly taken: QueueEntry[] = [];
  readonly lost: Lane[] = [];
  capacity = Number.POSITIVE_INFINITY;
  #waiting: { count: number; resolve: () => void } | undefined;

  room(): number {
    return Math.max(0, this.capacity - this.taken.length);
  }

  take(_lane: Lane, entries: QueueEntry[], settle: () => void): void {
    this.taken.push(...entries);
    settle();
    if (this.#waiting && this.taken.length >= this.#waiting.count) this.#waiting.resolve();
  }

  missed(lane: Lane): void {
    this.lost.push(lane);
  }

  async until(count: number): Promise<void> {
    if (this.taken.length >= count) return;
    await new Promise<void>((resolve) => {
      this.#waiting = { count, resolve };
    });
  }
}

export function runQueueConformance(name: string, open: () => Promise<QueueBench>): void {
  describe(`queue: ${name}`, () => {
    it('hands entries over whole', async () => {
      await using bench = await open();
      const consumer = new Collector();
      bench.queue.consume(consumer);
      await bench.queue.start();
      bench.publisher.publish([entryOf(2), entryOf(4, 0), entryOf(6, 2)]);
      await consumer.until(3);
      assert.deepEqual(
        [...consumer.taken].sort((a, b) => a.messageId - b.messageId),
        [entryOf(2), entryOf(4, 0), entryOf(6, 2)],
      );
    });

    it('hands over thousands, in both directions of publishing', async () => {
      await using bench = await open();
      const consumer = new Collector();
      bench.queue.consume(consumer);
      await bench.queue.start();
      for (let i = 1; i <= 5000; i++)
        (i % 2 ? bench.publisher : bench.queue).publish([entryOf(i * 2)]);
      await consumer.until(5000);
      assert.equal(new Set(consumer.taken.map(({ messageId }) => messageId)).size, 5000);
    });

    it('gives no more than there is room for, and says what it could not give', async () => {
      await using bench = await open();
      const consumer = new Collector();
      consumer.capacity = 10;
      bench.queue.consume(consumer);
      await bench.queue.start();
      consumer.lost.length = 0;
      bench.queue.publish(Array.from({ length: 25 }, (_, i) => entryOf(i * 2 + 2)));
      await consumer.until(10);
      assert.ok(consumer.taken.length <= 10);
    });

    it('gives places it was offered and no more, and hands over what has one whatever room there is', async () => {
      await using bench = await open();
      const consumer = new Collector();
      bench.queue.consume(consumer);
      await bench.queue.start();
      bench.queue.offer({ lanes: [0, 2, 5], channel: () => 3 });
      // What is published behind the offer has arrived when the offer has, if it comes at all.
      bench.publisher.publish([entryOf(2)]);
      await consumer.until(1);
      consumer.capacity = 0;
      const places = Array.from({ length: 4 }, () => bench.publisher.place(1, 'email'));
      const given = places.filter((place) => place !== undefined);
      assert.ok(given.length <= 2, 'no more than offered');
      assert.equal(bench.publisher.place(0, 'email'), undefined, 'a lane without places');
      for (const [i] of given.entries())
        bench.publisher.publish([{ ...entryOf(10 + i * 2), claimedUntil: 99 }]);
      await consumer.until(1 + given.length);
      assert.deepEqual(
        consumer.taken.slice(1).map(({ claimedUntil }) => claimedUntil),
        given.map(() => 99),
      );
    });

    it('never throws for a full or absent consumer', async () => {
      await using bench = await open();
      bench.publisher.publish([entryOf(2)]);
      await bench.queue.stop();
      bench.publisher.publish([entryOf(4)]);
      bench.queue.publish([entryOf(6)]);
    });
  });
}
