/**
 * What a data folder holds, read past the program: the notifications with their messages and
 * idempotency rows, and whether the files are whole.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Accepted } from '@tidings/contracts/notification';
import { formatId } from '../../src/id.ts';
import type { Acknowledged, Inspection } from './cut.ts';
import { answersOf, type Step } from './syscall-log.ts';

const FILES = ['messages', 'records', 'projection'] as const;

/** One line per file that is not whole. Files that are not there yet are whole. */
export function integrityFaults(dataDir: string): string[] {
  return FILES.flatMap((name) => {
    const path = join(dataDir, `${name}.db`);
    if (!existsSync(path)) return [];
    try {
      using database = new DatabaseSync(path);
      const rows = database.prepare('PRAGMA integrity_check').all();
      const faults = rows
        .map((row) => String(row['integrity_check']))
        .filter((row) => row !== 'ok');
      return faults.map((fault) => `${name}.db: ${fault}`);
    } catch (error) {
      return [`${name}.db: ${String(error)}`];
    }
  });
}

export interface StoredNotification {
  id: string;
  /** The key the test put into its metadata. */
  key: string | undefined;
  messages: number;
  idempotencyRows: number;
}

export interface Stored {
  notifications: StoredNotification[];
  /** Notifications whose messages are not all there; messages and keys without their notification. */
  faults: string[];
}

/** Everything accepted. Empty when the file or its tables are not there yet. */
export function readStored(dataDir: string): Stored {
  const path = join(dataDir, 'messages.db');
  if (!existsSync(path)) return { notifications: [], faults: [] };
  using database = new DatabaseSync(path);
  const table = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'idempotency'").get();
  if (!table) return { notifications: [], faults: [] };
  const messages = countBy(
    database,
    'SELECT notification_id AS id, count(*) AS rows FROM message GROUP BY 1',
  );
  const keys = countBy(
    database,
    'SELECT notification_id AS id, count(*) AS rows FROM idempotency GROUP BY 1',
  );
  const rows = database
    .prepare(
      "SELECT id, message_count, json_extract(body, '$.metadata.key') AS key FROM notification",
    )
    .all() as { id: number; message_count: number; key: string | null }[];
  const faults: string[] = [];
  const notifications = rows.map(({ id, message_count: expected, key }): StoredNotification => {
    const found = { messages: take(messages, id), idempotencyRows: take(keys, id) };
    if (found.messages !== expected)
      faults.push(`${id} has ${found.messages} of ${expected} messages`);
    return { id: formatId('ntf', id), key: key ?? undefined, ...found };
  });
  if (messages.size > 0) faults.push(`${messages.size} notifications of messages are missing`);
  if (keys.size > 0) faults.push(`${keys.size} notifications of idempotency keys are missing`);
  return { notifications, faults };
}

function countBy(database: DatabaseSync, sql: string): Map<number, number> {
  const rows = database.prepare(sql).all() as { id: number; rows: number }[];
  return new Map(rows.map(({ id, rows: count }) => [id, count]));
}

function take(counts: Map<number, number>, id: number): number {
  const count = counts.get(id) ?? 0;
  counts.delete(id);
  return count;
}

/** What a power loss has left, for the judgement of cut.ts. */
export function inspectImage(image: string): Inspection {
  const faults = integrityFaults(image);
  if (faults.length > 0) return { faults, ids: new Set() };
  const stored = readStored(image);
  // Every request of these tests bears a key; one without its row would be accepted twice.
  const kept = stored.notifications.filter(({ idempotencyRows }) => idempotencyRows === 1);
  return { faults: stored.faults, ids: new Set(kept.map(({ id }) => id)) };
}

/** The acceptances of a log. */
export function acknowledgedIn(steps: readonly Step[]): Acknowledged[] {
  return answersOf(steps)
    .filter(({ status, body }) => status === 202 && body.includes('"ntf_'))
    .map(({ step, body }) => ({ step, id: (JSON.parse(body) as Accepted).id }));
}

/** How many notifications were stored for each key of the test. */
export function rowsByKey(stored: Stored): Map<string, number> {
  const rows = new Map<string, number>();
  for (const { key } of stored.notifications) {
    if (key !== undefined) rows.set(key, (rows.get(key) ?? 0) + 1);
  }
  return rows;
}
