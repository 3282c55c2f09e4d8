/** The tracker's work over real files: logs are moved, and a damaged projection is made anew while others read it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { MessageChannel } from 'node:worker_threads';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { openProjectionFile } from '../../../test/support/projection.ts';
import { openTestFile } from '../../../test/support/store.ts';
import { type Clock, systemClock } from '../../clock.ts';
import { openForReading, openForWriting } from './connection.ts';
import { eventOperations } from './event-operations.ts';
import { Projection } from './projection.ts';
import { ProjectionClient, ProjectionLoop } from './projection-loop.ts';

const PAGE_BYTES = 4096;
const MESSAGES = 3000;

/** Overwrites pages as a disk would: by another process, since this one has the file open. */
function damage(path: string, first: number, pages: number): void {
  const seek = [`bs=${PAGE_BYTES}`, `seek=${first}`, `count=${pages}`, 'conv=notrunc'];
  const { status } = spawnSync('dd', ['if=/dev/urandom', `of=${path}`, ...seek]);
  assert.equal(status, 0);
}

/** A hot file with messages, its projection, the loop that fills it, and somebody who reads. */
async function openLoop(clock: Clock = systemClock) {
  const hot = openTestFile('messages', (database) => eventOperations(database));
  const filled = hot.connection();
  filled.exec(`INSERT INTO notification
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${MESSAGES})
      SELECT i * 2, 1, 1, '{"to":{"userId":"u"},"createdAt":1,"routes":[["in_app"]]}' FROM n;
    INSERT INTO message (id, notification_id, application_id, lane, status, updated_at)
      SELECT id + 1, id, 1, 1, 4, 1 FROM notification`);
  const { connection, close } = openProjectionFile(hot.folder);
  const path = connection.location() as string;
  const failures: unknown[] = [];
  const remade: unknown[] = [];
  const projection = new Projection({ messages: hot.reader(), projection: connection });
  const loop = new ProjectionLoop({
    projection,
    checkpoints: [connection],
    clock,
    failed: (error) => failures.push(error),
    remade: (error) => remade.push(error),
  });
  const { port1, port2 } = new MessageChannel();
  loop.connect(port1);
  const reader = openForReading(path, 64);
  const client = new ProjectionClient({
    port: port2,
    messages: hot.reader(),
    projection: reader,
    clock,
  });
  return {
    hot,
    path,
    connection,
    projection,
    reader,
    loop,
    client,
    /** The reader's end, for what it is told. */
    port: port2,
    failures,
    remade,
    async [Symbol.asyncDispose]() {
      await loop.stop();
      client.close();
      reader.close();
      close();
      await hot[Symbol.asyncDispose]();
    },
  };
}

type Bench = Awaited<ReturnType<typeof openLoop>>;

const COUNT = 'SELECT count(*) AS n FROM message_index NOT INDEXED';

function countOf({ reader }: Bench): unknown {
  return reader.prepare(COUNT).get()?.['n'];
}

/** As somebody sees it who opens the file now. */
function countAnew({ path }: Bench): unknown {
  const database = openForReading(path, 64);
  try {
    return database.prepare(COUNT).get()?.['n'];
  } finally {
    database.close();
  }
}

/** A writer that does not come to an end. */
function blockerOf(path: string) {
  const database = new DatabaseSync(path);
  database.exec('BEGIN IMMEDIATE');
  return {
    end: () => database.exec('ROLLBACK'),
    [Symbol.dispose]: () => database.close(),
  };
}

describe('the loop that fills the projection', () => {
  it('moves the logs without touching the hot file, which is only read', async () => {
    await using bench = await openLoop();
    await bench.loop.start();
    await bench.hot.writer.call('appendEvents', [[2, 1, 'attempt', null]]);
    await bench.client.caughtUp();
    assert.equal(countOf(bench), MESSAGES);
    assert.deepEqual(bench.failures, []);
  });

  for (const [what, first, pages] of [
    ['pages in the middle', 20, 60],
    ['the page of the schema and the header', 0, 1],
  ] as const) {
    it(`makes a file anew of which ${what} were overwritten, while others have it open`, async () => {
      await using bench = await openLoop();
      await bench.loop.start();
      await bench.client.caughtUp();
      assert.equal(bench.client.failure(), undefined);
      bench.connection.exec('PRAGMA main.wal_checkpoint(TRUNCATE)');
      damage(bench.path, first, pages);
      assert.throws(() => {
        countOf(bench);
        countAnew(bench);
      });
      const answer = bench.client.damaged(new Error('the page is not one'));
      assert.deepEqual([answer.code, answer.kind], ['store_unavailable', 'unavailable']);
      assert.match(String(bench.client.failure()?.detail), /is damaged/);
      while (bench.client.failure()) await nextTurn();
      assert.deepEqual(bench.remade, [undefined]);
      assert.deepEqual([countOf(bench), countAnew(bench)], [MESSAGES, MESSAGES]);
      assert.deepEqual(bench.failures, []);
      await bench.hot.writer.call('appendEvents', [[2, 1, 'attempt', null]]);
      await bench.client.caughtUp();
      assert.equal(bench.client.lag(), 0, 'it is followed as before');
    });
  }

  it('says of a file that is being filled anew that it shows nothing yet', async () => {
    await using bench = await openLoop();
    while (bench.projection.step());
    await bench.projection.remake();
    assert.equal(countOf(bench), 0);
    assert.match(String(bench.client.failure()?.detail), /is being made anew/);
    await bench.client.caughtUp();
    assert.equal(countOf(bench), 0, 'nobody waits for it');
    // As after a start in the middle of it.
    const file = openForWriting(bench.path, { durability: 'normal' });
    const next = new Projection({ messages: bench.hot.reader(), projection: file });
    while (next.step());
    file.close();
    assert.equal(bench.client.failure(), undefined);
    assert.equal(countOf(bench), MESSAGES);
  });

  it('that cannot be made anew says so, and is tried again later', async () => {
    const clock = new ManualClock(0);
    await using bench = await openLoop(clock);
    while (bench.projection.step());
    bench.connection.exec('PRAGMA main.wal_checkpoint(TRUNCATE)');
    damage(bench.path, 2, 1);
    // Somebody else's transaction keeps it from being written.
    using other = blockerOf(bench.path);
    bench.connection.exec('PRAGMA busy_timeout = 10');
    const refused = once(bench.port, 'message');
    bench.client.damaged(new Error('the page is not one'));
    await refused;
    assert.equal(bench.remade.length, 1);
    assert.ok(bench.remade[0] instanceof Error);
    assert.match(String(bench.client.failure()?.hint), /next start/);
    other.end();
    clock.advance(5000);
    bench.client.damaged(new Error('the page is not one'));
    while (bench.client.failure()) await nextTurn();
    assert.deepEqual(bench.remade.slice(1), [undefined]);
  });

  it('that is whole stays as it is when another file is damaged', async () => {
    const clock = new ManualClock(0);
    await using bench = await openLoop(clock);
    while (bench.projection.step());
    const told = once(bench.port, 'message');
    bench.client.damaged(new Error('a page of another file is not one'));
    await told;
    assert.deepEqual([bench.remade, countOf(bench)], [[], MESSAGES]);
    assert.equal(bench.client.failure(), undefined);
    assert.match(String(bench.failures[0]), /messages.db or records.db is damaged/);
    bench.client.damaged(new Error('a page of another file is not one'));
    clock.advance(1000);
    await nextTurn();
    assert.equal(bench.failures.length, 1, 'not looked at again at once');
  });
});
