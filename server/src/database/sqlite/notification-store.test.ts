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

runNotificationStoreConformance('SQLite', async () => openNotificationStore());

test('pruning goes on until every key that has outlived its retention is gone', async () => {
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  await using bench = openNotificationStore(clock);
  const { store, database } = bench;
  const accept = (i: number) => {
    const body = bodyOf({ createdAt: clock.now() });
    const digests = {
      keyDigest: hash('sha256', `key ${i}`, 'base64url'),
      requestDigest: hash('sha256', `request ${i}`, 'base64url'),
    };
    const text = writeBody(body);
    const leaseUntil = clock.now() + 300_000;
    const accepted = {
      body,
      text,
      leaseUntil,
      applicationId: 7,
      lane: 1,
      claimUntil: null,
    } as const;
    return store.accept({ ...accepted, idempotency: digests });
  };
  await Promise.all(Array.from({ length: 250 }, (_, i) => accept(i)));
  clock.advance(366 * 86_400_000);
  await accept(250);
  const keys = () => database.prepare('SELECT count(*) AS n FROM idempotency').get()?.['n'];
  assert.equal(keys(), 251);
  let pages = 0;
  for (let after: number | null = 0; after !== null; pages++) {
    assert.ok(pages < 10, 'it comes to an end');
    ({ after } = await store.prune({ before: 0, after, limit: 10 }));
  }
  assert.deepEqual([keys(), pages > 1], [1, true]);
});
