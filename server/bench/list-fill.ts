/**
 * Fills a data folder with messages that have ended, through the store's own code: the writer's
 * operations in large groups, the projection behind each. A process of its own, so that neither
 * its memory nor its turns are the benchmark's.
 *
 * What is left out is the timeline (some three events a message): no list reads it.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { serve } from './child.ts';

export interface FillJob {
  /** The service's src, of the checkout that is measured. */
  source: string;
  dataDir: string;
  rows: number;
  /** Ids of the applications whose messages they are: the first has nine of ten. */
  applications: [number, number];
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
type Clocks = typeof import('../src/clock.ts');
type Projections = typeof import('../src/database/sqlite/projection.ts');
type Rows = typeof import('../src/database/sqlite/message-row.ts');
type Notifications = typeof import('../src/notification/notification.ts');

const groupRows = 4000;
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
  const [files, connection, clocks, projections, rows, notifications] = await Promise.all([
    load<Files>('database/sqlite/files.ts'),
    load<Connection>('database/sqlite/connection.ts'),
    load<Clocks>('clock.ts'),
    load<Projections>('database/sqlite/projection.ts'),
    load<Rows>('database/sqlite/message-row.ts'),
    load<Notifications>('notification/notification.ts'),
  ]);
  return { ...files, ...connection, ...clocks, ...projections, ...rows, ...notifications };
}

type Modules = Awaited<ReturnType<typeof modulesOf>>;

/** One message: as it is accepted, claimed, and as it is completed. */
function messageOf(
  n: number,
  createdAt: number,
  job: FillJob,
  { STATUS, laneOf, writeBody }: Modules,
) {
  const channel = choose(channels, n, 1);
  const status = STATUS[choose(statuses, n, 2)];
  const priority = choose(priorities, n, 3);
  const templateNumber = scatter(n, 4) % 40;
  const body = writeBody({
    to: { userId: userOf(scatter(n, 5) % job.users) },
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
    test: false,
    routes: [[channel]],
  });
  const applicationId = job.applications[scatter(n, 8) % 10 === 0 ? 1 : 0];
  const failure = status === STATUS.failed ? 'unknown_mailbox' : null;
  return {
    accept: [applicationId, laneOf(priority), 1, STATUS.sending, null, createdAt, body, null, null],
    complete: (id: number) =>
      [id, 1, status, null, 1, 0, 0, null, channel, null, null, failure, createdAt + 1500] as const,
  };
}

async function fill(job: FillJob): Promise<Filled> {
  const modules = await modulesOf(job.source);
  const files = modules.dataFiles(job.dataDir);
  const { writer } = modules.messagesWriter(files, {
    clock: modules.systemClock,
    idempotencyRetentionMs: dayMs,
  });
  const messages = modules.openMessages(files);
  const indexed = modules.openForWriting(files.projection, { durability: 'normal' });
  const projection = new modules.Projection({ messages, projection: indexed });
  const startMs = performance.now();
  // Ends an hour ago, so that no id lies ahead of what the service hands out.
  const firstAt = Date.now() - hourMs - job.days * dayMs;
  const stepMs = (job.days * dayMs) / job.rows;
  let projectionMs = 0;
  const run = (calls: Parameters<typeof writer.run>[0]): unknown[] => {
    const { values, errors } = writer.run(calls);
    const [failed] = errors;
    if (failed !== undefined) throw new Error(`a group was not written: ${failed[1].detail}`);
    return values;
  };
  for (let done = 0; done < job.rows; done += groupRows) {
    const group = Array.from({ length: Math.min(groupRows, job.rows - done) }, (_, k) =>
      messageOf(done + k, Math.floor(firstAt + (done + k) * stepMs), job, modules),
    );
    const ids = run(group.map(({ accept }) => ['accept', accept]));
    const held = run([
      ['complete', group.map(({ complete }, k) => complete((ids[k] as number) + 1))],
    ]);
    if ((held[0] as boolean[]).includes(false)) throw new Error('a completion was not taken');
    writer.checkpoint();
    const stepStartMs = performance.now();
    while (projection.step());
    indexed.exec('PRAGMA main.wal_checkpoint(PASSIVE)');
    projectionMs += performance.now() - stepStartMs;
  }
  const count = indexed.prepare('SELECT count(*) AS count FROM message_index').get()?.['count'];
  if (count !== job.rows) throw new Error(`the projection has ${count} of ${job.rows} rows`);
  messages.close();
  indexed.close();
  writer.close();
  return {
    seconds: (performance.now() - startMs) / 1000,
    projectionSeconds: projectionMs / 1000,
    messagesBytes: statSync(files.messages).size,
    projectionBytes: statSync(files.projection).size,
  };
}

const filler = { fill };
export type Filler = typeof filler;

if (import.meta.main) serve(filler);
