/** The document that clients are generated from: whole, true to OpenAPI 3.1, and true to the answers. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { EVENT_TYPES, REASON_GROUPS } from '@tidings/contracts/timeline';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { ERROR_CODES } from '../../src/errors.ts';
import { type HttpCall, HttpClient } from '../support/http-client.ts';
import {
  type OpenApi,
  type Operation,
  openApiOf,
  operationsOf,
  pathOf,
} from '../support/operations.ts';
import { assertProblem } from '../support/problem.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';

let tidings: Tidings;
let document: OpenApi;
let operations: Operation[];
before(async () => {
  tidings = await startTidings({ env: PATIENT });
  document = await openApiOf(tidings);
  operations = operationsOf(document);
  // Keywords of OpenAPI are no keywords of JSON Schema.
  ajv = new Ajv2020({ strict: false, allErrors: true });
  (addFormats as unknown as (ajv: Ajv2020) => void)(ajv);
  ajv.addSchema({ $id: 'document', $defs: pointing(document.components.schemas) });
});
after(async () => {
  await tidings?.[Symbol.asyncDispose]();
});

/** Every `$ref` below a value. */
function* refsIn(value: unknown): Generator<string> {
  if (value === null || typeof value !== 'object') return;
  for (const [name, child] of Object.entries(value)) {
    if (name === '$ref' && typeof child === 'string') yield child;
    else yield* refsIn(child);
  }
}

function resolve(ref: string): unknown {
  assert.match(ref, /^#\//, ref);
  return ref
    .slice(2)
    .split('/')
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce<unknown>((at, step) => (at as Record<string, unknown> | undefined)?.[step], document);
}

/** The schemas of the document in one place, which every check refers to. */
let ajv: Ajv2020;
function pointing(value: unknown): object {
  const text = JSON.stringify(value);
  return JSON.parse(text.replaceAll('"#/components/schemas/', '"document#/$defs/'));
}

function checkOf(schema: unknown) {
  return ajv.compile(pointing(schema));
}

function jsonOf(part: unknown): unknown {
  const { content } = (part ?? {}) as { content?: Record<string, { schema?: unknown }> };
  return content?.['application/json']?.schema;
}

describe('the document', () => {
  it('is OpenAPI 3.1 and says what it describes', () => {
    assert.match(document.openapi, /^3\.1\.\d+$/);
    assert.ok(document.info['title'] && document.info['version']);
    for (const path of Object.keys(document.paths)) assert.match(path, /^\/v1\/[a-z-]+/);
  });

  it('refers to nothing that is not there', () => {
    const refs = [...refsIn(document)];
    assert.ok(refs.length > 100, `${refs.length}`);
    for (const ref of new Set(refs)) assert.ok(resolve(ref), ref);
  });

  it('names every operation once, and what it is about', () => {
    assert.equal(new Set(operations.map(({ id }) => id)).size, operations.length);
    for (const { id, tags, summary } of operations) {
      assert.match(id, /^[a-z][A-Za-z]+$/);
      assert.equal(tags.length, 1, id);
      assert.ok(summary.length > 5 && summary.length < 120, `${id}: ${summary}`);
    }
  });

  it('declares each parameter once, and those of the path as they stand in it', () => {
    for (const { id, path, parameters } of operations) {
      const inPath = parameters.filter((one) => one['in'] === 'path');
      assert.deepEqual(
        inPath.map(({ name }) => name).sort(),
        [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort(),
        id,
      );
      assert.ok(
        inPath.every(({ required }) => required === true),
        id,
      );
      const names = parameters.map((one) => `${one['in']} ${one['name']}`);
      assert.equal(new Set(names).size, names.length, id);
      for (const { schema } of parameters) checkOf(schema);
    }
  });

  it('says who may call, with schemes that it explains', () => {
    for (const { id, security, access } of operations) {
      const schemes = (security ?? []).flatMap((one) => Object.keys(one));
      for (const scheme of schemes) assert.ok(scheme in document.components.securitySchemes, id);
      const expected = access === 'user' || id === 'openInboxSocket' ? ['inboxToken'] : ['apiKey'];
      assert.deepEqual(schemes, id === 'createSession' ? [] : expected, id);
    }
  });

  it('has a schema for every body, and problems for every refusal', () => {
    const problem = '#/components/schemas/Problem';
    for (const { id, requestBody, responses } of operations) {
      if (requestBody) checkOf(jsonOf(requestBody));
      const statuses = Object.keys(responses);
      assert.ok(
        statuses.some((status) => /^(2\d\d|101)$/.test(status)),
        id,
      );
      for (const status of statuses.filter((one) => /^[45]/.test(one))) {
        const { content } = responses[status] as {
          content: Record<string, { schema: { $ref: string } }>;
        };
        assert.deepEqual(Object.keys(content), ['application/problem+json'], id);
        assert.equal(content['application/problem+json']?.schema.$ref, problem, id);
      }
      for (const status of ['400', '401', '408', '415', '417', '431', '500', '503']) {
        assert.ok(statuses.includes(status), `${id} ${status}`);
      }
      for (const response of Object.values(responses)) {
        assert.ok((response as { description?: string }).description, `${id}: a description`);
        const schema = jsonOf(response);
        if (schema) checkOf(schema);
      }
    }
  });

  it('has examples that fit their schemas', () => {
    for (const [name, schema] of Object.entries(document.components.schemas)) {
      const check = checkOf(schema);
      for (const example of (schema['examples'] as unknown[] | undefined) ?? []) {
        assert.ok(check(example), `${name}: ${JSON.stringify(check.errors)}`);
      }
    }
    for (const { post } of Object.values(document.webhooks)) {
      assert.ok(jsonOf(post['requestBody']), 'a body');
      for (const { schema } of post['parameters'] as { schema: { examples: unknown[] } }[]) {
        const check = checkOf(schema);
        assert.ok(schema.examples.length > 0 && schema.examples.every((one) => check(one)));
      }
    }
    for (const { id, requestBody, body } of operations) {
      if (!requestBody) continue;
      const check = checkOf(jsonOf(requestBody));
      assert.ok(check(body), `${id}: ${JSON.stringify(check.errors)}`);
    }
  });
});

describe('refusals', () => {
  it('are those that the document lists, whatever is wrong', async () => {
    const made = await tidings.call('/v1/api-keys', { body: { scopes: ['read'] } });
    const reader = { authorization: `Bearer ${made.json<{ secret: string }>().secret}` };
    const big = { filler: 'x'.repeat(1024 * 1024) };
    const cases: [number, (operation: Operation) => HttpCall | undefined][] = [
      [401, ({ body }) => ({ body, headers: { authorization: 'Bearer none' } })],
      [403, ({ access, body }) => (access === 'read' ? undefined : { body, headers: reader })],
      [415, () => ({ headers: { 'content-encoding': 'gzip' } })],
      [413, ({ body }) => body && { body: big }],
      [400, ({ body }) => body && { body: { unknown: 1 } }],
      [404, ({ path, body }) => (path.includes('{') ? { body } : undefined)],
    ];
    const seen = new Set<number>();
    for (const operation of operations) {
      if (operation.access === 'user') continue;
      for (const [expected, callOf] of cases) {
        const call = callOf(operation);
        if (call === undefined) continue;
        // A connection whose body was not read to its end is closed behind the answer.
        using client = new HttpClient(1);
        const headers = { authorization: `Bearer ${tidings.key}`, ...call.headers };
        const { method } = operation;
        const url = `${tidings.url}${pathOf(operation)}`;
        const answer = await client.call(url, { ...call, method, headers });
        const shown = `${operation.id} ${expected}: ${answer.status} ${answer.text}`;
        assert.ok(String(answer.status) in operation.responses, shown);
        if (answer.status >= 400) assertProblem(answer, answer.status, shown);
        if (answer.status === expected) seen.add(expected);
      }
    }
    assert.deepEqual(seen, new Set(cases.map(([status]) => status)));
  });

  it('are explained on a page, under the anchors that they lead to', async () => {
    const page = await tidings.call('/docs/errors');
    assert.match(String(page.headers['content-type']), /^text\/html/);
    const anchors = [...page.text.matchAll(/ id="([^"]+)"/g)].map((match) => match[1] as string);
    assert.equal(new Set(anchors).size, anchors.length);
    const statuses = ['408', '413', '415', '417', '431'];
    assert.deepEqual(anchors.sort(), [...Object.keys(ERROR_CODES), ...statuses].sort());
    for (const status of [400, 401, 403, 404, 408, 409, 413, 415, 417, 422, 429, 431, 500, 503]) {
      assert.ok(page.text.includes(`<td>${status}</td>`), `${status}`);
    }
    assert.ok(page.text.includes('Bearer &lt;API key>'), 'what looks like HTML is shown');
  });
});

describe('the words of timelines', () => {
  const words = [
    ...Object.keys(EVENT_TYPES).map((word) => `event-${word}`),
    ...REASON_GROUPS.flatMap(({ reasons }) => Object.keys(reasons)).map((word) => `reason-${word}`),
  ];

  it('are explained on a page, each under its own anchor', async () => {
    const page = await tidings.call('/docs/reasons');
    assert.match(String(page.headers['content-type']), /^text\/html/);
    assert.match(String(page.headers['content-security-policy']), /default-src 'none'/);
    const anchors = [...page.text.matchAll(/ id="([^"]+)"/g)].map((match) => match[1] as string);
    const shown = words.map((word) => word.replaceAll('<', '&lt;'));
    assert.deepEqual(anchors.sort(), shown.sort());
  });

  it('are explained in the document', () => {
    const event = document.components.schemas['TimelineEvent'] as {
      properties: Record<string, { description: string }>;
    };
    for (const anchor of words) {
      const [, kind, word] = /^(event|reason)-(.*)$/.exec(anchor) as unknown as string[];
      const text = event.properties[kind === 'event' ? 'type' : 'reason']?.description ?? '';
      assert.ok(text.includes(`- \`${word}\`: `), anchor);
    }
  });
});

describe('answers', () => {
  it('are what the document says', async () => {
    const text = { title: 'Hello', text: 'It works.' };
    await tidings.call('/v1/users/ada', {
      method: 'PUT',
      body: {
        name: 'Ada',
        addresses: [{ channel: 'email', address: 'ada@example.com' }],
        preferences: { categories: { news: { enabled: false } } },
      },
    });
    const sent = await tidings.call('/v1/notifications?wait=20s', {
      body: { to: { userId: 'ada' }, content: text, channels: ['email', 'in_app'] },
    });
    const notification = sent.json<{ id: string }>().id;
    const minted = await tidings.call('/v1/inbox/tokens', { body: { userId: 'ada' } });
    const token = minted.json<{ token: string }>().token;
    const later = new Date(Date.now() + 3_600_000).toISOString();
    const ids: Record<string, Record<string, string>> = {
      notifications: { id: notification },
      templates: { key: 'sample', version: '1' },
      categories: { key: 'sample' },
      users: { userId: 'ada' },
      'api-keys': {},
      'webhook-endpoints': {},
    };
    const order = ['POST', 'PUT', 'PATCH', 'GET', 'DELETE'];
    const sorted = [...operations].sort(
      (a, b) => order.indexOf(a.method) - order.indexOf(b.method) || a.path.length - b.path.length,
    );
    const checked: string[] = [];
    for (const { id, method, path, body, responses, access } of sorted) {
      if (['createSession', 'streamInbox', 'openInboxSocket'].includes(id)) continue;
      const resource = path.split('/')[2] as string;
      const url = path.replace(/\{(\w+)\}/g, (_, name: string) => ids[resource]?.[name] ?? 'none');
      const answer = await tidings.call(url, {
        method,
        headers: { authorization: `Bearer ${access === 'user' ? token : tidings.key}` },
        ...(body ? { body: id === 'createNotification' ? { ...body, sendAt: later } : body } : {}),
      });
      const response = responses[String(answer.status)];
      assert.ok(response, `${id} ${answer.status} is not in the document: ${answer.text}`);
      if (answer.status >= 400) {
        assert.ok(
          id === 'editNotification' || id === 'cancelNotification' || id === 'putTemplateVersion',
          `${id} ${answer.text}`,
        );
        assert.equal(answer.status, 409, answer.text);
        continue;
      }
      const schema = jsonOf(response);
      if (answer.text === '') assert.equal(answer.status, 204, id);
      else {
        const check = checkOf(schema);
        assert.ok(check(answer.json()), `${id}: ${JSON.stringify(check.errors)} ${answer.text}`);
      }
      checked.push(id);
      if (id === 'createApiKey') ids['api-keys'] = { keyId: answer.json<{ id: string }>().id };
      if (id === 'createWebhookEndpoint')
        ids['webhook-endpoints'] = { id: answer.json<{ id: string }>().id };
    }
    assert.ok(checked.length >= 45, checked.join(' '));
  });
});
