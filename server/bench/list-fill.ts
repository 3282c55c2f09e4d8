/**
 * Fills a data folder with messages that have ended: rows straight into the hot file, because the
 * writer's operations would take five times as long for ten million, and the projection behind them by
 * its own code. A process of its own, so that neither its memory nor its turns are the benchmark's.
 *
 * What is left out is the timeline (some three events a message) and the keys: no list reads them.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { serve } from './child.ts';

export interface FillJob {
  /** The service's src, of the checkout that is measured. */
  source: string;
  dataDir: string;
  rows: number;
  /** Keys of the applications whose messages they are: the first has nine of ten. */
  applications: [string, string];
  users: number;
  days: number;
}

export interface Filled {
  seconds: number;
  /** Of it, for the projection. */
  projectionSeconds: number;
  messagesBytes: number;
  projectionBytes: number;
}

type Files = typeof import('../src/database/sqlite/files.ts');
type Connection = typeof import('../src/database/sqlite/connection.ts');
type Ids = typeof import('../src/id.ts');
type Projections = typeof import('../src/database/sqlite/projection.ts');
type Rows = typeof import('../src/database/sqlite/message-row.ts');
type Notifications = typeof import('../src/notification/notification.ts');

const groupRows = 4000;
/** One in so many messages was sent by a test key. */
const testEvery = 50;
const dayMs = 86_400_000;
const hourMs = 3_600_000;

/** How messages are distributed, in thousandths: most arrive, and by email. */
const channels = { email: 600, in_app: 300, webhook: 100 } as const;
const statuses = { delivered: 950, failed: 20, suppressed: 15, expired: 10, cancelled: 5 } as const;
const priorities = { medium: 700, low: 200, high: 100 } as const;
const categories = { orders: 500, alerts: 300, news: 200 } as const;

/** Scattered and the same in every run. */
function scatter(n: number, salt: number): number {
  let x = Math.imul(n ^ Math.imul(salt, 0x85ebca6b), 0x9e3779b1);
  x = Math.imul(x ^ (x >>> 15), 0xc2b2ae35);
  return (x ^ (x >>> 13)) >>> 0;
}

function choose<Name extends string>(shares: Record<Name, number>, n: number, salt: number): Name {
  let rest = scatter(n, salt) % 1000;
  for (const [name, share] of Object.entries<number>(shares)) {
    if (rest < share) return name as Name;
    rest -= share;
  }
  throw new Error('shares do not add up to 1000');
}

export function userOf(number: number): string {
  return `user-${String(number).padStart(8, '0')}`;
}

async function modulesOf(source: string) {
  const load = <Module>(file: string): Promise<Module> =>
    import(pathToFileURL(join(source, file)).href);
  const [files, connection, ids, projections, rows, notifications] = await Promise.all([
    load<Files>('database/sqlite/files.ts'),
    load<Connection>('database/sqlite/connection.ts'),
    load<Ids>('id.ts'),
    load<Projections>('database/sqlite/projection.ts'),
    load<Rows>('database/sqlite/message-row.ts'),
    load<Notifications>('notification/notification.ts'),
  ]);
  return { ...files, ...connection, ...ids, ...projections, ...rows, ...notifications };
}

type Modules = Awaited<ReturnType<typeof modulesOf>>;

/** The rows of one message that has ended, by column. */
function rowsOf(
  n: number,
  createdAt: number,
  { users, applicationIds }: { users: number; applicationIds: readonly number[] },
  { STATUS, ...modules }: Modules,
) {
  const channel = choose(channels, n, 1);
  const status = STATUS[choose(statuses, n, 2)];
  const priority = choose(priorities, n, 3);
  const templateNumber = scatter(n, 4) % 40;
  const body = modules.writeBody({
    to: { userId: userOf(scatter(n, 5) % users) },
    template: templateNumber < 20 ? { key: `template-${templateNumber}`, version: 1 } : null,
    content: { title: 'Hello', text: `Your order ${n} has shipped` },
    data: {},
    category: choose(categories, n, 6),
    priority,
    metadata: {},
    collapseKey: null,
    createdAt,
    sendAt: null,
    expiresAt: null,
    resendOf: null,
    batch: scatter(n, 7) % 10 === 0 ? `batch-${Math.floor(n / 100_000)}` : null,
    test: scatter(n, 9) % testEvery === 0,
    routes: [[channel]],
  });
  const applicationId = applicationIds[scatter(n, 8) % 10 === 0 ? 1 : 0] as number;
  // Two ids a message; a second has room for two million.
  const id = modules.firstIdAt(createdAt) + 2 * (n % 1_000_000);
  const reason = status === STATUS.failed ? 'unknown_mailbox' : null;
  return {
    notification: [id, applicationId, 1, body] as const,
    message: [
      id + 1,
      id,
      applicationId,
      modules.laneOf(priority),
      status,
      createdAt + 1500,
      channel,
      reason,
    ] as const,
  };
}

function idsOf(records: DatabaseSync, { applications }: FillJob): number[] {
  const byKey = records.prepare('SELECT id FROM application WHERE key = ?');
  const ids = applications.map((key) => byKey.get(key)?.['id'] as number);
  records.close();
  return ids;
}

/** Indexes in random order cost most of the time when they are kept for each group; made at once they are the same. */
function takeIndexes(projection: DatabaseSync): () => void {
  const indexes = projection
    .prepare(
      "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'message_index'",
    )
    .all();
  for (const { name } of indexes) projection.exec(`DROP INDEX ${name}`);
  return () => {
    for (const { sql } of indexes) projection.exec(String(sql));
  };
}

async function fill(job: FillJob): Promise<Filled> {
  const modules = await modulesOf(job.source);
  const files = modules.dataFiles(job.dataDir);
  const startMs = performance.now();
  const owners = { users: job.users, applicationIds: idsOf(modules.openRecords(files), job) };
  const hot = modules.openForWriting(files.messages, { durability: 'normal' });
  const addNotification = hot.prepare('INSERT INTO notification VALUES (?, ?, ?, ?)');
  const addMessage = hot.prepare(
    `INSERT INTO message (id, notification_id, application_id, lane, status, updated_at, claim, attempt, channel, reason)
     VALUES (?, ?, ?, ?, ?, ?, 1, 1, ?, ?)`,
  );
  // Ends an hour ago, so that no id lies ahead of what the service hands out.
  const firstAt = Date.now() - hourMs - job.days * dayMs;
  const stepMs = (job.days * dayMs) / job.rows;
  for (let done = 0; done < job.rows; ) {
    hot.exec('BEGIN');
    for (const end = Math.min(done + groupRows, job.rows); done < end; done++) {
      const rows = rowsOf(done, Math.floor(firstAt + done * stepMs), owners, modules);
      addNotification.run(...rows.notification);
      addMessage.run(...rows.message);
    }
    hot.exec('COMMIT');
    hot.exec('PRAGMA main.wal_checkpoint(PASSIVE)');
  }
  hot.close();
  const projectionStartMs = performance.now();
  const messages = modules.openMessages(files);
  const indexed = modules.openForWriting(files.projection, { durability: 'normal' });
  const projection = new modules.Projection({ messages, projection: indexed });
  const addIndexes = takeIndexes(indexed);
  while (projection.step()) indexed.exec('PRAGMA main.wal_checkpoint(PASSIVE)');
  addIndexes();
  indexed.exec('PRAGMA main.wal_checkpoint(PASSIVE)');
  const count = indexed.prepare('SELECT count(*) AS count FROM message_index').get()?.['count'];
  if (count !== job.rows) throw new Error(`the projection has ${count} of ${job.rows} rows`);
  messages.close();
  indexed.close();
  return {
    seconds: (performance.now() - startMs) / 1000,
    projectionSeconds: (performance.now() - projectionStartMs) / 1000,
    messagesBytes: statSync(files.messages).size,
    projectionBytes: statSync(files.projection).size,
  };
}

const filler = { fill };
export type Filler = typeof filler;

if (import.meta.main) serve(filler);
