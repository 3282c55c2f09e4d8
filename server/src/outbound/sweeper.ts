/**
 * Brings what is due from the store to the lanes: scheduled messages whose time has come, retries,
 * claims that ran out, and entries the queue has lost. It takes no more than the lanes have room
 * for, so that a backlog is never published twice over.
 */
import type { Clock, Timer } from '../clock.ts';
import type { Service } from '../lifecycle.ts';
import type { Lane } from '../notification/notification.ts';
import type { NotificationStore } from '../notification/notification-store.ts';
import type { Processor } from './processor.ts';

/** Messages taken from the store at once. */
const PAGE = 500;
/** Below this many waiting entries a lane whose queue lost some is filled up from the store. */
const LOW_WATER = 1000;
const LANES: readonly Lane[] = [0, 1, 2];

export interface SweeperOptions {
  store: NotificationStore;
  processor: Processor;
  clock: Clock;
  intervalMs: number;
  leaseMs: number;
}

export function createSweeper({
  store,
  processor,
  clock,
  intervalMs,
  leaseMs,
}: SweeperOptions): Service {
  let timer: Timer | undefined;
  let running: Promise<void> | undefined;
  let stopped = false;

  async function sweep(): Promise<void> {
    for (const lane of LANES) {
      await takeDue(lane);
      if (processor.incomplete.has(lane)) await refill(lane);
    }
  }

  async function takeDue(lane: Lane): Promise<void> {
    while (!stopped) {
      const limit = Math.min(PAGE, processor.room(lane));
      if (limit === 0) return;
      const entries = await store.takeDue(lane, {
        until: clock.now(),
        leaseUntil: lease(),
        limit,
        queuedOnly: false,
      });
      if (entries.length > 0) processor.take(lane, entries, () => {});
      if (entries.length < limit) return;
    }
  }

  async function refill(lane: Lane): Promise<void> {
    while (!stopped && (processor.waiting[lane] ?? 0) < LOW_WATER) {
      const limit = Math.min(PAGE * 4, processor.room(lane));
      const now = clock.now();
      // What is taken gets a longer lease than anything accepted until now has, so it is taken once.
      const leaseUntil = Math.round(now + leaseMs * 1.2);
      const entries = await store.takeDue(lane, {
        until: now + leaseMs,
        leaseUntil,
        limit,
        queuedOnly: true,
      });
      processor.take(lane, entries, () => {});
      if (entries.length >= limit) continue;
      processor.incomplete.delete(lane);
      return;
    }
  }

  /** Spread a little, so that what was taken together does not come back together. */
  function lease(): number {
    return Math.round(clock.now() + leaseMs * (1 + 0.2 * clock.random()));
  }

  function tick(): void {
    if (running || stopped) return;
    // An unavailable store is asked again at the next tick.
    running = sweep()
      .catch(() => {})
      .finally(() => {
        running = undefined;
      });
  }

  return {
    name: 'sweeper',
    async start() {
      timer = clock.every(intervalMs, tick);
      tick();
    },
    async stop() {
      stopped = true;
      timer?.cancel();
      await running;
    },
  };
}
