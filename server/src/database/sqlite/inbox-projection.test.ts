import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { INBOX_ACTIONS } from '@tidings/contracts/inbox';
import { openTestFile, type TestFile } from '../../../test/support/store.ts';
import { openForWriting } from './connection.ts';
import { GroupWriter } from './group-writer.ts';
import {
  type DeliverInboxArgument,
  type InboxOperations,
  inboxOperations,
} from './inbox-operations.ts';
import { InboxProjection } from './inbox-projection.ts';
import { migrate, readMigrations } from './migrate.ts';
import { LocalWriteClient } from './write-client.ts';

interface OpenedLog extends AsyncDisposable {
  file: TestFile;
  writer: LocalWriteClient;
  messages: DatabaseSync;
  /** Deletes messages as the notification store does: in its own operation, by `remove`. */
  remove(first: number, last: number): Promise<unknown>;
}

function openLog(): OpenedLog {
  let inbox: InboxOperations;
  const file = openTestFile('messages', (database) => {
    inbox = inboxOperations(database);
    return {
      operations: {
        ...inbox.operations,
        remove: {
          isolated: true,
          run: ([first, last]: [number, number]) => inbox.remove(first, last, 5),
        },
      },
    };
  });
  return {
    file,
    writer: file.writer,
    messages: file.reader(),
    remove: (first, last) => file.writer.call('remove', [first, last]),
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
}

const item = (id: number, userId: string, more: { key?: string; content?: string } = {}) =>
  [id, 1, userId, id, more.content ?? '{}', null, more.key ?? null] satisfies DeliverInboxArgument;

function openProjection(log: OpenedLog, name: string): DatabaseSync {
  const projection = openForWriting(join(log.file.folder, name), { durability: 'normal' });
  migrate(projection, readMigrations('projection'));
  return projection;
}

/** A projection file of its own that has taken the whole log in groups of `limit`. */
function project(log: OpenedLog, name: string, limit: number): DatabaseSync {
  const projection = openProjection(log, name);
  follow(log, projection, 0, limit);
  return projection;
}

function follow(log: OpenedLog, file: DatabaseSync, from: number, limit: number): number {
  const projection = new InboxProjection({ messages: log.messages, projection: file });
  let position = from;
  for (
    let rows = projection.read(position, limit);
    rows.length > 0;
    rows = projection.read(position, limit)
  ) {
    file.exec('BEGIN IMMEDIATE');
    projection.apply(rows);
    file.exec('COMMIT');
    position = rows.at(-1)?.seq ?? position;
  }
  assert.equal(position, projection.last());
  return position;
}

const rowsOf = (file: DatabaseSync) => ({
  inbox: file.prepare('SELECT * FROM inbox ORDER BY message_id').all(),
  marks: file.prepare('SELECT * FROM inbox_mark ORDER BY seq').all(),
  departures: file.prepare('SELECT * FROM inbox_departure ORDER BY seq').all(),
});

/** A small generator with a seed, so that the history is the same in every run. */
function* numbers(seed: number): Generator<number, never> {
  for (let state = seed; ; ) {
    state = (state * 48_271) % 2_147_483_647;
    yield state;
  }
}

async function writeHistory(log: OpenedLog, steps: number): Promise<void> {
  const random = numbers(20_261_122);
  const upTo = (n: number) => random.next().value % n;
  for (let step = 0; step < steps; step++) {
    const userId = `user-${upTo(3)}`;
    const kind = upTo(10);
    if (kind < 6) {
      const key = upTo(3) === 0 ? 'k' : undefined;
      await log.writer.call('deliverInbox', item(1 + upTo(steps), userId, { key }));
    } else if (kind < 9) {
      const ids = upTo(2) === 0 ? null : JSON.stringify([1 + upTo(steps), 1 + upTo(steps)]);
      const action = INBOX_ACTIONS[upTo(INBOX_ACTIONS.length)];
      await log.writer.call('markInbox', [1, userId, step, action, ids, null]);
    } else {
      const first = 1 + upTo(steps);
      await log.remove(first, first + 2);
    }
  }
}

test('groups of any size end in the same inboxes, and in counters that are right', async () => {
  await using log = openLog();
  await writeHistory(log, 300);
  const files = [1, 7, 1000].map((limit) => project(log, `projection-${limit}.db`, limit));
  const [one, seven, all] = files.map(rowsOf);
  assert.ok((one?.inbox.length ?? 0) > 50);
  assert.ok((one?.departures.length ?? 0) > 20);
  assert.deepEqual(seven, one);
  assert.deepEqual(all, one);
  for (const file of files) {
    const counted = file
      .prepare(
        `SELECT user_id, sum(archived_at IS NULL) AS total,
           sum(archived_at IS NULL AND seen_at IS NULL) AS unseen,
           sum(archived_at IS NULL AND read_at IS NULL) AS unread
         FROM inbox GROUP BY user_id ORDER BY user_id`,
      )
      .all();
    const kept = file
      .prepare('SELECT user_id, total, unseen, unread FROM inbox_count ORDER BY user_id')
      .all();
    assert.deepEqual(kept, counted);
    file.close();
  }
});

test('a log that is taken from the beginning again leaves no departures of another time', async () => {
  await using log = openLog();
  await writeHistory(log, 60);
  const file = project(log, 'projection.db', 10);
  const before = rowsOf(file);
  file.exec('DELETE FROM inbox; DELETE FROM inbox_count; DELETE FROM inbox_mark');
  file.exec("INSERT INTO inbox_departure VALUES (999, 1, 'ghost', 0, 'removed', '[1]', NULL)");
  follow(log, file, 0, 10);
  const after = rowsOf(file);
  assert.deepEqual(after.inbox, before.inbox);
  assert.deepEqual(after.departures, before.departures);
  file.close();
});

test('what left longer ago than is kept is forgotten, in the projection and in the log', async () => {
  await using log = openLog();
  await log.writer.call('deliverInbox', item(1, 'ada'));
  await log.writer.call('deliverInbox', item(2, 'ada'));
  await log.remove(1, 1);
  const file = project(log, 'projection.db', 10);
  assert.equal(rowsOf(file).departures.length, 1);
  // As if very much had happened since.
  const far = openForWriting(log.file.path, { durability: 'full' });
  far.exec("INSERT INTO inbox_log VALUES (300000, NULL, 1, 'bob', 0, 'seen', NULL, NULL, NULL)");
  far.close();
  follow(log, file, 3, 10);
  assert.equal(rowsOf(file).departures.length, 0);
  const again = new GroupWriter({
    open: () => openForWriting(log.file.path, { durability: 'full' }),
    prepare: (database) => {
      const inbox = inboxOperations(database);
      const run = ([first, last]: [number, number]) => inbox.remove(first, last, 5);
      return { operations: { remove: { isolated: true, run } } };
    },
  });
  await new LocalWriteClient(again).call('remove', [2, 2]);
  again.close();
  assert.deepEqual(
    log.messages
      .prepare('SELECT seq, user_id FROM inbox_removed')
      .all()
      .map((row) => ({ ...row })),
    [{ seq: 300_001, user_id: 'ada' }],
  );
  file.close();
});

test('a group that is rolled back is taken again as if nothing had been', async () => {
  await using log = openLog();
  await writeHistory(log, 60);
  const expected = project(log, 'straight.db', 1000);
  const file = openProjection(log, 'interrupted.db');
  const projection = new InboxProjection({ messages: log.messages, projection: file });
  file.exec('BEGIN IMMEDIATE');
  projection.apply(projection.read(0, 40));
  file.exec('ROLLBACK');
  follow(log, file, 0, 40);
  assert.deepEqual(rowsOf(file), rowsOf(expected));
  for (const opened of [expected, file]) opened.close();
});

test('long contents end a group early, so that it fits the memory', async () => {
  await using log = openLog();
  const content = JSON.stringify({ text: 'x'.repeat(60_000) });
  for (let id = 1; id <= 300; id++)
    await log.writer.call('deliverInbox', item(id, 'ada', { content }));
  const file = openProjection(log, 'projection.db');
  const projection = new InboxProjection({ messages: log.messages, projection: file });
  const group = projection.read(0, 4000);
  assert.ok(group.length < 200 && group.length > 100, String(group.length));
  follow(log, file, 0, 4000);
  assert.equal(rowsOf(file).inbox.length, 300);
  file.close();
});

test('removed messages leave the inbox, their content leaves the log, and nobody is named', async () => {
  await using log = openLog();
  for (const id of [1, 2, 3, 4]) await log.writer.call('deliverInbox', item(id, 'ada'));
  const file = project(log, 'projection.db', 100);
  await log.remove(2, 4);
  follow(log, file, 4, 100);
  assert.deepEqual(
    rowsOf(file).inbox.map((row) => row['message_id']),
    [1],
  );
  assert.deepEqual(
    log.messages
      .prepare("SELECT message_id, user_id, detail FROM inbox_log WHERE type = 'removed'")
      .all()
      .map((row) => ({ ...row })),
    [2, 3, 4].map((id) => ({ message_id: id, user_id: '', detail: null })),
  );
  const rebuilt = project(log, 'rebuilt.db', 100);
  assert.deepEqual(rowsOf(rebuilt).inbox, rowsOf(file).inbox);
  for (const opened of [file, rebuilt]) opened.close();
});

test('a number is never given out twice, also when the newest item was removed and the writer is new', async () => {
  await using log = openLog();
  for (const id of [1, 2]) await log.writer.call('deliverInbox', item(id, 'ada'));
  const file = project(log, 'projection.db', 100);
  await log.remove(2, 2);
  const again = new GroupWriter({
    open: () => openForWriting(log.file.path, { durability: 'full' }),
    prepare: inboxOperations,
  });
  const writer = new LocalWriteClient(again);
  await writer.call('deliverInbox', item(3, 'ada'));
  again.close();
  follow(log, file, 2, 100);
  assert.deepEqual(
    rowsOf(file).inbox.map((row) => row['message_id']),
    [1, 3],
  );
  file.close();
});

test('look-ups by user, by key and by message go through an index', async () => {
  await using log = openLog();
  const file = project(log, 'projection.db', 1);
  const plan = (database: DatabaseSync, sql: string) =>
    database
      .prepare(`EXPLAIN QUERY PLAN ${sql}`)
      .all()
      .map((row) => row['detail'] as string)
      .join('; ');
  const mine = 'application_id = 1 AND user_id = 1';
  assert.match(
    plan(file, `SELECT * FROM inbox WHERE ${mine} ORDER BY position DESC`),
    /^SEARCH inbox USING INDEX inbox_user/,
  );
  assert.match(
    plan(
      file,
      `UPDATE inbox SET seen_at = 1 WHERE ${mine} AND collapse_key = 1 AND archived_at IS NULL`,
    ),
    /inbox_collapse/,
  );
  assert.match(
    plan(log.messages, "DELETE FROM inbox_log WHERE message_id BETWEEN 1 AND 2 AND type = 'item'"),
    /inbox_log_item/,
  );
  file.close();
});
