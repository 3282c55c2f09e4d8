/** The API of notifications, driven from outside as a calling system would. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Accepted, Notification, TimelineEvent } from '@tidings/contracts/notification';
import type { HttpAnswer } from '../support/http-client.ts';
import { startTidings, type Tidings } from '../support/start.ts';
import { until } from '../support/within.ts';

const HELLO = { title: 'Hello', text: 'Your order has shipped.' };
const ADA = { email: 'ada@example.com' };

let tidings: Tidings;
before(async () => {
  tidings = await startTidings({ env: { TIDINGS_DELIVERY_RETRY_DELAYS_MS: '50,50' } });
});
after(async () => {
  await tidings?.[Symbol.asyncDispose]();
});

function post(
  body: unknown,
  { query = '', headers = {} }: { query?: string; headers?: Record<string, string> } = {},
): Promise<HttpAnswer> {
  return tidings.call(`/v1/notifications${query}`, { method: 'POST', body, headers });
}

async function send(body: object): Promise<Accepted> {
  const answer = await post({ content: HELLO, to: ADA, ...body });
  assert.equal(answer.status, 202, answer.text);
  return answer.json<Accepted>();
}

async function outcome(body: object): Promise<Notification> {
  const answer = await post({ content: HELLO, to: ADA, ...body }, { query: '?wait=20s' });
  assert.equal(answer.status, 200, answer.text);
  return answer.json<Notification>();
}

async function timeline(id: string): Promise<TimelineEvent[]> {
  return (await tidings.call(`/v1/notifications/${id}/timeline`)).json<{ items: TimelineEvent[] }>()
    .items;
}

function inFuture(seconds: number): string {
  return new Date(Date.now() + seconds * 1000).toISOString();
}

async function refused(
  body: unknown,
  status: number,
  code: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<void> {
  const answer = await post(body, { headers });
  const problem = answer.json<{ code: string; errors?: { path: string }[]; request_id: string }>();
  assert.deepEqual([answer.status, problem.code], [status, code], answer.text);
  assert.match(String(answer.headers['content-type']), /^application\/problem\+json/);
  assert.ok(
    problem.errors?.some((error) => error.path === path),
    `${path} in ${answer.text}`,
  );
  assert.ok(problem.request_id);
}

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
  it('edits a scheduled notification, and none that has gone', async () => {
    const { id } = await send({ sendAt: inFuture(3600) });
    const edited = await tidings.call(`/v1/notifications/${id}`, {
      method: 'PATCH',
      body: {
        content: { title: 'New', text: 'text' },
        priority: 'high',
        sendAt: inFuture(7200),
        metadata: { a: 'b' },
      },
    });
    assert.equal(edited.status, 200, edited.text);
    const found = edited.json<Notification>();
    assert.deepEqual(
      [found.content, found.priority, found.metadata],
      [{ title: 'New', text: 'text' }, 'high', { a: 'b' }],
    );
    assert.ok((await timeline(id)).some(({ type }) => type === 'edited'));
    const gone = await outcome({});
    const late = await tidings.call(`/v1/notifications/${gone.id}`, {
      method: 'PATCH',
      body: { priority: 'low' },
    });
    assert.deepEqual([late.status, late.json()['code']], [409, 'conflict']);
    await tidings.call(`/v1/notifications/${id}/cancel`, { method: 'POST' });
  });

  it('takes back what null is written for, field by field', async () => {
    const { id } = await send({
      ...{ data: { a: 1 }, priority: 'high', category: 'c', metadata: { a: 'b' } },
      ...{ collapseKey: 'k', sendAt: inFuture(3600), expiresAt: inFuture(7200) },
    });
    const edit = (body: object): Promise<HttpAnswer> =>
      tidings.call(`/v1/notifications/${id}`, { method: 'PATCH', body });
    for (const [field, empty] of [
      ['data', {}],
      ['priority', 'medium'],
      ['category', null],
      ['metadata', {}],
      ['collapseKey', null],
      ['expiresAt', null],
    ] as const) {
      const answer = await edit({ [field]: null });
      assert.equal(answer.status, 200, answer.text);
      assert.deepEqual(answer.json()[field], empty, field);
      assert.notEqual(answer.json()['sendAt'], null, 'the rest stays');
    }
    for (const [body, message] of [
      [{ content: null }, 'body.content must be an object'],
      [{ sendAt: 5 }, 'body.sendAt must be a string or null'],
      [{ priority: 'urgent' }, 'body.priority must be one of: high, medium, low'],
      [{ expiresAt: 'soon' }, 'body.expiresAt must be a time with a zone'],
      [{}, 'body must not be empty'],
    ] as const) {
      const answer = await edit(body);
      assert.equal(answer.status, 400, answer.text);
      assert.ok(answer.json<{ detail: string }>().detail.startsWith(message), answer.text);
    }
    const now = await edit({ sendAt: null });
    assert.deepEqual([now.status, now.json()['sendAt']], [200, null], now.text);
    await until('the message that is sent now', async () => {
      const answer = await tidings.call(`/v1/notifications/${id}`);
      return answer.json<Notification>().messages[0]?.status === 'delivered' || undefined;
    });
    const never = await post({ to: ADA, content: HELLO, sendAt: null });
    assert.equal(never.status, 400, 'a new notification has nothing to take back');
  });

  it("goes back to its template's category and priority", async () => {
    const content = { email: { subject: 'a', text: 'b' } };
    const made = await tidings.call('/v1/templates', {
      body: { key: 'taken-back', category: 'news', priority: 'low', content, publish: true },
    });
    assert.equal(made.status, 201, made.text);
    const request = { priority: 'high', category: 'c', sendAt: inFuture(3600) };
    const posted = await post({ to: ADA, template: 'taken-back', ...request });
    const path = `/v1/notifications/${posted.json<Accepted>().id}`;
    const body = { priority: null, category: null };
    const found = (await tidings.call(path, { method: 'PATCH', body })).json<Notification>();
    assert.deepEqual([found.priority, found.category], ['low', 'news']);
    await tidings.call(`${path}/cancel`, { method: 'POST' });
  });

  it('remembers what was accepted, and what each edit changed', async () => {
    const [first, second, third] = [inFuture(3600), inFuture(7200), inFuture(10_800)];
    const { id } = await send({ sendAt: first, priority: 'low' });
    const accepted = (await timeline(id))[0];
    assert.deepEqual(accepted?.detail, { priority: 'low', sendAt: first });
    const long = 'x'.repeat(5000);
    for (const body of [
      { sendAt: second, metadata: { a: 'b' } },
      { sendAt: second },
      { sendAt: third, priority: 'high', content: { title: 'New', text: long } },
      { content: HELLO },
    ]) {
      const answer = await tidings.call(`/v1/notifications/${id}`, { method: 'PATCH', body });
      assert.equal(answer.status, 200, answer.text);
    }
    const [beginning, ...edits] = await timeline(id);
    assert.deepEqual(beginning, accepted);
    assert.ok(edits.every(({ type, at }) => type === 'edited' && at >= (accepted?.at ?? '')));
    const length = JSON.stringify({ title: 'New', text: long }).length;
    assert.deepEqual(
      edits.map(({ detail }) => detail?.['changes']),
      [
        { sendAt: { from: first, to: second }, metadata: { from: {}, to: { a: 'b' } } },
        {
          sendAt: { from: second, to: third },
          priority: { from: 'low', to: 'high' },
          content: { from: HELLO, to: { length } },
        },
        { content: { from: { length }, to: HELLO } },
      ],
    );
    await tidings.call(`/v1/notifications/${id}`, { method: 'PATCH', body: { sendAt: null } });
    assert.deepEqual((await timeline(id))[0], accepted, 'still scheduled at first');
  });

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

describe('bad input', () => {
  it('names every field', async () => {
    const cases: [unknown, number, string, string][] = [
      [{ content: HELLO }, 400, 'invalid_request', 'body.to'],
      [{ to: {}, content: HELLO }, 400, 'invalid_request', 'body.to'],
      [{ to: { name: 'Ada' }, content: HELLO }, 400, 'invalid_recipient', 'body.to'],
      [
        { to: { emial: 'ada@example.com' }, content: HELLO },
        400,
        'invalid_recipient',
        'body.to.emial',
      ],
      [{ to: ADA }, 400, 'invalid_request', 'body'],
      [{ to: ADA, content: HELLO, template: 'a' }, 400, 'invalid_request', 'body'],
      [{ to: ADA, template: 'none' }, 422, 'invalid_template', 'body.template'],
      [{ to: ADA, content: {} }, 400, 'invalid_request', 'body.content'],
      [{ to: ADA, content: { body: 'x' } }, 400, 'invalid_request', 'body.content.body'],
      [
        { to: ADA, content: HELLO, channels: ['pigeon'] },
        400,
        'unknown_channel',
        'body.channels.0',
      ],
      [{ to: ADA, content: HELLO, channels: [] }, 400, 'invalid_request', 'body.channels'],
      [
        { to: ADA, content: HELLO, channels: ['email'], route: ['email'] },
        400,
        'invalid_request',
        'body.route',
      ],
      [
        { to: ADA, content: HELLO, channels: ['in_app'] },
        400,
        'invalid_recipient',
        'body.to.in_app',
      ],
      [{ to: ADA, content: HELLO, priority: 'urgent' }, 400, 'invalid_request', 'body.priority'],
      [{ to: ADA, content: HELLO, sendAt: 'tomorrow' }, 400, 'invalid_request', 'body.sendAt'],
      [
        { to: ADA, content: HELLO, sendAt: inFuture(400 * 86_400) },
        400,
        'invalid_time',
        'body.sendAt',
      ],
      [{ to: ADA, content: HELLO, expiresAt: inFuture(-1) }, 400, 'invalid_time', 'body.expiresAt'],
      [
        { to: ADA, content: HELLO, sendAt: inFuture(60), expiresAt: inFuture(30) },
        400,
        'invalid_time',
        'body.expiresAt',
      ],
      [{ to: ADA, content: HELLO, metadata: { a: 1 } }, 400, 'invalid_request', 'body.metadata.a'],
      [
        { to: ADA, content: HELLO, tenantId: 'x', status: 'sent' },
        400,
        'invalid_request',
        'body.tenantId',
      ],
      [{ to: ADA, content: HELLO, applicationId: 2 }, 400, 'invalid_request', 'body.applicationId'],
      [
        { to: ADA, content: { title: 'x\r\nBcc: evil@example.com', text: 'y' } },
        400,
        'invalid_content',
        'body.content.subject',
      ],
      [
        { to: { ...ADA, name: 'x\r\nBcc: evil@example.com' }, content: HELLO },
        400,
        'invalid_recipient',
        'body.to.name',
      ],
      [[], 400, 'invalid_request', 'body'],
      ['text', 400, 'invalid_request', 'body'],
    ];
    for (const [body, status, code, path] of cases) await refused(body, status, code, path);
  });

  it('says in words what is asked for, and shows no regular expression', async () => {
    const long = 'x'.repeat(101);
    const answers = [
      await post({ to: ADA, content: HELLO }, { query: '?wait=abc' }),
      await tidings.call('/v1/notifications?user=%00&category=a%20b&sort=id&limit=0'),
      await tidings.call('/v1/notifications/order-42'),
      await tidings.call('/v1/webhook-endpoints/x/rotate-secret', { body: { secret: '' } }),
      await tidings.call('/v1/inbox/stream', { headers: { 'last-event-id': 'x' } }),
      await post({
        to: { userId: 'a\nb', email: '', locale: 'English' },
        content: { title: '', actions: [{ label: 'a' }] },
        channels: ['E-Mail'],
        template: 'a b',
        metadata: { [long]: 'a', b: 'x'.repeat(501) },
        sendAt: 'tomorrow',
        collapseKey: 5,
      }),
    ];
    const messages = answers.flatMap((answer) => {
      assert.doesNotMatch(answer.text, /pattern|must NOT|>=|\^\[|format "|schema in/, answer.text);
      const { errors = [] } = answer.json<{ errors?: { path: string; message: string }[] }>();
      return errors.map(({ path, message }) => `${path} ${message}`);
    });
    const key =
      'must be 1 to 100 letters, digits, dots, colons, hyphens or underscores, the first a letter or digit';
    const id = 'must be 1 to 128 characters without control characters';
    assert.deepEqual(messages, [
      'query.wait must be a time such as 5s or 500ms',
      'query.sort is not a parameter of this request',
      'query.limit must be at least 1',
      `query.user ${id}`,
      `query.category ${key}`,
      'path.id must be the id of a notification or message, such as ntf_00h4p8s3t6v',
      'body.secret must be "whsec_" followed by 24 to 64 bytes in base64',
      'header.last-event-id must be the position of an event, a whole number',
      `body.to.userId ${id}`,
      'body.to.locale must be a language tag such as en or zh-CN',
      'body.to.email must not be empty',
      `body.template ${key}`,
      'body.content.title must not be empty',
      'body.content.actions.0.url is required',
      'body.channels.0 must be the name of a channel, such as email or in_app',
      'body.sendAt must be a time with a zone, such as 2026-12-24T08:00:00Z',
      `body.metadata.${long} is not an acceptable name: must have at most 100 characters`,
      'body.metadata.b must have at most 500 characters',
      'body.collapseKey must be a string',
    ]);
  });

  it('refuses addresses that are more than one', async () => {
    for (const email of [
      'b@y.io\r\nBcc: evil@z.io',
      'a@x.io, b@y.io',
      'a@x.io;b@y.io',
      'group: a@x.io;',
      '"a b"@x.io',
      'Ada <a@x.io>',
      'a@x@y.io',
      'a',
      '@x.io',
      'a@[127.0.0.1]',
      'a@x.io\u0000',
    ]) {
      const answer = await post({ to: { email }, content: HELLO });
      assert.equal(answer.status, 400, email);
    }
  });

  it('stores nothing of what it refuses', async () => {
    const before = await tidings.ledger();
    await post({ to: ADA, content: HELLO, channels: ['email', 'pigeon'] });
    await post({ to: { ...ADA, pigeon: 'x' }, content: HELLO });
    assert.equal((await tidings.ledger()).accepted, before.accepted);
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
  it('loses no edit that is made beside another', async () => {
    const { id } = await send({ sendAt: inFuture(3600) });
    const path = `/v1/notifications/${id}`;
    const edits = [{ metadata: { a: '1' } }, { collapseKey: 'k' }, { category: 'c' }];
    const answers = await Promise.all(
      edits.map((body) => tidings.call(path, { method: 'PATCH', body })),
    );
    const edited = (await tidings.call(path)).json<Record<string, unknown>>();
    for (const [i, { status }] of answers.entries()) {
      const [[field, value] = ['', '']] = Object.entries(edits[i] as object);
      if (status === 200) assert.deepEqual(edited[field], value, field);
      else assert.equal(status, 409);
    }
    assert.ok(answers.some(({ status }) => status === 200));
    await tidings.call(`${path}/cancel`, { method: 'POST' });
  });

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
