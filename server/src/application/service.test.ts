/** What the application service allows whom, on a real store. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import { SCOPES, type Scope } from '@tidings/contracts/common';
import { adminOf, openTestRecords } from '../../test/support/records.ts';
import { parseId } from '../id.ts';
import type { Caller } from './application-store.ts';
import { createApplicationService } from './service.ts';

const HOUR_MS = 3_600_000;

async function open() {
  const records = openTestRecords();
  const { applications: store, clock } = records;
  const service = createApplicationService({ store, clock });
  const { caller: admin } = await adminOf(records, clock);
  const callerOf = (key: string) => store.authenticate(hash('sha256', key));
  return {
    service,
    store,
    clock,
    admin,
    callerOf,
    async callerWith(scopes: Scope[], application = 'default', kind: 'live' | 'test' = 'live') {
      const { secret } = await service.createKey(admin, { scopes, application, kind });
      return callerOf(secret) as Caller;
    },
    [Symbol.asyncDispose]: () => records[Symbol.asyncDispose](),
  };
}

test('keys are random, say what they are, and are shown by their start only', async () => {
  await using opened = await open();
  const { service, admin, store } = opened;
  const secrets = new Set<string>();
  for (const kind of ['live', 'test'] as const) {
    for (let i = 0; i < 20; i++) {
      const { secret, prefix, id, ...key } = await service.createKey(admin, { kind, name: 'x' });
      assert.match(secret, new RegExp(`^tdk_${kind}_[A-Za-z0-9_-]{43}$`));
      assert.equal(prefix, secret.slice(0, `tdk_${kind}_`.length + 4));
      assert.deepEqual(key.scopes, ['send', 'read', 'manage']);
      assert.equal(key.expiresAt, null);
      const known = await store.keyById(admin.applicationId, parseId('key', id) as number);
      assert.ok(!JSON.stringify(known).includes(secret.slice(14)));
      secrets.add(secret);
    }
  }
  assert.equal(secrets.size, 40);
});

test('nobody gives away more than they have, in any combination of scopes', async () => {
  await using opened = await open();
  const { service, callerOf, callerWith } = opened;
  const subsets = Array.from({ length: 2 ** SCOPES.length }, (_, bits) =>
    SCOPES.filter((_scope, i) => bits & (1 << i)),
  ).filter((scopes) => scopes.length > 0);
  for (const own of subsets) {
    const caller = await callerWith(own);
    for (const scopes of subsets) {
      const missing = scopes.filter((scope) => !own.includes(scope));
      const creation = service.createKey(caller, { scopes });
      if (missing.length === 0) {
        assert.deepEqual(callerOf((await creation).secret)?.scopes, scopes);
      } else {
        await assert.rejects(creation, {
          code: 'forbidden',
          detail: new RegExp(missing.join(', ')),
        });
      }
    }
  }
});

test('the default scopes are no way around', async () => {
  await using opened = await open();
  const { service, callerWith } = opened;
  const caller = await callerWith(['manage']);
  await assert.rejects(service.createKey(caller, {}), { code: 'forbidden' });
});

test('a test key makes test keys only', async () => {
  await using opened = await open();
  const { service, callerOf, callerWith } = opened;
  const caller = await callerWith(['send', 'read', 'manage', 'admin'], 'default', 'test');
  await assert.rejects(service.createKey(caller, {}), { code: 'forbidden' });
  await assert.rejects(service.createKey(caller, { kind: 'live' }), { code: 'forbidden' });
  const { secret } = await service.createKey(caller, { kind: 'test' });
  assert.equal(callerOf(secret)?.kind, 'test');
});

test('only an admin names another application, which then must exist', async () => {
  await using opened = await open();
  const { service, admin, callerOf, callerWith } = opened;
  await service.create({ key: 'shop' });
  const inShop = await service.createKey(admin, { application: 'shop' });
  assert.equal(inShop.application, 'shop');
  assert.equal(callerOf(inShop.secret)?.application, 'shop');
  const manager = await callerWith(['send', 'read', 'manage']);
  const list = (caller: Caller, application?: string) =>
    service.listKeys(caller, { application, limit: 9, before: null });
  for (const application of ['shop', 'nobody']) {
    const same = { code: 'forbidden', message: /may name another application/ };
    await assert.rejects(service.createKey(manager, { application }), same);
    await assert.rejects(list(manager, application), same);
    await assert.rejects(service.revokeKey(manager, inShop.id, application), same);
  }
  const none = { code: 'not_found', message: 'There is no such application.' };
  await assert.rejects(service.createKey(admin, { application: 'nobody' }), none);
  await assert.rejects(list(admin, 'nobody'), none);
  await assert.rejects(service.revokeKey(admin, inShop.id, 'nobody'), none);
  assert.equal(
    (await service.createKey(manager, { application: 'default' })).application,
    'default',
  );
  assert.ok((await list(manager, 'default')).length > 0);
  assert.deepEqual(
    (await list(admin, 'shop')).map(({ id }) => id),
    [inShop.id],
  );
});

test('a key is revoked by its application or an admin, and an admins by an admin', async () => {
  await using opened = await open();
  const { service, admin, callerOf, callerWith } = opened;
  await service.create({ key: 'shop' });
  const shopManager = await callerWith(['send', 'read', 'manage'], 'shop');
  const mine = await service.createKey(admin, {});
  const absent = { code: 'not_found', message: 'There is no such API key.' };
  for (const id of [mine.id, 'key_00000000000', 'key_', 'x', '', `${mine.id} `]) {
    await assert.rejects(service.revokeKey(shopManager, id, undefined), absent);
  }
  assert.ok(callerOf(mine.secret));
  const theirs = await service.createKey(shopManager, {});
  await assert.rejects(service.revokeKey(admin, theirs.id, undefined), absent);
  await service.revokeKey(admin, theirs.id, 'shop');
  assert.equal(callerOf(theirs.secret), undefined);

  const manager = await callerWith(['manage']);
  const operator = await service.createKey(admin, { scopes: ['admin'] });
  await assert.rejects(service.revokeKey(manager, operator.id, undefined), { code: 'forbidden' });
  assert.ok(callerOf(operator.secret));
  await service.revokeKey(manager, mine.id, undefined);
  await service.revokeKey(manager, mine.id, undefined);
  assert.equal(callerOf(mine.secret), undefined);
  await service.revokeKey(admin, operator.id, undefined);
  assert.equal(callerOf(operator.secret), undefined);
});

test('a key expires when it was asked to', async () => {
  await using opened = await open();
  const { service, admin, callerOf, clock } = opened;
  const at = (ms: number) => new Date(clock.now() + ms).toISOString();
  const { secret, expiresAt } = await service.createKey(admin, { expiresAt: at(1000) });
  assert.equal(expiresAt, at(1000));
  for (const wrong of [at(0), at(-1), '2027-13-01T00:00:00Z', '2026-12-31T23:59:60Z']) {
    await assert.rejects(service.createKey(admin, { expiresAt: wrong }), (error: never) => {
      const { code, errors } = error as { code: string; errors: { path: string }[] };
      assert.deepEqual([code, errors[0]?.path], ['invalid_time', 'body.expiresAt']);
      return true;
    });
  }
  clock.advance(1000);
  assert.equal(callerOf(secret), undefined);
});

test('the name of the operators key is reserved', async () => {
  await using opened = await open();
  const { service, admin } = opened;
  await assert.rejects(service.createKey(admin, { name: 'bootstrap' }), {
    code: 'invalid_request',
  });
  assert.equal((await service.createKey(admin, { name: 'Bootstrap' })).name, 'Bootstrap');
});

test('an application is called by its key when it has no name', async () => {
  await using opened = await open();
  const { service } = opened;
  assert.equal((await service.create({ key: 'shop' })).name, 'shop');
  assert.equal((await service.create({ key: 'bank', name: '银行' })).name, '银行');
  await assert.rejects(service.create({ key: 'shop' }), { code: 'already_exists' });
});

test('an admin link gives one session, of twelve hours, with every scope', async () => {
  await using opened = await open();
  const { service, clock, callerOf, admin } = opened;
  const { token, expiresAt } = await service.createAdminLink();
  assert.match(token, /^[A-Za-z0-9_-]{43}$/);
  assert.equal(expiresAt, clock.now() + HOUR_MS);
  const session = await service.createSession(token, '192.0.2.1');
  assert.match(session.key, /^tdk_session_[A-Za-z0-9_-]{43}$/);
  assert.equal(session.application, 'default');
  assert.equal(session.expiresAt, new Date(clock.now() + 12 * HOUR_MS).toISOString());
  const caller = callerOf(session.key);
  assert.deepEqual([caller?.kind, caller?.scopes], ['live', SCOPES]);
  const keys = await service.listKeys(admin, { application: undefined, limit: 50, before: null });
  assert.ok(keys.every(({ name }) => name !== 'session'));
  clock.advance(12 * HOUR_MS - 1);
  assert.ok(callerOf(session.key));
  clock.advance(1);
  assert.equal(callerOf(session.key), undefined);
});

test('used, late and unknown links are refused in the same words', async () => {
  await using opened = await open();
  const { service, clock } = opened;
  const used = (await service.createAdminLink()).token;
  await service.createSession(used, '192.0.2.1');
  const late = (await service.createAdminLink()).token;
  clock.advance(HOUR_MS);
  const refusals = [];
  for (const token of [used, late, 'x'.repeat(43), '']) {
    const refusal = await service.createSession(token, '192.0.2.1').then(
      () => assert.fail('a session was given'),
      (error) => error.toPlain(),
    );
    refusals.push(refusal);
  }
  assert.equal(refusals[0].code, 'unauthorized');
  for (const refusal of refusals) assert.deepEqual(refusal, refusals[0]);
});

test('a session can be ended', async () => {
  await using opened = await open();
  const { service, callerOf } = opened;
  const { key } = await service.createSession((await service.createAdminLink()).token, '::1');
  const caller = callerOf(key) as Caller;
  const { id, name, prefix } = await service.whoami(caller);
  assert.deepEqual([name, prefix], ['session', key.slice(0, 16)]);
  await service.revokeKey(caller, id, undefined);
  assert.equal(callerOf(key), undefined);
});

test('attempts at a session are limited by address, and a good link is not spent by a refusal', async () => {
  await using opened = await open();
  const { service, clock } = opened;
  const { token } = await service.createAdminLink();
  for (let i = 0; i < 30; i++) {
    await assert.rejects(service.createSession(`no ${i}`, '192.0.2.1'), { code: 'unauthorized' });
  }
  await assert.rejects(service.createSession(token, '192.0.2.1'), {
    code: 'limited',
    retryAfterMs: 60_000,
  });
  await assert.rejects(service.createSession('no', '192.0.2.2'), { code: 'unauthorized' });
  clock.advance(60_000);
  assert.ok(await service.createSession(token, '192.0.2.1'));
});
