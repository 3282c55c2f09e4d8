/** `tidings doctor` and `migrate`, beside a running service and on files of a stopped one. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { before, describe, test } from 'node:test';
import { exited, jsonOf, run, serviceOfSuite } from './cli-process.ts';

describe('tidings doctor and migrate', () => {
  const service = serviceOfSuite();
  const { cli } = service;
  const doctor = (...args: string[]) =>
    cli(['doctor', '--data-dir', service.tidings.dataDir, ...args]);
  before(async () => exited(await cli(['send', '--to', 'a@example.com', 'x', '--wait', '30s']), 0));

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

  test('beside a running service all is in order', async () => {
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

  test('the ledger comes from the files without a key', async () => {
    const { tidings } = service;
    const { dataDir } = service.tidings;
    const files = await run(['doctor', '--data-dir', dataDir, '--url', tidings.url, '--ledger']);
    exited(files, 0);
    assert.ok(
      files.out.includes(
        `1 accepted = 1 delivered + 0 failed + 0 expired + 0 suppressed + 0 cancelled + 0 pending (${dataDir})`,
      ),
    );
  });

  test('what is wrong fails with what to do', async () => {
    const { dataDir } = service.tidings;
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

  test('migrate leaves a running service alone', async () => {
    const { dataDir } = service.tidings;
    const refused = await cli(['migrate', '--data-dir', dataDir]);
    exited(refused, 1);
    assert.match(refused.err, /is in use by another process of Tidings/);
    const pending = await cli(['migrate', '--dry-run'], { env: { TIDINGS_DATA_DIR: dataDir } });
    exited(pending, 0);
    assert.match(pending.err, /Everything is applied already/);
  });

  test('with the service stopped', async () => {
    const { tidings } = service;
    const { dataDir } = service.tidings;
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

  test('migrate lists what it does, and changes nothing with --dry-run', async () => {
    const { dataDir } = service.tidings;
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

  test('migrate makes nothing where nothing is', async () => {
    const { dataDir } = service.tidings;
    const empty = join(dataDir, 'empty');
    exited(await cli(['migrate', '--data-dir', empty]), 3);
    assert.equal(existsSync(empty), false);
    exited(await cli(['migrate'], { env: { TIDINGS_PORT: 'x' } }), 2);
  });

  test('data of a newer version is left alone', async () => {
    const { dataDir } = service.tidings;
    edit(join(dataDir, 'records.db'), "INSERT INTO migration VALUES ('999-later.sql', 'x', 0)");
    const newer = await cli(['migrate', '--data-dir', dataDir]);
    exited(newer, 1);
    assert.match(newer.err, /written by a newer version of Tidings\n.+999-later\.sql/);
    assert.equal((await checkOf('migrations'))?.status, 'fail');
    edit(join(dataDir, 'records.db'), "DELETE FROM migration WHERE name = '999-later.sql'");
  });

  test('books that do not add up fail', async () => {
    const { tidings } = service;
    const { dataDir } = service.tidings;
    edit(join(dataDir, 'messages.db'), 'DELETE FROM message');
    const unbalanced = await run(['doctor', '--ledger'], {
      env: { TIDINGS_DATA_DIR: dataDir, TIDINGS_PORT: String(tidings.port) },
    });
    exited(unbalanced, 1);
    assert.match(unbalanced.out, /fail +ledger: 1 accepted ≠ 0 delivered/);
  });

  test('a lost key and a broken file fail', async () => {
    const { dataDir } = service.tidings;
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
