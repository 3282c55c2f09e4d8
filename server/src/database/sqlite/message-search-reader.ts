/**
 * Reads lists and counts from the files, job by job in slices: nobody's search keeps another one waiting
 * for longer than a slice. In a thread of its own (message-search-thread.ts), or where there is but one.
 */
import { existsSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import type { Ledger } from '@tidings/contracts/notification';
import type { FoundPage, SearchFilter } from '../../notification/notification-store.ts';
import { openForReading } from './connection.ts';
import { countLedger, type LedgerFilter } from './message-search-ledger.ts';
import { findPage, Statements } from './message-search-page.ts';

/** The files it reads. Without records nobody is in a group. */
export interface SearchFiles {
  messages: string;
  projection: string;
  records: string;
}

export interface Jobs {
  page: { argument: SearchFilter; answer: FoundPage };
  ledger: { argument: LedgerFilter; answer: Ledger };
  /** Which of these messages are the application's. */
  owned: { argument: { applicationId: number; ids: number[] }; answer: number[] };
}
export type JobName = keyof Jobs;

/**
 * A page that has not found enough by then ends with what it has; counted from when it was asked for, so
 * that many at once end in time as well. A quarter of what a list may take.
 */
const BUDGET_MS = 40;

type Steps = Generator<undefined, unknown, boolean>;

interface Job {
  steps: Steps;
  /** On the clock of `performance.now`; none for what has to be complete. */
  deadline: number;
  done(answer: unknown): void;
  failed(error: unknown): void;
}

export class SearchReader {
  readonly #files: SearchFiles;
  readonly #budgetMs: number;
  readonly #jobs: Job[] = [];
  #lists: { database: DatabaseSync; statements: Statements } | undefined;
  #counts: DatabaseSync | undefined;
  /** Counts are made one after the other: each is a snapshot of its connection. */
  #counting: Promise<unknown> = Promise.resolve();
  #closed = false;

  /** @param options.budgetMs 0 ends each page after its first slice */
  constructor(files: SearchFiles, options: { budgetMs?: number } = {}) {
    this.#files = files;
    this.#budgetMs = options.budgetMs ?? BUDGET_MS;
  }

  run<Name extends JobName>(
    name: Name,
    argument: Jobs[Name]['argument'],
  ): Promise<Jobs[Name]['answer']> {
    if (name !== 'ledger') return this.#begin(name, argument);
    const counted = this.#counting.then(() => this.#begin(name, argument));
    this.#counting = counted.catch(() => {});
    return counted;
  }

  close(): void {
    this.#closed = true;
    this.#lists?.database.close();
    this.#counts?.close();
    this.#lists = this.#counts = undefined;
  }

  #begin<Name extends JobName>(
    name: Name,
    argument: Jobs[Name]['argument'],
  ): Promise<Jobs[Name]['answer']> {
    return new Promise((resolve, reject) => {
      const deadline = name === 'page' ? performance.now() + this.#budgetMs : Infinity;
      const steps = this.#steps(name, argument);
      this.#jobs.push({
        steps,
        deadline,
        done: (answer) => resolve(answer as Jobs[Name]['answer']),
        failed: reject,
      });
      if (this.#jobs.length === 1) setImmediate(this.#step);
    });
  }

  *#steps(name: JobName, argument: unknown): Steps {
    switch (name) {
      case 'page':
        return yield* findPage(this.#forLists().statements, argument as SearchFilter);
      case 'ledger':
        return yield* countLedger(this.#forCounts(), argument as LedgerFilter);
      case 'owned': {
        const { applicationId, ids } = argument as Jobs['owned']['argument'];
        const owner = this.#forLists().statements.of(
          'SELECT 1 FROM message_index WHERE id = ? AND application_id = ?',
        );
        return ids.filter((id) => owner.get(id, applicationId));
      }
    }
  }

  /** One slice of the job that has waited the longest. */
  #step = (): void => {
    const job = this.#jobs.shift();
    if (!job || this.#closed) return;
    try {
      const { done, value } = job.steps.next(performance.now() >= job.deadline);
      if (done) job.done(value);
      else this.#jobs.push(job);
    } catch (error) {
      job.failed(error);
    }
    if (this.#jobs.length > 0) setImmediate(this.#step);
  };

  #forLists(): { database: DatabaseSync; statements: Statements } {
    if (!this.#lists) {
      const database = openForReading(this.#files.projection);
      // For groups.
      if (existsSync(this.#files.records))
        database.prepare('ATTACH ? AS records').run(this.#files.records);
      this.#lists = { database, statements: new Statements(database) };
    }
    return this.#lists;
  }

  #forCounts(): DatabaseSync {
    if (!this.#counts) {
      const database = openForReading(this.#files.messages, 1024);
      database.prepare('ATTACH ? AS shown').run(this.#files.projection);
      this.#counts = database;
    }
    return this.#counts;
  }
}
