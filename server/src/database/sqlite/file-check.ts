/**
 * Looks at a file of the data folder before anything opens it for writing. It writes nothing: what is
 * refused stays as it was found, for whoever wants to save from it what can be saved. No proof that a
 * large file is whole, which would take minutes: damage in its middle is met by whoever reads it there
 * (connection.ts), and then nothing more is written either (group-writer.ts).
 */
import { accessSync, constants, existsSync, rmSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { DamageError } from './connection.ts';
import { assertOurs, type Migration } from './migrate.ts';

/** Files up to this size are looked through whole: about 1 ms per MB. Of larger ones, the ends of each table. */
const LARGEST_WHOLE_BYTES = 16 * 1024 * 1024;

/** Files that SQLite keeps beside one of its own, and that must be as writable as it is. */
const COMPANIONS = ['-wal', '-shm', '-journal'] as const;

const { R_OK, W_OK } = constants;

/** Of a path that cannot be used: which one it is, and why. */
export interface FileFault {
  path: string;
  error: unknown;
}

/** What keeps a file from being opened for writing. A file that is not there yet is in order. */
export function faultOfAccess(path: string): FileFault | undefined {
  for (const one of [path, ...COMPANIONS.map((suffix) => `${path}${suffix}`)]) {
    try {
      const found = statSync(one, { throwIfNoEntry: false });
      if (!found) continue;
      if (!found.isFile()) throw new Error('it is no file; take it away');
      accessSync(one, R_OK | W_OK);
    } catch (error) {
      return { path: one, error: new Error(inWords(error as NodeJS.ErrnoException)) };
    }
  }
  return undefined;
}

function inWords({ code, message }: NodeJS.ErrnoException): string {
  switch (code) {
    case 'EACCES':
      return 'this user may not read and write it; give it to the user that runs the service';
    case 'EPERM':
      return 'it is protected from being changed; lift the protection';
    case 'EROFS':
      return 'it lies on a disk that can only be read; mount it for writing';
    default:
      return message;
  }
}

/** What is wrong with what a file holds, as far as can be seen within milliseconds. */
export function faultOfContent(
  path: string,
  migrations: readonly Migration[],
): FileFault | undefined {
  // What an interrupted change left is put back by whoever opens the file for writing.
  if (bytesOf(path) === 0 || bytesOf(`${path}-journal`) > 0) return undefined;
  const waits = bytesOf(`${path}-wal`) > 0;
  const hasIndex = existsSync(`${path}-shm`);
  try {
    const database = openUntouched(path, waits);
    try {
      assertOurs(database, migrations);
      if (!waits) assertWholePages(path, database);
      if (bytesOf(path) <= LARGEST_WHOLE_BYTES) assertWhole(database);
      else readEnds(database);
      return undefined;
    } finally {
      database.close();
      // Made for the look into the log.
      if (waits && !hasIndex) rmSync(`${path}-shm`, { force: true });
    }
  } catch (error) {
    return { path, error };
  }
}

/** While nothing waits in the log, SQLite need not know of one: then it makes no files beside this one. */
function openUntouched(path: string, waits: boolean): DatabaseSync {
  const url = pathToFileURL(path);
  if (!waits) url.searchParams.set('immutable', '1');
  return new DatabaseSync(url, { readOnly: true, timeout: 5000 });
}

/** SQLite takes what is missing of the last page for zeros. */
function assertWholePages(path: string, database: DatabaseSync): void {
  const pageBytes = database.prepare('PRAGMA page_size').get()?.['page_size'] as number;
  if (bytesOf(path) % pageBytes !== 0) throw new DamageError('its last page is not whole');
}

/** Reads everything. @throws DamageError */
export function assertWhole(database: DatabaseSync): void {
  const found = database.prepare('PRAGMA integrity_check(1)').get();
  const text = String(found?.['integrity_check']);
  if (text !== 'ok') throw new DamageError(text.replace(/^\*\*\* in database \w+ \*\*\*\s*/, ''));
}

/** The first and the last row of each table, and with them the pages that lead there. */
function readEnds(database: DatabaseSync): void {
  const tables = database
    .prepare("SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
    .all();
  for (const { name, wr } of tables) {
    const rows = `SELECT * FROM "${name}"`;
    database.prepare(`${rows} LIMIT 1`).get();
    if (wr === 0) database.prepare(`${rows} ORDER BY rowid DESC LIMIT 1`).get();
  }
}

function bytesOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
