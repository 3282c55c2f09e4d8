/** The application store on SQLite: the suite of its port, and what only this engine has. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { statSync } from 'node:fs';
import { test } from 'node:test';
import { openTestRecords, type TestRecords } from '../../../test/support/records.ts';
import { runApplicationStoreConformance } from '../../application/application-store.conformance.ts';
import type { NewApiKey } from '../../application/application-store.ts';
import { ServiceError } from '../../errors.ts';
import { parseId } from '../../id.ts';

runApplicationStoreConformance('SQLite', async () => {
  const records = openTestRecords();
  return {
    store: records.applications,
    [Symbol.asyncDispose]: async () => records[Symbol.asyncDispose](),
  };
});

/** What the port promises about changes made elsewhere. */
const STATED_MS = 5000;

async function createKey(records: TestRecords, text: string, change: Partial<NewApiKey> = {}) {
  const { applications } = records;
  const { id: applicationId } =
    (await applications.byKey('shop')) ?? (await applications.create({ key: 'shop', name: '' }));
  const key = await applications.createKey({
    applicationId,
    name: text,
    kind: 'live',
    scopes: ['read'],
    digest: hash('sha256', text),
    prefix: text.slice(0, 4),
    session: false,
    expiresAt: null,
    ...change,
  });
  return { ...key, applicationId, number: parseId('key', key.id) as number };
}

/** Moves the clock until the condition holds; returns how long that took on this clock. */
function waited({ clock }: TestRecords, condition: () => boolean): number {
  const start = clock.monotonic();
  while (!condition() && clock.monotonic() - start <= 2 * STATED_MS) clock.advance(10);
  return clock.monotonic() - start;
}

test('a revocation through another thread is seen within the stated time', async () => {
  await using records = openTestRecords();
  const other = records.another().applications;
  const { applicationId, number } = await createKey(records, 'one');
  const digest = hash('sha256', 'one');
  assert.ok(other.authenticate(digest));
  await records.applications.revokeKey(applicationId, number);
  assert.ok(other.authenticate(digest), 'it is cached, or this tests nothing');
  const tookMs = waited(records, () => other.authenticate(digest) === undefined);
  assert.ok(tookMs <= STATED_MS, `it took ${tookMs} ms`);
});

test('a new key and a new application are seen by another thread within the stated time', async () => {
  await using records = openTestRecords();
  const other = records.another().applications;
  const digest = hash('sha256', 'one');
  assert.equal(other.authenticate(digest), undefined);
  assert.equal(await other.byKey('shop'), undefined);
  await createKey(records, 'one');
  const tookMs = waited(records, () => other.authenticate(digest) !== undefined);
  assert.ok(tookMs <= STATED_MS, `it took ${tookMs} ms`);
  assert.equal((await other.byKey('shop'))?.key, 'shop');
});

test('a key that is cached still expires to the millisecond', async () => {
  await using records = openTestRecords();
  const { applications, clock } = records;
  await createKey(records, 'one', { expiresAt: clock.now() + 1000 });
  const digest = hash('sha256', 'one');
  clock.advance(999);
  assert.ok(applications.authenticate(digest));
  clock.advance(1);
  assert.equal(applications.authenticate(digest), undefined);
});

test('the time of revocation is that of the clock, the first time', async () => {
  await using records = openTestRecords();
  const { applications, clock } = records;
  const { applicationId, number } = await createKey(records, 'one');
  clock.advance(1000);
  await applications.revokeKey(applicationId, number);
  const revokedAt = new Date(clock.now()).toISOString();
  clock.advance(1000);
  await applications.revokeKey(applicationId, number);
  assert.equal((await applications.keyById(applicationId, number))?.revokedAt, revokedAt);
});

test('an admin link expires to the millisecond', async () => {
  await using records = openTestRecords();
  const { applications, clock } = records;
  await applications.createAdminLink('late', clock.now() + 1000);
  await applications.createAdminLink('early', clock.now() + 1000);
  clock.advance(999);
  assert.equal(await applications.useAdminLink('early'), true);
  clock.advance(1);
  assert.equal(await applications.useAdminLink('late'), false);
});

test('expired links and sessions do not pile up, keys stay', async () => {
  await using records = openTestRecords();
  const { applications, clock, file } = records;
  const soon = clock.now() + 1000;
  const session = { session: true, expiresAt: soon };
  await createKey(records, 'old session', session);
  await createKey(records, 'old key', { expiresAt: soon });
  await applications.createAdminLink('old', soon);
  clock.advance(1000);
  await createKey(records, 'new session', { session: true, expiresAt: soon + 1000 });
  await applications.createAdminLink('new', soon + 1000);
  const reader = file.reader();
  const names = reader.prepare('SELECT name FROM api_key ORDER BY id').all();
  assert.deepEqual(
    names.map((row) => row['name']),
    ['old key', 'new session'],
  );
  const links = reader.prepare('SELECT digest FROM admin_link').all();
  assert.deepEqual(
    links.map((row) => row['digest']),
    ['new'],
  );
});

test('trying links that do not exist writes nothing', async () => {
  await using records = openTestRecords();
  const { applications, file } = records;
  await createKey(records, 'one');
  const before = statSync(`${file.path}-wal`).size;
  for (let i = 0; i < 100; i++) assert.equal(await applications.useAdminLink(`no ${i}`), false);
  assert.equal(statSync(`${file.path}-wal`).size, before);
});

test('the same caller is handed out again while nothing is written', async () => {
  await using records = openTestRecords();
  await createKey(records, 'one');
  const digest = hash('sha256', 'one');
  const first = records.applications.authenticate(digest);
  assert.equal(records.applications.authenticate(digest), first);
});

test('no error of SQLite leaves the store', async () => {
  await using records = openTestRecords();
  const { applications, file } = records;
  const { applicationId } = await createKey(records, 'one');
  file.connection().exec('DROP TABLE api_key');
  const digest = hash('sha256', 'two');
  const input = { applicationId, name: '', kind: 'live', scopes: ['read'], digest } as const;
  await assert.rejects(
    applications.createKey({ ...input, prefix: '', session: false, expiresAt: null }),
    (error) => error instanceof ServiceError && !/SQLITE|no such table/.test(error.message),
  );
});
