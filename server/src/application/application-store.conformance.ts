/** What every engine of the application store must do, in the words of its port. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { describe, test } from 'node:test';
import { SCOPES } from '@tidings/contracts/common';
import { parseId } from '../id.ts';
import type { ApplicationStore, NewApiKey } from './application-store.ts';

type Opened = AsyncDisposable & { store: ApplicationStore };

/** Times on either side of any clock an engine is tested with. */
const LONG_AGO = 1000;
const FAR_AHEAD = Date.UTC(2100, 0);

/** An id that no application has. */
const NOBODY = 987_654_321;

function digestOf(text: string): string {
  return hash('sha256', text);
}

function keyOf(applicationId: number, text: string, change: Partial<NewApiKey> = {}): NewApiKey {
  return {
    applicationId,
    name: `key ${text}`,
    kind: 'live',
    scopes: ['send', 'read'],
    digest: digestOf(text),
    prefix: text.slice(0, 4),
    session: false,
    expiresAt: null,
    ...change,
  };
}

function numberOf({ id }: { id: string }): number {
  const number = parseId('key', id);
  assert.ok(number !== undefined, id);
  return number;
}

export function runApplicationStoreConformance(name: string, open: () => Promise<Opened>): void {
  describe(`${name}: application store`, () => {
    aboutApplications(open);
    aboutAuthentication(open);
    aboutKeys(open);
    aboutAdminLinks(open);
  });
}

function aboutApplications(open: () => Promise<Opened>): void {
  test('an application is found by its key and its id', async () => {
    await using opened = await open();
    const { store } = opened;
    const created = await store.create({ key: 'shop', name: '商店 🛍️' });
    assert.deepEqual([created.key, created.name], ['shop', '商店 🛍️']);
    assert.ok(Number.isSafeInteger(created.id));
    assert.ok(Number.isFinite(Date.parse(created.createdAt)));
    assert.deepEqual(await store.byKey('shop'), created);
    assert.deepEqual(await store.byId(created.id), created);
    assert.equal(await store.byKey('nobody'), undefined);
    assert.equal(await store.byId(NOBODY), undefined);
  });

  test('a key is taken once, also by concurrent calls', async () => {
    await using opened = await open();
    const { store } = opened;
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) => store.create({ key: 'shop', name: `shop ${i}` })),
    );
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
    for (const result of results) {
      if (result.status === 'rejected') assert.equal(result.reason.code, 'already_exists');
    }
    await assert.rejects(store.create({ key: 'shop', name: 'x' }), { code: 'already_exists' });
    assert.equal((await store.list({ limit: 50, before: null })).length, 1);
  });

  test('keys are compared exactly', async () => {
    await using opened = await open();
    const { store } = opened;
    const keys = ['shop', 'Shop', 'SHOP', 'shop ', 'shop.'];
    for (const key of keys) await store.create({ key, name: key });
    for (const key of keys) assert.equal((await store.byKey(key))?.name, key);
    assert.equal(await store.byKey('sHop'), undefined);
    assert.equal(await store.byKey('shop  '), undefined);
  });

  test('a list goes from the newest to the oldest', async () => {
    await using opened = await open();
    const { store } = opened;
    for (let i = 0; i < 7; i++) await store.create({ key: `app-${i}`, name: '' });
    const keys: string[] = [];
    let before: number | null = null;
    for (;;) {
      const page = await store.list({ limit: 3, before });
      keys.push(...page.map(({ key }) => key));
      const last = page.at(-1);
      if (!last) break;
      before = last.id;
    }
    assert.deepEqual(
      keys,
      [6, 5, 4, 3, 2, 1, 0].map((i) => `app-${i}`),
    );
  });
}

function aboutAuthentication(open: () => Promise<Opened>): void {
  test('a valid key names its caller', async () => {
    await using opened = await open();
    const { store } = opened;
    const shop = await store.create({ key: 'shop', name: '' });
    const live = await store.createKey(keyOf(shop.id, 'one', { scopes: SCOPES }));
    const test = await store.createKey(keyOf(shop.id, 'two', { kind: 'test', scopes: ['read'] }));
    const caller = { applicationId: shop.id, application: 'shop' };
    assert.deepEqual(store.authenticate(digestOf('one')), {
      ...caller,
      keyId: numberOf(live),
      kind: 'live',
      scopes: ['send', 'read', 'manage', 'admin'],
    });
    assert.deepEqual(store.authenticate(digestOf('two')), {
      ...caller,
      keyId: numberOf(test),
      kind: 'test',
      scopes: ['read'],
    });
  });

  test('nothing but the whole digest is a key', async () => {
    await using opened = await open();
    const { store } = opened;
    const shop = await store.create({ key: 'shop', name: '' });
    const digest = digestOf('one');
    await store.createKey(keyOf(shop.id, 'one'));
    const changed = (at: number) =>
      `${digest.slice(0, at)}${digest[at] === '0' ? '1' : '0'}${digest.slice(at + 1)}`;
    for (const wrong of [
      digestOf('two'),
      ...Array.from({ length: digest.length }, (_, at) => changed(at)),
      digest.slice(0, 16),
      digest.slice(0, 63),
      `${digest}0`,
      `${digest} `,
      digest.toUpperCase(),
      '',
      'one',
      '%',
      `${digest.slice(0, 60)}é0`,
    ]) {
      assert.equal(store.authenticate(wrong), undefined, wrong);
    }
    assert.ok(store.authenticate(digest));
  });

  test('keys whose digests begin alike are told apart', async () => {
    await using opened = await open();
    const { store } = opened;
    const shop = await store.create({ key: 'shop', name: '' });
    const digests = ['0', '1', '2'].map((last) => 'ab'.repeat(31) + last.repeat(2));
    const keys = [];
    for (const digest of digests)
      keys.push(await store.createKey(keyOf(shop.id, digest, { digest })));
    const [first, second, third] = keys.map(numberOf);
    assert.deepEqual(
      digests.map((digest) => store.authenticate(digest)?.keyId),
      [first, second, third],
    );
    assert.equal(await store.revokeKey(shop.id, first as number), true);
    assert.deepEqual(
      digests.map((digest) => store.authenticate(digest)?.keyId),
      [undefined, second, third],
    );
    assert.equal(store.authenticate(`${'ab'.repeat(31)}33`), undefined);
  });

  test('a revoked key stops at once, and once and for all', async () => {
    await using opened = await open();
    const { store } = opened;
    const shop = await store.create({ key: 'shop', name: '' });
    const bank = await store.create({ key: 'bank', name: '' });
    const key = numberOf(await store.createKey(keyOf(shop.id, 'one')));
    assert.ok(store.authenticate(digestOf('one')));
    assert.equal(await store.revokeKey(bank.id, key), false);
    assert.equal(await store.revokeKey(shop.id, key + 1), false);
    assert.ok(store.authenticate(digestOf('one')), 'another application cannot revoke it');
    assert.equal(await store.revokeKey(shop.id, key), true);
    assert.equal(store.authenticate(digestOf('one')), undefined);
    const { revokedAt } = (await store.keyById(shop.id, key)) ?? {};
    assert.ok(typeof revokedAt === 'string');
    assert.equal(await store.revokeKey(shop.id, key), true);
    assert.equal((await store.keyById(shop.id, key))?.revokedAt, revokedAt);
    await assert.rejects(store.createKey(keyOf(shop.id, 'one')), { code: 'already_exists' });
    assert.equal(store.authenticate(digestOf('one')), undefined);
  });

  test('an expired key is no key', async () => {
    await using opened = await open();
    const { store } = opened;
    const shop = await store.create({ key: 'shop', name: '' });
    await store.createKey(keyOf(shop.id, 'past', { expiresAt: LONG_AGO }));
    await store.createKey(keyOf(shop.id, 'future', { expiresAt: FAR_AHEAD }));
    assert.equal(store.authenticate(digestOf('past')), undefined);
    assert.ok(store.authenticate(digestOf('future')));
  });

  test('a key that was asked for before it was made is seen once it is', async () => {
    await using opened = await open();
    const { store } = opened;
    const shop = await store.create({ key: 'shop', name: '' });
    assert.equal(store.authenticate(digestOf('one')), undefined);
    await store.createKey(keyOf(shop.id, 'one'));
    assert.ok(store.authenticate(digestOf('one')));
  });
}

function aboutKeys(open: () => Promise<Opened>): void {
  test('a key is described as it was made', async () => {
    await using opened = await open();
    const { store } = opened;
    const shop = await store.create({ key: 'shop', name: '' });
    const key = await store.createKey(
      keyOf(shop.id, 'one', { name: '钥匙 🔑', kind: 'test', expiresAt: FAR_AHEAD }),
    );
    const { id, createdAt, ...rest } = key;
    assert.match(id, /^key_[0-9a-hjkmnp-tv-z]{11}$/);
    assert.ok(Number.isFinite(Date.parse(createdAt)));
    assert.deepEqual(rest, {
      application: 'shop',
      name: '钥匙 🔑',
      kind: 'test',
      scopes: ['send', 'read'],
      prefix: 'one',
      expiresAt: '2100-01-01T00:00:00.000Z',
      revokedAt: null,
    });
    assert.deepEqual(await store.keyByDigest(digestOf('one')), key);
    assert.deepEqual(await store.keyById(shop.id, numberOf(key)), key);
    assert.deepEqual(await store.listKeys(shop.id, { limit: 9, before: null }), [key]);
    assert.ok(!JSON.stringify(key).includes(digestOf('one').slice(0, 8)), 'no part of the digest');
  });

  test('a digest is taken once, by a known application', async () => {
    await using opened = await open();
    const { store } = opened;
    const shop = await store.create({ key: 'shop', name: '' });
    const bank = await store.create({ key: 'bank', name: '' });
    const attempts = Array.from({ length: 10 }, (_, i) =>
      store.createKey(keyOf(i % 2 ? shop.id : bank.id, 'one')),
    );
    const results = await Promise.allSettled(attempts);
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
    for (const result of results) {
      if (result.status === 'rejected') assert.equal(result.reason.code, 'already_exists');
    }
    await assert.rejects(store.createKey(keyOf(NOBODY, 'two')), { code: 'not_found' });
    assert.equal(await store.keyByDigest(digestOf('two')), undefined);
  });

  test('revoked and expired keys can still be looked at', async () => {
    await using opened = await open();
    const { store } = opened;
    const shop = await store.create({ key: 'shop', name: '' });
    const revoked = numberOf(await store.createKey(keyOf(shop.id, 'revoked')));
    const past = await store.createKey(keyOf(shop.id, 'past', { expiresAt: LONG_AGO }));
    await store.revokeKey(shop.id, revoked);
    assert.ok((await store.keyByDigest(digestOf('revoked')))?.revokedAt);
    assert.deepEqual(await store.keyByDigest(digestOf('past')), past);
    assert.deepEqual(await store.keyById(shop.id, numberOf(past)), past);
    const listed = await store.listKeys(shop.id, { limit: 9, before: null });
    assert.deepEqual(listed.map(numberOf), [numberOf(past), revoked]);
  });

  test('a list has the keys of one application, newest first, without sessions', async () => {
    await using opened = await open();
    const { store } = opened;
    const shop = await store.create({ key: 'shop', name: '' });
    const bank = await store.create({ key: 'bank', name: '' });
    const names: string[] = [];
    for (let i = 0; i < 7; i++) {
      await store.createKey(keyOf(shop.id, `shop ${i}`));
      await store.createKey(keyOf(bank.id, `bank ${i}`));
      await store.createKey(
        keyOf(shop.id, `session ${i}`, { session: true, expiresAt: FAR_AHEAD }),
      );
    }
    let before: number | null = null;
    for (;;) {
      const page = await store.listKeys(shop.id, { limit: 3, before });
      names.push(...page.map(({ name }) => name));
      const last = page.at(-1);
      if (!last) break;
      before = numberOf(last);
    }
    assert.deepEqual(
      names,
      [6, 5, 4, 3, 2, 1, 0].map((i) => `key shop ${i}`),
    );
    assert.deepEqual(await store.listKeys(NOBODY, { limit: 3, before: null }), []);
  });

  test('a session is a key like others, except that it is not listed', async () => {
    await using opened = await open();
    const { store } = opened;
    const shop = await store.create({ key: 'shop', name: '' });
    const bank = await store.create({ key: 'bank', name: '' });
    const session = await store.createKey(
      keyOf(shop.id, 'one', { session: true, expiresAt: FAR_AHEAD }),
    );
    assert.ok(store.authenticate(digestOf('one')));
    assert.deepEqual(await store.listKeys(shop.id, { limit: 9, before: null }), []);
    assert.deepEqual(await store.keyById(shop.id, numberOf(session)), session);
    assert.equal(await store.keyById(bank.id, numberOf(session)), undefined);
    assert.equal(await store.revokeKey(shop.id, numberOf(session)), true);
    assert.equal(store.authenticate(digestOf('one')), undefined);
  });
}

function aboutAdminLinks(open: () => Promise<Opened>): void {
  test('an admin link works once, also for concurrent callers', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.createAdminLink(digestOf('link'), FAR_AHEAD);
    const uses = Array.from({ length: 20 }, () => store.useAdminLink(digestOf('link')));
    const results = await Promise.all(uses);
    assert.equal(results.filter(Boolean).length, 1);
    assert.equal(await store.useAdminLink(digestOf('link')), false);
  });

  test('an admin link that is unknown or has expired does not work', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.createAdminLink(digestOf('past'), LONG_AGO);
    await store.createAdminLink(digestOf('good'), FAR_AHEAD);
    assert.equal(await store.useAdminLink(digestOf('past')), false);
    assert.equal(await store.useAdminLink(digestOf('other')), false);
    assert.equal(await store.useAdminLink(digestOf('good').toUpperCase()), false);
    assert.equal(await store.useAdminLink(''), false);
    assert.equal(await store.useAdminLink(digestOf('good')), true);
  });
}
