/**
 * The only place that decides what follows an attempt: an end, another attempt later, or the next
 * channel of the route. Pure: the same inputs give the same decision.
 */
import type { MessageStatus } from '@tidings/contracts/common';
import type { Outcome } from '../adapters/provider.ts';

/** Time for a thread or process to be there again: nothing was wrong with the message or its destination. */
const SOON_MS = 100;

export interface RetryPolicy {
  /** Waits between attempts on one channel, in ms; their number plus one is the number of attempts. */
  delaysMs: readonly number[];
  /** Share by which a wait may be longer. */
  jitter: number;
  /** How long a message waits for a channel that is left alone before its next one is tried, in ms; STEP_ON_MS when left out. */
  stepOnMs?: number;
}

/** Longer than the first rest of a breaker and its first probe; somebody who waits for a code has not given up yet. */
export const STEP_ON_MS = 30_000;

export interface AttemptState {
  /** Attempts made so far, this one included. */
  attempt: number;
  /** Those of them that do not count against the present channel. */
  attemptsBefore: number;
  step: number;
  /** Channels in the route. */
  steps: number;
  /** ms since 1970. */
  expiresAt: number | null;
}

export interface Decision {
  status: MessageStatus;
  nextAt: number | null;
  step: number;
  attemptsBefore: number;
  reason: string | null;
}

export function maxAttempts(policy: RetryPolicy): number {
  return policy.delaysMs.length + 1;
}

/** @param random a number in [0, 1) */
export function decide(
  outcome: Outcome,
  state: AttemptState,
  policy: RetryPolicy,
  { now, random, receipts }: { now: number; random: number; receipts: boolean },
): Decision {
  const { step, attemptsBefore } = state;
  if (outcome.kind === 'sent') {
    const status = receipts ? 'sent' : 'delivered';
    return { status, nextAt: null, step, attemptsBefore, reason: null };
  }
  // A configuration that an operator must mend may be mended while the message waits.
  const final = outcome.kind === 'rejected' && outcome.scope !== 'config';
  if (final) return nextChannel(state, outcome.reason, now);
  const made = state.attempt - attemptsBefore;
  const delay = policy.delaysMs[made - 1];
  if (delay === undefined) return nextChannel(state, outcome.reason, now);
  const asked = outcome.kind === 'retry' ? (outcome.retryAfterMs ?? 0) : 0;
  const wait = outcome.kind === 'retry' && outcome.soon ? Math.min(delay, SOON_MS) : delay;
  const nextAt = Math.round(now + Math.max(wait, asked) * (1 + policy.jitter * random));
  return {
    status: 'accepted',
    // Looked at once more when it expires, so that it ends then and not at some later attempt.
    nextAt: state.expiresAt === null ? nextAt : Math.min(nextAt, state.expiresAt),
    step,
    attemptsBefore,
    reason: outcome.reason,
  };
}

/** Shorter schedules say little about how long a vendor may be away. */
const LEAST_PATIENCE_MS = 3_600_000;

/**
 * When a message has waited enough for a vendor that is left alone, in ms since 1970: then the channel has
 * failed. Before its next channel that is soon; the last one is given as long as its attempts would
 * have taken, as if they had been made. One that was driven again waits on: how long it has been
 * nobody knows. Nor is it known when the present channel had its turn, so each before it counts as one wait.
 * @param dueAt when it was accepted or due, ms since 1970
 */
export function waitsUntil(
  { step, steps, attemptsBefore }: Pick<AttemptState, 'step' | 'steps' | 'attemptsBefore'>,
  { delaysMs, stepOnMs = STEP_ON_MS }: RetryPolicy,
  dueAt: number,
): number {
  if (step === 0 && attemptsBefore > 0) return Number.POSITIVE_INFINITY;
  if (step + 1 < steps) return dueAt + stepOnMs * (step + 1);
  const ofAttempts = delaysMs.reduce((sum, delay) => sum + delay, 0);
  return dueAt + Math.max(ofAttempts, LEAST_PATIENCE_MS) * (step + 1);
}

/** The channel has failed for good: the next one of the route at once, or the end. */
export function nextChannel(state: AttemptState, reason: string, now: number): Decision {
  if (state.step + 1 < state.steps) {
    return {
      status: 'accepted',
      nextAt: now,
      step: state.step + 1,
      attemptsBefore: state.attempt,
      reason,
    };
  }
  return {
    status: 'failed',
    nextAt: null,
    step: state.step,
    attemptsBefore: state.attemptsBefore,
    reason,
  };
}
