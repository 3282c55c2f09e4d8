/**
 * What a benchmark works with: it measures a server under a load, always with the echo beside it
 * (echo, ours, echo, ours, …, echo), and collects rows for the report.
 *
 * The speed of a shared machine changes by the minute. So a figure is compared with the echo just
 * before and just after it, and a run in which the host took CPU time away is repeated, then
 * marked.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type MeterReading, startMeter } from './environment.ts';
import { type LoadJob, type LoadResult, type Percentiles, startLoad } from './load.ts';
import { type MeasuredServer, startEcho } from './server.ts';

export interface Options {
  /** Measured time of each run. */
  seconds: number;
  /** A smoke test: short, without repetitions, and nothing is written. */
  isQuick: boolean;
  /** Rows to fill a store with, where a benchmark does. */
  rows: number;
  /** Where data directories are made; should be on a real disk. */
  dataRoot: string;
  /** The service's main.ts. */
  main: string;
}

export interface Row {
  label: string;
  perSecond: number;
  /** Of the echo's saturation around this run. */
  shareOfEcho: number | null;
  latency: Percentiles | null;
  /** Answers other than 2xx, and requests without an answer. */
  errors: number;
  /** CPU of the server per request answered, all its threads. */
  serverMicroseconds: number | null;
  /** Cores the server kept busy. */
  serverCores: number | null;
  rssPeakBytes: number | null;
  generatorMicroseconds: number | null;
  /** CPU time taken by other guests of the host, as a share of all of this machine's. */
  stolenShare: number | null;
  /** CPU time of processes outside the benchmark, likewise. */
  otherShare: number | null;
  /** Why the figures do not count; null if they do. */
  discarded: string | null;
  /** What else the benchmark has to say, a column each. */
  extra: Record<string, number | string>;
  load: LoadResult | null;
}

export type LoadPlan = Pick<LoadJob, 'mode'> & Partial<LoadJob>;

/** Called when the measured time begins and ends, and when all answers are in. */
export interface Watch {
  onMeasure?: () => void;
  onEnd?: () => void;
  finish?: (result: LoadResult) => Promise<Row['extra']> | Row['extra'];
}

export type MakeWatch = () => Promise<Watch> | Watch;

export interface Context {
  options: Options;
  /** One process for the whole run. */
  echo: MeasuredServer;
  rows: Row[];
  /** Saturation of the echo, in the order measured. */
  echoes: Row[];
  notes: string[];
  /** Makes a row of a load against a server, between two echoes. `watch` is made for each attempt. */
  measure(label: string, server: MeasuredServer, plan: LoadPlan, watch?: MakeWatch): Promise<Row>;
  /** Puts any other measurement between two echoes and adds its row. */
  bracket(measure: () => Promise<Row>): Promise<Row>;
  /** A load that is not measured, for filling and warming. */
  load(server: MeasuredServer, plan: LoadPlan): Promise<LoadResult>;
  say(text: string): void;
}

export interface Benchmark {
  name: string;
  /** What is measured, in a sentence or two. */
  summary: string;
  /** Rows it fills a store with unless told otherwise. */
  rows?: number;
  run(context: Context): Promise<void>;
}

/** performance.md: beyond this a run says more about the host's other guests than about us. */
const stolenLimit = 0.02;
/** The same for processes of this machine that do not belong to the benchmark. */
const otherLimit = 0.05;
/** Of a core: beyond this the generator is the bottleneck. */
const generatorLimit = 0.9;
const maxAttempts = 3;
/** An echo older than this is measured anew. */
const echoAgeMs = 10_000;

/** For how long the machine has to be quiet, and how long that is waited for. */
const quietMs = 3000;
const quietDeadlineMs = 180_000;

const defaultJob = {
  host: '127.0.0.1',
  connections: 256,
  graceSeconds: 2,
  timeoutMs: 30_000,
  pollMs: 0.5,
  users: 100_000,
};

/**
 * As many as an open loop has. 64 keep one server thread busy, and the echo is no faster with more; but a
 * service that answers after a commit has most of them waiting for it, and is idle for a seventh of the time.
 */
export const saturation: LoadPlan = { mode: 'closed', connections: 256 };

function whyDiscarded(row: Row): string | null {
  const [stolen, other] = [row.stolenShare ?? 0, row.otherShare ?? 0];
  const generator = row.load?.generator.coreShare ?? 0;
  if (stolen > stolenLimit) return `stolen ${(stolen * 100).toFixed(1)}%`;
  if (other > otherLimit) return `others ${(other * 100).toFixed(1)}%`;
  return generator > generatorLimit ? 'generator saturated' : null;
}

export function countErrors({ statuses, failures }: LoadResult): number {
  const refused = Object.entries(statuses).filter(([status]) => !status.startsWith('2'));
  const counts = [...refused.map(([, count]) => count), ...Object.values(failures)];
  return counts.reduce((sum, count) => sum + count, 0);
}

/** A row with nothing measured, for what is no load. */
export function emptyRow(label: string, perSecond: number): Row {
  return {
    label,
    perSecond,
    shareOfEcho: null,
    latency: null,
    errors: 0,
    serverMicroseconds: null,
    serverCores: null,
    rssPeakBytes: null,
    generatorMicroseconds: null,
    stolenShare: null,
    otherShare: null,
    discarded: null,
    extra: {},
    load: null,
  };
}

/** What the meter has to say about a run with so many requests. */
export function meteredPart(reading: MeterReading, requests: number): Partial<Row> {
  const { cpuSeconds, rssPeakBytes, seconds, stolenShare, otherShare } = reading;
  const isKnown = cpuSeconds !== null && requests > 0;
  return {
    serverMicroseconds: isKnown ? (cpuSeconds / requests) * 1e6 : null,
    serverCores: isKnown ? cpuSeconds / seconds : null,
    rssPeakBytes,
    stolenShare,
    otherShare,
  };
}

function makeRow(label: string, result: LoadResult, reading: MeterReading): Row {
  const { generator, answered } = result;
  return {
    ...emptyRow(label, result.acceptedPerSecond),
    latency: result.latency,
    errors: countErrors(result),
    ...meteredPart(reading, answered),
    generatorMicroseconds: generator.cpuMicrosecondsPerRequest,
    load: result,
  };
}

function compareWithEcho(row: Row, around: Row[]): void {
  const steady = around.filter((echo) => echo.discarded === null);
  const used = steady.length > 0 ? steady : around;
  const perSecond = used.reduce((sum, echo) => sum + echo.perSecond, 0) / used.length;
  row.shareOfEcho = row.perSecond / perSecond;
  row.discarded = whyDiscarded(row);
  if (steady.length === 0) row.discarded ??= `echo: ${around[0]?.discarded}`;
}

/** Waits for a quiet moment before a repetition, which would otherwise be as disturbed. */
async function untilQuiet(): Promise<void> {
  for (let waitedMs = 0; waitedMs < quietDeadlineMs; waitedMs += quietMs) {
    const meter = startMeter(process.pid);
    await sleep(quietMs);
    const { stolenShare, otherShare } = meter.stop();
    if ((stolenShare ?? 0) < stolenLimit && (otherShare ?? 0) < otherLimit) return;
  }
}

export async function makeContext(
  options: Options,
  say: Context['say'],
): Promise<Context & AsyncDisposable> {
  const echo = await startEcho();
  const rows: Row[] = [];
  const echoes: Row[] = [];
  const echoSeconds = Math.min(10, Math.max(2, options.seconds / 5));
  // Numbers never repeat within a run, so that no request meets the idempotency key of another.
  let nextNumber = 0;
  let echoedAtMs = -Infinity;

  async function run(server: MeasuredServer, plan: LoadPlan, watch: Watch): Promise<LoadResult> {
    const job: LoadJob = {
      ...defaultJob,
      port: server.port,
      requests: server.requests,
      firstNumber: nextNumber,
      seconds: options.seconds,
      warmupSeconds: options.isQuick ? 2 : 5,
      ...plan,
    };
    const result = await startLoad(job, watch);
    nextNumber = job.firstNumber + result.sent;
    return result;
  }

  async function runMetered(
    label: string,
    server: MeasuredServer,
    plan: LoadPlan,
    watch: Watch,
  ): Promise<Row> {
    let meter = startMeter(server.pid);
    let reading: MeterReading | undefined;
    const result = await run(server, plan, {
      onMeasure() {
        meter.stop();
        meter = startMeter(server.pid);
        watch.onMeasure?.();
      },
      onEnd() {
        reading = meter.stop();
        watch.onEnd?.();
      },
    });
    const row = makeRow(label, result, reading ?? meter.stop());
    row.extra = (await watch.finish?.(result)) ?? {};
    return row;
  }

  async function measureEcho(): Promise<Row> {
    const plan = { ...saturation, seconds: echoSeconds };
    const row = await runMetered('echo at saturation', echo, plan, {});
    row.shareOfEcho = 1;
    row.discarded = whyDiscarded(row);
    echoes.push(row);
    echoedAtMs = performance.now();
    return row;
  }

  async function bracket(measure: () => Promise<Row>): Promise<Row> {
    for (let attempt = 1; ; attempt++) {
      const isFresh = performance.now() - echoedAtMs < echoAgeMs;
      const before = isFresh ? (echoes.at(-1) as Row) : await measureEcho();
      const row = await measure();
      compareWithEcho(row, [before, await measureEcho()]);
      rows.push(row);
      const isLast = attempt === maxAttempts || options.isQuick;
      if (row.discarded === null || isLast) return row;
      say(`${row.label}: once more, ${row.discarded}`);
      await untilQuiet();
    }
  }

  return {
    options,
    echo,
    rows,
    echoes,
    notes: [],
    say,
    bracket,
    measure(label, server, plan, watch = () => ({})) {
      say(`${label} …`);
      return bracket(async () => runMetered(label, server, plan, await watch()));
    },
    load: (server, plan) => run(server, plan, {}),
    [Symbol.asyncDispose]: () => echo[Symbol.asyncDispose](),
  };
}
