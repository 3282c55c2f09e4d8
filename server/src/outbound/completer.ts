/**
 * Stores what came of deliveries: everything that ended in one turn of the event loop in one write,
 * its events beside it, then tells whoever waits. While the store is away, outcomes wait here; the
 * deliveries behind them keep their places, so nothing new is begun.
 */
import type { Tracker } from '../analytics/tracker.ts';
import { type Hints, messageTopic } from '../cache/hints.ts';
import { type Clock, delay } from '../clock.ts';
import type { Service } from '../lifecycle.ts';
import type { NotificationStore } from '../notification/notification-store.ts';
import type { Settlement } from './settlement.ts';

const RETRY_MS = 250;
/** Messages of which somebody awaits the end; past it the oldest waits for its time limit instead. */
const AWAITED_LIMIT = 10_000;

export interface Completer extends Service {
  /** Resolves when the outcome is durable, or when the claim turned out to be lost. */
  complete(settlement: Settlement, watched: boolean): Promise<void>;
}

interface Waiting {
  settlement: Settlement;
  watched: boolean;
  resolve(): void;
}

export interface CompleterOptions {
  store: NotificationStore;
  tracker: Tracker;
  hints: Hints;
  clock: Clock;
  /** Told of each outcome that was stored. */
  stored(settlement: Settlement): void;
}

export function createCompleter({
  store,
  tracker,
  hints,
  clock,
  stored,
}: CompleterOptions): Completer {
  let waiting: Waiting[] = [];
  const underWay = new Set<Promise<void>>();
  const awaited = new Set<number>();
  let stopped = false;

  function flush(): void {
    const group = waiting;
    waiting = [];
    const work = write(group).finally(() => underWay.delete(work));
    underWay.add(work);
  }

  async function write(group: Waiting[]): Promise<void> {
    const completions = group.map(({ settlement }) => settlement.completion);
    // In the same turn as the outcomes, so that the embedded engine commits both together.
    tracker.record(group.flatMap(({ settlement }) => settlement.events));
    for (;;) {
      try {
        const held = await store.complete(completions);
        for (const [i, one] of group.entries()) finish(one, held[i] === true);
        return;
      } catch {
        // An outcome must not be forgotten while its claim lasts; after that it is tried again anyway.
        if (stopped) break;
        await delay(clock, RETRY_MS);
      }
    }
    for (const one of group) one.resolve();
  }

  function finish({ settlement, watched, resolve }: Waiting, held: boolean): void {
    if (held) {
      stored(settlement);
      const { messageId, nextAt } = settlement.completion;
      if (nextAt !== null) {
        if (watched) remember(messageId);
      } else if (awaited.delete(messageId) || watched) {
        hints.publish(messageTopic(messageId), null);
      }
    }
    resolve();
  }

  /** A message that goes on comes back from the store, which knows nothing of who waits. */
  function remember(messageId: number): void {
    if (awaited.size >= AWAITED_LIMIT) awaited.delete(awaited.values().next().value as number);
    awaited.add(messageId);
  }

  return {
    name: 'completer',
    complete(settlement, watched) {
      return new Promise((resolve) => {
        if (waiting.length === 0) setImmediate(flush);
        waiting.push({ settlement, watched, resolve });
      });
    },
    async start() {},
    async stop() {
      stopped = true;
      if (waiting.length > 0) flush();
      await Promise.all(underWay);
    },
  };
}
