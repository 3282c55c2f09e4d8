/**
 * Attacks on the protocol, as bytes on a socket: requests that two parsers could read differently,
 * that never end, or that no client would send. After each the service answers everybody else.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { assertNothingOfTheInside, assertProblem } from '../support/problem.ts';
import { ask, exchange, RawConnection, requestBytes } from '../support/raw-http.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';
import { until, within } from '../support/within.ts';

const MIB = 1024 * 1024;
const BODY = JSON.stringify({
  to: { email: 'ada@example.com' },
  content: { title: 'Hello', text: 'x' },
});
const SEND = '/v1/notifications';
const JSON_TYPE = 'Content-Type: application/json';

let tidings: Tidings;
let key: string;
before(async () => {
  tidings = await startTidings({ env: PATIENT });
  key = `Authorization: Bearer ${tidings.key}`;
});
after(async () => {
  await tidings?.[Symbol.asyncDispose]();
});

/** Lines of a request, with their ends. */
function lines(...text: string[]): string {
  return text.map((line) => `${line}\r\n`).join('');
}

function post(...headers: string[]): string {
  return lines(`POST ${SEND} HTTP/1.1`, 'Host: 127.0.0.1', key, JSON_TYPE, ...headers, '');
}

async function accepted(): Promise<number> {
  return (await tidings.ledger()).accepted;
}

async function alive(): Promise<void> {
  assert.equal((await tidings.call('/health/ready')).status, 200);
}

/** The bytes are refused as a whole, the connection is closed, and nothing of them was taken. */
async function refused(name: string, bytes: string, status: number | number[] = 400) {
  const before = await accepted();
  const answers = await exchange(tidings.port, bytes);
  assert.equal(answers.length, 1, `${name}: ${JSON.stringify(answers)}`);
  const [answer] = answers;
  assert.ok(answer);
  assertProblem(answer, status, name);
  assert.equal(await accepted(), before, `${name}: something was taken`);
}

describe('requests that can be read in two ways', () => {
  const length = `Content-Length: ${BODY.length}`;
  const chunked = 'Transfer-Encoding: chunked';
  const chunk = `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`;

  it('have one length, or are refused', async () => {
    const framings: [string, string][] = [
      ['length and chunks', post('Content-Length: 5', chunked) + chunk],
      ['chunks and length', post(chunked, 'Content-Length: 5') + chunk],
      ['two lengths', post(length, 'Content-Length: 5') + BODY],
      ['the same length twice', post(length, length) + BODY],
      ['a list of lengths', post(`${length}, ${BODY.length}`) + BODY],
      ['a negative length', post('Content-Length: -1')],
      ['a signed length', post(`Content-Length: +${BODY.length}`) + BODY],
      ['a hexadecimal length', post('Content-Length: 0x50') + BODY],
      ['a length without end', post(`Content-Length: ${'9'.repeat(30)}`) + BODY],
      ['chunked twice', post(chunked, chunked) + chunk],
      ['chunked, then something', post('Transfer-Encoding: chunked, gzip') + chunk],
      ['almost chunked', post('Transfer-Encoding: xchunked') + chunk],
      ['chunked behind a control character', post('Transfer-Encoding: \x0bchunked') + chunk],
      ['identity', post('Transfer-Encoding: identity') + BODY],
      ['a chunk size that is none', `${post(chunked)}zz\r\n${BODY}\r\n0\r\n\r\n`],
      ['a chunk size past 64 bits', `${post(chunked)}${'f'.repeat(17)}\r\n${BODY}`],
      ['a negative chunk size', `${post(chunked)}-5\r\n${BODY}`],
      ['a chunk longer than it says', `${post(chunked)}5\r\n${BODY}\r\n0\r\n\r\n`],
    ];
    for (const [name, bytes] of framings) await refused(name, bytes);
  });

  it('are not taken with a transfer coding that is not undone', async () => {
    const coded = lines(`POST ${SEND} HTTP/1.1`, 'Host: a', 'Connection: close', key, JSON_TYPE);
    for (const coding of ['gzip', 'deflate', 'compress', 'identity']) {
      const head = `${coded}Transfer-Encoding: ${coding}, chunked\r\n\r\n`;
      await refused(coding, head + chunk, [400, 415, 501]);
    }
  });

  it('have header lines of one spelling', async () => {
    const get = 'GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n';
    const heads: [string, string][] = [
      ['a bare LF', 'GET /health/live HTTP/1.1\nHost: 127.0.0.1\n\n'],
      ['a bare LF in the middle', `${get}X-A: b\nX-C: d\r\n\r\n`],
      ['a bare CR', `${get}X-A: b\rX-C: d\r\n\r\n`],
      ['a NUL', `${get}X-A: b\0c\r\n\r\n`],
      ['a folded line', `${get}X-A: b\r\n c\r\n\r\n`],
      [
        'a folded key',
        `GET /v1/whoami HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer\r\n ${key}\r\n\r\n`,
      ],
      ['a space before the colon', `${get}X-A : b\r\n\r\n`],
      ['a space before the first header', `GET /health/live HTTP/1.1\r\n Host: a\r\n\r\n`],
      ['a name with a space', `${get}X A: b\r\n\r\n`],
      ['a line without a colon', `${get}X-A\r\n\r\n`],
      ['an empty name', `${get}: b\r\n\r\n`],
    ];
    for (const [name, bytes] of heads) await refused(name, bytes);
  });

  it('name one host', async () => {
    const get = 'GET /health/live HTTP/1.1\r\nConnection: close\r\n';
    // RFC 9112, 3.2: a server must answer 400 to each of these.
    await refused('no host', `${get}\r\n`);
    await refused('two hosts', `${get}Host: 127.0.0.1\r\nHost: evil.example\r\n\r\n`);
    await refused('a host that is none', `${get}Host: a b/../c\r\n\r\n`);
  });
});

describe('what is not HTTP/1.1', () => {
  it('HTTP/1.0 is answered and closed', async () => {
    const bytes = `POST ${SEND} HTTP/1.0\r\n${key}\r\n${JSON_TYPE}\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`;
    const [answer] = await exchange(tidings.port, bytes);
    assert.equal(answer?.status, 202);
  });

  it('other protocols are told so', async () => {
    const others: [string, string][] = [
      ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
      ['a version that is none', 'GET /health/live HTTP/9.9\r\nHost: a\r\n\r\n'],
      ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
      ['noise', '\0\0\0\0\xff\xff'],
      ['SMTP', 'EHLO mail.example\r\n'],
    ];
    for (const [name, bytes] of others) await refused(name, bytes);
  });

  it('an upgrade that is not offered is no upgrade', async () => {
    for (const protocol of ['h2c', 'websocket', 'TLS/1.0']) {
      const answer = await ask(tidings.port, {
        path: '/v1/whoami',
        headers: [key, `Upgrade: ${protocol}`, 'Connection: Upgrade, close'],
      });
      assert.equal(answer.status, 200, protocol);
    }
    // What is no resource of ours cannot be reached through us.
    await exchange(tidings.port, 'CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n');
    await alive();
  });

  it('requests in one piece are answered in their order', async () => {
    const get = (path: string, ...headers: string[]) =>
      lines(`GET ${path} HTTP/1.1`, 'Host: 127.0.0.1', ...headers, '');
    const answers = await exchange(
      tidings.port,
      get('/health/live') +
        get('/nowhere') +
        get('/v1/whoami', key) +
        get('/v1/whoami', 'Connection: close'),
    );
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 404, 200, 401],
      'and the key of one is not the key of the next',
    );
    const before = await accepted();
    const body = `${post(`Content-Length: ${BODY.length}`)}${BODY}`;
    const piped = await exchange(
      tidings.port,
      body.repeat(3) + get('/health/live', 'Connection: close'),
    );
    assert.deepEqual(
      piped.map(({ status }) => status),
      [202, 202, 202, 200],
    );
    assert.equal(await accepted(), before + 3);
  });

  it('a smuggled request in a body is a body', async () => {
    const smuggled = `GET /v1/whoami HTTP/1.1\r\nHost: a\r\n${key}\r\n\r\n`;
    const answer = await ask(tidings.port, {
      path: SEND,
      headers: [key, JSON_TYPE],
      body: smuggled,
    });
    assertProblem(answer, 400);
  });

  it('what is expected and cannot be is refused', async () => {
    const expecting = (what: string) =>
      post(`Expect: ${what}`, 'Connection: close', `Content-Length: ${BODY.length}`) + BODY;
    const continued = await exchange(tidings.port, expecting('100-continue'));
    assert.deepEqual(
      continued.map(({ status }) => status),
      [100, 202],
    );
    await refused('an expectation that nobody knows', expecting('a-pony'), 417);
  });
});

describe('methods and paths', () => {
  it('a method that a path does not have is refused', async () => {
    const methods = ['PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'COPY', 'BREW'];
    for (const method of methods) {
      const answer = await ask(tidings.port, { method, path: '/v1/ledger', headers: [key] });
      assertProblem(answer, [400, 404, 405, 501], method);
      // TRACE would show the key to a page that may not read it.
      assert.ok(!answer.body.includes(tidings.key));
    }
  });

  it('reads no body where there is no route, and little where anybody may send one', async () => {
    const long = `{"a":"${'x'.repeat(900_000)}"}`;
    for (const path of ['/nope', '/docs', '/v1/inbox/stream']) {
      for (const body of ['{', long]) {
        const answer = await ask(tidings.port, { path, headers: [JSON_TYPE], body });
        assertProblem(answer, 404, path);
      }
    }
    const session = { path: '/v1/sessions', headers: [JSON_TYPE], body: long };
    assertProblem(await ask(tidings.port, session), 413);
  });

  it('a header does not change the method', async () => {
    const created = await tidings.call(SEND, { body: JSON.parse(BODY) });
    const { id } = created.json<{ id: string }>();
    for (const name of ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override']) {
      const answer = await ask(tidings.port, {
        path: `${SEND}/${id}`,
        headers: [key, `${name}: DELETE`],
      });
      assert.equal(answer.status, 200);
      const asked = await ask(tidings.port, {
        path: `${SEND}/${id}?_method=DELETE`,
        headers: [key],
      });
      assertProblem(asked, 400);
      const posted = await ask(tidings.port, {
        path: `${SEND}/${id}`,
        headers: [key, JSON_TYPE, `${name}: DELETE`],
        body: '{"_method":"DELETE"}',
      });
      assertProblem(posted, [404, 405]);
    }
    assert.equal((await tidings.call(`${SEND}/${id}`)).status, 200, 'it is still there');
  });

  it('paths are taken as they are written', async () => {
    const absent = [
      '/nowhere',
      '/V1/whoami',
      '//v1/whoami',
      '/v1//whoami',
      '/v1/whoami/',
      '/v1/./whoami',
      '/v1/users/../whoami',
      '/v1/%77hoami/x',
      '/v1/whoami%00',
      '/v1/whoami;x=1',
      '/v1/whoami.json',
      '/.env',
      '/.git/config',
      '/data/master.key',
      '/master.key',
      '/server/src/main.ts',
      '/console/',
      '/console/..%2f..%2fpackage.json',
      '/console/../../package.json',
      '/console/%2e%2e/package.json',
      '/console/..%5cpackage.json',
      '/console/..\\package.json',
      '/console/%2e%2e%2f%2e%2e%2fmain.ts',
      '/console//etc/passwd',
      '/console/console.html%00.js',
      '/docs/..%2f..%2f..%2fpackage.json',
      '/docs/../../etc/passwd',
      '/docs/%2e%2e%2fopenapi.json',
      '/docs/%00',
      '/docs/nowhere',
      '/docs/js/..%2f..%2fpackage.json',
    ];
    for (const path of absent) {
      assertProblem(await ask(tidings.port, { path, headers: [key] }), [400, 404], path);
    }
    for (const path of [
      '/v1/users/%',
      '/v1/users/%zz',
      '/v1/users/%ff',
      '/v1/users/%c0%ae',
      '/%',
    ]) {
      const answer = await ask(tidings.port, { path: `${path}?token=hidden`, headers: [key] });
      assertProblem(answer, [400, 404], path);
      assert.ok(!answer.body.includes('hidden'), answer.body);
    }
    const proxied = await ask(tidings.port, { path: 'http://evil.example/v1/whoami' });
    assertProblem(proxied, [400, 401, 404]);
    await alive();
  });

  it('what is absurdly long is refused, not cut', async () => {
    const long = 'a'.repeat(20_000);
    for (const request of [
      { path: `/${long}` },
      { path: `/v1/users?cursor=${long}`, headers: [key] },
      { path: '/health/live', headers: [`X-A: ${long}`] },
      { path: '/v1/whoami', headers: [`Authorization: Bearer ${long}`] },
      { path: '/health/live', headers: Array.from({ length: 3000 }, (_, i) => `X-${i}: a`) },
    ]) {
      assertProblem(await ask(tidings.port, request), 431);
    }
    // Many short ones fit into the limit of bytes. The last one counts like the first.
    const many = Array.from({ length: 2500 }, () => 'a:');
    const answer = await ask(tidings.port, { path: '/v1/whoami', headers: [...many, key] });
    assert.ok([200, 431].includes(answer.status), `${answer.status} ${answer.body}`);
    const names = `/v1/users/${'%41'.repeat(1000)}`;
    assertProblem(await ask(tidings.port, { path: names, headers: [key] }), [400, 404, 414]);
  });
});

describe('bodies without end', () => {
  const CHUNK = Buffer.concat([
    Buffer.from('10000\r\n'),
    Buffer.alloc(64 * 1024, ' '),
    Buffer.from('\r\n'),
  ]);
  /** A service that goes on reading is given up then. */
  const UPLOAD_LIMIT = 256 * MIB;

  /** Sends until the service ends the connection; resolves with what it said and how much it grew. */
  async function upload(head: string): Promise<{ status: number; sent: number; grown: number }> {
    using connection = await RawConnection.open(tidings.port);
    const before = tidings.residentBytes();
    let grown = 0;
    let sent = 0;
    connection.write(head);
    while (connection.open && sent < UPLOAD_LIMIT) {
      connection.write(CHUNK);
      sent += CHUNK.length;
      await connection.drained();
      if (sent % MIB < CHUNK.length) grown = Math.max(grown, tidings.residentBytes() - before);
    }
    const [answer] = connection.answers;
    assert.ok(answer, 'there is an answer before the end of the body');
    assertProblem(answer, answer.status);
    return { status: answer.status, sent, grown };
  }

  const head = (path: string, ...headers: string[]) =>
    lines(`POST ${path} HTTP/1.1`, 'Host: 127.0.0.1', ...headers, 'Transfer-Encoding: chunked', '');

  it('one byte too much is too much', async () => {
    const padded = (size: number) => ' '.repeat(size - BODY.length) + BODY;
    const headers = [key, JSON_TYPE];
    assert.equal((await ask(tidings.port, { path: SEND, headers, body: padded(MIB) })).status, 202);
    const problem = assertProblem(
      await ask(tidings.port, { path: SEND, headers, body: padded(MIB + 1) }),
      413,
    );
    assert.deepEqual(
      problem.errors?.map(({ path }) => path),
      ['body'],
    );
    const chunks = `${(MIB + 1).toString(16)}\r\n${padded(MIB + 1)}\r\n0\r\n\r\n`;
    const [chunked] = await exchange(tidings.port, head(SEND, ...headers) + chunks);
    assertProblem(chunked ?? { status: 0, headers: {} }, 413);
    // A length is believed before anything of the body is there.
    const [told] = await exchange(tidings.port, post(`Content-Length: ${10 * 1024 * MIB}`));
    assertProblem(told ?? { status: 0, headers: {} }, 413);
  });

  it('an upload without end is cut off, and costs no memory', async () => {
    // What the first large body loads stays loaded.
    await ask(tidings.port, { path: SEND, headers: [key, JSON_TYPE], body: ' '.repeat(MIB) });
    const { status, sent, grown } = await upload(head(SEND, key, JSON_TYPE));
    assert.equal(status, 413);
    assert.ok(sent < UPLOAD_LIMIT, 'it was cut off');
    assert.ok(grown <= 32 * MIB, `${Math.round(grown / MIB)} MiB more`);
  });

  it('a body that is refused before it is read is not read to its end either', async () => {
    const heads: [string, number, string][] = [
      ['no key', 401, head(SEND, JSON_TYPE)],
      ['compressed', 415, head(SEND, key, JSON_TYPE, 'Content-Encoding: gzip')],
      ['of another type', 415, head(SEND, key, 'Content-Type: text/plain')],
      ['for nobody', 404, head('/nowhere', JSON_TYPE)],
    ];
    for (const [name, status, bytes] of heads) {
      const answer = await upload(bytes);
      assert.equal(answer.status, status, name);
      assert.ok(answer.sent < UPLOAD_LIMIT, `${name}: it was cut off`);
      assert.ok(answer.grown <= 32 * MIB, `${name}: ${Math.round(answer.grown / MIB)} MiB more`);
    }
    await alive();
  });
});

describe('senders without haste', () => {
  const SOCKETS = 300;

  it('hold no connection, and nobody up', async () => {
    const heads = await openAll(SOCKETS, 'GET /health/live HTTP/1.1\r\nHost: a\r\nX-A: ');
    const silent = await openAll(20, '');
    const bodies = await openAll(20, `${post('Content-Length: 1000')}{`);
    const all = [...heads, ...silent, ...bodies];
    try {
      const drip = setInterval(() => {
        for (const connection of all) if (!silent.includes(connection)) connection.write(' ');
      }, 500);
      try {
        await until(
          'the slow ones to be closed',
          async () => {
            await alive();
            return heads.every(({ open }) => !open) && silent.every(({ open }) => !open);
          },
          { seconds: 30, everyMs: 50 },
        );
        assert.ok(
          bodies.some(({ open }) => open),
          'a body has more time than a head',
        );
        await within(
          40,
          'the slow bodies to be closed',
          Promise.all(bodies.map((one) => one.closed)),
        );
      } finally {
        clearInterval(drip);
      }
      for (const { answers } of [...heads, ...bodies]) {
        const [answer] = answers;
        if (answer) assertProblem(answer, 408);
      }
    } finally {
      for (const connection of all) connection[Symbol.dispose]();
    }
    await alive();
  });

  it('a client that is gone leaves nothing behind', async () => {
    const before = await accepted();
    for (let i = 0; i < 50; i++) {
      using connection = await RawConnection.open(tidings.port);
      connection.write(
        requestBytes({ path: SEND, headers: [key, JSON_TYPE], body: BODY }).subarray(0, -20),
      );
      await connection.drained();
    }
    await alive();
    assert.equal(await accepted(), before, 'half a request is none');
  });
});

it('nothing of this shows the inside in a log', () => {
  assertNothingOfTheInside(tidings.stderr);
  assertNothingOfTheInside(tidings.stdout.join('\n'));
});

async function openAll(count: number, bytes: string): Promise<RawConnection[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const connection = await RawConnection.open(tidings.port);
      if (bytes !== '') connection.write(bytes);
      return connection;
    }),
  );
}
