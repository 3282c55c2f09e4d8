import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { ServiceError } from '../../errors.ts';
import { readSmtpConfig, type SmtpConfig } from './smtp-config.ts';

const base: SmtpConfig = { host: 'mail.example.com', from: { address: 'shop@shop.example' } };
const credentials = { username: 'u', password: 'p' };

function faultsOf(overrides: Partial<SmtpConfig>): string[] {
  try {
    readSmtpConfig({ ...base, ...overrides });
    return [];
  } catch (error) {
    assert.ok(error instanceof ServiceError);
    return error.errors?.map(({ path }) => path) ?? [];
  }
}

describe('smtp configuration', () => {
  test('TLS is required unless the server is on this machine', () => {
    const startTls = (host: string) => readSmtpConfig({ ...base, host }).startTls;
    for (const host of ['mail.example.com', '10.0.0.1', 'localhost.example.com', '2001:db8::1']) {
      assert.equal(startTls(host), 'required', host);
    }
    for (const host of [
      'localhost',
      'LOCALHOST',
      'mail.localhost',
      '127.0.0.1',
      '127.9.9.9',
      '::1',
    ]) {
      assert.equal(startTls(host), 'opportunistic', host);
    }
    assert.equal(readSmtpConfig({ ...base, port: 465 }).secure, true);
    assert.equal(readSmtpConfig({ ...base, port: 587 }).secure, false);
    assert.equal(readSmtpConfig({ ...base, port: 465, secure: false }).secure, false);
  });

  test('credentials never go out unencrypted to another machine', () => {
    for (const startTls of ['opportunistic', 'never'] as const) {
      assert.deepEqual(faultsOf({ ...credentials, startTls }), ['startTls']);
      assert.deepEqual(faultsOf({ ...credentials, startTls, host: '127.0.0.1' }), []);
      assert.deepEqual(faultsOf({ ...credentials, startTls, secure: true }), []);
      assert.deepEqual(faultsOf({ startTls }), []);
    }
    assert.deepEqual(faultsOf(credentials), []);
  });

  test('what belongs together comes together', () => {
    assert.deepEqual(faultsOf({ username: 'u' }), ['password']);
    assert.deepEqual(faultsOf({ password: 'p' }), ['password']);
    assert.deepEqual(faultsOf({ dkim: { domain: 'x.io', selector: 's' } }), ['dkimPrivateKey']);
  });

  test('addresses and keys are checked', () => {
    assert.deepEqual(
      faultsOf({
        from: { address: 'Shop <shop@shop.example>' },
        replyTo: 'a@x.io, b@y.io',
        returnPath: 'bounce',
      }),
      ['from.address', 'replyTo', 'returnPath'],
    );
    assert.deepEqual(faultsOf({ returnPath: `${'b'.repeat(49)}@x.io` }), ['returnPath']);
    assert.deepEqual(faultsOf({ returnPath: `${'b'.repeat(48)}@x.io` }), []);
    const dkim = { domain: 'x.io', selector: 's' };
    const ed25519 = generateKeyPairSync('ed25519').privateKey.export({
      type: 'pkcs8',
      format: 'pem',
    });
    for (const dkimPrivateKey of ['not a key', ed25519.toString()]) {
      assert.deepEqual(faultsOf({ dkim, dkimPrivateKey }), ['dkimPrivateKey']);
    }
  });

  test('a fault does not show the secret it is about', () => {
    assert.throws(
      () => readSmtpConfig({ ...base, password: 'hunter2', dkimPrivateKey: 'hunter3' }),
      (error) => error instanceof ServiceError && !/hunter/.test(JSON.stringify(error.toPlain())),
    );
  });
});
