/**
 * F28: a kill in the middle of a migration leaves files that open and go on; data of a newer version
 * and migrations that were changed afterwards are refused in words; the logs stay bounded while the
 * service is read from without a pause, and shrink again after a reader from outside that held one.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import { type DatabaseFile, readMigrations } from '../../src/database/sqlite/migrate.ts';
import { MIGRATION_KILLS, SEED } from '../support/bounds.ts';
import { ClientLedger, emailBody } from '../support/client-ledger.ts';
import { seededRandom } from '../support/power-loss.ts';
import { PATIENT, startAndEnd, startTidings, type Tidings } from '../support/start.ts';
import { integrityFaults } from '../support/stored.ts';
import { describe, settle } from '../support/verdict.ts';
import { until } from '../support/within.ts';

const FILES = ['messages', 'records', 'projection'] as const satisfies DatabaseFile[];
const MIGRATIONS = FILES.flatMap((file) => readMigrations(file)).length;
const LANES = Math.min(2, MIGRATION_KILLS);
/** How often a folder on which a start was killed is started for good, instead of killed again. */
const STARTED_SHARE = 0.25;

/** A folder that has been started, worked with and stopped once; each test copies what it needs. */
const scratch = mkdtempSync(join(tmpdir(), 'tidings-f28-'));
const made = join(scratch, 'made');
let kept: string;

before(async () => {
  await using tidings = await startTidings({ dataDir: made });
  kept = await assertWorks(tidings);
  await tidings.stop();
});
after(() => rmSync(scratch, { recursive: true, force: true }));

test(`F28: ${MIGRATION_KILLS} kills within migrations of new folders`, async (t) => {
  t.diagnostic(`seed ${SEED}, ${MIGRATIONS} migrations`);
  // Side by side: a start is the work of one core.
  const lanes = Array.from({ length: LANES }, (_, lane) =>
    killWithinMigrations(Math.floor((MIGRATION_KILLS + lane) / LANES), seededRandom(SEED + lane)),
  );
  for (const lane of await Promise.allSettled(lanes))
    if (lane.status === 'rejected') throw lane.reason;
});

async function killWithinMigrations(count: number, random: () => number): Promise<void> {
  for (let kills = 0; kills < count; ) {
    await inFolder(async (dataDir) => {
      // Each start goes on where the one before was killed; what is killed was not applied.
      for (let left = MIGRATIONS; kills < count; ) {
        const place = 1 + Math.floor(random() * left);
        const { signal, output } = await startAndEnd({
          dataDir,
          env: { TIDINGS_FAILPOINTS: `in-migration=${place}` },
        });
        assert.equal(signal, 'SIGKILL', output);
        assert.deepEqual(integrityFaults(dataDir), []);
        left -= place - 1;
        kills++;
        if (random() < STARTED_SHARE) break;
      }
      await using tidings = await startTidings({ dataDir });
      await assertWorks(tidings);
    });
  }
}

test('F28: kills within the migrations of a folder with data lose nothing of it', async () => {
  await inFolder(async (dataDir) => {
    cpSync(made, dataDir, { recursive: true });
    // The projection can be made anew from the rest at any time; here it has to be.
    for (const suffix of ['', '-wal', '-shm'])
      rmSync(join(dataDir, `projection.db${suffix}`), { force: true });
    for (let n = 1; n <= readMigrations('projection').length; n++) {
      // The one that was killed is the first to be tried again.
      const place = n === 1 ? 1 : 2;
      const env = { TIDINGS_FAILPOINTS: `in-migration=${place}` };
      const { signal, output } = await startAndEnd({ dataDir, env });
      assert.equal(signal, 'SIGKILL', output);
      assert.deepEqual(integrityFaults(dataDir), []);
    }
    await using tidings = await startTidings({ dataDir });
    const answer = await tidings.call(`/v1/notifications/${kept}`);
    assert.equal(answer.status, 200, answer.text);
    await until('the list shows it again', async () => {
      const list = await tidings.call('/v1/notifications');
      return list.text.includes(kept);
    });
    await assertWorks(tidings);
  });
});

for (const file of FILES) {
  test(`F28: ${file}.db of a newer version is refused`, async () => {
    await inFolder(async (dataDir) => {
      changed(dataDir, file, "INSERT INTO migration VALUES ('999-from-the-future.sql', 'x', 0)");
      const { code, output } = await startAndEnd({ dataDir });
      assert.notEqual(code, 0);
      assert.match(
        output,
        /written by a newer version of Tidings \(it knows the migration 999-from-the-future\.sql\)/,
      );
    });
  });

  test(`F28: ${file}.db made by a migration that was changed later is refused`, async () => {
    await inFolder(async (dataDir) => {
      changed(dataDir, file, "UPDATE migration SET digest = 'x'");
      const { code, output } = await startAndEnd({ dataDir });
      assert.notEqual(code, 0);
      assert.match(
        output,
        /the migration \d{3}-[a-z0-9-]+\.sql was changed after it had been applied/,
      );
    });
  });
}

const FILLER_BYTES = 200_000;
const MAX_IN_FLIGHT = 16;
/**
 * The writer makes the log wrap past 16,000 frames. What it writes between two looks at its size is
 * added to that: eight groups, of all that is in flight at most; twice, for a look while somebody reads.
 */
const WAL_BOUND = 16_000 * 4120 + 2 * 8 * MAX_IN_FLIGHT * 1.05 * FILLER_BYTES;

test('F28: the logs stay bounded while the service is read from without a pause', async (t) => {
  await inFolder(async (dataDir) => {
    await using tidings = await startTidings({ dataDir, env: PATIENT });
    using client = new ClientLedger({ tidings, name: 'f28', body: bulkyBody });
    const largest = { messages: 0, records: 0, projection: 0 };
    // Without a bound the log would then hold all of it.
    const written = until('twice the bound written', () => {
      for (const file of FILES)
        largest[file] = Math.max(largest[file], sizeOf(join(dataDir, `${file}.db-wal`)));
      return sizeOf(join(dataDir, 'messages.db')) > 2 * WAL_BOUND;
    });
    await using _stalled = await stalledReader(tidings, client);
    const reading = readPages(tidings, written);
    await client.sendUntil(written, { ratePerSecond: 1000, maxInFlight: MAX_IN_FLIGHT });
    await written;
    t.diagnostic(`largest logs: ${JSON.stringify(largest)}; ${await reading} pages were read`);
    for (const file of FILES) assert.ok(largest[file] <= WAL_BOUND, `${file}: ${largest[file]}`);
    assert.deepEqual(client.of('unknown'), []);
    t.diagnostic(describe(await settle(tidings, 120), client));
  });
});

test('F28: a log that a reader from outside has held shrinks again when it goes', async (t) => {
  await inFolder(async (dataDir) => {
    await using tidings = await startTidings({ dataDir, env: PATIENT });
    using client = new ClientLedger({ tidings, name: 'f28', body: bulkyBody });
    const wal = join(dataDir, 'messages.db-wal');
    const reader = new DatabaseSync(join(dataDir, 'messages.db'), { readOnly: true });
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM message').get();
    // As long as the reader sees the past, its frames have to stay.
    const grown = until('a log past its bound', () => sizeOf(wal) > WAL_BOUND, { seconds: 120 });
    await client.sendUntil(grown, { ratePerSecond: 1000, maxInFlight: MAX_IN_FLIGHT });
    await grown;
    const held = sizeOf(wal);
    assert.equal((await client.send()).state, 'acked', 'writes go on');
    reader.exec('COMMIT');
    reader.close();
    const wrapped = until('a log that begins anew', () => sizeOf(wal) < held, { seconds: 60 });
    await client.sendUntil(wrapped, { ratePerSecond: 500, maxInFlight: MAX_IN_FLIGHT });
    await wrapped;
    const size = sizeOf(wal);
    t.diagnostic(
      `log: ${Math.round(held / 1e6)} MB with the reader, ${Math.round(size / 1e6)} MB without`,
    );
    assert.ok(size <= WAL_BOUND, `${size} bytes`);
    t.diagnostic(describe(await settle(tidings, 120), client));
  });
});

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** Pages through all messages again and again, as an export does. How many pages it has read. */
async function readPages(tidings: Tidings, end: Promise<unknown>): Promise<number> {
  let over = false;
  const finish = (): void => {
    over = true;
  };
  end.then(finish, finish);
  let pages = 0;
  for (let cursor = ''; !over; pages++) {
    const { status, text, json } = await tidings.call(`/v1/notifications?limit=100${cursor}`);
    assert.equal(status, 200, text);
    const next = json()['nextCursor'];
    cursor = typeof next === 'string' ? `&cursor=${encodeURIComponent(next)}` : '';
  }
  return pages;
}

/** Asks for far more than a socket holds, and takes none of it. */
async function stalledReader(tidings: Tidings, client: ClientLedger): Promise<AsyncDisposable> {
  const { notificationId } = await client.send();
  const socket = connect({ port: tidings.port, host: '127.0.0.1' });
  await once(socket, 'connect');
  socket.on('error', () => {});
  socket.pause();
  const request = `GET /v1/notifications/${notificationId} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${tidings.key}\r\n\r\n`;
  socket.write(request.repeat(STALLED_ANSWERS));
  return {
    async [Symbol.asyncDispose]() {
      socket.destroy();
    },
  };
}

/** Of the size of a message below; far beyond what two sockets buffer. */
const STALLED_ANSWERS = 500;

/** Large enough that the log grows quickly. */
function bulkyBody(key: string): Record<string, unknown> {
  return { ...emailBody(key), data: { filler: 'x'.repeat(FILLER_BYTES) } };
}

async function inFolder(run: (dataDir: string) => Promise<void>): Promise<void> {
  const own = mkdtempSync(join(scratch, 'one-'));
  try {
    await run(join(own, 'data'));
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}

/** A folder that a start has made, with one thing changed by somebody else. */
function changed(dataDir: string, file: DatabaseFile, sql: string): void {
  cpSync(made, dataDir, { recursive: true });
  using database = new DatabaseSync(join(dataDir, `${file}.db`));
  database.exec(sql);
}

/** Takes and delivers a message; its id. */
async function assertWorks(tidings: Tidings): Promise<string> {
  const answer = await tidings.call('/v1/notifications?wait=20s', { body: emailBody('works') });
  assert.equal(answer.status, 200, answer.text);
  return String(answer.json()['id']);
}
