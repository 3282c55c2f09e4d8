/**
 * One thread of a plug-in, from its start to its end, as the engine sees it: hands attempts over,
 * passes on what they came to, and notices when the thread ends or answers no more. It starts nothing
 * anew (plug-in-runner.ts) and judges no outcome (outbound/attempt.ts).
 */
import { Worker } from 'node:worker_threads';
import { type Clock, delay, type Timer } from '../clock.ts';
import {
  BEGUN,
  BLAMED,
  type FromPlugIn,
  GIVEN_UP,
  MARKS,
  type PlugInThreadData,
  type ToPlugIn,
  textOf,
} from './plug-in-protocol.ts';
import type { Delivery, Outcome } from './provider.ts';

/** Looks at a busy thread, and asks it for a sign of life. */
const LOOK_MS = 50;
/**
 * Looks without one after which the thread hangs: 500 ms. Longer than it takes to collect all of the
 * largest heap (0.2 s), and short enough that with a new start (0.05 to 0.2 s) and the next attempt
 * (0.15 s) no neighbour waits for a second. Looks are counted and not time: while the engine itself is
 * held up, there are none.
 */
const SILENT_LOOKS = 10;
/** The same before its first outcome: a library that is imported on first use is evaluated at one go. */
const FIRST_SILENT_LOOKS = 30;
/** For loading the file with all it imports. */
const START_LIMIT_MS = 5000;
/** An end that comes sooner after the start, and without any attempt, is one of the start. */
const STARTED_AFTER_MS = 1000;
/** For `close` of an account, and for the end of the thread. */
const CLOSE_MS = 1000;
/** An attempt that was told to stop has this long to say what it knows; outbound waits no longer. */
const ABORT_GRACE_MS = 1000;
/** Of what JavaScript holds; buffers come on top of it. */
const HEAP_LIMIT_MB = 256;
/** All that a plug-in sees of the environment: compiled code to start from, and the zone of local times. */
const ENVIRONMENT = ['NODE_COMPILE_CACHE', 'TZ'];

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
  /** The one of those begun that ended the thread, where that is known. */
  culprit: Attempt | undefined;
}

export interface PlugInWorkerOptions {
  file: string;
  name: string;
  clock: Clock;
  ready(): void;
  /** Called once, unless it was stopped. The thread itself may take longer: see `exited`. */
  ended(end: PlugInEnd): void;
  refused(account: number, text: string): void;
}

export class PlugInWorker {
  /** Resolves when the thread is gone. */
  readonly exited: Promise<void>;
  readonly #options: PlugInWorkerOptions;
  readonly #worker: Worker;
  readonly #marks: BigInt64Array;
  readonly #startedAt: number;
  readonly #startLimit: Timer;
  readonly #underWay = new Map<number, Attempt>();
  readonly #held = new Set<number>();
  /** When attempts were told to stop. */
  readonly #abortedAt = new Map<number, number>();
  readonly #closing = new Map<number, () => void>();
  #sequence = 0;
  #ready = false;
  #ended = false;
  /** It has come to an outcome once. */
  #proven = false;
  #looks: Timer | undefined;
  #silentLooks = 0;
  #ping = 0;
  #answered = true;
  #lastBegun = 0n;

  constructor(options: PlugInWorkerOptions) {
    const { file, name, clock } = options;
    const data: PlugInThreadData = {
      file,
      marks: new SharedArrayBuffer(MARKS * BigInt64Array.BYTES_PER_ELEMENT),
    };
    this.#options = options;
    this.#marks = new BigInt64Array(data.marks);
    this.#startedAt = clock.monotonic();
    this.#worker = new Worker(new URL('./plug-in-thread.ts', import.meta.url), {
      name: `plug-in ${name}`,
      workerData: data,
      env: Object.fromEntries(
        ENVIRONMENT.filter((key) => process.env[key] !== undefined).map((key) => [
          key,
          process.env[key],
        ]),
      ),
      resourceLimits: { maxOldGenerationSizeMb: HEAP_LIMIT_MB },
    });
    this.exited = new Promise((resolve) => this.#worker.once('exit', () => resolve()));
    let cause: string | undefined;
    this.#worker.on('message', (message) => this.#receive(message));
    this.#worker.on('error', (error) => {
      cause = causeOf(error);
    });
    this.#worker.on('exit', (code) =>
      this.#finish(cause ?? `the plug-in ended its thread (${code})`),
    );
    this.#startLimit = clock.after(START_LIMIT_MS, () =>
      this.#giveUp(`the plug-in did not start within ${START_LIMIT_MS} ms`),
    );
  }

  /** Whether it takes attempts. */
  get ready(): boolean {
    return this.#ready && !this.#ended;
  }

  /** May be called before it is ready. @throws DataCloneError when the configuration is no plain data */
  open({ number, accountId, config }: OpenAccount): void {
    this.#post({ type: 'open', account: number, accountId, config });
  }

  run(attempt: Attempt): void {
    const { account, delivery } = attempt;
    const id = ++this.#sequence;
    const held = attempt.isHeld();
    try {
      this.#post({ type: 'send', id, account, delivery, held });
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
    if (this.ready) {
      const closed = new Promise<void>((resolve) => this.#closing.set(account, resolve));
      this.#post({ type: 'close', account });
      await Promise.race([closed, delay(this.#options.clock, CLOSE_MS)]);
    }
    this.#endUnderWay((attempt) => attempt.account === account);
  }

  /** Ends the thread without telling `ended`. */
  async stop(): Promise<void> {
    this.#end();
    this.#endUnderWay(() => true);
    this.#worker.ref();
    void this.#worker.terminate();
    await Promise.race([this.exited, delay(this.#options.clock, CLOSE_MS)]);
  }

  #endUnderWay(which: (attempt: Attempt) => boolean): void {
    for (const [id, attempt] of this.#underWay) {
      if (which(attempt)) this.#take(id)?.end({ kind: 'retry', reason: 'closed', ambiguous: true });
    }
  }

  #post(message: ToPlugIn): void {
    this.#worker.postMessage(message);
  }

  #receive(message: FromPlugIn | null | undefined): void {
    if (this.#ended) return;
    this.#silentLooks = 0;
    switch (message?.type) {
      case 'ready':
        this.#started();
        break;
      case 'pong':
        this.#answered ||= message.ping === this.#ping;
        break;
      case 'outcome':
        this.#proven = true;
        this.#take(message.id)?.answer(message.outcome as Outcome);
        break;
      case 'fault':
        this.#proven = true;
        this.#take(message.id)?.fail(new Error(message.text));
        break;
      case 'closed':
        this.#closing.get(message.account)?.();
        break;
      case 'refused':
        this.#options.refused(message.account, message.text);
    }
  }

  #started(): void {
    if (this.#ready) return;
    this.#ready = true;
    this.#startLimit.cancel();
    this.#options.ready();
    if (this.#underWay.size === 0) this.#worker.unref();
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
    this.#post({ type: 'abort', id, name, message });
  }

  /** From the first attempt to the last it keeps the process alive and is looked at. */
  #watch(): void {
    if (this.#looks) return;
    this.#worker.ref();
    this.#silentLooks = 0;
    this.#askForSign();
    this.#looks = this.#options.clock.every(LOOK_MS, () => this.#look());
  }

  #look(): void {
    // Also what was not waited for may hang.
    if (this.#underWay.size === 0 && this.#answered) {
      this.#looks?.cancel();
      this.#looks = undefined;
      this.#worker.unref();
      return;
    }
    this.#dropAborted();
    this.#tellHeld();
    // A long queue of attempts that are begun one after the other is no silence.
    const begun = Atomics.load(this.#marks, BEGUN);
    if (begun !== this.#lastBegun) this.#silentLooks = 0;
    this.#lastBegun = begun;
    const patience = this.#proven ? SILENT_LOOKS : FIRST_SILENT_LOOKS;
    if (this.#answered) this.#askForSign();
    else if (++this.#silentLooks >= patience)
      this.#giveUp(`the plug-in did not answer for ${patience * LOOK_MS} ms`);
  }

  #askForSign(): void {
    this.#answered = false;
    this.#post({ type: 'ping', ping: ++this.#ping });
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
      this.#post({ type: 'held', id, held });
    }
  }

  #giveUp(cause: string): void {
    Atomics.store(this.#marks, GIVEN_UP, 1n);
    this.#finish(cause);
    // It may hang in native code and end later, or never: nobody waits for it.
    void this.#worker.terminate();
  }

  #finish(cause: string): void {
    if (this.#ended) return;
    const begunUpTo = Number(Atomics.load(this.#marks, BEGUN));
    const culprit = this.#underWay.get(Number(Atomics.load(this.#marks, BLAMED)));
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

function causeOf(error: unknown): string {
  if ((error as NodeJS.ErrnoException | null)?.code === 'ERR_WORKER_OUT_OF_MEMORY')
    return `the plug-in needed more than ${HEAP_LIMIT_MB} MB of memory`;
  return `the plug-in crashed: ${textOf(error)}`;
}
