/**
 * What every engine of the template store must hold to, as tests, written against the sentences
 * of the port (template-store.ts). An engine's test calls this with a way to open an empty store.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ServiceError } from '../errors.ts';
import { runCategoryConformance } from './category-store.conformance.ts';
import { runDeletionConformance } from './template-deletion.conformance.ts';
import type { NewTemplateVersion, TemplateProperties, TemplateStore } from './template-store.ts';

export interface OpenedTemplateStore extends AsyncDisposable {
  store: TemplateStore;
}

const AT = Date.UTC(2026, 10, 5, 8);
const LATER = AT + 60_000;
const DRAFT = { publish: false, at: AT };
const PUBLISHED = { publish: true, at: AT };
/** Two applications; the numbers of one are the beginning of the other's. */
const [ONE, OTHER] = [1, 11];

const EMOJI = '订单 🚀 👩‍👩‍👧 ₿';

function versionOf(text: string): NewTemplateVersion {
  return {
    locale: 'en',
    content: { email: { subject: text } },
    translations: {},
    variables: null,
    example: null,
  };
}

function propertiesOf(key: string): TemplateProperties & { key: string } {
  return { key, name: key, description: null, category: null, priority: null };
}

const isConflict = (error: unknown) => error instanceof ServiceError && error.code === 'conflict';
const isTaken = (error: unknown) =>
  error instanceof ServiceError && error.code === 'already_exists';

export function runTemplateStoreConformance(
  name: string,
  open: () => Promise<OpenedTemplateStore>,
): void {
  describe(`template store: ${name}`, () => {
    templates(open);
    identity(open);
    versions(open);
    publishing(open);
    hotReads(open);
    runDeletionConformance(open);
    runCategoryConformance(open);
  });
}

function templates(open: () => Promise<OpenedTemplateStore>): void {
  test('keeps a template with its first version', async () => {
    await using opened = await open();
    const { store } = opened;
    const properties = {
      key: 'order-shipped',
      name: EMOJI,
      description: `line\n${EMOJI}`,
      category: 'orders',
      priority: 'high' as const,
    };
    const created = await store.create(ONE, properties, versionOf('a'), DRAFT);
    const at = new Date(AT).toISOString();
    const expected = { publishedVersion: null, latestVersion: 1, createdAt: at, updatedAt: at };
    assert.deepEqual(created, { ...properties, ...expected });
    assert.deepEqual(await store.get(ONE, 'order-shipped'), created);
    assert.equal(await store.get(ONE, 'order'), undefined);
    const version = await store.version(ONE, 'order-shipped', 1);
    assert.equal(version?.status, 'draft');
    assert.equal(version?.publishedAt, null);
    assert.equal(version?.createdAt, at);
    assert.equal(store.usable(ONE, 'order-shipped', null), undefined);
    assert.equal(store.usable(ONE, 'order-shipped', 1), undefined);
    assert.equal(store.published(ONE, 'order-shipped', 1), undefined);
  });

  test('creates and publishes in one write', async () => {
    await using opened = await open();
    const { store } = opened;
    const created = await store.create(ONE, propertiesOf('a'), versionOf('a'), PUBLISHED);
    assert.equal(created.publishedVersion, 1);
    assert.deepEqual(await store.get(ONE, 'a'), created);
    assert.equal((await store.version(ONE, 'a', 1))?.publishedAt, new Date(AT).toISOString());
    assert.equal(store.usable(ONE, 'a', null)?.version, 1);
  });

  test('gives JSON back as it was given', async () => {
    await using opened = await open();
    const { store } = opened;
    let deep: unknown = 'bottom';
    for (let i = 0; i < 100; i++) deep = { inner: [deep] };
    const odd = JSON.parse(
      `{"__proto__":{"a":1},"constructor":{"prototype":2},"":0,"a\\nb":null,"${EMOJI}":"\\u0001"}`,
    ) as Record<string, unknown>;
    const version: NewTemplateVersion = {
      locale: 'zh-Hant-TW',
      content: {
        email: { ...odd, deep, numbers: [0, -1.5, 1e300, 2 ** 53], long: 'x'.repeat(1e6) },
      },
      translations: { de: { email: { subject: EMOJI, ...odd } } },
      variables: { properties: odd },
      example: { ...odd, deep },
    };
    await store.create(ONE, propertiesOf('json'), version, PUBLISHED);
    const { locale, content, translations, variables, example } =
      (await store.version(ONE, 'json', 1)) ?? assert.fail('the version is gone');
    assert.equal(
      JSON.stringify({ locale, content, translations, variables, example }),
      JSON.stringify(version),
    );
    const published = store.usable(ONE, 'json', null);
    assert.equal(JSON.stringify(published?.content), JSON.stringify(version.content));
    assert.equal(JSON.stringify(published?.translations), JSON.stringify(version.translations));
    assert.equal(JSON.stringify(published?.variables), JSON.stringify(version.variables));
    assert.equal(({} as Record<string, unknown>)['a'], undefined);
  });

  test('of concurrent creations of one key exactly one succeeds', async () => {
    await using opened = await open();
    const { store } = opened;
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) =>
        store.create(ONE, propertiesOf('same'), versionOf(`${i}`), DRAFT),
      ),
    );
    const winner = results.findIndex(({ status }) => status === 'fulfilled');
    const lost = results.filter((result) => result.status === 'rejected');
    assert.equal(lost.length, 19);
    assert.ok(lost.every(({ reason }) => isTaken(reason)));
    const kept = await store.version(ONE, 'same', 1);
    assert.deepEqual(kept?.content, { email: { subject: `${winner}` } });
    assert.equal((await store.versions(ONE, 'same', { limit: 10, before: null })).length, 1);
  });

  test('changes what is given and keeps the rest', async () => {
    await using opened = await open();
    const { store } = opened;
    const full = { name: 'n', description: 'd', category: 'c', priority: 'low' as const };
    const created = await store.create(ONE, { key: 'a', ...full }, versionOf('a'), DRAFT);
    const edited = await store.edit(ONE, 'a', { priority: 'high', description: null }, LATER);
    const updatedAt = new Date(LATER).toISOString();
    assert.deepEqual(edited, { ...created, priority: 'high', description: null, updatedAt });
    assert.deepEqual(await store.get(ONE, 'a'), edited);
    const emptied = await store.edit(ONE, 'a', { category: null, priority: null }, LATER);
    assert.deepEqual(emptied, { ...edited, category: null, priority: null });
    assert.equal(await store.edit(ONE, 'b', { name: 'x' }, LATER), undefined);
  });

  test('lists by key in the order of code points, page by page', async () => {
    await using opened = await open();
    const { store } = opened;
    const keys = [
      'B',
      'Z',
      '_',
      'a',
      'a ',
      'a-1',
      'a.1',
      'a1',
      'a10',
      'a2',
      'b',
      'ä',
      '订单',
      '🚀',
    ];
    for (const key of [...keys].reverse()) {
      await store.create(ONE, propertiesOf(key), versionOf(key), DRAFT);
    }
    await store.create(OTHER, propertiesOf('a0'), versionOf('x'), DRAFT);
    const listed: string[] = [];
    for (let after: string | null = null; ; ) {
      const page = await store.list(ONE, { limit: 4, after });
      listed.push(...page.map(({ key }) => key));
      if (page.length < 4) break;
      after = listed.at(-1) ?? null;
    }
    assert.deepEqual(listed, keys);
  });
}

function identity(open: () => Promise<OpenedTemplateStore>): void {
  test('compares keys exactly', async () => {
    await using opened = await open();
    const { store } = opened;
    const keys = ['a', 'A', 'a ', 'á', 'a\u0301', 'a:1', '1:a', '：a'];
    for (const key of keys) {
      await store.create(ONE, propertiesOf(key), versionOf(key), PUBLISHED);
    }
    for (const key of keys) {
      assert.equal((await store.get(ONE, key))?.key, key);
      assert.deepEqual(store.published(ONE, key, 1)?.content, { email: { subject: key } });
    }
    assert.equal(await store.delete(ONE, 'A', LATER), true);
    assert.equal((await store.get(ONE, 'a'))?.key, 'a');
    assert.equal(await store.get(ONE, 'A'), undefined);
  });

  test('shows an application nothing of another, and lets it change nothing', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.create(ONE, propertiesOf('mine'), versionOf('mine'), PUBLISHED);
    await store.addVersion(ONE, 'mine', versionOf('draft'), DRAFT);
    const before = await store.get(ONE, 'mine');
    assert.equal(await store.get(OTHER, 'mine'), undefined);
    assert.deepEqual(await store.list(OTHER, { limit: 10, after: null }), []);
    assert.equal(await store.edit(OTHER, 'mine', { name: 'x' }, LATER), undefined);
    assert.equal(await store.delete(OTHER, 'mine', LATER), false);
    assert.equal(await store.addVersion(OTHER, 'mine', versionOf('x'), PUBLISHED), undefined);
    assert.equal(await store.replaceDraft(OTHER, 'mine', 2, versionOf('x'), LATER), undefined);
    assert.equal(await store.version(OTHER, 'mine', 1), undefined);
    assert.deepEqual(await store.versions(OTHER, 'mine', { limit: 10, before: null }), []);
    assert.equal(await store.publish(OTHER, 'mine', 2, LATER), undefined);
    assert.equal(store.usable(OTHER, 'mine', null), undefined);
    assert.equal(store.usable(OTHER, 'mine', 1), undefined);
    assert.equal(store.published(OTHER, 'mine', 1), undefined);
    assert.deepEqual(await store.get(ONE, 'mine'), before);
    await store.create(OTHER, propertiesOf('mine'), versionOf('theirs'), PUBLISHED);
    assert.deepEqual(store.usable(ONE, 'mine', null)?.content.email, { subject: 'mine' });
    assert.deepEqual(store.usable(OTHER, 'mine', null)?.content.email, { subject: 'theirs' });
  });
}

function versions(open: () => Promise<OpenedTemplateStore>): void {
  test('a hundred concurrent additions get a hundred numbers without gaps', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.create(ONE, propertiesOf('a'), versionOf('1'), DRAFT);
    const added = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        store.addVersion(ONE, 'a', versionOf(`v${i}`), { publish: i % 2 === 0, at: AT + i }),
      ),
    );
    const numbers = added.map((version) => version?.version ?? 0).sort((a, b) => a - b);
    assert.deepEqual(
      numbers,
      Array.from({ length: 100 }, (_, i) => i + 2),
    );
    for (const [i, version] of added.entries()) {
      assert.deepEqual(version?.content.email, { subject: `v${i}` });
      assert.equal(version?.status, i % 2 === 0 ? 'published' : 'draft');
      assert.deepEqual(await store.version(ONE, 'a', version.version), version);
    }
    assert.equal((await store.get(ONE, 'a'))?.latestVersion, 101);
  });

  test('lists versions newest first, page by page', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.create(ONE, propertiesOf('a'), versionOf('1'), DRAFT);
    await store.create(ONE, propertiesOf('b'), versionOf('1'), DRAFT);
    for (let i = 2; i <= 12; i++) await store.addVersion(ONE, 'a', versionOf(`${i}`), DRAFT);
    const first = await store.versions(ONE, 'a', { limit: 10, before: null });
    assert.deepEqual(
      first.map(({ version }) => version),
      [12, 11, 10, 9, 8, 7, 6, 5, 4, 3],
    );
    const rest = await store.versions(ONE, 'a', { limit: 10, before: 3 });
    assert.deepEqual(
      rest.map(({ version }) => version),
      [2, 1],
    );
    assert.deepEqual(rest[0], await store.version(ONE, 'a', 2));
    assert.deepEqual(await store.versions(ONE, 'c', { limit: 10, before: null }), []);
  });

  test('replaces drafts and nothing else', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.create(ONE, propertiesOf('a'), versionOf('1'), PUBLISHED);
    await store.addVersion(ONE, 'a', versionOf('2'), DRAFT);
    const content = { ...versionOf('new'), locale: 'de', example: { a: 1 } };
    const replaced = await store.replaceDraft(ONE, 'a', 2, content, LATER);
    assert.deepEqual(replaced, await store.version(ONE, 'a', 2));
    const { version, status, locale, example, createdAt } = replaced ?? assert.fail('no version');
    const created = new Date(AT).toISOString();
    assert.deepEqual(
      { version, status, locale, createdAt },
      {
        ...{ version: 2, status: 'draft', locale: 'de', createdAt: created },
      },
    );
    assert.deepEqual(example, { a: 1 });
    assert.equal((await store.get(ONE, 'a'))?.updatedAt, new Date(LATER).toISOString());
    await assert.rejects(store.replaceDraft(ONE, 'a', 1, content, LATER), isConflict);
    assert.deepEqual((await store.version(ONE, 'a', 1))?.content.email, { subject: '1' });
    assert.equal(await store.replaceDraft(ONE, 'a', 3, content, LATER), undefined);
    assert.equal(await store.replaceDraft(ONE, 'b', 1, content, LATER), undefined);
  });
}

function publishing(open: () => Promise<OpenedTemplateStore>): void {
  test('publishes, goes back, and does either any number of times', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.create(ONE, propertiesOf('a'), versionOf('1'), DRAFT);
    await store.addVersion(ONE, 'a', versionOf('2'), DRAFT);
    assert.equal((await store.publish(ONE, 'a', 2, AT))?.publishedVersion, 2);
    assert.equal((await store.publish(ONE, 'a', 1, LATER))?.publishedVersion, 1);
    const back = await store.publish(ONE, 'a', 2, LATER + 1);
    assert.equal(back?.publishedVersion, 2);
    assert.equal(back?.updatedAt, new Date(LATER + 1).toISOString());
    assert.deepEqual(await store.publish(ONE, 'a', 2, LATER + 2), back);
    assert.deepEqual(await store.get(ONE, 'a'), back);
    assert.equal((await store.version(ONE, 'a', 2))?.publishedAt, new Date(AT).toISOString());
    assert.equal(await store.publish(ONE, 'a', 3, AT), undefined);
    assert.equal(await store.publish(ONE, 'b', 1, AT), undefined);
    assert.deepEqual(await store.get(ONE, 'a'), back);
  });

  test('a draft that is published and replaced at once is either', async () => {
    await using opened = await open();
    const { store } = opened;
    for (let i = 0; i < 20; i++) {
      const key = `t${i}`;
      await store.create(ONE, propertiesOf(key), versionOf('old'), DRAFT);
      const replace = () => store.replaceDraft(ONE, key, 1, versionOf('new'), LATER);
      const publish = () => store.publish(ONE, key, 1, LATER);
      const calls = i % 2 === 0 ? [replace(), publish()] : [publish(), replace()];
      const results = await Promise.allSettled(calls);
      const lost = results.find((result) => result.status === 'rejected');
      if (lost) assert.ok(isConflict(lost.reason));
      const subject = lost ? 'old' : 'new';
      assert.deepEqual(store.usable(ONE, key, null)?.content.email, { subject });
      assert.deepEqual((await store.version(ONE, key, 1))?.content.email, { subject });
    }
  });
}

function hotReads(open: () => Promise<OpenedTemplateStore>): void {
  test('answers with the version in use, or a published one that is named', async () => {
    await using opened = await open();
    const { store } = opened;
    const properties = { ...propertiesOf('a'), category: 'c', priority: 'high' as const };
    await store.create(ONE, properties, versionOf('1'), PUBLISHED);
    await store.addVersion(ONE, 'a', versionOf('2'), PUBLISHED);
    await store.addVersion(ONE, 'a', versionOf('3'), DRAFT);
    const { example: _, ...sent } = versionOf('2');
    const expected = { key: 'a', version: 2, category: 'c', priority: 'high', ...sent };
    assert.deepEqual(store.usable(ONE, 'a', null), expected);
    assert.deepEqual(store.usable(ONE, 'a', 1)?.content.email, { subject: '1' });
    assert.deepEqual(store.published(ONE, 'a', 2), expected);
    for (const number of [3, 4, 0, -1, 1.5, 1e300]) {
      assert.equal(store.usable(ONE, 'a', number), undefined, String(number));
      assert.equal(store.published(ONE, 'a', number), undefined, String(number));
    }
    await store.publish(ONE, 'a', 1, LATER);
    assert.equal(store.usable(ONE, 'a', null)?.version, 1);
    assert.equal(store.published(ONE, 'a', 2)?.version, 2);
  });

  test('answers with the same object until something about it changes', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.create(ONE, propertiesOf('a'), versionOf('1'), PUBLISHED);
    const first = store.usable(ONE, 'a', null);
    assert.equal(store.usable(ONE, 'a', 1), first);
    assert.equal(store.published(ONE, 'a', 1), first);
    await store.create(ONE, propertiesOf('b'), versionOf('1'), PUBLISHED);
    await store.edit(ONE, 'a', { name: 'other' }, LATER);
    await store.addVersion(ONE, 'a', versionOf('2'), DRAFT);
    assert.equal(store.usable(ONE, 'a', null), first);
    await store.edit(ONE, 'a', { category: 'c', priority: 'low' }, LATER);
    const second = store.usable(ONE, 'a', null);
    assert.deepEqual(second, { ...first, category: 'c', priority: 'low' });
    assert.deepEqual(first?.category, null);
    assert.equal(store.usable(ONE, 'a', null), second);
    await store.publish(ONE, 'a', 2, LATER);
    assert.equal(store.usable(ONE, 'a', null)?.version, 2);
    await store.publish(ONE, 'a', 1, LATER);
    assert.equal(store.usable(ONE, 'a', null), second);
  });
}
