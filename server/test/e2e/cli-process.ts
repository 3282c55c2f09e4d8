/** The `tidings` command as its users run it: a process of its own, against the real service. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { startTidings, type Tidings } from '../support/start.ts';
import { until, within } from '../support/within.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');
/** A command that takes longer hangs. */
const SECONDS = 60;
/** Of all commands of this file: types are stripped once, not a hundred times. */
const compiled = mkdtempSync(join(tmpdir(), 'tidings-cli-compiled-'));
after(() => rmSync(compiled, { recursive: true, force: true }));

export interface Run {
  code: number | null;
  out: string;
  err: string;
}

export interface RunOptions {
  stdin?: string;
  env?: Record<string, string>;
  cwd?: string;
}

/** A command under way. */
export class Command implements AsyncDisposable {
  out = '';
  err = '';
  readonly child: ChildProcess;
  readonly #exit: Promise<number | null>;

  constructor(args: readonly string[], { env = {}, cwd }: RunOptions) {
    const { PATH } = process.env;
    const whole = { PATH, NODE_COMPILE_CACHE: compiled, ...env };
    this.child = spawn(process.execPath, [MAIN, ...args], { env: whole, cwd });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.out += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.err += text;
    });
    this.#exit = once(this.child, 'close').then(([code]) => code as number | null);
  }

  async end(): Promise<Run> {
    const code = await within(SECONDS, 'the end of the command', this.#exit);
    return { code, out: this.out, err: this.err };
  }

  /** Waits until what it wrote to stdout is as asked. */
  async wrote(what: string, fits: (out: string) => boolean): Promise<void> {
    await until(what, () => fits(this.out), { seconds: SECONDS });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.#exit;
  }
}

export async function run(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  await using command = new Command(args, options);
  command.child.stdin?.end(options.stdin ?? '');
  return await command.end();
}

export type Cli = (args: readonly string[], options?: RunOptions) => Promise<Run>;

/** The command with the address and the key of a service. */
export function cliOf({ url, key }: Pick<Tidings, 'url' | 'key'>): Cli {
  return (args, options = {}) =>
    run(args, { ...options, env: { TIDINGS_URL: url, TIDINGS_API_KEY: key, ...options.env } });
}

/** A service of its own for the tests of a suite, which run one after the other. */
export function serviceOfSuite(): { readonly tidings: Tidings; cli: Cli } {
  let running: Tidings | undefined;
  before(async () => {
    running = await startTidings();
  });
  after(() => running?.[Symbol.asyncDispose]());
  const tidings = (): Tidings => {
    assert.ok(running, 'the service runs');
    return running;
  };
  return {
    get tidings() {
      return tidings();
    },
    cli: (args, options) => cliOf(tidings())(args, options),
  };
}

export function exited({ code, err, out }: Run, expected: number): void {
  assert.equal(code, expected, `exit code; stderr: ${err}\nstdout: ${out}`);
  assert.doesNotMatch(err, /\n\s+at .+:\d+:\d+|something unexpected/, 'the command broke');
  assert.ok(!`${out}${err}`.includes('\u001b'), 'nothing here is a terminal');
}

export function jsonOf<Value>(result: Run): Value {
  exited(result, 0);
  return JSON.parse(result.out) as Value;
}

export function linesOf<Value>(text: string): Value[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Value);
}

export interface Folder extends Disposable {
  path(name: string): string;
  write(name: string, content: string): string;
}

export function openFolder(): Folder {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-cli-'));
  const path = (name: string): string => join(folder, name);
  return {
    path,
    write(name, content) {
      writeFileSync(path(name), content);
      return path(name);
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

export interface Proxy extends AsyncDisposable {
  url: string;
  /** What becomes of a request: passed on, cut off before, or cut off once it has been carried out. */
  rule: (request: IncomingMessage) => 'pass' | 'before' | 'after';
}

export async function startProxy(target: string): Promise<Proxy> {
  const server = createServer(async (request, response) => {
    const fate = proxy.rule(request);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (fate === 'before') return void request.socket.destroy();
    const body = chunks.length > 0 ? { body: Buffer.concat(chunks) } : {};
    const { host, connection, ...headers } = request.headers as Record<string, string>;
    delete headers['content-length'];
    delete headers['transfer-encoding'];
    const answer = await fetch(target + request.url, { method: request.method, headers, ...body });
    const text = await answer.text();
    if (fate === 'after') return void request.socket.destroy();
    response
      .writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' })
      .end(text);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy: Proxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    rule: () => 'pass',
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return proxy;
}
