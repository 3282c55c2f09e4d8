/** The list of users, page by page. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTestApp } from '../../../test/support/records-app.ts';

test('a walk through 10,000 users has neither gap nor double while users are added', async () => {
  await using api = await openTestApp();
  const { users, applications } = api.records;
  const owner = await applications.byKey('default');
  assert.ok(owner);
  const name = (i: number) => `user ${String(i).padStart(5, '0')} 用`;
  const empty = { name: null, locale: null, timezone: null, addresses: [], attributes: {} };
  const put = (id: string) => users.put(owner.id, id, { ...empty, groups: ['all'] }, null, 0);
  await Promise.all(Array.from({ length: 10_000 }, (_, i) => put(name(i))));
  for (const filter of ['', '&group=all']) {
    const met: string[] = [];
    let cursor: string | null = null;
    let page = 0;
    do {
      const after: string = cursor === null ? '' : `&cursor=${cursor}`;
      const answer = await api.call('GET', `/v1/users?limit=200${filter}${after}`);
      assert.equal(answer.status, 200);
      met.push(...answer.body.items.map((user: { id: string }) => user.id));
      cursor = answer.body.next;
      page++;
      await Promise.all([
        put(`${name(page * 200)}+${page}`),
        put(`${name(page * 100)}+${page}`),
        put(`a ${page}`),
        put(`z ${page}${filter}`),
      ]);
    } while (cursor !== null && page < 100);
    assert.equal(cursor, null);
    assert.equal(new Set(met).size, met.length);
    const seen = new Set(met);
    for (let i = 0; i < 10_000; i++) assert.ok(seen.has(name(i)), name(i));
  }
});

test('a page holds what was asked for, and the last one says so', async () => {
  await using api = await openTestApp();
  for (const id of ['a', 'b', 'c', '用'.repeat(128)]) {
    await api.call('PUT', `/v1/users/${encodeURIComponent(id)}`, { body: {} });
  }
  const ids = async (query: string) => {
    const { body } = await api.call('GET', `/v1/users?${query}`);
    return [body.items.map((user: { id: string }) => user.id).join(''), body.next];
  };
  const [first, next] = await ids('limit=2');
  assert.equal(first, 'ab');
  assert.deepEqual(await ids(`limit=2&cursor=${next}`), [`c${'用'.repeat(128)}`, null]);
  const [three, last] = await ids('limit=3');
  assert.equal(three, 'abc');
  assert.deepEqual(await ids(`limit=1&cursor=${last}`), ['用'.repeat(128), null]);
  const longest = `users.${Buffer.from('𝒳'.repeat(128)).toString('base64url')}`;
  assert.deepEqual(await ids(`cursor=${longest}`), ['', null]);
});

test('a faulty query gets an error that names the parameter', async () => {
  await using api = await openTestApp();
  const cases: [string, string][] = [
    ['limit=0', 'query.limit'],
    ['limit=201', 'query.limit'],
    ['limit=x', 'query.limit'],
    ['cursor=', 'query.cursor'],
    ['cursor=%3D%3D', 'query.cursor'],
    ['cursor=YQ', 'query.cursor'],
    ['cursor=categories.YQ', 'query.cursor'],
    ['cursor=users.', 'query.cursor'],
    ['cursor=users.YQ==', 'query.cursor'],
    ['cursor=users.gA', 'query.cursor'],
    [`cursor=${'YWFh'.repeat(200)}`, 'query.cursor'],
    ['group=a%20b', 'query.group'],
    ['sort=id', 'query.sort'],
  ];
  for (const [query, path] of cases) {
    const answer = await api.call('GET', `/v1/users?${query}`);
    assert.deepEqual([answer.status, answer.body.errors?.[0]?.path], [400, path], query);
  }
});
