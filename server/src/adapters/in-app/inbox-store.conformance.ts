/** What every engine of the inbox store must hold to, written against the sentences of the port. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { InboxAction, InboxState } from '@tidings/contracts/inbox';
import { ServiceError } from '../../errors.ts';
import { formatId } from '../../id.ts';
import {
  deliveredItem,
  type InboxChange,
  type InboxOwner,
  type InboxStore,
  type NewInboxItem,
} from './inbox-store.ts';
import { runInboxStoreDepartures } from './inbox-store-departures.conformance.ts';
import { runInboxStoreModel } from './inbox-store-model.conformance.ts';

export interface OpenedInboxStore extends AsyncDisposable {
  store: InboxStore;
  /** Deletes messages by number, as the notification store does. */
  remove(first: number, last?: number): Promise<unknown>;
}

export const ADA: InboxOwner = { applicationId: 1, userId: 'ada' };
export const AT = Date.UTC(2026, 10, 22, 8);

/** Message number `n` as its id. */
export const id = (n: number): string => formatId('msg', n);

export function itemFor(
  owner: InboxOwner,
  n: number,
  more: Partial<NewInboxItem> = {},
): NewInboxItem {
  return {
    ...owner,
    messageId: id(n),
    content: {
      title: `Message ${n}`,
      text: null,
      url: null,
      imageUrl: null,
      actions: [],
      data: {},
    },
    category: null,
    collapseKey: null,
    at: AT + n,
    ...more,
  };
}

export const change = (
  action: InboxAction,
  items: readonly string[] | 'all',
  more: Partial<InboxChange> = {},
): InboxChange => ({ action, items, category: null, at: AT + 1000, ...more });

export async function idsOf(
  store: InboxStore,
  owner: InboxOwner,
  state: InboxState = 'all',
  category: string | null = null,
): Promise<string[]> {
  const { items } = await store.list(owner, { state, category, limit: 200, cursor: null });
  return items.map((item) => item.id);
}

export function runInboxStoreConformance(
  name: string,
  open: () => Promise<OpenedInboxStore>,
): void {
  describe(`${name} conforms to the inbox store`, { timeout: 60_000 }, () => {
    testDelivery(open);
    testLists(open);
    testMarks(open);
    testCollapse(open);
    testIsolation(open);
    testStream(open);
    runInboxStoreDepartures(open);
    testEngagement(open);
    runInboxStoreModel(open);
  });
}

type Open = () => Promise<OpenedInboxStore>;

function testDelivery(open: Open): void {
  test('a delivered item is shown as it was given', async () => {
    await using opened = await open();
    const { store } = opened;
    const item = itemFor(ADA, 1, {
      content: {
        title: '订单 🎉 𠮷',
        text: 'two\nlines\u2028and "quotes" \\ \'',
        url: '/orders/1?a=b#c',
        imageUrl: 'https://x.example/i.png',
        actions: [{ label: 'Öffnen', url: 'app://order/1' }],
        data: { nested: { list: [1, 'zwei', null, true, 1.5e300] }, '': '', ключ: '值' },
      },
      category: 'order-updates',
      collapseKey: 'order 1 ',
    });
    const { position } = await store.deliver(item);
    const shown = deliveredItem(item);
    const { items } = await store.list(ADA, {
      state: 'all',
      category: null,
      limit: 1,
      cursor: null,
    });
    assert.deepEqual(items, [shown]);
    assert.deepEqual(await store.since(ADA, 0, 10), [{ ...ADA, position, item: shown }]);
    assert.deepEqual(await store.counts(ADA), { unseen: 1, unread: 1, total: 1 });
    assert.equal(await store.position(), position);
  });

  test('an inbox that nothing came to is empty', async () => {
    await using opened = await open();
    const { store } = opened;
    assert.deepEqual(await idsOf(store, ADA), []);
    assert.deepEqual(await store.counts(ADA), { unseen: 0, unread: 0, total: 0 });
    assert.deepEqual(await store.since(ADA, 0, 10), []);
    assert.equal(await store.position(), 0);
  });

  test('a repeated delivery adds and changes nothing, whatever it holds', async () => {
    await using opened = await open();
    const { store } = opened;
    const first = await store.deliver(itemFor(ADA, 1, { collapseKey: 'a' }));
    await store.deliver(itemFor(ADA, 2));
    await store.mark(ADA, change('read', 'all'));
    const again = await store.deliver(
      itemFor({ applicationId: 1, userId: 'bob' }, 1, { category: 'other', collapseKey: 'b' }),
    );
    assert.deepEqual(again, first);
    assert.deepEqual(await idsOf(store, ADA), [id(2), id(1)]);
    assert.deepEqual(await idsOf(store, { applicationId: 1, userId: 'bob' }), []);
    assert.equal((await store.counts(ADA)).unread, 0);
  });

  test('the same delivery many times at once adds one item', async () => {
    await using opened = await open();
    const { store } = opened;
    const all = await Promise.all(Array.from({ length: 20 }, () => store.deliver(itemFor(ADA, 1))));
    assert.equal(new Set(all.map(({ position }) => position)).size, 1);
    assert.deepEqual(await store.counts(ADA), { unseen: 1, unread: 1, total: 1 });
  });

  test('a read sees every write that resolved before it', async () => {
    await using opened = await open();
    const { store } = opened;
    for (let n = 1; n <= 30; n++) {
      const { position } = await store.deliver(itemFor(ADA, n));
      const [ids, counts, newest, entries] = await Promise.all([
        idsOf(store, ADA),
        store.counts(ADA),
        store.position(),
        store.since(ADA, position - 1, 5),
      ]);
      assert.equal(ids[0], id(n));
      assert.equal(counts.total, n);
      assert.equal(newest, position);
      assert.deepEqual(
        entries.map(({ item }) => item.id),
        [id(n)],
      );
      assert.equal(await store.mark(ADA, change('read', [id(n)])), 1);
      assert.equal((await store.counts(ADA)).unread, 0);
    }
  });
}

function testLists(open: Open): void {
  test('pages go through everything once, newest first', async () => {
    await using opened = await open();
    const { store } = opened;
    for (let n = 1; n <= 7; n++) await store.deliver(itemFor(ADA, n));
    for (const limit of [1, 3, 7, 8]) {
      const seen: string[] = [];
      let cursor: string | null = null;
      do {
        const page = await store.list(ADA, { state: 'all', category: null, limit, cursor });
        assert.ok(page.items.length <= limit);
        seen.push(...page.items.map((item) => item.id));
        cursor = page.next;
      } while (cursor !== null);
      assert.deepEqual(seen, [7, 6, 5, 4, 3, 2, 1].map(id));
    }
  });

  test('a page goes on where the one before ended, also when items come in between', async () => {
    await using opened = await open();
    const { store } = opened;
    for (let n = 1; n <= 4; n++) await store.deliver(itemFor(ADA, n));
    const query = { state: 'unread', category: null, limit: 2 } as const;
    const first = await store.list(ADA, { ...query, cursor: null });
    await store.deliver(itemFor(ADA, 5));
    await store.mark(ADA, change('read', [id(4)]));
    const second = await store.list(ADA, { ...query, cursor: first.next });
    assert.deepEqual(
      second.items.map((item) => item.id),
      [id(2), id(1)],
    );
  });

  test('a cursor that was never given out is refused with its name', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.deliver(itemFor(ADA, 1));
    for (const cursor of ['', 'x', '0', '-1', 'MQ==', "' OR 1=1 --", '字']) {
      await assert.rejects(
        store.list(ADA, { state: 'all', category: null, limit: 5, cursor }),
        (error: unknown) =>
          error instanceof ServiceError &&
          error.code === 'invalid_request' &&
          error.errors?.[0]?.path === 'query.cursor',
        cursor,
      );
    }
  });

  test('states and category narrow the list', async () => {
    await using opened = await open();
    const { store } = opened;
    for (let n = 1; n <= 6; n++) {
      await store.deliver(itemFor(ADA, n, { category: n % 2 === 0 ? 'even' : null }));
    }
    await store.mark(ADA, change('seen', [id(1), id(2)]));
    await store.mark(ADA, change('read', [id(3)]));
    await store.mark(ADA, change('archive', [id(6), id(5)]));
    assert.deepEqual(await idsOf(store, ADA, 'all'), [4, 3, 2, 1].map(id));
    assert.deepEqual(await idsOf(store, ADA, 'unread'), [4, 2, 1].map(id));
    assert.deepEqual(await idsOf(store, ADA, 'unseen'), [4].map(id));
    assert.deepEqual(await idsOf(store, ADA, 'archived'), [6, 5].map(id));
    assert.deepEqual(await idsOf(store, ADA, 'all', 'even'), [4, 2].map(id));
    assert.deepEqual(await idsOf(store, ADA, 'archived', 'even'), [6].map(id));
    assert.deepEqual(await idsOf(store, ADA, 'all', 'EVEN'), []);
    assert.deepEqual(await idsOf(store, ADA, 'all', 'even '), []);
    assert.deepEqual(await store.counts(ADA), { unseen: 1, unread: 3, total: 4 });
  });
}

function testMarks(open: Open): void {
  test('each action changes what it names, once', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.deliver(itemFor(ADA, 1));
    const at = AT + 5000;
    const time = new Date(at).toISOString();
    const none = { seenAt: null, readAt: null, archivedAt: null };
    const read = { seenAt: time, readAt: time, archivedAt: null };
    const steps: [InboxAction, object][] = [
      ['seen', { ...none, seenAt: time }],
      ['read', read],
      ['unread', { ...read, readAt: null }],
      ['read', read],
      ['archive', { ...read, archivedAt: time }],
      ['unread', { seenAt: time, readAt: null, archivedAt: time }],
      ['unarchive', { seenAt: time, readAt: null, archivedAt: null }],
    ];
    for (const [action, expected] of steps) {
      assert.equal(await store.mark(ADA, change(action, [id(1)], { at })), 1, action);
      const repeated = change(action, [id(1), id(1)], { at: at + 99 });
      assert.equal(await store.mark(ADA, repeated), 0, `${action} again`);
      const [entry] = await store.since(ADA, 0, 1);
      assert.deepEqual(entry?.item, { ...deliveredItem(itemFor(ADA, 1)), ...expected }, action);
    }
  });

  test('what is read is seen, and keeps the time it was seen', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.deliver(itemFor(ADA, 1));
    await store.deliver(itemFor(ADA, 2));
    await store.mark(ADA, change('seen', [id(1)], { at: AT + 10 }));
    assert.equal(await store.mark(ADA, change('read', 'all', { at: AT + 20 })), 2);
    const seen = (await store.since(ADA, 0, 2)).map(({ item }) => Date.parse(item.seenAt ?? ''));
    assert.deepEqual(seen, [AT + 10, AT + 20]);
    assert.deepEqual(await store.counts(ADA), { unseen: 0, unread: 0, total: 2 });
  });

  test('ids that are in no inbox of this user are passed over', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.deliver(itemFor(ADA, 1));
    await store.deliver(itemFor({ applicationId: 1, userId: 'bob' }, 2));
    await store.deliver(itemFor({ applicationId: 2, userId: 'ada' }, 3));
    const ids = ['', 'msg_', 'nonsense', "x' OR '1'='1", id(999), id(2), id(3), id(1), id(1)];
    assert.equal(await store.mark(ADA, change('read', ids)), 1);
    assert.equal(await store.mark(ADA, change('archive', ['nonsense'])), 0);
    assert.equal((await store.counts({ applicationId: 1, userId: 'bob' })).unread, 1);
    assert.equal((await store.counts({ applicationId: 2, userId: 'ada' })).unread, 1);
  });

  test('"all" is everything that is not archived, narrowed by category', async () => {
    await using opened = await open();
    const { store } = opened;
    for (let n = 1; n <= 4; n++) {
      await store.deliver(itemFor(ADA, n, { category: n > 2 ? 'news' : null }));
    }
    await store.mark(ADA, change('archive', [id(1)]));
    assert.equal(await store.mark(ADA, change('read', 'all', { category: 'news' })), 2);
    assert.deepEqual(await idsOf(store, ADA, 'unread'), [id(2)]);
    assert.equal(await store.mark(ADA, change('read', 'all')), 1);
    assert.equal(await store.mark(ADA, change('unarchive', 'all')), 0);
    const unread = (await store.since(ADA, 0, 9)).filter(({ item }) => item.readAt === null);
    assert.deepEqual(
      unread.map(({ item }) => item.id),
      [id(1)],
      'the archived one stays unread',
    );
    await store.deliver(itemFor(ADA, 5));
    assert.deepEqual(await idsOf(store, ADA, 'unread'), [id(5)], 'what comes later is not reached');
  });

  test('the category means nothing where ids are given', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.deliver(itemFor(ADA, 1, { category: 'news' }));
    assert.equal(await store.mark(ADA, change('seen', [id(1)], { category: 'other' })), 1);
  });

  test('marks made at the same time count each change once', async () => {
    await using opened = await open();
    const { store } = opened;
    for (let n = 1; n <= 50; n++) await store.deliver(itemFor(ADA, n));
    const some = Array.from({ length: 50 }, (_, i) => id(i + 1));
    const counted = await Promise.all([
      ...Array.from({ length: 5 }, () => store.mark(ADA, change('read', 'all'))),
      ...Array.from({ length: 5 }, (_, i) => store.mark(ADA, change('read', some.slice(i * 10)))),
    ]);
    assert.equal(
      counted.reduce((sum, n) => sum + n),
      50,
    );
  });
}

function testCollapse(open: Open): void {
  test('a newer item with the same key archives the older ones', async () => {
    await using opened = await open();
    const { store } = opened;
    const bob = { applicationId: 1, userId: 'bob' };
    await store.deliver(itemFor(ADA, 1, { collapseKey: 'build' }));
    await store.deliver(itemFor(ADA, 2, { collapseKey: 'BUILD' }));
    await store.deliver(itemFor(ADA, 3, { collapseKey: 'build ' }));
    await store.deliver(itemFor(bob, 4, { collapseKey: 'build' }));
    await store.deliver(itemFor(ADA, 5));
    await store.deliver(itemFor(ADA, 6, { collapseKey: 'build' }));
    assert.deepEqual(await idsOf(store, ADA), [6, 5, 3, 2].map(id));
    assert.deepEqual(await idsOf(store, ADA, 'archived'), [id(1)]);
    assert.deepEqual(await idsOf(store, bob), [id(4)]);
    assert.deepEqual(await store.counts(ADA), { unseen: 4, unread: 4, total: 4 });
    await store.deliver(itemFor(ADA, 1, { collapseKey: 'build' }));
    assert.deepEqual(await idsOf(store, ADA), [6, 5, 3, 2].map(id), 'a repeat replaces nothing');
  });

  test('an item brought back from the archive is replaced again', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.deliver(itemFor(ADA, 1, { collapseKey: 'k' }));
    await store.deliver(itemFor(ADA, 2, { collapseKey: 'k' }));
    await store.mark(ADA, change('unarchive', [id(1)]));
    await store.deliver(itemFor(ADA, 3, { collapseKey: 'k' }));
    assert.deepEqual(await idsOf(store, ADA), [id(3)]);
  });
}

function testIsolation(open: Open): void {
  test('inboxes whose names look alike are different ones', async () => {
    await using opened = await open();
    const { store } = opened;
    const names = ['a', 'A', 'a ', ' a', 'ä', 'a\u0308', 'ａ', '😀', '😁', 'a%', '_', '1', '01'];
    const owners = names.flatMap((userId) =>
      [1, 2].map((applicationId) => ({ applicationId, userId })),
    );
    for (const [i, owner] of owners.entries()) await store.deliver(itemFor(owner, i + 1));
    for (const [i, owner] of owners.entries()) {
      assert.deepEqual(await idsOf(store, owner), [id(i + 1)], JSON.stringify(owner));
      assert.equal((await store.since(owner, 0, 10)).length, 1);
      assert.deepEqual(await store.counts(owner), { unseen: 1, unread: 1, total: 1 });
      assert.equal(await store.mark(owner, change('read', 'all')), 1);
    }
  });
}

function testStream(open: Open): void {
  test('positions grow over all inboxes, and `since` goes through them in order', async () => {
    await using opened = await open();
    const { store } = opened;
    const bob = { applicationId: 1, userId: 'bob' };
    const positions: number[] = [];
    for (let n = 1; n <= 10; n++) {
      positions.push((await store.deliver(itemFor(n % 2 === 0 ? bob : ADA, n))).position);
    }
    assert.deepEqual(
      positions,
      [...positions].sort((a, b) => a - b),
    );
    assert.equal(new Set(positions).size, 10);
    const ofAda = positions.filter((_, i) => i % 2 === 0);
    assert.deepEqual(
      (await store.since(ADA, 0, 3)).map((entry) => entry.position),
      ofAda.slice(0, 3),
    );
    const rest = await store.since(ADA, ofAda[2] as number, 100);
    assert.deepEqual(
      rest.map((entry) => entry.position),
      ofAda.slice(3),
    );
    assert.deepEqual(await store.since(ADA, positions.at(-1) as number, 100), []);
    assert.equal(await store.position(), positions.at(-1));
  });

  test('archived and replaced items are part of it', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.deliver(itemFor(ADA, 1, { collapseKey: 'k' }));
    await store.deliver(itemFor(ADA, 2, { collapseKey: 'k' }));
    await store.mark(ADA, change('archive', [id(2)]));
    const entries = await store.since(ADA, 0, 10);
    assert.deepEqual(
      entries.map(({ item }) => item.id),
      [id(1), id(2)],
    );
    assert.ok(entries.every(({ item }) => item.archivedAt !== null));
  });

  test('items delivered at the same time are seen in order by whoever reads along', async () => {
    await using opened = await open();
    const { store } = opened;
    const seen: number[] = [];
    let delivered = 0;
    const deliveries = Array.from({ length: 200 }, (_, i) =>
      store.deliver(itemFor(ADA, i + 1)).finally(() => delivered++),
    );
    for (let done = false; !done; ) {
      done = delivered === deliveries.length;
      const entries = await store.since(ADA, seen.at(-1) ?? 0, 7);
      seen.push(...entries.map(({ position }) => position));
      done &&= entries.length === 0;
      await setImmediate();
    }
    const positions = (await Promise.all(deliveries)).map(({ position }) => position);
    assert.deepEqual(
      seen,
      positions.sort((a, b) => a - b),
    );
  });
}

function testEngagement(open: Open): void {
  test('engagement tells the present times by message', async () => {
    await using opened = await open();
    const { store } = opened;
    for (const n of [1, 2, 3]) await store.deliver(itemFor(ADA, n));
    await store.mark(ADA, change('read', [id(1)], { at: AT + 10 }));
    await store.mark(ADA, change('unread', [id(1)], { at: AT + 20 }));
    await store.mark(ADA, change('archive', [id(2)], { at: AT + 30 }));
    const found = await store.engagement([3, 1, 2, 2, 77]);
    assert.deepEqual(
      found,
      new Map([
        [1, { seenAt: AT + 10, readAt: null, archivedAt: null }],
        [2, { seenAt: null, readAt: null, archivedAt: AT + 30 }],
        [3, { seenAt: null, readAt: null, archivedAt: null }],
      ]),
    );
    assert.equal((await store.engagement([])).size, 0);
  });
}
