/** The SMTP provider against a real server: its part of the shared suite, TLS, the pool, time limits. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { createCertificate, SmtpTestServer } from '../../../../test/support/smtp.ts';
import { systemClock } from '../../../clock.ts';
import {
  type Condition,
  makeDelivery,
  runProviderConformance,
  type Vendor,
} from '../../conformance.ts';
import type { Delivery, ProviderAccount, ProviderServices } from '../../provider.ts';
import { type EmailAddress, parseEmailAddress } from '../address.ts';
import type { SmtpConfig } from '../smtp-config.ts';
import smtp from './smtp.ts';

const TIMEOUT = { timeout: 30_000 };
const USER = 'tidings';
const PASSWORD = 'corréct-horse';
const DKIM_KEY = generateKeyPairSync('rsa', { modulusLength: 2048 })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString();
const LONG = 'x'.repeat(1500);

const deliveryOf = (overrides: Partial<Delivery> = {}) =>
  makeDelivery<unknown>({
    address: addressOf('ada@example.com'),
    content: { subject: 'Hello', text: 'Hello Ada' },
    ...overrides,
  });

function addressOf(text: string): EmailAddress {
  const parsed = parseEmailAddress(text);
  assert.ok(parsed.ok);
  return parsed.address;
}

function makeConfig(server: SmtpTestServer, overrides: Partial<SmtpConfig> = {}): SmtpConfig {
  return {
    host: '127.0.0.1',
    port: server.port,
    from: { address: 'shop@shop.example', name: 'Shop' },
    ...overrides,
  };
}

function open(config: SmtpConfig): ProviderAccount & AsyncDisposable {
  const services = {} as ProviderServices;
  const account = smtp.create({ accountId: 'mail', config, services, clock: systemClock });
  return Object.assign(account, { [Symbol.asyncDispose]: async () => account.close?.() });
}

const send = (account: ProviderAccount, overrides?: Partial<Delivery>, signal?: AbortSignal) =>
  account.send(deliveryOf(overrides) as Delivery<never>, signal ?? new AbortController().signal);

const SCRIPTS: Record<Condition, SmtpTestServer['script']> = {
  ok: {},
  temporary: { recipient: `451 4.3.0 Try later, ${PASSWORD} ${LONG}` },
  permanent: { recipient: `550 5.1.1 No such user, ${PASSWORD} ${LONG}` },
  config: {
    auth: `535 5.7.8 ${USER}/${PASSWORD} ${Buffer.from(`\0${USER}\0${PASSWORD}`).toString('base64')} ${LONG}`,
  },
  hang: { message: 'hang' },
  'reset-before': { recipient: 'reset' },
  'reset-after': { message: 'reset' },
  'slow-drip': { message: 'drip' },
  garbage: { greeting: 'garbage' },
};

async function startVendor(): Promise<Vendor & { server: SmtpTestServer }> {
  const server = await SmtpTestServer.start({ users: { [USER]: PASSWORD } });
  let condition: Condition = 'ok';
  return {
    server,
    get script() {
      return condition;
    },
    set script(next) {
      condition = next;
      server.script = SCRIPTS[next];
    },
    requests: () =>
      server.messages.map(({ raw }) => ({
        idempotencyKey: /^Message-ID: <([^@]+)@/im.exec(raw.toString())?.[1],
      })),
    holding: () => server.until(({ held }) => held > 0),
    idle: () => server.until(({ openConnections }) => openConnections === 0),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

runProviderConformance(smtp, {
  startVendor,
  makeConfig: (vendor) =>
    makeConfig((vendor as Awaited<ReturnType<typeof startVendor>>).server, {
      username: USER,
      password: PASSWORD,
      dkim: { domain: 'shop.example', selector: 's1' },
      dkimPrivateKey: DKIM_KEY,
      maxConnections: 1,
    }),
  makeDelivery: deliveryOf,
});

describe('smtp: TLS', TIMEOUT, () => {
  const certificate = createCertificate();
  const credentials = { username: USER, password: PASSWORD };
  const users = { [USER]: PASSWORD };

  test('STARTTLS and implicit TLS encrypt password and message', async () => {
    for (const tls of ['starttls', 'implicit'] as const) {
      await using server = await SmtpTestServer.start({ tls, certificate, users });
      await using account = open(
        makeConfig(server, {
          ...credentials,
          secure: tls === 'implicit',
          startTls: 'required',
          tls: { ca: certificate.cert },
        }),
      );
      assert.equal((await send(account)).kind, 'sent');
      assert.deepEqual(
        server.messages.map(({ secure, user }) => ({ secure, user })),
        [{ secure: true, user: USER }],
      );
      assert.doesNotMatch(Buffer.concat(server.wire.flat()).toString(), /AUTH|MAIL FROM/);
    }
  });

  test('a server without TLS is refused where TLS is required', async () => {
    await using server = await SmtpTestServer.start({ users });
    await using account = open(makeConfig(server, { ...credentials, startTls: 'required' }));
    const outcome = await send(account);
    assert.deepEqual(
      { ...outcome, response: undefined },
      { kind: 'rejected', reason: 'tls_unavailable', scope: 'config', response: undefined },
    );
    assert.doesNotMatch(Buffer.concat(server.wire.flat()).toString(), /AUTH|MAIL|RCPT|DATA/);
  });

  test('a certificate that does not verify is refused', async () => {
    for (const tls of ['starttls', 'implicit'] as const) {
      await using server = await SmtpTestServer.start({ tls, certificate, users });
      await using account = open(
        makeConfig(server, { ...credentials, secure: tls === 'implicit' }),
      );
      const outcome = await send(account);
      assert.deepEqual(
        { ...outcome, response: undefined },
        { kind: 'rejected', reason: 'tls_failed', scope: 'config', response: undefined },
      );
      assert.equal(server.messages.length, 0);
    }
  });

  test('a certificate for another name is refused', async () => {
    await using server = await SmtpTestServer.start({ tls: 'starttls', certificate });
    const tls = { ca: certificate.cert, servername: 'mail.example.com' };
    await using account = open(makeConfig(server, { startTls: 'required', tls }));
    assert.equal(((await send(account)) as { reason?: string }).reason, 'tls_failed');
  });

  test('TLS to a server that speaks plain text is an error of configuration', async () => {
    await using server = await SmtpTestServer.start();
    server.script = { greeting: 'garbage' };
    await using account = open(makeConfig(server, { secure: true }));
    assert.equal(((await send(account)) as { reason?: string }).reason, 'tls_failed');
  });
});

describe('smtp: pool', TIMEOUT, () => {
  test('many messages share at most maxConnections connections', async () => {
    await using server = await SmtpTestServer.start();
    await using account = open(makeConfig(server, { maxConnections: 2 }));
    const ids = Array.from({ length: 40 }, (_, index) => `msg_${String(index).padStart(11, '0')}`);
    const outcomes = await Promise.all(ids.map((messageId) => send(account, { messageId })));
    assert.ok(outcomes.every(({ kind }) => kind === 'sent'));
    assert.equal(server.wire.length, 2);
    const received = server.messages.map(({ raw }) => /<(msg_\d+)@/.exec(raw.toString())?.[1]);
    assert.deepEqual(received.sort(), ids);
  });

  test('a connection is replaced after maxMessagesPerConnection messages', async () => {
    await using server = await SmtpTestServer.start();
    await using account = open(
      makeConfig(server, { maxConnections: 1, maxMessagesPerConnection: 2 }),
    );
    for (let count = 0; count < 5; count += 1) await send(account);
    assert.deepEqual(
      server.messages.map(({ connection }) => connection),
      [0, 0, 1, 1, 2],
    );
  });

  test('a refused recipient leaves the connection to the next message', async () => {
    await using server = await SmtpTestServer.start();
    server.script = { recipients: { 'nobody@example.com': '550 5.1.1 No such user' } };
    await using account = open(makeConfig(server, { maxConnections: 1 }));
    const refused = await send(account, { address: addressOf('nobody@example.com') });
    assert.deepEqual(refused, {
      kind: 'rejected',
      reason: 'unknown_mailbox',
      scope: 'recipient',
      response: '550 5.1.1 No such user',
    });
    assert.equal((await send(account)).kind, 'sent');
    assert.equal(server.wire.length, 1);
  });

  test('a connection the server closed while idle is replaced without a failed attempt', async () => {
    await using server = await SmtpTestServer.start();
    await using account = open(makeConfig(server, { maxConnections: 1 }));
    assert.equal((await send(account)).kind, 'sent');
    server.dropConnections();
    assert.equal((await send(account)).kind, 'sent');
    assert.equal(server.messages.length, 2);
  });

  test('messages that wait behind a hung one go out once it is given up', async () => {
    await using server = await SmtpTestServer.start();
    await using account = open(makeConfig(server, { maxConnections: 1 }));
    server.script = { message: 'hang' };
    const first = new AbortController();
    const hung = send(account, {}, first.signal);
    await server.until(({ held }) => held === 1);
    const given = new AbortController();
    const abandoned = send(account, {}, given.signal);
    const waiting = send(account);
    server.script = {};
    given.abort();
    assert.deepEqual(await abandoned, { kind: 'retry', reason: 'aborted' });
    first.abort(new DOMException('', 'TimeoutError'));
    assert.deepEqual(await hung, { kind: 'retry', reason: 'timeout', ambiguous: true });
    assert.equal((await waiting).kind, 'sent');
    await server.until(({ openConnections }) => openConnections === 1);
  });
});

describe('smtp: time limits and broken connections', TIMEOUT, () => {
  test('a server that never greets is given up', async () => {
    await using server = await SmtpTestServer.start();
    server.script = { greeting: 'hang' };
    await using account = open(
      makeConfig(server, { greetingTimeoutMs: 50, connectTimeoutMs: 600_000 }),
    );
    const outcome = await send(account);
    assert.equal(outcome.kind, 'retry');
    assert.equal((outcome as { reason?: string }).reason, 'timeout');
    await server.until(({ openConnections }) => openConnections === 0);
    server.script = {};
    await using patient = open(makeConfig(server));
    assert.equal((await send(patient)).kind, 'sent');
  });

  test('silence after the final dot is ambiguous, before it is not', async () => {
    for (const [script, ambiguous] of [
      [{ recipient: 'hang' }, undefined],
      [{ message: 'hang' }, true],
    ] as const) {
      await using server = await SmtpTestServer.start();
      server.script = script;
      await using account = open(makeConfig(server, { replyTimeoutMs: 1500, maxConnections: 1 }));
      const outcome = await send(account);
      assert.equal(outcome.kind, 'retry');
      assert.equal((outcome as { reason?: string }).reason, 'timeout');
      assert.equal((outcome as { ambiguous?: boolean }).ambiguous, ambiguous);
      server.script = {};
      assert.equal((await send(account)).kind, 'sent');
    }
  });

  test('a connection broken in the middle of the message is not ambiguous', async () => {
    for (const body of ['drop', 'reset'] as const) {
      await using server = await SmtpTestServer.start();
      server.script = { body };
      await using account = open(makeConfig(server));
      // Larger than what sockets buffer: the end is not read from us before the connection breaks.
      const contentBase64 = Buffer.alloc(6 * 1024 * 1024).toString('base64');
      const attachments = [{ filename: 'big.bin', contentBase64 }];
      const outcome = await send(account, { content: { subject: 'Big', text: 'x', attachments } });
      assert.equal(outcome.kind, 'retry');
      assert.equal((outcome as { ambiguous?: boolean }).ambiguous, undefined);
    }
  });

  test('nobody listening is a retry', async () => {
    const server = await SmtpTestServer.start();
    const config = makeConfig(server);
    await server[Symbol.asyncDispose]();
    await using account = open(config);
    const outcome = await send(account);
    assert.equal(outcome.kind, 'retry');
    assert.equal((outcome as { reason?: string }).reason, 'connection_refused');
  });

  test('a message larger than the server takes is refused before it is sent', async () => {
    await using server = await SmtpTestServer.start({ sizeLimit: 20_000 });
    await using account = open(makeConfig(server));
    const outcome = await send(account, { content: { subject: 'Big', text: 'x'.repeat(20_001) } });
    assert.equal(outcome.kind, 'rejected');
    assert.equal((outcome as { reason?: string }).reason, 'message_too_large');
    assert.doesNotMatch(Buffer.concat(server.wire.flat()).toString(), /DATA/);
  });
});
