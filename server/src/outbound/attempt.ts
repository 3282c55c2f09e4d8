/**
 * One attempt through one account, within its time limit. A provider that ignores the abort loses
 * its turn all the same: its late answer is not waited for.
 */
import type { AdapterDefinition } from '../adapters/adapter.ts';
import {
  type Delivery,
  NOT_IN_NOTES,
  NOTE_TEXTS,
  type Note,
  type Outcome,
  RESPONSE_LIMIT,
} from '../adapters/provider.ts';
import type { Clock } from '../clock.ts';
import { failpoint } from '../failpoint.ts';
import type { Service } from '../lifecycle.ts';
import type { Account } from './account.ts';

/** Characters of a reason, or of the vendor's id, that are kept: real ones have at most some 200. */
const WORD_LIMIT = 500;
/** How often time limits are looked at: one timer for all attempts instead of one each. */
const TICK_MS = 50;
/** A provider that was told to stop has this long to say what it knows. */
const ABORT_GRACE_MS = 1000;
const SCOPES: readonly string[] = ['recipient', 'content', 'config'];

interface UnderWay {
  abortAt: number;
  giveUpAt: number;
  controller: AbortController;
  giveUp(outcome: Outcome): void;
}

export interface Attempts extends Service {
  clock: Clock;
  underWay: Set<UnderWay>;
}

/** Holds the time limits of all attempts under way. */
export function createAttempts(clock: Clock): Attempts {
  const underWay = new Set<UnderWay>();
  let timer: { cancel(): void } | undefined;
  function look(): void {
    const now = clock.monotonic();
    for (const attempt of underWay) {
      if (now >= attempt.giveUpAt) {
        attempt.giveUp({
          kind: 'retry',
          reason: 'timeout',
          ambiguous: true,
          response: 'the provider did not stop in time',
        });
      } else if (now >= attempt.abortAt && !attempt.controller.signal.aborted) {
        attempt.controller.abort(new DOMException('the attempt took too long', 'TimeoutError'));
      }
    }
  }
  return {
    name: 'attempts',
    clock,
    underWay,
    async start() {
      timer = clock.every(TICK_MS, look);
    },
    async stop() {
      timer?.cancel();
    },
  };
}

export interface AttemptRequest {
  adapter: AdapterDefinition;
  /** In its normal spelling. */
  address: string;
  account: Account;
  delivery: Delivery;
}

/** `waitMs` above 0 means that nothing was tried: the account takes nothing before that. */
export async function runAttempt(
  attempts: Attempts,
  { adapter, address, account, delivery }: AttemptRequest,
): Promise<{ outcome: Outcome; waitMs: number; durationMs: number }> {
  const simulated = simulatedOutcome(adapter, address);
  if (simulated) return { outcome: simulated, waitMs: 0, durationMs: 0 };
  const waitMs = account.begin(delivery);
  if (waitMs > 0)
    return { outcome: { kind: 'retry', reason: 'waiting_for_provider' }, waitMs, durationMs: 0 };
  const startedAt = attempts.clock.monotonic();
  const outcome = await send(attempts, account, delivery, startedAt);
  failpoint('after-provider');
  account.finish(delivery, outcome);
  if (outcome.kind === 'retry' && outcome.untried)
    return { outcome, waitMs: Math.max(1, account.heldMs(delivery)), durationMs: 0 };
  return { outcome, waitMs: 0, durationMs: attempts.clock.monotonic() - startedAt };
}

function send(
  attempts: Attempts,
  account: Account,
  delivery: Delivery,
  startedAt: number,
): Promise<Outcome> {
  return new Promise((resolve) => {
    const controller = new AbortController();
    const { timeoutMs } = account.definition.limits;
    const attempt: UnderWay = {
      abortAt: startedAt + timeoutMs,
      giveUpAt: startedAt + timeoutMs + ABORT_GRACE_MS,
      controller,
      giveUp(outcome) {
        attempts.underWay.delete(attempt);
        resolve(outcome);
      },
    };
    attempts.underWay.add(attempt);
    const fail = (error: unknown): void => attempt.giveUp(shortened(account.mask(faultOf(error))));
    try {
      // A plug-in may throw before there is a promise, or answer without one.
      Promise.resolve(account.send(delivery, controller.signal))
        .then((answer) => attempt.giveUp(shortened(account.mask(checked(answer)))))
        .catch(fail);
    } catch (error) {
      fail(error);
    }
  });
}

/** A plug-in may answer with what is none of the outcomes. A note that is none is left out: the attempt was made. */
function checked(outcome: Outcome): Outcome {
  if (!isOutcome(outcome))
    return faultOf(new TypeError('the provider answered with what is no outcome'));
  if (outcome.note === undefined || isNote(outcome.note)) return outcome;
  const { note: _, ...rest } = outcome;
  return rest;
}

function isOutcome(answer: Partial<Outcome> | undefined | null): answer is Outcome {
  if (!isTextOrAbsent(answer?.response)) return false;
  switch (answer?.kind) {
    case 'sent':
      return isTextOrAbsent(answer.providerMessageId);
    case 'retry':
      // A time that is no number would be stored as none: the message would never be looked at again.
      return typeof answer.reason === 'string' && Number.isFinite(answer.retryAfterMs ?? 0);
    case 'rejected':
      return typeof answer.reason === 'string' && SCOPES.includes(answer.scope ?? '');
    default:
      return false;
  }
}

const NOTE_TYPE = /^(?=.{3,40}$)[a-z]+(_[a-z]+)+$/;
/** The service's own events of two or more words. */
const OWN_TYPES: readonly string[] = ['passed_over', 'waiting_for_provider'];
const NOTE_NAME = /^[a-z][A-Za-z]{0,39}$/;

function isNote(note: Partial<Note> | null): note is Note {
  if (typeof note?.type !== 'string' || !NOTE_TYPE.test(note.type) || OWN_TYPES.includes(note.type))
    return false;
  const { detail = {} } = note;
  if (typeof detail !== 'object' || detail === null) return false;
  const texts = Object.entries(detail);
  return (
    texts.length <= NOTE_TEXTS &&
    texts.every(
      ([name, text]) =>
        typeof text === 'string' && NOTE_NAME.test(name) && !NOT_IN_NOTES.includes(name),
    )
  );
}

function isTextOrAbsent(value: unknown): boolean {
  return value === undefined || typeof value === 'string';
}

/** A provider that throws has a fault; the message is tried again like after any failure. */
function faultOf(error: unknown): Outcome {
  return {
    kind: 'retry',
    reason: 'provider_fault',
    response: String((error as Error)?.message ?? error),
  };
}

function shortened(outcome: Outcome): Outcome {
  const { response = '', note } = outcome;
  const word = (outcome.kind === 'sent' ? outcome.providerMessageId : outcome.reason) ?? '';
  const isShort = response.length <= RESPONSE_LIMIT && word.length <= WORD_LIMIT;
  if (isShort && note?.detail === undefined) return outcome;
  const short = { ...outcome };
  if (short.kind !== 'sent') short.reason = word.slice(0, WORD_LIMIT);
  else if (word !== '') short.providerMessageId = word.slice(0, WORD_LIMIT);
  if (short.response !== undefined) short.response = response.slice(0, RESPONSE_LIMIT);
  if (note?.detail) {
    const texts = Object.entries(note.detail).map(([name, text]) => [
      name,
      text.slice(0, RESPONSE_LIMIT),
    ]);
    short.note = { type: note.type, detail: Object.fromEntries(texts) };
  }
  return short;
}

/** The fixed addresses of each channel that stand for an outcome. */
function simulatedOutcome({ simulated }: AdapterDefinition, address: string): Outcome | undefined {
  switch (address) {
    case simulated.delivered:
      return { kind: 'sent', response: 'simulated' };
    case simulated.temporaryFailure:
      return { kind: 'retry', reason: 'simulated_temporary_failure', response: 'simulated' };
    case simulated.permanentFailure:
      return {
        kind: 'rejected',
        reason: 'simulated_permanent_failure',
        scope: 'recipient',
        response: 'simulated',
      };
    default:
      return undefined;
  }
}
