import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { openTemplateApi, type TemplateApi } from '../../../test/support/template-api.ts';
import { emailTemplate } from '../../../test/support/templates.ts';

const CONTENT = { email: { subject: 'Hi {{ name }}', text: 'a' } };

async function created(api: TemplateApi, key: string, rest: object = {}): Promise<void> {
  const { status } = await api.one('POST', '/v1/templates', emailTemplate(key, rest));
  assert.equal(status, 201);
}

describe('templates over HTTP', () => {
  test('are created, read, edited and removed', async () => {
    await using api = await openTemplateApi();
    const request = emailTemplate('order-shipped', { name: '订单 🚀', priority: 'high' });
    const post = await api.one('POST', '/v1/templates', request);
    assert.equal(post.status, 201);
    assert.equal(post.headers['location'], '/v1/templates/order-shipped');
    assert.equal(post.body['latestVersion'], 1);
    const get = await api.one('GET', post.headers['location'] as string);
    assert.deepEqual([get.status, get.body], [200, post.body]);
    const patch = await api.one('PATCH', '/v1/templates/order-shipped', {
      ...{ description: 'd', category: 'orders', priority: null },
    });
    assert.equal(patch.status, 200);
    assert.deepEqual(patch.body, {
      ...get.body,
      ...{ description: 'd', category: 'orders', priority: null },
    });
    const cleared = await api.one('PATCH', '/v1/templates/order-shipped', {
      ...{ description: null, category: null },
    });
    assert.deepEqual([cleared.body['description'], cleared.body['category']], [null, null]);
    const gone = await api.one('DELETE', '/v1/templates/order-shipped');
    assert.deepEqual([gone.status, gone.text], [204, '']);
    assert.equal((await api.one('GET', '/v1/templates/order-shipped')).status, 404);
    assert.equal((await api.one('DELETE', '/v1/templates/order-shipped')).status, 404);
    const again = await api.one('POST', '/v1/templates', request);
    assert.deepEqual([again.status, again.body['latestVersion']], [201, 2]);
  });

  test('have versions that are added, replaced and read', async () => {
    await using api = await openTemplateApi();
    await created(api, 'a');
    const example = { '': 1, 'a\nb': { c: ['😀', null, 1.5] } };
    const translations = { de: { email: { subject: 'Hallo', text: 'b' } } };
    const version = { locale: 'zh-CN', content: CONTENT, translations, variables: {}, example };
    const post = await api.one('POST', '/v1/templates/a/versions', version);
    assert.equal(post.status, 201);
    assert.equal(post.headers['location'], '/v1/templates/a/versions/2');
    const get = await api.one('GET', '/v1/templates/a/versions/2');
    assert.deepEqual([get.status, get.body], [200, post.body]);
    const { createdAt, ...rest } = get.body;
    assert.ok(createdAt);
    assert.deepEqual(rest, { ...version, version: 2, status: 'draft', publishedAt: null });
    const put = await api.one('PUT', '/v1/templates/a/versions/2', { content: CONTENT });
    assert.equal(put.status, 200);
    assert.deepEqual([put.body['locale'], put.body['example']], ['en', null]);
    assert.deepEqual((await api.one('GET', '/v1/templates/a/versions/2')).body, put.body);
    const list = await api.one('GET', '/v1/templates/a/versions?limit=1');
    assert.deepEqual(list.body['items'], [put.body]);
    const next = await api.one('GET', `/v1/templates/a/versions?cursor=${list.body['next']}`);
    assert.equal(next.body['items'].length, 1);
    assert.deepEqual([next.body['items'][0]['version'], next.body['next']], [1, null]);
  });

  test('are published, rolled back and then immutable', async () => {
    await using api = await openTemplateApi();
    await created(api, 'a');
    await api.one('POST', '/v1/templates/a/versions', { content: CONTENT, publish: true });
    const back = await api.one('POST', '/v1/templates/a/publish', { version: 1 });
    assert.deepEqual([back.status, back.body['publishedVersion']], [200, 1]);
    const newest = await api.one('POST', '/v1/templates/a/publish');
    assert.deepEqual([newest.status, newest.body['publishedVersion']], [200, 2]);
    const before = await api.one('GET', '/v1/templates/a/versions/1');
    const put = await api.one('PUT', '/v1/templates/a/versions/1', { content: CONTENT });
    assert.deepEqual([put.status, put.body['code']], [409, 'conflict']);
    assert.deepEqual((await api.one('GET', '/v1/templates/a/versions/1')).body, before.body);
    assert.equal((await api.one('POST', '/v1/templates/a/publish', { version: 9 })).status, 404);
  });

  test('a hundred versions added at once get a hundred numbers', async () => {
    await using api = await openTemplateApi();
    await created(api, 'a');
    const answers = await Promise.all(
      Array.from({ length: 100 }, () =>
        api.one('POST', '/v1/templates/a/versions', { content: CONTENT }),
      ),
    );
    const numbers = new Set(answers.map(({ status, body }) => status === 201 && body['version']));
    assert.deepEqual(
      [...numbers].sort((a, b) => a - b),
      Array.from({ length: 100 }, (_, i) => i + 2),
    );
  });

  test('are previewed', async () => {
    await using api = await openTemplateApi();
    await created(api, 'a', { example: { name: 'Ada', order: { id: 7 } } });
    const shown = await api.one('POST', '/v1/templates/a/preview');
    assert.equal(shown.status, 200);
    assert.deepEqual(shown.body['channels'], {
      email: { subject: 'Order 7', text: 'Thank you, Ada.' },
    });
    const data = { name: 'Bob' };
    const other = await api.one('POST', '/v1/templates/a/preview', { data, locale: 'de' });
    assert.deepEqual(other.body, {
      ...{ version: 1, locale: 'de', locales: { email: 'en' } },
      channels: { email: { subject: 'Order ', text: 'Thank you, Bob.' } },
      ...{ missing: ['order.id'], dataErrors: [] },
    });
    const content = { email: { subject: '{{ title }}', text: 'a' } };
    await api.one('POST', '/v1/templates/a/versions', { content });
    const refused = await api.one('POST', '/v1/templates/a/preview', {});
    assert.equal(refused.status, 422);
    assert.deepEqual(refused.paths, ['content.email.subject']);
    assert.equal(refused.body['hint'], 'The data has no title.');
  });

  test('are listed by key, page by page', async () => {
    await using api = await openTemplateApi();
    const keys = ['A', 'B.1', 'a', 'a-1', 'a:b', 'a_1', 'b'];
    for (const key of [...keys].reverse()) await created(api, key);
    const listed: string[] = [];
    for (let path = '/v1/templates?limit=3'; ; ) {
      const { status, body } = await api.one('GET', path);
      assert.equal(status, 200);
      listed.push(...body['items'].map(({ key }: { key: string }) => key));
      if (body['next'] === null) break;
      path = `/v1/templates?limit=3&cursor=${body['next']}`;
    }
    assert.deepEqual(listed, keys);
    assert.deepEqual((await api.other('GET', '/v1/templates')).body, { items: [], next: null });
  });
});

describe('bad input', () => {
  test('is refused with the path of each fault', async () => {
    await using api = await openTemplateApi();
    await created(api, 'a', { publish: true });
    const template = emailTemplate('b');
    const bad: [
      method: 'GET' | 'POST' | 'PUT' | 'PATCH',
      path: string,
      body: unknown,
      status: number,
      paths: string[],
    ][] = [
      ['POST', '/v1/templates', {}, 400, ['body.content', 'body.key']],
      ['POST', '/v1/templates', [], 400, ['body']],
      ['POST', '/v1/templates', { ...template, tenantId: 'x' }, 400, ['body.tenantId']],
      ['POST', '/v1/templates', { ...template, status: 'published' }, 400, ['body.status']],
      ['POST', '/v1/templates', { ...template, content: {} }, 400, ['body.content']],
      ['POST', '/v1/templates', { ...template, content: { 'No!': {} } }, 400, ['body.content.No!']],
      [
        'POST',
        '/v1/templates',
        { ...template, content: { email: 'a' } },
        400,
        ['body.content.email'],
      ],
      [
        'POST',
        '/v1/templates',
        { ...template, translations: { '?': CONTENT } },
        400,
        ['body.translations.?'],
      ],
      ['POST', '/v1/templates', { ...template, locale: 'zh_CN' }, 400, ['body.locale']],
      ['POST', '/v1/templates', { ...template, priority: 'urgent' }, 400, ['body.priority']],
      ['POST', '/v1/templates', { ...template, name: '' }, 400, ['body.name']],
      ['POST', '/v1/templates', { ...template, name: 'x'.repeat(201) }, 400, ['body.name']],
      ['POST', '/v1/templates', emailTemplate('a'), 409, ['body.key']],
      [
        'POST',
        '/v1/templates',
        { ...template, content: { pigeon: {} } },
        422,
        ['body.content.pigeon'],
      ],
      [
        'POST',
        '/v1/templates',
        { ...template, content: { email: { subject: '{{' } } },
        422,
        ['body.content.email.subject', 'body.content.email.text'],
      ],
      ['PATCH', '/v1/templates/a', {}, 400, ['body']],
      ['PATCH', '/v1/templates/a', { key: 'c' }, 400, ['body.key']],
      ['PATCH', '/v1/templates/a', { content: CONTENT }, 400, ['body.content']],
      ['POST', '/v1/templates/a/versions', { ...template }, 400, ['body.key']],
      [
        'PUT',
        '/v1/templates/a/versions/1',
        { content: CONTENT, publish: true },
        400,
        ['body.publish'],
      ],
      ['GET', '/v1/templates/a/versions/0', undefined, 400, ['path.version']],
      ['GET', '/v1/templates/a/versions/1.5', undefined, 400, ['path.version']],
      ['GET', '/v1/templates/a/versions/1e400', undefined, 400, ['path.version']],
      ['GET', '/v1/templates/a/versions/2147483647', undefined, 404, []],
      ['POST', '/v1/templates/a/publish', { version: 1e300 }, 400, ['body.version']],
      ['POST', '/v1/templates/a/publish', null, 400, ['body']],
      ['POST', '/v1/templates/a/preview', { to: 'x' }, 400, ['body.to']],
      ['POST', '/v1/templates/a/preview', { channel: 'chat' }, 400, ['body.channel']],
      ['GET', '/v1/templates?limit=0', undefined, 400, ['query.limit']],
      ['GET', '/v1/templates?limit=201', undefined, 400, ['query.limit']],
      ['GET', '/v1/templates?sort=key', undefined, 400, ['query.sort']],
      ['GET', '/v1/templates?cursor=%27%20OR%201%3D1--', undefined, 400, ['query.cursor']],
      [
        'GET',
        `/v1/templates?cursor=${Buffer.from('../x').toString('base64url')}`,
        undefined,
        400,
        ['query.cursor'],
      ],
      ['GET', '/v1/templates/a/versions?cursor=YWJj', undefined, 400, ['query.cursor']],
    ];
    for (const [method, path, body, status, paths] of bad) {
      const answer = await api.one(method, path, body);
      const where = `${method} ${path} ${JSON.stringify(body)}`;
      assert.equal(answer.status, status, `${where}: ${answer.text}`);
      assert.deepEqual([...new Set(answer.paths)].sort(), paths, where);
    }
    const { body } = await api.one('GET', '/v1/templates');
    assert.equal(body['items'].length, 1);
  });

  test('keys are of plain characters', async () => {
    await using api = await openTemplateApi();
    const keys = [
      '',
      ' a',
      'a ',
      'ä',
      '订单',
      '🚀',
      'a/b',
      'a\n',
      '-a',
      '__proto__',
      '../a',
      'a%',
      'x'.repeat(101),
    ];
    for (const key of keys) {
      const post = await api.one('POST', '/v1/templates', emailTemplate(key));
      assert.deepEqual([post.status, post.paths], [400, ['body.key']], key);
      if (key === '' || key === 'a/b' || key === '../a') continue;
      const get = await api.one('GET', `/v1/templates/${encodeURIComponent(key)}`);
      assert.deepEqual([get.status, get.paths], [400, ['path.key']], key);
    }
    await created(api, 'constructor');
    assert.equal((await api.one('GET', '/v1/templates/constructor')).status, 200);
    assert.equal((await api.one('GET', '/v1/templates/toString')).status, 404);
    await created(api, `a${'x'.repeat(99)}`);
  });

  test('JSON that hurts is refused before anything sees it', async () => {
    await using api = await openTemplateApi();
    const around = (inner: string) =>
      `{"key":"a","content":{"email":{"subject":"a","text":"a"}},"example":${inner}}`;
    const deep = `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`;
    const hurting: [string, number][] = [
      [around('{"__proto__":{"polluted":1}}'), 400],
      [around('{"constructor":{"prototype":{"polluted":1}}}'), 400],
      [around('{"a":1,"a":2}'), 400],
      [around('{"a":"\\ud800"}'), 400],
      [around('{"a":"\\u0000"}'), 400],
      [around(deep), 400],
      [around(`{"a":"${'x'.repeat(1024 * 1024)}"}`), 413],
    ];
    for (const [text, status] of hurting) {
      const answer = await api.one('POST', '/v1/templates', text);
      assert.equal(answer.status, status, text.slice(0, 100));
    }
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
    assert.equal((await api.one('GET', '/v1/templates/a')).status, 404);
  });
});

describe('who may do what', () => {
  const CALLS: [
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    body?: object,
  ][] = [
    ['GET', '/v1/templates/a'],
    ['PATCH', '/v1/templates/a', { name: 'x' }],
    ['GET', '/v1/templates/a/versions'],
    ['POST', '/v1/templates/a/versions', { content: CONTENT }],
    ['GET', '/v1/templates/a/versions/2'],
    ['PUT', '/v1/templates/a/versions/2', { content: CONTENT }],
    ['POST', '/v1/templates/a/publish', { version: 2 }],
    ['POST', '/v1/templates/a/preview', {}],
    ['DELETE', '/v1/templates/a'],
  ];

  test('another application’s template answers like none, on every route', async () => {
    await using api = await openTemplateApi();
    await created(api, 'a', { publish: true });
    await api.one('POST', '/v1/templates/a/versions', { content: CONTENT });
    const before = (await api.one('GET', '/v1/templates/a')).text;
    const drafts = (await api.one('GET', '/v1/templates/a/versions')).text;
    const { routes } = api;
    assert.deepEqual(
      routes,
      new Set([
        ...CALLS.map(
          ([method, path]) => `${method} ${path.replace('/a', '/:key').replace('/2', '/:version')}`,
        ),
        ...['GET /v1/templates', 'POST /v1/templates'],
      ]),
      'a route is missing in this test',
    );
    for (const [method, path, body] of CALLS) {
      const theirs = await api.other(method, path, body);
      const absent = await api.other(method, path.replace('/a', '/none'), body);
      assert.deepEqual([theirs.status, absent.status], [404, 404], `${method} ${path}`);
      const same = ({ text }: { text: string }) =>
        text.replace(/"request_id":"[^"]*"/, '').replaceAll('none', 'a');
      assert.equal(same(theirs), same(absent), `${method} ${path}`);
    }
    assert.equal((await api.one('GET', '/v1/templates/a')).text, before);
    assert.equal((await api.one('GET', '/v1/templates/a/versions')).text, drafts);
    assert.equal((await api.other('POST', '/v1/templates', emailTemplate('a'))).status, 201);
    assert.equal((await api.one('GET', '/v1/templates/a')).text, before);
  });

  test('reading needs the scope read, writing the scope manage, either a key', async () => {
    await using api = await openTemplateApi();
    await created(api, 'a');
    const all = [
      ...CALLS,
      ['GET', '/v1/templates'],
      ['POST', '/v1/templates', emailTemplate('b')],
    ] as typeof CALLS;
    for (const [method, path, body] of all) {
      const reads = method === 'GET' || path.endsWith('/preview');
      const [allowed, refused] = reads ? [api.reader, api.sender] : [api.manager, api.reader];
      assert.equal((await refused(method, path, body)).status, 403, `${method} ${path}`);
      assert.notEqual((await allowed(method, path, body)).status, 403, `${method} ${path}`);
      assert.equal((await api.stranger(method, path, body)).status, 401, `${method} ${path}`);
    }
  });
});
