/** Webhooks from the API to real receivers, honest and hostile, verified with the library of the standard. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { Message, Notification, TimelineEvent } from '@tidings/contracts/notification';
import type {
  WebhookEndpoint,
  WebhookEndpointWithSecret,
} from '@tidings/contracts/webhook-endpoint';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { Webhook } from 'standardwebhooks';
import {
  type HttpReceiver,
  type ReceivedRequest,
  startHttpReceiver,
} from '../support/http-receiver.ts';
import { assertProblem } from '../support/problem.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';
import { until, within } from '../support/within.ts';

const HELLO = { title: 'Order 42', text: 'It has shipped.' };
const ALLOWED = { TIDINGS_WEBHOOK_HTTP_ALLOWED_NETWORKS: '127.0.0.0/8' };

let tidings: Tidings;
let receiver: HttpReceiver;
before(async () => {
  tidings = await startTidings({
    env: {
      ...PATIENT,
      ...ALLOWED,
      TIDINGS_WEBHOOK_HTTP_TIMEOUT_MS: '1000',
      TIDINGS_DELIVERY_RETRY_DELAYS_MS: '50,50,50',
    },
  });
});
after(async () => {
  await tidings?.[Symbol.asyncDispose]();
});
beforeEach(async (context) => {
  // Each test has a receiver, and so a destination, of its own.
  receiver = await startHttpReceiver();
  (context as { after(fn: () => Promise<void>): void }).after(async () => {
    await receiver[Symbol.asyncDispose]();
  });
});

async function createEndpoint(
  path = '/hook',
  body: object = {},
): Promise<WebhookEndpointWithSecret> {
  const url = `${receiver.origin}${path}`;
  const answer = await tidings.call('/v1/webhook-endpoints', { body: { url, ...body } });
  assert.equal(answer.status, 201, answer.text);
  return answer.json<WebhookEndpointWithSecret>();
}

async function endpointOf(id: string): Promise<WebhookEndpoint> {
  return (await tidings.call(`/v1/webhook-endpoints/${id}`)).json<WebhookEndpoint>();
}

async function send(to: string, body: object = {}): Promise<Notification> {
  const answer = await tidings.call('/v1/notifications?wait=30s', {
    body: { to: { webhook: to }, content: HELLO, ...body },
  });
  assert.equal(answer.status, 200, answer.text);
  return answer.json<Notification>();
}

async function accept(to: string): Promise<string> {
  const answer = await tidings.call('/v1/notifications', {
    body: { to: { webhook: to }, content: HELLO },
  });
  assert.equal(answer.status, 202, answer.text);
  return answer.json<{ id: string }>().id;
}

async function read(id: string): Promise<Message> {
  const found = await tidings.call(`/v1/notifications/${id}`);
  return found.json<Notification>().messages[0] as Message;
}

async function timelineOf(id: string): Promise<TimelineEvent[]> {
  const answer = await tidings.call(`/v1/notifications/${id}/timeline`);
  return answer.json<{ items: TimelineEvent[] }>().items;
}

async function attemptsOf(id: string): Promise<TimelineEvent[]> {
  return (await timelineOf(id)).filter(({ type }) => type === 'attempt');
}

/** What the timeline says of the switching off of endpoints, and that it comes right behind the attempt. */
async function disablingsOf(id: string): Promise<Partial<TimelineEvent>[]> {
  const events = await timelineOf(id);
  return events.flatMap(({ type, messageId, channel, reason, detail }, i) => {
    if (type !== 'endpoint_disabled') return [];
    assert.equal(events[i - 1]?.type, 'attempt');
    assert.equal(events[i - 1]?.messageId, messageId);
    return [{ channel, reason, detail }];
  });
}

function verify(request: ReceivedRequest | undefined, secret: string): Record<string, unknown> {
  assert.ok(request);
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
  );
  return new Webhook(secret).verify(request.body.toString(), headers) as Record<string, unknown>;
}

describe('a webhook', () => {
  it('is signed by the standard, and says what happened', async () => {
    const endpoint = await createEndpoint();
    const { id, messages, createdAt } = await send(endpoint.id, {
      category: 'order.shipped',
      metadata: { order: '42' },
      content: { payload: { order: 42, name: '你好 🎉' } },
    });
    assert.deepEqual(
      messages.map(({ status, provider, attempts }) => [status, provider, attempts]),
      [['delivered', 'webhook-http', 1]],
    );
    const [request] = receiver.requests;
    assert.deepEqual([request?.method, request?.path], ['POST', '/hook']);
    assert.equal(request?.headers['content-type'], 'application/json');
    assert.equal(request?.headers['webhook-id'], messages[0]?.id);
    assert.equal(request?.headers.authorization, undefined, 'no key of ours goes out');
    const { type, timestamp, notificationId, metadata, data } = verify(request, endpoint.secret);
    assert.deepEqual(
      { type, timestamp, notificationId, metadata, data },
      {
        type: 'order.shipped',
        timestamp: createdAt,
        notificationId: id,
        metadata: { order: '42' },
        data: { order: 42, name: '你好 🎉' },
      },
    );
    assert.throws(() => verify(request, `whsec_${Buffer.alloc(32).toString('base64')}`));
    const forged = { ...request, body: Buffer.from('{}') } as ReceivedRequest;
    assert.throws(() => verify(forged, endpoint.secret));
  });

  it('is the same on every attempt', async () => {
    const endpoint = await createEndpoint();
    receiver.answer({ status: 500 }, 'reset-after-reading', { status: 404 }, { status: 204 });
    const { id, messages } = await send(endpoint.id);
    assert.deepEqual([messages[0]?.status, messages[0]?.attempts], ['delivered', 4]);
    assert.equal(receiver.requests.length, 4);
    assert.equal(new Set(receiver.requests.map(({ body }) => body.toString())).size, 1);
    assert.equal(new Set(receiver.requests.map(({ headers }) => headers['webhook-id'])).size, 1);
    for (const request of receiver.requests) verify(request, endpoint.secret);
    assert.deepEqual(
      (await attemptsOf(id)).map(({ reason, status }) => [reason, status]).slice(0, 3),
      [
        ['http_500', 'accepted'],
        ['connection_reset', 'accepted'],
        ['http_404', 'accepted'],
      ],
    );
    assert.equal(
      (await endpointOf(endpoint.id)).failingSince,
      null,
      'the success ended the series',
    );
  });

  it('is signed with both secrets while one is replaced', async () => {
    const endpoint = await createEndpoint();
    const rotate = async (body?: object): Promise<string> => {
      const path = `/v1/webhook-endpoints/${endpoint.id}/rotate-secret`;
      const answer = await tidings.call(path, { method: 'POST', ...(body ? { body } : {}) });
      assert.equal(answer.status, 200, answer.text);
      return answer.json<WebhookEndpointWithSecret>().secret;
    };
    const second = await rotate();
    assert.notEqual(second, endpoint.secret);
    assert.equal((await endpointOf(endpoint.id)).secrets, 2);
    await send(endpoint.id);
    for (const secret of [endpoint.secret, second]) verify(receiver.requests[0], secret);
    const third = await rotate({ keepPreviousForSeconds: 0 });
    await send(endpoint.id);
    verify(receiver.requests[1], third);
    assert.throws(() => verify(receiver.requests[1], endpoint.secret));
    assert.throws(() => verify(receiver.requests[1], second));
    const chosen = `whsec_${Buffer.alloc(24, 7).toString('base64')}`;
    assert.equal(await rotate({ secret: chosen, keepPreviousForSeconds: 0 }), chosen);
    await send(endpoint.id);
    verify(receiver.requests[2], chosen);
  });

  it('goes to a URL without more ado, and makes it an endpoint', async () => {
    const url = `${receiver.origin}/inline?shop=1`;
    for (let i = 0; i < 2; i++) assert.equal((await send(url)).messages[0]?.status, 'delivered');
    assert.deepEqual(
      receiver.requests.map(({ path }) => path),
      ['/inline?shop=1', '/inline?shop=1'],
    );
    const { items } = (await tidings.call('/v1/webhook-endpoints?limit=200')).json<{
      items: WebhookEndpoint[];
    }>();
    const made = items.filter((endpoint) => endpoint.url === url);
    assert.equal(made.length, 1, 'one for both');
    const rotated = await tidings.call(`/v1/webhook-endpoints/${made[0]?.id}/rotate-secret`, {
      body: { keepPreviousForSeconds: 0 },
    });
    await send(url);
    verify(receiver.requests[2], rotated.json<WebhookEndpointWithSecret>().secret);
    const list = await tidings.call('/v1/notifications?channel=webhook&limit=1');
    assert.ok(!list.text.includes('shop=1'), 'a URL may hold a key: lists do not show it whole');
  });
});

describe('an endpoint', () => {
  it('that says it is gone is asked no more, and the timeline says why', async () => {
    const endpoint = await createEndpoint();
    receiver.answer({ status: 410 });
    const { id, messages } = await send(endpoint.id);
    assert.deepEqual([messages[0]?.status, messages[0]?.reason], ['failed', 'http_410']);
    const [attempt] = await attemptsOf(id);
    assert.deepEqual([attempt?.reason, attempt?.status], ['http_410', 'failed']);
    assert.match(attempt?.response ?? '', /410 Gone/);
    const disabled = await endpointOf(endpoint.id);
    assert.deepEqual([disabled.enabled, disabled.disabledReason], [false, 'gone']);
    assert.deepEqual(await disablingsOf(id), [
      { channel: 'webhook', reason: 'gone', detail: { endpointId: endpoint.id } },
    ]);
    receiver.answer({ status: 200 });
    const after = await send(endpoint.id);
    assert.deepEqual(
      [after.messages[0]?.status, after.messages[0]?.reason],
      ['failed', 'endpoint_disabled'],
    );
    assert.equal((await attemptsOf(after.id))[0]?.reason, 'endpoint_disabled');
    assert.deepEqual(await disablingsOf(after.id), [], 'it was switched off before');
    assert.equal(receiver.requests.length, 1);
    const enabled = await tidings.call(`/v1/webhook-endpoints/${endpoint.id}`, {
      method: 'PATCH',
      body: { enabled: true },
    });
    assert.equal(enabled.json<WebhookEndpoint>().disabledReason, null);
    assert.equal((await send(endpoint.id)).messages[0]?.status, 'delivered');
  });

  it('that has failed for days is switched off, and the timeline says when and why', async () => {
    const endpoint = await createEndpoint();
    receiver.answer({ status: 503 });
    await send(endpoint.id);
    await tidings.stop();
    const records = new DatabaseSync(join(tidings.dataDir, 'records.db'));
    // The series of failures began five days before it did.
    records.exec(`UPDATE webhook_endpoint SET failing_since = failing_since - 5 * 86400000
      WHERE failing_since IS NOT NULL`);
    records.close();
    await tidings.restart();
    const { id, messages } = await send(endpoint.id);
    assert.deepEqual([messages[0]?.status, messages[0]?.reason], ['failed', 'endpoint_disabled']);
    assert.match((await attemptsOf(id))[0]?.response ?? '', /failing since .* http_503/);
    assert.deepEqual(await disablingsOf(id), [
      { channel: 'webhook', reason: 'failing', detail: { endpointId: endpoint.id } },
    ]);
    const { enabled, disabledReason } = await endpointOf(endpoint.id);
    assert.deepEqual([enabled, disabledReason], [false, 'failing']);
  });

  it('that an operator switches off or deletes gets nothing', async () => {
    const endpoint = await createEndpoint();
    const path = `/v1/webhook-endpoints/${endpoint.id}`;
    await tidings.call(path, { method: 'PATCH', body: { enabled: false } });
    assert.equal((await send(endpoint.id)).messages[0]?.reason, 'endpoint_disabled');
    assert.equal((await tidings.call(path, { method: 'DELETE' })).status, 204);
    assert.equal((await send(endpoint.id)).messages[0]?.reason, 'endpoint_unknown');
    assert.equal(receiver.connections, 0);
  });

  it('that sends elsewhere is not followed', async () => {
    await using elsewhere = await startHttpReceiver();
    const endpoint = await createEndpoint();
    for (const status of [301, 302, 303, 307, 308]) {
      receiver.answer({ status, headers: { location: `${elsewhere.origin}/secret?token=x` } });
      const { id, messages } = await send(endpoint.id);
      assert.deepEqual([messages[0]?.status, messages[0]?.reason], ['failed', `http_${status}`]);
      const attempts = await attemptsOf(id);
      assert.equal(attempts.length, 4, 'it may be mended meanwhile');
      assert.ok(!attempts[0]?.response?.includes('token=x'));
      // A series of failures opens the breaker; each status is asked with a fresh count.
      receiver.answer({ status: 200 });
      await send(endpoint.id);
    }
    assert.equal(elsewhere.connections, 0);
  });

  it('that asks for time gets it', async () => {
    const endpoint = await createEndpoint();
    const arrivals: number[] = [];
    receiver.answer({ status: 503, headers: { 'retry-after': '2' } }, { status: 200 });
    const id = await accept(endpoint.id);
    for (const count of [1, 2]) {
      await within(
        40,
        `request ${count}`,
        receiver.until(({ requests }) => requests.length >= count),
      );
      arrivals.push(performance.now());
    }
    const waited = (arrivals[1] as number) - (arrivals[0] as number);
    // The wait is counted from when the answer was read, a little after the request came.
    assert.ok(waited >= 1990, `${waited} ms`);
    await until('the delivery', async () => (await read(id)).status === 'delivered');
    const [first] = await attemptsOf(id);
    assert.equal(first?.reason, 'http_503');
    const asked =
      Date.parse(String(first?.detail?.['nextAttemptAt'])) - Date.parse(String(first?.at));
    assert.ok(asked >= 2000, `${asked} ms`);
  });

  it('that asks for time is not asked for another message either', async () => {
    const endpoint = await createEndpoint();
    receiver.answer({ status: 429, headers: { 'retry-after': '2' } }, { status: 200 });
    const first = await accept(endpoint.id);
    await until('the refusal', async () => (await attemptsOf(first)).length > 0);
    const refusedAt = performance.now();
    const others = await Promise.all(Array.from({ length: 10 }, () => accept(endpoint.id)));
    await within(
      40,
      'the next request',
      receiver.until(({ requests }) => requests.length > 1),
    );
    // What was noted here of the refusal is later than the refusal itself.
    assert.ok(performance.now() - refusedAt >= 1000);
    for (const id of [first, ...others]) {
      await until('the delivery', async () => (await read(id)).status === 'delivered');
      if (id !== first) assert.equal((await read(id)).attempts, 1, 'waiting is no attempt');
    }
    assert.equal(receiver.requests.length, 12);
  });

  it('that fails again and again is left alone, and no other with it', async () => {
    await using healthy = await startHttpReceiver();
    const broken = await createEndpoint();
    const url = `${healthy.origin}/hook`;
    const good = (
      await tidings.call('/v1/webhook-endpoints', { body: { url } })
    ).json<WebhookEndpoint>();
    // The same host and port as the broken one, and yet another endpoint.
    const neighbour = await createEndpoint('/neighbour');
    receiver.answer({ status: 500 });
    for (let i = 0; i < 3; i++) await accept(broken.id);
    // Three messages with four attempts each: more than the breaker takes, fewer than 20.
    await within(
      30,
      'failures',
      receiver.until(({ requests }) => requests.length >= 10),
    );
    const metric = async () =>
      /^tidings_open_destinations\b.*webhook.* ([0-9]+)$/m.exec(
        (await tidings.call('/metrics')).text,
      )?.[1];
    const before = receiver.requests.length;
    const waiting = await Promise.all(Array.from({ length: 30 }, () => accept(broken.id)));
    const others = await Promise.all(Array.from({ length: 20 }, () => send(good.id)));
    assert.ok(others.every(({ messages }) => messages[0]?.status === 'delivered'));
    assert.equal(healthy.requests.length, 20);
    assert.ok(
      receiver.requests.length <= 20,
      `${receiver.requests.length} requests, ${before} before`,
    );
    assert.ok((await metric()) === undefined || (await metric()) !== '0');
    receiver.answer({ status: 200 });
    assert.equal((await send(neighbour.id)).messages[0]?.status, 'delivered');
    for (const id of waiting) {
      const message = await until('the delivery', async () => {
        const now = await read(id);
        return now.nextAttemptAt === null && now.status !== 'sending' ? now : undefined;
      });
      assert.deepEqual([message.status, message.attempts], ['delivered', 1]);
    }
  });

  it('that answers without end costs nothing', async () => {
    const endpoint = await createEndpoint();
    const before = tidings.residentBytes();
    receiver.answer('flood');
    assert.equal((await send(endpoint.id)).messages[0]?.status, 'delivered', '200 is 200');
    await within(
      30,
      'the end of the flood',
      receiver.until(({ open }) => open === 0),
    );
    assert.ok(receiver.bytesFlooded < 32 * 1024 * 1024, `${receiver.bytesFlooded}`);
    assert.ok(tidings.residentBytes() - before < 32 * 1024 * 1024);
    for (const answer of ['drip-head', 'hang', 'garbage', 'upgrade', 'reset-on-connect'] as const) {
      receiver.answer(answer, { status: 200 });
      const { id, messages } = await send(endpoint.id);
      assert.equal(messages[0]?.status, 'delivered', answer);
      const [first] = await attemptsOf(id);
      assert.ok(first?.reason, answer);
    }
    await within(
      30,
      'all connections to end',
      receiver.until(({ holding }) => holding === 0),
    );
  });
});

describe('the body and the headers', () => {
  it('are those that the document tells receivers of', async () => {
    const { webhooks, components } = (await tidings.call('/openapi.json')).json<{
      webhooks: Record<string, { post: { parameters: Record<string, unknown>[] } }>;
      components: { schemas: Record<string, object> };
    }>();
    const check = new Ajv2020({ strict: false, validateFormats: false }).compile({
      ...components.schemas['WebhookMessage'],
      // So that nothing is sent which is not described.
      additionalProperties: false,
    });
    const headers = webhooks['message']?.post.parameters.map(({ name }) => name);
    const endpoint = await createEndpoint();
    await tidings.call('/v1/users/ada', { method: 'PUT', body: {} });
    await send(endpoint.id);
    await send(endpoint.id, {
      to: { userId: 'ada', webhook: endpoint.id },
      channels: ['webhook'],
      category: 'order.shipped',
      collapseKey: 'order-42',
      metadata: { order: '42' },
    });
    assert.equal(receiver.requests.length, 2);
    for (const request of receiver.requests) {
      const body = verify(request, endpoint.secret);
      assert.ok(check(body), JSON.stringify([check.errors, body]));
      const sent = Object.keys(request.headers).filter((name) => name.startsWith('webhook-'));
      assert.deepEqual(sent.sort(), headers?.toSorted());
    }
    const names = Object.keys(verify(receiver.requests[1], endpoint.secret)).sort();
    const { properties } = components.schemas['WebhookMessage'] as { properties: object };
    assert.deepEqual(names, Object.keys(properties).sort(), 'all that is described is sent');
  });
});

describe('the inside', () => {
  /** Addresses that no caller may reach, in the spellings that parsers forgive. */
  const INSIDE = [
    'http://127.0.0.1/',
    'https://127.0.0.1/',
    'https://127.1/',
    'https://2130706433/',
    'https://0x7f.0.0.1/',
    'https://0177.0.0.1/',
    'https://①②⑦.⓪.⓪.①/',
    'https://0/',
    'https://0.0.0.0/',
    'https://localhost/',
    'https://localhost./',
    'https://LOCALHOST/',
    'https://a.localhost/',
    'https://10.0.0.1/',
    'https://172.16.0.1/',
    'https://192.168.1.1/',
    'https://100.64.0.1/',
    'https://169.254.169.254/latest/meta-data/',
    'https://metadata.google.internal/',
    'https://168.63.129.16/',
    'https://[::1]/',
    'https://[::]/',
    'https://[::ffff:127.0.0.1]/',
    'https://[::ffff:7f00:1]/',
    'https://[64:ff9b::7f00:1]/',
    'https://[2002:7f00:1::]/',
    'https://[fe80::1]/',
    'https://[fd00::1]/',
    'https://192.0.2.1/',
    'https://224.0.0.1/',
    'https://255.255.255.255/',
    'https://internal/',
    'https://db.internal/',
    'https://printer.local/',
    'http://example.com/',
    'https://example.com:22/',
    'https://user:pass@example.com/',
    'https://example.com/#x',
    'ftp://example.com/',
    'file:///etc/passwd',
    'javascript:alert(1)',
    'gopher://example.com/',
    '//example.com/',
    'https:example.com',
    'https://exa mple.com/',
    'https://example.com\\@127.0.0.1/',
    'https://127.0.0.1\\@example.com/',
    'https://',
    'x',
  ];

  it('is not reached where nothing allows it, whoever asks', async () => {
    await using closed = await startTidings({
      env: { ...PATIENT, TIDINGS_DELIVERY_RETRY_DELAYS_MS: '20' },
    });
    const saved = await closed.call('/v1/webhook-endpoints', {
      body: { url: 'https://hooks.example.com/x' },
    });
    assert.equal(saved.status, 201, saved.text);
    const { id } = saved.json<WebhookEndpoint>();
    const inside = [`${receiver.origin}/hook`, receiver.origin.replace('http', 'https'), ...INSIDE];
    for (const url of inside) {
      for (const [method, path] of [
        ['POST', '/v1/webhook-endpoints'],
        ['PATCH', `/v1/webhook-endpoints/${id}`],
      ] as const) {
        const problem = assertProblem(await closed.call(path, { method, body: { url } }), 422, url);
        assert.equal(problem.code, 'forbidden_url', url);
        const about = /^https:\/\/|^http:\/\/127/.test(url) ? undefined : /^(Write|Without TLS)/;
        if (about) assert.match(problem.hint ?? '', about, url);
        assert.deepEqual(
          problem.errors?.map((error) => error.path),
          ['body.url'],
          url,
        );
      }
      const answer = await closed.call('/v1/notifications?wait=20s', {
        body: { to: { webhook: url }, content: HELLO },
      });
      if (answer.status !== 200) {
        assertProblem(answer, [400, 422], url);
        continue;
      }
      const [message] = answer.json<Notification>().messages;
      assert.deepEqual([message?.status, message?.reason], ['failed', 'address_not_allowed'], url);
    }
    const { items } = (await closed.call('/v1/webhook-endpoints')).json<{
      items: WebhookEndpoint[];
    }>();
    assert.deepEqual(
      items.map(({ url }) => url),
      ['https://hooks.example.com/x'],
      'what is refused leaves nothing behind',
    );
    assert.equal(receiver.connections, 0);
  });

  it('is not reached either once it is allowed no more', async () => {
    await using service = await startTidings({ env: { ...PATIENT, ...ALLOWED } });
    const url = `${receiver.origin}/hook`;
    const created = await service.call('/v1/webhook-endpoints', { body: { url } });
    const { id } = created.json<WebhookEndpoint>();
    const outcome = async (): Promise<Message> => {
      const answer = await service.call('/v1/notifications?wait=20s', {
        body: { to: { webhook: id }, content: HELLO },
      });
      return answer.json<Notification>().messages[0] as Message;
    };
    assert.equal((await outcome()).status, 'delivered');
    const { connections } = receiver;
    await service.stop();
    await service.restart({ env: { ...PATIENT } });
    const { status, reason, attempts } = await outcome();
    assert.deepEqual([status, reason, attempts], ['failed', 'address_not_allowed', 1]);
    assert.equal(receiver.connections, connections, 'nothing connected');
    await service.stop();
    await service.restart({
      env: { ...PATIENT, ...ALLOWED, TIDINGS_WEBHOOK_HTTP_DENIED_NETWORKS: '127.0.0.1/32' },
    });
    assert.equal((await outcome()).reason, 'address_not_allowed', 'what is denied wins');
    assert.equal(receiver.connections, connections);
  });

  it('says nothing of itself in a refusal', async () => {
    // Nobody listens there: an answer that told it would be a port scan for everybody.
    const { port } = receiver;
    await receiver[Symbol.asyncDispose]();
    const { id, messages } = await send(`http://127.0.0.1:${port}/`);
    assert.equal(messages[0]?.status, 'failed');
    for (const { response = '' } of await attemptsOf(id)) {
      assert.doesNotMatch(response, /127\.0\.0\.1|ECONNREFUSED/);
    }
  });
});
