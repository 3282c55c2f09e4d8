/**
 * The processes that are measured: the service itself, started as an operator would start it, and
 * the echo. Everything a benchmark knows about the service (how it starts, what a request looks
 * like, where its counters are) stands in this file.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { RequestSpec } from './load-request.ts';

export interface MeasuredServer extends AsyncDisposable {
  pid: number;
  port: number;
  requests: RequestSpec[];
}

export interface Service extends MeasuredServer {
  /** Time from the start of the process to the first 200 of /health/ready. */
  startedInMs: number;
  readCounters(): Promise<Counters>;
  /** The answer to GET, or to POST where there is a body. @throws when it is not 2xx */
  call<Answer>(path: string, body?: object): Promise<Answer>;
}

/** Where the service runs, and on what. */
export interface Place {
  dataRoot: string;
  main: string;
  /** An existing data folder, which stays; left out, an empty one is made and removed. */
  dataDir?: string;
}

/** Since the start of the process. */
export interface Counters {
  accepted: number;
  completed: number;
}

const echo = join(import.meta.dirname, 'echo.ts');
const key = 'benchmark-0123456789abcdef0123456789abcdef';
/** Of the operator. */
export const authorization = `Bearer ${key}`;
/** The start may replay a journal; beyond this it counts as failed. */
const readyDeadlineMs = 120_000;
const stopDeadlineMs = 30_000;

/**
 * Settings under which messages go the whole way to a channel that does nothing: without an account
 * for email, the service captures what it would have sent.
 */
export const noopDelivery: Record<string, string> = {};

/** Counters in the Prometheus text of /metrics; samples that contain `label` are added up. */
const counters = {
  accepted: { name: 'tidings_http_requests_total', label: 'status="202"' },
  completed: { name: 'tidings_messages_ended_total', label: '' },
} as const;

/** As small as many real ones are. Every one bears an idempotency key, which is the costly case. */
function notificationRequests(path: string): RequestSpec[] {
  const body = JSON.stringify({
    to: { email: 'user<<user>>@example.com' },
    content: { title: 'Hello', text: 'Your order <<n>> has shipped' },
    priority: 'medium',
  });
  const headers = { authorization, 'idempotency-key': 'order-<<key>>' };
  return [{ method: 'POST', path, headers, body }];
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

/** SIGTERM, and after a while SIGKILL. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  const hard = setTimeout(() => child.kill('SIGKILL'), stopDeadlineMs);
  await exit;
  clearTimeout(hard);
}

async function untilReady(url: string, child: ChildProcess, log: string): Promise<void> {
  const deadlineMs = performance.now() + readyDeadlineMs;
  for (;;) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(1000) });
      await response.arrayBuffer();
      if (response.ok) return;
    } catch {
      // Not listening yet.
    }
    const isOver = child.exitCode !== null || child.signalCode !== null;
    if (isOver || performance.now() > deadlineMs) {
      const last = readFileSync(log, 'utf8').trim().split('\n').slice(-15).join('\n');
      throw new Error(`the service is not ready${isOver ? ', it has ended' : ''}:\n${last}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A counter that has not counted yet has a type but no sample. */
function readCounter(text: string, { name, label }: { name: string; label: string }): number {
  if (!text.includes(`# TYPE ${name} `)) throw new Error(`/metrics lacks ${name}`);
  let sum = 0;
  for (const [, labels, value] of text.matchAll(new RegExp(`^${name}(\\{.*\\})? (\\S+)`, 'gm'))) {
    if ((labels ?? '').includes(label)) sum += Number(value);
  }
  return sum;
}

async function call<Answer>(url: string, body?: object): Promise<Answer> {
  const headers = { authorization, 'content-type': 'application/json' };
  const request = body === undefined ? { headers } : { method: 'POST', body: JSON.stringify(body) };
  const response = await fetch(url, { headers, ...request });
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return (await response.json()) as Answer;
}

/** Starts the service, on an empty store below `dataRoot` unless a folder is given. */
export async function startService(
  { dataRoot, main, dataDir }: Place,
  env: Record<string, string> = {},
): Promise<Service> {
  const directory = await mkdtemp(join(dataRoot, 'tidings-bench-'));
  const log = join(directory, 'service.log');
  const output = openSync(log, 'a');
  const port = await freePort();
  const startMs = performance.now();
  const child = spawn(process.execPath, [main, 'start'], {
    stdio: ['ignore', output, output],
    env: {
      PATH: process.env.PATH,
      NODE_ENV: 'production',
      TIDINGS_HOST: '127.0.0.1',
      TIDINGS_PORT: String(port),
      TIDINGS_DATA_DIR: dataDir ?? join(directory, 'data'),
      TIDINGS_BOOTSTRAP_KEY: key,
      ...env,
    },
  });
  closeSync(output);
  // An interrupted benchmark leaves neither a process nor gigabytes behind.
  const abandon = () => {
    child.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  };
  process.once('exit', abandon);
  const dispose = async () => {
    await stop(child);
    process.removeListener('exit', abandon);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await untilReady(`http://127.0.0.1:${port}/health/ready`, child, log);
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    pid: child.pid as number,
    port,
    requests: notificationRequests('/v1/notifications'),
    startedInMs: performance.now() - startMs,
    call: (path, body) => call(`http://127.0.0.1:${port}${path}`, body),
    async readCounters() {
      const headers = { authorization };
      const response = await fetch(`http://127.0.0.1:${port}/metrics`, { headers });
      const text = await response.text();
      return {
        accepted: readCounter(text, counters.accepted),
        completed: readCounter(text, counters.completed),
      };
    },
    [Symbol.asyncDispose]: dispose,
  };
}

/** The echo gets the same requests as the service, so that both parse the same bytes. */
export async function startEcho(): Promise<MeasuredServer> {
  const child = fork(echo, { execArgv: [], env: { ...process.env, NODE_ENV: 'production' } });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  return {
    pid: child.pid as number,
    port,
    requests: notificationRequests('/echo'),
    [Symbol.asyncDispose]: () => stop(child),
  };
}
