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
   * Takes entries; those that were given a place (`claimedUntil`) come whatever room there is. `settle` is called once all of them have an outcome in the store or are safe
   * to forget; a queue that keeps messages removes them only then.
   */
  take(lane: Lane, entries: QueueEntry[], settle: () => void): void;
  /** The queue had to drop entries of this lane: they are only in the store. */
  missed(lane: Lane): void;
}

export interface Place {
  /** How long the claim has to hold, in ms. */
  claimMs: number;
  /** The consumer that offered it has ended: its successor claims the message anew. */
  isGone(): boolean;
  giveBack(): void;
}

/** Numbers of places, by lane and by channel: an entry needs one of both. */
export interface PlaceCounts {
  lanes: readonly [number, number, number];
  channel(channel: string): number;
}

export interface Queue extends Service {
  /**
   * Hands entries to the consumer of some process. Never throws for a full or absent queue, and
   * never waits for the consumer.
   */
  publish(entries: readonly QueueEntry[]): void;
  /**
   * A place at a consumer that can begin an entry of this lane and channel at once. Whoever gets one
   * stores the message as claimed and publishes its entry with `claimedUntil`, or gives the place
   * back. A queue that knows of no place answers undefined: the consumer then claims by itself.
   */
  place(lane: Lane, channel: string): Place | undefined;
  /** At most one consumer per process; before `start`. */
  consume(consumer: QueueConsumer): void;
  /** What the consumer could begin at once besides what is expected; replaces what it offered before. */
  offer(counts: PlaceCounts): void;
  /** How many entries that were given a place are still on their way. */
  expected(): PlaceCounts;
}
