/** The routes of users, over HTTP and on a real store. */
import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { adminOf } from '../../../test/support/records.ts';
import { openTestApp, problemOf, type TestApp } from '../../../test/support/records-app.ts';

const PROFILE = {
  name: 'Ada',
  locale: 'zh-CN',
  timezone: 'Asia/Shanghai',
  addresses: [{ channel: 'email', address: 'ada@example.com', verified: true }],
  groups: ['staff'],
  attributes: { level: 3, 'line\nbreak': [null, { a: 'é' }], constructor: 'x', toString: 1 },
};
const PREFERENCES = {
  channels: { email: false, in_app: true },
  categories: { marketing: { enabled: false, channels: { email: true } }, toString: {} },
  route: ['in_app', 'email'],
};

/** A key with every scope of another application. */
async function otherKey({ records }: TestApp): Promise<string> {
  return (await adminOf(records, records.clock, 'shop')).key;
}

test('a user is created, replaced, read and removed', async () => {
  await using api = await openTestApp();
  const body = { ...PROFILE, preferences: PREFERENCES };
  const created = await api.call('PUT', '/v1/users/ada', { body });
  assert.equal(created.status, 201);
  const at = new Date(api.records.clock.now()).toISOString();
  const expected = { id: 'ada', ...body, createdAt: at, updatedAt: at };
  assert.deepEqual(created.body, expected);
  const read = await api.call('GET', '/v1/users/ada');
  assert.deepEqual([read.status, read.body], [200, expected]);
  const replaced = await api.call('PUT', '/v1/users/ada', { body: { name: 'Ada L.' } });
  assert.equal(replaced.status, 200);
  assert.deepEqual(replaced.body, {
    id: 'ada',
    name: 'Ada L.',
    locale: null,
    timezone: null,
    addresses: [],
    groups: [],
    attributes: {},
    preferences: PREFERENCES,
    createdAt: at,
    updatedAt: at,
  });
  const removed = await api.call('DELETE', '/v1/users/ada');
  assert.deepEqual([removed.status, removed.body], [204, undefined]);
  assert.equal((await api.call('GET', '/v1/users/ada')).status, 404);
  assert.equal((await api.call('DELETE', '/v1/users/ada')).status, 404);
});

test('preferences are read and replaced by themselves', async () => {
  await using api = await openTestApp();
  const url = '/v1/users/ada/preferences';
  assert.equal((await api.call('GET', url)).status, 404);
  assert.equal((await api.call('PUT', url, { body: PREFERENCES })).status, 404);
  await api.call('PUT', '/v1/users/ada', { body: PROFILE });
  assert.deepEqual((await api.call('GET', url)).body, {});
  const put = await api.call('PUT', url, { body: PREFERENCES });
  assert.deepEqual([put.status, put.body], [200, PREFERENCES]);
  assert.deepEqual((await api.call('GET', url)).body, PREFERENCES);
  const user = (await api.call('GET', '/v1/users/ada')).body;
  assert.deepEqual([user.name, user.preferences], ['Ada', PREFERENCES]);
  assert.deepEqual((await api.call('PUT', url, { body: {} })).body, {});
});

/** As a client without a library of its own sends it: nothing is normalised on the way. */
function rawCall(port: number, method: string, path: string, key: string, body?: string) {
  return new Promise<{ status: number; body: string }>((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${key}`,
      connection: 'close',
      ...(body === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
    };
    const request = httpRequest({ port, host: '127.0.0.1', method, path, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode as number, body: text }));
    });
    request.on('error', reject);
    request.end(body);
  });
}

test('an id is any text, over a real socket', async () => {
  await using api = await openTestApp();
  await api.app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = api.app.server.address() as AddressInfo;
  const ids = [
    'a/b/../c',
    '/',
    '//',
    'ada/preferences',
    '...',
    '100%',
    '%2F',
    'a b',
    ' a ',
    'a+b',
    'a?b=c#d',
    'a;b,c',
    'ada@example.com',
    '用户-42',
    'é',
    'e\u0301',
    '👩‍👩‍👧',
    "' OR 1=1--",
    'constructor',
    '__proto__',
    'null',
    'x'.repeat(128),
    '用'.repeat(128),
    '/'.repeat(128),
    '𝒳'.repeat(100),
  ];
  for (const [i, id] of ids.entries()) {
    const path = `/v1/users/${encodeURIComponent(id)}`;
    const put = await rawCall(port, 'PUT', path, api.key, JSON.stringify({ name: `n${i}` }));
    assert.equal(put.status, 201, `${id}: ${put.body}`);
    assert.equal(JSON.parse(put.body).id, id);
  }
  for (const [i, id] of ids.entries()) {
    const path = `/v1/users/${encodeURIComponent(id)}`;
    assert.equal(JSON.parse((await rawCall(port, 'GET', path, api.key)).body).name, `n${i}`);
    const preferences = await rawCall(port, 'GET', `${path}/preferences`, api.key);
    assert.deepEqual([preferences.status, preferences.body], [200, '{}']);
    assert.equal((await rawCall(port, 'DELETE', path, api.key)).status, 204);
  }
});

test('an id without characters, with control characters or too long is refused', async () => {
  await using api = await openTestApp();
  const unseen = [
    '%20',
    '%C2%A0%20',
    '%E2%80%A8',
    'a%E2%80%AE',
    '%E2%80%8B',
    '%C2%85',
    '%EF%BF%BF',
  ];
  for (const id of ['', 'a%00b', '%0A', '%7F', 'x'.repeat(129), '%ff', '%', ...unseen]) {
    const answer = await api.call('PUT', `/v1/users/${id}`, { body: {} });
    assert.ok([400, 404].includes(answer.status), `${id} ${answer.status}`);
  }
  const long = await api.call('PUT', `/v1/users/${'x'.repeat(129)}`, { body: {} });
  assert.deepEqual([long.status, long.body.errors[0].path], [400, 'path.userId']);
  const none = await api.call('GET', '/v1/users');
  assert.deepEqual(none.body, { items: [], next: null });
});

test('a faulty body gets an error that names the field', async () => {
  await using api = await openTestApp();
  const mail = (address: string) => ({ channel: 'email', address });
  const cases: [object, number, string, string][] = [
    [{ addresses: [mail('nobody')] }, 400, 'invalid_recipient', 'body.addresses.0.address'],
    [
      { addresses: [mail('a@b.co'), mail('a@b.co, c@d.co')] },
      400,
      'invalid_recipient',
      'body.addresses.1.address',
    ],
    [
      { addresses: [{ channel: 'pigeon', address: 'x' }] },
      400,
      'unknown_channel',
      'body.addresses.0.channel',
    ],
    [{ addresses: [{ channel: 'email' }] }, 400, 'invalid_request', 'body.addresses.0.address'],
    [
      { addresses: [{ ...mail('a@b.co'), primary: true }] },
      400,
      'invalid_request',
      'body.addresses.0.primary',
    ],
    [
      { addresses: Array.from({ length: 101 }, () => mail('a@b.co')) },
      400,
      'invalid_request',
      'body.addresses',
    ],
    [{ timezone: 'Mars/Base' }, 400, 'invalid_request', 'body.timezone'],
    [{ timezone: '' }, 400, 'invalid_request', 'body.timezone'],
    [{ locale: 'not a locale' }, 400, 'invalid_request', 'body.locale'],
    [{ name: '' }, 400, 'invalid_request', 'body.name'],
    [{ name: 7 }, 400, 'invalid_request', 'body.name'],
    [{ name: 'a\r\nb' }, 400, 'invalid_request', 'body.name'],
    [{ groups: ['a', 'a'] }, 400, 'invalid_request', 'body.groups'],
    [{ groups: ['a b'] }, 400, 'invalid_request', 'body.groups.0'],
    [
      { attributes: { ['x'.repeat(101)]: 1 } },
      400,
      'invalid_request',
      `body.attributes.${'x'.repeat(101)}`,
    ],
    [{ attributes: { a: 'x'.repeat(17_000) } }, 400, 'invalid_request', 'body.attributes'],
    [{ attributes: [] }, 400, 'invalid_request', 'body.attributes'],
    [
      { preferences: { channels: { Email: false } } },
      400,
      'invalid_request',
      'body.preferences.channels.Email',
    ],
    [
      { preferences: { channels: { email: 'no' } } },
      400,
      'invalid_request',
      'body.preferences.channels.email',
    ],
    [
      { preferences: { categories: { '-x': {} } } },
      400,
      'invalid_request',
      'body.preferences.categories.-x',
    ],
    [
      { preferences: { categories: { x: { channel: {} } } } },
      400,
      'invalid_request',
      'body.preferences.categories.x.channel',
    ],
    [
      { preferences: { channels: { emial: false } } },
      400,
      'unknown_channel',
      'body.preferences.channels.emial',
    ],
    [{ preferences: { route: [] } }, 400, 'invalid_request', 'body.preferences.route'],
    [
      { preferences: { route: ['email', 'email'] } },
      400,
      'invalid_request',
      'body.preferences.route',
    ],
  ];
  for (const [body, status, code, path] of cases) {
    const answer = await api.call('PUT', '/v1/users/ada', { body });
    const paths = (answer.body.errors ?? []).map((error: { path: string }) => error.path);
    assert.deepEqual([answer.status, answer.body.code], [status, code], path);
    assert.ok(paths.includes(path), `${path} is not in ${paths}`);
  }
  assert.equal((await api.call('GET', '/v1/users/ada')).status, 404);
});

test('nobody sets what the service decides', async () => {
  await using api = await openTestApp();
  for (const name of [
    'id',
    'createdAt',
    'updatedAt',
    'applicationId',
    'application',
    'application_id',
    'verified',
    'profile',
  ]) {
    const answer = await api.call('PUT', '/v1/users/ada', { body: { [name]: 'x' } });
    assert.deepEqual([answer.status, answer.body.errors[0].path], [400, `body.${name}`]);
  }
  assert.equal((await api.call('PUT', '/v1/users/ada')).status, 400);
});

test('__proto__ is refused wherever it stands, and pollutes nothing', async () => {
  await using api = await openTestApp();
  for (const text of [
    '{"attributes":{"__proto__":{"polluted":true}}}',
    '{"attributes":{"a":{"__proto__":{"polluted":true}}}}',
    '{"attributes":{"constructor":{"prototype":{"polluted":true}}}}',
    '{"__proto__":{"name":"x"}}',
    '{"preferences":{"categories":{"__proto__":{"enabled":false}}}}',
    '{"attributes":{"\\u005f_proto__":1}}',
  ]) {
    const answer = await api.call('PUT', '/v1/users/ada', { text });
    assert.deepEqual([answer.status, answer.body.code], [400, 'invalid_json'], text);
  }
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
  assert.equal((await api.call('GET', '/v1/users/ada')).status, 404);
});

test('a user of another application answers like an absent one', async () => {
  await using api = await openTestApp();
  const key = await otherKey(api);
  await api.call('PUT', '/v1/users/ada', { body: { ...PROFILE, preferences: PREFERENCES } });
  const before = (await api.call('GET', '/v1/users/ada')).body;
  const routes: [string, string, unknown?][] = [
    ['GET', ''],
    ['DELETE', ''],
    ['GET', '/preferences'],
    ['PUT', '/preferences', {}],
  ];
  for (const [method, rest, body] of routes) {
    const theirs = await api.call(method, `/v1/users/ada${rest}`, { key, body });
    const absent = await api.call(method, `/v1/users/nobody${rest}`, { key, body });
    assert.equal(theirs.status, 404);
    assert.deepEqual(problemOf(theirs), problemOf(absent));
    assert.deepEqual(Object.keys(theirs.headers).sort(), Object.keys(absent.headers).sort());
  }
  for (const url of ['/v1/users', '/v1/users?group=staff']) {
    assert.deepEqual((await api.call('GET', url, { key })).body, { items: [], next: null });
  }
  const own = await api.call('PUT', '/v1/users/ada', { key, body: { name: 'Other' } });
  assert.deepEqual([own.status, own.body.preferences], [201, {}]);
  assert.equal((await api.call('DELETE', '/v1/users/ada', { key })).status, 204);
  assert.deepEqual((await api.call('GET', '/v1/users/ada')).body, before);
});

test('100 concurrent puts of one user: one creates, one is what is left', async () => {
  await using api = await openTestApp();
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, i) =>
      api.call('PUT', '/v1/users/ada', { body: { name: `n${i}`, groups: [`g${i}`] } }),
    ),
  );
  const statuses = answers.map(({ status }) => status).sort();
  assert.deepEqual(statuses, [...Array.from({ length: 99 }, () => 200), 201]);
  const left = (await api.call('GET', '/v1/users/ada')).body;
  assert.equal(left.groups[0], left.name.replace('n', 'g'));
  let memberships = 0;
  for (let i = 0; i < 100; i++) {
    const { items } = (await api.call('GET', `/v1/users?group=g${i}`)).body;
    memberships += items.length;
  }
  assert.equal(memberships, 1);
});
