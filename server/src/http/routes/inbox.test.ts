/** The routes of the inbox, over HTTP and on a real store; live connections are in inbox-stream and inbox-socket. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { InboxItem } from '@tidings/contracts/inbox';
import { adminOf } from '../../../test/support/records.ts';
import { createApplicationService } from '../../application/service.ts';
import { formatId } from '../../id.ts';
import { bearer, type InboxApp, openInboxApp } from '../../inbox/conformance-app.ts';

interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: the test says what it expects of it
  body: any;
}

async function call(
  { url }: InboxApp,
  method: string,
  path: string,
  {
    token,
    body,
    headers = {},
  }: { token?: string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const response = await fetch(url + path, {
    method,
    headers: {
      ...(token === undefined ? {} : bearer(token)),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? undefined : JSON.parse(text),
  };
}

const idsOf = ({ body }: Answer): string[] => body.items.map((item: InboxItem) => item.id);
const id = (n: number) => formatId('msg', n);
const pathsOf = ({ body }: Answer): string[] =>
  (body.errors ?? []).map((error: { path: string }) => error.path);

test('an application lets a user in, who reads, counts and marks', async () => {
  await using api = await openInboxApp();
  const minted = await call(api, 'POST', '/v1/inbox/tokens', {
    token: api.apiKey,
    body: { userId: 'ada', expiresInSeconds: 600 },
  });
  assert.equal(minted.status, 201);
  assert.equal(minted.body.expiresAt, new Date(api.clock.now() + 600_000).toISOString());
  assert.equal(minted.headers.get('cache-control'), 'no-store');
  const { token } = minted.body;
  for (let n = 1; n <= 5; n++) await api.deliver(n, api.ada, { category: n > 3 ? 'news' : null });

  const first = await call(api, 'GET', '/v1/inbox?limit=3', { token });
  assert.equal(first.status, 200);
  assert.equal(first.headers.get('cache-control'), 'no-store');
  const rest = await call(api, 'GET', `/v1/inbox?limit=3&cursor=${first.body.next}`, { token });
  assert.deepEqual([...idsOf(first), ...idsOf(rest)], [5, 4, 3, 2, 1].map(id));
  assert.equal(rest.body.next, null);
  assert.deepEqual((await call(api, 'GET', '/v1/inbox/counts', { token })).body, {
    unseen: 5,
    unread: 5,
    total: 5,
  });

  const mark = (body: unknown) => call(api, 'POST', '/v1/inbox/mark', { token, body });
  const marked = await mark({ action: 'read', items: 'all', category: 'news' });
  assert.deepEqual(marked.body, { changed: 2, counts: { unseen: 3, unread: 3, total: 5 } });
  const archived = await mark({ action: 'archive', items: [id(1), 'nonsense', id(99)] });
  assert.deepEqual(archived.body, { changed: 1, counts: { unseen: 2, unread: 2, total: 4 } });
  const list = async (query: string) =>
    idsOf(await call(api, 'GET', `/v1/inbox?${query}`, { token }));
  assert.deepEqual(await list('state=unread'), [3, 2].map(id));
  assert.deepEqual(await list('state=archived'), [1].map(id));
  assert.deepEqual(await list('category=news'), [5, 4].map(id));
  const [item] = (await call(api, 'GET', '/v1/inbox?state=archived', { token })).body.items;
  assert.equal(item.archivedAt, new Date(api.clock.now()).toISOString());
});

test('a token opens the inbox of its user in its application, and nothing else', async () => {
  await using api = await openInboxApp();
  const { caller } = await adminOf(api.records, api.clock, 'shop');
  const owners = [
    api.ada,
    { ...api.ada, userId: 'Ada' },
    { ...api.ada, userId: 'bob' },
    { applicationId: caller.applicationId, userId: 'ada' },
  ];
  for (const [i, owner] of owners.entries()) await api.deliver(i + 1, owner);
  for (const [i, owner] of owners.entries()) {
    const token = await api.token(owner);
    assert.deepEqual(idsOf(await call(api, 'GET', '/v1/inbox', { token })), [id(i + 1)]);
    assert.equal((await call(api, 'GET', '/v1/inbox/counts', { token })).body.unread, 1);
    const body = { action: 'read', items: [1, 2, 3, 4].map(id) };
    assert.equal((await call(api, 'POST', '/v1/inbox/mark', { token, body })).body.changed, 1);
  }
});

test('the application of the API key is the one of the token, whatever the body says', async () => {
  await using api = await openInboxApp();
  const { key } = await adminOf(api.records, api.clock, 'shop');
  await api.deliver(1);
  const minted = await call(api, 'POST', '/v1/inbox/tokens', {
    token: key,
    body: { userId: 'ada' },
  });
  const { token } = minted.body;
  assert.deepEqual(idsOf(await call(api, 'GET', '/v1/inbox', { token })), []);
  const body = { userId: 'ada', app: 1, applicationId: 1 };
  const refused = await call(api, 'POST', '/v1/inbox/tokens', { token: key, body });
  assert.equal(refused.status, 400);
  assert.deepEqual(pathsOf(refused), ['body.app', 'body.applicationId']);
});

test('without a valid token there is nothing to see, and an API key is none', async () => {
  await using api = await openInboxApp();
  const token = await api.token();
  const expired = await api.token(api.ada, 30);
  api.clock.advance(30_000);
  const ticket = (await call(api, 'POST', '/v1/inbox/tickets', { token })).body.ticket;
  const body = { action: 'read', items: 'all' };
  const routes = [
    ['GET', '/v1/inbox'],
    ['GET', '/v1/inbox/counts'],
    ['GET', '/v1/inbox/stream'],
    ['POST', '/v1/inbox/tickets'],
    ['POST', '/v1/inbox/mark', body],
  ] as const;
  for (const [method, path, sent] of routes) {
    for (const authorization of [
      undefined,
      '',
      'Bearer',
      'Bearer ',
      `Basic ${token}`,
      token,
      `Bearer ${expired}`,
      `Bearer ${api.apiKey}`,
      `Bearer ${ticket}`,
      `Bearer ${token.slice(0, -4)}AAAA`,
    ]) {
      const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
      const answer = await call(api, method, path, { headers, body: sent });
      assert.equal(answer.status, 401, `${method} ${path} ${authorization}`);
      assert.equal(answer.body.code, 'unauthorized');
      assert.equal(answer.headers.get('www-authenticate'), 'Bearer');
      assert.equal(answer.headers.get('content-type'), 'application/problem+json');
    }
  }
});

test('only a live key with the scope manage lets users in, and a user’s token is no key', async () => {
  await using api = await openInboxApp();
  const body = { userId: 'ada' };
  const token = await api.token();
  for (const wrong of [undefined, token]) {
    const answer = await call(api, 'POST', '/v1/inbox/tokens', { token: wrong, body });
    assert.equal(answer.status, 401);
  }
  const { caller } = await adminOf(api.records, api.clock);
  const { applications: store } = api.records;
  const service = createApplicationService({ store, clock: api.clock });
  const { secret } = await service.createKey(caller, { scopes: ['read', 'send'] });
  const test = await service.createKey(caller, { kind: 'test' });
  for (const token of [secret, test.secret]) {
    const answer = await call(api, 'POST', '/v1/inbox/tokens', { token, body });
    assert.equal(answer.status, 403);
  }
});

test('what does not fit is refused with its name', async () => {
  await using api = await openInboxApp();
  const token = await api.token();
  const cases: [string, string, unknown, string][] = [
    ['GET', '/v1/inbox?limit=0', undefined, 'query.limit'],
    ['GET', '/v1/inbox?limit=201', undefined, 'query.limit'],
    ['GET', '/v1/inbox?state=new', undefined, 'query.state'],
    ['GET', '/v1/inbox?cursor=%20', undefined, 'query.cursor'],
    ['GET', '/v1/inbox?cursor=MQ%3D%3D', undefined, 'query.cursor'],
    ['GET', `/v1/inbox?token=${token}`, undefined, 'query.token'],
    ['GET', `/v1/inbox/counts?access_token=${token}`, undefined, 'query.access_token'],
    ['GET', `/v1/inbox/stream?token=${token}`, undefined, 'query.token'],
    ['GET', '/v1/inbox/stream?lastEventId=-1', undefined, 'query.lastEventId'],
    ['GET', '/v1/inbox/stream?lastEventId=x', undefined, 'query.lastEventId'],
    ['POST', '/v1/inbox/mark', { items: 'all' }, 'body.action'],
    ['POST', '/v1/inbox/mark', { action: 'read' }, 'body.items'],
    ['POST', '/v1/inbox/mark', { action: 'read', items: 'some' }, 'body.items'],
    ['POST', '/v1/inbox/mark', { action: 'read', items: [] }, 'body.items'],
    ['POST', '/v1/inbox/mark', { action: 'read', items: Array(501).fill('x') }, 'body.items'],
    ['POST', '/v1/inbox/mark', { action: 'delete', items: 'all' }, 'body.action'],
    ['POST', '/v1/inbox/mark', { action: 'unarchive', items: 'all' }, 'body.items'],
    ['POST', '/v1/inbox/mark', { action: 'read', items: 'all', userId: 'bob' }, 'body.userId'],
  ];
  for (const [method, path, body, at] of cases) {
    const answer = await call(api, method, path, { token, body });
    assert.equal(answer.status, 400, `${method} ${path} ${JSON.stringify(body)}`);
    assert.ok(pathsOf(answer).includes(at), `${at} in ${JSON.stringify(answer.body)}`);
  }
  const header = await call(api, 'GET', '/v1/inbox/stream', {
    token,
    headers: { 'last-event-id': 'x' },
  });
  assert.deepEqual([header.status, pathsOf(header)], [400, ['header.last-event-id']]);
  for (const body of [
    {},
    { userId: '' },
    { userId: 'a\nb' },
    { userId: 'ada', expiresInSeconds: 29 },
    { userId: 'ada', expiresInSeconds: 86_401 },
  ]) {
    const answer = await call(api, 'POST', '/v1/inbox/tokens', { token: api.apiKey, body });
    assert.equal(answer.status, 400, JSON.stringify(body));
  }
});

test('pages of listed origins get CORS headers, those of others are refused', async () => {
  const listed = 'https://shop.example';
  await using api = await openInboxApp({ allowedOrigins: [`${listed}/`, 'capacitor://localhost'] });
  const token = await api.token();
  const get = (origin: string) =>
    call(api, 'GET', '/v1/inbox/counts', { token, headers: { origin } });
  for (const origin of [listed, 'capacitor://localhost']) {
    const answer = await get(origin);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('access-control-allow-origin'), origin);
    assert.equal(answer.headers.get('vary'), 'Origin');
    assert.equal(answer.headers.get('access-control-allow-credentials'), null);
  }
  const own = await get(api.url);
  assert.equal(own.status, 200);
  assert.equal(own.headers.get('access-control-allow-origin'), null);
  const foreign = [
    'https://evil.example',
    'https://shop.example.evil.example',
    'http://shop.example',
    'null',
    'x',
  ];
  for (const origin of foreign) {
    const answer = await get(origin);
    assert.equal(answer.status, 403, origin);
    assert.equal(answer.body.code, 'forbidden');
    assert.equal(answer.headers.get('access-control-allow-origin'), null);
    const stream = await call(api, 'GET', '/v1/inbox/stream', { token, headers: { origin } });
    assert.equal(stream.status, 403);
  }
  const unauthorized = await call(api, 'GET', '/v1/inbox/counts', { headers: { origin: listed } });
  assert.equal(unauthorized.status, 401);
  assert.equal(
    unauthorized.headers.get('access-control-allow-origin'),
    listed,
    'a page may read why',
  );
});

test('preflights are answered for listed origins, and never for the minting of tokens', async () => {
  const listed = 'https://shop.example';
  await using api = await openInboxApp({ allowedOrigins: [listed] });
  const preflight = (path: string, origin: string) =>
    call(api, 'OPTIONS', path, {
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization',
      },
    });
  for (const path of ['', '/counts', '/mark', '/tickets', '/stream']) {
    const answer = await preflight(`/v1/inbox${path}`, listed);
    assert.equal(answer.status, 204);
    assert.equal(answer.headers.get('access-control-allow-origin'), listed);
    assert.equal(answer.headers.get('access-control-allow-methods'), 'GET, POST');
    assert.match(
      answer.headers.get('access-control-allow-headers') ?? '',
      /\bauthorization\b.*\blast-event-id\b/,
    );
    const foreign = await preflight(`/v1/inbox${path}`, 'https://evil.example');
    assert.equal(foreign.status, 403);
    assert.equal(foreign.headers.get('access-control-allow-origin'), null);
  }
  const minting = await preflight('/v1/inbox/tokens', listed);
  assert.equal(minting.status, 404);
  assert.equal(minting.headers.get('access-control-allow-origin'), null);
});

test('other requests that ask for an upgrade are answered like any request', async () => {
  await using api = await openInboxApp();
  const token = await api.token();
  const ask = async (path: string, upgrade: string) => {
    const socket = connect(api.port, '127.0.0.1');
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: ${upgrade}\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n`,
    );
    let text = '';
    socket.setEncoding('utf8').on('data', (more: string) => {
      text += more;
    });
    await once(socket, 'close');
    return text;
  };
  assert.match(await ask('/v1/inbox/counts', 'h2c'), /^HTTP\/1.1 200 OK[\s\S]*"unread":0/);
  assert.match(await ask('/v1/inbox/counts', 'websocket'), /^HTTP\/1.1 200 OK/);
  assert.match(
    await ask('/v1/inbox/socket', 'h2c'),
    /^HTTP\/1.1 400 Bad Request[\s\S]*header.upgrade/,
  );
  assert.match(await ask('/openapi.json', 'websocket'), /^HTTP\/1.1 200 OK/);
  assert.match(await ask('/v1/nothing', 'websocket'), /^HTTP\/1.1 404 Not Found/);
});

test('the document names every route with the token it needs', async () => {
  await using api = await openInboxApp();
  const { paths, components } = (await call(api, 'GET', '/openapi.json')).body;
  const described = Object.entries(paths)
    .filter(([path]) => path.startsWith('/v1/inbox'))
    .flatMap(([path, methods]) =>
      Object.entries(methods as Record<string, { operationId: string; security: object[] }>).map(
        ([method, { operationId, security }]) =>
          `${method} ${path} ${operationId} ${Object.keys(security[0] ?? {})}`,
      ),
    );
  assert.deepEqual(described.sort(), [
    'get /v1/inbox listInbox inboxToken',
    'get /v1/inbox/counts countInbox inboxToken',
    'get /v1/inbox/socket openInboxSocket inboxToken',
    'get /v1/inbox/stream streamInbox inboxToken',
    'post /v1/inbox/mark markInbox inboxToken',
    'post /v1/inbox/tickets mintInboxTicket inboxToken',
    'post /v1/inbox/tokens mintInboxToken apiKey',
  ]);
  for (const name of ['InboxItem', 'InboxMarked', 'InboxReady', 'InboxClosing', 'InboxAuthFrame']) {
    assert.ok(components.schemas[name], name);
  }
});
