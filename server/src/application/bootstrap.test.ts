/** The operator's key over many starts. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import { adminOf, openTestRecords } from '../../test/support/records.ts';
import { parseId } from '../id.ts';
import type { ApplicationStore } from './application-store.ts';
import { createApplicationService } from './service.ts';

const FIRST = 'the-first-key-of-the-operator';
const SECOND = '!the#second~key"of%the+operator/';

const page = { application: undefined, limit: 50, before: null };

function open() {
  const records = openTestRecords();
  const { applications: store, clock } = records;
  return {
    records,
    store,
    clock,
    service: createApplicationService({ store, clock }),
    [Symbol.asyncDispose]: () => records[Symbol.asyncDispose](),
  };
}

function scopesOf(store: ApplicationStore, key: string) {
  return store.authenticate(hash('sha256', key))?.scopes;
}

test('the first start makes the default application and a key that is told once', async () => {
  await using opened = open();
  const { service, store } = opened;
  const first = await service.bootstrap(undefined);
  assert.equal(first.kind, 'generated');
  const { key } = first as { key: string };
  assert.match(key, /^tdk_live_[A-Za-z0-9_-]{43}$/);
  const caller = store.authenticate(hash('sha256', key));
  assert.equal(caller?.application, 'default');
  assert.equal(caller?.kind, 'live');
  assert.deepEqual(caller?.scopes, ['send', 'read', 'manage', 'admin']);
  assert.deepEqual(await service.bootstrap(undefined), { kind: 'kept' });
  assert.ok(scopesOf(store, key));
  const listed = await service.listKeys(caller as never, page);
  assert.deepEqual(
    listed.map(({ name, prefix }) => [name, prefix]),
    [['bootstrap', key.slice(0, 13)]],
  );
});

test('a configured key is the same at each start', async () => {
  await using opened = open();
  const { service, store } = opened;
  for (let start = 0; start < 3; start++) {
    assert.deepEqual(await service.bootstrap(FIRST), { kind: 'configured', revoked: 0 });
  }
  assert.deepEqual(scopesOf(store, FIRST), ['send', 'read', 'manage', 'admin']);
  const { id } = (await store.byKey('default')) as { id: number };
  const keys = await store.listKeys(id, { limit: 50, before: null });
  assert.deepEqual(
    keys.map(({ name, kind, prefix }) => [name, kind, prefix]),
    [['bootstrap', 'live', 'the-']],
  );
  assert.deepEqual(await service.bootstrap(undefined), { kind: 'kept' });
  assert.ok(scopesOf(store, FIRST));
});

test('a changed key replaces the one before, configured or generated', async () => {
  await using opened = open();
  const { service, store } = opened;
  const { key: generated } = (await service.bootstrap(undefined)) as { key: string };
  assert.deepEqual(await service.bootstrap(FIRST), { kind: 'configured', revoked: 1 });
  assert.deepEqual(await service.bootstrap(SECOND), { kind: 'configured', revoked: 1 });
  assert.deepEqual(await service.bootstrap(SECOND), { kind: 'configured', revoked: 0 });
  assert.equal(scopesOf(store, generated), undefined);
  assert.equal(scopesOf(store, FIRST), undefined);
  assert.ok(scopesOf(store, SECOND));
});

test('keys of other names and applications outlive a change', async () => {
  await using opened = open();
  const { service, store, records, clock } = opened;
  const { key } = await adminOf(records, clock);
  const { key: other } = await adminOf(records, clock, 'shop');
  const shop = (await store.byKey('shop')) as { id: number };
  await store.createKey({
    applicationId: shop.id,
    name: 'bootstrap',
    kind: 'live',
    scopes: ['read'],
    digest: hash('sha256', 'of the shop'),
    prefix: '',
    session: false,
    expiresAt: null,
  });
  await service.bootstrap(FIRST);
  assert.ok(scopesOf(store, key));
  assert.ok(scopesOf(store, other));
  assert.ok(scopesOf(store, 'of the shop'));
});

test('a stop between adding and revoking is made good by the next start', async () => {
  await using opened = open();
  const { service, store } = opened;
  await service.bootstrap(FIRST);
  const default_ = (await store.byKey('default')) as { id: number };
  await store.createKey({
    applicationId: default_.id,
    name: 'bootstrap',
    kind: 'live',
    scopes: ['send', 'read', 'manage', 'admin'],
    digest: hash('sha256', SECOND),
    prefix: '',
    session: false,
    expiresAt: null,
  });
  assert.deepEqual(await service.bootstrap(SECOND), { kind: 'configured', revoked: 1 });
  assert.equal(scopesOf(store, FIRST), undefined);
});

test('a revoked key does not come back by a restart, and takes no other with it', async () => {
  await using opened = open();
  const { service, store } = opened;
  await service.bootstrap(FIRST);
  await service.bootstrap(SECOND);
  assert.deepEqual(await service.bootstrap(FIRST), { kind: 'refused' });
  assert.equal(scopesOf(store, FIRST), undefined);
  assert.ok(scopesOf(store, SECOND));
  const caller = store.authenticate(hash('sha256', SECOND));
  const key = await store.keyByDigest(hash('sha256', SECOND));
  assert.ok(caller && key && parseId('key', key.id));
  await assert.rejects(service.revokeKey(caller, key.id, undefined), { kind: 'conflict' });
  await service.createKey(caller, { scopes: ['admin'] });
  await service.revokeKey(caller, key.id, undefined);
  assert.deepEqual(await service.bootstrap(SECOND), { kind: 'refused' });
  assert.equal(scopesOf(store, SECOND), undefined);
});

test('a key that somebody else has is refused', async () => {
  await using opened = open();
  const { service, store, records, clock } = opened;
  for (const application of ['default', 'shop']) {
    const { key } = await adminOf(records, clock, application);
    await assert.rejects(service.bootstrap(key), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'conflict');
      assert.match(error.message, /TIDINGS_BOOTSTRAP_KEY/);
      assert.ok(!error.message.includes(key), 'the key itself is never printed');
      return true;
    });
    assert.ok(scopesOf(store, key));
  }
});

test('a text that cannot be a key stops the start without being printed', async () => {
  await using opened = open();
  const { service, store } = opened;
  for (const text of [
    '',
    'fifteen-letters',
    'with a space inside',
    'mit-ümlaut-zeichen',
    `${FIRST}\n`,
    'x'.repeat(201),
  ]) {
    await assert.rejects(service.bootstrap(text), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'invalid_request');
      assert.match(error.message, /TIDINGS_BOOTSTRAP_KEY/);
      assert.ok(text === '' || !error.message.includes(text));
      return true;
    });
    assert.equal(scopesOf(store, text), undefined);
  }
  assert.deepEqual(await service.bootstrap('sixteen-letters!'), { kind: 'configured', revoked: 0 });
});

test('processes that start together agree', async () => {
  await using opened = open();
  const { records, clock, store } = opened;
  const starts = Array.from({ length: 5 }, () => {
    const { applications } = records.another();
    return createApplicationService({ store: applications, clock }).bootstrap(FIRST);
  });
  for (const result of await Promise.all(starts)) {
    assert.deepEqual(result, { kind: 'configured', revoked: 0 });
  }
  clock.advance(5000);
  assert.ok(scopesOf(store, FIRST));
  assert.equal((await store.list({ limit: 9, before: null })).length, 1);
});

test('the operators key is found among hundreds of others', async () => {
  await using opened = open();
  const { service, store, records, clock } = opened;
  const { caller } = await adminOf(records, clock);
  const create = () => service.createKey(caller, { scopes: ['read'] });
  await Promise.all(Array.from({ length: 450 }, create));
  assert.deepEqual(await service.bootstrap(SECOND), { kind: 'configured', revoked: 1 });
  assert.equal(scopesOf(store, 'a-key-of-the-test-operator'), undefined);
  assert.ok(scopesOf(store, SECOND));
});
