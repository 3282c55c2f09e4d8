/**
 * Immutable numbered migrations, one transaction each. A kill between or within them leaves
 * a file that opens and goes on where it stopped; an edited migration stops the start.
 */
import { hash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { failpoint } from '../../failpoint.ts';

export interface Migration {
  /** `001-messages.sql` */
  name: string;
  sql: string;
}

export type DatabaseFile = 'messages' | 'records' | 'projection';

export function readMigrations(file: DatabaseFile): Migration[] {
  const folder = new URL(`./migrations/${file}/`, import.meta.url);
  return readdirSync(folder)
    .filter((name) => /^\d{3}-[a-z0-9-]+\.sql$/.test(name))
    .sort()
    .map((name) => ({ name, sql: readFileSync(new URL(name, folder), 'utf8') }));
}

/** Applies what is missing. Returns the names of what was applied now. */
export function migrate(database: DatabaseSync, migrations: readonly Migration[]): string[] {
  assertOurs(database, migrations);
  database.exec(`CREATE TABLE IF NOT EXISTS migration (
    name TEXT PRIMARY KEY, digest TEXT NOT NULL, applied_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID`);
  const applied = new Map(
    database
      .prepare('SELECT name, digest FROM migration')
      .all()
      .map((row) => [row['name'] as string, row['digest'] as string]),
  );
  const record = database.prepare('INSERT INTO migration VALUES (?, ?, unixepoch())');
  const done: string[] = [];
  for (const { name, sql } of migrations) {
    const digest = hash('sha256', sql);
    const known = applied.get(name);
    if (known === digest) continue;
    if (known !== undefined)
      throw new Error(`the migration ${name} was changed after it had been applied`);
    database.exec('BEGIN IMMEDIATE');
    try {
      database.exec(sql);
      failpoint('in-migration');
      record.run(name, digest);
      database.exec('COMMIT');
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK');
      throw error;
    }
    done.push(name);
  }
  return done;
}

/**
 * Whether it is this file, of this version or an earlier one, or one that has just been made.
 * @throws when it is the file of another program, another one of ours, or of a newer version
 */
export function assertOurs(database: DatabaseSync, migrations: readonly Migration[]): void {
  const tables = database
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'opened'")
    .all()
    .map(({ name }) => name);
  if (tables.length === 0) return;
  if (!tables.includes('migration')) throw new Error('it is a database of another program');
  const newest = migrations.at(-1)?.name ?? '';
  const known = new Set(migrations.map(({ name }) => name));
  for (const { name } of database.prepare('SELECT name FROM migration').all()) {
    if (known.has(String(name))) continue;
    throw new Error(
      String(name) > newest
        ? `the data was written by a newer version of Tidings (it knows the migration ${name})`
        : `it is another file of Tidings with this one's name (it knows the migration ${name})`,
    );
  }
}

/** Names of migrations that are not applied yet. */
export function pendingMigrations(
  database: DatabaseSync,
  migrations: readonly Migration[],
): string[] {
  const table = database
    .prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migration'")
    .get();
  if (!table) return migrations.map(({ name }) => name);
  const applied = new Set(
    database
      .prepare('SELECT name FROM migration')
      .all()
      .map((row) => row['name']),
  );
  return migrations.map(({ name }) => name).filter((name) => !applied.has(name));
}
