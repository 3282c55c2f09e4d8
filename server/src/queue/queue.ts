/**
 * Port: the three lanes between those who accept and those who deliver.
 *
 * A queue is transport, never truth: it may lose, repeat and reorder. The row in the store has a
 * time at which it is looked at again, so everything lost comes back; a claim makes repetition
 * harmless. `high` is never delayed by what lies in the other lanes.
 */
import type { Service } from '../lifecycle.ts';
import type { Lane } from '../notification/notification.ts';
import type { QueueEntry } from '../notification/notification-store.ts';

export interface QueueConsumer {
  /** How many entries of the lane it can hold now; a queue hands over no more. */
  room(lane: Lane): number;
  /**
   * Takes entries. `settle` is called once all of them have an outcome in the store or are safe
   * to forget; a queue that keeps messages removes them only then.
   */
  take(lane: Lane, entries: QueueEntry[], settle: () => void): void;
  /** The queue had to drop entries of this lane: they are only in the store. */
  missed(lane: Lane): void;
}

export interface Queue extends Service {
  /**
   * Hands entries to the consumer of some process. Never throws for a full or absent queue, and
   * never waits for the consumer.
   */
  publish(entries: readonly QueueEntry[]): void;
  /** At most one consumer per process; before `start`. */
  consume(consumer: QueueConsumer): void;
}
