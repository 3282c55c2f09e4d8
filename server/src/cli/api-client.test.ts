/** The client against a real server that answers as each test says. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { ApiClient } from './api-client.ts';
import { ApiFailure, ConnectionFailure } from './api-failure.ts';
import { CommandFailure, EXIT } from './exit.ts';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;
interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
  body: string;
}

interface TestServer extends AsyncDisposable {
  url: string;
  seen: Seen[];
}

/** Each request gets the next answer; the last one stays. */
async function serve(...answers: Answer[]): Promise<TestServer> {
  const seen: Seen[] = [];
  const server = createServer(async (request, response) => {
    const answer = answers[Math.min(seen.length, answers.length - 1)] as Answer;
    const entry: Seen = {
      method: request.method ?? '',
      url: request.url ?? '',
      headers: request.headers,
      body: '',
    };
    seen.push(entry);
    for await (const chunk of request) entry.body += String(chunk);
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

const problem = {
  title: 'T',
  code: 'c',
  status: 400,
  request_id: 'req_1',
  type: '/x',
  doc_url: '/x',
};

function json(status: number, body: unknown, headers: Record<string, string> = {}): Answer {
  return (_request, response) => {
    const type = status < 300 ? 'application/json' : 'application/problem+json';
    response.writeHead(status, { 'content-type': type, ...headers }).end(JSON.stringify(body));
  };
}

const cut: Answer = (request) => void request.socket.destroy();
const busy = json(503, { ...problem, status: 503 });
const fine = json(200, { ok: true });

function client(url: string, options: { timeoutMs?: number } = {}): ApiClient {
  return new ApiClient({ url, key: 'secret-key', timeoutMs: 20_000, ...options });
}

describe('requests', () => {
  test('carry the key, the query and the body', async () => {
    await using server = await serve(fine);
    const answer = await client(server.url).post('/v1/x', {
      query: { a: 'ä&', b: 1, c: undefined },
      body: { n: 1 },
      idempotencyKey: 'k',
    });
    assert.deepEqual(answer.body, { ok: true });
    assert.equal(answer.text, '{"ok":true}');
    const [request] = server.seen;
    assert.equal(request?.url, '/v1/x?a=%C3%A4%26&b=1');
    assert.equal(request?.headers.authorization, 'Bearer secret-key');
    assert.equal(request?.headers['idempotency-key'], 'k');
    assert.equal(request?.body, '{"n":1}');
  });

  test('without a body say nothing of one', async () => {
    await using server = await serve(fine);
    await client(server.url).post('/v1/x');
    assert.equal(server.seen[0]?.headers['content-type'], undefined);
  });

  test('a list is read page by page, up to its limit', async () => {
    await using server = await serve(
      json(200, { items: [1, 2], next: 'c1' }),
      json(200, { items: [3, 4], next: 'c2' }),
      json(200, { items: [5], next: null }),
    );
    const items: number[] = [];
    for await (const page of client(server.url).pages<number>('/v1/x', {
      pageSize: 2,
      query: { q: 'y' },
    })) {
      items.push(...page.items);
    }
    assert.deepEqual(items, [1, 2, 3, 4, 5]);
    assert.deepEqual(
      server.seen.map(({ url }) => url),
      ['/v1/x?q=y&limit=2', '/v1/x?q=y&limit=2&cursor=c1', '/v1/x?q=y&limit=2&cursor=c2'],
    );
  });

  test('a limit below a page is asked for, and ends the list', async () => {
    await using server = await serve(json(200, { items: [1, 2, 3], next: 'c1' }));
    const pages = [];
    for await (const page of client(server.url).pages<number>('/v1/x', { limit: 3 }))
      pages.push(page);
    assert.equal(pages.length, 1);
    assert.equal(server.seen[0]?.url, '/v1/x?limit=3');
  });
});

describe('retries', () => {
  for (const method of ['GET', 'PUT', 'DELETE']) {
    test(`${method} is tried again after 503 and a cut connection`, async () => {
      await using server = await serve(busy, cut, fine);
      await client(server.url).call(method, '/v1/x');
      assert.equal(server.seen.length, 3);
    });
  }

  test('POST with an idempotency key is tried again, with the same key', async () => {
    await using server = await serve(cut, busy, fine);
    await client(server.url).post('/v1/x', { body: {}, idempotencyKey: 'k1' });
    assert.deepEqual(
      server.seen.map(({ headers }) => headers['idempotency-key']),
      ['k1', 'k1', 'k1'],
    );
  });

  for (const method of ['POST', 'PATCH']) {
    test(`${method} without one is not: it may have been carried out`, async () => {
      await using server = await serve(cut, fine);
      await assert.rejects(client(server.url).call(method, '/v1/x'), ConnectionFailure);
      await using other = await serve(busy, fine);
      await assert.rejects(client(other.url).call(method, '/v1/x'), ApiFailure);
      assert.equal(server.seen.length + other.seen.length, 2);
    });
  }

  test('a refusal is not tried again', async () => {
    await using server = await serve(json(422, problem), fine);
    await assert.rejects(client(server.url).get('/v1/x'), ApiFailure);
    assert.equal(server.seen.length, 1);
  });

  test('Retry-After beyond the time limit is not waited for', async () => {
    await using server = await serve(json(503, problem, { 'retry-after': '3600' }), fine);
    await assert.rejects(client(server.url).get('/v1/x'), ApiFailure);
    assert.equal(server.seen.length, 1);
  });

  test('what a repeated DELETE does not find was deleted by the first', async () => {
    await using server = await serve(cut, json(404, { ...problem, status: 404 }));
    assert.equal((await client(server.url).delete('/v1/x')).status, 404);
    await using other = await serve(json(404, { ...problem, status: 404 }));
    await assert.rejects(
      client(other.url).delete('/v1/x'),
      (error: ApiFailure) => error.exitCode === EXIT.nothing,
    );
  });

  test('they end', async () => {
    await using server = await serve(cut);
    await assert.rejects(client(server.url).get('/v1/x', { retries: 2 }), ConnectionFailure);
    assert.equal(server.seen.length, 3);
  });
});

async function failureOf(work: Promise<unknown>): Promise<CommandFailure> {
  const error = await work.then(
    () => assert.fail('it succeeded'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof CommandFailure, String(error));
  return error;
}

describe('failures', () => {
  test('a problem is told whole: title, detail, fields, hint, request', async () => {
    const body = {
      ...problem,
      title: 'The request does not fit',
      detail: 'Something of its own.',
      errors: [{ path: 'body.to', message: 'is required' }],
      hint: 'Add it.',
    };
    await using server = await serve(json(400, body));
    const { message, notes, exitCode } = await failureOf(client(server.url).get('/v1/x'));
    assert.equal(exitCode, EXIT.failed);
    assert.equal(message, 'The request does not fit');
    assert.deepEqual(notes, [
      'Something of its own.',
      'body.to: is required',
      'Hint: Add it.',
      'Request: req_1 (400 c)',
    ]);
  });

  test('a detail that only joins the fields is left out', async () => {
    const errors = [
      { path: 'body.a', message: 'is bad' },
      { path: 'body.b', message: 'too' },
    ];
    await using server = await serve(
      json(400, { ...problem, errors, detail: 'body.a: is bad; body.b: too' }),
      json(400, { ...problem, errors, detail: 'body.a is bad; body.b too' }),
    );
    for (let i = 0; i < 2; i++) {
      const { notes } = await failureOf(client(server.url).get('/v1/x'));
      assert.deepEqual(notes, ['body.a: is bad', 'body.b: too', 'Request: req_1 (400 c)']);
    }
  });

  for (const [status, exitCode] of [
    [401, EXIT.unauthorized],
    [403, EXIT.unauthorized],
    [404, EXIT.nothing],
    [409, EXIT.failed],
    [500, EXIT.failed],
  ] as const) {
    test(`${status} ends with ${exitCode}`, async () => {
      await using server = await serve(json(status, { ...problem, status }));
      assert.equal((await failureOf(client(server.url).get('/v1/x'))).exitCode, exitCode);
    });
  }

  test('nobody listens', async () => {
    await using server = await serve(fine);
    const { url } = server;
    await server[Symbol.asyncDispose]();
    await using _nothing = await serve(fine);
    const { message, exitCode } = await failureOf(client(url).get('/v1/x', { retries: 0 }));
    assert.equal(exitCode, EXIT.failed);
    assert.match(message, /cannot be reached: the connection was refused/);
  });

  test('a host that does not exist is not looked up again and again', async () => {
    const failure = await failureOf(client('http://tidings.invalid').get('/v1/x'));
    assert.match(failure.message, /there is no such host|cannot be looked up/);
  });

  test('no answer in time', async () => {
    await using server = await serve(() => {});
    const { exitCode, message } = await failureOf(
      client(server.url, { timeoutMs: 50 }).get('/v1/x'),
    );
    assert.equal(exitCode, EXIT.timeout);
    assert.match(message, /did not answer in time/);
  });

  test('half an answer', async () => {
    await using server = await serve((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' });
      response.write('{"items":[');
      setImmediate(() => response.destroy());
    });
    assert.ok(
      (await failureOf(client(server.url).get('/v1/x', { retries: 0 }))) instanceof
        ConnectionFailure,
    );
  });

  test('a stranger that answers', async () => {
    const html: Answer = (_request, response) =>
      void response
        .writeHead(200, { 'content-type': 'text/html' })
        .end('<h1>Router\u001b[31m</h1>');
    const gateway: Answer = (_request, response) =>
      void response.writeHead(502).end('Bad\u0007 gateway');
    const broken: Answer = (_request, response) =>
      void response.writeHead(200, { 'content-type': 'application/json' }).end('{"a"');
    await using server = await serve(html, gateway, broken);
    const api = client(server.url);
    assert.match((await failureOf(api.get('/v1/x'))).message, /answered a web page/);
    const { message, notes } = await failureOf(api.get('/v1/x', { retries: 0 }));
    assert.match(message, /HTTP 502, and not as Tidings does/);
    assert.deepEqual(notes, ['It said: Bad\\x07 gateway']);
    assert.match((await failureOf(api.get('/v1/x'))).message, /not JSON/);
  });

  test('a redirect is not followed: the key is meant for nobody else', async () => {
    await using elsewhere = await serve(fine);
    await using server = await serve((_request, response) => {
      response.writeHead(302, { location: elsewhere.url }).end();
    });
    assert.match(
      (await failureOf(client(server.url).get('/v1/x'))).message,
      /leads elsewhere \(HTTP 302\)/,
    );
    assert.equal(elsewhere.seen.length, 0);
  });

  test('the key is in no message', async () => {
    await using server = await serve(json(500, problem));
    const failure = await failureOf(client(server.url).get('/v1/x'));
    assert.doesNotMatch([failure.message, ...failure.notes, failure.stack].join(), /secret-key/);
  });
});
