/**
 * Takes the events of deliveries and keeps them, without ever slowing a delivery: what the event
 * store does not take at once waits in a bounded buffer and is offered again.
 */
import type { Clock } from '../clock.ts';
import type { Service } from '../lifecycle.ts';
import type { EventStore, MessageEvent } from './event-store.ts';

/** Events kept while the store is away; at 20,000 messages a second this is some 10 seconds. */
const BUFFER_LIMIT = 200_000;
const RETRY_MS = 500;
const RETRY_GROUP = 2000;

export interface Tracker extends Service {
  /** Never throws, never waits. */
  record(events: readonly MessageEvent[]): void;
  /** Events waiting for the store, and events given up because too many waited. */
  readonly waiting: number;
  readonly dropped: number;
}

export function createTracker({
  events: store,
  clock,
}: {
  events: EventStore;
  clock: Clock;
}): Tracker {
  const buffer: MessageEvent[] = [];
  const underWay = new Set<Promise<void>>();
  let dropped = 0;
  let timer: { cancel(): void } | undefined;

  function offer(events: readonly MessageEvent[]): void {
    const attempt = store
      .append(events)
      .catch(() => keep(events))
      .finally(() => underWay.delete(attempt));
    underWay.add(attempt);
  }

  function keep(events: readonly MessageEvent[]): void {
    const room = BUFFER_LIMIT - buffer.length;
    buffer.push(...events.slice(0, room));
    dropped += Math.max(0, events.length - room);
    timer ??= clock.after(RETRY_MS, () => {
      timer = undefined;
      while (buffer.length > 0 && underWay.size === 0) offer(buffer.splice(0, RETRY_GROUP));
    });
  }

  return {
    name: 'tracker',
    get waiting() {
      return buffer.length;
    },
    get dropped() {
      return dropped;
    },
    record(events) {
      if (events.length > 0) offer(events);
    },
    async start() {},
    async stop() {
      timer?.cancel();
      await Promise.all(underWay);
      if (buffer.length > 0) await store.append(buffer.splice(0)).catch(() => {});
    },
  };
}
