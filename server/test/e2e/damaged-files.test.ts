/**
 * Files of the data folder that are damaged, odd or not to be written: what a start says of them, that it
 * leaves them as it found them, and what the service does when it meets the damage while it runs.
 */
import assert from 'node:assert/strict';
import { hash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  cpSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, it } from 'node:test';
import { assertProblem } from '../support/problem.ts';
import { refusedStart, scratch, WITHOUT_PRIVILEGES } from '../support/refused-start.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';
import { until } from '../support/within.ts';

const PAGE = 4096;
const HELLO = { to: { email: 'ada@example.com' }, content: { title: 'Hello', text: 'It works.' } };
/** More than a start looks through whole. */
const LARGE_BYTES = 17_000_000;

/** A data folder with some messages, as an orderly stop left it. */
const whole = scratch();
after(() => whole[Symbol.dispose]());

before(async () => {
  await using tidings = await startTidings({ dataDir: dataIn(whole.path), env: PATIENT });
  for (let round = 0; round < 4; round++) {
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        tidings.call('/v1/notifications', {
          body: HELLO,
          headers: { 'idempotency-key': `${round}-${i}` },
        }),
      ),
    );
    assert.ok(answers.every(({ status }) => status === 202));
  }
  await until('all to have ended', async () => (await tidings.ledger()).pending === 0);
  assert.equal((await tidings.stop()).code, 0);
});

function dataIn(folder: string): string {
  return join(folder, 'data');
}

/** A copy of the whole folder, for one test. */
function copied(): { dataDir: string; at: (name: string) => string } & Disposable {
  const folder = scratch();
  const dataDir = dataIn(folder.path);
  cpSync(dataIn(whole.path), dataDir, { recursive: true });
  return { ...folder, dataDir, at: (name) => join(dataDir, name) };
}

/** What a folder holds, without what holds nothing: the lock, and indexes of logs, which are made anew. */
function digestsOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/^lock\.db|-shm$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => `${path} ${hash('sha256', readFileSync(path))}`)
    .sort();
}

function overwrite(path: string, pages: readonly number[], byte = 0x5a): void {
  const file = openSync(path, 'r+');
  for (const page of pages) writeSync(file, Buffer.alloc(PAGE, byte), 0, PAGE, (page - 1) * PAGE);
  closeSync(file);
}

function overwriteBytes(path: string, from: number, to: number): void {
  const bytes = readFileSync(path);
  writeFileSync(path, bytes.fill(0x5a, from, Math.min(to, bytes.length)));
}

/** Numbers of the pages of a table or index: its leaves, or its root. */
function pagesOf(path: string, name: string, kind: 'leaf' | 'root'): number[] {
  const database = new DatabaseSync(path);
  try {
    const which = kind === 'leaf' ? "pagetype = 'leaf'" : "path = '/'";
    return database
      .prepare(`SELECT pageno FROM dbstat WHERE name = ? AND ${which} ORDER BY path`)
      .all(name)
      .map(({ pageno }) => pageno as number);
  } finally {
    database.close();
  }
}

function change(path: string, sql: string): void {
  const database = new DatabaseSync(path);
  database.exec(sql);
  database.close();
}

const DAMAGED = /damaged/;
const NO_DATABASE = /no database/;

const damage: [string, (path: string) => void, RegExp][] = [
  ['cut off in the middle', (path) => truncateSync(path, statSync(path).size / 2), DAMAGED],
  ['cut off within a page', (path) => truncateSync(path, statSync(path).size - 1000), DAMAGED],
  ['cut off within its header', (path) => truncateSync(path, 10), NO_DATABASE],
  ['without its last page', (path) => truncateSync(path, statSync(path).size - PAGE), DAMAGED],
  ['empty', (path) => truncateSync(path, 0), /gone or empty/],
  ['a text', (path) => writeFileSync(path, 'no database at all\n'.repeat(1000)), NO_DATABASE],
  ['encrypted', (path) => writeFileSync(path, randomBytes(64 * 1024)), NO_DATABASE],
  ['with a damaged header', (path) => overwriteBytes(path, 0, 100), NO_DATABASE],
  ['with a damaged page of the schema', (path) => overwriteBytes(path, 100, PAGE), DAMAGED],
  ['with a damaged root', (path) => overwrite(path, [4]), DAMAGED],
  [
    'with a damaged page in the middle',
    (path) => overwrite(path, [Math.floor(statSync(path).size / PAGE / 2)]),
    DAMAGED,
  ],
  [
    'overwritten from its fourth page on',
    (path) => overwriteBytes(path, 3 * PAGE, Number.POSITIVE_INFINITY),
    DAMAGED,
  ],
  [
    'of another program',
    (path) => {
      rmSync(path);
      change(path, 'CREATE TABLE theirs (a INTEGER)');
    },
    /another program/,
  ],
  [
    'a folder',
    (path) => {
      rmSync(path);
      mkdirSync(path);
    },
    /no file/,
  ],
];

for (const name of ['messages.db', 'records.db'] as const) {
  describe(`a start with a ${name}`, () => {
    for (const [how, make, words] of damage) {
      it(`${how} says so in one line and writes nothing`, async () => {
        using copy = copied();
        make(copy.at(name));
        const found = digestsOf(copy.dataDir);
        const advice =
          words === DAMAGED || words === NO_DATABASE ? [/backup/, /projection\.db may/] : [];
        await refusedStart({ dataDir: copy.dataDir }, copy.at(name), words, ...advice);
        assert.deepEqual(digestsOf(copy.dataDir), found);
      });
    }
  });
}

it('a start does not take one file for another', async () => {
  using copy = copied();
  cpSync(copy.at('records.db'), copy.at('messages.db'));
  const found = digestsOf(copy.dataDir);
  await refusedStart({ dataDir: copy.dataDir }, copy.at('messages.db'), /another file of Tidings/);
  assert.deepEqual(digestsOf(copy.dataDir), found);
});

it('a start that is ended by damage in the middle of a large file names it as well', async () => {
  using copy = copied();
  const path = copy.at('messages.db');
  change(
    path,
    `CREATE TABLE padding (a BLOB); INSERT INTO padding VALUES (zeroblob(${LARGE_BYTES}))`,
  );
  // What the writer reads to know which keys were used, between the first row and the last.
  rmSync(copy.at('idempotency'), { recursive: true, force: true });
  overwrite(path, pagesOf(path, 'idempotency', 'leaf').slice(1, -1));
  await refusedStart({ dataDir: copy.dataDir }, path, DAMAGED, /backup/);
});

it('a start after a crash looks at what waits in the log, and leaves it there when the file is damaged', async () => {
  using copy = copied();
  const path = copy.at('records.db');
  await using tidings = await startTidings({ dataDir: copy.dataDir, env: PATIENT });
  await tidings.call('/v1/users/ada', { method: 'PUT', body: { name: 'Ada' } });
  await tidings.kill();
  assert.ok(statSync(`${path}-wal`).size > 0);
  rmSync(`${path}-shm`);
  const intact = readFileSync(path);
  overwrite(path, pagesOfCopy(path, 'application', 'root'));
  const found = digestsOf(copy.dataDir);
  assert.ok(found.some((line) => line.startsWith(`${path}-wal`)));
  await refusedStart({ dataDir: copy.dataDir }, path, DAMAGED);
  assert.deepEqual(digestsOf(copy.dataDir), found);
  writeFileSync(path, intact);
  await tidings.restart();
  assert.equal((await tidings.call('/v1/users/ada')).status, 200);
});

/** Looked up elsewhere, because looking changes what waits in the log. */
function pagesOfCopy(path: string, name: string, kind: 'leaf' | 'root'): number[] {
  using folder = scratch();
  const copy = join(folder.path, 'copy.db');
  cpSync(path, copy);
  return pagesOf(copy, name, kind);
}

describe('a start with a file that it may not write', () => {
  for (const name of ['messages.db', 'records.db', 'projection.db', 'messages.db-wal'] as const) {
    it(`names ${name}, and goes on once it may`, async () => {
      using copy = copied();
      if (name.endsWith('-wal')) writeFileSync(copy.at(name), '');
      chmodSync(copy.at(name), 0o444);
      const refusal = { dataDir: copy.dataDir, prefix: WITHOUT_PRIVILEGES };
      await refusedStart(refusal, `${copy.at(name)}: this user may not`);
      await refusedStart(refusal, `${copy.at(name)}: this user may not`);
      chmodSync(copy.at(name), 0o600);
      await using tidings = await startTidings({ ...refusal, env: PATIENT });
      assert.equal((await tidings.call('/v1/notifications', { body: HELLO })).status, 202);
    });
  }

  it('lets nobody in by a lock that it cannot take', async () => {
    using copy = copied();
    chmodSync(copy.at('lock.db'), 0o444);
    await refusedStart({ dataDir: copy.dataDir, prefix: WITHOUT_PRIVILEGES }, copy.dataDir);
    chmodSync(copy.at('lock.db'), 0o600);
    writeFileSync(copy.at('lock.db'), 'no database at all');
    await refusedStart({ dataDir: copy.dataDir }, copy.at('lock.db'), /remove it/);
    rmSync(copy.at('lock.db'));
    await using tidings = await startTidings({ dataDir: copy.dataDir, env: PATIENT });
    assert.equal((await tidings.ledger()).balanced, true);
  });
});

describe('damage that is met while the service runs', () => {
  /** Nothing is acknowledged any more, and everybody who asks is told. */
  async function assertStopped(tidings: Tidings, name: string): Promise<void> {
    await until('the service to be unready', async () => {
      const ready = await tidings.call('/health/ready');
      return ready.status === 503 && ready.json<{ reasons: string[] }>().reasons.length > 0;
    });
    for (let round = 0; round < 2; round++) {
      const refused = await tidings.call('/v1/notifications', { body: HELLO });
      const problem = assertProblem(refused, 503);
      assert.equal(problem.code, 'store_unavailable');
      assert.ok(problem.detail?.includes(`${name} of the store is damaged`), refused.text);
    }
    assert.equal((await tidings.call('/health/live')).status, 200);
  }

  /** Lines of the log of the one thread that knows. */
  function told({ stderr }: Tidings): string[] {
    return stderr.split('\n').filter((line) => line.includes('"writer"'));
  }

  it('by a read of messages stops all writing, and is told once', async () => {
    using copy = copied();
    const path = copy.at('messages.db');
    const intact = readFileSync(path);
    const leaves = pagesOf(path, 'notification', 'leaf');
    await using tidings = await startTidings({ dataDir: copy.dataDir, env: PATIENT });
    const oldest = await oldestOf(tidings);
    overwrite(path, leaves.slice(0, 3));
    for (let round = 0; round < 3; round++)
      assertProblem(await tidings.call(`/v1/notifications/${oldest}`), 503);
    await assertStopped(tidings, 'messages.db');
    const [line, ...more] = told(tidings);
    assert.ok(
      line?.includes(path) && line.includes('damaged') && line.includes('backup'),
      tidings.stderr,
    );
    assert.deepEqual(more, []);
    assert.equal((await tidings.stop()).code, 0);

    await refusedStart({ dataDir: copy.dataDir }, path, DAMAGED);
    for (const suffix of ['-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
    writeFileSync(path, intact);
    await tidings.restart();
    assert.equal((await tidings.call(`/v1/notifications/${oldest}`)).status, 200);
    assert.equal((await tidings.call('/v1/notifications', { body: HELLO })).status, 202);
  });

  it('by a read of records does so, too', async () => {
    using copy = copied();
    const path = copy.at('records.db');
    await using tidings = await startTidings({ dataDir: copy.dataDir, env: PATIENT });
    await tidings.call('/v1/notifications', { body: HELLO });
    const pages = statSync(path).size / PAGE;
    overwrite(
      path,
      Array.from({ length: pages - 1 }, (_, i) => i + 2),
    );
    // Nothing of these has been read yet.
    for (const list of ['users', 'templates', 'webhook-endpoints', 'applications'])
      await tidings.call(`/v1/${list}`);
    await assertStopped(tidings, 'records.db');
    assert.equal(told(tidings).length, 1, tidings.stderr);
  });
});

/** By the last page of the list. */
async function oldestOf(tidings: Tidings): Promise<string> {
  let path = '/v1/notifications?limit=200';
  for (;;) {
    const page = (await tidings.call(path)).json<{
      items: { notificationId: string }[];
      next?: string | null;
    }>();
    if (!page.next) return page.items.at(-1)?.notificationId as string;
    path = `/v1/notifications?limit=200&cursor=${page.next}`;
  }
}
