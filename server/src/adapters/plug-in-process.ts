/**
 * One process of a plug-in, from its start to its end, as the engine sees it: hands attempts over,
 * passes on what they came to, and notices when the process ends or answers no more. It starts nothing
 * anew (plug-in-runner.ts) and judges no outcome (outbound/attempt.ts).
 *
 *   starting ──ready──► free: takes one attempt ──┬─outcome, or calm for a while──► free: takes all
 *                                                 └─silent──► slow: the others need not wait for it
 *   each of them ──exits, or is killed because it hangs──► ended, once all that it said has been read
 */
import { delay, type Timer } from '../clock.ts';
import { PlugInChild, type PlugInChildOptions } from './plug-in-child.ts';
import { BEGUN, BLAMED, type FromPlugIn, textOf } from './plug-in-protocol.ts';
import type { Delivery, Outcome } from './provider.ts';

/** Looks at a busy process, and asks it for a sign of life. */
const LOOK_MS = 50;
/**
 * Looks without one after which the process hangs: 500 ms. Longer than it takes to collect all of the
 * largest heap (0.2 s), and short enough that with a new start (0.1 to 0.3 s) and the next attempt
 * (0.15 s) no neighbour waits for a second. Looks are counted and not time: while the engine itself is
 * held up, there are none.
 */
const SILENT_LOOKS = 10;
/**
 * The same before its first outcome, while no neighbour is in it: a library that is imported on first use
 * is evaluated at one go.
 */
const FIRST_SILENT_LOOKS = 30;
/** Looks in a row with an answer after which the first attempt holds nobody up: 100 ms. */
const CALM_LOOKS = 2;
/** For loading the file with all it imports. */
const START_LIMIT_MS = 5000;
/** An end that comes sooner after the start, and without any attempt, is one of the start. */
const STARTED_AFTER_MS = 1000;
/** For `close` of an account, and for the end of the process. */
const CLOSE_MS = 1000;
/** An attempt that was told to stop has this long to say what it knows; outbound waits no longer. */
const ABORT_GRACE_MS = 1000;
/** What nobody asked for, between two looks: a late word is no fault, a flood takes the engine's time. */
const MOST_UNASKED = 1000;

/** One call of `send`. Whoever settles it first decides. */
export interface Attempt {
  account: number;
  delivery: Delivery<never>;
  signal: AbortSignal;
  isHeld(): boolean;
  /** What the plug-in returned. */
  answer(outcome: Outcome): void;
  /** What the plug-in threw. */
  fail(error: Error): void;
  /** Ended without a word of the plug-in. */
  end(outcome: Outcome): void;
  /** Called when its time is up, to tell who has it. */
  onAbort(): void;
}

export interface OpenAccount {
  number: number;
  accountId: string;
  config: unknown;
}

export interface PlugInEnd {
  /** For the timeline and the log. */
  cause: string;
  /** It is not to be expected that the next start will do better. */
  atStart: boolean;
  /** May have been sent, all or in part. */
  begun: Attempt[];
  untouched: Attempt[];
  /** The one of those begun that ended the process, where that is known. */
  culprit: Attempt | undefined;
}

export interface PlugInProcessOptions
  extends Pick<PlugInChildOptions, 'file' | 'files' | 'name' | 'clock' | 'log' | 'secrets'> {
  /** Takes one attempt, or from the second call on all there are. */
  free(): void;
  /** The first attempt holds it for longer than neighbours should wait. @returns whether they do not */
  slow(): boolean;
  /** Nothing is under way any more. */
  idle(): void;
  /** Called once, unless it was stopped: the process is gone. */
  ended(end: PlugInEnd): void;
  /** @param stack as it was told: it may be anything */
  refused(account: number, text: string, stack: unknown): void;
  /** `send` threw. @param stack as it was told: it may be anything */
  threw(attempt: Attempt, text: string, stack: unknown): void;
}

export class PlugInProcess {
  readonly #options: PlugInProcessOptions;
  readonly #child: PlugInChild;
  readonly #startedAt: number;
  readonly #startLimit: Timer;
  readonly #underWay = new Map<number, Attempt>();
  readonly #held = new Set<number>();
  /** When attempts were told to stop. */
  readonly #abortedAt = new Map<number, number>();
  readonly #closing = new Map<number, () => void>();
  readonly #refused = new Set<number>();
  #sequence = 0;
  #ready = false;
  #ended = false;
  /** It has come to an outcome once, or did nothing but wait for its first one. */
  #proven = false;
  #slow = false;
  #calmLooks = 0;
  #looks: Timer | undefined;
  #silentLooks = 0;
  #unasked = 0;
  #ping = 0;
  #answered = true;
  #lastBegun = 0n;
  /** @throws Error when no process can be started */
  constructor(options: PlugInProcessOptions) {
    const { clock } = options;
    this.#options = options;
    this.#startedAt = clock.monotonic();
    this.#child = new PlugInChild({
      ...options,
      received: (message) => this.#received(message as FromPlugIn | null | undefined),
      ended: (cause) => this.#finish(cause),
    });
    this.#startLimit = clock.after(START_LIMIT_MS, () =>
      this.#child.kill(`the plug-in did not start within ${START_LIMIT_MS} ms`),
    );
  }

  /** Whether it takes an attempt now. */
  get free(): boolean {
    return this.#takes && (this.#proven || this.#underWay.size === 0);
  }

  get proven(): boolean {
    return this.#takes && this.#proven;
  }

  get busy(): boolean {
    return this.#underWay.size > 0;
  }

  get #takes(): boolean {
    return this.#ready && !this.#ended && !this.#child.ending;
  }

  /** May be called before it is ready. @throws DataCloneError when the configuration is no plain data */
  open({ number, accountId, config }: OpenAccount): void {
    this.#child.post({ type: 'open', account: number, accountId, config });
  }

  run(attempt: Attempt): void {
    const { account, delivery } = attempt;
    const id = ++this.#sequence;
    const held = attempt.isHeld();
    try {
      this.#child.post({ type: 'send', id, account, delivery, held });
    } catch (error) {
      attempt.fail(new Error(`the message cannot be handed to a plug-in: ${textOf(error)}`));
      return;
    }
    this.#underWay.set(id, attempt);
    if (held) this.#held.add(id);
    attempt.onAbort = () => this.#abort(id, attempt.signal);
    this.#watch();
  }

  /** Lets the account end what it has; what is still under way then is told that it was closed. */
  async close(account: number): Promise<void> {
    if (this.#takes) {
      const closed = new Promise<void>((resolve) => this.#closing.set(account, resolve));
      this.#child.post({ type: 'close', account });
      await Promise.race([closed, delay(this.#options.clock, CLOSE_MS)]);
      this.#closing.delete(account);
    }
    this.#endUnderWay((attempt) => attempt.account === account);
  }

  /** Ends the process without telling `ended`. */
  async stop(): Promise<void> {
    this.#end();
    this.#endUnderWay(() => true);
    this.#child.ref();
    this.#child.kill('it was stopped');
    await Promise.race([this.#child.exited, delay(this.#options.clock, CLOSE_MS)]);
  }

  #endUnderWay(which: (attempt: Attempt) => boolean): void {
    for (const [id, attempt] of this.#underWay) {
      if (which(attempt)) this.#take(id)?.end({ kind: 'retry', reason: 'closed', ambiguous: true });
    }
  }

  /** @throws Error when it says too much */
  #received(message: FromPlugIn | null | undefined): void {
    if (this.#ended) return;
    this.#silentLooks = 0;
    if (!this.#heed(message) && ++this.#unasked > MOST_UNASKED)
      throw new Error('words without end that nobody asked for');
  }

  /** @returns whether it is something that the engine waits for */
  #heed(message: FromPlugIn | null | undefined): boolean {
    switch (message?.type) {
      case 'ready':
        return this.#started();
      case 'pong': {
        const asked = !this.#answered && message.ping === this.#ping;
        this.#answered ||= asked;
        return asked;
      }
      case 'outcome':
        return this.#settle(message.id, (attempt) => attempt.answer(message.outcome as Outcome));
      case 'fault':
        return this.#settle(message.id, (attempt) => this.#fail(attempt, message));
      case 'closed': {
        const closed = this.#closing.get(message.account);
        closed?.();
        return closed !== undefined;
      }
      case 'refused':
        return this.#refuse(message);
      case 'crashed':
        this.#child.lastWord ??= `the plug-in crashed: ${textOf(message.text)}`;
    }
    return false;
  }

  #settle(id: number, settle: (attempt: Attempt) => void): boolean {
    const attempt = this.#take(id);
    if (!attempt) return false;
    settle(attempt);
    this.#prove();
    if (this.#underWay.size === 0) this.#options.idle();
    return true;
  }

  #fail(attempt: Attempt, { text: said, stack }: FromPlugIn & { type: 'fault' }): void {
    const text = textOf(said);
    this.#options.threw(attempt, text, stack);
    attempt.fail(new Error(text));
  }

  #refuse({ account, text, stack }: FromPlugIn & { type: 'refused' }): boolean {
    if (this.#refused.has(account)) return false;
    this.#refused.add(account);
    this.#options.refused(account, textOf(text), stack);
    return true;
  }

  #prove(): void {
    if (this.#proven) return;
    this.#proven = true;
    this.#options.free();
  }

  #started(): boolean {
    if (this.#ready) return false;
    this.#ready = true;
    this.#startLimit.cancel();
    this.#child.unref();
    this.#options.free();
    return true;
  }

  /** The attempt, which is no longer under way. */
  #take(id: number): Attempt | undefined {
    const attempt = this.#underWay.get(id);
    this.#underWay.delete(id);
    this.#held.delete(id);
    this.#abortedAt.delete(id);
    return attempt;
  }

  #abort(id: number, { reason }: AbortSignal): void {
    if (this.#ended) return;
    const { name, message } = reason instanceof Error ? reason : new Error(String(reason));
    this.#abortedAt.set(id, this.#options.clock.monotonic());
    this.#child.post({ type: 'abort', id, name, message });
  }

  /** From the first attempt to the last it keeps the service alive and is looked at. */
  #watch(): void {
    if (this.#looks) return;
    this.#child.ref();
    this.#silentLooks = 0;
    this.#askForSign();
    this.#looks = this.#options.clock.every(LOOK_MS, () => this.#look());
  }

  #look(): void {
    this.#unasked = 0;
    // Also what was not waited for may hang.
    if (this.#underWay.size === 0 && this.#answered) {
      this.#looks?.cancel();
      this.#looks = undefined;
      this.#child.unref();
      return;
    }
    this.#dropAborted();
    this.#tellHeld();
    // A long queue of attempts that are begun one after the other is no silence.
    const begun = this.#child.marks()[BEGUN] as bigint;
    if (begun !== this.#lastBegun) this.#silentLooks = 0;
    this.#lastBegun = begun;
    if (this.#answered) {
      if (++this.#calmLooks >= CALM_LOOKS) this.#prove();
      this.#askForSign();
    } else {
      this.#calmLooks = 0;
      this.#beSilent();
    }
  }

  #beSilent(): void {
    this.#silentLooks++;
    if (this.#silentLooks < SILENT_LOOKS) return;
    if (!this.#proven && !this.#slow) this.#slow = this.#options.slow();
    const patience = this.#slow && !this.#proven ? FIRST_SILENT_LOOKS : SILENT_LOOKS;
    if (this.#silentLooks >= patience)
      this.#child.kill(`the plug-in did not answer for ${patience * LOOK_MS} ms`);
  }

  #askForSign(): void {
    this.#answered = false;
    this.#child.post({ type: 'ping', ping: ++this.#ping });
  }

  #dropAborted(): void {
    const now = this.#options.clock.monotonic();
    for (const [id, at] of this.#abortedAt) {
      if (now - at < ABORT_GRACE_MS) continue;
      this.#take(id)?.end({ kind: 'retry', reason: 'timeout', ambiguous: true });
    }
  }

  #tellHeld(): void {
    for (const [id, attempt] of this.#underWay) {
      const held = attempt.isHeld();
      if (held === this.#held.has(id)) continue;
      if (held) this.#held.add(id);
      else this.#held.delete(id);
      this.#child.post({ type: 'held', id, held });
    }
  }

  #finish(cause: string): void {
    if (this.#ended) return;
    const marks = this.#child.marks();
    const begunUpTo = Number(marks[BEGUN]);
    const culprit = this.#underWay.get(Number(marks[BLAMED]));
    const begun: Attempt[] = [];
    const untouched: Attempt[] = [];
    for (const [id, attempt] of this.#underWay) (id <= begunUpTo ? begun : untouched).push(attempt);
    const livedMs = this.#options.clock.monotonic() - this.#startedAt;
    const atStart = !this.#ready || (begunUpTo === 0 && livedMs < STARTED_AFTER_MS);
    this.#end();
    this.#underWay.clear();
    this.#options.ended({ cause, atStart, begun, untouched, culprit });
  }

  #end(): void {
    this.#ended = true;
    this.#startLimit.cancel();
    this.#looks?.cancel();
    for (const closed of this.#closing.values()) closed();
  }
}
