/**
 * An application is alone: what belongs to another one is not there, whatever is tried, and a key
 * does what its scopes say and nothing else. Both go through every operation of /openapi.json.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { CreatedApiKey } from '@tidings/contracts/application';
import { SCOPES, type Scope } from '@tidings/contracts/common';
import type { InboxItem } from '@tidings/contracts/inbox';
import type { Accepted, Notification } from '@tidings/contracts/notification';
import { EventStreamReader } from '../support/event-stream.ts';
import type { HttpAnswer, HttpCall } from '../support/http-client.ts';
import { type HttpReceiver, startHttpReceiver } from '../support/http-receiver.ts';
import { type Operation, openApiOf, operationsOf, pathOf } from '../support/operations.ts';
import { assertProblem, shapeOf } from '../support/problem.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';

const HELLO = { title: 'Hello', text: 'It works.' };

/** An application with something of everything. */
interface Party {
  name: string;
  call(path: string, call?: HttpCall): Promise<HttpAnswer>;
  /** With the token of its user. */
  asUser(path: string, call?: HttpCall): Promise<HttpAnswer>;
  user: string;
  address: string;
  token: string;
  template: string;
  category: string;
  group: string;
  /** One that has ended, one that failed, one that waits, one in the inbox. */
  notifications: string[];
  failed: { notification: string; message: string };
  item: string;
  endpoint: string;
  apiKey: string;
}

let tidings: Tidings;
let receiver: HttpReceiver;
let operations: Operation[];
let alpha: Party;
let beta: Party;

before(async () => {
  receiver = await startHttpReceiver();
  tidings = await startTidings({
    env: {
      ...PATIENT,
      TIDINGS_DELIVERY_RETRY_DELAYS_MS: '20',
      TIDINGS_WEBHOOK_HTTP_ALLOWED_NETWORKS: '127.0.0.0/8',
    },
  });
  operations = operationsOf(await openApiOf(tidings));
  [alpha, beta] = [await furnish('alpha'), await furnish('beta')];
});
after(async () => {
  await tidings?.[Symbol.asyncDispose]();
  await receiver?.[Symbol.asyncDispose]();
});

function callWith(secret: string): Party['call'] {
  return (path, call = {}) =>
    tidings.call(path, {
      ...call,
      headers: { ...call.headers, authorization: `Bearer ${secret}` },
    });
}

async function made<Body>(answer: Promise<HttpAnswer>): Promise<Body> {
  const { status, text, json } = await answer;
  assert.ok(status >= 200 && status < 300, `${status} ${text}`);
  return json<Body>();
}

async function createKey(body: object): Promise<CreatedApiKey> {
  return made<CreatedApiKey>(tidings.call('/v1/api-keys', { body }));
}

async function furnish(name: string): Promise<Party> {
  await made(tidings.call('/v1/applications', { body: { key: name, name: `The ${name}` } }));
  const key = await createKey({ application: name, name: `${name}-key` });
  assert.deepEqual([key.application, key.scopes], [name, ['send', 'read', 'manage']]);
  const call = callWith(key.secret);
  const own = (part: string): string => `${name}-${part}`;
  const address = `${own('ada')}@example.com`;
  const content = { email: { subject: own('subject'), text: 'Hi' } };
  await made(
    call(`/v1/users/${own('ada')}`, {
      method: 'PUT',
      body: {
        name: own('name'),
        addresses: [{ channel: 'email', address }],
        groups: [own('staff')],
        attributes: { note: own('note') },
        preferences: { categories: { [own('news')]: { enabled: false } } },
      },
    }),
  );
  await made(call(`/v1/categories/${own('legal')}`, { method: 'PUT', body: { mandatory: true } }));
  await made(call('/v1/templates', { body: { key: own('order'), content, publish: true } }));
  await made(call(`/v1/templates/${own('order')}/versions`, { body: { content } }));
  const send = async (body: object): Promise<Notification> =>
    made(call('/v1/notifications?wait=20s', { body }));
  const done = await send({
    to: { userId: own('ada') },
    template: own('order'),
    category: own('legal'),
    metadata: { of: name },
  });
  const failed = await send({
    to: { email: 'permanent-failure@simulate.invalid' },
    content: HELLO,
  });
  const shown = await send({ to: { userId: own('ada') }, content: HELLO, channels: ['in_app'] });
  const waiting = await made<Accepted>(
    call('/v1/notifications', {
      body: {
        to: { email: address },
        content: HELLO,
        sendAt: new Date(Date.now() + 3_600_000).toISOString(),
      },
    }),
  );
  const endpoint = await made<{ id: string }>(
    call('/v1/webhook-endpoints', {
      body: { url: `${receiver.origin}/${name}`, description: own('hook') },
    }),
  );
  const { token } = await made<{ token: string }>(
    call('/v1/inbox/tokens', { body: { userId: own('ada') } }),
  );
  return {
    name,
    call,
    asUser: callWith(token),
    user: own('ada'),
    address,
    token,
    template: own('order'),
    category: own('legal'),
    group: own('staff'),
    notifications: [done.id, failed.id, waiting.id, shown.id],
    failed: { notification: failed.id, message: failed.messages[0]?.id as string },
    item: shown.messages[0]?.id as string,
    endpoint: endpoint.id,
    apiKey: key.id,
  };
}

/** Everything an application can see of itself. */
async function everythingOf(party: Party): Promise<Record<string, unknown>> {
  const paths = [
    '/v1/notifications?limit=200',
    ...party.notifications.flatMap((id) => [
      `/v1/notifications/${id}`,
      `/v1/notifications/${id}/timeline`,
    ]),
    '/v1/ledger',
    '/v1/dead-letters',
    '/v1/templates',
    `/v1/templates/${party.template}`,
    `/v1/templates/${party.template}/versions`,
    '/v1/categories',
    '/v1/users',
    `/v1/users/${party.user}`,
    '/v1/api-keys',
    '/v1/webhook-endpoints',
    '/v1/whoami',
  ];
  const seen: Record<string, unknown> = {};
  for (const path of paths) seen[path] = await made(party.call(path));
  for (const path of ['/v1/inbox', '/v1/inbox/counts', '/v1/inbox?state=archived']) {
    seen[path] = await made(party.asUser(path));
  }
  return seen;
}

/** What names the resources of a party, wherever it stands. */
function namesOf(party: Party): string[] {
  const { name, notifications, item, endpoint, apiKey, failed } = party;
  return [`${name}-`, `/${name}`, ...notifications, item, endpoint, apiKey, failed.message];
}

/** Values for path parameters: what is a party's, and the same of nothing. */
function idsOf(
  { path }: Operation,
  party: Party,
): { theirs: Record<string, string>; absent: Record<string, string> }[] {
  const resource = path.split('/')[2];
  switch (resource) {
    case 'notifications':
      return party.notifications.map((id) => ({
        theirs: { id },
        absent: { id: 'ntf_00000000000' },
      }));
    case 'templates':
      return ['1', '2'].map((version) => ({
        theirs: { key: party.template, version },
        absent: { key: 'gamma-order', version },
      }));
    case 'categories':
      return [{ theirs: { key: party.category }, absent: { key: 'gamma-legal' } }];
    case 'users':
      return [{ theirs: { userId: party.user }, absent: { userId: 'gamma-ada' } }];
    case 'api-keys':
      return [{ theirs: { keyId: party.apiKey }, absent: { keyId: 'key_00000000000' } }];
    case 'webhook-endpoints':
      return [{ theirs: { id: party.endpoint }, absent: { id: 'whe_00000000000' } }];
    default:
      throw new Error(`nothing is known of ${path}`);
  }
}

/** The text with what the caller wrote itself taken out. */
function withoutIds(text: string, ids: Record<string, string>): string {
  return Object.values(ids)
    .filter((id) => id.length > 2)
    .reduce((shortened, id) => shortened.replaceAll(id, '…'), text);
}

describe('what belongs to another application', () => {
  /** They create what is not there, under a name that every application may use for itself. */
  const CREATING = new Set(['putUser', 'putCategory']);

  it('is answered like what does not exist, by every operation, and stays as it is', async () => {
    const untouched = await everythingOf(alpha);
    const own = await everythingOf(beta);
    let tried = 0;
    for (const operation of operations) {
      if (!operation.path.includes('{') || CREATING.has(operation.id)) continue;
      for (const { theirs, absent } of idsOf(operation, alpha)) {
        const ask = (values: Record<string, string>) =>
          beta.call(pathOf(operation, values), {
            method: operation.method,
            ...(operation.body ? { body: operation.body } : {}),
          });
        const [answer, none] = [await ask(theirs), await ask(absent)];
        const problem = assertProblem(answer, 404, `${operation.id} ${JSON.stringify(theirs)}`);
        assert.equal(
          withoutIds(JSON.stringify(shapeOf(problem)), theirs),
          withoutIds(JSON.stringify(shapeOf(assertProblem(none, 404))), absent),
          operation.id,
        );
        assert.deepEqual(
          { ...answer.headers, date: '', 'content-length': '' },
          { ...none.headers, date: '', 'content-length': '' },
        );
        tried++;
      }
    }
    assert.ok(tried >= 40, `${tried}`);
    assert.deepEqual(await everythingOf(alpha), untouched);
    assert.deepEqual(await everythingOf(beta), own);
    assert.equal(receiver.connections, 0);
  });

  it('has names that are free for everybody else', async () => {
    const untouched = await everythingOf(alpha);
    const content = { email: { subject: 'of beta', text: 'of beta' } };
    for (const [path, body] of [
      [`/v1/users/${alpha.user}`, { name: 'of beta' }],
      [`/v1/categories/${alpha.category}`, { name: 'of beta', mandatory: false }],
    ] as const) {
      const created = await beta.call(path, { method: 'PUT', body });
      assert.equal(created.status, 201, created.text);
      assert.equal(created.json()['name'], 'of beta');
      assert.ok(!created.text.includes(alpha.address));
      assert.equal((await beta.call(path, { method: 'DELETE' })).status, 204);
    }
    const template = await beta.call('/v1/templates', { body: { key: alpha.template, content } });
    assert.equal(template.status, 201, template.text);
    assert.equal(
      (await beta.call(`/v1/templates/${alpha.template}`, { method: 'DELETE' })).status,
      204,
    );
    const endpoint = await beta.call('/v1/webhook-endpoints', {
      body: { url: `${receiver.origin}/alpha` },
    });
    assert.equal(endpoint.status, 201, endpoint.text);
    const { id } = endpoint.json<{ id: string }>();
    await beta.call(`/v1/webhook-endpoints/${id}`, { method: 'PATCH', body: { enabled: false } });
    assert.equal(
      (await beta.call(`/v1/webhook-endpoints/${id}`, { method: 'DELETE' })).status,
      204,
    );
    assert.deepEqual(await everythingOf(alpha), untouched);
  });

  it('is in no list, and no filter finds it', async () => {
    const lists = operations.filter(
      ({ method, path, access }) => method === 'GET' && !path.includes('{') && access === 'read',
    );
    assert.ok(lists.length >= 8);
    const cursors = ['notifications', 'templates', 'users', 'webhook-endpoints'].map(
      async (list) => {
        const page = await made<{ next: string | null }>(alpha.call(`/v1/${list}?limit=1`));
        return page.next === null ? [] : [`/v1/${list}?cursor=${page.next}`];
      },
    );
    const paths = [
      ...lists.map(({ path }) => path),
      ...(await Promise.all(cursors)).flat(),
      `/v1/users?group=${alpha.group}`,
      '/v1/notifications?application=alpha',
      `/v1/notifications?user=${alpha.user}`,
      `/v1/notifications?group=${alpha.group}`,
      `/v1/notifications?template=${alpha.template}`,
      `/v1/notifications?category=${alpha.category}`,
      '/v1/notifications?status=failed',
      '/v1/dead-letters?channel=email',
    ];
    for (const path of paths) {
      const answer = await beta.call(path);
      assert.equal(answer.status, 200, `${path} ${answer.text}`);
      for (const name of namesOf(alpha)) {
        assert.ok(!answer.text.includes(name), `${path} shows ${name}: ${answer.text}`);
      }
    }
    const named = await made<{ items: unknown[] }>(
      beta.call('/v1/notifications?application=alpha'),
    );
    const unknown = await made<{ items: unknown[] }>(
      beta.call('/v1/notifications?application=gamma'),
    );
    assert.deepEqual([named, unknown.items], [unknown, []]);
    const { accepted } = await made<{ accepted: number }>(beta.call('/v1/ledger'));
    assert.equal(accepted, 4);
  });

  it('cannot be named by who is no operator', async () => {
    const untouched = await everythingOf(alpha);
    const ask = (application: string) => [
      beta.call('/v1/api-keys', { body: { application } }),
      beta.call(`/v1/api-keys?application=${application}`),
      beta.call(`/v1/api-keys/${alpha.apiKey}?application=${application}`, { method: 'DELETE' }),
    ];
    const refusals = async (application: string) =>
      (await Promise.all(ask(application))).map((answer) => shapeOf(assertProblem(answer, 403)));
    assert.deepEqual(await refusals('alpha'), await refusals('gamma'), 'nor found out about');
    assertProblem(await beta.call('/v1/applications'), 403);
    assertProblem(await beta.call('/v1/applications', { body: { key: 'delta' } }), 403);
    assert.deepEqual(await everythingOf(alpha), untouched);
  });
});

describe('what a request names of another application', () => {
  const send = async (party: Party, body: object): Promise<Notification> =>
    made(party.call('/v1/notifications?wait=20s', { body: { content: HELLO, ...body } }));

  /** What came of it, without what is different each time. */
  const fate = async (body: object) => {
    const { messages, id } = await send(beta, body);
    const timeline = await beta.call(`/v1/notifications/${id}/timeline`);
    assert.ok(!timeline.text.includes(alpha.address), timeline.text);
    return messages.map(({ status, reason, channel, attempts }) => [
      status,
      reason,
      channel,
      attempts,
    ]);
  };

  it('its templates, users and endpoints are not there', async () => {
    const untouched = await everythingOf(alpha);
    const templateOf = async (key: string) => {
      const body = { to: { email: 'a@example.com' }, template: key };
      const problem = assertProblem(await beta.call('/v1/notifications', { body }), 422);
      return withoutIds(JSON.stringify(shapeOf(problem)), { key });
    };
    assert.equal(await templateOf(alpha.template), await templateOf('gamma-order'));
    for (const extra of [{ channels: ['email'] }, { route: ['email'] }]) {
      assert.deepEqual(
        await fate({ to: { userId: alpha.user }, ...extra }),
        await fate({ to: { userId: 'gamma-ada' }, ...extra }),
      );
    }
    const hooked = await fate({ to: { webhook: alpha.endpoint } });
    assert.deepEqual(hooked, await fate({ to: { webhook: 'whe_00000000000' } }));
    assert.equal(hooked[0]?.[0], 'failed');
    assert.equal(receiver.connections, 0, 'its receiver heard nothing');
    assert.deepEqual(await everythingOf(alpha), untouched);
  });

  it('its dead letters stay dead', async () => {
    const untouched = await everythingOf(alpha);
    for (const body of [
      { messages: [alpha.failed.message] },
      { messages: ['msg_00000000000'] },
      { messages: [alpha.failed.message, alpha.item], channel: 'email' },
    ]) {
      const answer = await beta.call('/v1/dead-letters/redrive', { body });
      assert.deepEqual([answer.status, answer.json()], [202, { taken: 0 }]);
    }
    const all = await made<{ taken: number }>(
      beta.call('/v1/dead-letters/redrive', { body: { channel: 'email', ratePerSecond: 10_000 } }),
    );
    assert.ok(all.taken >= 1, 'its own');
    await send(beta, { to: { email: 'delivered@simulate.invalid' } });
    assert.deepEqual(await everythingOf(alpha), untouched);
  });

  it('its rules are not rules here', async () => {
    const optedOut = { categories: { [alpha.category]: { enabled: false } } };
    for (const [party, expected] of [
      [alpha, 'delivered'],
      [beta, 'suppressed'],
    ] as const) {
      await made(
        party.call('/v1/users/grace', {
          method: 'PUT',
          body: {
            addresses: [{ channel: 'email', address: 'g@example.com' }],
            preferences: optedOut,
          },
        }),
      );
      const { messages } = await send(party, {
        to: { userId: 'grace' },
        category: alpha.category,
        channels: ['email'],
      });
      assert.equal(messages[0]?.status, expected, 'it is mandatory in alpha alone');
    }
  });

  it('its idempotency keys are free', async () => {
    const headers = { 'idempotency-key': 'order-42' };
    const body = { to: { email: 'a@example.com' }, content: HELLO };
    const answers = [alpha, beta, alpha].map(
      (party) => () => party.call('/v1/notifications', { body, headers }),
    );
    const ids: string[] = [];
    for (const ask of answers) ids.push((await made<Accepted>(ask())).id);
    assert.equal(ids[0], ids[2]);
    assert.notEqual(ids[0], ids[1]);
    const other = await beta.call('/v1/notifications', {
      body: { ...body, content: { ...HELLO, title: 'x' } },
      headers,
    });
    assertProblem(other, 422);
  });
});

describe('the inbox of a user of the same name', () => {
  it('is another one', async () => {
    const userOf = async (party: Party) => {
      const { token } = await made<{ token: string }>(
        party.call('/v1/inbox/tokens', { body: { userId: 'shared' } }),
      );
      return { token, call: callWith(token) };
    };
    const send = (party: Party, title: string) =>
      made<Notification>(
        party.call('/v1/notifications?wait=20s', {
          body: {
            to: { userId: 'shared' },
            content: { title },
            channels: ['in_app'],
            collapseKey: 'k',
          },
        }),
      );
    const [a, b] = [await userOf(alpha), await userOf(beta)];
    using stream = await EventStreamReader.open(`${tidings.url}/v1/inbox/stream`, {
      authorization: `Bearer ${b.token}`,
    });
    await stream.until('ready', ({ events }) => events.some(({ event }) => event === 'ready'));
    const [first] = (await send(alpha, 'of alpha')).messages;
    await send(beta, 'of beta');
    await stream.until('an item', (one) => one.of('item').length > 0);
    assert.deepEqual(
      stream.of('item').map(({ data }) => (data as InboxItem).title),
      ['of beta'],
    );

    const itemsOf = async (call: Party['call'], state = 'all') =>
      (await made<{ items: InboxItem[] }>(call(`/v1/inbox?state=${state}`))).items;
    assert.deepEqual(
      (await itemsOf(b.call)).map(({ title }) => title),
      ['of beta'],
    );
    const before = await itemsOf(a.call);
    assert.deepEqual(
      before.map(({ title }) => title),
      ['of alpha'],
      'the same key replaced nothing',
    );
    for (const action of ['seen', 'read', 'unread', 'archive', 'unarchive']) {
      const marked = await made<{ changed: number }>(
        b.call('/v1/inbox/mark', { body: { action, items: [first?.id, alpha.item] } }),
      );
      assert.equal(marked.changed, 0, action);
    }
    await made(b.call('/v1/inbox/mark', { body: { action: 'archive', items: 'all' } }));
    assert.deepEqual(await itemsOf(a.call), before);
    await stream.until('the mark', (one) => one.of('marked').length > 0);
    assert.equal(stream.of('item').length, 1);
  });
});

describe('scopes', () => {
  it('allow what they name and nothing else, in every operation', async () => {
    const keys = new Map<Scope, Party['call']>();
    for (const scope of SCOPES) {
      const { secret, scopes } = await createKey({ scopes: [scope], name: scope });
      assert.deepEqual(scopes, [scope]);
      keys.set(scope, callWith(secret));
    }
    for (const operation of operations) {
      const { id, method, access, body } = operation;
      for (const [scope, call] of keys) {
        const answer = await call(pathOf(operation), { method, ...(body ? { body } : {}) });
        const note = `${id} with the scope ${scope}: ${answer.status} ${answer.text.slice(0, 200)}`;
        if (access === 'user') assertProblem(answer, 401, note);
        else if (access === scope || access === 'open') {
          assert.ok(access === 'open' || (answer.status !== 401 && answer.status !== 403), note);
          assert.ok(answer.status < 500, note);
        } else {
          assert.equal(assertProblem(answer, 403, note).code, 'forbidden');
          // Who may not ask learns nothing of what is there, nor whether the request is a good one.
          const bad = await call(pathOf(operation), {
            method,
            ...(body ? { body: { x: 1 } } : {}),
          });
          assert.equal(bad.status, 403, note);
        }
      }
    }
  });

  it('the token of a user opens that inbox and no operation of the application', async () => {
    for (const operation of operations) {
      const { id, method, access, body, path } = operation;
      if (access === 'open' || id === 'streamInbox') continue;
      const answer = await alpha.asUser(pathOf(operation), { method, ...(body ? { body } : {}) });
      if (access === 'user') assert.ok(answer.status < 300, `${id} ${answer.text}`);
      else assertProblem(answer, 401, `${id} ${path}`);
    }
    const forged = alpha.token.split('.');
    const claims = JSON.parse(Buffer.from(forged[1] as string, 'base64url').toString());
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    for (const token of [
      [forged[0], encode({ ...claims, sub: beta.user }), forged[2]].join('.'),
      [forged[0], encode({ ...claims, app: claims.app + 1 }), forged[2]].join('.'),
      [encode({ alg: 'none', typ: 'JWT' }), forged[1], ''].join('.'),
      [encode({ alg: 'none' }), forged[1], forged[2]].join('.'),
      [forged[0], forged[1], 'AAAA'].join('.'),
      `${alpha.token}x`,
    ]) {
      assertProblem(await callWith(token)('/v1/inbox'), 401, token);
    }
  });
});
