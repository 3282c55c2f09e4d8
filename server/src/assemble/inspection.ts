/**
 * Looks into a data folder without changing it, also beside a running server: for `tidings doctor`
 * and for what `tidings migrate` would do. Connections are read-only.
 */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Ledger } from '@tidings/contracts/notification';
import { resolveAccounts } from '../adapters/account.ts';
import { loadCatalog } from '../adapters/catalog.ts';
import { type Config, ConfigError } from '../config.ts';
import { lockFolder } from '../data-folder.ts';
import { openForReading } from '../database/sqlite/connection.ts';
import { dataFiles } from '../database/sqlite/files.ts';
import { MessageSearch } from '../database/sqlite/message-search.ts';
import { SearchReader } from '../database/sqlite/message-search-reader.ts';
import {
  type DatabaseFile,
  pendingMigrations,
  readMigrations,
} from '../database/sqlite/migrate.ts';

const FILES = ['messages', 'records', 'projection'] as const satisfies readonly DatabaseFile[];

export interface FileInspection {
  file: DatabaseFile;
  path: string;
  exists: boolean;
  bytes: number;
  /** Names of migrations that are not applied yet, in their order. */
  pending: string[];
  /** Names of applied migrations that this version does not know. */
  unknown: string[];
  /** Why it cannot be read. */
  failure?: string;
}

export function inspectFiles(folder: string): FileInspection[] {
  const files = dataFiles(folder);
  return FILES.map((file) => inspectFile(file, files[file]));
}

function inspectFile(file: DatabaseFile, path: string): FileInspection {
  const migrations = readMigrations(file);
  const names = migrations.map(({ name }) => name);
  if (!existsSync(path))
    return { file, path, exists: false, bytes: 0, pending: names, unknown: [] };
  const found = { file, path, exists: true, bytes: statSync(path).size };
  try {
    const database = openForReading(path);
    try {
      const pending = pendingMigrations(database, migrations);
      const applied =
        pending.length === names.length && !hasMigrationTable(database)
          ? []
          : database.prepare('SELECT name FROM migration ORDER BY name').all();
      const unknown = applied
        .map((row) => String(row['name']))
        .filter((name) => !names.includes(name));
      return { ...found, pending, unknown };
    } finally {
      database.close();
    }
  } catch (error) {
    return { ...found, pending: [], unknown: [], failure: reasonOf(error) };
  }
}

function hasMigrationTable(database: ReturnType<typeof openForReading>): boolean {
  const found = database
    .prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migration'")
    .get();
  return found !== undefined;
}

/** What SQLite finds wrong with the structure of a file; nothing when it is whole. Reads all of it. */
export function checkIntegrity(path: string): string[] {
  try {
    const database = openForReading(path);
    try {
      const found = database.prepare('PRAGMA quick_check(20)').all();
      return found.map((row) => String(row['quick_check'])).filter((text) => text !== 'ok');
    } finally {
      database.close();
    }
  } catch (error) {
    return [reasonOf(error)];
  }
}

/** Whether a process holds the folder. Holds it itself for the moment of the question. */
export function isFolderInUse(folder: string): boolean {
  if (!existsSync(join(folder, 'lock.db'))) return false;
  try {
    lockFolder(folder).release();
    return false;
  } catch (error) {
    if (error instanceof ConfigError) return true;
    throw error;
  }
}

/** Counts of all messages of all applications, from the files themselves. */
export async function readLedger(folder: string): Promise<Ledger> {
  const files = dataFiles(folder);
  const search = new MessageSearch(new SearchReader(files), { caughtUp: async () => {} });
  try {
    return await search.ledger({ applicationId: null });
  } finally {
    search.close();
  }
}

/** Provider accounts by channel, as the service would open them. @throws ConfigError that names the key */
export async function inspectAccounts(
  config: Config,
): Promise<{ channel: string; accounts: string[] }[]> {
  const catalog = await loadCatalog(config.plugins);
  const accounts = resolveAccounts(config, catalog, process.env);
  return catalog.channels().map((channel) => ({
    channel,
    accounts: (accounts.get(channel) ?? []).map(({ id }) => id),
  }));
}

/** What SQLite said, which the translated error keeps as its cause. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as Error;
  return cause instanceof Error ? cause.message : message;
}
