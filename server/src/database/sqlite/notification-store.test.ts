import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { openNotificationStore } from '../../../test/support/notification-store.ts';
import { writeBody } from '../../notification/notification.ts';
import {
  bodyOf,
  runNotificationStoreConformance,
} from '../../notification/notification-store.conformance.ts';
import type { NotificationStore } from '../../notification/notification-store.ts';
import { openForWriting } from './connection.ts';
import { messagesOperations } from './files.ts';
import { IdempotencyIndex } from './idempotency-index.ts';

runNotificationStoreConformance('SQLite', async () => openNotificationStore());

const DAY_MS = 86_400_000;
const digestsOf = (i: number) => ({
  keyDigest: hash('sha256', `key ${i}`, 'base64url'),
  requestDigest: hash('sha256', `request ${i}`, 'base64url'),
});

/** A notification with a key, accepted at that time. */
function accept(store: NotificationStore, i: number, createdAt: number) {
  const body = bodyOf({ createdAt });
  const accepted = { body, text: writeBody(body), leaseUntil: createdAt + 300_000 };
  const where = { applicationId: 7, lane: 1, claimUntil: null } as const;
  return store.accept({ ...accepted, ...where, idempotency: digestsOf(i) });
}

test('pruning goes on until every key that has outlived its retention is gone', async () => {
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  await using bench = openNotificationStore(clock);
  const { store, database } = bench;
  await Promise.all(Array.from({ length: 250 }, (_, i) => accept(store, i, clock.now())));
  clock.advance(366 * DAY_MS);
  await accept(store, 250, clock.now());
  const keys = () => database.prepare('SELECT count(*) AS n FROM idempotency').get()?.['n'];
  assert.equal(keys(), 251);
  let pages = 0;
  for (let after: number | null = 0; after !== null; pages++) {
    assert.ok(pages < 10, 'it comes to an end');
    ({ after } = await store.prune({ before: 0, after, limit: 10 }));
  }
  assert.deepEqual([keys(), pages > 1], [1, true]);
});

test('a key of a clock that was wrong hides no other at a start, and keeps none from being pruned', async () => {
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  await using bench = openNotificationStore(clock);
  const { store, database } = bench;
  const now = clock.now();
  for (const [i, at] of [now, DAY_MS, now + 1000 * DAY_MS, now + 1].entries()) {
    clock.advance(at - clock.now());
    await accept(store, i, at);
  }
  clock.advance(now + 2 - clock.now());
  using again = openForWriting(database.location() as string, { durability: 'full' });
  const index = new IdempotencyIndex(undefined);
  messagesOperations(again, { clock, index, idempotencyRetentionMs: 365 * DAY_MS });
  for (const i of [0, 3]) {
    assert.deepEqual(index.candidates(digestsOf(i).keyDigest.slice(0, 22)), [i + 1], `key ${i}`);
  }
  await store.prune({ before: 0, after: 0, limit: 10 });
  const left = database.prepare('SELECT seq FROM idempotency').all();
  assert.deepEqual(
    left.map((row) => row['seq']),
    [1, 4],
  );
});
