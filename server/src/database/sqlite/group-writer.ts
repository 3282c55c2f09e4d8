/**
 * The one writer of one SQLite file. Calls that arrive together share one transaction and
 * one fsync; each is answered only after that commit.
 *
 * State: `open` → (a commit or an fsync fails) → `broken` → (reopened and repaired) → `open`.
 * After a failed commit nobody knows what is on disk: the frames may be in the page cache and
 * not on the disk, and a later fsync would not report them again. So nothing is appended behind
 * them: the file is reopened and the whole log is moved into the database file with an fsync of
 * both (checkpoint TRUNCATE) before the next write is taken. Until that succeeds every call is
 * refused at once.
 *
 * A damaged file is `broken` as well, whether the writer met the damage or somebody who read: what is
 * written over it may take with it what was whole. Writes are taken again only when the reopened file
 * has been looked through and is whole; when it is not, never again (`lost`): it has to be put back.
 */
import type { DatabaseSync } from 'node:sqlite';
import { type PlainError, ServiceError } from '../../errors.ts';
import { failpoint } from '../../failpoint.ts';
import {
  DamageError,
  damageOf,
  isConstraintError,
  isDamaged,
  isDiskFull,
  needsReopening,
  translateError,
} from './connection.ts';
import { assertWhole } from './file-check.ts';

/** One kind of write. Runs inside the group's transaction. */
export interface Operation {
  run(argument: never): unknown;
  /**
   * True when it may fail by itself (a conflict): it then gets a savepoint, so that its failure
   * undoes only itself. Hot operations are written so that they cannot.
   */
  isolated: boolean;
}

/** An operation that cannot fail by itself. */
export function hot(run: Operation['run']): Operation {
  return { run, isolated: false };
}

/** An operation that may fail alone. */
export function alone(run: Operation['run']): Operation {
  return { run, isolated: true };
}

export interface OperationSet {
  operations: Record<string, Operation>;
  /** Called after a rollback of the whole group: what is kept in memory must follow the file again. */
  rolledBack?(): void;
  /** Called after the commit, before the answers. */
  committed?(): void;
}

/** By which those who read tell of damage that they have met. */
export const damageOperations: OperationSet = {
  operations: {
    damageFound: hot((message: string) => {
      throw new DamageError(message);
    }),
  },
};

/** The operations of several stores that share one file. */
export function mergeOperations(...sets: OperationSet[]): OperationSet {
  return {
    operations: Object.assign({}, ...sets.map((set) => set.operations)),
    committed: () => {
      for (const set of sets) set.committed?.();
    },
    rolledBack: () => {
      for (const set of sets) set.rolledBack?.();
    },
  };
}

export type Call = [operation: string, argument: unknown];
export interface Answers {
  /** One per call, in order. */
  values: unknown[];
  /** Of the calls that failed; their values are null. */
  errors: [index: number, error: PlainError][];
}

export interface GroupWriterOptions {
  open(): DatabaseSync;
  /** Prepares the statements of one connection; called again after a reopening. */
  prepare(database: DatabaseSync): OperationSet;
}

export class GroupWriter {
  readonly #options: GroupWriterOptions;
  #database: DatabaseSync | undefined;
  #set: OperationSet | undefined;
  #begin: (() => void) | undefined;
  #commit: (() => void) | undefined;
  #failure: ServiceError | undefined;
  /** The failure is damage. */
  #damaged = false;
  /** The file was looked through, and the damage is in it. */
  #lost = false;

  constructor(options: GroupWriterOptions) {
    this.#options = options;
    this.#open();
  }

  /** Why it takes no writes at present; undefined when it does. */
  get failure(): ServiceError | undefined {
    return this.#failure;
  }

  /** Runs all calls in one transaction. Never throws: what fails is in the answers. */
  run(calls: readonly Call[]): Answers {
    const database = this.#database;
    const set = this.#set;
    if (!database || !set || !this.#begin || !this.#commit) return refuseAll(calls, this.#failure);
    try {
      this.#begin();
      const answers: Answers = { values: [], errors: [] };
      for (const [name, argument] of calls) this.#runOne(database, set, name, argument, answers);
      failpoint('before-commit');
      this.#commit();
      failpoint('after-commit');
      set.committed?.();
      return answers;
    } catch (error) {
      return refuseAll(calls, this.#abandon(error));
    }
  }

  /** Tries to get out of `broken`; true when writes are taken again. */
  repair(): boolean {
    if (!this.#failure) return true;
    if (this.#lost) return false;
    try {
      this.#close();
      this.#open();
      return true;
    } catch (error) {
      this.#close();
      const isDamage = isDamaged((error as { cause?: unknown }).cause ?? error);
      this.#lost = isDamage && this.#damaged;
      this.#damaged ||= isDamage;
      if (!this.#damaged) this.#failure = translateError(error);
      return false;
    }
  }

  /**
   * How long the log is now; the size of its file says only how long it has ever been. Asked of SQLite: to
   * open and close one of its files beside it would give up its locks.
   */
  framesInLog(): number {
    const row = this.#database?.prepare('PRAGMA wal_checkpoint(NOOP)').get();
    return Number(row?.['log'] ?? 0);
  }

  /** Moves what can be moved from the log into the file, so that the log can start over. */
  checkpoint(): void {
    this.#database?.exec('PRAGMA wal_checkpoint(PASSIVE)');
  }

  close(): void {
    this.#close();
    this.#failure = new ServiceError('shutting_down');
  }

  #open(): void {
    const database = this.#options.open();
    try {
      const row = database.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get() as { busy: number };
      // A reader of this process may hold the log; what it holds is committed and synced already
      // unless the last commit failed, and then the log must be moved before going on.
      if (row.busy !== 0 && this.#failure) throw new ServiceError('store_unavailable');
      if (this.#damaged) assertWhole(database);
      this.#set = this.#options.prepare(database);
      const begin = database.prepare('BEGIN IMMEDIATE');
      const commit = database.prepare('COMMIT');
      this.#begin = () => begin.run();
      this.#commit = () => commit.run();
      this.#database = database;
      this.#failure = undefined;
      this.#damaged = false;
    } catch (error) {
      database.close();
      throw error;
    }
  }

  #close(): void {
    try {
      this.#database?.close();
    } catch {
      // A connection in an uncertain state may refuse; the reopening decides what holds.
    }
    this.#database = undefined;
    this.#set = undefined;
    this.#begin = undefined;
    this.#commit = undefined;
  }

  #runOne(
    database: DatabaseSync,
    set: OperationSet,
    name: string,
    argument: unknown,
    { values, errors }: Answers,
  ): void {
    const operation = set.operations[name];
    if (!operation) throw new Error(`unknown write operation ${name}`);
    if (!operation.isolated) {
      values.push(operation.run(argument as never));
      return;
    }
    database.exec('SAVEPOINT one');
    try {
      const value = operation.run(argument as never);
      database.exec('RELEASE one');
      values.push(value);
    } catch (error) {
      if (!(error instanceof ServiceError) && !isConstraintError(error)) throw error;
      database.exec('ROLLBACK TO one; RELEASE one');
      errors.push([values.length, translateError(error).toPlain()]);
      values.push(null);
    }
  }

  /** The group did not commit: undo it, and decide whether the connection can still be trusted. */
  #abandon(error: unknown): ServiceError {
    const database = this.#database;
    this.#damaged = isDamaged(error);
    const failure = this.#damaged
      ? damageOf(database?.location() ?? '', error)
      : translateError(error);
    try {
      if (database?.isTransaction) database.exec('ROLLBACK');
      this.#set?.rolledBack?.();
    } catch {
      this.#failure = failure;
    }
    if (needsReopening(error)) this.#failure = failure;
    if (this.#failure) this.#close();
    return isDiskFull(error) || failure.code !== 'internal'
      ? failure
      : new ServiceError('internal', { cause: error, detail: 'A write failed inside the store.' });
  }
}

function refuseAll(calls: readonly Call[], failure: ServiceError | undefined): Answers {
  const error = (
    failure ?? new ServiceError('store_unavailable', { retryAfterMs: 1000 })
  ).toPlain();
  return { values: calls.map(() => null), errors: calls.map((_, i) => [i, error]) };
}
