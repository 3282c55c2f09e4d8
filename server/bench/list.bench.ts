/**
 * GET /v1/notifications with each kind of filter in a large store, one request at a time and eight:
 * by an application's key, which sees its own messages, and by the operator's, which sees all.
 */
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { startHelper } from './child.ts';
import {
  type Benchmark,
  type Context,
  countErrors,
  emptyRow,
  meteredPart,
  type Row,
} from './context.ts';
import { startMeter } from './environment.ts';
import { type Filled, type Filler, type FillJob, userOf } from './list-fill.ts';
import type { LoadResult } from './load.ts';
import { authorization, type Service, startService } from './server.ts';

const days = 60;
const dayMs = 86_400_000;
const hourMs = 3_600_000;
/** A user has some ten messages. */
const messagesPerUser = 10;
/** Different requests of each kind: times, users, cursors. */
const variety = 200;
const atOnce = 8;
const limitMs = 200;
/** Of the time given by --seconds, for each of the four runs of a kind. */
const share = 0.25;
const quickKinds = ['none', 'user', 'nothing: batch'];

type Page = { next: string | null };

/** A number in [0, 1), scattered, the same in every run. */
function spread(k: number): number {
  return (k * 0.618033988749895) % 1;
}

/** A time in the filled range, by its share. */
function timeAt(part: number): string {
  return new Date(Date.now() - hourMs - days * dayMs * (1 - part)).toISOString();
}

/** Cursors of some twenty pages, spread over the list. */
async function deepCursors(service: Service, filter: string): Promise<string[]> {
  const cursors: string[] = [];
  for (let k = 0; k < 20; k++) {
    const path = `/v1/notifications?limit=1&to=${timeAt(0.05 + 0.9 * spread(k))}${filter}`;
    const { next } = await service.call<Page>(path);
    if (next !== null) cursors.push(next);
  }
  return cursors;
}

/** Queries of each kind of filter, in turn. */
async function kindsOf(service: Service, users: number): Promise<[string, string[]][]> {
  const many = (query: (k: number) => string) =>
    Array.from({ length: variety }, (_, k) => query(k));
  const user = (k: number) => userOf(Math.floor(spread(k) * users));
  const deep = await deepCursors(service, '');
  const deepFailed = await deepCursors(service, '&status=failed');
  const range = (k: number, length: number) => {
    const from = spread(k) * (1 - length);
    return `from=${timeAt(from)}&to=${timeAt(from + length)}`;
  };
  return [
    ['none', ['']],
    ['status=delivered', ['status=delivered']],
    ['status=failed', ['status=failed']],
    ['channel', ['channel=email', 'channel=in_app', 'channel=webhook']],
    ['user', many((k) => `user=${user(k)}`)],
    ['a day', many((k) => range(k, 1 / days))],
    ['a day, failed', many((k) => `${range(k, 1 / days)}&status=failed`)],
    ['test keys', ['kind=test']],
    ['priority+channel', ['priority=high&channel=webhook', 'priority=low&channel=in_app']],
    ['failed+template', many((k) => `status=failed&template=template-${k % 20}`)],
    ['four that are rare together', ['priority=low&channel=webhook&status=suppressed&kind=test']],
    ['template', many((k) => `template=template-${k % 20}`)],
    ['category', ['category=news', 'category=orders']],
    ['deep cursor', deep.map((cursor) => `cursor=${cursor}`)],
    ['deep cursor, failed', deepFailed.map((cursor) => `status=failed&cursor=${cursor}`)],
    ['nothing: user', ['user=nobody']],
    ['nothing: status', ['status=sending']],
    ['nothing: batch', ['batch=none']],
    ['nothing: category', ['category=nothing']],
    ['nothing: priority+status', ['priority=high&status=scheduled']],
    [
      'nothing: channel+category+batch',
      many((k) => `channel=webhook&category=nothing&batch=batch-${k % 100}`),
    ],
  ];
}

/** Makes the application of a shop besides the default one, and a key of this one that reads. */
async function prepare(options: Context['options'], dataDir: string): Promise<string> {
  await using service = await startService({ ...options, dataDir });
  await service.call('/v1/applications', { key: 'shop' });
  const { secret } = await service.call<{ secret: string }>('/v1/api-keys', {
    scopes: ['read'],
  });
  return secret;
}

function describe({ seconds, projectionSeconds, ...bytes }: Filled, rows: number): string {
  const [messages, projection] = [bytes.messagesBytes / 1e6, bytes.projectionBytes / 1e6];
  return `filled with ${rows} messages of ${days} days in ${Math.round(seconds)} s, of which ${Math.round(projectionSeconds)} s for the projection; messages.db ${Math.round(messages)} MB, projection.db ${Math.round(projection)} MB`;
}

/** One caller, so many requests at a time. */
async function ask(
  { load, options }: Context,
  service: Service,
  { queries, bearer, connections }: { queries: string[]; bearer: string; connections: number },
): Promise<LoadResult> {
  const requests = queries.map((query) => ({
    method: 'GET',
    path: `/v1/notifications?${query}`,
    headers: { authorization: bearer },
  }));
  const seconds = options.seconds * share;
  const plan = { mode: 'closed', connections, seconds, warmupSeconds: 0.5 } as const;
  const result = await load({ ...service, requests }, plan);
  // Slow ones that the generator has given up are still worked on; this one stands behind them.
  await service.call('/v1/notifications?limit=1');
  return result;
}

function judge(results: LoadResult[]): string {
  if (results.some((result) => countErrors(result) > 0)) return 'no: errors';
  const worst = Math.max(...results.map(({ latency }) => latency.p99Ms));
  return worst < limitMs ? 'yes' : `no: p99 ≥ ${limitMs}`;
}

async function measureKind(
  context: Context,
  service: Service,
  { kind, queries, secret }: { kind: string; queries: string[]; secret: string },
): Promise<Row> {
  const own = { queries, bearer: `Bearer ${secret}` };
  const all = { queries, bearer: authorization };
  const meter = startMeter(service.pid);
  const busy = await ask(context, service, { ...own, connections: atOnce });
  const reading = meter.stop();
  const alone = await ask(context, service, { ...own, connections: 1 });
  const operator = await ask(context, service, { ...all, connections: atOnce });
  const operatorAlone = await ask(context, service, { ...all, connections: 1 });
  const results = [busy, alone, operator, operatorAlone];
  return {
    ...emptyRow(kind, busy.acceptedPerSecond),
    ...meteredPart(reading, busy.sent),
    latency: busy.latency,
    errors: results.reduce((sum, result) => sum + countErrors(result), 0),
    load: busy,
    extra: {
      'p50 alone': alone.latency.p50Ms,
      'p99 alone': alone.latency.p99Ms,
      'operator p50': operator.latency.p50Ms,
      'operator p99': operator.latency.p99Ms,
      'operator p50 alone': operatorAlone.latency.p50Ms,
      'operator p99 alone': operatorAlone.latency.p99Ms,
      held: judge(results),
    },
  };
}

async function measureKinds(context: Context, service: Service, secret: string): Promise<void> {
  const { bracket, options, say } = context;
  const kinds = await kindsOf(service, Math.ceil(options.rows / messagesPerUser));
  for (const [kind, queries] of kinds) {
    if (options.isQuick && !quickKinds.includes(kind)) continue;
    say(`${kind} …`);
    await bracket(() => measureKind(context, service, { kind, queries, secret }));
  }
}

export default {
  name: 'list',
  summary:
    'GET /v1/notifications, 50 a page, with each kind of filter in a store of --rows messages: eight requests at a time and alone, by the key of an application that has nine of ten of them, and by the operator. per s and the first latencies are of the application, eight at a time; all are closed loops. "held" is p99 < 200 ms in all four. A page may be short: it ends after a bounded time.',
  rows: 10_000_000,
  async run(context) {
    const { options, notes, say } = context;
    const directory = await mkdtemp(join(options.dataRoot, 'tidings-bench-'));
    // An interrupted benchmark leaves no gigabytes behind.
    const abandon = () => rmSync(directory, { recursive: true, force: true });
    process.once('exit', abandon);
    try {
      const dataDir = join(directory, 'data');
      const secret = await prepare(options, dataDir);
      say(`filling the store with ${options.rows} messages …`);
      const job: FillJob = {
        source: dirname(options.main),
        dataDir,
        rows: options.rows,
        applications: ['default', 'shop'],
        users: Math.ceil(options.rows / messagesPerUser),
        days,
      };
      await using filler = startHelper<Filler>(new URL('./list-fill.ts', import.meta.url).pathname);
      const filled = describe(await filler.ask('fill', job), options.rows);
      notes.push(filled);
      say(filled);
      await using service = await startService({ ...options, dataDir });
      notes.push(`start to ready on this store: ${Math.round(service.startedInMs)} ms`);
      await measureKinds(context, service, secret);
    } finally {
      process.removeListener('exit', abandon);
      await rm(directory, { recursive: true, force: true });
    }
  },
} satisfies Benchmark;
