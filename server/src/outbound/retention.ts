/**
 * Forgets notifications that ended long ago: a little at a time, so that it never holds up a commit,
 * and only what has ended, however old.
 */
import type { Clock, Timer } from '../clock.ts';
import type { Service } from '../lifecycle.ts';
import type { NotificationStore } from '../notification/notification-store.ts';

/** Some 2 ms of the writer, and with the pause 10,000 a second: no fewer than can be accepted. */
const PAGE = 50;
const PAUSE_MS = 3;
/** Between one pass and the next. */
const PASS_MS = 10 * 60_000;

export interface RetentionOptions {
  store: NotificationStore;
  clock: Clock;
  /** How long a notification is kept after it was accepted, in ms. */
  keepMs: number;
}

export function createRetention({ store, clock, keepMs }: RetentionOptions): Service {
  let timer: Timer | undefined;
  let running: Promise<void> | undefined;
  let stopped = false;

  function next(delayMs: number, after: number): void {
    if (stopped) return;
    timer = clock.after(delayMs, () => {
      running = pass(after).finally(() => {
        running = undefined;
      });
    });
  }

  async function pass(after: number): Promise<void> {
    try {
      const page = await store.prune({ before: clock.now() - keepMs, after, limit: PAGE });
      next(page.after === null ? PASS_MS : PAUSE_MS, page.after ?? 0);
    } catch {
      // The store is away; there is no hurry.
      next(PASS_MS, 0);
    }
  }

  return {
    name: 'retention',
    async start() {
      next(PASS_MS, 0);
    },
    async stop() {
      stopped = true;
      timer?.cancel();
      await running;
    },
  };
}
