import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  itemFor,
  runInboxStoreConformance,
} from '../../adapters/in-app/inbox-store.conformance.ts';
import { ServiceError } from '../../errors.ts';
import { formatId } from '../../id.ts';
import { openTestInbox } from '../../inbox/conformance-setup.ts';

runInboxStoreConformance('SQLite', openTestInbox);

const ADA = { applicationId: 1, userId: 'ada' };
const isUnavailable = (error: unknown): boolean =>
  error instanceof ServiceError && error.code === 'store_unavailable';

test('behind a projection that does not follow, a stream is refused and lists are old', async () => {
  await using inbox = await openTestInbox();
  const { store } = inbox;
  const { position } = await store.deliver(itemFor(ADA, 1));
  assert.equal(await store.position(), position);
  inbox.following = false;
  await store.deliver(itemFor(ADA, 2));
  await assert.rejects(store.since(ADA, 0, 10), isUnavailable);
  await assert.rejects(store.position(), isUnavailable);
  assert.equal((await store.counts(ADA)).total, 1);
});

test('while the projection is made anew nothing is followed, and nothing is left out after it', async () => {
  await using inbox = await openTestInbox();
  const { store } = inbox;
  for (const n of [1, 2]) await store.deliver(itemFor(ADA, n));
  const position = await store.position();
  inbox.projection.exec("UPDATE position SET value = 1 WHERE name = 'inbox'");
  await assert.rejects(store.follow(position, 10), isUnavailable);
  await inbox.remove(1);
  await store.position();
  const { departures } = await store.follow(position, 10);
  assert.deepEqual(
    departures.map(({ kind }) => kind),
    ['removed'],
  );
});

test('a mark whose effect cannot be seen yet is kept, and may be repeated', async () => {
  await using inbox = await openTestInbox();
  const { store } = inbox;
  await store.deliver(itemFor(ADA, 1));
  assert.equal((await store.counts(ADA)).unread, 1);
  inbox.following = false;
  const change = { action: 'read', items: 'all', category: null, at: 1 } as const;
  await assert.rejects(store.mark(ADA, change), isUnavailable);
  inbox.following = true;
  assert.equal(await store.mark(ADA, { ...change, at: 2 }), 0);
  const [entry] = await store.since(ADA, 0, 1);
  assert.equal(entry?.item.readAt, new Date(1).toISOString());
});

test('a store that takes no writes says so in the words of the port, and goes on later', async () => {
  await using inbox = await openTestInbox();
  const { store } = inbox;
  await store.deliver(itemFor(ADA, 1));
  inbox.fill(true);
  const long = itemFor(ADA, 2, { category: 'x'.repeat(20_000) });
  await assert.rejects(
    store.deliver(long),
    (error: unknown) => error instanceof ServiceError && error.code === 'store_full',
  );
  inbox.fill(false);
  const { position } = await store.deliver(long);
  assert.deepEqual(
    (await store.since(ADA, 1, 10)).map((entry) => entry.position),
    [position],
  );
});

test('what is no message cannot be delivered', async () => {
  await using inbox = await openTestInbox();
  await assert.rejects(
    inbox.store.deliver({ ...itemFor(ADA, 2), messageId: 'ntf_00000000002' }),
    (error: unknown) => error instanceof ServiceError && error.code === 'internal',
  );
});

test('many deliveries of one turn share a commit', async () => {
  await using inbox = await openTestInbox();
  const { store, messages } = inbox;
  const version = () =>
    (messages.prepare('PRAGMA data_version').get() as { data_version: number }).data_version;
  const before = version();
  await Promise.all(Array.from({ length: 500 }, (_, i) => store.deliver(itemFor(ADA, i + 1))));
  assert.equal((await store.counts(ADA)).total, 500);
  assert.equal(version(), before + 1);
  assert.equal((await store.engagement([500])).size, 1);
  assert.equal(
    (await store.list(ADA, { state: 'all', category: null, limit: 1, cursor: null })).items[0]?.id,
    formatId('msg', 500),
  );
});
