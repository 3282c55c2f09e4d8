/** The routes of applications, API keys and sessions, over HTTP and on a real store. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KEY_KINDS, SCOPES, type Scope } from '@tidings/contracts/common';
import { adminOf } from '../../../test/support/records.ts';
import { openTestApp, problemOf, type TestApp } from '../../../test/support/records-app.ts';

const HOUR_MS = 3_600_000;

async function keyWith(api: TestApp, request: object): Promise<{ id: string; secret: string }> {
  const { status, body } = await api.call('POST', '/v1/api-keys', { body: request });
  assert.equal(status, 201, JSON.stringify(body));
  return body;
}

test('applications are created and listed by operators', async () => {
  await using api = await openTestApp();
  const { body, status } = await api.call('POST', '/v1/applications', { body: { key: 'shop' } });
  const createdAt = new Date(api.records.clock.now()).toISOString();
  assert.deepEqual([status, body], [201, { key: 'shop', name: 'shop', createdAt }]);
  const again = await api.call('POST', '/v1/applications', { body: { key: 'shop', name: 'x' } });
  assert.deepEqual([again.status, again.body.code], [409, 'already_exists']);
  await api.call('POST', '/v1/applications', { body: { key: 'Shop', name: '商店' } });
  const first = await api.call('GET', '/v1/applications?limit=2');
  const keys = (answer: typeof first) => answer.body.items.map(({ key }: { key: string }) => key);
  assert.deepEqual(keys(first), ['Shop', 'shop']);
  const last = await api.call('GET', `/v1/applications?limit=2&cursor=${first.body.next}`);
  assert.deepEqual([keys(last), last.body.next], [['default'], null]);
});

test('a key is created, used, listed and revoked', async () => {
  await using api = await openTestApp();
  const request = { name: 'ci', kind: 'test', scopes: ['manage', 'read'] };
  const created = await api.call('POST', '/v1/api-keys', { body: request });
  assert.equal(created.status, 201);
  assert.equal(created.headers['cache-control'], 'no-store');
  const { secret, ...key } = created.body;
  assert.deepEqual(key, {
    id: key.id,
    application: 'default',
    name: 'ci',
    kind: 'test',
    scopes: ['read', 'manage'],
    prefix: secret.slice(0, 13),
    createdAt: new Date(api.records.clock.now()).toISOString(),
    expiresAt: null,
    revokedAt: null,
  });
  const listed = await api.call('GET', '/v1/api-keys?limit=1', { key: secret });
  assert.deepEqual(listed.body.items, [key]);
  assert.ok(!JSON.stringify(listed.body).includes(secret));
  const whoami = await api.call('GET', '/v1/whoami', { key: secret });
  const { id, name, prefix, kind, scopes, expiresAt } = key;
  const expected = { application: 'default', id, name, prefix, kind, scopes, expiresAt };
  assert.deepEqual([whoami.status, whoami.body], [200, expected]);
  assert.equal((await api.call('DELETE', `/v1/api-keys/${id}`, { key: secret })).status, 204);
  const refused = await api.call('GET', '/v1/whoami', { key: secret });
  assert.deepEqual([refused.status, refused.body.code], [401, 'unauthorized']);
  const after = await api.call('GET', '/v1/api-keys?limit=1');
  assert.equal(after.body.items[0].revokedAt, key.createdAt);
  assert.equal((await api.call('DELETE', `/v1/api-keys/${id}`)).status, 204);
});

test('keys are listed page by page', async () => {
  await using api = await openTestApp();
  for (let i = 0; i < 5; i++) await keyWith(api, { name: `key ${i}` });
  const names: string[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const query: string = cursor === '' ? '' : `&cursor=${cursor}`;
    const { body } = await api.call('GET', `/v1/api-keys?limit=2${query}`);
    names.push(...body.items.map(({ name }: { name: string }) => name));
    cursor = body.next;
  }
  const own = ['key 4', 'key 3', 'key 2', 'key 1', 'key 0'];
  assert.deepEqual(names, [...own, 'API key', 'bootstrap']);
});

test('another application is named by operators only', async () => {
  await using api = await openTestApp();
  await api.call('POST', '/v1/applications', { body: { key: 'shop' } });
  const theirs = await keyWith(api, { application: 'shop' });
  const { secret: manager } = await keyWith(api, {});
  const remove = (key: string, query = '') =>
    api.call('DELETE', `/v1/api-keys/${theirs.id}${query}`, { key });
  for (const application of ['shop', 'nobody']) {
    const query = `?application=${application}`;
    const refusals = [
      await api.call('GET', `/v1/api-keys${query}`, { key: manager }),
      await api.call('POST', '/v1/api-keys', { key: manager, body: { application } }),
      await remove(manager, query),
    ];
    for (const { status, body } of refusals)
      assert.deepEqual([status, body.code], [403, 'forbidden']);
  }
  const listed = await api.call('GET', '/v1/api-keys?application=shop');
  assert.deepEqual(
    listed.body.items.map(({ id }: { id: string }) => id),
    [theirs.id],
  );
  assert.equal((await api.call('GET', '/v1/api-keys?application=nobody')).status, 404);
  assert.equal((await remove(api.key)).status, 404, 'it is not a key of the operators application');
  assert.equal((await remove(api.key, '?application=shop')).status, 204);
  assert.equal((await api.call('GET', '/v1/whoami', { key: theirs.secret })).status, 401);
});

test('a key of another application answers like an absent one', async () => {
  await using api = await openTestApp();
  const { key } = await adminOf(api.records, api.records.clock, 'shop');
  const { id, secret } = await keyWith(api, {});
  const answers = [];
  for (const name of [id, 'key_00000000000', 'nothing', 'key_%2e%2e', '%F0%9F%94%91']) {
    answers.push(await api.call('DELETE', `/v1/api-keys/${name}`, { key }));
  }
  for (const answer of answers) {
    assert.equal(answer.status, 404);
    assert.deepEqual(problemOf(answer), problemOf(answers[0] as never));
  }
  assert.equal((await api.call('GET', '/v1/whoami', { key: secret })).status, 200);
});

test('nobody creates a key that can do more', async () => {
  await using api = await openTestApp();
  const { secret: manager } = await keyWith(api, { scopes: ['read', 'manage'] });
  const create = (key: string, body: object) => api.call('POST', '/v1/api-keys', { key, body });
  for (const scope of ['send', 'admin']) {
    const { status, body } = await create(manager, { scopes: ['read', scope] });
    assert.deepEqual([status, body.errors[0].path], [403, 'body.scopes']);
  }
  assert.equal((await create(manager, {})).status, 403);
  assert.equal((await create(manager, { scopes: ['read'] })).status, 201);
  const { secret: test } = await keyWith(api, { kind: 'test', scopes: ['send', 'manage'] });
  const live = await create(test, { scopes: ['send'] });
  assert.deepEqual([live.status, live.body.errors[0].path], [403, 'body.kind']);
  assert.equal((await create(test, { kind: 'test', scopes: ['send'] })).status, 201);
});

test('faulty requests get errors that name the field; nobody sets what the service decides', async () => {
  await using api = await openTestApp();
  const cases: [string, object, string][] = [
    ['/v1/applications', {}, 'body.key'],
    ['/v1/applications', { key: 'a b' }, 'body.key'],
    ['/v1/applications', { key: 'a', id: 7 }, 'body.id'],
    ['/v1/applications', { key: 'a', createdAt: '2026-01-01T00:00:00Z' }, 'body.createdAt'],
    ['/v1/applications', { key: 'a', webhookSecret: 'whsec_x' }, 'body.webhookSecret'],
    ['/v1/api-keys', { scopes: [] }, 'body.scopes'],
    ['/v1/api-keys', { scopes: ['send', 'send'] }, 'body.scopes'],
    ['/v1/api-keys', { scopes: ['root'] }, 'body.scopes.0'],
    ['/v1/api-keys', { scopes: 'send' }, 'body.scopes'],
    ['/v1/api-keys', { kind: 'session' }, 'body.kind'],
    ['/v1/api-keys', { name: '' }, 'body.name'],
    ['/v1/api-keys', { name: 'bootstrap' }, 'body.name'],
    ['/v1/api-keys', { expiresAt: 'tomorrow' }, 'body.expiresAt'],
    ['/v1/api-keys', { expiresAt: '2020-01-01T00:00:00Z' }, 'body.expiresAt'],
    ...['secret', 'digest', 'prefix', 'session', 'applicationId', 'id', 'revokedAt'].map(
      (name): [string, object, string] => ['/v1/api-keys', { [name]: 'x' }, `body.${name}`],
    ),
    ['/v1/sessions', {}, 'body.token'],
    ['/v1/sessions', { token: 'short' }, 'body.token'],
    ['/v1/sessions', { token: 'x'.repeat(43), scopes: ['admin'] }, 'body.scopes'],
  ];
  for (const [url, body, path] of cases) {
    const answer = await api.call('POST', url, { body });
    assert.deepEqual([answer.status, answer.body.errors?.[0]?.path], [400, path]);
  }
  for (const url of ['/v1/applications', '/v1/api-keys']) {
    for (const [query, path] of [
      ['limit=0', 'query.limit'],
      ['cursor=x', 'query.cursor'],
      ['sort=id', 'query.sort'],
    ]) {
      const answer = await api.call('GET', `${url}?${query}`);
      assert.deepEqual([answer.status, answer.body.errors?.[0]?.path], [400, path]);
    }
  }
});

test('an admin link is exchanged once for a session', async () => {
  await using api = await openTestApp();
  const { token } = await api.service.createAdminLink();
  const exchange = (given: string) =>
    api.call('POST', '/v1/sessions', { key: null, body: { token: given } });
  const { status, headers, body } = await exchange(token);
  assert.deepEqual([status, headers['cache-control']], [201, 'no-store']);
  assert.deepEqual(Object.keys(body).sort(), ['application', 'expiresAt', 'key']);
  const whoami = await api.call('GET', '/v1/whoami', { key: body.key });
  assert.deepEqual(whoami.body.scopes, SCOPES);
  assert.equal(whoami.body.expiresAt, body.expiresAt);
  assert.equal((await api.call('GET', '/v1/applications', { key: body.key })).status, 200);
  const late = (await api.service.createAdminLink()).token;
  api.records.clock.advance(HOUR_MS);
  const refusals = [];
  for (const given of [token, late, 'x'.repeat(43)]) refusals.push(await exchange(given));
  for (const refusal of refusals) {
    assert.equal(refusal.status, 401);
    assert.deepEqual(problemOf(refusal), problemOf(refusals[0] as never));
    assert.deepEqual(Object.keys(refusal.headers), Object.keys(refusals[0]?.headers ?? {}));
  }
  api.records.clock.advance(11 * HOUR_MS);
  assert.equal((await api.call('GET', '/v1/whoami', { key: body.key })).status, 401);
});

test('a link that is used by many at once gives one session', async () => {
  await using api = await openTestApp();
  const { token } = await api.service.createAdminLink();
  const answers = await Promise.all(
    Array.from({ length: 20 }, () =>
      api.call('POST', '/v1/sessions', { key: null, body: { token } }),
    ),
  );
  const statuses = answers.map(({ status }) => status).sort();
  assert.deepEqual(statuses, [201, ...Array.from({ length: 19 }, () => 401)]);
});

test('attempts at a session are limited by remote address', async () => {
  await using api = await openTestApp();
  const attempt = (remoteAddress: string) =>
    api.call('POST', '/v1/sessions', { key: null, body: { token: 'x'.repeat(43) }, remoteAddress });
  for (let i = 0; i < 30; i++) assert.equal((await attempt('192.0.2.1')).status, 401);
  const limited = await attempt('192.0.2.1');
  assert.deepEqual([limited.status, limited.body.code], [429, 'limited']);
  assert.equal(limited.headers['retry-after'], '60');
  assert.equal((await attempt('192.0.2.2')).status, 401);
  api.records.clock.advance(60_000);
  assert.equal((await attempt('192.0.2.1')).status, 401);
});

/** The scope of every route here, as it is documented; null is open to everybody. */
const ROUTES: [method: string, url: string, scope: Scope | null, body?: object][] = [
  ['GET', '/v1/users', 'read'],
  ['GET', '/v1/users/{userId}', 'read'],
  ['PUT', '/v1/users/{userId}', 'manage', {}],
  ['DELETE', '/v1/users/{userId}', 'manage'],
  ['GET', '/v1/users/{userId}/preferences', 'read'],
  ['PUT', '/v1/users/{userId}/preferences', 'manage', {}],
  ['GET', '/v1/applications', 'admin'],
  ['POST', '/v1/applications', 'admin', { key: 'shop' }],
  ['GET', '/v1/api-keys', 'manage'],
  ['POST', '/v1/api-keys', 'manage', { scopes: ['manage'] }],
  ['DELETE', '/v1/api-keys/{keyId}', 'manage'],
  ['GET', '/v1/whoami', 'read'],
  ['POST', '/v1/sessions', null, { token: 'x'.repeat(43) }],
];

test('each route is in the matrix of scopes', async () => {
  await using api = await openTestApp();
  const { body } = await api.call('GET', '/openapi.json', { key: null });
  const paths = body.paths as Record<string, Record<string, { security: unknown[] }>>;
  const documented = Object.entries(paths).flatMap(([url, methods]) =>
    Object.entries(methods).map(
      ([method, { security }]) => `${method.toUpperCase()} ${url} ${security.length > 0}`,
    ),
  );
  assert.deepEqual(
    documented.sort(),
    ROUTES.map(([method, url, scope]) => `${method} ${url} ${scope !== null}`).sort(),
  );
});

test('each route is open to its scope and to no other, live and test alike', async () => {
  await using api = await openTestApp();
  for (const kind of KEY_KINDS) {
    for (const scope of SCOPES) {
      const { secret, id } = await keyWith(api, { kind, scopes: [scope] });
      for (const [method, url, needed, given] of ROUTES) {
        const path = url.replace('{userId}', 'ada').replace('{keyId}', 'key_00000000000');
        const body = url === '/v1/api-keys' && given ? { ...given, kind } : given;
        const { status } = await api.call(method, path, { key: secret, body });
        const what = `${method} ${url} with ${scope} (${kind}, ${id}): ${status}`;
        if (needed === null) assert.equal(status, 401, what);
        else if (needed === scope) assert.ok([200, 201, 204, 404, 409].includes(status), what);
        else assert.equal(status, 403, what);
      }
    }
  }
});

test('without a valid key no route answers, in one shape', async () => {
  await using api = await openTestApp();
  const { secret: expired } = await keyWith(api, {
    scopes: [...SCOPES],
    expiresAt: new Date(api.records.clock.now() + 1000).toISOString(),
  });
  const { secret: revoked, id } = await keyWith(api, { scopes: [...SCOPES] });
  await api.call('DELETE', `/v1/api-keys/${id}`);
  api.records.clock.advance(1000);
  const changed = `${api.key.slice(0, -1)}${api.key.endsWith('A') ? 'B' : 'A'}`;
  for (const [method, url, scope, body] of ROUTES) {
    if (scope === null) continue;
    const path = url.replace('{userId}', 'ada').replace('{keyId}', 'key_00000000000');
    assert.equal((await api.call(method, path, { key: null, body })).status, 401);
    const refusals = [];
    for (const key of [expired, revoked, changed, `${api.key}x`, api.key.slice(0, 20), 'x']) {
      refusals.push(await api.call(method, path, { key, body }));
    }
    for (const refusal of refusals) {
      assert.equal(refusal.status, 401);
      assert.equal(refusal.headers['www-authenticate'], 'Bearer');
      assert.deepEqual(problemOf(refusal), problemOf(refusals[0] as never));
    }
  }
  const { items } = (await api.call('GET', '/v1/users')).body;
  assert.deepEqual(items, [], 'none of them did anything');
});
