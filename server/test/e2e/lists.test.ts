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
      ['limit=0x10', 'query.limit'],
      ['limit=1e1', 'query.limit'],
      ['limit=%205', 'query.limit'],
      ['limit=5.0', 'query.limit'],
      ['limit=%2B5', 'query.limit'],
      ['channel=smss', 'query.channel'],
      ['priority=urgent', 'query.priority'],
      ['kind=dead', 'query.kind'],
      ['application=none', 'query.application'],
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

describe('a parameter of a list', () => {
  it('is taken once', async () => {
    for (const [path, names] of [
      ['notifications?status=delivered&status=failed', ['status']],
      ['notifications?user=a&limit=1&user=b&limit=2&kind=live', ['limit', 'user']],
      ['notifications?channel=email&channel=email', ['channel']],
      ['notifications?from=2026-12-24T08:00:00Z&from=2026-12-25T08:00:00Z', ['from']],
      ['dead-letters?kind=live&kind=test', ['kind']],
      ['ledger?kind=live&kind=test', ['kind']],
    ] as const) {
      const answer = await tidings.call(`/v1/${path}`);
      assert.equal(answer.status, 400, path);
      const message = 'may be given once';
      assert.deepEqual(
        answer.json<{ errors: object[] }>().errors,
        names.map((name) => ({ path: `query.${name}`, message })),
        path,
      );
    }
    const { errors } = (await tidings.call('/v1/ledger?sort=a&sort=b')).json<{
      errors: object[];
    }>();
    assert.deepEqual(errors, [
      { path: 'query.sort', message: 'is not a parameter of this request' },
    ]);
  });
});

describe('messages of test keys and of live keys', () => {
  it('are told apart by lists, dead letters and the ledger', async () => {
    const { secret } = (
      await tidings.call('/v1/api-keys', { body: { kind: 'test', scopes: ['send', 'read'] } })
    ).json<{ secret: string }>();
    const body = {
      to: { email: 'permanent-failure@simulate.invalid' },
      content: { title: 'a', text: 'b' },
      category: 'kinds',
    };
    const sent: Record<string, string> = {};
    for (const [kind, key] of [
      ['live', undefined],
      ['test', secret],
    ] as const) {
      const headers: Record<string, string> =
        key === undefined ? {} : { authorization: `Bearer ${key}` };
      const options = { body, headers };
      const answer = await tidings.call('/v1/notifications?wait=20s', options);
      sent[kind] = answer.json<{ id: string }>().id;
    }
    type Page = { items: { notificationId: string; test: boolean }[] };
    for (const kind of ['live', 'test']) {
      for (const path of [
        `/v1/notifications?category=kinds&kind=${kind}`,
        `/v1/notifications?category=kinds&status=failed&kind=${kind}`,
        `/v1/dead-letters?kind=${kind}`,
      ]) {
        const { items } = (await tidings.call(path)).json<Page>();
        assert.ok(
          items.every(({ test }) => test === (kind === 'test')),
          path,
        );
        assert.ok(
          items.some(({ notificationId }) => notificationId === sent[kind]),
          path,
        );
      }
    }
    type Books = Record<'accepted' | 'failed' | 'pending', number> & { balanced: boolean };
    const books = async (query: string) => (await tidings.call(`/v1/ledger${query}`)).json<Books>();
    const [all, live, test] = [
      await books(''),
      await books('?kind=live'),
      await books('?kind=test'),
    ];
    assert.deepEqual([test.accepted, test.failed, test.balanced], [1, 1, true]);
    assert.deepEqual([live.accepted, live.balanced], [all.accepted - 1, true]);
    assert.equal(live.failed, all.failed - 1);
    const refused = await tidings.call('/v1/ledger?kind=both');
    assert.equal(refused.json<{ errors: { path: string }[] }>().errors[0]?.path, 'query.kind');
  });

  it('of an application that is not the own one are none, whether there is such a one or not', async () => {
    await tidings.call('/v1/applications', { body: { key: 'elsewhere' } });
    const { secret } = (await tidings.call('/v1/api-keys', { body: { scopes: ['read'] } })).json<{
      secret: string;
    }>();
    for (const application of ['elsewhere', 'none']) {
      const path = `/v1/notifications?application=${application}`;
      const headers = { authorization: `Bearer ${secret}` };
      const answer = await tidings.call(path, { headers });
      assert.deepEqual([answer.status, answer.json()], [200, { items: [], next: null }]);
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
        ['limit=0x10', 'query.limit'],
        ['limit=1e1', 'query.limit'],
        ['limit=%205', 'query.limit'],
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
