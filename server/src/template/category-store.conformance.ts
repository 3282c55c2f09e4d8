/** The part of the template store's conformance suite about categories. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TemplateStore } from './template-store.ts';

const [ONE, OTHER] = [1, 11];

export function runCategoryConformance(
  open: () => Promise<AsyncDisposable & { store: TemplateStore }>,
): void {
  test('keeps categories and replaces them whole', async () => {
    await using opened = await open();
    const { store } = opened;
    const named = { key: 'security', name: '安全 🔐', mandatory: true };
    assert.equal(await store.putCategory(ONE, named), true);
    assert.deepEqual(store.category(ONE, 'security'), named);
    assert.equal(await store.putCategory(ONE, { key: 'security', mandatory: false }), false);
    assert.deepEqual(store.category(ONE, 'security'), { key: 'security', mandatory: false });
    assert.equal(store.category(ONE, 'unknown'), undefined);
    assert.equal(store.category(ONE, 'constructor'), undefined);
  });

  test('sees a category as soon as it is written, though it was looked for before', async () => {
    await using opened = await open();
    const { store } = opened;
    assert.equal(store.category(ONE, 'a'), undefined);
    await store.putCategory(ONE, { key: 'a', mandatory: true });
    assert.equal(store.category(ONE, 'a')?.mandatory, true);
    assert.equal(await store.deleteCategory(ONE, 'a'), true);
    assert.equal(store.category(ONE, 'a'), undefined);
    assert.equal(await store.deleteCategory(ONE, 'a'), false);
  });

  test('of concurrent puts of one category exactly one creates it', async () => {
    await using opened = await open();
    const { store } = opened;
    const created = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        store.putCategory(ONE, { key: 'a', name: `${i}`, mandatory: false }),
      ),
    );
    assert.equal(created.filter(Boolean).length, 1);
    assert.equal((await store.listCategories(ONE, { limit: 10, after: null })).length, 1);
  });

  test('compares keys of categories exactly and lists them in the order of code points', async () => {
    await using opened = await open();
    const { store } = opened;
    const keys = ['A', 'a', 'a ', 'a:1', 'b', 'ä', '订'];
    for (const key of [...keys].reverse()) {
      assert.equal(await store.putCategory(ONE, { key, name: key, mandatory: key === 'A' }), true);
    }
    const first = await store.listCategories(ONE, { limit: 5, after: null });
    const rest = await store.listCategories(ONE, { limit: 5, after: 'b' });
    assert.deepEqual(
      [...first, ...rest].map(({ key }) => key),
      keys,
    );
    for (const key of keys) {
      assert.deepEqual(store.category(ONE, key), { key, name: key, mandatory: key === 'A' });
    }
  });

  test('shows an application no category of another, and lets it change none', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.putCategory(ONE, { key: '1:a', mandatory: true });
    await store.putCategory(ONE, { key: 'a', mandatory: true });
    assert.equal(store.category(OTHER, 'a'), undefined);
    assert.equal(store.category(OTHER, '1:a'), undefined);
    assert.deepEqual(await store.listCategories(OTHER, { limit: 10, after: null }), []);
    assert.equal(await store.deleteCategory(OTHER, 'a'), false);
    assert.equal(await store.putCategory(OTHER, { key: 'a', mandatory: false }), true);
    assert.equal(store.category(ONE, 'a')?.mandatory, true);
  });

  test('a template keeps the key of a category that is gone', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.putCategory(ONE, { key: 'c', mandatory: true });
    const properties = { key: 't', name: 't', description: null, category: 'c', priority: null };
    const version = { locale: 'en', content: {}, translations: {}, variables: null, example: null };
    await store.create(ONE, properties, version, { publish: true, at: 0 });
    await store.deleteCategory(ONE, 'c');
    assert.equal((await store.get(ONE, 't'))?.category, 'c');
    assert.equal(store.usable(ONE, 't', null)?.category, 'c');
  });
}
