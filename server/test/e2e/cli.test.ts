/**
 * The `tidings` command as its users run it: a process of its own, against the real service. Every
 * command and every exit code.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import type { ApiKey, CreatedApiKey } from '@tidings/contracts/application';
import type { MessageSummary, Notification, TimelineEvent } from '@tidings/contracts/notification';
import type { Template } from '@tidings/contracts/template';
import type { User } from '@tidings/contracts/user';
import { startTidings, type Tidings } from '../support/start.ts';
import { until, within } from '../support/within.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');
/** A command that takes longer hangs. */
const SECONDS = 60;
/** Of all commands of this file: types are stripped once, not a hundred times. */
const compiled = mkdtempSync(join(tmpdir(), 'tidings-cli-compiled-'));
after(() => rmSync(compiled, { recursive: true, force: true }));

interface Run {
  code: number | null;
  out: string;
  err: string;
}

interface RunOptions {
  stdin?: string;
  env?: Record<string, string>;
  cwd?: string;
}

/** A command under way. */
class Command implements AsyncDisposable {
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

async function run(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  await using command = new Command(args, options);
  command.child.stdin?.end(options.stdin ?? '');
  return await command.end();
}

type Cli = (args: readonly string[], options?: RunOptions) => Promise<Run>;

/** The command with the address and the key of a service. */
function cliOf({ url, key }: Pick<Tidings, 'url' | 'key'>): Cli {
  return (args, options = {}) =>
    run(args, { ...options, env: { TIDINGS_URL: url, TIDINGS_API_KEY: key, ...options.env } });
}

function exited({ code, err, out }: Run, expected: number): void {
  assert.equal(code, expected, `exit code; stderr: ${err}\nstdout: ${out}`);
  assert.doesNotMatch(err, /\n\s+at .+:\d+:\d+|something unexpected/, 'the command broke');
  assert.ok(!`${out}${err}`.includes('\u001b'), 'nothing here is a terminal');
}

function jsonOf<Value>(result: Run): Value {
  exited(result, 0);
  return JSON.parse(result.out) as Value;
}

function linesOf<Value>(text: string): Value[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Value);
}

interface Folder extends Disposable {
  path(name: string): string;
  write(name: string, content: string): string;
}

function openFolder(): Folder {
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

interface Proxy extends AsyncDisposable {
  url: string;
  /** What becomes of a request: passed on, cut off before, or cut off once it has been carried out. */
  rule: (request: IncomingMessage) => 'pass' | 'before' | 'after';
}

async function startProxy(target: string): Promise<Proxy> {
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

test('send, status and tail', async (t) => {
  await using tidings = await startTidings();
  const cli = cliOf(tidings);

  await t.test('send prints the id and goes on by itself; --wait tells the outcome', async () => {
    const sent = await cli(['send', '--to', 'ada@example.com', '--title', 'Hello', 'It works.']);
    exited(sent, 0);
    assert.match(sent.out, /^ntf_\w{11}\nMESSAGE +CHANNEL +STATUS/);
    const waited = await cli(['send', '--to', 'ada@example.com', 'It works.', '--wait', '30s']);
    exited(waited, 0);
    assert.match(waited.out, /msg_\w{11} +email +delivered +1 +capture/);
    assert.match(
      (await cli(['send', '--quiet', '--to', 'a@example.com', 'x'])).out,
      /^ntf_\w{11}\n$/,
    );
  });

  await t.test('the text comes through a pipe, --json is the answer of the API', async () => {
    const answer = jsonOf<Notification>(
      await cli(['send', '--to', 'ada@example.com', '--title', 'Disk', '--json', '--wait', '30s'], {
        stdin: 'Filesystem\n/dev/sda 李\n',
      }),
    );
    assert.deepEqual(answer.content, { title: 'Disk', text: 'Filesystem\n/dev/sda 李' });
    assert.deepEqual(
      answer.messages.map(({ status }) => status),
      ['delivered'],
    );
  });

  await t.test('exit 1: it failed, or was refused, and why', async () => {
    const failed = await cli([
      'send',
      '--to',
      'permanent-failure@simulate.invalid',
      'x',
      '--wait',
      '30s',
    ]);
    exited(failed, 1);
    assert.match(failed.out, /failed .+simulated_permanent_failure/);
    const refused = await cli(['send', '--to', 'email:nonsense', 'x']);
    exited(refused, 1);
    assert.match(
      refused.err,
      /^tidings: The recipient cannot be used\n {2}body\.to\.email: .+\n {2}Request: req_\w+ \(4\d\d invalid_recipient\)\n$/,
    );
    assert.equal(refused.out, '');
  });

  await t.test('exit 2: wrong usage, with the nearest command', async () => {
    const wrong = await cli(['sned']);
    exited(wrong, 2);
    assert.match(wrong.err, /Did you mean send\?/);
  });

  await t.test('exit 3: nothing of that id', async () => {
    exited(await cli(['status', 'ntf_00000000001']), 3);
  });

  await t.test('exit 4: a wrong key, which is not shown', async () => {
    for (const args of [
      ['send', '--to', 'a@b.c', 'x'],
      ['tail'],
      ['users', 'list'],
      ['keys', 'list'],
      ['templates', 'export'],
    ]) {
      const refused = await cli(args, { env: { TIDINGS_API_KEY: 'wrong-key-0123456789' } });
      exited(refused, 4);
      assert.doesNotMatch(refused.out + refused.err, /wrong-key/);
    }
  });

  await t.test('exit 5: one of two channels', async () => {
    const to = JSON.stringify({ userId: 'u1', email: 'permanent-failure@simulate.invalid' });
    const partly = await cli([
      'send',
      '--to',
      to,
      '--channels',
      'email,in_app',
      '--title',
      'T',
      'x',
      '--wait',
      '30s',
    ]);
    exited(partly, 5);
    assert.match(partly.out, /email +failed/);
    assert.match(partly.out, /in_app +delivered/);
  });

  await t.test('exit 6: not finished in time', async () => {
    const waiting = await cli([
      'send',
      '--to',
      'temporary-failure@simulate.invalid',
      'x',
      '--wait',
      '200ms',
    ]);
    exited(waiting, 6);
    assert.match(waiting.err, /tidings status ntf_/);
    const id = waiting.out.split('\n')[0] as string;
    exited(await cli(['status', id, '--wait', '200ms']), 6);
    const later = await cli([
      'send',
      '--to',
      'a@example.com',
      'x',
      '--send-at',
      '+1h',
      '--wait',
      '200ms',
    ]);
    exited(later, 6);
    assert.match(later.out, /scheduled/);
  });

  await t.test('a cut connection is tried again, and nothing is sent twice', async () => {
    await using proxy = await startProxy(tidings.url);
    let cuts = 0;
    proxy.rule = () => (cuts++ < 2 ? 'after' : 'pass');
    const before = await tidings.ledger();
    const sent = await cli(['send', '--to', 'ada@example.com', 'once'], {
      env: { TIDINGS_URL: proxy.url },
    });
    exited(sent, 0);
    assert.equal(cuts, 3);
    assert.equal((await tidings.ledger()).accepted, before.accepted + 1);
  });

  await t.test('a list of recipients: a request each, faults by line, repeatable', async () => {
    using folder = openFolder();
    const list = folder.write(
      'people.csv',
      'email,metadata.n\na@example.com,1\nnonsense,2\nb@example.com,3\n"c@example.com",4\n',
    );
    const args = ['send', '--recipients', list, '--title', 'T', 'x', '--idempotency-key', 'run-1'];
    const before = await tidings.ledger();
    const first = await cli(args);
    exited(first, 5);
    assert.match(first.err, /people\.csv:3: .+body\.to\.email: /);
    assert.match(first.err, /3 accepted, 1 failed/);
    const sent = first.out
      .trim()
      .split('\n')
      .map((line) => line.split('\t'));
    assert.deepEqual(sent.map(([, to]) => to).sort(), [
      'a@example.com',
      'b@example.com',
      'c@example.com',
    ]);
    const again = await cli([...args, '--json']);
    exited(again, 5);
    const answers = linesOf<{ line: number; status: number; body: { id: string; code?: string } }>(
      again.out,
    );
    assert.deepEqual(
      answers.map(({ line, status }) => `${line} ${Math.floor(status / 100)}`).sort(),
      ['2 2', '3 4', '4 2', '5 2'],
    );
    assert.deepEqual(
      answers
        .filter(({ status }) => status < 300)
        .map(({ body }) => body.id)
        .sort(),
      sent.map(([id]) => id).sort(),
    );
    assert.equal((await tidings.ledger()).accepted, before.accepted + 3);
  });

  await t.test('a list through a pipe, and repeated --to, with outcomes', async () => {
    const stdin = '"delivered@simulate.invalid"\n{"to":"permanent-failure@simulate.invalid"}\n';
    const listed = await cli(['send', '--recipients', '-', 'x', '--wait', '30s'], { stdin });
    exited(listed, 5);
    assert.match(listed.err, /1 delivered, 1 failed/);
    const repeated = await cli([
      'send',
      '--to',
      'a@example.com',
      '--to',
      'b@example.com',
      'x',
      '--wait',
      '30s',
    ]);
    exited(repeated, 0);
    assert.equal(repeated.out.match(/\tdelivered$/gm)?.length, 2);
    const none = await cli(['send', '--recipients', '-', 'x'], { stdin: '\n' });
    exited(none, 3);
  });

  await t.test('a list stops where nothing more can be sent, and says how to go on', async () => {
    await using proxy = await startProxy(tidings.url);
    let passed = 0;
    proxy.rule = () => (passed++ < 5 ? 'pass' : 'before');
    const stdin = Array.from({ length: 40 }, (_, i) => `{"email":"p${i}@example.com"}`).join('\n');
    const args = [
      'send',
      '--recipients',
      '-',
      'x',
      '--concurrency',
      '2',
      '--idempotency-key',
      'run-2',
      '--timeout',
      '2s',
    ];
    const before = await tidings.ledger();
    const stopped = await cli(args, { stdin, env: { TIDINGS_URL: proxy.url } });
    exited(stopped, 5);
    assert.match(stopped.err, /stopped: .+cannot be reached[\s\S]+--idempotency-key run-2/);
    exited(await cli(args, { stdin }), 0);
    assert.equal((await tidings.ledger()).accepted, before.accepted + 40);
  });

  await t.test('--dry-run sends nothing', async () => {
    const before = await tidings.ledger();
    const shown = await cli(['send', '--dry-run', '--to', 'a@example.com', 'x']);
    exited(shown, 0);
    assert.match(shown.out, /^POST http:[^\n]+\/v1\/notifications\n/);
    assert.doesNotMatch(shown.out, new RegExp(tidings.key));
    assert.equal((await tidings.ledger()).accepted, before.accepted);
  });

  await t.test('status of one notification: messages and timeline', async () => {
    const id = (
      await cli([
        'send',
        '--quiet',
        '--to',
        'ada@example.com',
        '--title',
        'Hi there',
        'x',
        '--wait',
        '30s',
      ])
    ).out.trim();
    const shown = await cli(['status', id]);
    exited(shown, 0);
    assert.match(shown.out, new RegExp(`^id +${id}\nto +ada@example\\.com\ntitle +Hi there`));
    assert.match(shown.out, /\d\d:\d\d:\d\d {2}accepted\n[\s\S]+attempt .+email\/capture/);
    const json = jsonOf<{ notification: Notification; timeline: { items: TimelineEvent[] } }>(
      await cli(['status', id, '--json']),
    );
    assert.equal(json.notification.id, id);
    assert.equal(json.timeline.items[0]?.type, 'accepted');
  });

  await t.test('status of the service: readiness, lanes, ledger', async () => {
    const shown = await cli(['status']);
    exited(shown, 0);
    assert.match(shown.out, / {2}ready\n\nLANE +WAITING +UNDER WAY\nhigh +\d+ +\d+/);
    assert.match(shown.out, /\naccepted +\d+\ndelivered +\d+/);
    const json = jsonOf<{ ready: { status: string }; ledger: { balanced: boolean } }>(
      await cli(['status', '--json']),
    );
    assert.equal(json.ready.status, 'ready');
    assert.equal(json.ledger.balanced, true);
    const open = await run(['status', '--url', tidings.url]);
    exited(open, 0);
    assert.match(open.err, /Without an API key/);
    exited(await cli(['status', '--api-key', 'wrong-key-0123456789']), 4);
  });

  await t.test(
    'tail shows what comes, each change of status, and ends cleanly at Ctrl-C',
    async () => {
      const env = { TIDINGS_URL: tidings.url, TIDINGS_API_KEY: tidings.key };
      await using tail = new Command(['tail', '--json', '--lines', '1', '--interval', '100ms'], {
        env,
      });
      await tail.wrote('the line from before', (out) => out.includes('\n'));
      const id = (await cli(['send', '--quiet', '--to', 'tail@example.com', 'x'])).out.trim();
      await tail.wrote('the new message', (out) =>
        linesOfWhole(out).some((m) => m.notificationId === id && m.status === 'delivered'),
      );
      tail.child.kill('SIGINT');
      const ended = await tail.end();
      exited(ended, 0);
      const shown = linesOf<MessageSummary>(ended.out);
      const keys = shown.map(({ id: message, status }) => `${message} ${status}`);
      assert.equal(new Set(keys).size, keys.length, 'nothing is shown twice');
    },
  );

  await t.test('tail with filters, and without following', async () => {
    const failed = await cli([
      'tail',
      '--no-follow',
      '--status',
      'failed',
      '--lines',
      '500',
      '--json',
    ]);
    exited(failed, 0);
    const statuses = new Set(linesOf<MessageSummary>(failed.out).map(({ status }) => status));
    assert.deepEqual([...statuses], ['failed']);
    const some = await cli(['tail', '--no-follow', '--lines', '2']);
    exited(some, 0);
    assert.equal(some.out.trim().split('\n').length, 2);
    exited(await cli(['tail', '--no-follow', '--user', 'nobody']), 3);
  });

  await t.test('a reader that goes away ends it quietly', async () => {
    const env = { TIDINGS_URL: tidings.url, TIDINGS_API_KEY: tidings.key };
    await using tail = new Command(['tail', '--json', '--interval', '100ms'], { env });
    await tail.wrote('a line', (out) => out.includes('\n'));
    tail.child.stdout?.destroy();
    await cli(['send', '--to', 'tail@example.com', 'x', '--wait', '30s']);
    const { code, err } = await tail.end();
    assert.equal(code, 141);
    assert.equal(err, '');
  });

  await t.test('tail outlives a restart of the service', async () => {
    const env = { TIDINGS_URL: tidings.url, TIDINGS_API_KEY: tidings.key };
    await using tail = new Command(
      ['tail', '--lines', '1', '--interval', '100ms', '--timeout', '1s'],
      { env },
    );
    await tail.wrote('the line from before', (out) => out.includes('\n'));
    await tidings.stop();
    await until('the remark', () => tail.err.includes('trying again'));
    await tidings.restart();
    const id = (await cli(['send', '--quiet', '--to', 'again@example.com', 'x'])).out.trim();
    await tail.wrote('the message after the restart', (out) => out.includes(id));
    await until('the second remark', () => tail.err.includes('connected again'));
    assert.match(tail.err, /cannot be reached[^\n]*; trying again\nconnected again\n/);
    tail.child.kill('SIGTERM');
    exited(await tail.end(), 0);
  });

  await t.test('a dead service: exit 1, in words', async () => {
    await tidings.stop();
    const { dataDir } = tidings;
    for (const args of [
      ['send', '--to', 'a@b.c', 'x'],
      ['status'],
      ['tail'],
      ['users', 'list'],
      ['export', '--out', join(dataDir, 'x')],
    ]) {
      const dead = await cli([...args, '--timeout', '300ms']);
      exited(dead, 1);
      assert.match(dead.err, /cannot be reached: the connection was refused/);
    }
  });

  await t.test('a service that does not answer: exit 6', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    try {
      exited(await cli(['users', 'list', '--timeout', '300ms', '--url', url]), 6);
    } finally {
      silent.closeAllConnections();
      silent.close();
    }
  });
});

/** Whole lines only: the last one may still be on its way. */
function linesOfWhole(out: string): MessageSummary[] {
  return linesOf<MessageSummary>(out.slice(0, out.lastIndexOf('\n') + 1));
}

const WELCOME = '{"email":{"subject":"Hi {{name}}","text":"Hello {{name}}"}}';

test('templates, users, keys, export and import', async (t) => {
  await using tidings = await startTidings();
  const cli = cliOf(tidings);
  using folder = openFolder();

  await t.test('templates: create, version, publish, preview, list, get', async () => {
    const created = await cli([
      'templates',
      'create',
      'welcome',
      '--content',
      WELCOME,
      '--example',
      'name=Ada',
      '--publish',
    ]);
    exited(created, 0);
    assert.match(created.out, /published +version 1/);
    exited(await cli(['templates', 'create', 'welcome', '--content', WELCOME]), 1);
    const file = folder.write(
      'v2.json',
      JSON.stringify({
        content: JSON.parse(WELCOME.replace('Hi', 'Hey')),
        example: { name: 'Ada' },
      }),
    );
    assert.match(
      (await cli(['templates', 'version', 'welcome', '--file', file])).out,
      /^version 2 \(draft\)\n$/,
    );
    const preview = await cli(['templates', 'preview', 'welcome@2', '--data', 'name=Bob']);
    exited(preview, 0);
    assert.match(preview.out, /subject: Hey Bob\n/);
    assert.match((await cli(['templates', 'publish', 'welcome@2'])).out, /version 2 is published/);
    assert.match(
      (await cli(['templates', 'list'])).out,
      /^KEY +NAME[^\n]*\nwelcome +welcome +2 +2/,
    );
    const list = jsonOf<{ items: Template[]; next: null }>(
      await cli(['templates', 'list', '--json']),
    );
    assert.deepEqual([list.items.map(({ key }) => key), list.next], [['welcome'], null]);
    assert.match(
      (await cli(['templates', 'get', 'welcome@1'])).out,
      /version +1 \(published\)[\s\S]+subject: Hi \{\{name\}\}/,
    );
    exited(await cli(['templates', 'get', 'nothing']), 3);
    exited(
      await cli([
        'send',
        '--to',
        'a@example.com',
        '--template',
        'welcome@1',
        '--data',
        'name=Ada',
        '--wait',
        '30s',
      ]),
      0,
    );
  });

  await t.test('a template that is refused names the place', async () => {
    const refused = await cli([
      'templates',
      'create',
      'bad',
      '--content',
      '{"email":{"subject":"{{ unclosed","text":"x"}}',
    ]);
    exited(refused, 1);
    assert.match(refused.err, /body\.content\.email\.subject: /);
    const preview = await cli(['templates', 'preview', 'welcome', '--data', 'other=1']);
    assert.match(preview.err, /the data lacks: name/);
  });

  await t.test('users: put, get, list, delete', async () => {
    const put = await cli([
      'users',
      'put',
      'u/1 ä',
      '--name',
      'Ada',
      '--email',
      'ada@example.com',
      '--address',
      'in_app:x',
      '--group',
      'staff',
      '--attribute',
      'plan:={"n":1}',
    ]);
    exited(put, 0);
    assert.match(put.err, /created/);
    const user = jsonOf<User>(await cli(['users', 'get', 'u/1 ä', '--json']));
    assert.deepEqual(
      user.addresses.map(({ channel, address }) => `${channel}:${address}`),
      ['email:ada@example.com', 'in_app:x'],
    );
    assert.deepEqual([user.groups, user.attributes], [['staff'], { plan: { n: 1 } }]);
    const copied = await cli(['users', 'put', 'copy', '--file', '-'], {
      stdin: JSON.stringify({ name: user.name, groups: user.groups }),
    });
    exited(copied, 0);
    assert.match((await cli(['users', 'list', '--group', 'staff'])).out, /copy[^\n]+\nu\/1 ä +Ada/);
    exited(await cli(['users', 'list', '--group', 'ghosts']), 3);
    exited(await cli(['users', 'delete', 'copy']), 2);
    exited(await cli(['users', 'delete', 'copy', '--yes']), 0);
    exited(await cli(['users', 'delete', 'copy', '--yes']), 3);
    exited(await cli(['users', 'get', 'copy']), 3);
  });

  await t.test('users: a table is imported, exported and imported again', async () => {
    const rows = Array.from(
      { length: 450 },
      (_, i) => `m${String(i).padStart(3, '0')},=Name ${i},m${i}@example.com,g${i % 3} all`,
    );
    const table = folder.write(
      'users.csv',
      `id,name,email,groups\r\n${rows.join('\r\n')}\r\nbad,Bad,not an address,\r\n`,
    );
    const imported = await cli(['users', 'import', table]);
    exited(imported, 5);
    assert.match(imported.err, /users\.csv:452: .+addresses.+\n450 users imported, 1 refused/);
    const page = jsonOf<{ items: User[]; next: string | null }>(
      await cli(['users', 'list', '--group', 'all', '--limit', '201', '--json']),
    );
    assert.equal(page.items.length, 201);
    const rest = jsonOf<{ items: User[]; next: string | null }>(
      await cli([
        'users',
        'list',
        '--group',
        'all',
        '--limit',
        '1000',
        '--cursor',
        page.next as string,
        '--json',
      ]),
    );
    assert.deepEqual([rest.items.length, rest.next], [249, null]);
    const all = jsonOf<{ items: User[] }>(
      await cli(['users', 'list', '--group', 'all', '--all', '--json']),
    );
    assert.equal(new Set(all.items.map(({ id }) => id)).size, 450);

    const exported = folder.path('exported.csv');
    exited(await cli(['users', 'export', '--out', exported]), 0);
    assert.equal(statSync(exported).mode & 0o777, 0o600);
    const before = (await cli(['users', 'export'])).out;
    exited(await cli(['users', 'import', exported]), 0);
    const comparable = (text: string): object[] =>
      linesOf<User>(text).map(({ createdAt, updatedAt, ...user }) => user);
    assert.deepEqual(comparable((await cli(['users', 'export'])).out), comparable(before));
    exited(await cli(['users', 'import', '-', '--format', 'ndjson'], { stdin: before }), 0);
  });

  await t.test('keys: create, use, list, revoke', async () => {
    const key = jsonOf<CreatedApiKey>(
      await cli([
        'keys',
        'create',
        '--name',
        'ci',
        '--scopes',
        'send',
        '--kind',
        'test',
        '--expires-at',
        '+1h',
        '--json',
      ]),
    );
    const secretOnly = await cli(['keys', 'create', '--quiet']);
    assert.match(secretOnly.out, /^\S{20,}\n$/);
    const keyFile = folder.write('key', `${key.secret}\n`);
    const own = (args: string[]) => run([...args, '--url', tidings.url, '--api-key-file', keyFile]);
    const sent = jsonOf<Notification>(
      await own(['send', '--to', 'a@example.com', 'x', '--wait', '30s', '--json']),
    );
    assert.equal(sent.test, true);
    const forbidden = await own(['users', 'list']);
    exited(forbidden, 4);
    assert.match(forbidden.err, /scope "read"/);
    const { items } = jsonOf<{ items: ApiKey[] }>(await cli(['keys', 'list', '--json']));
    assert.ok(items.some(({ id, name }) => id === key.id && name === 'ci'));
    assert.ok(!JSON.stringify(items).includes(key.secret));
    exited(await cli(['keys', 'revoke', key.id]), 2);
    exited(await cli(['keys', 'revoke', key.id, '--yes']), 0);
    exited(await cli(['keys', 'revoke', 'key_00000000001', '--yes']), 3);
    await until(
      'the end of the key',
      async () => (await own(['send', '--to', 'a@example.com', 'x'])).code === 4,
    );
    assert.match(
      (await cli(['keys', 'list'])).out,
      new RegExp(`${key.id} +ci +test +send .+revoked`),
    );
  });

  const backup = folder.path('backup');
  await t.test('export: interrupted by the network, it goes on where it stopped', async () => {
    await tidings.call('/v1/categories/news', {
      method: 'PUT',
      body: { name: 'News', mandatory: false },
    });
    const endpoint = { url: 'https://hooks.example.com/a', description: 'first' };
    await tidings.call('/v1/webhook-endpoints', { body: endpoint });
    const stdin = Array.from({ length: 450 }, (_, i) => `{"email":"x${i}@example.com"}`).join('\n');
    exited(await cli(['send', '--recipients', '-', 'x', '--quiet'], { stdin }), 0);

    await using proxy = await startProxy(tidings.url);
    let pages = 0;
    proxy.rule = ({ url = '' }) =>
      url.startsWith('/v1/notifications?') && ++pages > 2 ? 'before' : 'pass';
    const through = { env: { TIDINGS_URL: proxy.url } };
    const cut = await cli(['export', '--out', backup, '--timeout', '2s'], through);
    exited(cut, 1);
    const manifest = () => JSON.parse(readFileSync(join(backup, 'manifest.json'), 'utf8'));
    assert.equal(manifest().parts.messages.records, 400);
    assert.equal(manifest().completedAt, null);
    exited(await cli(['import', '--in', backup]), 1);
    // What a kill in the middle of a write would leave.
    writeFileSync(join(backup, 'messages.ndjson'), '{"half":'.padEnd(500_000, 'x'), { flag: 'a' });

    exited(await cli(['export', '--out', backup], { env: { TIDINGS_URL: tidings.url } }), 2);
    exited(await cli(['export', '--out', backup, '--only', 'users'], through), 2);
    proxy.rule = () => 'pass';
    const whole = await cli(['export', '--out', backup], through);
    exited(whole, 0);
    assert.match(whole.err, /going on with the export of/);
    const messages = linesOf<MessageSummary>(readFileSync(join(backup, 'messages.ndjson'), 'utf8'));
    const { accepted } = await tidings.ledger();
    assert.equal(new Set(messages.map(({ id }) => id)).size, accepted);
    assert.equal(messages.length, accepted);
    assert.equal(manifest().parts.messages.records, accepted);
    assert.ok(!readFileSync(join(backup, 'webhook-endpoints.ndjson'), 'utf8').includes('whsec_'));
    assert.equal(statSync(join(backup, 'users.ndjson')).mode & 0o777, 0o600);
    exited(await cli(['export', '--out', backup], through), 2);
    exited(await cli(['export', '--out', folder.path('.')], through), 2);
  });

  await t.test('import: into another service, and again without any change', async () => {
    await using other = await startTidings();
    const there = cliOf(other);
    const first = await there(['import', '--in', backup]);
    exited(first, 0);
    assert.match(first.out, /^whe_\w+ {2}https:\/\/hooks\.example\.com\/a {2}whsec_\S+$/m);
    assert.match(first.out, /users +451 +451 +0/);
    const stateOf = async (cliThere: Cli) => ({
      users: linesOf<User>((await cliThere(['users', 'export'])).out).map(
        ({ createdAt, updatedAt, ...user }) => user,
      ),
      templates: linesOf<{
        template: Template;
        versions: { version: number; content: unknown; status: string }[];
      }>((await cliThere(['templates', 'export'])).out).map(
        ({ template: { key, publishedVersion, latestVersion, name }, versions }) => ({
          key,
          publishedVersion,
          latestVersion,
          name,
          versions: versions.map(({ version, content, status }) => ({ version, content, status })),
        }),
      ),
    });
    const state = await stateOf(there);
    assert.deepEqual(state, await stateOf(cli));
    const again = await there(['import', '--in', backup, '--json']);
    assert.deepEqual(
      jsonOf<{ parts: { name: string; refused: number }[] }>(again).parts.map(
        ({ name, refused }) => [name, refused],
      ),
      [
        ['categories', 0],
        ['templates', 0],
        ['users', 0],
        ['webhook-endpoints', 0],
      ],
    );
    assert.deepEqual(await stateOf(there), state);
    const endpoints = (await other.call('/v1/webhook-endpoints')).json<{
      items: { url: string; description: string }[];
    }>();
    assert.deepEqual(
      endpoints.items.map(({ url, description }) => [url, description]),
      [['https://hooks.example.com/a', 'first']],
    );
    const categories = (await other.call('/v1/categories')).json<{ items: unknown[] }>();
    assert.deepEqual(categories.items, [{ key: 'news', name: 'News', mandatory: false }]);
  });

  await t.test('templates go from file to service, and an older text is never live', async () => {
    const file = folder.path('templates.ndjson');
    exited(await cli(['templates', 'export', '--out', file]), 0);
    const unchanged = await cli(['templates', 'import', file]);
    exited(unchanged, 0);
    assert.match(unchanged.err, /0 created, 0 changed, 1 unchanged/);
    exited(
      await cli([
        'templates',
        'version',
        'welcome',
        '--content',
        WELCOME.replace('Hi', 'Newest'),
        '--publish',
      ]),
      0,
    );
    const back = await cli(['templates', 'import', '-'], { stdin: readFileSync(file, 'utf8') });
    assert.match(back.err, /0 created, 1 changed/);
    const template = jsonOf<Template>(await cli(['templates', 'get', 'welcome', '--json']));
    assert.deepEqual([template.publishedVersion, template.latestVersion], [2, 3]);
    const wrong = await cli(['templates', 'import', '-'], { stdin: '{"no":"template"}\n' });
    exited(wrong, 1);
    assert.match(wrong.err, /standard input:1: is not a template/);
  });

  await t.test('a damaged or missing export is not brought in', async () => {
    exited(await cli(['import', '--in', folder.path('nowhere')]), 3);
    const users = join(backup, 'users.ndjson');
    truncateSync(users, statSync(users).size - 10);
    const damaged = await cli(['import', '--in', backup]);
    exited(damaged, 1);
    assert.match(damaged.err, /users\.ndjson is not the file that was exported/);
  });
});

test('doctor and migrate', async (t) => {
  await using tidings = await startTidings();
  const { dataDir } = tidings;
  const cli = cliOf(tidings);
  const doctor = (...args: string[]) => cli(['doctor', '--data-dir', dataDir, ...args]);
  exited(await cli(['send', '--to', 'a@example.com', 'x', '--wait', '30s']), 0);

  interface Report {
    ok: boolean;
    checks: { name: string; status: string; message: string; advice?: string }[];
    ledger?: Record<string, number>;
  }
  /** The check of that name; what else is wrong is not this test's business. */
  const checkOf = async (name: string, ...args: string[]) => {
    const { out } = await doctor('--json', ...args);
    const report = JSON.parse(out) as Report;
    return report.checks.find((check) => check.name === name);
  };

  await t.test('beside a running service all is in order', async () => {
    const healthy = await doctor('--ledger');
    exited(healthy, 0);
    for (const line of [
      /ok +Node: 26\./,
      /ok +configuration: /,
      /ok +master key: .+mode 600/,
      /ok +lock: a running server/,
      /ok +messages\.db: .+whole/,
      /ok +records\.db: .+whole/,
      /ok +projection\.db: .+whole/,
      /ok +migrations: all/,
      /ok +service: .+ is ready/,
      /ok +clock: /,
      /ok +API key: live key of default/,
      /ok +ledger: 1 accepted = 1 delivered/,
    ]) {
      assert.match(healthy.out, line);
    }
    assert.match(
      healthy.out,
      /\naccepted +1\ndelivered +1\nfailed +0\nexpired +0\nsuppressed +0\ncancelled +0\npending +0\n/,
    );
    const report = jsonOf<Report>(await doctor('--ledger', '--json'));
    assert.equal(report.ok, true);
    assert.equal(report.ledger?.['accepted'], 1);
  });

  await t.test('the ledger comes from the files without a key', async () => {
    const files = await run(['doctor', '--data-dir', dataDir, '--url', tidings.url, '--ledger']);
    exited(files, 0);
    assert.ok(
      files.out.includes(
        `1 accepted = 1 delivered + 0 failed + 0 expired + 0 suppressed + 0 cancelled + 0 pending (${dataDir})`,
      ),
    );
  });

  await t.test('what is wrong fails with what to do', async () => {
    const wrongKey = await cli(['doctor', '--data-dir', dataDir], {
      env: { TIDINGS_API_KEY: 'wrong-key-0123456789' },
    });
    exited(wrongKey, 1);
    assert.match(wrongKey.out, /fail +API key: .+\n +→ /);
    assert.doesNotMatch(wrongKey.out, /wrong-key/);
    const setting = await cli(['doctor', '--data-dir', dataDir], { env: { TIDINGS_PORT: 'x' } });
    exited(setting, 1);
    assert.match(setting.out, /fail +configuration: TIDINGS_PORT must be a number/);
    const provider = await cli(['doctor', '--data-dir', dataDir], {
      env: { TIDINGS_EMIAL_HOST: 'x' },
    });
    assert.match(provider.out, /fail +configuration: TIDINGS_EMIAL_HOST is not a setting/);
    chmodSync(join(dataDir, 'master.key'), 0o644);
    const readable = await doctor();
    exited(readable, 1);
    assert.match(
      readable.out,
      /fail +master key: .+can be read by others \(mode 644\)\n +→ chmod 600 /,
    );
    chmodSync(join(dataDir, 'master.key'), 0o600);
  });

  await t.test('migrate leaves a running service alone', async () => {
    const refused = await cli(['migrate', '--data-dir', dataDir]);
    exited(refused, 1);
    assert.match(refused.err, /is in use by another process of Tidings/);
    const pending = await cli(['migrate', '--dry-run'], { env: { TIDINGS_DATA_DIR: dataDir } });
    exited(pending, 0);
    assert.match(pending.err, /Everything is applied already/);
  });

  await t.test('with the service stopped', async () => {
    await tidings.stop();
    const named = await checkOf('service');
    assert.equal(named?.status, 'fail');
    assert.match(named?.message ?? '', /connection was refused/);
    assert.equal((await checkOf('lock'))?.message, 'no server holds the data folder');
    const env = { TIDINGS_DATA_DIR: dataDir, TIDINGS_PORT: String(tidings.port) };
    const stopped = await run(['doctor', '--ledger'], { env });
    exited(stopped, 0);
    assert.match(stopped.out, /warn +service: /);
    exited(await cli(['migrate', '--data-dir', dataDir]), 0);
  });

  await t.test('migrate lists what it does, and changes nothing with --dry-run', async () => {
    const projection = join(dataDir, 'projection.db');
    for (const name of ['', '-wal', '-shm']) rmSync(projection + name, { force: true });
    assert.equal((await checkOf('projection.db'))?.status, 'warn');
    const pending = await cli(['migrate', '--data-dir', dataDir, '--dry-run', '--json']);
    const { projection: names } = jsonOf<{ pending: Record<string, string[]> }>(pending).pending;
    assert.ok(names?.includes('001-projection.sql'));
    assert.equal(existsSync(projection), false);
    const applied = await cli(['migrate', '--data-dir', dataDir]);
    exited(applied, 0);
    assert.match(applied.out, /^projection\.db {2}001-projection\.sql$/m);
    assert.equal((await checkOf('migrations'))?.status, 'ok');
  });

  await t.test('migrate makes nothing where nothing is', async () => {
    const empty = join(dataDir, 'empty');
    exited(await cli(['migrate', '--data-dir', empty]), 3);
    assert.equal(existsSync(empty), false);
    exited(await cli(['migrate'], { env: { TIDINGS_PORT: 'x' } }), 2);
  });

  await t.test('data of a newer version is left alone', async () => {
    edit(join(dataDir, 'records.db'), "INSERT INTO migration VALUES ('999-later.sql', 'x', 0)");
    const newer = await cli(['migrate', '--data-dir', dataDir]);
    exited(newer, 1);
    assert.match(newer.err, /written by a newer version of Tidings\n.+999-later\.sql/);
    assert.equal((await checkOf('migrations'))?.status, 'fail');
    edit(join(dataDir, 'records.db'), "DELETE FROM migration WHERE name = '999-later.sql'");
  });

  await t.test('books that do not add up fail', async () => {
    edit(join(dataDir, 'messages.db'), 'DELETE FROM message');
    const unbalanced = await run(['doctor', '--ledger'], {
      env: { TIDINGS_DATA_DIR: dataDir, TIDINGS_PORT: String(tidings.port) },
    });
    exited(unbalanced, 1);
    assert.match(unbalanced.out, /fail +ledger: 1 accepted ≠ 0 delivered/);
  });

  await t.test('a lost key and a broken file fail', async () => {
    rmSync(join(dataDir, 'master.key'));
    assert.match(
      (await checkOf('master key'))?.message ?? '',
      /is gone, but secrets were sealed with it/,
    );
    writeFileSync(
      join(dataDir, 'messages.db'),
      'this is no database, and was never one '.repeat(500),
    );
    const broken = await checkOf('messages.db');
    assert.equal(broken?.status, 'fail');
    assert.match(broken?.message ?? '', /not a database/);
    assert.equal((await checkOf('ledger', '--ledger'))?.status, 'fail');
    const migration = await cli(['migrate', '--data-dir', dataDir]);
    exited(migration, 1);
    assert.match(migration.err, /messages\.db: .*not a database/);
  });
});

function edit(path: string, sql: string): void {
  const database = new DatabaseSync(path);
  database.exec(sql);
  database.close();
}
