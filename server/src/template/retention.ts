/**
 * Removes for good what deleted templates have left: their versions, once no message that is kept names
 * them. Also one that has ended keeps them, since a dead letter can be redriven. A little at a time, and
 * in no hurry: nothing but space is waiting for it.
 */
import type { Clock, Timer } from '../clock.ts';
import type { Service } from '../lifecycle.ts';
import type { TemplateStore } from './template-store.ts';

/** Deletions looked at without a pause. */
const PAGE = 20;
/** Versions removed in one write; one has up to VERSION_LIMITS.bytes. */
const VERSIONS = 10;
const PAUSE_MS = 50;
/** Between passes, and before the first: lists that are made anew at a start are complete by then. */
export const PASS_MS = 60 * 60_000;
/**
 * Far longer than a deletion can stay unseen by who accepts, or an acceptance unseen by lists: whoever
 * was accepted with a version is known by then.
 */
export const GRACE_MS = 24 * 60 * 60_000;

export interface TemplateRetentionOptions {
  store: Pick<TemplateStore, 'deletions' | 'forget'>;
  /** Whether a message that is kept and was accepted before `to` (ms since 1970) names the template. */
  isNamed(applicationId: number, key: string, to: number): Promise<boolean>;
  clock: Clock;
}

export function createTemplateRetention({
  store,
  isNamed,
  clock,
}: TemplateRetentionOptions): Service {
  let timer: Timer | undefined;
  let removing: Promise<void> | undefined;
  let stopped = false;

  function next(delayMs: number, after: number | null): void {
    if (stopped) return;
    timer = clock.after(delayMs, () => void pass(after));
  }

  async function pass(after: number | null): Promise<void> {
    try {
      const before = clock.now() - GRACE_MS;
      const page = await store.deletions({ before, after, limit: PAGE });
      for (const { id, applicationId, key, deletedAt } of page) {
        if (stopped) return;
        // Messages of a later template of the key came after that.
        if (await isNamed(applicationId, key, deletedAt + GRACE_MS)) continue;
        removing = remove(id);
        await removing;
      }
      const last = page.length < PAGE ? undefined : page.at(-1);
      next(last ? PAUSE_MS : PASS_MS, last?.id ?? null);
    } catch {
      // A store is away, or lists are being made anew: what is not known to be free stays.
      next(PASS_MS, null);
    }
  }

  async function remove(deletion: number): Promise<void> {
    while (!stopped && (await store.forget(deletion, VERSIONS)));
  }

  return {
    name: 'template retention',
    async start() {
      next(PASS_MS, null);
    },
    async stop() {
      stopped = true;
      timer?.cancel();
      // What only looks is not waited for: it finds nothing to do any more.
      await removing?.catch(() => {});
    },
  };
}
