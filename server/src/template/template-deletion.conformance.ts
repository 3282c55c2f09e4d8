/**
 * The part of the template store's suite about deletions: who no longer sees a template, who still does,
 * and what is removed for good.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServiceError } from '../errors.ts';
import type { OpenedTemplateStore } from './template-store.conformance.ts';
import type { NewTemplateVersion, TemplateProperties } from './template-store.ts';

const AT = Date.UTC(2026, 10, 5, 8);
const LATER = AT + 60_000;
const DRAFT = { publish: false, at: AT };
const PUBLISHED = { publish: true, at: AT };
/** Two applications; the numbers of one are the beginning of the other's. */
const [ONE, OTHER] = [1, 11];

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

const isTaken = (error: unknown) =>
  error instanceof ServiceError && error.code === 'already_exists';

export function runDeletionConformance(open: () => Promise<OpenedTemplateStore>): void {
  deleting(open);
  forgetting(open);
}

function deleting(open: () => Promise<OpenedTemplateStore>): void {
  test('takes a template from everything but what was accepted with it', async () => {
    await using opened = await open();
    const { store } = opened;
    const created = await store.create(ONE, propertiesOf('a'), versionOf('1'), PUBLISHED);
    await store.addVersion(ONE, 'a', versionOf('2'), PUBLISHED);
    await store.addVersion(ONE, 'a', versionOf('3'), DRAFT);
    await store.create(ONE, propertiesOf('b'), versionOf('b'), PUBLISHED);
    const [first, second] = [1, 2].map((version) => store.published(ONE, 'a', version));
    assert.equal(await store.delete(ONE, 'a', LATER), true);
    assert.equal(await store.delete(ONE, 'a', LATER), false);

    assert.equal(await store.get(ONE, 'a'), undefined);
    const listed = await store.list(ONE, { limit: 10, after: null });
    assert.deepEqual(
      listed.map(({ key }) => key),
      ['b'],
    );
    assert.deepEqual(await store.versions(ONE, 'a', { limit: 10, before: null }), []);
    assert.equal(store.usable(ONE, 'a', null), undefined);
    for (const version of [1, 2, 3]) {
      assert.equal(await store.version(ONE, 'a', version), undefined);
      assert.equal(store.usable(ONE, 'a', version), undefined);
      assert.equal(await store.publish(ONE, 'a', version, LATER), undefined);
    }
    assert.equal(await store.replaceDraft(ONE, 'a', 3, versionOf('x'), LATER), undefined);
    assert.equal(await store.addVersion(ONE, 'a', versionOf('x'), PUBLISHED), undefined);
    assert.equal(await store.edit(ONE, 'a', { name: 'x' }, LATER), undefined);

    assert.equal(created.publishedVersion, 1);
    assert.deepEqual(store.published(ONE, 'a', 1), first);
    assert.deepEqual(store.published(ONE, 'a', 2), second);
    assert.equal(store.published(ONE, 'a', 3), undefined, 'a draft was never sent');
    assert.equal(store.published(OTHER, 'a', 1), undefined);
  });

  test('gives no number twice, not even after a deletion', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.create(ONE, propertiesOf('a'), versionOf('first'), PUBLISHED);
    await store.addVersion(ONE, 'a', versionOf('second'), DRAFT);
    assert.equal(await store.delete(ONE, 'a', LATER), true);
    await store.create(OTHER, propertiesOf('a'), versionOf('theirs'), PUBLISHED);
    const properties = { ...propertiesOf('a'), name: 'new', category: 'c' };
    const again = await store.create(ONE, properties, versionOf('third'), {
      publish: false,
      at: LATER,
    });
    const at = new Date(LATER).toISOString();
    const numbers = { publishedVersion: null, latestVersion: 3, createdAt: at, updatedAt: at };
    assert.deepEqual(again, { ...properties, ...numbers });
    await assert.rejects(store.create(ONE, properties, versionOf('x'), DRAFT), isTaken);
    assert.equal(store.usable(ONE, 'a', null), undefined, 'not what the deleted one had published');

    assert.equal((await store.publish(ONE, 'a', 3, LATER))?.publishedVersion, 3);
    assert.deepEqual(store.usable(ONE, 'a', null)?.content.email, { subject: 'third' });
    assert.equal((await store.addVersion(ONE, 'a', versionOf('x'), DRAFT))?.version, 4);
    assert.equal(await store.delete(ONE, 'a', LATER), true);
    const third = await store.create(ONE, propertiesOf('a'), versionOf('y'), PUBLISHED);
    assert.deepEqual([third.latestVersion, third.publishedVersion], [5, 5]);
    for (const [number, subject] of [
      [1, 'first'] as const,
      [3, 'third'] as const,
      [5, 'y'] as const,
    ])
      assert.deepEqual(store.published(ONE, 'a', number)?.content.email, { subject });
    assert.deepEqual(store.published(OTHER, 'a', 1)?.content.email, { subject: 'theirs' });
  });

  test('keeps the versions of a deleted template out of a later one of its key', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.create(ONE, propertiesOf('a'), versionOf('old'), PUBLISHED);
    await store.addVersion(ONE, 'a', versionOf('draft'), DRAFT);
    await store.delete(ONE, 'a', LATER);
    await store.create(ONE, propertiesOf('a'), versionOf('new'), PUBLISHED);
    const before = await store.get(ONE, 'a');
    const listed = await store.versions(ONE, 'a', { limit: 10, before: null });
    assert.deepEqual(
      listed.map(({ version }) => version),
      [3],
    );
    for (const version of [1, 2]) {
      assert.equal(await store.version(ONE, 'a', version), undefined);
      assert.equal(store.usable(ONE, 'a', version), undefined);
      assert.equal(await store.publish(ONE, 'a', version, LATER), undefined);
      assert.equal(await store.replaceDraft(ONE, 'a', version, versionOf('x'), LATER), undefined);
    }
    assert.deepEqual(await store.get(ONE, 'a'), before);
    assert.deepEqual(store.usable(ONE, 'a', null)?.content.email, { subject: 'new' });
    assert.deepEqual(store.published(ONE, 'a', 1)?.content.email, { subject: 'old' });
    assert.equal(store.published(ONE, 'a', 2), undefined);
  });

  test('a template that is deleted and published at once is gone, and what it had stays', async () => {
    await using opened = await open();
    const { store } = opened;
    for (let i = 0; i < 20; i++) {
      const key = `t${i}`;
      await store.create(ONE, propertiesOf(key), versionOf('1'), DRAFT);
      const publish = () => store.publish(ONE, key, 1, LATER);
      const calls = [() => store.delete(ONE, key, LATER), publish];
      if (i % 2 === 0) calls.reverse();
      const results = await Promise.all(calls.map((call) => call()));
      assert.ok(results.includes(true));
      const wasPublished = results.some((result) => typeof result === 'object');
      assert.equal(store.usable(ONE, key, null), undefined);
      assert.equal(store.published(ONE, key, 1) !== undefined, wasPublished);
    }
  });
}

function forgetting(open: () => Promise<OpenedTemplateStore>): void {
  const ALL = { before: Number.MAX_SAFE_INTEGER, after: null, limit: 10 };

  test('forgets a deletion a few versions at a time, and nothing else', async () => {
    await using opened = await open();
    const { store } = opened;
    for (const application of [ONE, OTHER]) {
      await store.create(application, propertiesOf('a'), versionOf('1'), PUBLISHED);
      for (const number of [2, 3, 4, 5])
        await store.addVersion(application, 'a', versionOf(`${number}`), PUBLISHED);
    }
    await store.delete(ONE, 'a', AT);
    await store.create(ONE, propertiesOf('a'), versionOf('6'), PUBLISHED);
    const [deletion] = await store.deletions(ALL);
    const { id } = deletion ?? assert.fail('the deletion is not known');
    const kept = () => [1, 2, 3, 4, 5, 6].filter((n) => store.published(ONE, 'a', n)).length;
    assert.equal(await store.forget(id, 2), true);
    assert.equal(kept(), 4);
    assert.deepEqual(await store.deletions(ALL), [deletion]);
    while (await store.forget(id, 2));
    assert.equal(kept(), 1);
    assert.deepEqual(await store.deletions(ALL), []);
    assert.equal(await store.forget(id, 2), false);

    assert.deepEqual(store.usable(ONE, 'a', null)?.content.email, { subject: '6' });
    assert.equal((await store.addVersion(ONE, 'a', versionOf('7'), DRAFT))?.version, 7);
    assert.equal((await store.versions(OTHER, 'a', { limit: 10, before: null })).length, 5);
    assert.ok(store.published(OTHER, 'a', 1));
  });

  test('a key whose versions are forgotten goes on counting', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.create(ONE, propertiesOf('a'), versionOf('1'), PUBLISHED);
    await store.delete(ONE, 'a', AT);
    const [first] = await store.deletions(ALL);
    assert.equal(await store.forget(first?.id ?? 0, 10), false);
    assert.deepEqual(await store.deletions(ALL), []);
    assert.equal(await store.get(ONE, 'a'), undefined);
    const again = await store.create(ONE, propertiesOf('a'), versionOf('2'), PUBLISHED);
    assert.equal(again.latestVersion, 2);
    await store.delete(ONE, 'a', LATER);
    const [second] = await store.deletions(ALL);
    assert.notEqual(second?.id, first?.id, 'who still holds the first must not forget the second');
    assert.equal(await store.forget(first?.id ?? 0, 10), false);
    assert.deepEqual(store.published(ONE, 'a', 2)?.content.email, { subject: '2' });
  });

  test('forgets one deletion of a key and not another', async () => {
    await using opened = await open();
    const { store } = opened;
    for (const text of ['1', '2', '3']) {
      await store.create(ONE, propertiesOf('a'), versionOf(text), PUBLISHED);
      await store.delete(ONE, 'a', AT);
    }
    const [, second] = await store.deletions(ALL);
    assert.equal(await store.forget(second?.id ?? 0, 10), false);
    const kept = [1, 2, 3].map((n) => store.published(ONE, 'a', n)?.content.email);
    assert.deepEqual(kept, [{ subject: '1' }, undefined, { subject: '3' }]);
  });

  test('tells deletions before a time, page by page', async () => {
    await using opened = await open();
    const { store } = opened;
    assert.deepEqual(await store.deletions(ALL), []);
    const keys = ['c', 'a', 'b', 'a'];
    for (const [i, key] of keys.entries()) {
      await store.create(i === 2 ? OTHER : ONE, propertiesOf(key), versionOf(key), DRAFT);
      await store.delete(i === 2 ? OTHER : ONE, key, AT + i);
    }
    const before = AT + 3;
    const first = await store.deletions({ before, after: null, limit: 2 });
    const rest = await store.deletions({ before, after: first.at(-1)?.id ?? 0, limit: 2 });
    assert.deepEqual(
      [...first, ...rest].map(({ applicationId, key, deletedAt }) => [
        applicationId,
        key,
        deletedAt,
      ]),
      [
        [ONE, 'c', AT],
        [ONE, 'a', AT + 1],
        [OTHER, 'b', AT + 2],
      ],
    );
    assert.equal((await store.deletions(ALL)).length, 4);
  });
}
