/**
 * Opening SQLite files the one way this service opens them: WAL, and `synchronous=FULL`
 * wherever an answer depends on the write. The pragma is asserted after a real write, because
 * builds exist that change it back when WAL is first used.
 */
import { basename } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { ServiceError } from '../../errors.ts';

export interface OpenOptions {
  /** `full`: a commit survives power loss. `normal`: it may be lost, the file never breaks; for what can be rebuilt. */
  durability: 'full' | 'normal';
  cacheKiB?: number;
}

/**
 * A log that was longer is cut back when it begins anew. More than the writer lets it grow to: cutting and
 * growing again made the next commit wait 10 ms.
 */
const LARGEST_LOG_BYTES = 100_000_000;

export function openForWriting(path: string, options: OpenOptions): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: 5000 });
  try {
    const synchronous = options.durability === 'full' ? 2 : 1;
    database.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = ${synchronous};
      PRAGMA wal_autocheckpoint = 0;
      PRAGMA cache_size = -${options.cacheKiB ?? 16_384};
      PRAGMA temp_store = MEMORY;
      PRAGMA foreign_keys = OFF;
      PRAGMA journal_size_limit = ${LARGEST_LOG_BYTES};
    `);
    assertPragma(database, 'journal_mode', 'wal');
    database.exec(`CREATE TABLE IF NOT EXISTS opened (at INTEGER NOT NULL) STRICT;
      DELETE FROM opened; INSERT INTO opened VALUES (unixepoch());`);
    assertPragma(database, 'synchronous', synchronous);
    return database;
  } catch (error) {
    database.close();
    throw translateError(error);
  }
}

export function openForReading(path: string, cacheKiB = 8192): DatabaseSync {
  try {
    const database = new DatabaseSync(path, { readOnly: true, timeout: 5000 });
    database.exec(`PRAGMA cache_size = -${cacheKiB}; PRAGMA temp_store = MEMORY;`);
    return database;
  } catch (error) {
    throw translateError(error);
  }
}

/** Reading a file that the writer's thread writes and that cannot be made anew: see `whenDamaged`. */
export function openBesideWriter(path: string, cacheKiB = 8192): DatabaseSync {
  try {
    const database = new ReadConnection(path);
    database.exec(`PRAGMA cache_size = -${cacheKiB}; PRAGMA temp_store = MEMORY;`);
    return database;
  } catch (error) {
    throw translateError(error);
  }
}

/** Has the damage that reads of a connection meet told to whoever writes the file. */
export function whenDamaged(database: DatabaseSync, tell: (error: unknown) => void): void {
  if (database instanceof ReadConnection) database.tellDamage = tell;
}

/** Reads that fail do so in the service's words. */
class ReadConnection extends DatabaseSync {
  readonly #path: string;
  tellDamage: ((error: unknown) => void) | undefined;

  constructor(path: string) {
    super(path, { readOnly: true, timeout: 5000 });
    this.#path = path;
  }

  override prepare(...given: Parameters<DatabaseSync['prepare']>): StatementSync {
    const statement = this.#within(this, super.prepare)(...given);
    const { get, all } = statement;
    const own = { get: this.#within(statement, get), all: this.#within(statement, all) };
    return Object.assign(statement, own);
  }

  /** The function of an object of this connection, with its errors in the service's words. */
  #within<Values extends unknown[], Result>(
    owner: object,
    run: (...values: Values) => Result,
  ): (...values: Values) => Result {
    return (...values) => {
      try {
        return run.apply(owner, values);
      } catch (error) {
        if (resultCode(error) === undefined) throw error;
        if (!isDamaged(error)) throw translateError(error);
        this.tellDamage?.(error);
        throw damageOf(this.#path, error);
      }
    };
  }
}

function assertPragma(database: DatabaseSync, name: string, expected: string | number): void {
  const row = database.prepare(`PRAGMA ${name}`).get() as Record<string, unknown>;
  if (row[name] !== expected) {
    throw new Error(
      `SQLite reports ${name}=${String(row[name])}, but ${expected} is needed to keep what is accepted`,
    );
  }
}

const SQLITE_BUSY = 5;
const SQLITE_IOERR = 10;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_CONSTRAINT = 19;
const SQLITE_NOTADB = 26;

/** Primary result code of an SQLite error, or undefined for any other error. */
function resultCode(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown }).errcode;
  return typeof code === 'number' ? code & 0xff : undefined;
}

export function isConstraintError(error: unknown): boolean {
  return resultCode(error) === SQLITE_CONSTRAINT;
}

/** Damage that a check has found, or that somebody else has met. */
export class DamageError extends Error {
  readonly errcode = SQLITE_CORRUPT;

  constructor(message: string) {
    super(message);
    this.name = 'DamageError';
  }
}

/** Who asks is told as much as helps: which file, and who can do something. The log says the rest. */
export function damageOf(path: string, cause: unknown): ServiceError {
  return new ServiceError('store_unavailable', {
    detail: `The file ${basename(path)} of the store is damaged; its operator has to put it back.`,
    hint: 'Nothing is accepted until then. The log of the service says more.',
    retryAfterMs: DAMAGED_RETRY_MS,
    cause,
  });
}

/** Nobody puts a file back sooner. */
const DAMAGED_RETRY_MS = 60_000;

/** What is wrong with a file, for people. */
export function inPlainWords(error: unknown): string {
  const { message = String(error) } = error as Error;
  const code = resultCode(error);
  if (code === SQLITE_NOTADB)
    return 'it is no database (overwritten, encrypted, or another file with its name)';
  return code === SQLITE_CORRUPT ? `it is damaged or was cut off (${message})` : message;
}

/** The file is no database, or not whole. */
export function isDamaged(error: unknown): boolean {
  const code = resultCode(error);
  return code === SQLITE_CORRUPT || code === SQLITE_NOTADB;
}

export function isDiskFull(error: unknown): boolean {
  return resultCode(error) === SQLITE_FULL;
}

/** Whether the state of the connection is uncertain after this error, so that it must be reopened. */
export function needsReopening(error: unknown): boolean {
  const code = resultCode(error);
  return code === SQLITE_IOERR || isDamaged(error);
}

/** An engine's error in the service's words; no SQLITE_* leaves the port. */
export function translateError(error: unknown): ServiceError {
  if (error instanceof ServiceError) return error;
  const code = resultCode(error);
  if (code === undefined) return new ServiceError('internal', { cause: error });
  if (code === SQLITE_FULL)
    return new ServiceError('store_full', { cause: error, retryAfterMs: 5000 });
  if (code === SQLITE_CONSTRAINT) return new ServiceError('already_exists', { cause: error });
  return new ServiceError('store_unavailable', {
    cause: error,
    retryAfterMs: code === SQLITE_BUSY ? 1000 : 5000,
  });
}
