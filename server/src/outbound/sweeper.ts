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
/** No lease is longer than this many times `leaseMs`. */
const LONGEST_LEASE = 1.2;

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
  /** Lanes not yet searched for what an engine that is gone had taken. */
  const inherited = new Set<Lane>(LANES);
  /** Past the end of every lease that was given before this one began. */
  let inheritedUntil = 0;

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
      const entries = await store.takeDue(lane, {
        until: inherited.has(lane) ? inheritedUntil : now + leaseMs,
        // Longer than that of anything accepted until now or inherited, so that it is taken once.
        leaseUntil: Math.max(Math.round(now + leaseMs * LONGEST_LEASE), inheritedUntil + 1),
        limit,
        queuedOnly: true,
      });
      processor.take(lane, entries, () => {});
      if (entries.length >= limit) continue;
      inherited.delete(lane);
      processor.incomplete.delete(lane);
      return;
    }
  }

  /** Spread a little, so that what was taken together does not come back together. */
  function lease(): number {
    const spread = 1 + (LONGEST_LEASE - 1) * clock.random();
    return Math.max(Math.round(clock.now() + leaseMs * spread), inheritedUntil + 1);
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
      inheritedUntil = Math.round(clock.now() + leaseMs * LONGEST_LEASE);
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
