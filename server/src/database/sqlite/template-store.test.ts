/** The SQLite engine of the template store: the port's suite, and what is particular to this engine. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTestFile, type TestFile } from '../../../test/support/store.ts';
import { type Clock, systemClock } from '../../clock.ts';
import { ServiceError } from '../../errors.ts';
import { runTemplateStoreConformance } from '../../template/template-store.conformance.ts';
import type { NewTemplateVersion } from '../../template/template-store.ts';
import { alone, mergeOperations } from './group-writer.ts';
import { RecordCacheGroup } from './record-cache.ts';
import { SqliteTemplateStore, templateOperations } from './template-store.ts';

runTemplateStoreConformance('sqlite', async () => {
  const file = openTestFile('records', templateOperations);
  return { store: storeOf(file), [Symbol.asyncDispose]: () => file[Symbol.asyncDispose]() };
});

function storeOf(
  file: TestFile,
  { clock = systemClock, cachedLength }: { clock?: Clock; cachedLength?: number } = {},
): SqliteTemplateStore {
  const database = file.reader();
  return new SqliteTemplateStore({
    database,
    writer: file.writer,
    cache: new RecordCacheGroup(database, clock, 0),
    cachedLength,
  });
}

const ONE = 1;
const PROPERTIES = { key: 'a', name: 'a', description: null, category: null, priority: null };
const PUBLISHED = { publish: true, at: 0 };

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
  const first = reader.published(ONE, 'a', null);
  assert.equal(first?.version, 1);
  await writer.addVersion(ONE, 'a', versionOf('2'), PUBLISHED);
  now += 5000;
  assert.equal(reader.published(ONE, 'a', null)?.version, 2);
  assert.equal(reader.published(ONE, 'a', 1), first, 'the old version is still the same object');
  await writer.delete(ONE, 'a');
  now += 5000;
  assert.equal(reader.published(ONE, 'a', null), undefined);
  assert.equal(reader.published(ONE, 'a', 1), undefined);
});

test('a stale look-up never leads to the row of another template', async () => {
  await using file = openTestFile('records', templateOperations);
  const clock = { ...systemClock, monotonic: () => 0 };
  const [writer, reader] = [storeOf(file), storeOf(file, { clock, cachedLength: 1000 })];
  await writer.create(ONE, PROPERTIES, versionOf('mine'), PUBLISHED);
  const larger = { ...PROPERTIES, key: 'larger' };
  await writer.create(ONE, larger, versionOf('x'.repeat(1000)), PUBLISHED);
  // The look-up of `a` is remembered; what it leads to is pushed out by the larger one.
  assert.ok(reader.published(ONE, 'a', null));
  assert.ok(reader.published(ONE, 'larger', null));
  await writer.delete(ONE, 'larger');
  await writer.delete(ONE, 'a');
  await writer.create(2, { ...PROPERTIES, key: 'b' }, versionOf('theirs'), PUBLISHED);
  assert.equal(reader.published(ONE, 'a', null), undefined);
});

test('versions in memory are bounded, and what was pushed out is read again', async () => {
  await using file = openTestFile('records', templateOperations);
  const store = storeOf(file, { cachedLength: 1000 });
  await store.create(ONE, PROPERTIES, versionOf('small'), PUBLISHED);
  const first = store.published(ONE, 'a', null);
  for (let i = 0; i < 3; i++) {
    const properties = { ...PROPERTIES, key: `larger-${i}` };
    await store.create(ONE, properties, versionOf('x'.repeat(500)), PUBLISHED);
    const larger = store.published(ONE, properties.key, null);
    assert.equal(store.published(ONE, properties.key, null), larger);
  }
  const again = store.published(ONE, 'a', null);
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
  assert.equal(store.published(ONE, 'a', null)?.version, 1);
});

test('what was answered is in the file', async () => {
  await using file = openTestFile('records', templateOperations);
  await storeOf(file).create(ONE, PROPERTIES, versionOf('1'), PUBLISHED);
  await storeOf(file).putCategory(ONE, { key: 'c', mandatory: true });
  const later = storeOf(file);
  assert.deepEqual(later.published(ONE, 'a', null)?.content, { email: { subject: '1' } });
  assert.equal(later.category(ONE, 'c')?.mandatory, true);
});
