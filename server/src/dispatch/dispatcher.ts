/**
 * Now or later: what is due goes to its lane after the commit that stored it; what is not waits in
 * the store, whose sweeper ends in the same call. A crash between commit and publish is harmless:
 * the row's lease runs out and the sweeper publishes it.
 */
import type { Lane } from '../notification/notification.ts';
import type { QueueEntry } from '../notification/notification-store.ts';
import type { Place, Queue } from '../queue/queue.ts';

export interface Dispatcher {
  dispatch(entries: readonly QueueEntry[]): void;
  /** A place for a message that is about to be stored, where one is free (queue.ts). */
  place(lane: Lane, channel: string): Place | undefined;
}

export function createDispatcher(queue: Queue): Dispatcher {
  return {
    dispatch: (entries) => queue.publish(entries),
    place: (lane, channel) => queue.place(lane, channel),
  };
}
