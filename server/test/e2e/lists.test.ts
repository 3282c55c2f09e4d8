/** Lists: filters, pages, and what is wrong with a query. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { inFuture, notificationApi } from '../support/notification-api.ts';
import { startTidings, type Tidings } from '../support/start.ts';

let tidings: Tidings;
before(async () => {
  tidings = await startTidings({ env: { TIDINGS_DELIVERY_RETRY_DELAYS_MS: '50,50' } });
});
after(async () => {
  await tidings?.[Symbol.asyncDispose]();
});

const { send, outcome } = notificationApi(() => tidings);

describe('listing', () => {
  it('goes through all by cursor, newest first, without gap or double', async () => {
    const sent = await Promise.all(Array.from({ length: 25 }, () => send({ category: 'paged' })));
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const query: string = cursor === null ? '' : `&cursor=${cursor}`;
      const page = (await tidings.call(`/v1/notifications?category=paged&limit=10${query}`)).json<{
        items: { notificationId: string }[];
        next: string | null;
      }>();
      seen.push(...page.items.map(({ notificationId }) => notificationId));
      cursor = page.next;
      if (cursor) await send({ category: 'paged' });
    } while (cursor !== null);
    assert.equal(new Set(seen).size, seen.length);
    assert.ok(sent.every(({ id }) => seen.includes(id)));
    assert.deepEqual(seen, [...seen].sort().reverse());
  });

  it('filters, and names an unknown or faulty filter', async () => {
    await tidings.call('/v1/users/grace', { method: 'PUT', body: { groups: ['vip'] } });
    const { id } = await outcome({
      to: { userId: 'grace' },
      channels: ['in_app'],
      priority: 'low',
      category: 'listed',
    });
    const filters = [
      'user=grace',
      'group=vip',
      'channel=in_app&category=listed',
      'priority=low&category=listed',
      'status=delivered&category=listed',
      `from=${inFuture(-60)}&to=${inFuture(60)}&category=listed`,
      'application=default&category=listed',
    ];
    for (const filter of filters) {
      const { items } = (await tidings.call(`/v1/notifications?${filter}`)).json<{
        items: { notificationId: string }[];
      }>();
      assert.ok(
        items.some(({ notificationId }) => notificationId === id),
        filter,
      );
    }
    for (const filter of [
      'user=nobody',
      'template=none',
      'batch=none',
      'application=none',
      `to=${inFuture(-3600)}`,
      "user=' OR 1=1--",
    ]) {
      const answer = await tidings.call(`/v1/notifications?${encodeURI(filter)}`);
      assert.deepEqual([answer.status, answer.json()['items']], [200, []], filter);
    }
    for (const [filter, path] of [
      ['sort=id', 'query.sort'],
      ['limit=0', 'query.limit'],
      ['limit=x', 'query.limit'],
      ['from=yesterday', 'query.from'],
      ['limit=1001', 'query.limit'],
      ['limit=1&limit=2', 'query.limit'],
      ['status=gone', 'query.status'],
      ['cursor=!', 'query.cursor'],
      ['user=%ff', 'query.user'],
      ['user=a%zz', 'query.user'],
      ['application=%ED%A0%80', 'query.application'],
      ['limit=1&%ff=x', 'query'],
      [`from=${inFuture(60)}&to=${inFuture(0)}`, 'query.from'],
      ['to=2026-06-30T23:59:60Z', 'query.to'],
    ] as const) {
      const answer = await tidings.call(`/v1/notifications?${filter}`);
      assert.equal(answer.status, 400, filter);
      assert.deepEqual(
        answer.json<{ errors: { path: string }[] }>().errors.map((error) => error.path),
        [path],
      );
    }
  });
});

describe('lists', () => {
  const LISTS = [
    'notifications',
    'dead-letters',
    'templates',
    'templates/listed/versions',
    'categories',
    'users',
    'api-keys',
    'applications',
    'webhook-endpoints',
  ];

  before(async () => {
    const content = { email: { subject: 'a', text: 'b' } };
    for (let i = 0; i < 2; i++) {
      await outcome({ to: { email: 'permanent-failure@simulate.invalid' } });
      await tidings.call(`/v1/categories/listed-${i}`, { method: 'PUT', body: {} });
      await tidings.call(`/v1/users/listed-${i}`, { method: 'PUT', body: {} });
      await tidings.call('/v1/api-keys', { body: { name: `listed-${i}` } });
      await tidings.call('/v1/applications', { body: { key: `listed-${i}` } });
      const url = `https://hooks.example.com/listed-${i}`;
      await tidings.call('/v1/webhook-endpoints', { body: { url } });
      const key = ['listed', 'listed-1'][i];
      await tidings.call('/v1/templates', { body: { key, content } });
    }
    await tidings.call('/v1/templates/listed/versions', { body: { content } });
  });

  it('take their own cursor, and that of no other', async () => {
    const cursors = new Map<string, string>();
    for (const list of LISTS) {
      const page = await tidings.call(`/v1/${list}?limit=1`);
      const { items, next } = page.json<{ items: object[]; next: string | null }>();
      assert.ok(next !== null, `${list}: ${page.text}`);
      const rest = await tidings.call(`/v1/${list}?cursor=${encodeURIComponent(next)}`);
      assert.equal(rest.status, 200, rest.text);
      assert.ok(!rest.text.includes(JSON.stringify(items[0])), list);
      cursors.set(list, next);
    }
    for (const list of LISTS) {
      for (const [other, cursor] of cursors) {
        if (other === list) continue;
        const answer = await tidings.call(`/v1/${list}?cursor=${encodeURIComponent(cursor)}`);
        assert.equal(answer.status, 400, `${list} with a cursor of ${other}`);
        const [error] = answer.json<{ errors: { path: string; message: string }[] }>().errors;
        assert.equal(error?.path, 'query.cursor');
      }
    }
  });

  it('name a parameter that they do not have, and a limit that is none', async () => {
    for (const list of LISTS) {
      for (const [query, path] of [
        ['sort=id', 'query.sort'],
        ['limit=0', 'query.limit'],
        ['limit=1001', 'query.limit'],
        ['limit=', 'query.limit'],
        ['cursor=', 'query.cursor'],
        ['cursor=%ff', 'query.cursor'],
      ]) {
        const answer = await tidings.call(`/v1/${list}?${query}`);
        assert.equal(answer.status, 400, `${list}?${query}`);
        assert.equal(answer.json<{ errors: { path: string }[] }>().errors[0]?.path, path);
      }
    }
  });
});
