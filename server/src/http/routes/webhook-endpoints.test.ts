/** The routes of webhook endpoints on a real store, with the service and guard they are wired to. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import type { InjectOptions, LightMyRequestResponse } from 'fastify';
import { pino } from 'pino';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { adminOf } from '../../../test/support/records.ts';
import { openTestFile } from '../../../test/support/store.ts';
import { createAddressGuard } from '../../adapters/webhook/address-guard.ts';
import { createWebhookEndpointService } from '../../adapters/webhook/endpoint-service.ts';
import { createSecret, parseSecret } from '../../adapters/webhook/signature.ts';
import { createApplicationService } from '../../application/service.ts';
import {
  applicationOperations,
  SqliteApplicationStore,
} from '../../database/sqlite/application-store.ts';
import { mergeOperations } from '../../database/sqlite/group-writer.ts';
import { RecordCacheGroup } from '../../database/sqlite/record-cache.ts';
import {
  SqliteWebhookEndpointStore,
  webhookEndpointOperations,
} from '../../database/sqlite/webhook-endpoint-store.ts';
import { parseId } from '../../id.ts';
import { SecretBox } from '../../secret-box.ts';
import { buildApp } from '../app.ts';
import { webhookEndpointRoutes } from './webhook-endpoints.ts';

const PATH = '/v1/webhook-endpoints';
const URL_A = 'https://hooks.example.com/a';

// biome-ignore lint/suspicious/noExplicitAny: the test says what it expects of it
type Answer = { status: number; text: string; body: any };

async function openApp(guardOptions: Parameters<typeof createAddressGuard>[0] = {}) {
  const clock = new ManualClock(Date.now());
  const file = openTestFile('records', (database) =>
    mergeOperations(
      applicationOperations(database, { clock }),
      webhookEndpointOperations(database, { clock }),
    ),
  );
  const database = file.reader();
  const cache = new RecordCacheGroup(database, clock, 0);
  const box = new SecretBox(randomBytes(32));
  const shared = { database, writer: file.writer, cache, clock, box };
  const applications = new SqliteApplicationStore(shared);
  const store = new SqliteWebhookEndpointStore(shared);
  const guard = createAddressGuard(guardOptions);
  const app = await buildApp({
    applications,
    log: pino({ level: 'silent' }),
    routes: [
      webhookEndpointRoutes({
        webhookEndpoints: createWebhookEndpointService({ store, guard, clock }),
      }),
    ],
    refusal: () => undefined,
    bodyLimitBytes: 1_048_576,
    trustedProxies: [],
    accessLogSampling: 0,
  });
  const inject = (options: InjectOptions): Promise<LightMyRequestResponse> => app.inject(options);
  const admin = (application?: string) => adminOf({ applications } as never, clock, application);
  const { key, caller } = await admin();
  return {
    app,
    clock,
    store,
    applicationId: caller.applicationId,
    /** A key of another application. */
    stranger: (await admin('other')).key,
    async keyWith(scope: 'send' | 'read' | 'manage') {
      const service = createApplicationService({ store: applications, clock });
      return (await service.createKey(caller, { scopes: [scope] })).secret;
    },
    async call(
      method: string,
      url: string,
      body?: unknown,
      given: string | null = key,
    ): Promise<Answer> {
      const { statusCode, payload } = await inject({
        method: method as 'GET',
        url,
        headers: {
          ...(given === null ? {} : { authorization: `Bearer ${given}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
      });
      return {
        status: statusCode,
        text: payload,
        body: payload === '' ? undefined : JSON.parse(payload),
      };
    },
    async [Symbol.asyncDispose]() {
      await app.close();
      await file[Symbol.asyncDispose]();
    },
  };
}

function assertProblem(answer: Answer, status: number, code: string, path?: string): void {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.body.code, code);
  if (path !== undefined) {
    assert.deepEqual(
      answer.body.errors.map((error: { path: string }) => error.path),
      [path],
    );
    assert.notEqual(answer.body.errors[0].message, '');
  }
}

describe('creating', () => {
  test('answers 201 with the endpoint and its secret, which no other answer shows', async () => {
    await using opened = await openApp();
    const created = await opened.call('POST', PATH, {
      url: 'HTTPS://Hooks.Example.com:443/a',
      description: 'Orders',
    });
    assert.equal(created.status, 201, created.text);
    const { secret, id, createdAt, updatedAt, ...rest } = created.body;
    assert.equal(parseSecret(secret)?.length, 32);
    assert.deepEqual(rest, {
      url: URL_A,
      description: 'Orders',
      enabled: true,
      disabledReason: null,
      failingSince: null,
      secrets: 1,
    });
    assert.equal(updatedAt, createdAt);
    const others = [
      await opened.call('GET', `${PATH}/${id}`),
      await opened.call('GET', PATH),
      await opened.call('PATCH', `${PATH}/${id}`, { description: 'x' }),
    ];
    for (const { status, text } of others) {
      assert.equal(status, 200);
      assert.ok(!text.includes('whsec_') && !text.includes(secret));
    }
  });

  test('takes a secret, and refuses what is none', async () => {
    await using opened = await openApp();
    const secret = createSecret();
    assert.equal((await opened.call('POST', PATH, { url: URL_A, secret })).body.secret, secret);
    for (const bad of [
      '',
      'whsec_',
      'whsec_c2hvcnQ=',
      secret.slice(6),
      `${secret} `,
      `whsec_${'A'.repeat(100)}`,
    ]) {
      const answer = await opened.call('POST', PATH, { url: `${URL_A}/b`, secret: bad });
      assertProblem(answer, 400, 'invalid_request', 'body.secret');
      assert.ok(bad.length < 20 || !answer.text.includes(bad), 'the answer does not repeat it');
    }
  });

  test('refuses URLs that lead inside', async () => {
    await using opened = await openApp();
    const urls = [
      'https://127.0.0.1/',
      'https://10.0.0.1/',
      'https://169.254.169.254/latest/meta-data/',
      'https://100.64.0.1/',
      'https://168.63.129.16/',
      'https://[::1]/',
      'https://[::ffff:127.0.0.1]/',
      'https://[64:ff9b::7f00:1]/',
      'https://[2002:7f00:1::]/',
      'https://2130706433/',
      'https://0177.0.0.1/',
      'https://①②⑦.⓪.⓪.①/',
      'https://localhost./',
      'https://printer.local/',
      'http://example.com/',
      'https://user:password@example.com/',
      'https://example.com/#x',
      'ftp://example.com/',
      'example.com',
    ];
    const { body: kept } = await opened.call('POST', PATH, { url: URL_A });
    for (const url of urls) {
      assertProblem(await opened.call('POST', PATH, { url }), 422, 'forbidden_url', 'body.url');
      assertProblem(
        await opened.call('PATCH', `${PATH}/${kept.id}`, { url }),
        422,
        'forbidden_url',
        'body.url',
      );
    }
    const { body: list } = await opened.call('GET', PATH);
    assert.deepEqual(
      list.items.map(({ url }: { url: string }) => url),
      [URL_A],
    );
  });

  test('allows what the operator allows', async () => {
    await using opened = await openApp({ allowedNetworks: ['10.0.0.0/8'] });
    assert.equal((await opened.call('POST', PATH, { url: 'http://10.1.2.3:8080/x' })).status, 201);
    assertProblem(
      await opened.call('POST', PATH, { url: 'http://127.0.0.1/' }),
      422,
      'forbidden_url',
    );
  });

  test('a URL belongs to one endpoint of an application', async () => {
    await using opened = await openApp();
    const first = await opened.call('POST', PATH, { url: URL_A });
    assertProblem(
      await opened.call('POST', PATH, { url: URL_A }),
      409,
      'already_exists',
      'body.url',
    );
    const { body: second } = await opened.call('POST', PATH, { url: `${URL_A}/b` });
    assertProblem(
      await opened.call('PATCH', `${PATH}/${second.id}`, { url: URL_A }),
      409,
      'already_exists',
      'body.url',
    );
    const strangers = await opened.call('POST', PATH, { url: URL_A }, opened.stranger);
    assert.equal(strangers.status, 201);
    assert.notEqual(strangers.body.id, first.body.id);
  });

  test('names every field that does not fit', async () => {
    await using opened = await openApp();
    const cases: [unknown, string][] = [
      [{}, 'body.url'],
      [{ url: '' }, 'body.url'],
      [{ url: 7 }, 'body.url'],
      [{ url: `https://example.com/${'a'.repeat(2100)}` }, 'body.url'],
      [{ url: URL_A, description: 'a'.repeat(501) }, 'body.description'],
      [{ url: URL_A, secret: 7 }, 'body.secret'],
      [{ url: URL_A, enabled: false }, 'body.enabled'],
      [{ url: URL_A, applicationId: 2 }, 'body.applicationId'],
      [[], 'body'],
    ];
    for (const [body, path] of cases) {
      assertProblem(await opened.call('POST', PATH, body), 400, 'invalid_request', path);
    }
  });
});

describe('reading', () => {
  test('the list goes in pages, newest first', async () => {
    await using opened = await openApp();
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) {
      ids.unshift((await opened.call('POST', PATH, { url: `${URL_A}/${i}` })).body.id);
    }
    const seen: string[] = [];
    let next: string | null = '';
    while (next !== null) {
      const cursor: string = next === '' ? '' : `&cursor=${next}`;
      const { body } = await opened.call('GET', `${PATH}?limit=2${cursor}`);
      seen.push(...body.items.map(({ id }: { id: string }) => id));
      next = body.next;
    }
    assert.deepEqual(seen, ids);
    assertProblem(
      await opened.call('GET', `${PATH}?limit=0`),
      400,
      'invalid_request',
      'query.limit',
    );
    assertProblem(
      await opened.call('GET', `${PATH}?cursor=x`),
      400,
      'invalid_request',
      'query.cursor',
    );
    assertProblem(
      await opened.call('GET', `${PATH}?sort=url`),
      400,
      'invalid_request',
      'query.sort',
    );
  });
});

describe('changing', () => {
  test('switches off, and on again after it was switched off for failing', async () => {
    await using opened = await openApp();
    const { store, applicationId } = opened;
    const { body: created } = await opened.call('POST', PATH, { url: URL_A, description: 'x' });
    const path = `${PATH}/${created.id}`;
    const off = await opened.call('PATCH', path, { enabled: false });
    assert.deepEqual([off.body.enabled, off.body.disabledReason], [false, null]);
    await opened.call('PATCH', path, { enabled: true });
    const id = parseId('whe', created.id) as number;
    await store.recordResult(applicationId, id, { ok: false, at: Date.UTC(2026, 0, 1) });
    await store.disable(applicationId, id, 'failing');
    const failing = (await opened.call('GET', path)).body;
    assert.deepEqual(
      [failing.enabled, failing.disabledReason, failing.failingSince],
      [false, 'failing', '2026-01-01T00:00:00.000Z'],
    );
    const on = (await opened.call('PATCH', path, { enabled: true, description: null })).body;
    assert.deepEqual(
      [on.enabled, on.disabledReason, on.failingSince, on.description],
      [true, null, null, null],
    );
    assertProblem(await opened.call('PATCH', path, {}), 400, 'invalid_request', 'body');
    assertProblem(
      await opened.call('PATCH', path, { secret: 'x' }),
      400,
      'invalid_request',
      'body.secret',
    );
  });

  test('a deleted endpoint is gone', async () => {
    await using opened = await openApp();
    const { body: created } = await opened.call('POST', PATH, { url: URL_A });
    const deleted = await opened.call('DELETE', `${PATH}/${created.id}`);
    assert.deepEqual([deleted.status, deleted.text], [204, '']);
    assertProblem(await opened.call('DELETE', `${PATH}/${created.id}`), 404, 'not_found');
    assertProblem(await opened.call('GET', `${PATH}/${created.id}`), 404, 'not_found');
    assert.equal((await opened.call('POST', PATH, { url: URL_A })).status, 201);
  });
});

describe('rotating the secret', () => {
  test('both sign for a day unless told otherwise', async () => {
    await using opened = await openApp();
    const { body: created } = await opened.call('POST', PATH, { url: URL_A });
    const path = `${PATH}/${created.id}`;
    const rotated = await opened.call('POST', `${path}/rotate-secret`);
    assert.equal(rotated.status, 200, rotated.text);
    assert.ok(parseSecret(rotated.body.secret));
    assert.notEqual(rotated.body.secret, created.secret);
    assert.equal(rotated.body.secrets, 2);
    const signing = async () => {
      const id = parseId('whe', created.id) as number;
      return (await opened.store.signing(opened.applicationId, id))?.secrets;
    };
    assert.deepEqual(await signing(), [rotated.body.secret, created.secret]);
    opened.clock.advance(86_399_000);
    assert.equal((await signing())?.length, 2);
    opened.clock.advance(1000);
    assert.deepEqual(await signing(), [rotated.body.secret]);
  });

  test('with a secret and a time of the caller', async () => {
    await using opened = await openApp();
    const { body: created } = await opened.call('POST', PATH, { url: URL_A });
    const path = `${PATH}/${created.id}/rotate-secret`;
    const secret = createSecret();
    const rotated = await opened.call('POST', path, { secret, keepPreviousForSeconds: 0 });
    assert.deepEqual([rotated.body.secret, rotated.body.secrets], [secret, 1]);
    const cases: [unknown, string][] = [
      [{ secret: 'x' }, 'body.secret'],
      [{ keepPreviousForSeconds: -1 }, 'body.keepPreviousForSeconds'],
      [{ keepPreviousForSeconds: 1.5 }, 'body.keepPreviousForSeconds'],
      [{ keepPreviousForSeconds: 2_592_001 }, 'body.keepPreviousForSeconds'],
      [{ keepPreviousForSeconds: '60' }, 'body.keepPreviousForSeconds'],
      [{ keep: 1 }, 'body.keep'],
    ];
    for (const [body, field] of cases) {
      assertProblem(await opened.call('POST', path, body), 400, 'invalid_request', field);
    }
    assert.equal((await opened.call('GET', `${PATH}/${created.id}`)).body.secrets, 1);
  });
});

describe('who may', () => {
  const verbs: [string, string, unknown?][] = [
    ['GET', ''],
    ['PATCH', '', { enabled: false }],
    ['DELETE', ''],
    ['POST', '/rotate-secret'],
    ['POST', '/rotate-secret', { keepPreviousForSeconds: 0 }],
  ];

  test("another application's endpoint answers exactly like one that does not exist", async () => {
    await using opened = await openApp();
    const { body: created } = await opened.call('POST', PATH, { url: URL_A });
    const plain = ({ status, body }: Answer) => {
      const { request_id, ...problem } = body;
      return { status, ...problem };
    };
    for (const [verb, suffix, body] of verbs) {
      const answers = [];
      for (const id of [
        created.id,
        'whe_00000000001',
        'whe_nonsense',
        'msg_00000000001',
        '1',
        '%00',
      ]) {
        answers.push(
          plain(await opened.call(verb, `${PATH}/${id}${suffix}`, body, opened.stranger)),
        );
      }
      for (const answer of answers) assert.deepEqual(answer, answers[0], `${verb} ${suffix}`);
      assert.equal(answers[0]?.status, 404);
    }
    const { secret: _, ...before } = created;
    assert.deepEqual((await opened.call('GET', `${PATH}/${created.id}`)).body, before);
    assert.deepEqual((await opened.call('GET', PATH, undefined, opened.stranger)).body.items, []);
  });

  test('reading needs the scope read, changing needs manage', async () => {
    await using opened = await openApp();
    const { body: created } = await opened.call('POST', PATH, { url: URL_A });
    const keys = {
      send: await opened.keyWith('send'),
      read: await opened.keyWith('read'),
      manage: await opened.keyWith('manage'),
    };
    const routes: [string, string, 'read' | 'manage', unknown?][] = [
      ['GET', PATH, 'read'],
      ['GET', `${PATH}/${created.id}`, 'read'],
      ['POST', PATH, 'manage', { url: `${URL_A}/b` }],
      ['PATCH', `${PATH}/${created.id}`, 'manage', { description: 'x' }],
      ['POST', `${PATH}/${created.id}/rotate-secret`, 'manage', {}],
      ['DELETE', `${PATH}/${created.id}`, 'manage'],
    ];
    for (const [verb, url, needed, body] of routes) {
      assertProblem(await opened.call(verb, url, body, null), 401, 'unauthorized');
      for (const [scope, key] of Object.entries(keys)) {
        if (scope !== needed)
          assertProblem(await opened.call(verb, url, body, key), 403, 'forbidden');
      }
      const { status } = await opened.call(verb, url, body, keys[needed]);
      assert.ok(status >= 200 && status < 300, `${verb} ${url}: ${status}`);
    }
  });

  test('the OpenAPI document describes all of it', async () => {
    await using opened = await openApp();
    const { body: document } = await opened.call('GET', '/openapi.json');
    const operations = Object.values(
      document.paths as Record<string, Record<string, { operationId: string }>>,
    )
      .flatMap((path) => Object.values(path))
      .map(({ operationId }) => operationId);
    assert.deepEqual(operations.sort(), [
      'createWebhookEndpoint',
      'deleteWebhookEndpoint',
      'getWebhookEndpoint',
      'listWebhookEndpoints',
      'rotateWebhookSecret',
      'updateWebhookEndpoint',
    ]);
    assert.ok(document.components.schemas.WebhookEndpointWithSecret);
  });
});
