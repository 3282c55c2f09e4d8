/**
 * F28: a kill in the middle of a migration leaves files that open and go on; data of a newer version
 * and migrations that were changed afterwards are refused in words; a reader that stays does not let
 * the log grow without bound.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
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

test(`F28: ${MIGRATION_KILLS} kills within migrations of a new folder`, async (t) => {
  t.diagnostic(`seed ${SEED}, ${MIGRATIONS} migrations`);
  const random = seededRandom(SEED);
  let kills = 0;
  while (kills < MIGRATION_KILLS) {
    await inFolder(async (dataDir) => {
      // Each start goes on where the one before was killed, until no migration is left.
      for (let left = MIGRATIONS; left > 0 && kills < MIGRATION_KILLS; kills++) {
        const place = 1 + Math.floor(random() * left);
        const { signal, output } = await startAndEnd({
          dataDir,
          env: { TIDINGS_FAILPOINTS: `in-migration=${place}` },
        });
        assert.equal(signal, 'SIGKILL', output);
        assert.deepEqual(integrityFaults(dataDir), []);
        left -= place - 1;
        if (random() < 0.5) break;
      }
      await using tidings = await startTidings({ dataDir });
      await assertWorks(tidings);
    });
  }
});

test('F28: kills within the migrations of a folder with data lose nothing of it', async () => {
  await inFolder(async (dataDir) => {
    await using tidings = await startTidings({ dataDir });
    const kept = await assertWorks(tidings);
    await tidings.stop();
    // The projection can be made anew from the rest at any time; here it has to be.
    for (const suffix of ['', '-wal', '-shm'])
      rmSync(join(dataDir, `projection.db${suffix}`), { force: true });
    for (let place = 1; place <= readMigrations('projection').length; place++) {
      const env = { TIDINGS_FAILPOINTS: `in-migration=${place}` };
      const { signal, output } = await startAndEnd({ dataDir, env });
      assert.equal(signal, 'SIGKILL', output);
      assert.deepEqual(integrityFaults(dataDir), []);
    }
    await tidings.restart({ env: {} });
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
      await madeAndChanged(
        dataDir,
        file,
        "INSERT INTO migration VALUES ('999-from-the-future.sql', 'x', 0)",
      );
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
      await madeAndChanged(dataDir, file, "UPDATE migration SET digest = 'x'");
      const { code, output } = await startAndEnd({ dataDir });
      assert.notEqual(code, 0);
      assert.match(
        output,
        /the migration \d{3}-[a-z0-9-]+\.sql was changed after it had been applied/,
      );
    });
  });
}

/** The writer makes the log wrap past 16,000 frames; the rest is what one group may add. */
const WAL_BOUND = 90_000_000;

test('F28: the log stays bounded, and shrinks again when a reader that held it goes', async (t) => {
  await inFolder(async (dataDir) => {
    await using tidings = await startTidings({ dataDir, env: PATIENT });
    using client = new ClientLedger({ tidings, name: 'f28', body: bulkyBody });
    const wal = join(dataDir, 'messages.db-wal');
    const reader = new DatabaseSync(join(dataDir, 'messages.db'), { readOnly: true });
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM message').get();
    // As long as the reader sees the past, its frames have to stay.
    const grown = until('a log past its bound', () => statSync(wal).size > WAL_BOUND, {
      seconds: 120,
    });
    await client.sendUntil(grown, { ratePerSecond: 2000, maxInFlight: 64 });
    await grown;
    const held = statSync(wal).size;
    assert.equal((await client.send()).state, 'acked', 'writes go on');
    reader.exec('COMMIT');
    reader.close();
    const wrapped = until('a log that begins anew', () => wrapsBelow(wal, held), { seconds: 60 });
    await client.sendUntil(wrapped, { ratePerSecond: 500, maxInFlight: 64 });
    await wrapped;
    const size = statSync(wal).size;
    t.diagnostic(
      `log: ${Math.round(held / 1e6)} MB with the reader, ${Math.round(size / 1e6)} MB without`,
    );
    assert.ok(size <= WAL_BOUND, `${size} bytes`);
    t.diagnostic(describe(await settle(tidings, 120), client));
  });
});

/** Large enough that the log grows quickly. */
function bulkyBody(key: string): Record<string, unknown> {
  return { ...emailBody(key), data: { filler: 'x'.repeat(20_000) } };
}

function wrapsBelow(wal: string, held: number): boolean {
  return statSync(wal).size < held;
}

async function inFolder(run: (dataDir: string) => Promise<void>): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'tidings-f28-'));
  try {
    await run(join(scratch, 'data'));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** A folder that a start has made, with one thing changed by somebody else. */
async function madeAndChanged(dataDir: string, file: DatabaseFile, sql: string): Promise<void> {
  await using tidings = await startTidings({ dataDir });
  await tidings.stop();
  using database = new DatabaseSync(join(dataDir, `${file}.db`));
  database.exec(sql);
}

/** Takes and delivers a message; its id. */
async function assertWorks(tidings: Tidings): Promise<string> {
  const answer = await tidings.call('/v1/notifications?wait=20s', { body: emailBody('works') });
  assert.equal(answer.status, 200, answer.text);
  return String(answer.json()['id']);
}
