/**
 * Keeps a thread of a plug-in going: attempts wait here until it has started, and what a thread had
 * not begun when it ended goes to the next one. What it had begun is for the caller to answer.
 *
 *   no thread ──start──► starting ──ready──► running ──end──► no thread, started anew at once
 *                           └──end──► no thread; a pause that grows, then when somebody waits
 */
import type { Clock, Timer } from '../clock.ts';
import {
  type Attempt,
  type OpenAccount,
  type PlugInEnd,
  PlugInWorker,
  type PlugInWorkerOptions,
} from './plug-in-worker.ts';
import type { Outcome } from './provider.ts';

/** After an end at the start, doubling while it goes on so. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1000;
/** Threads that were given up and are not gone, each of which may take a core: then none is started. */
const MOST_LINGERING = 4;

export interface PlugInRunnerOptions
  extends Pick<PlugInWorkerOptions, 'file' | 'name' | 'refused'> {
  clock: Clock;
  /** Those to open in every thread; the caller adds and removes. */
  accounts: ReadonlyMap<number, OpenAccount>;
  /** Has a thread also while nothing waits for it. */
  standing: boolean;
  /** A thread has ended by itself, or was given up. */
  ended(end: PlugInEnd): void;
}

export class PlugInRunner {
  readonly #options: PlugInRunnerOptions;
  #worker: PlugInWorker | undefined;
  #waiting = new Set<Attempt>();
  #pause: Timer | undefined;
  #failedStarts = 0;
  readonly #lingering = new Set<PlugInWorker>();

  constructor(options: PlugInRunnerOptions) {
    this.#options = options;
  }

  /** Opens an account that has just been added; a standing thread starts with the first one. */
  open(account: OpenAccount): void {
    if (this.#worker) this.#worker.open(account);
    else if (this.#options.standing) this.#start();
  }

  send(attempt: Attempt): void {
    if (this.#worker?.ready) return void this.#worker.run(attempt);
    this.#wait(attempt);
    this.#start();
  }

  async close(account: number): Promise<void> {
    for (const attempt of this.#waiting) {
      if (attempt.account !== account) continue;
      this.#waiting.delete(attempt);
      attempt.end({ kind: 'retry', reason: 'closed' });
    }
    await this.#worker?.close(account);
  }

  /** Closes all accounts and ends the thread. It starts again with the next attempt or account. */
  async stop(): Promise<void> {
    const worker = this.#worker;
    const accounts = [...this.#options.accounts.keys()];
    this.#worker = undefined;
    if (accounts.length === 0) this.#pause?.cancel();
    if (!worker) return;
    await Promise.all(accounts.map((account) => worker.close(account)));
    await worker.stop();
  }

  #start(): void {
    if (this.#worker || this.#pause) return;
    if (this.#lingering.size >= MOST_LINGERING)
      return void this.#failed('earlier threads do not end');
    const { file, name, clock, refused, accounts } = this.#options;
    const worker: PlugInWorker = new PlugInWorker({
      file,
      name,
      clock,
      refused,
      ready: () => this.#runWaiting(worker),
      ended: (end) => this.#ended(worker, end),
    });
    this.#worker = worker;
    for (const account of accounts.values()) worker.open(account);
  }

  #wait(attempt: Attempt): void {
    if (attempt.signal.aborted)
      return void attempt.end(notStarted('the time of the attempt is over'));
    this.#waiting.add(attempt);
    attempt.onAbort = () => {
      if (this.#waiting.delete(attempt))
        attempt.end(notStarted('the plug-in did not start in the time of the attempt'));
    };
  }

  #runWaiting(worker: PlugInWorker): void {
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const attempt of waiting) worker.run(attempt);
  }

  #ended(worker: PlugInWorker, end: PlugInEnd): void {
    this.#lingering.add(worker);
    void worker.exited.then(() => this.#lingering.delete(worker));
    // One that is being stopped has no successor here.
    const current = this.#worker === worker;
    if (current) this.#worker = undefined;
    this.#options.ended(end);
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const attempt of [...end.untouched, ...waiting]) this.#wait(attempt);
    if (!current) return;
    if (end.atStart) return void this.#failed(end.cause);
    this.#failedStarts = 0;
    if (this.#options.standing || this.#waiting.size > 0) this.#start();
  }

  /** Nobody who waits is kept waiting for a start that may fail again. */
  #failed(cause: string): void {
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** this.#failedStarts++, LONGEST_PAUSE_MS);
    this.#pause = this.#options.clock.after(pauseMs, () => {
      this.#pause = undefined;
      if (this.#waiting.size > 0) this.#start();
    });
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const attempt of waiting) attempt.end(notStarted(cause));
  }
}

function notStarted(cause: string): Outcome {
  return { kind: 'retry', reason: 'plug_in_not_started', response: cause };
}
