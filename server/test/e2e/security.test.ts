/**
 * Input that no honest caller writes: bodies that are not what they say, JSON that two readers read
 * differently, names that objects have already, fields nobody asked for, code in templates; and what
 * the pages for people say to browsers. The protocol underneath is security-http.test.ts, keys are
 * security-credentials.test.ts.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import type { Notification, TimelineEvent } from '@tidings/contracts/notification';
import { type Operation, openApiOf, operationsOf, pathOf } from '../support/operations.ts';
import { assertNothingOfTheInside, assertProblem } from '../support/problem.ts';
import { ask, type RawAnswer } from '../support/raw-http.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';

const SEND = '/v1/notifications';
const JSON_TYPE = 'Content-Type: application/json';
const REQUEST = {
  to: { email: 'ada@example.com' },
  content: { title: 'Hello', text: 'It works.' },
};
const TEXT = JSON.stringify(REQUEST);

let tidings: Tidings;
let key: string;
before(async () => {
  tidings = await startTidings({
    env: { ...PATIENT, TIDINGS_DELIVERY_RETRY_DELAYS_MS: '20,20' },
  });
  key = `Authorization: Bearer ${tidings.key}`;
});
after(async () => {
  await tidings?.[Symbol.asyncDispose]();
});

/** A body as it is written, with the headers of JSON unless others are given. */
function post(
  body: string | Buffer,
  {
    path = SEND,
    method = 'POST',
    headers = [JSON_TYPE],
  }: {
    path?: string;
    method?: string;
    headers?: string[];
  } = {},
): Promise<RawAnswer> {
  return ask(tidings.port, { method, path, headers: [key, ...headers], body });
}

/** The request with a piece of JSON in place of its text. */
function withText(json: string): string {
  return TEXT.replace('"It works."', () => json);
}

/** The request with further members. */
function withMembers(json: string): string {
  return TEXT.replace(/\}$/, () => `,${json}}`);
}

async function sent(body: object): Promise<Notification> {
  const answer = await tidings.call(`${SEND}?wait=20s`, { body: { ...REQUEST, ...body } });
  assert.equal(answer.status, 200, answer.text);
  return answer.json<Notification>();
}

async function captured(id: string): Promise<Record<string, string> | undefined> {
  const { items } = (await tidings.call(`${SEND}/${id}/timeline`)).json<{
    items: TimelineEvent[];
  }>();
  const attempt = items.find(({ type }) => type === 'attempt');
  return (attempt?.detail as { captured?: { content: Record<string, string> } } | undefined)
    ?.captured?.content;
}

describe('bodies', () => {
  it('are not compressed, whatever they unpack to', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    const before = tidings.residentBytes();
    for (const [coding, body] of [
      ['gzip', gzipSync(TEXT)],
      ['x-gzip', gzipSync(TEXT)],
      ['deflate', deflateSync(TEXT)],
      ['br', brotliCompressSync(TEXT)],
      ['zstd', zstdCompressSync(TEXT)],
      ['gzip, gzip', gzipSync(gzipSync(TEXT))],
      ['identity, gzip', gzipSync(TEXT)],
      ['gzip', bomb],
      ['nothing-known', Buffer.from(TEXT)],
    ] as const) {
      const answer = await post(body, { headers: [JSON_TYPE, `Content-Encoding: ${coding}`] });
      assertProblem(answer, 415, coding);
    }
    assert.ok(tidings.residentBytes() - before < 32 * 1024 * 1024);
    // Said or not: what is compressed is no JSON.
    assertProblem(await post(gzipSync(TEXT)), 400);
    const plain = await post(TEXT, { headers: [JSON_TYPE, 'Content-Encoding: identity'] });
    assert.equal(plain.status, 202, plain.body);
  });

  it('are JSON, and say so', async () => {
    for (const type of [
      'text/plain',
      'text/json',
      'application/xml',
      'application/jsonx',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'text/plain; application/json',
      'json',
      '*/*',
      '',
    ]) {
      assertProblem(await post(TEXT, { headers: [`Content-Type: ${type}`] }), 415, type);
    }
    assertProblem(await post(TEXT, { headers: [] }), 415, 'none');
    const form = 'to[email]=ada@example.com&content[title]=x';
    assertProblem(
      await post(form, { headers: ['Content-Type: application/x-www-form-urlencoded'] }),
      415,
    );
    for (const type of ['application/json; charset=utf-8', 'application/vnd.shop+json']) {
      assert.equal((await post(TEXT, { headers: [`Content-Type: ${type}`] })).status, 202, type);
    }
  });

  it('are there, and one value', async () => {
    const bodies = ['', ' ', '\n', '{', '{}', '[]', 'null', '1', '"text"', 'true', `[${TEXT}]`];
    for (const body of [...bodies, `${TEXT}${TEXT}`, `${TEXT},`, `//\n${TEXT}`, `\ufeff${TEXT}`]) {
      const problem = assertProblem(await post(body), 400, JSON.stringify(body.slice(0, 40)));
      assert.ok(problem.errors?.every(({ path }) => path.startsWith('body')));
      assert.ok((problem.errors?.length ?? 0) > 0, JSON.stringify(problem));
    }
    assertProblem(await post('', { headers: [] }), 400);
  });

  it('are read by everybody in the same way', async () => {
    const deep = 100_000;
    const texts: [string, string | Buffer][] = [
      ['deep, never closed', '['.repeat(deep)],
      ['deep arrays', '['.repeat(deep) + ']'.repeat(deep)],
      ['deep objects', `${'{"a":'.repeat(deep)}1${'}'.repeat(deep)}`],
      ['deep in data', withMembers(`"data":${'{"a":'.repeat(deep)}1${'}'.repeat(deep)}`)],
      ['deep in data, arrays', withMembers(`"data":{"a":${'['.repeat(deep)}${']'.repeat(deep)}}`)],
      ['a key twice', withMembers('"to":{"email":"eve@example.com"}')],
      ['a key twice, once escaped', withMembers('"\\u0074o":{"email":"eve@example.com"}')],
      ['a key twice, far down', withMembers('"data":{"a":[{"b":1,"c":2,"b":1}]}')],
      ['a high surrogate alone', withText('"\\ud800"')],
      ['a low surrogate alone', withText('"a\\udc00b"')],
      ['surrogates in the wrong order', withText('"\\udc00\\ud800"')],
      ['a surrogate alone in a name', withMembers('"data":{"\\ud800":1}')],
      ['an escaped NUL', withText('"a\\u0000b"')],
      ['a NUL', withText('"a\0b"')],
      ['a NUL in a name', withMembers('"data":{"a\\u0000":1}')],
      ['a line break in a text', withText('"a\nb"')],
      ['no number', withMembers('"data":{"a":NaN}')],
      ['a number past all numbers', withMembers('"data":{"a":1e999}')],
      ['a hexadecimal number', withMembers('"data":{"a":0x10}')],
      ['single quotes', withText("'a'")],
      ['UTF-16', Buffer.from(TEXT, 'utf16le')],
    ];
    for (const [name, text] of texts) assertProblem(await post(text), 400, name);
  });

  it('are UTF-8 to the last byte', async () => {
    const [start, end] = TEXT.split('It works.') as [string, string];
    for (const bytes of ['ff', 'c0af', 'e28280ff', 'eda080', 'f8888080', 'e282', 'f0288c28']) {
      const body = Buffer.concat([Buffer.from(start), Buffer.from(bytes, 'hex'), Buffer.from(end)]);
      // Taken with U+FFFD in place of what was sent, it would be another message.
      assertProblem(await post(body), 400, bytes);
    }
    const { content } = await sent({ content: { title: '\ufffd 你好 🎉', text: '\u{10ffff}' } });
    assert.deepEqual(content, { title: '\ufffd 你好 🎉', text: '\u{10ffff}' });
  });
});

describe('names that objects have already', () => {
  const POLLUTION = [
    '"__proto__":{"category":"polluted","collapseKey":"polluted","metadata":{"polluted":"1"}}',
    '"__proto__":null',
    '"\\u005f_proto__":{"category":"polluted"}',
    '"constructor":{"prototype":{"category":"polluted"}}',
  ];

  it('are refused wherever a body may have any names', async () => {
    await tidings.call('/v1/users/ada', { method: 'PUT', body: {} });
    const places: [string, string, (json: string) => string][] = [
      ['POST', SEND, (json) => withMembers(json)],
      ['POST', SEND, (json) => withMembers(`"data":{${json}}`)],
      ['POST', SEND, (json) => withMembers(`"data":{"a":[{"b":{${json}}}]}`)],
      ['POST', SEND, (json) => withMembers(`"metadata":{${json}}`)],
      ['POST', SEND, (json) => `{"to":{${json}},"content":{"text":"x"}}`],
      ['POST', SEND, (json) => `{"to":{"email":"a@b.io"},"content":{"payload":{${json}}}}`],
      ['POST', SEND, (json) => `{"to":{"email":"a@b.io"},"content":{"channels":{${json}}}}`],
      ['PUT', '/v1/users/ada', (json) => `{"attributes":{${json}}}`],
      ['PUT', '/v1/users/ada', (json) => `{"attributes":{"a":{${json}}}}`],
      ['PUT', '/v1/users/ada/preferences', (json) => `{"categories":{${json}}}`],
      ['PUT', '/v1/users/ada/preferences', (json) => `{"channels":{${json}}}`],
      ['POST', '/v1/templates', (json) => `{"key":"t","content":{${json}}}`],
      ['POST', '/v1/templates', (json) => `{"key":"t","content":{},"example":{${json}}}`],
      ['POST', '/v1/templates', (json) => `{"key":"t","content":{},"variables":{${json}}}`],
      ['POST', '/v1/templates', (json) => `{"key":"t","content":{},"translations":{${json}}}`],
    ];
    for (const [method, path, bodyWith] of places) {
      for (const json of POLLUTION) {
        const body = bodyWith(json);
        assertProblem(await post(body, { method, path }), 400, `${method} ${path} ${body}`);
      }
    }
  });

  it('change nothing for anybody else', async () => {
    const { category, collapseKey, metadata, data } = await sent({});
    assert.deepEqual([category, collapseKey, metadata, data], [null, null, {}, {}]);
    const plain = await sent({
      content: { title: 'x', text: '[{{ polluted }}{{ category }}{{ metadata.polluted }}]' },
    });
    assert.deepEqual((await captured(plain.id))?.['text'], '[]');
  });

  it('are names like others where they harm nobody', async () => {
    // Written as text: an object of ours with such names would be something else.
    const text = '{"constructor":"c","toString":"t","hasOwnProperty":1,"valueOf":null,"then":"x"}';
    const data = JSON.parse(text);
    const found = await sent({
      data,
      metadata: { constructor: 'c', toString: 't' },
      content: { title: 'x', text: '{{ constructor }}{{ toString }}{{ then }}{{ isPrototypeOf }}' },
    });
    assert.deepEqual([found.data, found.metadata], [data, { constructor: 'c', toString: 't' }]);
    assert.equal((await captured(found.id))?.['text'], 'ctx');
    const profile = { attributes: data };
    await tidings.call('/v1/users/toString', { method: 'PUT', body: profile });
    const user = (await tidings.call('/v1/users/toString')).json<{ attributes: object }>();
    assert.deepEqual(user.attributes, data);
    for (const name of ['__proto__', 'constructor', 'hasOwnProperty']) {
      assertProblem(await tidings.call(`/v1/users/${name}`), 404);
      assertProblem(await tidings.call(`/v1/templates/${name}`), [400, 404]);
      assertProblem(await tidings.call(`/v1/categories/${name}`), [400, 404]);
      const body = { ...REQUEST, channels: [name] };
      assertProblem(await tidings.call(SEND, { body }), 400, `the channel ${name}`);
    }
  });
});

describe('fields that nobody asked for', () => {
  const EXTRAS = { tenantId: 'x', status: 'sent', applicationId: 2, id: 'ntf_00000000000' };

  /** A body of an operation with one more member: each of them, and one that only a test can mean. */
  async function refusedWith(operation: Operation, extra: object, name: string): Promise<void> {
    const body = { ...operation.body, ...extra };
    const token = operation.access === 'user' ? await inboxToken() : tidings.key;
    const answer = await tidings.call(pathOf(operation), {
      method: operation.method,
      headers: { authorization: `Bearer ${token}` },
      body,
    });
    const problem = assertProblem(answer, 400, operation.id);
    assert.ok(
      problem.errors?.some(({ path }) => path === `body.${name}`),
      `${operation.id} ${answer.text}`,
    );
  }

  async function inboxToken(): Promise<string> {
    const minted = await tidings.call('/v1/inbox/tokens', { body: { userId: 'ada' } });
    return minted.json<{ token: string }>().token;
  }

  it('are refused by every operation that takes a body, and nothing is kept', async () => {
    const operations = operationsOf(await openApiOf(tidings));
    const before = await tidings.ledger();
    let tried = 0;
    for (const operation of operations.filter(({ body }) => body !== undefined)) {
      for (const [name, value] of Object.entries({ ...EXTRAS, unheardOf: 1 })) {
        await refusedWith(operation, { [name]: value }, name);
        tried++;
      }
    }
    assert.ok(tried > 90, `${tried}`);
    assert.deepEqual(await tidings.ledger(), before);
    assertProblem(await tidings.call('/v1/templates/sample'), 404);
  });

  it('are refused further down as well', async () => {
    const template = { key: 'deep', content: { email: { subject: 'x', text: 'y' } } };
    const cases: [string, string, object, string][] = [
      [
        'POST',
        SEND,
        { ...REQUEST, content: { ...REQUEST.content, body: 'x' } },
        'body.content.body',
      ],
      ['POST', SEND, { ...REQUEST, to: { ...REQUEST.to, admin: 'yes' } }, 'body.to.admin'],
      [
        'POST',
        SEND,
        { to: REQUEST.to, template: { key: 'a', latest: true } },
        'body.template.latest',
      ],
      [
        'POST',
        SEND,
        {
          ...REQUEST,
          content: { text: 'x', title: 'x', actions: [{ label: 'a', url: 'https://a.io', on: 1 }] },
        },
        'body.content.actions.0.on',
      ],
      [
        'PUT',
        '/v1/users/ada',
        { addresses: [{ channel: 'email', address: 'a@b.io', primary: true }] },
        'body.addresses.0.primary',
      ],
      ['PUT', '/v1/users/ada', { preferences: { mandatory: true } }, 'body.preferences.mandatory'],
      [
        'PUT',
        '/v1/users/ada/preferences',
        { categories: { news: { enabled: false, mandatory: true } } },
        'body.categories.news.mandatory',
      ],
      ['POST', '/v1/templates', { ...template, status: 'published' }, 'body.status'],
      [
        'POST',
        '/v1/templates',
        { ...template, content: { email: { subject: 'x', text: 'y', bcc: 'eve@example.com' } } },
        'body.content.email.bcc',
      ],
    ];
    for (const [method, path, body, faulty] of cases) {
      const answer = await tidings.call(path, { method, body });
      const problem = assertProblem(answer, [400, 422], faulty);
      assert.ok(
        problem.errors?.some((error) => error.path === faulty),
        answer.text,
      );
    }
  });
});

describe('code in templates', () => {
  it('is text', async () => {
    const tries = [
      "{{constructor.constructor('return process')()}}",
      '{{ "".constructor.constructor }}',
      '{{ a.__proto__ }}{{ a.constructor.name }}{{ a | map: "constructor" }}',
      '{% assign x = a.constructor %}{{ x }}',
      '{{ a["__proto__"]["polluted"] }}{{ a[b] }}',
    ];
    for (const text of tries) {
      const answer = await tidings.call(`${SEND}?wait=20s`, {
        body: {
          ...REQUEST,
          content: { title: 'x', text },
          data: { a: [{ c: 1 }], b: 'constructor' },
        },
      });
      assert.ok([200, 400, 422].includes(answer.status), answer.text);
      assertNothingOfTheInside(answer.text);
      if (answer.status !== 200) continue;
      const shown = (await captured(answer.json<Notification>().id))?.['text'] ?? '';
      assert.doesNotMatch(shown, /function|native code|process|polluted|Array|Object/, text);
    }
    for (const name of ['include', 'render', 'layout']) {
      const content = { title: 'x', text: `{% ${name} '../../package.json' %}` };
      assertProblem(await tidings.call(SEND, { body: { ...REQUEST, content } }), [400, 422], name);
    }
  });

  it('that takes for ever ends, and holds nobody up', async () => {
    const bombs = [
      '{% for i in (1..10000000) %}{% for j in (1..10000000) %}{% endfor %}{% endfor %}',
      '{% for i in (1..10000000) %}x{% endfor %}',
      "{{ 'now' | date: '%5000000d' }}",
      '{% assign s = "xxxxxxxxxx" %}{% for i in (1..60) %}{% assign s = s | append: s %}{% endfor %}{{ s }}',
      '{{ "a" | times: 1 }}{% for i in a %}{% for j in a %}{% for k in a %}{{ i }}{% endfor %}{% endfor %}{% endfor %}',
    ];
    const data = { a: Array.from({ length: 2000 }, (_, i) => i) };
    const others = { running: true, answered: 0 };
    const traffic = (async () => {
      while (others.running) {
        await sent({});
        others.answered++;
      }
    })();
    for (const text of bombs) {
      const answer = await tidings.call(`${SEND}?wait=20s`, {
        body: { ...REQUEST, content: { title: 'x', text }, data },
      });
      if (answer.status === 200) {
        const [message] = answer.json<Notification>().messages;
        assert.equal(message?.status, 'failed', text);
        assert.ok(message?.reason, text);
      } else assertProblem(answer, [400, 422], text);
      const template = { key: 'bomb', content: { email: { subject: 'x', text } }, example: data };
      const preview = await tidings.call('/v1/templates', { body: template });
      if (preview.status === 201) {
        assertProblem(
          await tidings.call('/v1/templates/bomb/preview', { method: 'POST' }),
          422,
          text,
        );
        await tidings.call('/v1/templates/bomb', { method: 'DELETE' });
      } else assertProblem(preview, [400, 422], text);
    }
    others.running = false;
    await traffic;
    assert.ok(others.answered > 0);
    assert.equal((await tidings.call('/health/ready')).status, 200);
    assert.ok(!tidings.stdout.some((line) => line.includes('is started anew')), 'no thread died');
  });

  it('patterns that take for ever are refused', async () => {
    for (const pattern of ['(a+)+$', '(a|a)*$', '(.*a){20}', '^(([a-z])+.)+[A-Z]([a-z])+$']) {
      const body = {
        key: 'pattern',
        content: { email: { subject: '{{ a }}', text: 'x' } },
        variables: { type: 'object', properties: { a: { type: 'string', pattern } } },
        publish: true,
      };
      const created = await tidings.call('/v1/templates', { body });
      if (created.status !== 201) {
        assertProblem(created, [400, 422], pattern);
        continue;
      }
      // Taken, it must be matched in no time: the request ends long before the client's patience.
      const data = { a: `${'a'.repeat(60)}!` };
      const request = { to: REQUEST.to, template: 'pattern', data };
      assertProblem(await tidings.call(SEND, { body: request, timeoutMs: 5000 }), 422, pattern);
      await tidings.call('/v1/templates/pattern', { method: 'DELETE' });
    }
  });
});

describe('what browsers are told', () => {
  const PAGES = ['/console', '/docs/', '/docs/errors', '/docs/reasons'];
  const directive = (policy: string, name: string): string =>
    policy
      .split(';')
      .map((part) => part.trim())
      .find((part) => part.startsWith(`${name} `)) ?? '';

  it('pages run no script but their own, and stand in no other page', async () => {
    for (const path of PAGES) {
      const { status, headers, text } = await tidings.call(path);
      assert.equal(status, 200, path);
      assert.match(String(headers['content-type']), /^text\/html; charset=utf-8$/i, path);
      const policy = String(headers['content-security-policy']);
      assert.match(policy, /default-src 'none'/, path);
      assert.match(policy, /frame-ancestors 'none'/, path);
      assert.match(policy, /base-uri 'none'/, path);
      const scripts = directive(policy, 'script-src');
      assert.match(scripts, /'self'/, path);
      assert.doesNotMatch(
        scripts,
        /'unsafe-inline'|'unsafe-eval'|https?:|\*/,
        `${path} ${scripts}`,
      );
      assert.equal(headers['x-content-type-options'], 'nosniff', path);
      assert.match(String(headers['referrer-policy']), /^(no-referrer|same-origin)$/, path);
      assert.equal(headers['set-cookie'], undefined, path);
      assert.doesNotMatch(
        text,
        /(src|href)="(https?:)?\/\//,
        `${path} loads something from elsewhere`,
      );
    }
  });

  it('what is no page cannot become one', async () => {
    for (const path of ['/openapi.json', '/v1/ledger', '/nowhere<script>', '/metrics', SEND]) {
      const { headers, text } = await tidings.call(path);
      assert.doesNotMatch(String(headers['content-type']), /html|javascript|svg/, path);
      assert.equal(headers['x-content-type-options'], 'nosniff', path);
      assert.doesNotMatch(text, /<script>/, path);
    }
  });

  it('pages of other origins may read nothing', async () => {
    const origins = ['https://evil.example', 'null', `http://127.0.0.1:${tidings.port + 1}`];
    const minted = await tidings.call('/v1/inbox/tokens', { body: { userId: 'ada' } });
    const { token } = minted.json<{ token: string }>();
    for (const origin of origins) {
      for (const [method, path, headers] of [
        ['GET', '/v1/ledger', {}],
        ['OPTIONS', '/v1/ledger', { 'access-control-request-method': 'GET' }],
        ['OPTIONS', SEND, { 'access-control-request-method': 'POST' }],
        ['GET', '/openapi.json', {}],
        ['GET', '/metrics', {}],
        ['GET', '/v1/inbox', { authorization: `Bearer ${token}` }],
        ['OPTIONS', '/v1/inbox', { 'access-control-request-method': 'GET' }],
        ['GET', '/v1/inbox/stream', { authorization: `Bearer ${token}` }],
      ] as const) {
        const answer = await tidings.call(path, { method, headers: { ...headers, origin } });
        assert.equal(answer.headers['access-control-allow-origin'], undefined, `${method} ${path}`);
        assert.equal(answer.headers['access-control-allow-credentials'], undefined);
        if (path.startsWith('/v1/inbox')) assertProblem(answer, 403, `${method} ${path} ${origin}`);
      }
    }
  });

  it('the reference is read over a connection like any other', async () => {
    const missing = await ask(tidings.port, { path: '/docs/nowhere' });
    assertProblem(missing, 404);
    const page = await ask(tidings.port, { path: '/docs/' });
    assert.deepEqual([page.status, page.headers['connection']], [200, 'close']);
  });
});

it('nothing of this shows the inside in a log', () => {
  assertNothingOfTheInside(tidings.stderr);
  assertNothingOfTheInside(tidings.stdout.join('\n'));
});
