/** Lists over messages: which index leads, what a page that ends early says, what happens to the thread. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { openProjectionFile } from '../../../test/support/projection.ts';
import { ServiceError } from '../../errors.ts';
import { firstIdAt } from '../../id.ts';
import type { SearchFilter } from '../../notification/notification-store.ts';
import { openForWriting } from './connection.ts';
import { MessageSearch, ThreadReading } from './message-search.ts';
import { findPage, Statements } from './message-search-page.ts';
import { planOf } from './message-search-plan.ts';
import { SearchReader } from './message-search-reader.ts';
import { migrate, readMigrations } from './migrate.ts';

const START = Date.UTC(2026, 5, 1);
const CHANNELS = ['email', 'in_app', 'webhook'];

interface Row {
  id: number;
  application: number;
  status: number;
  lane: number;
  test: number;
  createdAt: number;
  channel: string;
  user: string;
  template: string | null;
  category: string;
  batch: string | null;
}

/** Rows of two applications in which every filter has some matches, and pairs of them have few or none. */
function rowAt(n: number): Row {
  return {
    id: firstIdAt(START + n * 1000) + 1,
    application: n % 10 === 0 ? 2 : 1,
    status: n % 17 === 0 ? 5 : n % 23 === 0 ? 1 : n % 29 === 0 ? 9 : 4,
    lane: n % 7 === 0 ? 0 : 1,
    test: n % 13 === 0 ? 1 : 0,
    createdAt: START + n * 1000,
    channel: CHANNELS[n % 3] as string,
    user: `user-${n % 40}`,
    template: n % 5 === 0 ? `template-${n % 4}` : null,
    category: n % 2 === 0 ? 'news' : 'orders',
    batch: n % 31 === 0 ? 'b' : null,
  };
}

const ROWS = Array.from({ length: 3000 }, (_, n) => rowAt(n));

function openLists() {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-search-'));
  const file = openProjectionFile(folder);
  const records = openForWriting(join(folder, 'records.db'), { durability: 'normal' });
  migrate(records, readMigrations('records'));
  const member = records.prepare('INSERT INTO user_group VALUES (?, ?, ?)');
  member.run(1, 'few', 'user-3');
  member.run(1, 'few', 'user-4');
  for (let n = 0; n < 400; n++) member.run(1, 'many', `user-${n}`);
  records.exec(
    "INSERT INTO application (id, key, name, created_at) VALUES (1, 'a', 'a', 0), (2, 'b', 'b', 0)",
  );
  records.close();
  const add = file.connection.prepare(
    'INSERT INTO message_index VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, NULL, ?, ?, ?, NULL)',
  );
  file.connection.exec('BEGIN');
  for (const row of ROWS) {
    const { id, application, status, lane, test, createdAt, channel, user } = row;
    add.run(
      id,
      id - 1,
      application,
      status,
      lane,
      test,
      createdAt,
      createdAt,
      channel,
      user,
      row.template,
      row.category,
      row.batch,
    );
  }
  file.connection.exec('COMMIT');
  const messages = new DatabaseSync(join(folder, 'messages.db'));
  migrate(messages, readMigrations('messages'));
  messages.close();
  file.reader.prepare('ATTACH ? AS records').run(join(folder, 'records.db'));
  return {
    folder,
    connection: file.connection,
    statements: new Statements(file.reader),
    files: {
      messages: join(folder, 'messages.db'),
      projection: join(folder, 'projection.db'),
      records: join(folder, 'records.db'),
    },
    [Symbol.dispose]() {
      file.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

type Lists = ReturnType<typeof openLists>;
type Partly = Partial<SearchFilter>;

const GROUPS: Record<string, (user: string) => boolean> = {
  few: (user) => user === 'user-3' || user === 'user-4',
  many: () => true,
  nobody: () => false,
};

/** What a filter means, said a second time. */
function fits(row: Row, filter: Partly): boolean {
  const same = (value: unknown, wanted: unknown) => wanted === undefined || value === wanted;
  const status = { failed: [5], accepted: [1, 9], delivered: [4], sending: [2] }[
    filter.status as string
  ];
  return (
    (filter.applicationId === null || same(row.application, filter.applicationId)) &&
    same(row.channel, filter.channel) &&
    same(row.user, filter.userId) &&
    same(row.template, filter.template) &&
    same(row.category, filter.category) &&
    same(row.batch, filter.batch) &&
    same(row.lane, filter.lane) &&
    same(row.test === 1 ? 'test' : 'live', filter.kind) &&
    (status === undefined || status.includes(row.status)) &&
    (filter.group === undefined ||
      (row.application === 1 && GROUPS[filter.group]?.(row.user) === true)) &&
    (filter.from === undefined || row.createdAt >= filter.from) &&
    (filter.to === undefined || row.createdAt < filter.to)
  );
}

const FILTERS: Partly[] = [
  {},
  { userId: 'user-7' },
  { userId: 'nobody' },
  { batch: 'b' },
  { template: 'template-0' },
  { channel: 'webhook' },
  { channel: 'sms' },
  { category: 'news' },
  { lane: 0 },
  { lane: 1 },
  { lane: 2 },
  { kind: 'test' },
  { kind: 'live' },
  { status: 'failed' },
  { status: 'accepted' },
  { status: 'delivered' },
  { status: 'sending' },
  { group: 'few' },
  { group: 'many' },
  { group: 'nobody' },
  { from: START + 500_000, to: START + 1_000_000 },
  { to: START + 10_500 },
  { from: START + 5_000_000 },
];

/** Each of them, and each pair of different ones. */
function combinations(): Partly[] {
  return FILTERS.flatMap((one, i) => [
    one,
    ...FILTERS.slice(i + 1)
      .filter((other) => Object.keys(other).every((name) => !(name in one)))
      .map((other) => ({ ...one, ...other })),
  ]);
}

/** All pages of a list, each ended after its first slice. */
function pagesOf({ statements }: Lists, filter: SearchFilter, sliceRows: number) {
  const pages: number[][] = [];
  let before = filter.before;
  do {
    const steps = findPage(statements, { ...filter, before }, sliceRows);
    let step = steps.next(false);
    if (!step.done) step = steps.next(true);
    assert.ok(step.done, 'it ends when it is told to');
    const { found, next } = step.value;
    pages.push(found.map(({ key }) => key));
    assert.ok(
      next === null || before === null || next < before,
      'each page goes on below the last',
    );
    before = next;
  } while (before !== null);
  return pages;
}

describe('pages of a list', () => {
  it('together have exactly what fits, newest first, for every pair of filters', () => {
    using lists = openLists();
    for (const filter of combinations()) {
      for (const applicationId of [1, 2, null]) {
        const whole: SearchFilter = { ...filter, applicationId, limit: 50, before: null };
        const expected = ROWS.filter((row) => fits(row, whole))
          .map(({ id }) => id)
          .reverse();
        const pages = pagesOf(lists, whole, 100);
        const asked = JSON.stringify(whole);
        assert.deepEqual(pages.flat(), expected, asked);
        assert.ok(
          pages.every((page) => page.length <= 50),
          asked,
        );
      }
    }
  });

  it('are short or empty, with a next one, when little is found', () => {
    using lists = openLists();
    // Their slices hold no such message: webhooks and in-app ones are of different thirds.
    const filter = {
      applicationId: 1,
      channel: 'webhook',
      category: 'news',
      status: 'delivered',
      batch: 'b',
    } as const;
    const pages = pagesOf(lists, { ...filter, limit: 10, before: null }, 10);
    assert.ok(pages.length > 3);
    assert.ok(pages.some((page) => page.length === 0));
  });

  it('go by the index that leaves the least to look at, without being told which', () => {
    using lists = openLists();
    const filter = { applicationId: 1, channel: 'email', userId: 'user-7', kind: 'live' } as const;
    // By the user there are 75 messages, by the channel a thousand.
    assert.equal(pagesOf(lists, { ...filter, limit: 50, before: null }, 80).length, 1);
    // One in thirteen is a test's, one in three an email.
    const slices = Math.ceil(ROWS.filter((row) => row.test === 1).length / 20);
    const both = { applicationId: null, channel: 'email', kind: 'test' } as const;
    assert.equal(pagesOf(lists, { ...both, limit: 50, before: null }, 20).length, slices);
  });

  it('of one filter need nothing but its index', () => {
    const whole = (filter: Partly, applicationId: number | null): string[] =>
      planOf({ ...filter, applicationId, limit: 1, before: null }, { leadMs: 0, smallGroup: false })
        .leads.filter((lead) => lead.whole)
        .map(({ index }) => index ?? 'table');
    assert.deepEqual(whole({}, null), ['table']);
    assert.deepEqual(whole({}, 1), ['message_index_application']);
    for (const name of ['channel', 'category'] as const) {
      assert.deepEqual(whole({ [name]: 'x' }, 1), [`message_index_${name}`]);
      assert.deepEqual(whole({ [name]: 'x' }, null), [`message_index_any_${name}`]);
    }
    assert.deepEqual(whole({ userId: 'x' }, 1), ['message_index_user']);
    assert.deepEqual(whole({ batch: 'x' }, 1), ['message_index_batch']);
    assert.deepEqual(whole({ template: 'x' }, null), ['message_index_template']);
    assert.deepEqual(whole({ status: 'failed' }, 1), ['message_index_status']);
    assert.deepEqual(whole({ status: 'failed' }, null), ['message_index_any_status']);
    assert.deepEqual(whole({ lane: 0 }, null), ['message_index_lane']);
    assert.deepEqual(whole({ kind: 'test' }, null), ['message_index_test']);
  });

  it('up to a time begin there, also when ids ran ahead of the time', () => {
    using lists = openLists();
    const id = firstIdAt(START + 2_000_000) + 7;
    lists.connection
      .prepare(`INSERT INTO message_index (id, notification_id, application_id, status, lane, test, created_at, updated_at, attempts)
        VALUES (?, 1, 1, 4, 1, 0, ?, 0, 1)`)
      .run(id, START + 1_500);
    const filter = { applicationId: 1, to: START + 2_000, limit: 10, before: null };
    const found = () => pagesOf(lists, filter, 1000).flat().includes(id);
    assert.equal(found(), false, 'nobody has said that ids run ahead');
    lists.connection.exec("INSERT OR REPLACE INTO position VALUES ('lead', 1998500)");
    assert.equal(found(), true);
  });
});

const FOLLOWED = { caughtUp: async () => {} };
const ALL = { applicationId: null, limit: 10, before: null };

describe('the reader', () => {
  it('gives every list its turn, and counts beside them', async () => {
    using lists = openLists();
    const reader = new SearchReader(lists.files, { budgetMs: 0 });
    const search = new MessageSearch(reader, FOLLOWED);
    try {
      const [ledger, found, page] = await Promise.all([
        search.ledger({ applicationId: null }),
        search.find({ ...ALL, status: 'failed', category: 'news', limit: 1000 }),
        search.page(ALL),
      ]);
      assert.equal(ledger.balanced, true);
      assert.equal(
        found.length,
        ROWS.filter(({ status, category }) => status === 5 && category === 'news').length,
      );
      assert.equal(page.found.length, 10);
    } finally {
      search.close();
    }
  });
});

describe('the thread that reads lists', () => {
  it('is there while it is asked, and ends behind a silence', async () => {
    using lists = openLists();
    const clock = new ManualClock(START);
    const reading = new ThreadReading(lists.files, { clock, idleMs: 1000 });
    const search = new MessageSearch(reading, FOLLOWED);
    try {
      assert.equal(reading.running, false, 'nobody has asked');
      assert.equal((await search.page(ALL)).found.length, 10);
      assert.equal(reading.running, true);
      clock.advance(999);
      assert.equal((await search.page(ALL)).next, ROWS.at(-10)?.id);
      clock.advance(999);
      assert.equal(reading.running, true, 'the silence began anew');
      clock.advance(1);
      assert.equal(reading.running, false);
      assert.equal((await search.page(ALL)).found.length, 10, 'it is started again');
    } finally {
      search.close();
    }
    await assert.rejects(search.page(ALL), { code: 'shutting_down' });
  });

  it('that cannot read says what is wrong, and reads again when it is mended', async () => {
    using lists = openLists();
    const clock = new ManualClock(START);
    const missing = { ...lists.files, projection: join(lists.folder, 'none.db') };
    const search = new MessageSearch(new ThreadReading(missing, { clock }), FOLLOWED);
    try {
      await assert.rejects(search.page(ALL), { code: 'store_unavailable' });
      openForWriting(missing.projection, { durability: 'normal' }).close();
      await assert.rejects(search.page(ALL), (error) => error instanceof ServiceError);
      const file = new DatabaseSync(missing.projection);
      migrate(file, readMigrations('projection'));
      file.close();
      assert.deepEqual(await search.page(ALL), { found: [], next: null });
    } finally {
      search.close();
    }
  });

  it('refuses more than it can hold', async () => {
    using lists = openLists();
    const reading = new ThreadReading(lists.files, { clock: new ManualClock(START) });
    const asked = Array.from({ length: 501 }, () => reading.run('page', ALL));
    const ended = await Promise.allSettled(asked);
    assert.equal(ended.filter(({ status }) => status === 'fulfilled').length, 500);
    const [refused] = ended.filter((each) => each.status === 'rejected');
    assert.equal(refused?.reason.code, 'overloaded');
    reading.close();
  });

  it('that is ended with lists under way answers them', async () => {
    using lists = openLists();
    const reading = new ThreadReading(lists.files, { clock: new ManualClock(START) });
    const asked = reading.run('page', ALL);
    reading.close();
    await assert.rejects(asked, { code: 'store_unavailable' });
  });
});
