import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { ServiceError } from '../errors.ts';
import { SecretBox } from '../secret-box.ts';
import { createInboxTokens, TICKET_LIFETIME_MS } from './token.ts';

const KEY = SecretBox.derive(Buffer.alloc(32, 1), 'inbox-token');
const ADA = { applicationId: 3, userId: 'ada 😀 ', generation: 17 };

function open() {
  const clock = new ManualClock();
  return { clock, tokens: createInboxTokens({ key: KEY, clock }) };
}

async function refused(promise: Promise<unknown>): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof ServiceError, String(error));
    assert.equal(error.code, 'unauthorized');
    assert.equal(error.detail, 'The inbox token or ticket is not valid, or it has ended.');
    return true;
  });
}

test('a token opens the inbox it was made for until it ends, and not a moment longer', async () => {
  const { clock, tokens } = open();
  const { token, expiresAt } = await tokens.mint({ ...ADA, expiresInSeconds: 60 });
  assert.equal(expiresAt, clock.now() + 60_000);
  const session = { ...ADA, expiresAt };
  assert.deepEqual(await tokens.verify(token), session);
  clock.advance(59_999);
  assert.deepEqual(await tokens.verify(token), session);
  clock.advance(1);
  await refused(tokens.verify(token));
  await refused(tokens.verify(token));
});

test('a token that is seen for the first time after its end is refused, too', async () => {
  const { clock, tokens } = open();
  const { token } = await tokens.mint({ ...ADA, expiresInSeconds: 60 });
  clock.advance(60_000);
  await refused(tokens.verify(token));
});

test('the claims are the documented ones, signed by HS256 with the derived key', async () => {
  const { clock, tokens } = open();
  const { token, expiresAt } = await tokens.mint({ ...ADA, expiresInSeconds: 60 });
  assert.deepEqual(decodeProtectedHeader(token), { alg: 'HS256', typ: 'JWT' });
  assert.deepEqual(decodeJwt(token), {
    sub: ADA.userId,
    app: ADA.applicationId,
    gen: ADA.generation,
    aud: 'tidings-inbox',
    iat: clock.now() / 1000,
    exp: expiresAt / 1000,
  });
  const [head, body, signature] = token.split('.');
  assert.equal(createHmac('sha256', KEY).update(`${head}.${body}`).digest('base64url'), signature);
});

test('what was not signed here, or not for this, is refused in one and the same way', async () => {
  const { clock, tokens } = open();
  const { token } = await tokens.mint({ ...ADA, expiresInSeconds: 600 });
  const [head = '', body = '', signature = ''] = token.split('.');
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(clock.now() / 1000);
  const claims = { app: 3, gen: 17, sub: 'ada', aud: 'tidings-inbox', iat: now, exp: now + 600 };
  const sign = (payload: object, key: Uint8Array = KEY, alg = 'HS256') =>
    new SignJWT({ ...payload }).setProtectedHeader({ alg }).sign(key);
  const { privateKey } = generateKeyPairSync('ed25519');
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const other = createInboxTokens({
    key: SecretBox.derive(Buffer.alloc(32, 2), 'inbox-token'),
    clock,
  });
  const without = (name: keyof typeof claims) =>
    sign(Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name)));
  const session = await tokens.verify(token);
  const forged = [
    '',
    'x',
    'a.b.c',
    `${head}.${body}.`,
    `${head}.${body}`,
    `${head}.${encode({ ...claims, sub: 'bob' })}.${signature}`,
    `${encode({ alg: 'none' })}.${encode(claims)}.`,
    `${encode({ alg: 'none' })}.${encode(claims)}.${signature}`,
    await sign(claims, Buffer.alloc(32)),
    await sign(claims, Buffer.concat([KEY, KEY]), 'HS512'),
    await new SignJWT(claims).setProtectedHeader({ alg: 'EdDSA' }).sign(privateKey),
    await new SignJWT(claims).setProtectedHeader({ alg: 'RS256' }).sign(rsa.privateKey),
    await sign(claims, Buffer.from(rsa.publicKey.export({ type: 'spki', format: 'pem' }))),
    await new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', jwk: rsa.publicKey.export({ format: 'jwk' }) })
      .sign(rsa.privateKey),
    `${encode({ alg: 'hs256' })}.${body}.${signature}`,
    `${encode({ alg: 'HS256', crit: ['x'], x: 1 })}.${body}.${signature}`,
    await sign({ ...claims, nbf: now + 1 }),
    await sign({ ...claims, exp: now }),
    await sign({ ...claims, exp: String(now + 600) }),
    (await other.mint({ ...ADA, expiresInSeconds: 600 })).token,
    await sign({ ...claims, aud: 'something-else' }),
    ...(await Promise.all((['app', 'gen', 'sub', 'aud', 'iat', 'exp'] as const).map(without))),
    (await tokens.mintTicket(session)).ticket,
    token.slice(0, -1),
    ` ${token}`,
  ];
  for (const text of forged) await refused(tokens.verify(text));
  await tokens.verify(await sign(claims));
});

test('a ticket opens one stream, once, with the end of the token it was made with', async () => {
  const { tokens } = open();
  const session = await tokens.verify((await tokens.mint({ ...ADA, expiresInSeconds: 600 })).token);
  const { ticket } = await tokens.mintTicket(session);
  const second = await tokens.mintTicket(session);
  assert.deepEqual(await tokens.useTicket(ticket), session);
  await refused(tokens.useTicket(ticket));
  assert.deepEqual(await tokens.useTicket(second.ticket), session);
});

test('of many uses at once, one succeeds', async () => {
  const { tokens } = open();
  const session = await tokens.verify((await tokens.mint({ ...ADA, expiresInSeconds: 600 })).token);
  const { ticket } = await tokens.mintTicket(session);
  const uses = await Promise.allSettled(Array.from({ length: 20 }, () => tokens.useTicket(ticket)));
  assert.equal(uses.filter(({ status }) => status === 'fulfilled').length, 1);
});

test('a ticket ends after 30 s, and with its token', async () => {
  const { clock, tokens } = open();
  const { token } = await tokens.mint({ ...ADA, expiresInSeconds: 40 });
  const session = await tokens.verify(token);
  const { ticket, expiresAt } = await tokens.mintTicket(session);
  assert.equal(expiresAt, clock.now() + TICKET_LIFETIME_MS);
  clock.advance(TICKET_LIFETIME_MS);
  await refused(tokens.useTicket(ticket));
  const late = await tokens.mintTicket(session);
  assert.equal(late.expiresAt, session.expiresAt);
});

test('a token is no ticket, and a ticket of another key neither', async () => {
  const { clock, tokens } = open();
  const { token } = await tokens.mint({ ...ADA, expiresInSeconds: 60 });
  await refused(tokens.useTicket(token));
  const other = createInboxTokens({ key: Buffer.alloc(32, 9), clock });
  const session = await tokens.verify(token);
  await refused(tokens.useTicket((await other.mintTicket(session)).ticket));
});

test('more tokens than are remembered stay valid', async () => {
  const tokens = createInboxTokens({ key: KEY, clock: new ManualClock(), cacheLimit: 3 });
  const minted = await Promise.all(
    Array.from({ length: 10 }, (_, i) =>
      tokens.mint({ ...ADA, userId: `user-${i}`, expiresInSeconds: 600 }),
    ),
  );
  for (const round of [1, 2]) {
    for (const [i, { token }] of minted.entries()) {
      assert.equal((await tokens.verify(token)).userId, `user-${i}`, `round ${round}`);
    }
  }
});
