import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { until } from '../../../test/support/within.ts';
import { systemClock } from '../../clock.ts';
import { ServiceError } from '../../errors.ts';
import { openForReading, openForWriting } from './connection.ts';
import {
  type Answers,
  alone,
  type Call,
  damageOperations,
  GroupWriter,
  hot,
  mergeOperations,
} from './group-writer.ts';
import { LocalWriteClient, ThreadWriteClient } from './write-client.ts';
import { WriterLoop } from './writer-loop.ts';

interface Bench extends Disposable {
  path: string;
  writer: GroupWriter;
  rows(): number[];
  /** What the next commit fails with. */
  failNext(error: Error): void;
  opened(): number;
  undone: number;
}

/** An error as node:sqlite throws it: the library's own I/O failures cannot be produced at will here (F4 and F5 do). */
function sqliteError(errcode: number): Error {
  return Object.assign(new Error('injected'), { code: 'ERR_SQLITE_ERROR', errcode });
}

function open(): Bench {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-writer-'));
  const path = join(folder, 'a.db');
  let failure: Error | undefined;
  let opened = 0;
  const bench = {
    path,
    undone: 0,
    opened: () => opened,
    failNext(error: Error) {
      failure = error;
    },
    rows() {
      const database = openForReading(path);
      const rows = database
        .prepare('SELECT a FROM t ORDER BY a')
        .all()
        .map((row) => row['a'] as number);
      database.close();
      return rows;
    },
  };
  const writer = new GroupWriter({
    open: () => {
      opened++;
      return openForWriting(path, { durability: 'full' });
    },
    prepare: (database: DatabaseSync) => {
      database.exec('CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY)');
      const insert = database.prepare('INSERT INTO t VALUES (?)');
      const add = (a: number): number => {
        if (failure) {
          const error = failure;
          failure = undefined;
          throw error;
        }
        insert.run(a);
        return a * 2;
      };
      return mergeOperations(damageOperations, {
        operations: {
          hot: hot(add),
          alone: alone(add),
          refuse: alone((a: number) => {
            insert.run(a);
            throw new ServiceError('conflict', { detail: 'no' });
          }),
        },
        rolledBack: () => {
          bench.undone++;
        },
      });
    },
  });
  return Object.assign(bench, {
    writer,
    [Symbol.dispose]() {
      writer.close();
      rmSync(folder, { recursive: true, force: true });
    },
  });
}

const call = (name: string, a: number): Call => [name, a];

const codesOf = ({ errors }: Answers): Record<number, string> =>
  Object.fromEntries(errors.map(([i, error]) => [i, error.code]));

describe('group writer', () => {
  it('answers each call of a group in its place, after one commit', () => {
    using bench = open();
    const answers = bench.writer.run([call('hot', 1), call('alone', 2), call('hot', 3)]);
    assert.deepEqual(answers, { values: [2, 4, 6], errors: [] });
    assert.deepEqual(bench.rows(), [1, 2, 3]);
  });

  it('undoes only the call that fails by itself', () => {
    using bench = open();
    const answers = bench.writer.run([
      call('hot', 1),
      call('refuse', 2),
      call('alone', 1),
      call('hot', 3),
    ]);
    assert.deepEqual(bench.rows(), [1, 3]);
    assert.deepEqual(answers.values, [2, null, null, 6]);
    assert.deepEqual(codesOf(answers), { 1: 'conflict', 2: 'already_exists' });
  });

  it('refuses the whole group when the disk is full, and goes on afterwards on the same connection', () => {
    using bench = open();
    bench.writer.run([call('hot', 1)]);
    bench.failNext(sqliteError(13));
    const answers = bench.writer.run([call('hot', 2), call('hot', 3)]);
    assert.deepEqual(codesOf(answers), { 0: 'store_full', 1: 'store_full' });
    assert.deepEqual(
      [bench.rows(), bench.undone, bench.opened(), bench.writer.failure],
      [[1], 1, 1, undefined],
    );
    assert.deepEqual(bench.writer.run([call('hot', 4)]), { values: [8], errors: [] });
    assert.deepEqual(bench.rows(), [1, 4]);
  });

  it('takes nothing after an I/O error until it has reopened the file', () => {
    using bench = open();
    bench.writer.run([call('hot', 1)]);
    bench.failNext(sqliteError(10 | (4 << 8)));
    assert.deepEqual(codesOf(bench.writer.run([call('hot', 2)])), { 0: 'store_unavailable' });
    assert.equal(bench.writer.failure?.code, 'store_unavailable');
    assert.deepEqual(codesOf(bench.writer.run([call('hot', 3)])), { 0: 'store_unavailable' });
    assert.equal(bench.writer.repair(), true);
    assert.deepEqual(bench.writer.run([call('hot', 4)]), { values: [8], errors: [] });
    assert.deepEqual([bench.rows(), bench.opened()], [[1, 4], 2]);
  });

  it('writes no more to a file in which damage was met, once it is found there', () => {
    using bench = open();
    bench.writer.run(Array.from({ length: 5000 }, (_, i) => call('hot', i)));
    bench.writer.checkpoint();
    const met: Call = ['damageFound', 'by somebody who reads'];
    assert.deepEqual(codesOf(bench.writer.run([call('hot', 5000), met])), {
      0: 'store_unavailable',
      1: 'store_unavailable',
    });
    // The writer has closed the file, so opening it here takes no lock from it.
    const bytes = readFileSync(bench.path);
    writeFileSync(bench.path, bytes.fill(0x5a, 5 * 4096, 6 * 4096));
    assert.equal(bench.writer.repair(), false);
    const opened = bench.opened();
    assert.equal(bench.writer.repair(), false);
    assert.equal(bench.opened(), opened, 'it does not look again');
    const { errors } = bench.writer.run([call('hot', 5001)]);
    assert.match(errors[0]?.[1].detail ?? '', /^The file a\.db of the store is damaged/);
  });

  it('goes on when the file turns out to be whole', () => {
    using bench = open();
    bench.writer.run([call('hot', 1)]);
    assert.equal(bench.writer.run([['damageFound', 'by mistake']]).errors.length, 1);
    assert.deepEqual(codesOf(bench.writer.run([call('hot', 2)])), { 0: 'store_unavailable' });
    assert.equal(bench.writer.repair(), true);
    assert.deepEqual(bench.writer.run([call('hot', 3)]), { values: [6], errors: [] });
    assert.deepEqual([bench.rows(), bench.opened()], [[1, 3], 2]);
  });

  it('lets no SQLite error out', () => {
    using bench = open();
    for (const code of [5, 8, 10, 11, 13, 14, 19, 26]) {
      bench.failNext(sqliteError(code));
      const { errors } = bench.writer.run([call('hot', 100 + code)]);
      assert.equal(errors.length, 1);
      assert.doesNotMatch(JSON.stringify(errors), /SQLITE|errcode|injected/);
      bench.writer.repair();
    }
  });

  it('refuses everything once it is closed', () => {
    using bench = open();
    bench.writer.close();
    assert.deepEqual(codesOf(bench.writer.run([call('hot', 1)])), { 0: 'shutting_down' });
  });

  it('keeps the log from growing without bound', () => {
    using bench = open();
    for (let i = 0; i < 50; i++) bench.writer.run([call('hot', i)]);
    assert.ok(bench.writer.framesInLog() >= 50);
    bench.writer.checkpoint();
    assert.ok(bench.writer.framesInLog() >= 50, 'the next write begins it anew');
    bench.writer.run([call('hot', 50)]);
    assert.ok(bench.writer.framesInLog() < 10);
    assert.equal(bench.rows().length, 51);
  });
});

/** How many calls each group has that is run from now on. */
function groupsOf(writer: GroupWriter): number[] {
  const groups: number[] = [];
  const run = writer.run.bind(writer);
  writer.run = (calls) => {
    groups.push(calls.length);
    return run(calls);
  };
  return groups;
}

describe('write clients', () => {
  for (const { calls, groups, it: does } of [
    { calls: 60, groups: [60], it: 'share the commit of one turn' },
    { calls: 150, groups: [64, 64, 22], it: 'send parts of a long turn ahead' },
  ]) {
    it(does, async () => {
      using bench = open();
      const seen = groupsOf(bench.writer);
      const client = new LocalWriteClient(bench.writer);
      const values = await Promise.all(
        Array.from({ length: calls }, (_, i) => client.call('hot', i)),
      );
      assert.deepEqual(
        values,
        Array.from({ length: calls }, (_, i) => i * 2),
      );
      assert.deepEqual(seen, groups);
      assert.equal(client.waiting, 0);
    });
  }

  it('refuse all that is under way when the writer goes', async () => {
    const { port1, port2 } = new MessageChannel();
    const client = new ThreadWriteClient(port1);
    const results = Promise.allSettled(
      Array.from({ length: 150 }, (_, i) => client.call('hot', i)),
    );
    await once(port2, 'message');
    port2.close();
    const codes = (await results).map((one) => (one as PromiseRejectedResult).reason.code);
    assert.deepEqual(new Set(codes), new Set(['store_unavailable']));
  });

  it('give each caller its own error', async () => {
    using bench = open();
    const client = new LocalWriteClient(bench.writer);
    const results = await Promise.allSettled([
      client.call('hot', 1),
      client.call('refuse', 2),
      client.call('hot', 3),
    ]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    );
    assert.ok((results[1] as PromiseRejectedResult).reason instanceof ServiceError);
  });

  it('drain the ports of all threads into one group, and answer each on its own', async () => {
    using bench = open();
    const loop = new WriterLoop({ writer: bench.writer, path: bench.path, clock: systemClock });
    const clients = Array.from({ length: 3 }, () => {
      const { port1, port2 } = new MessageChannel();
      loop.connect(port2);
      return new ThreadWriteClient(port1);
    });
    const values = await Promise.all(
      clients.flatMap((client, n) =>
        Array.from({ length: 50 }, (_, i) => client.call('hot', n * 1000 + i)),
      ),
    );
    assert.equal(new Set(values).size, 150);
    assert.equal(bench.rows().length, 150);
    loop.stop();
  });

  it('let patient calls ride along with those of others, and wait for nobody alone', async () => {
    using bench = open();
    const clock = new ManualClock();
    const groups = groupsOf(bench.writer);
    const loop = new WriterLoop({ writer: bench.writer, path: bench.path, clock });
    const client = (patient: boolean): ThreadWriteClient => {
      const { port1, port2 } = new MessageChannel();
      loop.connect(port2);
      return new ThreadWriteClient(port1, { patient });
    };
    const [hurried, patient] = [client(false), client(true)];
    assert.equal(await patient.call('hot', 1), 2, 'nobody is there to ride along with');
    await hurried.call('hot', 2);
    const riding = Promise.all([patient.call('hot', 3), patient.call('refuse', 4).catch((e) => e)]);
    await until('the patient calls to be held', () => clock.timers === 1);
    assert.deepEqual(groups, [1, 1]);
    assert.equal(await hurried.call('hot', 5), 10);
    const [value, error] = await riding;
    assert.equal(value, 6);
    assert.equal((error as ServiceError).code, 'conflict', 'each gets its own answer');
    assert.deepEqual(groups, [1, 1, 3]);
    const late = patient.call('hot', 6);
    await until('the patient call to be held', () => clock.timers === 1);
    clock.advance(2);
    assert.equal(await late, 12, 'it does not wait for ever');
    assert.deepEqual(groups, [1, 1, 3, 1]);
    loop.stop();
  });

  it('tell every thread when the store breaks and when it is back, and lose nobody', async () => {
    using bench = open();
    const [mine, theirs] = [new MessageChannel(), new MessageChannel()];
    const loop = new WriterLoop({ writer: bench.writer, path: bench.path, clock: systemClock });
    loop.connect(mine.port2);
    loop.connect(theirs.port2);
    try {
      const [client, bystander] = [
        new ThreadWriteClient(mine.port1),
        new ThreadWriteClient(theirs.port1),
      ];
      const seen: (string | undefined)[] = [];
      const back = new Promise<void>((resolve) => {
        theirs.port1.on('message', () => {
          seen.push(bystander.failure?.code);
          if (seen.length === 2) resolve();
        });
      });
      bench.failNext(sqliteError(10));
      await assert.rejects(client.call('hot', 1), { code: 'store_unavailable' });
      await back;
      assert.deepEqual(seen, ['store_unavailable', undefined]);
      assert.equal(await client.call('hot', 2), 4);
      loop.stop();
      await assert.rejects(client.call('hot', 3), { kind: 'unavailable' });
    } finally {
      loop.stop();
    }
  });
});
