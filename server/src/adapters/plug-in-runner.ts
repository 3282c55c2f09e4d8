/**
 * Keeps a process of a plug-in going: attempts wait here until it has started, and what a process had
 * not begun when it ended goes to the next one. What it had begun is for the caller to answer.
 *
 *   no process ──start──► starting ──ready──► running ──end──► no process, started anew at once
 *                            └──end──► no process; a pause that grows, then when somebody waits
 *
 * A process is given its first attempt alone. When that holds it, it is set aside with it and the others
 * go on in a new one: the first of those that gets anywhere serves all, and the rest end with what they have.
 */
import type { Clock, Timer } from '../clock.ts';
import {
  type Attempt,
  type OpenAccount,
  type PlugInEnd,
  PlugInProcess,
  type PlugInProcessOptions,
} from './plug-in-process.ts';
import { textOf } from './plug-in-protocol.ts';
import type { Outcome } from './provider.ts';

/** After an end at the start, doubling while it goes on so. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1000;
/** Processes whose first attempt holds them, each of which may take a core for a second. */
const MOST_ASIDE = 2;

export interface PlugInRunnerOptions
  extends Pick<
    PlugInProcessOptions,
    'file' | 'files' | 'name' | 'refused' | 'threw' | 'log' | 'secrets'
  > {
  clock: Clock;
  /** Those to open in every process; the caller adds and removes. */
  accounts: ReadonlyMap<number, OpenAccount>;
  /** Has a process also while nothing waits for it. */
  standing: boolean;
  /** A process has ended by itself, or was killed. */
  ended(end: PlugInEnd): void;
}

export class PlugInRunner {
  readonly #options: PlugInRunnerOptions;
  #process: PlugInProcess | undefined;
  readonly #aside = new Set<PlugInProcess>();
  #waiting = new Set<Attempt>();
  #pause: Timer | undefined;
  #failedStarts = 0;

  constructor(options: PlugInRunnerOptions) {
    this.#options = options;
  }

  /** Opens an account that has just been added; a standing process starts with the first one. */
  open(account: OpenAccount): void {
    for (const process of this.#all()) process.open(account);
    if (this.#options.standing) this.#start();
  }

  send(attempt: Attempt): void {
    if (this.#process?.free) return void this.#process.run(attempt);
    this.#wait(attempt);
    this.#start();
  }

  async close(account: number): Promise<void> {
    for (const attempt of this.#waiting) {
      if (attempt.account !== account) continue;
      this.#waiting.delete(attempt);
      attempt.end({ kind: 'retry', reason: 'closed' });
    }
    await Promise.all(this.#all().map((process) => process.close(account)));
  }

  /** Closes all accounts and ends the processes. One starts again with the next attempt or account. */
  async stop(): Promise<void> {
    const processes = this.#all();
    const accounts = [...this.#options.accounts.keys()];
    this.#process = undefined;
    this.#aside.clear();
    if (accounts.length === 0) this.#pause?.cancel();
    await Promise.all(
      processes.map(async (process) => {
        await Promise.all(accounts.map((account) => process.close(account)));
        await process.stop();
      }),
    );
  }

  #all(): PlugInProcess[] {
    return [...this.#aside, ...(this.#process ? [this.#process] : [])];
  }

  #start(): void {
    if (this.#process || this.#pause) return;
    const { accounts } = this.#options;
    let process: PlugInProcess;
    try {
      process = this.#spawn();
    } catch (error) {
      return void this.#failed(`the plug-in cannot be started: ${textOf(error)}`);
    }
    this.#process = process;
    for (const account of accounts.values()) process.open(account);
  }

  #spawn(): PlugInProcess {
    const process: PlugInProcess = new PlugInProcess({
      ...this.#options,
      free: () => this.#free(process),
      slow: () => this.#setAside(process),
      idle: () => this.#idle(process),
      ended: (end) => this.#ended(process, end),
    });
    return process;
  }

  #free(process: PlugInProcess): void {
    if (this.#aside.has(process)) {
      if (this.#process?.proven) return;
      this.#aside.delete(process);
      const other = this.#process;
      this.#process = process;
      if (other?.busy) this.#aside.add(other);
      else void other?.stop();
    }
    if (this.#process === process) this.#runWaiting(process);
  }

  /** @returns whether nobody else waits for it: it may take its time then */
  #setAside(process: PlugInProcess): boolean {
    if (!this.#options.standing || this.#aside.has(process)) return true;
    if (this.#process !== process || this.#aside.size >= MOST_ASIDE) return false;
    this.#aside.add(process);
    this.#process = undefined;
    this.#start();
    return true;
  }

  #idle(process: PlugInProcess): void {
    if (this.#aside.delete(process)) void process.stop();
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

  #runWaiting(process: PlugInProcess): void {
    for (const attempt of this.#waiting) {
      if (!process.free) return;
      this.#waiting.delete(attempt);
      process.run(attempt);
    }
  }

  #ended(process: PlugInProcess, end: PlugInEnd): void {
    this.#aside.delete(process);
    // One that was set aside, or is being stopped, has no successor here.
    const current = this.#process === process;
    if (current) this.#process = undefined;
    this.#options.ended(end);
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const attempt of [...end.untouched, ...waiting]) this.#wait(attempt);
    if (this.#process) return void this.#free(this.#process);
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
