/** The API of notifications, driven from outside as a calling system would. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Accepted, Notification } from '@tidings/contracts/notification';
import type { HttpAnswer } from '../support/http-client.ts';
import { ADA, HELLO, inFuture, notificationApi } from '../support/notification-api.ts';
import { startTidings, type Tidings } from '../support/start.ts';
import { until } from '../support/within.ts';

let tidings: Tidings;
before(async () => {
  tidings = await startTidings({ env: { TIDINGS_DELIVERY_RETRY_DELAYS_MS: '50,50' } });
});
after(async () => {
  await tidings?.[Symbol.asyncDispose]();
});

const { post, send, outcome, timeline, refused } = notificationApi(() => tidings);

describe('sending', () => {
  it('answers 202 with ids, and 200 with the outcome to whoever waits', async () => {
    const accepted = await send({});
    assert.match(accepted.id, /^ntf_[0-9a-z]{11}$/);
    assert.deepEqual(
      accepted.messages.map(({ status }) => status),
      ['accepted'],
    );
    const done = await outcome({});
    assert.deepEqual(
      done.messages.map(({ status, channel, provider, attempts }) => [
        status,
        channel,
        provider,
        attempts,
      ]),
      [['delivered', 'email', 'capture', 1]],
    );
  });

  it('keeps everything that was asked', async () => {
    const request = {
      to: { ...ADA, name: 'Ada', locale: 'en' },
      content: { ...HELLO, text: 'Hi {{ name }}, 你好 🎉' },
      data: { name: 'Ada', 'a\nb': [1, { c: null }] },
      channels: ['email'],
      priority: 'high',
      category: 'orders',
      sendAt: inFuture(3600),
      expiresAt: inFuture(7200),
      metadata: { order: '42' },
      collapseKey: 'order-42',
    };
    const { id } = await send(request);
    const found = (await tidings.call(`/v1/notifications/${id}`)).json<Notification>();
    const { to, content, data, priority, category, metadata, collapseKey, sendAt, expiresAt } =
      found;
    assert.deepEqual(
      { to, content, data, priority, category, metadata, collapseKey, sendAt, expiresAt },
      (({ channels: _, ...rest }) => rest)(request),
    );
    assert.equal(found.messages[0]?.status, 'scheduled');
    await tidings.call(`/v1/notifications/${id}/cancel`, { method: 'POST' });
  });

  it('shows what would have been sent, where no provider is configured', async () => {
    const { id } = await outcome({
      content: { title: 'Order {{ n }}', text: 'Thanks' },
      data: { n: 7 },
    });
    const attempt = (await timeline(id)).find(({ type }) => type === 'attempt');
    assert.ok(attempt);
    assert.deepEqual((attempt.detail as { captured: { content: object } }).captured.content, {
      subject: 'Order 7',
      text: 'Thanks',
    });
  });

  it('makes a message per channel, or one that falls back along its route', async () => {
    const both = await outcome({ to: { ...ADA, userId: 'ada' }, channels: ['email', 'in_app'] });
    assert.deepEqual(both.messages.map(({ channel }) => channel).sort(), ['email', 'in_app']);
    const route = await outcome({
      to: { email: 'permanent-failure@simulate.invalid', userId: 'ada' },
      route: ['email', 'in_app'],
    });
    assert.deepEqual(
      route.messages.map(({ status, channel, attempts }) => [status, channel, attempts]),
      [['delivered', 'in_app', 2]],
    );
    const events = (await timeline(route.id)).filter(({ type }) => type === 'attempt');
    assert.deepEqual(
      events.map(({ channel, reason }) => [channel, reason]),
      [
        ['email', 'simulated_permanent_failure'],
        ['in_app', undefined],
      ],
    );
  });

  it('has addresses that stand for each outcome', async () => {
    const statuses = await Promise.all(
      ['delivered', 'temporary-failure', 'permanent-failure'].map(async (name) => {
        const [message] = (await outcome({ to: { email: `${name}@simulate.invalid` } })).messages;
        return [message?.status, message?.attempts];
      }),
    );
    assert.deepEqual(statuses, [
      ['delivered', 1],
      ['failed', 3],
      ['failed', 1],
    ]);
  });

  it('sends later, at the time that was asked', async () => {
    const sendAt = inFuture(1);
    const { id, status } = await send({ sendAt });
    assert.equal(status, 'scheduled');
    const found = await until('the scheduled message', async () => {
      const now = (await tidings.call(`/v1/notifications/${id}`)).json<Notification>();
      return now.messages[0]?.status === 'delivered' ? now : undefined;
    });
    assert.ok(Date.parse(found.messages[0]?.updatedAt ?? '') >= Date.parse(sendAt));
  });

  it('lets a message expire instead of sending it late', async () => {
    const done = await outcome({
      to: { email: 'temporary-failure@simulate.invalid' },
      expiresAt: inFuture(0.1),
    });
    assert.equal(done.messages[0]?.status, 'expired');
  });
});

describe('idempotency', () => {
  it('stores once what comes a hundred times at once with one key, and answers all alike', async () => {
    const headers = { 'idempotency-key': 'order-42-shipped' };
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => post({ to: ADA, content: HELLO }, { headers })),
    );
    assert.ok(answers.every(({ status }) => status === 202 || status === 409));
    assert.equal(
      new Set(answers.filter(({ status }) => status === 202).map(({ text }) => text)).size,
      1,
    );
    assert.equal(
      answers.filter(
        ({ headers: h, status }) => status === 202 && h['idempotency-replayed'] === undefined,
      ).length,
      1,
    );
  });

  it('takes the key quoted or bare, and keeps other keys apart', async () => {
    const ids = await Promise.all(
      ['"k-1"', 'k-1', 'K-1', 'k-2'].map(async (key) => {
        const answer = await post(
          { to: ADA, content: HELLO },
          { headers: { 'idempotency-key': key } },
        );
        return answer.json<Accepted>().id;
      }),
    );
    assert.equal(ids[0], ids[1]);
    assert.equal(new Set(ids).size, 3);
  });

  it('refuses the key for another request, and a key that is none', async () => {
    const headers = { 'idempotency-key': 'k-other' };
    await post({ to: ADA, content: HELLO }, { headers });
    const other = await post({ to: ADA, content: { title: 'Other', text: 'x' } }, { headers });
    assert.deepEqual([other.status, other.json()['code']], [422, 'idempotency_mismatch']);
    for (const key of ['', ' ', 'x'.repeat(256), 'a b', '""']) {
      const answer = await post(
        { to: ADA, content: HELLO },
        { headers: { 'idempotency-key': key } },
      );
      assert.deepEqual(
        [answer.status, answer.json()['code']],
        [400, 'invalid_idempotency_key'],
        JSON.stringify(key),
      );
    }
    assert.equal(
      (await post({ to: ADA, content: HELLO }, { headers: { 'idempotency-key': 'x'.repeat(255) } }))
        .status,
      202,
    );
  });

  it('does not remember what was refused', async () => {
    const headers = { 'idempotency-key': 'k-refused' };
    assert.equal((await post({ to: {}, content: HELLO }, { headers })).status, 400);
    assert.equal((await post({ to: ADA, content: HELLO }, { headers })).status, 202);
  });

  it('answers a wait on a replay with the outcome of the first', async () => {
    const headers = { 'idempotency-key': 'k-wait' };
    const first = await post({ to: ADA, content: HELLO }, { headers, query: '?wait=10s' });
    const again = await post({ to: ADA, content: HELLO }, { headers, query: '?wait=10s' });
    assert.deepEqual([again.status, again.json()], [200, first.json()]);
  });
});

describe('after sending', () => {
  it('cancels what waits, and says when there is nothing to cancel', async () => {
    const { id } = await send({ sendAt: inFuture(3600) });
    const cancel = (): Promise<HttpAnswer> =>
      tidings.call(`/v1/notifications/${id}/cancel`, { method: 'POST' });
    assert.equal((await cancel()).json<Notification>().messages[0]?.status, 'cancelled');
    assert.equal((await cancel()).status, 200, 'twice is the same');
    const gone = await outcome({});
    assert.equal(
      (await tidings.call(`/v1/notifications/${gone.id}/cancel`, { method: 'POST' })).status,
      409,
    );
  });

  it('resends as a new notification that names the old one', async () => {
    const first = await outcome({ metadata: { n: '1' } });
    const again = await tidings.call(`/v1/notifications/${first.id}/resend?wait=10s`, {
      method: 'POST',
      headers: { 'idempotency-key': 'again' },
    });
    assert.equal(again.status, 200, again.text);
    const second = again.json<Notification>();
    assert.notEqual(second.id, first.id);
    assert.deepEqual(
      [second.resendOf, second.metadata, second.messages[0]?.status],
      [first.id, { n: '1' }, 'delivered'],
    );
    const replay = await tidings.call(`/v1/notifications/${first.id}/resend`, {
      method: 'POST',
      headers: { 'idempotency-key': 'again' },
    });
    assert.equal(replay.json<Accepted>().id, second.id);
  });

  it('deletes what has ended, and nothing that has not', async () => {
    const done = await outcome({});
    const waiting = await send({ sendAt: inFuture(3600) });
    const remove = (id: string): Promise<HttpAnswer> =>
      tidings.call(`/v1/notifications/${id}`, { method: 'DELETE' });
    assert.equal((await remove(done.id)).status, 204);
    assert.equal((await tidings.call(`/v1/notifications/${done.id}`)).status, 404);
    assert.equal((await remove(done.id)).status, 404);
    assert.equal((await remove(waiting.id)).status, 409);
    await tidings.call(`/v1/notifications/${waiting.id}/cancel`, { method: 'POST' });
    assert.equal((await remove(waiting.id)).status, 204);
  });

  it('tells every attempt, with what was answered', async () => {
    const { id } = await outcome({ to: { email: 'temporary-failure@simulate.invalid' } });
    const events = await timeline(id);
    assert.deepEqual(
      events.map(({ type }) => type),
      ['accepted', 'attempt', 'attempt', 'attempt'],
    );
    assert.deepEqual(
      events
        .slice(1)
        .map(({ attempt, reason, response, status }) => [attempt, reason, response, status]),
      [
        [1, 'simulated_temporary_failure', 'simulated', 'accepted'],
        [2, 'simulated_temporary_failure', 'simulated', 'accepted'],
        [3, 'simulated_temporary_failure', 'simulated', 'failed'],
      ],
    );
  });

  it('gives dead letters new attempts', async () => {
    const { messages } = await outcome({ to: { email: 'temporary-failure@simulate.invalid' } });
    const id = messages[0]?.id;
    const letters = (await tidings.call('/v1/dead-letters?channel=email')).json<{
      items: { id: string }[];
    }>().items;
    assert.ok(letters.some((letter) => letter.id === id));
    const redrive = await tidings.call('/v1/dead-letters/redrive', {
      method: 'POST',
      body: { messages: [id], ratePerSecond: 100 },
    });
    assert.deepEqual([redrive.status, redrive.json()], [202, { taken: 1 }]);
    await until('the attempts of the redrive', async () => {
      const answer = await tidings.call(`/v1/notifications/${messages[0]?.notificationId}`);
      return answer.json<Notification>().messages[0]?.attempts === 6 || undefined;
    });
    const events = await timeline(messages[0]?.notificationId as string);
    assert.ok(events.some(({ type }) => type === 'redriven'));
  });

  it('gives all dead letters new attempts only when that is said', async () => {
    const { messages } = await outcome({ to: { email: 'permanent-failure@simulate.invalid' } });
    const redrive = (body: object): Promise<HttpAnswer> =>
      tidings.call('/v1/dead-letters/redrive', { method: 'POST', body });
    for (const [body, path] of [
      [{}, 'body'],
      [{ ratePerSecond: 1 }, 'body'],
      [{ all: false }, 'body'],
      [{ all: true, channel: 'email' }, 'body.all'],
      [{ all: 'yes' }, 'body.all'],
      [{ from: inFuture(60), to: inFuture(0) }, 'body.from'],
      [{ channel: 'email', to: '2026-06-30T23:59:60Z' }, 'body.to'],
    ] as const) {
      const answer = await redrive(body);
      assert.equal(answer.status, 400, answer.text);
      assert.equal(answer.json<{ errors: { path: string }[] }>().errors[0]?.path, path);
    }
    const one = `/v1/notifications/${messages[0]?.notificationId}`;
    const attempts = async () =>
      (await tidings.call(one)).json<Notification>().messages[0]?.attempts;
    assert.equal(await attempts(), 1, 'nothing was taken');
    const taken = (await redrive({ all: true, ratePerSecond: 10_000 })).json()['taken'];
    assert.ok(Number(taken) >= 1);
    await until('another attempt', async () => (await attempts()) === 2 || undefined);
  });
});

describe('test keys', () => {
  it('capture what they send, also where a provider would send it', async () => {
    const created = await tidings.call('/v1/api-keys', {
      method: 'POST',
      body: { kind: 'test', name: 'ci' },
    });
    assert.equal(created.status, 201, created.text);
    const { secret } = created.json<{ secret: string }>();
    const headers = { authorization: `Bearer ${secret}` };
    const answer = await post(
      {
        to: { userId: 'grace', webhook: 'https://example.com/hook' },
        content: HELLO,
        channels: ['in_app', 'webhook'],
      },
      { headers, query: '?wait=20s' },
    );
    const found = answer.json<Notification>();
    assert.deepEqual([answer.status, found.test], [200, true], answer.text);
    assert.deepEqual(
      found.messages.map(({ status, provider }) => [status, provider]),
      [
        ['delivered', 'capture'],
        ['delivered', 'capture'],
      ],
    );
  });
});

describe('a request that is sent again', () => {
  it('is answered as before, also when it would be refused by now', async () => {
    const headers = { 'idempotency-key': 'again-after-its-time' };
    const request = { to: ADA, content: HELLO, expiresAt: inFuture(1) };
    const first = await post(request, { headers });
    assert.equal(first.status, 202, first.text);
    await until('its time to pass', () => Date.parse(request.expiresAt) < Date.now());
    const again = await post(request, { headers });
    assert.equal(again.status, 202, again.text);
    assert.equal(again.json<Accepted>().id, first.json<Accepted>().id);
    assert.equal(again.headers['idempotency-replayed'], 'true');
    const other = await post({ ...request, priority: 'high' }, { headers });
    assert.equal(other.status, 422, other.text);
    await refused(request, 400, 'invalid_time', 'body.expiresAt');
  });
});

describe('changing what was sent', () => {
  it('is not for test keys, unless they have sent it', async () => {
    const made = await tidings.call('/v1/api-keys', {
      body: { kind: 'test', scopes: ['send', 'read', 'manage'] },
    });
    const headers = { authorization: `Bearer ${made.json<{ secret: string }>().secret}` };
    const asTest = (path: string, method: string, body?: object) =>
      tidings.call(path, { method, headers, ...(body && { body }) });
    const live = await send({ sendAt: inFuture(3600) });
    const path = `/v1/notifications/${live.id}`;
    const tried = [
      await asTest(path, 'PATCH', { priority: 'high' }),
      await asTest(`${path}/cancel`, 'POST'),
      await asTest(path, 'DELETE'),
      await asTest('/v1/dead-letters/redrive', 'POST', { all: true }),
    ];
    assert.deepEqual(
      tried.map(({ status }) => status),
      [403, 403, 403, 403],
    );
    const own = await post({ to: ADA, content: HELLO, sendAt: inFuture(3600) }, { headers });
    const { id } = own.json<Accepted>();
    assert.equal((await asTest(`/v1/notifications/${id}/cancel`, 'POST')).status, 200);
    assert.equal((await tidings.call(`${path}/cancel`, { method: 'POST' })).status, 200);
  });

  it('resends what was sent, as it was, and not what is still to come', async () => {
    const later = await send({ sendAt: inFuture(3600) });
    const early = await tidings.call(`/v1/notifications/${later.id}/resend`, { method: 'POST' });
    assert.equal(early.status, 409, early.text);
    await tidings.call(`/v1/notifications/${later.id}/cancel`, { method: 'POST' });
    const { id } = await outcome({});
    const path = `/v1/notifications/${id}/resend`;
    const other = await tidings.call(path, { body: { to: { email: 'eve@example.com' } } });
    assert.equal(other.status, 400);
    assert.equal(other.json<{ errors: { path: string }[] }>().errors[0]?.path, 'body.to');
    assert.equal((await tidings.call(path, { method: 'POST' })).status, 202);
  });

  it('is read by the id of a message as well', async () => {
    const { id, messages } = await outcome({});
    const path = `/v1/notifications/${messages[0]?.id}`;
    assert.equal((await tidings.call(path)).json<Notification>().id, id);
    assert.ok((await timeline(messages[0]?.id as string)).length > 0);
    assert.equal((await tidings.call('/v1/notifications/msg_00000000001')).status, 404);
    assert.equal((await tidings.call(path, { method: 'DELETE' })).status, 400);
  });
});

describe('the ledger', () => {
  it('adds up in the end', async () => {
    const ledger = await until('every message to end', async () => {
      const now = await tidings.ledger();
      return now.pending === 0 ? now : undefined;
    });
    const { accepted, delivered, failed, expired, suppressed, cancelled, pending } = ledger;
    console.log(JSON.stringify(ledger));
    assert.equal(accepted, delivered + failed + expired + suppressed + cancelled + pending);
    assert.equal(ledger.balanced, true);
    assert.ok(accepted > 0 && failed > 0 && expired > 0 && cancelled > 0);
  });
});
