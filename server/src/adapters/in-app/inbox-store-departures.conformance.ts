/** What leaves inboxes without their users' doing, and inboxes that are cleared. Part of the suite of the port. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ADA,
  AT,
  change,
  id,
  idsOf,
  itemFor,
  type OpenedInboxStore,
} from './inbox-store.conformance.ts';
import type { InboxDepartures } from './inbox-store.ts';

type Open = () => Promise<OpenedInboxStore>;

export function runInboxStoreDepartures(open: Open): void {
  testDepartures(open);
  testClearing(open);
}

const kindsOf = ({ departures }: InboxDepartures) =>
  departures.map((departure) => [
    departure.kind,
    'items' in departure ? departure.items : [],
    departure.kind === 'replaced' ? departure.by : null,
  ]);

function testDepartures(open: Open): void {
  test('what was replaced or removed is told by inbox and in order, and nothing else is', async () => {
    await using opened = await open();
    const { store } = opened;
    const bob = { applicationId: 1, userId: 'bob' };
    const positions: number[] = [];
    for (const n of [1, 2, 3]) {
      positions.push((await store.deliver(itemFor(ADA, n, { collapseKey: 'k' }))).position);
    }
    await store.deliver(itemFor(bob, 4, { collapseKey: 'k' }));
    await store.mark(ADA, change('archive', 'all'));
    await store.deliver(itemFor(ADA, 5));
    await opened.remove(2, 4);
    const all = await store.departures(ADA, 0, 10);
    assert.deepEqual(kindsOf(all), [
      ['replaced', [id(1)], id(2)],
      ['replaced', [], id(3)],
      ['removed', [id(2)], null],
      ['removed', [id(3)], null],
    ]);
    assert.deepEqual(
      all.departures.slice(0, 1).map(({ position, at }) => [position, at]),
      [[positions[1], AT + 2]],
      'it has the place of the item that did it',
    );
    assert.ok(all.complete);
    assert.equal(all.position, await store.position());
    const ofBob = await store.departures(bob, 0, 10);
    assert.deepEqual(kindsOf(ofBob), [['removed', [id(4)], null]]);
    assert.deepEqual(kindsOf(await store.departures(ADA, all.position, 10)), []);
  });

  test('pages of departures leave nothing out, those of all inboxes included', async () => {
    await using opened = await open();
    const { store } = opened;
    const bob = { applicationId: 1, userId: 'bob' };
    for (let n = 1; n <= 20; n++) await store.deliver(itemFor(n % 2 === 0 ? bob : ADA, n));
    await store.position();
    const begun = await store.follow(null, 0);
    assert.deepEqual(begun, { departures: [], position: 20, complete: true });
    await opened.remove(1, 20);
    await store.position();
    for (const limit of [3, 100]) {
      const seen: number[] = [];
      let { position }: { position: number } = begun;
      for (let more = true; more; ) {
        const page: InboxDepartures = await store.follow(position, limit);
        seen.push(...page.departures.map((departure) => departure.position));
        position = page.position;
        more = page.departures.length === limit;
      }
      assert.deepEqual(
        seen,
        Array.from({ length: 20 }, (_, i) => 21 + i),
      );
      assert.equal(position, 40);
    }
    let [from, count] = [0, 0];
    for (let page = await store.departures(ADA, from, 3); page.departures.length > 0; ) {
      count += page.departures.length;
      from = page.position;
      page = await store.departures(ADA, from, 3);
    }
    assert.equal(count, 10);
  });

  test('an item that its user brought back was not replaced, for whoever hears of it later', async () => {
    await using opened = await open();
    const { store } = opened;
    for (const n of [1, 2]) await store.deliver(itemFor(ADA, n, { collapseKey: 'k' }));
    await store.mark(ADA, change('unarchive', [id(1)]));
    assert.deepEqual(kindsOf(await store.departures(ADA, 0, 10)), [['replaced', [], id(2)]]);
  });

  test('what came and went between two looks is told as well', async () => {
    await using opened = await open();
    const { store } = opened;
    await Promise.all([store.deliver(itemFor(ADA, 1)), opened.remove(1)]);
    await opened.remove(1);
    assert.deepEqual(kindsOf(await store.departures(ADA, 0, 10)), [['removed', [id(1)], null]]);
    assert.deepEqual(await store.countsOf([ADA]), [{ unseen: 0, unread: 0, total: 0 }]);
  });

  test('counts of several inboxes come in the order they were asked for', async () => {
    await using opened = await open();
    const { store } = opened;
    const bob = { applicationId: 1, userId: 'bob' };
    for (const n of [1, 2]) await store.deliver(itemFor(ADA, n));
    await store.deliver(itemFor(bob, 3));
    await store.position();
    const nobody = { applicationId: 2, userId: 'bob' };
    assert.deepEqual(
      (await store.countsOf([bob, nobody, ADA])).map(({ total }) => total),
      [1, 0, 2],
    );
    assert.deepEqual(await store.countsOf([]), []);
  });
}

function testClearing(open: Open): void {
  test('a cleared inbox is empty for good, takes what comes after, and others are not touched', async () => {
    await using opened = await open();
    const { store } = opened;
    const others = ['Ada', 'ada ', 'bob'].map((userId) => ({ applicationId: 1, userId }));
    others.push({ applicationId: 2, userId: 'ada' });
    for (let n = 1; n <= 3; n++) await store.deliver(itemFor(ADA, n, { collapseKey: 'k' }));
    for (const [i, owner] of others.entries()) await store.deliver(itemFor(owner, 10 + i));
    await store.mark(ADA, change('archive', [id(3)]));
    assert.equal(await store.generation(ADA), 0);
    await store.clear(ADA, AT + 5000);
    for (const state of ['all', 'archived'] as const) {
      assert.deepEqual(await idsOf(store, ADA, state), []);
    }
    assert.deepEqual(await store.counts(ADA), { unseen: 0, unread: 0, total: 0 });
    assert.deepEqual(await store.since(ADA, 0, 10), []);
    assert.equal(await store.mark(ADA, change('unarchive', [id(1)])), 0);
    assert.equal((await store.engagement([1, 2, 3])).size, 0);
    await store.deliver(itemFor(ADA, 2));
    assert.deepEqual(await idsOf(store, ADA), [], 'a repeated delivery brings nothing back');
    assert.deepEqual(kindsOf(await store.departures(ADA, 0, 10)), [['cleared', [], null]]);
    await store.deliver(itemFor(ADA, 20));
    assert.deepEqual(await idsOf(store, ADA), [id(20)]);
    for (const [i, owner] of others.entries()) {
      assert.deepEqual(await idsOf(store, owner), [id(10 + i)]);
      assert.equal(await store.generation(owner), 0);
    }
  });

  test('every clearing begins another generation, also of an inbox that nothing came to', async () => {
    await using opened = await open();
    const { store } = opened;
    const generations: number[] = [];
    for (let round = 1; round <= 3; round++) {
      await store.clear(ADA, AT + round);
      generations.push(await store.generation(ADA));
    }
    assert.deepEqual(
      generations,
      [...new Set(generations)].sort((a, b) => a - b),
    );
    assert.ok((generations[0] as number) > 0);
    const { departures } = await store.departures(ADA, 0, 10);
    assert.equal(departures.at(-1)?.position, generations[2]);
  });

  test('a generation is known for longer than a token lives, and forgotten after that', async () => {
    await using opened = await open();
    const { store } = opened;
    const DAY_MS = 86_400_000;
    const bob = { applicationId: 1, userId: 'bob' };
    await store.clear(ADA, AT);
    await store.clear(bob, AT + DAY_MS + 60_000);
    assert.ok((await store.generation(ADA)) > 0);
    await store.clear(bob, AT + 10 * DAY_MS);
    assert.equal(await store.generation(ADA), 0);
    assert.ok((await store.generation(bob)) > 0);
  });
}
