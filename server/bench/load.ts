/**
 * The load generator as the benchmarks use it: `startLoad` runs a job in a process of its own, so
 * that its event loop is not the server's, and gives the result. What it does there is in
 * load-run.ts.
 *
 * It talks to loopback and to nothing else: a generator that can be pointed elsewhere is a weapon.
 */
import { fork } from 'node:child_process';
import { isIPv4 } from 'node:net';
import type { FailureKind } from './load-connection.ts';
import type { RequestSpec } from './load-request.ts';
import { runLoad } from './load-run.ts';

export interface LoadJob {
  host: string;
  port: number;
  /** Open: a fixed schedule. Closed: each connection sends when it has its answer (saturation). */
  mode: 'open' | 'closed';
  /** Open loop only. */
  ratePerSecond?: number;
  /**
   * One request in flight on each. The concurrency of a closed loop; an open loop needs more than
   * rate × mean latency, or requests wait in the generator (which their latency includes).
   */
  connections: number;
  /** Sent but not counted, before the measured time. */
  warmupSeconds: number;
  /** The measured time. */
  seconds: number;
  /** How long answers are awaited behind the end. */
  graceSeconds: number;
  timeoutMs: number;
  /**
   * The generator sleeps this long between looking at its schedule and its sockets. A request may
   * go out that much late and an answer be seen that much late: latencies read high by up to twice
   * this, never low. Without it every answer would cost a wake-up.
   */
  pollMs: number;
  /** Ends the run after so many requests, for filling a store. */
  maxRequests?: number;
  /** Taken in turn. */
  requests: RequestSpec[];
  /** `<<n>>` of the first request. */
  firstNumber: number;
  /** How many different `<<user>>` there are. */
  users: number;
}

export interface Percentiles {
  count: number;
  meanMs: number;
  p50Ms: number;
  p90Ms: number;
  p99Ms: number;
  p999Ms: number;
  p9999Ms: number;
  maxMs: number;
}

export interface LoadResult {
  mode: LoadJob['mode'];
  ratePerSecond: number | null;
  connections: number;
  pollMs: number;
  /** The measured time; less than asked for if `maxRequests` came first. */
  seconds: number;
  /** 2xx answers read within the measured time, per second. */
  acceptedPerSecond: number;
  /** All answers read within the measured time. */
  answered: number;
  /** All requests of the run, warm-up included: the next run begins its numbers behind them. */
  sent: number;
  /** All 2xx answers of the run, warm-up included: what the server has promised to keep. */
  accepted: number;
  /** Answers to measured requests, by status. */
  statuses: Record<string, number>;
  /** Measured requests without an answer, by cause; `unanswered` when the run ended. */
  failures: Record<FailureKind | 'unanswered', number>;
  /** Connections the server closed while they were idle, as it may. */
  idleCloses: number;
  /**
   * From the time a request was due (closed loop: was sent) to its 2xx answer. Lost and unanswered
   * requests count with the time they had waited, a lower bound; other statuses do not count.
   */
  latency: Percentiles;
  /** How late the generator sent although a connection was free. Part of `latency`. */
  lateness: Percentiles;
  /** Measured requests that waited for a connection. */
  queued: number;
  generator: {
    userMicroseconds: number;
    systemMicroseconds: number;
    /** Both, per answer. */
    cpuMicrosecondsPerRequest: number;
    /** Of one core. Near 1, the generator is what was measured. */
    coreShare: number;
  };
}

/** Called in the parent when the measured time begins and ends, to read the server's clocks. */
export interface LoadListener {
  onMeasure?: () => void;
  onEnd?: () => void;
}

export type LoadMessage =
  | { type: 'measure' }
  | { type: 'end' }
  | { type: 'result'; result: LoadResult }
  | { type: 'error'; message: string };

export function isLoopback(host: string): boolean {
  return host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

/** Far beyond what a run can take; a generator that is still there then hangs. */
const hardStopSeconds = 60;

/** Runs the job in a process of its own. */
export function startLoad(job: LoadJob, listener: LoadListener = {}): Promise<LoadResult> {
  // Flags of the parent (a profiler, say) are not the generator's.
  const child = fork(import.meta.filename, { execArgv: [] });
  const seconds = job.warmupSeconds + job.seconds + job.graceSeconds + hardStopSeconds;
  const hardStop = setTimeout(() => child.kill('SIGKILL'), seconds * 1000);
  return new Promise<LoadResult>((resolve, reject) => {
    child.on('message', (message: LoadMessage) => {
      if (message.type === 'measure') listener.onMeasure?.();
      else if (message.type === 'end') listener.onEnd?.();
      else if (message.type === 'result') resolve(message.result);
      else reject(new Error(message.message));
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      reject(new Error(`the load generator ended early (${signal ?? code})`));
    });
    child.send(job);
  }).finally(() => clearTimeout(hardStop));
}

if (import.meta.main && process.send !== undefined) {
  const tell = (message: LoadMessage) => process.send?.(message);
  process.once('disconnect', () => process.exit(1));
  process.once('message', async (job: LoadJob) => {
    try {
      const result = await runLoad(job, {
        onMeasure: () => tell({ type: 'measure' }),
        onEnd: () => tell({ type: 'end' }),
      });
      tell({ type: 'result', result });
    } catch (error) {
      tell({ type: 'error', message: error instanceof Error ? error.message : String(error) });
    }
    process.removeAllListeners('disconnect');
    process.disconnect?.();
  });
}
