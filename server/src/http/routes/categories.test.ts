import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTemplateApi } from '../../../test/support/template-api.ts';

test('categories are created, replaced, listed and removed over HTTP', async () => {
  await using api = await openTemplateApi();
  const first = await api.one('PUT', '/v1/categories/security', { name: '安全', mandatory: true });
  assert.equal(first.status, 201);
  assert.equal(first.headers['location'], '/v1/categories/security');
  assert.deepEqual(first.body, { key: 'security', name: '安全', mandatory: true });
  const second = await api.one('PUT', '/v1/categories/security', {});
  assert.deepEqual([second.status, second.headers['location']], [200, undefined]);
  assert.deepEqual(second.body, { key: 'security', mandatory: false });
  assert.deepEqual((await api.one('GET', '/v1/categories/security')).body, second.body);
  for (const key of ['a', 'B']) await api.one('PUT', `/v1/categories/${key}`, { mandatory: true });
  const page = await api.one('GET', '/v1/categories?limit=2');
  assert.deepEqual(
    page.body['items'].map(({ key }: { key: string }) => key),
    ['B', 'a'],
  );
  const rest = await api.one('GET', `/v1/categories?limit=2&cursor=${page.body['next']}`);
  assert.deepEqual(rest.body, { items: [second.body], next: null });
  assert.equal((await api.one('DELETE', '/v1/categories/security')).status, 204);
  assert.equal((await api.one('DELETE', '/v1/categories/security')).status, 404);
  assert.equal((await api.one('GET', '/v1/categories/security')).status, 404);
});

test('bad input is refused with its path', async () => {
  await using api = await openTemplateApi();
  const bad: [method: 'GET' | 'PUT', path: string, body: unknown, paths: string[]][] = [
    ['PUT', '/v1/categories/%C3%A4', {}, ['path.key']],
    ['PUT', '/v1/categories/__proto__', {}, ['path.key']],
    ['PUT', '/v1/categories/a', { mandatory: 'yes' }, ['body.mandatory']],
    ['PUT', '/v1/categories/a', { key: 'b' }, ['body.key']],
    ['PUT', '/v1/categories/a', { name: '' }, ['body.name']],
    ['PUT', '/v1/categories/a', undefined, ['body']],
    ['GET', '/v1/categories?cursor=x', undefined, ['query.cursor']],
    ['GET', '/v1/categories?limit=1000', undefined, ['query.limit']],
  ];
  for (const [method, path, body, paths] of bad) {
    const answer = await api.one(method, path, body);
    assert.deepEqual([answer.status, answer.paths], [400, paths], `${method} ${path}`);
  }
  assert.deepEqual((await api.one('GET', '/v1/categories')).body, { items: [], next: null });
});

test('another application’s category answers like none, and scopes hold', async () => {
  await using api = await openTemplateApi();
  await api.one('PUT', '/v1/categories/a', { mandatory: true });
  assert.equal((await api.other('GET', '/v1/categories/a')).status, 404);
  assert.equal((await api.other('DELETE', '/v1/categories/a')).status, 404);
  assert.deepEqual((await api.other('GET', '/v1/categories')).body, { items: [], next: null });
  assert.equal((await api.other('PUT', '/v1/categories/a', {})).status, 201);
  assert.equal((await api.one('GET', '/v1/categories/a')).body['mandatory'], true);
  for (const path of ['/v1/categories', '/v1/categories/a']) {
    assert.equal((await api.reader('GET', path)).status, 200);
    assert.equal((await api.sender('GET', path)).status, 403);
    assert.equal((await api.stranger('GET', path)).status, 401);
  }
  for (const method of ['PUT', 'DELETE'] as const) {
    assert.equal((await api.reader(method, '/v1/categories/a', {})).status, 403);
    assert.equal((await api.stranger(method, '/v1/categories/a', {})).status, 401);
    assert.ok((await api.manager(method, '/v1/categories/a', {})).status < 300);
  }
});
