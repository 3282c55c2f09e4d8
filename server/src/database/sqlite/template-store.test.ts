/** The SQLite engine of the template store: the port's suite, and what is particular to this engine. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openTestFile, type TestFile } from '../../../test/support/store.ts';
import { type Clock, systemClock } from '../../clock.ts';
import { ServiceError } from '../../errors.ts';
import { runTemplateStoreConformance } from '../../template/template-store.conformance.ts';
import type { NewTemplateVersion } from '../../template/template-store.ts';
import { openForReading, openForWriting } from './connection.ts';
import { alone, GroupWriter, mergeOperations } from './group-writer.ts';
import { migrate, readMigrations } from './migrate.ts';
import { RecordCacheGroup } from './record-cache.ts';
import { SqliteTemplateStore, templateOperations } from './template-store.ts';
import { LocalWriteClient } from './write-client.ts';

runTemplateStoreConformance('sqlite', async () => {
  const file = openTestFile('records', templateOperations);
  return { store: storeOf(file), [Symbol.asyncDispose]: () => file[Symbol.asyncDispose]() };
});

/** A file as the first version made it, with rows, that this version has opened. */
function openOldFile(rows: string): Pick<TestFile, 'reader' | 'writer'> & AsyncDisposable {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-store-'));
  const path = join(folder, 'records.db');
  const open = () => openForWriting(path, { durability: 'full' });
  const old = open();
  const migrations = readMigrations('records');
  migrate(old, migrations.slice(0, 1));
  old.exec(rows);
  migrate(old, migrations);
  old.close();
  const group = new GroupWriter({ open, prepare: templateOperations });
  const reader = openForReading(path);
  return {
    writer: new LocalWriteClient(group),
    reader: () => reader,
    async [Symbol.asyncDispose]() {
      reader.close();
      group.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function storeOf(
  file: Pick<TestFile, 'reader' | 'writer'>,
  {
    clock = systemClock,
    staleMs = 0,
    cachedLength,
  }: { clock?: Clock; staleMs?: number; cachedLength?: number } = {},
): SqliteTemplateStore {
  const database = file.reader();
  return new SqliteTemplateStore({
    database,
    writer: file.writer,
    cache: new RecordCacheGroup(database, clock, staleMs),
    cachedLength,
  });
}

const ONE = 1;
const PROPERTIES = { key: 'a', name: 'a', description: null, category: null, priority: null };
const PUBLISHED = { publish: true, at: 0 };

/** The column `body` as that version wrote it. */
function bodyOf(subject: string): string {
  const rest = { translations: {}, variables: null, example: null };
  return JSON.stringify({ content: { email: { subject } }, ...rest });
}

function versionOf(text: string): NewTemplateVersion {
  const empty = { translations: {}, variables: null, example: null };
  return { locale: 'en', content: { email: { subject: text } }, ...empty };
}

test('another reader sees a change once its cache has looked again', async () => {
  await using file = openTestFile('records', templateOperations);
  let now = 0;
  const clock = { ...systemClock, monotonic: () => now };
  const [writer, reader] = [storeOf(file), storeOf(file, { clock })];
  await writer.create(ONE, PROPERTIES, versionOf('1'), PUBLISHED);
  now += 5000;
  const first = reader.usable(ONE, 'a', null);
  assert.equal(first?.version, 1);
  await writer.addVersion(ONE, 'a', versionOf('2'), PUBLISHED);
  now += 5000;
  assert.equal(reader.usable(ONE, 'a', null)?.version, 2);
  assert.equal(reader.published(ONE, 'a', 1), first, 'the old version is still the same object');
  await writer.delete(ONE, 'a', 0);
  now += 5000;
  assert.equal(reader.usable(ONE, 'a', null), undefined);
  assert.equal(reader.usable(ONE, 'a', 1), undefined);
  assert.equal(reader.published(ONE, 'a', 1), first, 'delivery still has it');
});

test('a stale look-up of a deleted template leads to its own text or to none', async () => {
  await using file = openTestFile('records', templateOperations);
  const clock = { ...systemClock, monotonic: () => 0 };
  const stale = { clock, staleMs: 1, cachedLength: 1000 };
  const [writer, reader] = [storeOf(file), storeOf(file, stale)];
  await writer.create(ONE, PROPERTIES, versionOf('mine'), PUBLISHED);
  const larger = { ...PROPERTIES, key: 'larger' };
  await writer.create(ONE, larger, versionOf('x'.repeat(1000)), PUBLISHED);
  /** The look-up of `a` is remembered; what it leads to is pushed out by the larger one. */
  const remember = (): void => {
    assert.ok(reader.usable(ONE, 'a', null));
    assert.ok(reader.usable(ONE, 'larger', null));
  };
  remember();
  await writer.delete(ONE, 'a', 0);
  await writer.create(2, { ...PROPERTIES, key: 'b' }, versionOf('theirs'), PUBLISHED);
  await writer.create(ONE, PROPERTIES, versionOf('second'), PUBLISHED);
  assert.deepEqual(reader.usable(ONE, 'a', null)?.content.email, { subject: 'mine' });
  remember();
  const [deletion] = await writer.deletions({ before: 1, after: null, limit: 1 });
  await writer.forget(deletion?.id ?? 0, 10);
  assert.equal(reader.usable(ONE, 'a', null), undefined);
});

test('a file of the version that removed templates at once keeps what it has and goes on counting', async () => {
  await using file = openOldFile(`
    INSERT INTO template VALUES
      (1, 1, 'kept', 'Kept', NULL, 'c', 'high', 2, 2, 5, 6),
      (2, 1, 'again', 'Again', NULL, NULL, NULL, 4, 5, 7, 8);
    INSERT INTO template_version VALUES
      (1, 1, 'en', '${bodyOf('kept 1')}', 5, 5), (1, 2, 'en', '${bodyOf('kept 2')}', 6, 6),
      (2, 4, 'en', '${bodyOf('again 4')}', 7, 7), (2, 5, 'en', '${bodyOf('again 5')}', 8, NULL);
    INSERT INTO template_deleted VALUES (1, 'again', 3), (1, 'gone', 7), (2, 'kept', 9);
  `);
  const store = storeOf(file);
  const listed = await store.list(ONE, { limit: 10, after: null });
  assert.deepEqual(
    listed.map(({ key, publishedVersion, latestVersion }) => [
      key,
      publishedVersion,
      latestVersion,
    ]),
    [
      ['again', 4, 5],
      ['kept', 2, 2],
    ],
  );
  assert.equal((await store.get(ONE, 'kept'))?.createdAt, new Date(5).toISOString());
  for (const [key, number] of [['kept', 1] as const, ['kept', 2] as const, ['again', 4] as const]) {
    const subject = `${key} ${number}`;
    assert.deepEqual(store.usable(ONE, key, number)?.content.email, { subject });
    assert.deepEqual(store.published(ONE, key, number)?.content.email, { subject });
  }
  assert.equal((await store.publish(ONE, 'again', 5, 9))?.publishedVersion, 5);
  assert.equal(await store.get(ONE, 'gone'), undefined);
  assert.deepEqual(await store.list(2, { limit: 10, after: null }), []);
  assert.deepEqual(await store.deletions({ before: 1e15, after: null, limit: 10 }), []);
  for (const [application, key, number] of [[1, 'gone', 8] as const, [2, 'kept', 10] as const]) {
    const properties = { ...PROPERTIES, key };
    const made = await store.create(application, properties, versionOf('new'), PUBLISHED);
    assert.deepEqual([made.latestVersion, made.publishedVersion], [number, number]);
    assert.equal(store.usable(application, key, null)?.version, number);
  }
  assert.equal(await store.delete(ONE, 'again', 9), true);
  assert.equal(store.published(ONE, 'again', 4)?.version, 4);
});

test('versions in memory are bounded, and what was pushed out is read again', async () => {
  await using file = openTestFile('records', templateOperations);
  const store = storeOf(file, { cachedLength: 1000 });
  await store.create(ONE, PROPERTIES, versionOf('small'), PUBLISHED);
  const first = store.usable(ONE, 'a', null);
  for (let i = 0; i < 3; i++) {
    const properties = { ...PROPERTIES, key: `larger-${i}` };
    await store.create(ONE, properties, versionOf('x'.repeat(500)), PUBLISHED);
    const larger = store.usable(ONE, properties.key, null);
    assert.equal(store.usable(ONE, properties.key, null), larger);
  }
  const again = store.usable(ONE, 'a', null);
  assert.notEqual(again, first);
  assert.deepEqual(again, first);
});

test('a write that fails leaves nothing behind and speaks the words of the service', async () => {
  await using file = openTestFile('records', (database) =>
    mergeOperations(templateOperations(database), {
      operations: {
        block: alone(() => {
          database.exec(`CREATE TRIGGER block BEFORE INSERT ON template_version
            BEGIN SELECT RAISE(ABORT, 'blocked'); END`);
          return null;
        }),
      },
    }),
  );
  const store = storeOf(file);
  await store.create(ONE, PROPERTIES, versionOf('1'), PUBLISHED);
  await file.writer.call('block', null);
  await assert.rejects(store.addVersion(ONE, 'a', versionOf('2'), PUBLISHED), ServiceError);
  const other = { ...PROPERTIES, key: 'b' };
  await assert.rejects(store.create(ONE, other, versionOf('1'), PUBLISHED), ServiceError);
  assert.equal((await store.get(ONE, 'a'))?.latestVersion, 1, 'the number was not used up');
  assert.equal(await store.get(ONE, 'b'), undefined);
  assert.equal(store.usable(ONE, 'a', null)?.version, 1);
});

test('what was answered is in the file', async () => {
  await using file = openTestFile('records', templateOperations);
  await storeOf(file).create(ONE, PROPERTIES, versionOf('1'), PUBLISHED);
  await storeOf(file).putCategory(ONE, { key: 'c', mandatory: true });
  const later = storeOf(file);
  assert.deepEqual(later.usable(ONE, 'a', null)?.content, { email: { subject: '1' } });
  assert.equal(later.category(ONE, 'c')?.mandatory, true);
});
