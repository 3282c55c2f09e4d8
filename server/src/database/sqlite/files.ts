/** The three files of a data folder and who may do what with them. */
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../../clock.ts';
import { applicationOperations } from './application-store.ts';
import {
  inPlainWords,
  isDamaged,
  openBesideWriter,
  openForReading,
  openForWriting,
} from './connection.ts';
import { eventOperations } from './event-operations.ts';
import { faultOfAccess, faultOfContent } from './file-check.ts';
import {
  damageOperations,
  GroupWriter,
  mergeOperations,
  type OperationSet,
} from './group-writer.ts';
import { IdempotencyIndex } from './idempotency-index.ts';
import { inboxOperations } from './inbox-operations.ts';
import { type DatabaseFile, migrate, readMigrations } from './migrate.ts';
import { notificationOperations } from './notification-operations.ts';
import { templateOperations } from './template-store.ts';
import { userOperations } from './user-store.ts';
import { webhookEndpointOperations } from './webhook-endpoint-store.ts';

export interface DataFiles {
  folder: string;
  messages: string;
  records: string;
  projection: string;
  idempotency: string;
}

export function dataFiles(folder: string): DataFiles {
  return {
    folder,
    messages: join(folder, 'messages.db'),
    records: join(folder, 'records.db'),
    projection: join(folder, 'projection.db'),
    idempotency: join(folder, 'idempotency'),
  };
}

const DURABILITY = { messages: 'full', records: 'full', projection: 'normal' } as const;

/** Creates what is missing and applies what is pending. Returns what was applied per file. */
export function migrateFiles(files: DataFiles): Record<DatabaseFile, string[]> {
  mkdirSync(files.folder, { recursive: true, mode: 0o700 });
  const applied = { messages: [] as string[], records: [] as string[], projection: [] as string[] };
  refuseLoss(files);
  refuseFaults(files);
  // In this order, so that a start that was interrupted looks like no loss.
  for (const file of ['records', 'messages'] as const) applied[file] = migrateFile(files, file);
  try {
    applied.projection = migrateFile(files, 'projection');
  } catch (error) {
    if (!(error instanceof FileError) || !error.damaged) throw error;
    applied.projection = remakeProjection(files);
  }
  return applied;
}

/** A file that is gone while what belongs to it is there was lost: to begin anew beside it would hide that. */
function refuseLoss(files: DataFiles): void {
  const lost = [
    {
      path: files.records,
      sign: files.messages,
      anew: 'to begin with new applications and keys, take messages.db away as well',
    },
    {
      path: files.messages,
      sign: files.projection,
      anew: 'to begin without messages, take projection.db and the folder idempotency away as well',
    },
  ].find(({ path, sign }) => !hasBytes(path) && hasBytes(sign));
  if (!lost) return;
  const message = `is gone or empty, but ${basename(lost.sign)} belongs to it; put it back from a backup (${lost.anew})`;
  throw new FileError(lost.path, new Error(message));
}

function hasBytes(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0;
}

/** Of files that hold what nothing else does, before anything is written to any of them. */
function refuseFaults(files: DataFiles): void {
  const all = ['records', 'messages', 'projection'] as const;
  const fault =
    all.map((file) => faultOfAccess(files[file])).find(Boolean) ??
    (['records', 'messages'] as const)
      .map((file) => faultOfContent(files[file], readMigrations(file)))
      .find(Boolean);
  if (fault) throw new FileError(fault.path, fault.error);
}

/** It is made of the hot file, so it can be made anew; the old one is kept beside it. */
export function remakeProjection(files: DataFiles): string[] {
  for (const suffix of ['', '-wal', '-shm']) {
    const path = `${files.projection}${suffix}`;
    if (existsSync(path)) renameSync(path, `${path}.damaged`);
  }
  return migrateFile(files, 'projection');
}

function migrateFile(files: DataFiles, file: DatabaseFile): string[] {
  let database: DatabaseSync | undefined;
  try {
    database = openForWriting(files[file], { durability: DURABILITY[file] });
    return migrate(database, readMigrations(file));
  } catch (error) {
    throw new FileError(files[file], error);
  } finally {
    database?.close();
  }
}

const ADVICE =
  '; put it back from a backup (projection.db may stay or be removed: it is made of the others)';

/** A file of the data folder that cannot be used, and why. */
export class FileError extends Error {
  /** It is no database, or not whole. */
  readonly damaged: boolean;

  constructor(path: string, error: unknown) {
    const cause = (error as { cause?: unknown }).cause ?? error;
    const damaged = isDamaged(cause);
    super(`${path}: ${inPlainWords(cause)}${damaged ? ADVICE : ''}`, { cause });
    this.name = 'FileError';
    this.damaged = damaged;
  }
}

export interface WriterSettings {
  clock: Clock;
  idempotencyRetentionMs: number;
}

/** Everything that is written to the hot file. */
export function messagesOperations(
  database: DatabaseSync,
  settings: WriterSettings & { index: IdempotencyIndex },
): OperationSet {
  const events = eventOperations(database);
  const inbox = inboxOperations(database);
  const notifications = notificationOperations(database, {
    ...settings,
    changed: events.changed,
    happened: events.happened,
    removeItems: inbox.remove,
  });
  return mergeOperations(damageOperations, events, notifications, inbox);
}

/** The writer of the hot file, owned by one thread; `index` is that of its present connection. */
export function messagesWriter(
  files: DataFiles,
  { clock, idempotencyRetentionMs }: WriterSettings,
): { writer: GroupWriter; index: () => IdempotencyIndex } {
  let index = new IdempotencyIndex(files.idempotency);
  const writer = new GroupWriter({
    open: () => openForWriting(files.messages, { durability: 'full' }),
    prepare: (database) => {
      index = new IdempotencyIndex(files.idempotency);
      return messagesOperations(database, { clock, index, idempotencyRetentionMs });
    },
  });
  return { writer, index: () => index };
}

/** The writer of the records file. Owned by the same thread. */
export function recordsWriter(files: DataFiles, { clock }: { clock: Clock }): GroupWriter {
  return new GroupWriter({
    open: () => openForWriting(files.records, { durability: 'full', cacheKiB: 4096 }),
    prepare: (database) =>
      mergeOperations(
        damageOperations,
        applicationOperations(database, { clock }),
        templateOperations(database),
        userOperations(database),
        webhookEndpointOperations(database, { clock }),
      ),
  });
}

export function openMessages(files: DataFiles): DatabaseSync {
  return openBesideWriter(files.messages);
}

export function openRecords(files: DataFiles): DatabaseSync {
  return openBesideWriter(files.records, 4096);
}

export function openProjection(files: DataFiles): DatabaseSync {
  return openForReading(files.projection);
}
