import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, describe, test } from 'node:test';
import tls from 'node:tls';
import { Webhook } from 'standardwebhooks';
import {
  type Answer,
  type HttpReceiver,
  makeCertificate,
  startHttpReceiver,
} from '../../../../test/support/http-receiver.ts';
import { ManualClock } from '../../../../test/support/manual-clock.ts';
import { openTestFile } from '../../../../test/support/store.ts';
import { RecordCacheGroup } from '../../../database/sqlite/record-cache.ts';
import {
  SqliteWebhookEndpointStore,
  webhookEndpointOperations,
} from '../../../database/sqlite/webhook-endpoint-store.ts';
import { formatId, parseId } from '../../../id.ts';
import { SecretBox } from '../../../secret-box.ts';
import { type Condition, runProviderConformance, type Vendor } from '../../conformance.ts';
import type { Delivery, Note, Outcome, ProviderAccount, ProviderServices } from '../../provider.ts';
import adapter, { type WebhookAddress } from '../adapter.ts';
import { createAddressGuard, type ResolveAll } from '../address-guard.ts';
import type { WebhookEndpointStore } from '../endpoint-store.ts';
import { openAccount } from '../http-account.ts';
import { createSecret } from '../signature.ts';
import provider from './http.ts';

const APPLICATION = 1;
const DAY_MS = 24 * 3_600_000;
const HOST = 'hooks.example.com';
const certificate = makeCertificate(HOST);
tls.setDefaultCACertificates([...tls.getCACertificates('default'), certificate.cert]);

function openStore(clock = new ManualClock(Date.now())) {
  const file = openTestFile('records', (database) =>
    webhookEndpointOperations(database, { clock }),
  );
  const database = file.reader();
  const store = new SqliteWebhookEndpointStore({
    database,
    writer: file.writer,
    cache: new RecordCacheGroup(database, clock, 0),
    clock,
    box: new SecretBox(randomBytes(32)),
  });
  return { store, clock, file, [Symbol.asyncDispose]: () => file[Symbol.asyncDispose]() };
}

function makeDelivery(address: WebhookAddress, overrides: Partial<Delivery> = {}): Delivery {
  return {
    messageId: 'msg_00h4p8s3t6v',
    notificationId: 'ntf_00h4p8s3t6v',
    applicationId: APPLICATION,
    attempt: 1,
    idempotencyKey: 'msg_00h4p8s3t6v',
    address,
    content: { payload: { order: 7, text: 'Grüße' } },
    recipient: {},
    priority: 'medium',
    category: null,
    collapseKey: null,
    metadata: {},
    createdAt: Date.UTC(2026, 10, 22, 8),
    expiresAt: null,
    ...overrides,
  };
}

/** A provider account on a real store, its clock, and how tests send through it. */
async function openProvider(
  config: Parameters<typeof openAccount>[0]['config'] = {},
  lookup?: ResolveAll,
) {
  const opened = openStore();
  const { store, clock, file } = opened;
  const settings = { allowedNetworks: ['127.0.0.1/32'], ...config };
  const context = {
    accountId: 'webhook',
    config: settings,
    services: { webhookEndpoints: store } as unknown as ProviderServices,
    clock,
  };
  const account = lookup
    ? openAccount(context, createAddressGuard({ ...settings, lookup }))
    : provider.create(context);
  return {
    store,
    clock,
    file,
    account,
    send: (address: string, overrides: Partial<Delivery> = {}) =>
      sendTo(account, address, overrides),
    async [Symbol.asyncDispose]() {
      await account.close?.();
      await opened[Symbol.asyncDispose]();
    },
  };
}

function sendTo(
  account: ProviderAccount,
  text: string,
  overrides: Partial<Delivery> = {},
): Promise<Outcome> {
  const parsed = adapter.parseAddress(text);
  assert.ok(parsed.ok, text);
  const delivery = makeDelivery(parsed.address, overrides);
  return account.send(delivery as Delivery<never>, new AbortController().signal);
}

async function createIn(
  store: WebhookEndpointStore,
  url: string,
  secret = createSecret(),
  applicationId = APPLICATION,
) {
  const { id } = await store.create({ applicationId, url, description: null, secret });
  return { id, number: parseId('whe', id) as number, secret };
}

function assertRejected(outcome: Outcome, reason: string): string {
  assert.ok(outcome.kind === 'rejected', JSON.stringify(outcome));
  assert.deepEqual([outcome.reason, outcome.scope], [reason, 'recipient']);
  return outcome.response ?? '';
}

function disabledNote(endpointId: string, reason: string): Note {
  return { type: 'endpoint_disabled', detail: { reason, endpointId } };
}

function assertRetry(outcome: Outcome, reason: string): Outcome & { kind: 'retry' } {
  assert.ok(outcome.kind === 'retry', JSON.stringify(outcome));
  assert.equal(outcome.reason, reason);
  return outcome;
}

const conformanceStore = openStore();
after(() => conformanceStore[Symbol.asyncDispose]());
let vendorOrigin = '';
let deliveries = 0;

runProviderConformance(provider, {
  startVendor,
  makeConfig: () => ({ allowedNetworks: ['127.0.0.0/8'], maxConnectionsPerHost: 1 }),
  // A path of its own for each: an endpoint that has answered 410 takes nothing more.
  makeDelivery: (overrides) =>
    makeDelivery({ url: `${vendorOrigin}/${++deliveries}?token=canary` }, overrides),
  services: { webhookEndpoints: conformanceStore.store },
  // Only 410 is final, and it is about the endpoint: no answer tells of our configuration.
  expected: { config: { kinds: ['retry'], ambiguous: false } },
});

/** Over TLS, where a connection that breaks in the handshake has certainly carried no request. */
async function startVendor(): Promise<Vendor> {
  const receiver = await startHttpReceiver({ tls: { ...certificate, name: '127.0.0.1' } });
  vendorOrigin = receiver.origin;
  const careless = 'x'.repeat(2000);
  const answers: Record<Condition, Answer> = {
    ok: { status: 200, body: 'ok' },
    temporary: { status: 503, body: careless },
    permanent: { status: 410, body: careless },
    config: { status: 401, body: careless },
    hang: 'hang',
    'reset-before': 'reset-on-connect',
    'reset-after': 'reset-after-reading',
    'slow-drip': 'drip-head',
    garbage: 'garbage',
  };
  let script: Condition = 'ok';
  return {
    get script() {
      return script;
    },
    set script(condition) {
      script = condition;
      receiver.answer(answers[condition]);
    },
    requests: () =>
      receiver.requests.map(({ headers }) => ({ idempotencyKey: headers['webhook-id'] as string })),
    holding: () => receiver.until(({ holding }) => holding > 0),
    idle: () => receiver.until(({ open }) => open === 0),
    [Symbol.asyncDispose]: () => receiver[Symbol.asyncDispose](),
  };
}

describe('what arrives', () => {
  test('is the payload in the shape of Standard Webhooks, signed', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider();
    const { id, secret } = await createIn(opened.store, `${receiver.origin}/hook?x=1`);
    const outcome = await opened.send(id, {
      category: 'order.shipped',
      collapseKey: 'order-7',
      metadata: { trace: 'abc' },
      recipient: { userId: 'user-42', name: 'Ada' },
    });
    assert.equal(outcome.kind, 'sent');
    const [request] = receiver.requests;
    assert.ok(request);
    assert.equal(request.path, '/hook?x=1');
    assert.equal(request.headers['content-type'], 'application/json');
    assert.match(request.headers['user-agent'] ?? '', /^Tidings\//);
    assert.equal(request.headers['webhook-id'], 'msg_00h4p8s3t6v');
    const headers = request.headers as Record<string, string>;
    assert.deepEqual(new Webhook(secret).verify(request.body, headers), {
      type: 'order.shipped',
      timestamp: '2026-11-22T08:00:00.000Z',
      id: 'msg_00h4p8s3t6v',
      notificationId: 'ntf_00h4p8s3t6v',
      userId: 'user-42',
      collapseKey: 'order-7',
      metadata: { trace: 'abc' },
      data: { order: 7, text: 'Grüße' },
    });
  });

  test('leaves out what is not there', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider();
    await opened.send(receiver.origin);
    assert.deepEqual(JSON.parse(receiver.requests[0]?.body.toString() ?? ''), {
      type: 'notification',
      timestamp: '2026-11-22T08:00:00.000Z',
      id: 'msg_00h4p8s3t6v',
      notificationId: 'ntf_00h4p8s3t6v',
      data: { order: 7, text: 'Grüße' },
    });
  });

  test('has the same id and body on every attempt, and the time of the attempt', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider();
    receiver.answer({ status: 500 }, { status: 200 });
    assertRetry(await opened.send(receiver.origin), 'http_500');
    opened.clock.advance(60_000);
    assert.equal((await opened.send(receiver.origin, { attempt: 2 })).kind, 'sent');
    const [first, second] = receiver.requests;
    assert.equal(second?.headers['webhook-id'], first?.headers['webhook-id']);
    assert.deepEqual(second?.body, first?.body);
    const times = [first, second].map((request) => Number(request?.headers['webhook-timestamp']));
    assert.equal((times[1] ?? 0) - (times[0] ?? 0), 60);
  });

  test('is signed by both secrets during a rotation, then by the new one', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider();
    const { store, clock } = opened;
    const { id, number, secret: old } = await createIn(store, receiver.origin);
    const renewed = createSecret();
    await store.rotate(APPLICATION, number, {
      secret: renewed,
      previousUntil: clock.now() + 60_000,
    });
    const verifies = (secret: string) => {
      const request = receiver.requests.at(-1);
      new Webhook(secret).verify(request?.body ?? '', request?.headers as Record<string, string>);
    };
    await opened.send(id);
    verifies(renewed);
    verifies(old);
    clock.advance(61_000);
    await opened.send(id);
    verifies(renewed);
    assert.throws(() => verifies(old), /No matching signature/);
  });
});

describe('endpoints', () => {
  test('a bare URL becomes one, however many messages go there at once', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider({ maxConnectionsPerHost: 10 });
    const { store } = opened;
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, () => opened.send(`${receiver.origin}/hook`)),
    );
    assert.ok(outcomes.every(({ kind }) => kind === 'sent'));
    assert.equal(receiver.requests.length, 100);
    assert.ok(receiver.connections <= 10);
    const listed = await store.list(APPLICATION, { limit: 10, before: null });
    assert.deepEqual(
      listed.map(({ url }) => url),
      [`${receiver.origin}/hook`],
    );
    const [endpoint] = listed;
    const signing = await store.signing(APPLICATION, parseId('whe', endpoint?.id ?? '') as number);
    const [secret] = signing?.secrets ?? [];
    for (const { body, headers } of receiver.requests) {
      new Webhook(secret ?? '').verify(body, headers as Record<string, string>);
    }
  });

  test('a bare URL that was registered is signed with its secret', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider();
    const { secret } = await createIn(opened.store, `${receiver.origin}/hook`);
    await opened.send(`${receiver.origin}/hook`);
    const [request] = receiver.requests;
    new Webhook(secret).verify(request?.body ?? '', request?.headers as Record<string, string>);
  });

  test("unknown, or another application's: rejected, nothing is sent", async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider();
    const other = await createIn(opened.store, receiver.origin, createSecret(), 2);
    assertRejected(await opened.send(other.id), 'endpoint_unknown');
    assertRejected(await opened.send(formatId('whe', 7)), 'endpoint_unknown');
    assert.equal(receiver.connections, 0);
  });

  test('switched off: rejected, by id and by URL', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider();
    const { id, number } = await createIn(opened.store, `${receiver.origin}/hook`);
    await opened.store.update(APPLICATION, number, { enabled: false });
    assertRejected(await opened.send(id), 'endpoint_disabled');
    assertRejected(await opened.send(`${receiver.origin}/hook`), 'endpoint_disabled');
    assert.equal(receiver.connections, 0);
    await opened.store.update(APPLICATION, number, { enabled: true });
    assert.equal((await opened.send(id)).kind, 'sent');
  });

  test('410 switches it off', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider();
    const { id, number } = await createIn(opened.store, receiver.origin);
    receiver.answer({ status: 410, body: 'no more' });
    const outcome = await opened.send(id);
    assert.match(assertRejected(outcome, 'http_410'), /410 Gone[\s\S]*no more/);
    assert.deepEqual(outcome.note, disabledNote(id, 'gone'));
    const shown = await opened.store.get(APPLICATION, number);
    assert.deepEqual([shown?.enabled, shown?.disabledReason], [false, 'gone']);
    const later = await opened.send(id);
    assertRejected(later, 'endpoint_disabled');
    assert.equal(later.note, undefined, 'it was switched off once');
    assert.equal(receiver.requests.length, 1);
  });

  test('410 to many at once is noted by one of them', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider();
    const { id } = await createIn(opened.store, receiver.origin);
    const release = Promise.withResolvers<void>();
    receiver.answer({ status: 410, after: release.promise });
    const sending = Array.from({ length: 5 }, () => opened.send(id));
    await receiver.until(({ holding }) => holding === 5);
    release.resolve();
    const notes = (await Promise.all(sending)).map(({ note }) => note);
    assert.deepEqual(
      notes.filter((note) => note !== undefined),
      [disabledNote(id, 'gone')],
    );
  });

  test('its destination is the endpoint, or the bare URL of one application', () => {
    const destination = (address: WebhookAddress) =>
      provider.destination?.(makeDelivery(address) as Delivery<never>);
    assert.equal(destination({ endpointId: 7 }), formatId('whe', 7));
    assert.equal(
      destination({ url: 'https://a.example:8443/x?y' }),
      `${APPLICATION} https://a.example:8443/x`,
    );
    assert.notEqual(
      destination({ url: 'https://a.example/x' }),
      destination({ url: 'https://a.example/y' }),
    );
  });
});

describe('a series of failures', () => {
  test('switches the endpoint off after days without one success', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider();
    const { store, clock } = opened;
    const { id, number } = await createIn(store, receiver.origin);
    const since = new Date(clock.now()).toISOString();
    receiver.answer({ status: 503 });
    assertRetry(await opened.send(id), 'http_503');
    clock.advance(5 * DAY_MS - 1);
    assert.equal(assertRetry(await opened.send(id), 'http_503').note, undefined);
    assert.equal((await store.get(APPLICATION, number))?.failingSince, since);
    clock.advance(1);
    const outcome = await opened.send(id);
    const response = assertRejected(outcome, 'endpoint_disabled');
    assert.deepEqual(outcome.note, disabledNote(id, 'failing'));
    assert.ok(response.includes(since) && response.includes('http_503'), response);
    const shown = await store.get(APPLICATION, number);
    assert.deepEqual([shown?.enabled, shown?.disabledReason], [false, 'failing']);
    const before = receiver.requests.length;
    assertRejected(await opened.send(id), 'endpoint_disabled');
    assert.equal(receiver.requests.length, before);
    // Enabled again it starts anew.
    await store.update(APPLICATION, number, { enabled: true });
    assertRetry(await opened.send(id), 'http_503');
  });

  test('is over with a success', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider();
    const { id, number } = await createIn(opened.store, receiver.origin);
    receiver.answer({ status: 503 }, { status: 200 }, { status: 503 });
    await opened.send(id);
    opened.clock.advance(4 * DAY_MS);
    assert.equal((await opened.send(id)).kind, 'sent');
    assert.equal((await opened.store.get(APPLICATION, number))?.failingSince, null);
    opened.clock.advance(4 * DAY_MS);
    assertRetry(await opened.send(id), 'http_503');
    opened.clock.advance(4 * DAY_MS);
    assertRetry(await opened.send(id), 'http_503');
  });

  test('lasts as long as configured, and counts connections that fail', async () => {
    await using opened = await openProvider({ disableAfterMs: 60_000 });
    const { id } = await createIn(opened.store, await refusedOrigin());
    assertRetry(await opened.send(id), 'connection_refused');
    opened.clock.advance(60_000);
    assert.match(assertRejected(await opened.send(id), 'endpoint_disabled'), /connection_refused/);
  });

  test('does not count what we gave up ourselves', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider({ disableAfterMs: 60_000 });
    const { id, number } = await createIn(opened.store, receiver.origin);
    receiver.answer('hang');
    const sending = opened.send(id);
    await receiver.until(({ holding }) => holding === 1);
    await opened.account.close?.();
    assertRetry(await sending, 'aborted');
    assert.equal((await opened.store.get(APPLICATION, number))?.failingSince, null);
  });

  test('that cannot be noted down does not change what came of the attempt', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider();
    const { store, file } = opened;
    const { id, number } = await createIn(store, receiver.origin);
    const connection = file.connection();
    for (const [status, kind] of [
      [503, 'retry'],
      [410, 'rejected'],
    ] as const) {
      const release = Promise.withResolvers<void>();
      receiver.answer({ status, after: release.promise });
      const sending = opened.send(id);
      await receiver.until(({ holding }) => holding === 1);
      // The store is lost while the request is under way.
      connection.exec('ALTER TABLE webhook_endpoint RENAME TO elsewhere');
      release.resolve();
      const outcome = await sending;
      assert.ok(outcome.kind === kind && outcome.reason === `http_${status}`);
      assert.equal(outcome.note, undefined);
      connection.exec('ALTER TABLE elsewhere RENAME TO webhook_endpoint');
      assert.equal((await store.get(APPLICATION, number))?.failingSince, null);
    }
  });
});

/** An origin where nobody listens. */
async function refusedOrigin(): Promise<string> {
  const receiver: HttpReceiver = await startHttpReceiver();
  await receiver[Symbol.asyncDispose]();
  return receiver.origin;
}

describe('answers', () => {
  test('Retry-After holds the next attempt back', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider();
    const date = new Date(Math.floor(opened.clock.now() / 1000) * 1000 + 90_000);
    receiver.answer(
      { status: 429, headers: { 'retry-after': '120' } },
      { status: 503, headers: { 'retry-after': date.toUTCString() } },
    );
    assert.equal(assertRetry(await opened.send(receiver.origin), 'http_429').retryAfterMs, 120_000);
    const second = assertRetry(await opened.send(receiver.origin), 'http_503');
    assert.equal(second.retryAfterMs, date.getTime() - opened.clock.now());
  });

  test('other statuses are tried again on the schedule', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider();
    for (const status of [302, 400, 401, 404, 408, 422, 500, 502]) {
      receiver.answer({ status, headers: { location: 'http://169.254.169.254/' } });
      const outcome = assertRetry(await opened.send(receiver.origin), `http_${status}`);
      assert.equal(outcome.ambiguous ?? false, false);
    }
  });

  test('hanging, dripping and flooding end within bounds', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider({ timeoutMs: 200 });
    for (const answer of ['hang', 'drip-head'] as const) {
      receiver.answer(answer);
      assert.equal(assertRetry(await opened.send(receiver.origin), 'timeout').ambiguous, true);
    }
    for (const answer of ['drip-body', 'flood'] as const) {
      receiver.answer(answer);
      const outcome = await opened.send(receiver.origin);
      assert.equal(outcome.kind, 'sent');
      assert.match(outcome.response ?? '', /not read to its end/);
    }
    await receiver.until(({ open }) => open === 0);
  });

  test('a certificate that is not valid is explained', async () => {
    await using receiver = await startHttpReceiver({ tls: makeCertificate('127.0.0.1') });
    await using opened = await openProvider();
    assert.match(
      assertRetry(await opened.send(receiver.origin), 'tls_failure').response ?? '',
      /self-signed/,
    );
  });

  test('what a receiver repeats of our secrets is not kept', async () => {
    await using receiver = await startHttpReceiver();
    await using opened = await openProvider();
    const { id, secret } = await createIn(opened.store, receiver.origin);
    receiver.answer({ status: 500, body: `cannot verify with ${secret}` });
    const { response = '' } = await opened.send(id);
    assert.match(response, /cannot verify with whsec_\*\*\*/);
  });
});

describe('addresses that are not allowed', () => {
  test('are rejected before anything is stored or sent', async () => {
    await using internal = await startHttpReceiver();
    await using opened = await openProvider({ allowedNetworks: [] });
    const urls = [
      `http://127.0.0.1:${internal.port}/`,
      `https://127.0.0.1:${internal.port}/`,
      `https://localhost:${internal.port}/`,
      `https://2130706433:${internal.port}/`,
      'https://169.254.169.254/latest/meta-data/',
      'https://metadata.google.internal/',
      'http://example.com/',
    ];
    for (const url of urls) assertRejected(await opened.send(url), 'address_not_allowed');
    assert.deepEqual(await opened.store.list(APPLICATION, { limit: 10, before: null }), []);
    assert.equal(internal.connections, 0);
  });

  test('are rejected for an endpoint that was saved when they were allowed', async () => {
    await using internal = await startHttpReceiver();
    await using opened = await openProvider({ deniedNetworks: ['127.0.0.0/8'] });
    const { id } = await createIn(opened.store, internal.origin);
    assertRejected(await opened.send(id), 'address_not_allowed');
    assert.equal(internal.connections, 0);
  });

  test('are rejected when a name leads to them, at once or later (DNS rebinding)', async () => {
    // Closed after each answer, so that each message opens a connection and resolves the name.
    await using receiver = await startHttpReceiver({ host: '0.0.0.0', tls: certificate });
    receiver.answer({ status: 200, headers: { connection: 'close' } });
    const answers = ['127.0.0.1', '127.0.0.2', '10.0.0.1'];
    const rebinding: ResolveAll = (_hostname, _options, callback) =>
      callback(null, [{ address: answers.shift() ?? '169.254.169.254', family: 4 }]);
    await using opened = await openProvider({}, rebinding);
    assert.equal((await opened.send(receiver.origin)).kind, 'sent');
    for (let i = 0; i < 3; i++) {
      const response = assertRejected(await opened.send(receiver.origin), 'address_not_allowed');
      assert.doesNotMatch(response, /127\.0|10\.0|169\.254/);
    }
    assert.equal(receiver.connections, 1);
  });

  test('are told of when a message is accepted', () => {
    const config = { allowedNetworks: ['10.0.0.0/8'] };
    const check = (address: WebhookAddress) => provider.checkAddress?.(address as never, config);
    assert.equal(check({ url: 'https://example.com/' }), undefined);
    assert.equal(check({ url: 'http://10.0.0.1/' }), undefined);
    for (const url of ['https://127.0.0.1/', 'http://example.com/', 'https://localhost/']) {
      assert.notEqual(check({ url }) ?? '', '', url);
    }
    // Endpoints were checked when they were saved, and are again at each delivery.
    assert.equal(check({ endpointId: 7 }), undefined);
  });

  test('a network that cannot be read stops the account, by its name', () => {
    const context = {
      accountId: 'webhook',
      config: { allowedNetworks: ['10.0.0.0/33'] },
      services: {} as ProviderServices,
      clock: new ManualClock(),
    };
    assert.throws(() => provider.create(context), /allowedNetworks.*10\.0\.0\.0\/33/);
  });
});
