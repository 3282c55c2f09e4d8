/**
 * Starting and stopping as an operator sees it: what is greeted, what is refused and in which words,
 * what is left on the disk and who can read it.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import type { Session, Whoami } from '@tidings/contracts/application';
import type { Notification } from '@tidings/contracts/notification';
import type { HttpCall } from '../support/http-client.ts';
import { startHttpReceiver } from '../support/http-receiver.ts';
import { assertProblem } from '../support/problem.ts';
import { refusedStart, scratch, WITHOUT_PRIVILEGES } from '../support/refused-start.ts';
import {
  freePort,
  PATIENT,
  type StartOptions,
  startAndEnd,
  startTidings,
  type Tidings,
} from '../support/start.ts';
import { until } from '../support/within.ts';

/** Without a key in the environment, as a person starts it. */
const BY_HAND: StartOptions = { env: PATIENT, prefix: ['env', '-u', 'TIDINGS_BOOTSTRAP_KEY'] };
const HELLO = { to: { email: 'ada@example.com' }, content: { title: 'Hello', text: 'It works.' } };

interface Greeting {
  url: string;
  link: URL;
  key: string | undefined;
}

/** What the latest start printed. */
function greetingOf({ stdout }: Tidings): Greeting {
  const from = stdout.findLastIndex((line) => line.startsWith('Tidings is ready at '));
  const lines = stdout.slice(from);
  const url = /^Tidings is ready at (\S+)/.exec(lines[0] as string)?.[1] as string;
  const link = lines.map((line) => /^ {2}Admin link\s+(\S+)/.exec(line)?.[1]).find(Boolean);
  const key = lines.map((line) => /^ {2}API key\s+(tdk_\S+)/.exec(line)?.[1]).find(Boolean);
  return { url, link: new URL(link as string), key };
}

function bearer(key: string | undefined): { authorization: string } {
  return { authorization: `Bearer ${key}` };
}

/** Every file below a folder with its bytes. */
function filesIn(folder: string): { path: string; mode: number; bytes: Buffer }[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return { path, mode: statSync(path).mode & 0o777, bytes: readFileSync(path) };
    });
}

/** Ports on which a process listens. */
function listeningPorts(pid: number): number[] {
  const inodes = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
      } catch {
        return []; // Closed meanwhile.
      }
    }),
  );
  const listening = '0A';
  return readFileSync(`/proc/${pid}/net/tcp`, 'utf8')
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((field) => field[3] === listening && inodes.has(field[9] as string))
    .map((field) => Number.parseInt((field[1] as string).split(':')[1] as string, 16));
}

describe('the first start', () => {
  it('greets with everything a person needs, each part of which works', async () => {
    await using tidings = await startTidings(BY_HAND);
    const { url, link, key } = greetingOf(tidings);
    assert.equal(url, tidings.url);
    assert.match(key ?? '', /^tdk_live_[\w-]{43}$/);
    const me = (await tidings.call('/v1/whoami', { headers: bearer(key) })).json<Whoami>();
    assert.deepEqual([me.application, me.scopes], ['default', ['send', 'read', 'manage', 'admin']]);
    assert.equal((await tidings.call('/docs')).status < 400, true);

    // The curl line as it is printed, without the shell.
    const text = tidings.stdout.join('\n');
    const [, target = ''] = /curl -sS '([^']+)'/.exec(text) ?? [];
    const [, printedKey = ''] = /-H "Authorization: Bearer ([^"]+)"/.exec(text) ?? [];
    const [, body = ''] = /-d '([^']+)'/.exec(text) ?? [];
    const { pathname, search, origin } = new URL(target);
    assert.deepEqual([origin, printedKey], [url, key]);
    const answer = await tidings.call(pathname + search, {
      headers: bearer(printedKey),
      body: JSON.parse(body),
    });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json<Notification>().messages[0]?.status, 'delivered');

    // A fragment is not sent to servers, so it stands in no log of a proxy.
    assert.deepEqual([link.origin, link.pathname, link.search], [url, '/console', '']);
    const token = new URLSearchParams(link.hash.slice(1)).get('token');
    const exchange = () =>
      tidings.call('/v1/sessions', { body: { token }, headers: bearer('none') });
    const first = await exchange();
    assert.equal(first.status, 201, first.text);
    const session = first.json<Session>();
    assert.ok(Date.parse(session.expiresAt) > Date.now());
    assert.equal(
      (await tidings.call('/v1/applications', { headers: bearer(session.key) })).status,
      200,
    );
    assertProblem(await exchange(), 401, 'it works once');
    assert.equal((await tidings.call('/v1/whoami', { headers: bearer(session.key) })).status, 200);
    assert.equal(tidings.stderr, '');
  });

  it('shows its key once, and never again', async () => {
    await using tidings = await startTidings(BY_HAND);
    const { key, link } = greetingOf(tidings);
    assert.equal((await tidings.stop()).code, 0);
    await tidings.restart(BY_HAND);
    const again = greetingOf(tidings);
    assert.equal(again.key, undefined);
    const printed = tidings.stdout.filter((line) => line.includes(key as string));
    assert.equal(printed.length, 2, 'by the first start: the key and the curl line');
    assert.equal((await tidings.call('/v1/whoami', { headers: bearer(key) })).status, 200);
    assert.notEqual(again.link.hash, link.hash);
    assert.equal((await tidings.call('/v1/whoami')).status, 401, 'a key that nobody configured');
  });

  it('takes the key it is given, and prints it nowhere', async () => {
    const key = `operator-${randomBytes(12).toString('hex')}`;
    await using tidings = await startTidings({ env: { ...PATIENT, TIDINGS_BOOTSTRAP_KEY: key } });
    assert.equal((await tidings.call('/v1/whoami', { headers: bearer(key) })).status, 200);
    const next = `operator-${randomBytes(12).toString('hex')}`;
    await tidings.stop();
    await tidings.restart({ env: { ...PATIENT, TIDINGS_BOOTSTRAP_KEY: next } });
    assert.equal((await tidings.call('/v1/whoami', { headers: bearer(next) })).status, 200);
    assertProblem(
      await tidings.call('/v1/whoami', { headers: bearer(key) }),
      401,
      'the one before',
    );
    for (const text of [tidings.stdout.join('\n'), tidings.stderr]) {
      assert.ok(!text.includes(key) && !text.includes(next));
    }
  });

  it('takes a free port when it is asked to, and one only', async () => {
    for (const threads of ['1', '2']) {
      await using tidings = await startTidings({
        env: { ...PATIENT, TIDINGS_PORT: '0', TIDINGS_HTTP_THREADS: threads },
      });
      const port = Number(new URL(greetingOf(tidings).url).port);
      assert.ok(port > 0);
      const answer = await fetch(`http://127.0.0.1:${port}/health/ready`);
      assert.equal(answer.status, 200);
      assert.deepEqual([...new Set(listeningPorts(tidings.pid))], [port], `${threads} threads`);
    }
  });

  it('takes settings from flags, a file and the environment, in this order', async () => {
    using folder = scratch();
    const file = join(folder.path, 'tidings.json');
    writeFileSync(
      file,
      JSON.stringify({ publicUrl: 'https://tidings.example', idempotency: { required: true } }),
    );
    await using tidings = await startTidings({ env: { ...PATIENT, TIDINGS_CONFIG: file } });
    const { url, link } = greetingOf(tidings);
    assert.deepEqual([url, link.origin], ['https://tidings.example', 'https://tidings.example']);
    assertProblem(await tidings.call('/v1/notifications', { body: HELLO }), 400);
    await tidings.stop();
    await tidings.restart({
      env: { ...PATIENT, TIDINGS_CONFIG: file, TIDINGS_IDEMPOTENCY_REQUIRED: 'false' },
    });
    assert.equal((await tidings.call('/v1/notifications', { body: HELLO })).status, 202);
  });
});

it('answers load balancers that ask with HEAD', async () => {
  await using tidings = await startTidings({ env: PATIENT });
  for (const path of ['/health/live', '/health/ready']) {
    const { status, text } = await tidings.call(path, { method: 'HEAD' });
    assert.deepEqual([status, text], [200, '']);
  }
});

function change(path: string, sql: string): void {
  const database = new DatabaseSync(path);
  database.exec(sql);
  database.close();
}

/** From a place in a file to its end. */
function overwrite(path: string, from: number): void {
  const bytes = readFileSync(path);
  bytes.fill(0x5a, from);
  writeFileSync(path, bytes);
  for (const suffix of ['-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
}

describe('a start that cannot be', () => {
  const settings: [string, Record<string, string>, string][] = [
    ['no number', { TIDINGS_PORT: 'abc' }, 'TIDINGS_PORT'],
    ['too large', { TIDINGS_PORT: '70000' }, 'TIDINGS_PORT'],
    ['empty', { TIDINGS_ACCOUNTS: ' ' }, 'TIDINGS_ACCOUNTS'],
    ['too small', { TIDINGS_DELIVERY_CONCURRENCY: '1' }, 'TIDINGS_DELIVERY_CONCURRENCY'],
    [
      'neither true nor false',
      { TIDINGS_IDEMPOTENCY_REQUIRED: 'maybe' },
      'TIDINGS_IDEMPOTENCY_REQUIRED',
    ],
    ['none of the list', { TIDINGS_LOG_LEVEL: 'loud' }, 'TIDINGS_LOG_LEVEL'],
    [
      'a list with something else',
      { TIDINGS_DELIVERY_RETRY_DELAYS_MS: '1,x' },
      'TIDINGS_DELIVERY_RETRY_DELAYS_MS',
    ],
    ['no key', { TIDINGS_MASTER_KEY: 'abc' }, 'TIDINGS_MASTER_KEY'],
    ['too short a key', { TIDINGS_BOOTSTRAP_KEY: 'short' }, 'TIDINGS_BOOTSTRAP_KEY'],
    ['another scheme', { TIDINGS_PUBLIC_URL: 'ftp://x' }, 'TIDINGS_PUBLIC_URL'],
    ['no such file', { TIDINGS_CONFIG: '/nowhere/tidings.json' }, '/nowhere/tidings.json'],
    ['no JSON', { TIDINGS_ACCOUNTS: '{' }, 'TIDINGS_ACCOUNTS'],
    ['an account without provider', { TIDINGS_ACCOUNTS: '[{"channel":"email"}]' }, 'accounts'],
  ];
  for (const [name, env, key] of settings) {
    it(`names the setting: ${name}`, () => refusedStart({ env }, key));
  }

  const accounts: [string, Record<string, string>, string][] = [
    ['a setting that nobody knows', { TIDINGS_PROT: '8080' }, 'TIDINGS_PROT'],
    [
      'a provider that is not there',
      { TIDINGS_ACCOUNTS: '[{"channel":"email","provider":"none"}]' },
      'email/none',
    ],
    ['a provider without what it needs', { TIDINGS_EMAIL_SMTP_PORT: '25' }, 'host'],
    [
      'an address that is none',
      { TIDINGS_EMAIL_SMTP_HOST: 'mail.example', TIDINGS_EMAIL_SMTP_FROM_ADDRESS: 'no address' },
      'from.address',
    ],
    [
      'a network that is none',
      { TIDINGS_WEBHOOK_HTTP_ALLOWED_NETWORKS: 'intranet' },
      'allowedNetworks',
    ],
    ['a proxy that is none', { TIDINGS_HTTP_TRUSTED_PROXIES: 'somewhere' }, 'TRUSTED_PROXIES'],
    ['a plug-in folder that is not there', { TIDINGS_PLUGINS: '/nowhere' }, '/nowhere'],
    [
      'a secret that is not there',
      {
        TIDINGS_ACCOUNTS:
          '[{"channel":"email","provider":"smtp","config":{"host":"a","from":{"address":"a@b.io"},"username":"a","password":{"env":"NO_SUCH"}}}]',
      },
      'NO_SUCH',
    ],
  ];
  for (const [name, env, key] of accounts) {
    it(`names the account's setting: ${name}`, () => refusedStart({ env }, key));
  }

  it('names an address that it cannot have', async () => {
    await using other = await startTidings({ env: PATIENT });
    const port = String(other.port);
    await refusedStart({ port: other.port }, port, /in use/i);
    await refusedStart({ env: { TIDINGS_HOST: '192.0.2.1' } }, '192.0.2.1');
    await refusedStart({ env: { TIDINGS_HOST: 'host.invalid' } }, 'host.invalid');
    assert.equal((await other.call('/health/ready')).status, 200);
  });

  it('takes no port from another instance, with as many threads as it likes', async () => {
    const env = { ...PATIENT, TIDINGS_HTTP_THREADS: '2' };
    await using other = await startTidings({ env });
    await refusedStart({ env, port: other.port }, String(other.port), /in use/i);
    assert.equal((await other.call('/health/ready')).status, 200);
  });

  it('does not share a data folder', async () => {
    await using first = await startTidings({ env: PATIENT });
    await first.call('/v1/notifications', { body: HELLO });
    await refusedStart(
      { dataDir: first.dataDir, port: await freePort() },
      first.dataDir,
      /in use/,
      'TIDINGS_DATA_DIR',
    );
    assert.equal((await first.call('/v1/notifications', { body: HELLO })).status, 202);
    assert.equal((await first.stop()).code, 0);
    await first.restart();
    assert.equal((await first.ledger()).accepted, 2);
  });

  it('names a data folder that it cannot write', async () => {
    using folder = scratch();
    const at = (name: string) => join(folder.path, name);
    writeFileSync(at('file'), 'x');
    await refusedStart({ dataDir: at('file') }, 'dataDir', 'TIDINGS_DATA_DIR');
    await refusedStart({ dataDir: join(at('file'), 'data') }, 'dataDir', 'TIDINGS_DATA_DIR');
    mkdirSync(at('read-only'));
    chmodSync(at('read-only'), 0o555);
    await refusedStart(
      { dataDir: at('read-only'), prefix: WITHOUT_PRIVILEGES },
      'dataDir',
      at('read-only'),
      'TIDINGS_DATA_DIR',
    );
    await refusedStart(
      { dataDir: join(at('read-only'), 'data'), prefix: WITHOUT_PRIVILEGES },
      'dataDir',
      'TIDINGS_DATA_DIR',
    );
  });

  it('names a file that is damaged, unless it can be made anew', async () => {
    await using tidings = await startTidings({ env: PATIENT });
    const { id } = (await tidings.call('/v1/notifications', { body: HELLO })).json<{
      id: string;
    }>();
    await tidings.stop();
    const at = (name: string) => join(tidings.dataDir, name);
    const whole = readFileSync(at('records.db'));
    writeFileSync(at('records.db'), 'no database at all'.repeat(1000));
    await refusedStart({ dataDir: tidings.dataDir }, at('records.db'));
    writeFileSync(at('records.db'), whole);
    writeFileSync(at('projection.db'), 'no database at all'.repeat(1000));
    mkdirSync(at('idempotency/0000000000000001.segment'), { recursive: true });
    await tidings.restart();
    const { items } = (await tidings.call('/v1/notifications')).json<{
      items: { notificationId: string }[];
    }>();
    assert.deepEqual(
      items.map(({ notificationId }) => notificationId),
      [id],
    );
  });

  it('makes the file of lists anew when a table or column is gone, a page is overwritten or a tracker met damage', async () => {
    await using tidings = await startTidings({ env: PATIENT });
    const { id } = (await tidings.call('/v1/notifications?wait=20s', { body: HELLO })).json<{
      id: string;
    }>();
    const path = join(tidings.dataDir, 'projection.db');
    const damage: (() => void)[] = [
      () => change(path, 'DROP TABLE message_index'),
      () => change(path, 'ALTER TABLE message_index DROP COLUMN reason'),
      () => overwrite(path, 3 * 4096),
      () => writeFileSync(`${path}.damaged-found`, ''),
    ];
    for (const happens of damage) {
      await tidings.stop();
      happens();
      await tidings.restart();
      const listed = await tidings.call('/v1/notifications');
      const { items } = listed.json<{ items: { notificationId: string }[] }>();
      assert.deepEqual(
        items.map(({ notificationId }) => notificationId),
        [id],
        String(happens),
      );
    }
  });

  it('goes on from a backup that was put back without what is made of it', async () => {
    await using tidings = await startTidings({ env: PATIENT });
    const send = async (key: string): Promise<string> => {
      const headers = { 'idempotency-key': key };
      const answer = await tidings.call('/v1/notifications?wait=20s', { body: HELLO, headers });
      return answer.json<{ id: string }>().id;
    };
    const kept = await send('before');
    assert.equal((await tidings.stop()).code, 0);
    const backup = ['messages.db', 'records.db'].map((name) => {
      const path = join(tidings.dataDir, name);
      return { path, bytes: readFileSync(path) };
    });
    await tidings.restart();
    const lost = await send('after');
    assert.equal((await tidings.stop()).code, 0);
    for (const { path, bytes } of backup) {
      for (const suffix of ['-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
      writeFileSync(path, bytes);
    }
    await tidings.restart();
    assert.equal((await tidings.call(`/v1/notifications/${lost}`)).status, 404);
    assert.equal(await send('before'), kept);
    const again = await send('after');
    const { items } = (await tidings.call('/v1/notifications')).json<{
      items: { notificationId: string; status: string }[];
    }>();
    assert.deepEqual(
      items.map(({ notificationId, status }) => [notificationId, status]),
      [
        [again, 'delivered'],
        [kept, 'delivered'],
      ],
    );
  });

  for (const [lost, other] of [
    ['records.db', 'messages.db'],
    ['messages.db', 'projection.db'],
  ] as const) {
    it(`does not begin anew beside what belonged to a lost ${lost}`, async () => {
      await using tidings = await startTidings({ env: PATIENT });
      const { dataDir } = tidings;
      await tidings.stop();
      const path = join(dataDir, lost);
      const whole = readFileSync(path);
      for (const lose of [() => rmSync(path), () => writeFileSync(path, '')]) {
        lose();
        await refusedStart({ dataDir }, path, other, /backup/);
      }
      writeFileSync(path, whole);
      await tidings.restart();
    });
  }

  it('gives no application the number of one that an older copy of the records does not know', async () => {
    await using tidings = await startTidings({ env: PATIENT });
    await tidings.stop();
    const older = readFileSync(join(tidings.dataDir, 'records.db'));
    await tidings.restart();
    const partyOf = async (key: string) => {
      await tidings.call('/v1/applications', { body: { key } });
      const made = await tidings.call('/v1/api-keys', {
        body: { application: key, scopes: ['send', 'read'] },
      });
      const headers = { authorization: `Bearer ${made.json<{ secret: string }>().secret}` };
      return (path: string, call: HttpCall = {}) => tidings.call(path, { ...call, headers });
    };
    const first = await partyOf('first');
    const sent = await first('/v1/notifications?wait=20s', { body: HELLO });
    const { id } = sent.json<{ id: string }>();
    await tidings.stop();
    for (const suffix of ['-wal', '-shm'])
      rmSync(join(tidings.dataDir, `records.db${suffix}`), { force: true });
    writeFileSync(join(tidings.dataDir, 'records.db'), older);
    await tidings.restart();
    const second = await partyOf('second');
    assert.equal((await second(`/v1/notifications/${id}`)).status, 404);
    const { items } = (await second('/v1/notifications')).json<{ items: object[] }>();
    assert.deepEqual(items, []);
  });

  it('does not go on with another master key', async () => {
    await using tidings = await startTidings({ env: PATIENT });
    await tidings.stop();
    const { dataDir } = tidings;
    const key = readFileSync(join(dataDir, 'master.key'));
    rmSync(join(dataDir, 'master.key'));
    await refusedStart({ dataDir }, 'masterKey', 'TIDINGS_MASTER_KEY');
    writeFileSync(join(dataDir, 'master.key'), 'rubbish\n');
    await refusedStart({ dataDir }, 'master.key');
    writeFileSync(join(dataDir, 'master.key'), key);
    await refusedStart(
      { dataDir, env: { TIDINGS_MASTER_KEY: 'a'.repeat(64) } },
      'masterKey',
      dataDir,
    );
    await tidings.restart();
    assert.equal((await tidings.call('/v1/whoami')).status, 200);
  });
});

describe('the data folder', () => {
  it('is for its owner alone, and holds no secret that could be read', async () => {
    await using receiver = await startHttpReceiver();
    await using tidings = await startTidings({
      ...BY_HAND,
      env: { ...PATIENT, TIDINGS_WEBHOOK_HTTP_ALLOWED_NETWORKS: '127.0.0.0/8' },
    });
    const { key, link } = greetingOf(tidings);
    const headers = bearer(key);
    const raw = randomBytes(32);
    const secret = `whsec_${raw.toString('base64')}`;
    const made = async (path: string, body: object): Promise<Record<string, string>> => {
      const answer = await tidings.call(path, { body, headers });
      assert.ok(answer.status < 300, answer.text);
      return answer.json<Record<string, string>>();
    };
    const endpoint = await made('/v1/webhook-endpoints', {
      url: `${receiver.origin}/hook`,
      secret,
    });
    const rotated = await made(`/v1/webhook-endpoints/${endpoint['id']}/rotate-secret`, {});
    const created = await made('/v1/api-keys', { name: 'in the database' });
    const { token } = await made('/v1/inbox/tokens', { userId: 'ada' });
    const session = await made('/v1/sessions', {
      token: new URLSearchParams(link.hash.slice(1)).get('token'),
    });
    // Everything is used, so that caches and logs have seen it.
    const to = { webhook: String(endpoint['id']) };
    const sent = await made('/v1/notifications?wait=20s', { to, content: HELLO.content });
    assert.equal((sent as unknown as Notification).messages[0]?.status, 'delivered');
    for (const used of [created['secret'], session['key']]) {
      assert.equal((await tidings.call('/v1/whoami', { headers: bearer(used) })).status, 200);
    }

    const secrets: [string, Buffer][] = [
      ['the first key', Buffer.from(key as string)],
      ['an API key', Buffer.from(String(created['secret']))],
      ['the key of a session', Buffer.from(String(session['key']))],
      [
        'the token of the admin link',
        Buffer.from(new URLSearchParams(link.hash.slice(1)).get('token') as string),
      ],
      ['the secret of an endpoint', Buffer.from(secret.slice(6))],
      ['the bytes of that secret', raw],
      ['a secret that was made', Buffer.from(String(rotated['secret']).slice(6))],
      ['the token of an inbox', Buffer.from(String(token))],
    ];
    const look = (when: string): void => {
      const files = filesIn(tidings.dataDir);
      assert.ok(files.length >= 5);
      for (const { path, bytes } of files) {
        for (const [name, bytesOfSecret] of secrets) {
          assert.ok(!bytes.includes(bytesOfSecret), `${name} stands in ${path} ${when}`);
        }
      }
      assert.equal(statSync(join(tidings.dataDir, 'master.key')).mode & 0o777, 0o600);
      // Messages and addresses are not sealed: nobody else may look into the folder.
      assert.equal(statSync(tidings.dataDir).mode & 0o077, 0, 'others may look into the folder');
    };
    look('while it runs');
    assert.equal((await tidings.stop()).code, 0);
    look('when it has stopped');
  });
});

describe('the end', () => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    it(`comes in good order after ${signal}, and loses nothing`, async () => {
      await using tidings = await startTidings({ env: PATIENT });
      const accepted = await Promise.all(
        Array.from({ length: 50 }, () => tidings.call('/v1/notifications', { body: HELLO })),
      );
      assert.ok(accepted.every(({ status }) => status === 202));
      assert.deepEqual(await tidings.stop(signal), { code: 0, signal: null });
      assert.equal(tidings.stderr, '');
      assert.ok(
        !tidings.stdout.some((line) => /"level":(50|60)/.test(line)),
        tidings.stdout.join('\n'),
      );
      await tidings.restart();
      const ledger = await until('all to be delivered', async () => {
        const now = await tidings.ledger();
        return now.pending === 0 ? now : undefined;
      });
      assert.deepEqual([ledger.accepted, ledger.delivered, ledger.balanced], [50, 50, true]);
    });
  }

  it('answers what is under way, and takes nothing new', async () => {
    await using receiver = await startHttpReceiver();
    let answer: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      answer = resolve;
    });
    receiver.answer({ status: 200, after: held });
    await using tidings = await startTidings({
      env: { ...PATIENT, TIDINGS_WEBHOOK_HTTP_ALLOWED_NETWORKS: '127.0.0.0/8' },
    });
    const sent = tidings.call('/v1/notifications', {
      body: { to: { webhook: `${receiver.origin}/hook` }, content: HELLO.content },
    });
    await receiver.until(({ holding }) => holding === 1);
    const { id } = (await sent).json<{ id: string }>();
    const stopped = tidings.stop();
    await until('nothing to be taken', async () => {
      const tried = await tidings.call('/v1/notifications', { body: HELLO }).catch(() => undefined);
      return tried === undefined || tried.status === 503;
    });
    answer();
    assert.equal((await stopped).code, 0);
    await tidings.restart();
    const found = (await tidings.call(`/v1/notifications/${id}`)).json<Notification>();
    assert.deepEqual([found.messages[0]?.status, found.messages[0]?.attempts], ['delivered', 1]);
    assert.equal(receiver.requests.length, 1, 'it is not sent again');
  });

  it('is in good order when the signal comes twice, from a launcher and to its group', async () => {
    await using tidings = await startTidings({ env: PATIENT });
    await tidings.call('/v1/notifications', { body: HELLO });
    process.kill(tidings.pid, 'SIGTERM');
    assert.deepEqual(await tidings.stop('SIGTERM'), { code: 0, signal: null });
  });

  it('comes when the data folder is taken away, before anything more is acknowledged', async () => {
    await using tidings = await startTidings({ env: PATIENT });
    assert.equal((await tidings.call('/v1/notifications', { body: HELLO })).status, 202);
    rmSync(tidings.dataDir, { recursive: true });
    // Refused, or cut off by the end: whichever comes first.
    const answer = await tidings.call('/v1/notifications', { body: HELLO }).catch(() => undefined);
    assert.ok(answer === undefined || answer.status === 503, `${answer?.text}`);
    assert.equal((await tidings.exited).code, 1);
    assert.ok(tidings.stdout.some((line) => line.includes('was removed or replaced')));
  });

  it('may come at any moment, and the next start goes on', async () => {
    await using tidings = await startTidings({ env: PATIENT });
    let accepted = 0;
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all(
        Array.from({ length: 30 }, () => tidings.call('/v1/notifications', { body: HELLO })),
      );
      accepted += answers.filter(({ status }) => status === 202).length;
      assert.equal((await tidings.kill()).signal, 'SIGKILL');
      await tidings.restart();
      assert.equal((await tidings.ledger()).accepted, accepted, `after kill ${round + 1}`);
    }
    const ledger = await until('all to be delivered', async () => {
      const now = await tidings.ledger();
      return now.pending === 0 ? now : undefined;
    });
    assert.deepEqual([ledger.delivered, ledger.balanced], [accepted, true]);
    assert.equal(tidings.stderr, '');
  });

  it('a start that is interrupted leaves nothing that a later one trips over', async () => {
    using folder = scratch();
    const dataDir = join(folder.path, 'data');
    // At the first files, at the first file of data, and when all are there.
    for (const file of ['master.key', 'messages.db', 'projection.db']) {
      rmSync(dataDir, { recursive: true, force: true });
      const script = `"$@" & p=$!; until [ -e "${dataDir}/${file}" ]; do kill -0 $p || exit 1; done; kill -9 $p; wait $p; exit 9`;
      const { code, output } = await startAndEnd({ dataDir, prefix: ['sh', '-c', script, 'sh'] });
      assert.equal(code, 9, `killed at ${file}: ${output}`);
      await using tidings = await startTidings({ dataDir, env: PATIENT });
      const answer = await tidings.call('/v1/notifications?wait=20s', { body: HELLO });
      assert.equal(answer.status, 200, `killed at ${file}: ${answer.text}`);
    }
  });
});
