/**
 * Keys: what is not one opens nothing and tells nothing, one that was taken back stops, and none is
 * ever written where somebody else could read it. Nor is anything else that was told in confidence.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import type { CreatedApiKey, Session } from '@tidings/contracts/application';
import type { HttpAnswer, HttpCall } from '../support/http-client.ts';
import { startHttpReceiver } from '../support/http-receiver.ts';
import { openApiOf, operationsOf, pathOf } from '../support/operations.ts';
import { assertNothingOfTheInside, assertProblem, shapeOf } from '../support/problem.ts';
import { ask } from '../support/raw-http.ts';
import { SmtpTestServer } from '../support/smtp.ts';
import { PATIENT, startTidings, type Tidings } from '../support/start.ts';
import { until } from '../support/within.ts';

let tidings: Tidings;
before(async () => {
  tidings = await startTidings({ env: PATIENT });
});
after(async () => {
  await tidings?.[Symbol.asyncDispose]();
});

async function createKey(body: object = {}): Promise<CreatedApiKey> {
  const answer = await tidings.call('/v1/api-keys', { body });
  assert.equal(answer.status, 201, answer.text);
  return answer.json<CreatedApiKey>();
}

function as(secret: string, path = '/v1/whoami', call: HttpCall = {}): Promise<HttpAnswer> {
  return tidings.call(path, { ...call, headers: { authorization: `Bearer ${secret}` } });
}

/** One header as it is written; none when it is left out. */
async function with401(path: string, ...headers: string[]) {
  const answer = await ask(tidings.port, { path, headers });
  const problem = assertProblem(answer, 401, `${path} ${headers.join(', ')}`);
  assert.equal(answer.headers['www-authenticate'], 'Bearer');
  return problem;
}

describe('what is no key', () => {
  it('opens nothing, and is answered alike', async () => {
    const revoked = await createKey();
    await tidings.call(`/v1/api-keys/${revoked.id}`, { method: 'DELETE' });
    const expired = await createKey({ expiresAt: new Date(Date.now() + 1000).toISOString() });
    await until('the key to expire', async () => (await as(expired.secret)).status === 401);
    const { secret } = await createKey();
    const guesses = [
      revoked.secret,
      expired.secret,
      `tdk_live_${randomBytes(32).toString('base64url')}`,
      `tdk_test_${randomBytes(32).toString('base64url')}`,
      `tdk_session_${randomBytes(32).toString('base64url')}`,
      secret.slice(0, -1),
      `${secret}x`,
      secret.toUpperCase(),
      secret.replace('tdk_live_', ''),
      secret.slice(0, 'tdk_live_'.length + 4),
      `${secret} ${secret}`,
      `"${secret}"`,
      'x',
      'null',
      'undefined',
      "' OR 1=1--",
      '%00',
      '\xff\xfe',
      '*',
    ];
    const shapes = new Set<string>();
    for (const guess of guesses) {
      const problem = await with401('/v1/whoami', `Authorization: Bearer ${guess}`);
      shapes.add(JSON.stringify(shapeOf(problem)));
    }
    assert.equal(shapes.size, 1, [...shapes].join('\n'));
    assert.equal((await as(secret)).status, 200, 'the key itself does');
  });

  it('is what comes in any other place or form', async () => {
    const { secret } = await createKey();
    const basic = Buffer.from(`${secret}:`).toString('base64');
    const header = 'Authorization: ';
    for (const headers of [
      [],
      [`${header}${secret}`],
      [`${header}Basic ${basic}`],
      [`${header}Token ${secret}`],
      [`${header}Bearer`],
      [`${header}Bearer `],
      [`${header}Bearer${secret}`],
      [`${header}Bearer, Bearer ${secret}`],
      [`Cookie: authorization=Bearer ${secret}; key=${secret}; session=${secret}`],
      [`X-Api-Key: ${secret}`],
      [`Api-Key: ${secret}`],
      [`Proxy-Authorization: Bearer ${secret}`],
      [`X-Authorization: Bearer ${secret}`],
    ]) {
      await with401('/v1/whoami', ...headers);
    }
    for (const name of ['access_token', 'api_key', 'apiKey', 'key', 'token', 'authorization']) {
      await with401(`/v1/whoami?${name}=${secret}`);
      await with401(`/v1/whoami?${name}=Bearer%20${secret}`);
    }
    for (const scheme of ['bearer', 'BEARER']) {
      assert.equal(
        (await tidings.call('/v1/whoami', { headers: { authorization: `${scheme} ${secret}` } }))
          .status,
        200,
      );
    }
  });

  it('opens no operation', async () => {
    for (const operation of operationsOf(await openApiOf(tidings))) {
      if (operation.access === 'open') continue;
      for (const authorization of ['', 'Bearer guess']) {
        const answer = await ask(tidings.port, {
          method: operation.method,
          path: pathOf(operation),
          headers: [
            'Content-Type: application/json',
            ...(authorization === '' ? [] : [`Authorization: ${authorization}`]),
          ],
          ...(operation.body ? { body: JSON.stringify(operation.body) } : {}),
        });
        assertProblem(answer, 401, operation.id);
      }
    }
  });

  it('is one that was taken back', async () => {
    const [one, other] = [await createKey(), await createKey()];
    assert.equal((await as(one.secret)).status, 200);
    const revoke = () => tidings.call(`/v1/api-keys/${one.id}`, { method: 'DELETE' });
    assert.equal((await revoke()).status, 204);
    await until('the key to stop', async () => (await as(one.secret)).status === 401, {
      seconds: 10,
    });
    assert.equal((await revoke()).status, 204, 'twice is the same');
    assert.equal((await as(other.secret)).status, 200, 'the other goes on');
  });

  it('never ends with the last that can administer', async () => {
    const { items } = (await tidings.call('/v1/api-keys?limit=100')).json<{
      items: { id: string; scopes: string[]; revokedAt: string | null }[];
    }>();
    const admins = items.filter(
      ({ scopes, revokedAt }) => scopes.includes('admin') && revokedAt === null,
    );
    assert.equal(admins.length, 1, 'the first key');
    const end = (id: string | undefined) =>
      tidings.call(`/v1/api-keys/${id}`, { method: 'DELETE' });
    assertProblem(await end(admins[0]?.id), 409);
    assert.equal((await tidings.call('/v1/whoami')).status, 200);
  });

  it('is that of a session that was ended', async () => {
    const token = tidings.stdout.map((line) => /#token=(\S+)/.exec(line)?.[1]).find(Boolean);
    const answer = await tidings.call('/v1/sessions', { body: { token } });
    assert.equal(answer.status, 201, answer.text);
    assert.equal(answer.headers['cache-control'], 'no-store');
    const session = answer.json<Session>();
    const { id } = (await as(session.key)).json<{ id: string }>();
    const ended = await as(session.key, `/v1/api-keys/${id}`, { method: 'DELETE' });
    assert.equal(ended.status, 204);
    await until('the session to end', async () => (await as(session.key)).status === 401, {
      seconds: 10,
    });
    assertProblem(await tidings.call('/v1/sessions', { body: { token } }), 401);
  });

  it('can give nobody more than it has', async () => {
    const { secret } = await createKey({ scopes: ['manage', 'read'] });
    for (const scopes of [['admin'], ['send'], ['read', 'admin']]) {
      assertProblem(await as(secret, '/v1/api-keys', { body: { scopes } }), 403);
    }
    const test = await createKey({ kind: 'test' });
    assertProblem(await as(test.secret, '/v1/api-keys', { body: { kind: 'live' } }), 403);
    const { items } = (await tidings.call('/v1/api-keys')).json<{
      items: { id: string; name: string }[];
    }>();
    const operator = items.find(({ name }) => name === 'bootstrap');
    assertProblem(await as(secret, `/v1/api-keys/${operator?.id}`, { method: 'DELETE' }), 403);
    assert.equal((await tidings.call('/v1/whoami')).status, 200);
    assertProblem(await tidings.call('/v1/api-keys', { body: { name: 'bootstrap' } }), 400);
  });
});

describe('where a request comes from', () => {
  const exchangeFrom = (service: Tidings, forwarded: string) =>
    service.call('/v1/sessions', {
      body: { token: randomBytes(32).toString('base64url') },
      headers: {
        'x-forwarded-for': forwarded,
        'x-real-ip': forwarded,
        forwarded: `for=${forwarded}`,
        'cf-connecting-ip': forwarded,
      },
    });
  const addresses = Array.from({ length: 60 }, (_, i) => `198.51.100.${i}`);

  it('is not what it says', async () => {
    const statuses = new Set<number>();
    for (const address of addresses) {
      const answer = await exchangeFrom(tidings, address);
      const problem = assertProblem(answer, [401, 429]);
      statuses.add(problem.status);
      if (problem.status === 429) assert.ok(Number(answer.headers['retry-after']) > 0);
    }
    assert.deepEqual(
      [...statuses],
      [401, 429],
      'guesses are counted by the address they come from',
    );
  });

  it('unless a proxy that is trusted says it', async () => {
    await using behind = await startTidings({
      env: { ...PATIENT, TIDINGS_HTTP_TRUSTED_PROXIES: '127.0.0.1' },
    });
    for (const address of addresses) {
      assertProblem(await exchangeFrom(behind, address), 401);
    }
  });
});

describe('what is told in confidence', () => {
  const canary = (name: string): string => `canary${name}${randomBytes(6).toString('hex')}`;

  it('stands in no log, metric or refusal', async () => {
    const address = `${canary('mail')}@example.com`;
    const userId = canary('user');
    const text = canary('text');
    const password = canary('password');
    const bootstrap = canary('operator');
    const webhookSecret = `whsec_${randomBytes(32).toString('base64')}`;
    await using smtp = await SmtpTestServer.start({ users: { relay: 'another' } });
    await using receiver = await startHttpReceiver();
    receiver.answer({ status: 500, body: `who are you? ${webhookSecret}` }, 'garbage');
    await using service = await startTidings({
      env: {
        ...PATIENT,
        TIDINGS_LOG_LEVEL: 'debug',
        TIDINGS_LOG_ACCESS_SAMPLING: '1',
        TIDINGS_BOOTSTRAP_KEY: bootstrap,
        TIDINGS_DELIVERY_RETRY_DELAYS_MS: '20',
        TIDINGS_WEBHOOK_HTTP_ALLOWED_NETWORKS: '127.0.0.0/8',
        TIDINGS_EMAIL_SMTP_HOST: '127.0.0.1',
        TIDINGS_EMAIL_SMTP_PORT: String(smtp.port),
        TIDINGS_EMAIL_SMTP_USERNAME: 'relay',
        TIDINGS_EMAIL_SMTP_PASSWORD: password,
        TIDINGS_EMAIL_SMTP_FROM_ADDRESS: 'tidings@example.com',
      },
    });
    const authorization = `Bearer ${bootstrap}`;
    const call = (path: string, options: HttpCall = {}) =>
      service.call(path, { ...options, headers: { authorization, ...options.headers } });
    const made = async (path: string, body: object): Promise<Record<string, string>> => {
      const answer = await call(path, { body });
      assert.ok(answer.status < 300, answer.text);
      return answer.json<Record<string, string>>();
    };
    const created = await made('/v1/api-keys', {});
    const endpoint = await made('/v1/webhook-endpoints', {
      url: `${receiver.origin}/${canary('path')}`,
      secret: webhookSecret,
    });
    const { token } = await made('/v1/inbox/tokens', { userId });
    await call(`/v1/users/${userId}`, {
      method: 'PUT',
      body: { addresses: [{ channel: 'email', address }], attributes: { text } },
    });
    // Each attempt of these fails, in its own way.
    for (const to of [{ email: address }, { webhook: String(endpoint['id']) }, { userId }]) {
      const body = { to, content: { title: text, text } };
      const answer = await call('/v1/notifications?wait=20s', { body });
      assert.equal(answer.status, 200, answer.text);
    }

    const secrets = [
      address,
      userId,
      text,
      password,
      bootstrap,
      webhookSecret,
      webhookSecret.slice(6),
      String(created['secret']),
      String(token),
      address.split('@')[0] as string,
    ];
    const sent = { to: { email: address }, content: { title: text, text } };
    const quoted = JSON.stringify(sent);
    const ofKey = String(created['secret']);
    const texts: [string, string, string[]][] = [
      // Not JSON, right at the secret: what a parser quotes of it stands in no answer.
      ['/v1/notifications', quoted.replace(`"${address}"`, address), []],
      ['/v1/notifications', quoted.replace(`"${text}"`, `"${text}`), []],
      ['/v1/notifications', `${quoted}${address}`, []],
      ['/v1/webhook-endpoints', `{"url":"https://a.io","secret":${webhookSecret}}`, []],
      ['/v1/webhook-endpoints', `{"url":"https://a.io","secret":"${webhookSecret}x"}`, []],
      ['/v1/webhook-endpoints', `{"url":"https://u:${password}@a.io"}`, []],
      ['/v1/notifications', quoted.replace(address, `${address}@@`), []],
      ['/v1/notifications', quoted, ['Content-Type: text/plain']],
      [`/v1/notifications?token=${ofKey}`, quoted, []],
      [`/v1/users/%zz?token=${ofKey}`, quoted, []],
      ['/v1/sessions', JSON.stringify({ token: `${ofKey}${ofKey}${ofKey}${ofKey}${ofKey}` }), []],
      ['/v1/sessions', JSON.stringify({ token: ofKey }), []],
      ['/v1/inbox/mark', JSON.stringify({ action: 'read', items: 'all' }), []],
    ];
    const refusals: string[] = [];
    for (const [path, body, headers] of texts) {
      const type = headers.length > 0 ? headers : ['Content-Type: application/json'];
      const answer = await ask(service.port, {
        path,
        headers: [`Authorization: ${authorization}`, ...type],
        body,
      });
      assertProblem(answer, answer.status, path);
      assert.ok(answer.status >= 400, `${path} ${body}`);
      refusals.push(JSON.stringify(answer));
    }
    for (const wrong of [ofKey.slice(0, -1), `${bootstrap}x`, token, webhookSecret]) {
      const answer = await call('/v1/ledger', { headers: { authorization: `Bearer ${wrong}` } });
      refusals.push(
        assertProblem(answer, 401).detail ?? '',
        answer.text,
        JSON.stringify(answer.headers),
      );
    }
    const metrics = (await call('/metrics')).text;
    assert.match(metrics, /tidings_http_requests_total/);
    assert.equal((await service.stop()).code, 0);

    const written = `${service.stdout.join('\n')}\n${service.stderr}`;
    assert.match(written, /"msg":"request"/, 'requests are logged');
    // A parser quotes ten characters or so of what it cannot read, and those are too many.
    const pieces = secrets.flatMap((secret) =>
      secret.startsWith('canary') ? [secret, secret.slice(0, 10)] : [secret],
    );
    for (const [where, content] of [
      ['the log', written],
      ['the metrics', metrics],
      ['a refusal', refusals.join('\n')],
    ] as const) {
      for (const piece of pieces) {
        const at = content.indexOf(piece);
        assert.ok(
          at < 0,
          `${where} shows ${piece}: …${content.slice(Math.max(0, at - 200), at + 100)}`,
        );
      }
      assertNothingOfTheInside(content);
    }
  });

  it('is shown once, to whoever made it', async () => {
    const created = await createKey({ name: 'once' });
    const endpoint = (
      await tidings.call('/v1/webhook-endpoints', {
        body: { url: 'https://hooks.example.com/once' },
      })
    ).json<{ id: string; secret: string }>();
    const answers = [
      await tidings.call('/v1/api-keys?limit=200'),
      await tidings.call('/v1/webhook-endpoints'),
      await tidings.call(`/v1/webhook-endpoints/${endpoint.id}`),
      await tidings.call(`/v1/webhook-endpoints/${endpoint.id}`, {
        method: 'PATCH',
        body: { description: 'x' },
      }),
      await as(created.secret),
    ];
    for (const { status, text } of answers) {
      assert.equal(status, 200, text);
      assert.ok(!text.includes(created.secret) && !text.includes(endpoint.secret), text);
      assert.ok(!text.includes('"secret"'), text);
    }
    assert.ok(answers[0]?.text.includes(created.prefix));
    assert.ok(created.prefix.length <= 'tdk_live_'.length + 4);
  });
});
