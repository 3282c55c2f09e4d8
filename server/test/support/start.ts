/**
 * The real program as a process of its own, started as an operator starts it: `main.ts start` with
 * settings in the environment. Each instance ends exactly the processes it started and removes the
 * data it made. What they wrote is shown when the test that started them fails.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'node:test';
import type { Ledger } from '@tidings/contracts/notification';
import { type HttpAnswer, type HttpCall, HttpClient } from './http-client.ts';
import { until, within } from './within.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');
export const BOOTSTRAP_KEY = 'fault-test-0123456789abcdef';

/** A start may replay a log and deliver a backlog; beyond this it hangs. */
const READY_SECONDS = 60;
const END_SECONDS = 90;

/** For tests on a busy or traced machine that are not about load: slow is not refused. */
export const PATIENT = {
  TIDINGS_HTTP_MAX_DELAY_MS: '60000',
  TIDINGS_HTTP_MAX_WAITING: '100000',
} as const;

export interface StartOptions {
  /** Settings besides folder, port and key. */
  env?: Record<string, string>;
  /** A command line that runs the program, such as `['strace', '-f', …]`. */
  prefix?: readonly string[];
  /** Data folder of the caller, which stays; left out, one is made and removed in the end. */
  dataDir?: string;
  /** Left out, one that is free. Restarts keep it. */
  port?: number;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface Tidings extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly key: string;
  readonly dataDir: string;
  /** Of the program itself, also when a prefix runs it. */
  readonly pid: number;
  /** ms from the start of the process to its line "Tidings is ready". */
  readonly readyMs: number;
  /** Lines of this and earlier runs: greetings and log entries. */
  readonly stdout: readonly string[];
  readonly stderr: string;
  /** Resolves when the present process has ended, however it ended. */
  readonly exited: Promise<Exit>;
  /** Sends the signal and waits for the end. */
  stop(signal?: NodeJS.Signals): Promise<Exit>;
  /** SIGKILL, and the end of the process. */
  kill(): Promise<Exit>;
  /** Starts it again, on the same data and port, once the present process has ended. */
  restart(options?: Pick<StartOptions, 'env' | 'prefix'>): Promise<void>;
  /** A request with the key. */
  call(path: string, call?: HttpCall): Promise<HttpAnswer>;
  /** Counts of all messages, by what became of them. */
  ledger(): Promise<Ledger>;
  /** Resident memory in bytes. */
  residentBytes(): number;
}

/** Resolves when the program says that it is ready. @throws with its last words when it ends instead */
export async function startTidings(options: StartOptions = {}): Promise<Tidings> {
  const own = options.dataDir === undefined ? mkdtempSync(join(tmpdir(), 'tidings-fault-')) : '';
  const dataDir = options.dataDir ?? join(own, 'data');
  const port = options.port ?? (await freePort());
  const client = new HttpClient();
  const transcript = new Transcript();
  let env = options.env ?? {};
  let run: Run;

  async function begin(prefix: readonly string[] | undefined): Promise<Run> {
    const begun = new Run({ env, prefix, dataDir, port, transcript });
    try {
      await begun.ready();
    } catch (error) {
      await begun.end();
      throw error;
    }
    return begun;
  }

  async function dispose(): Promise<void> {
    await run?.end();
    transcript.closed = true;
    client[Symbol.dispose]();
    if (own !== '') rmSync(own, { recursive: true, force: true });
  }

  try {
    run = await begin(options.prefix);
  } catch (error) {
    await dispose();
    throw error;
  }
  const headers = { authorization: `Bearer ${BOOTSTRAP_KEY}` };
  const tidings: Tidings = {
    url: `http://127.0.0.1:${port}`,
    port,
    key: BOOTSTRAP_KEY,
    dataDir,
    get pid() {
      return run.pid;
    },
    get readyMs() {
      return run.readyMs;
    },
    stdout: transcript.lines,
    get stderr() {
      return transcript.errors;
    },
    get exited() {
      return run.exited;
    },
    stop(signal = 'SIGTERM') {
      run.signal(signal);
      return within(END_SECONDS, `the end after ${signal}`, run.exited);
    },
    kill() {
      run.signal('SIGKILL');
      return within(END_SECONDS, 'the end after SIGKILL', run.exited);
    },
    async restart(next = {}) {
      await within(END_SECONDS, 'the end of the earlier process', run.exited);
      env = next.env ?? env;
      run = await begin(next.prefix);
    },
    call: (path, call = {}) =>
      client.call(`http://127.0.0.1:${port}${path}`, {
        ...call,
        headers: { ...headers, ...call.headers },
      }),
    async ledger() {
      const answer = await tidings.call('/v1/ledger');
      if (answer.status !== 200) throw new Error(`the ledger answered ${answer.text}`);
      return answer.json<Ledger>();
    },
    residentBytes() {
      const status = readFileSync(`/proc/${run.pid}/status`, 'utf8');
      return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
    },
    [Symbol.asyncDispose]: dispose,
  };
  return tidings;
}

/** A start that must not succeed: resolves with how it ended and what it wrote. */
export async function startAndEnd(
  options: StartOptions & { dataDir: string },
): Promise<Exit & { output: string }> {
  const transcript = new Transcript();
  const run = new Run({ ...options, port: options.port ?? (await freePort()), transcript });
  try {
    const exit = await within(READY_SECONDS, 'the end of a start that must fail', run.exited);
    return { ...exit, output: `${transcript.lines.join('\n')}\n${transcript.errors}` };
  } finally {
    await run.end();
    transcript.closed = true;
  }
}

/** What the program wrote, kept for the tests and for the report of a failed one. */
class Transcript {
  readonly lines: string[] = [];
  errors = '';
  /** The program has ended for good. */
  closed = false;

  constructor() {
    transcripts.push(this);
  }

  get tail(): string {
    const told = this.lines.filter((line) => /^[{T]/.test(line)).slice(-20);
    return [...told, this.errors.slice(-4000)].join('\n').trimEnd();
  }
}

let transcripts: Transcript[] = [];
afterEach((context) => {
  const shown = transcripts;
  // Of a program that serves several tests, each may be the one that fails.
  transcripts = transcripts.filter((transcript) => !transcript.closed);
  if ((context as { passed?: boolean }).passed !== false) return;
  for (const { tail } of shown) process.stderr.write(`\n--- what Tidings wrote ---\n${tail}\n`);
});

const running = new Set<Run>();
process.once('exit', () => {
  for (const run of running) run.signal('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

interface RunOptions {
  env?: Record<string, string>;
  prefix?: readonly string[];
  dataDir: string;
  port: number;
  transcript: Transcript;
}

/** One process, or two when a prefix such as strace runs the program as its child. */
class Run {
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  readonly #transcript: Transcript;
  readonly #startedAt = performance.now();
  #greeting!: Promise<void>;
  #ended = false;
  readyMs = 0;
  pid = 0;

  constructor({ env, prefix = [], dataDir, port, transcript }: RunOptions) {
    const words = [...prefix, process.execPath, MAIN, 'start'];
    this.#transcript = transcript;
    this.#child = spawn(words[0] as string, words.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'],
        TIDINGS_DATA_DIR: dataDir,
        TIDINGS_PORT: String(port),
        TIDINGS_BOOTSTRAP_KEY: BOOTSTRAP_KEY,
        TIDINGS_LOG_LEVEL: 'warn',
        // What a tracer sees of files must be all that happens to them.
        UV_USE_IO_URING: '0',
        ...env,
      },
    });
    running.add(this);
    this.exited = once(this.#child, 'exit').then(([code, signal]) => {
      this.#ended = true;
      running.delete(this);
      return { code, signal } as Exit;
    });
    this.#read();
  }

  #read(): void {
    const { lines } = this.#transcript;
    let rest = '';
    this.#greeting = new Promise((resolve) => {
      this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        const parts = (rest + text).split('\n');
        rest = parts.pop() as string;
        lines.push(...parts);
        if (parts.some((line) => line.startsWith('Tidings is ready at '))) resolve();
      });
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#transcript.errors += text;
    });
  }

  async ready(): Promise<void> {
    const ended = this.exited.then(({ code, signal }) => {
      throw new Error(
        `Tidings ended with ${signal ?? code} instead of starting\n${this.#transcript.tail}`,
      );
    });
    await within(READY_SECONDS, 'the start', Promise.race([this.#greeting, ended]));
    ended.catch(() => {});
    this.readyMs = performance.now() - this.#startedAt;
    this.pid = programOf(this.#child.pid as number);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#ended) return;
    // A tracer is left alone: without its process it ends by itself, once its log is written.
    try {
      process.kill(this.pid === 0 ? (this.#child.pid as number) : this.pid, signal);
    } catch {
      // It has just ended.
    }
  }

  /** Ends what is left, by force. */
  async end(): Promise<void> {
    if (this.#ended) return;
    this.signal('SIGKILL');
    await within(END_SECONDS, 'the end after SIGKILL', this.exited).catch(() => {
      this.#child.kill('SIGKILL');
      return this.exited;
    });
  }
}

/** The process that runs main.ts: the given one, or the youngest descendant of a prefix that runs it. */
function programOf(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  const runsMain = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  if (runsMain[0] === process.execPath && runsMain[1] === MAIN) return pid;
  const [child] = children.split(' ').filter(Boolean);
  if (child === undefined) throw new Error(`process ${pid} does not run the program`);
  return programOf(Number(child));
}

/**
 * A port outside of the range from which the system takes ports for outgoing connections: on one of
 * those, a client that tries to reach a server that is down can be connected to itself.
 */
export async function freePort(): Promise<number> {
  return until('a free port', async () => {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = createServer();
    const outcome = Promise.race([
      once(server, 'listening').then(() => true),
      once(server, 'error').then(() => false),
    ]);
    server.listen(port, '127.0.0.1');
    if (!(await outcome)) return undefined;
    server.close();
    await once(server, 'close');
    return port;
  });
}
