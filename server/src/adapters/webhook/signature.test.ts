import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { createSecret, parseSecret, sign } from './signature.ts';

const secretOf = (bytes: number) => `whsec_${randomBytes(bytes).toString('base64')}`;

describe('signatures, verified by the package of the specification', () => {
  test('one secret', () => {
    const secret = createSecret();
    const payload = { type: 'order.shipped', data: { text: 'Grüße 📦' } };
    const body = JSON.stringify(payload);
    const headers = { ...sign({ id: 'msg_1', at: Date.now(), body }, [secret]) };
    assert.deepEqual(new Webhook(secret).verify(body, headers), payload);
    assert.equal(headers['webhook-signature'], new Webhook(secret).sign('msg_1', new Date(), body));
  });

  test('any body, any length of secret', () => {
    const lengths = fc.integer({ min: 24, max: 64 });
    fc.assert(
      fc.property(lengths, fc.jsonValue(), (length, value) => {
        const secret = secretOf(length);
        const body = JSON.stringify({ value });
        const headers = { ...sign({ id: 'msg_1', at: Date.now(), body }, [secret]) };
        new Webhook(secret).verify(body, headers);
      }),
    );
  });

  test('during a rotation each of the secrets verifies, and no other', () => {
    const secrets = [createSecret(), createSecret(), createSecret()];
    const body = '{}';
    const headers = { ...sign({ id: 'msg_1', at: Date.now(), body }, secrets) };
    assert.match(headers['webhook-signature'], /^v1,\S{44} v1,\S{44} v1,\S{44}$/);
    for (const secret of secrets) new Webhook(secret).verify(body, headers);
    assert.throws(() => new Webhook(createSecret()).verify(body, headers), /No matching signature/);
  });

  test('id, time and body are all signed', () => {
    const secret = createSecret();
    const body = '{"a":1}';
    const headers = { ...sign({ id: 'msg_1', at: Date.now(), body }, [secret]) };
    const verifier = new Webhook(secret);
    const later = String(Number(headers['webhook-timestamp']) + 1);
    assert.throws(() => verifier.verify('{"a":2}', headers));
    assert.throws(() => verifier.verify(body, { ...headers, 'webhook-id': 'msg_2' }));
    assert.throws(() => verifier.verify(body, { ...headers, 'webhook-timestamp': later }));
  });

  test("the specification's own example", () => {
    // From the test suites of the standard-webhooks libraries.
    const signed = sign(
      {
        id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
        at: 1_614_265_330_999,
        body: '{"test": 2432232314}',
      },
      ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    );
    assert.deepEqual(signed, {
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });

  test('a stored text that is no secret signs nothing', () => {
    assert.throws(() => sign({ id: 'msg_1', at: 0, body: '' }, ['whsec_short']), /not one/);
  });
});

describe('secrets', () => {
  test('new ones are different, and valid', () => {
    const [first, second] = [createSecret(), createSecret()];
    assert.notEqual(first, second);
    assert.equal(parseSecret(first)?.length, 32);
  });

  test('24 to 64 bytes are taken', () => {
    for (const length of [24, 25, 32, 63, 64]) {
      assert.equal(parseSecret(secretOf(length))?.length, length);
    }
    for (const length of [0, 1, 16, 23, 65, 100]) {
      assert.equal(parseSecret(secretOf(length)), undefined, `${length}`);
    }
  });

  test('other spellings are refused, since a verifier elsewhere may read them differently', () => {
    const key = Buffer.alloc(25, 0xff).toString('base64');
    const texts = [
      key,
      `WHSEC_${key}`,
      `whpk_${key}`,
      `whsec_ ${key}`,
      `whsec_${key} `,
      `whsec_${key}\n`,
      `whsec_${key.replace(/=+$/, '')}`,
      `whsec_${Buffer.alloc(25, 0xff).toString('base64url')}`,
      `whsec_${'!'.repeat(40)}`,
      `whsec_${key.replace('//', '/\u2028/')}`,
      'whsec_',
      '',
    ];
    assert.ok(parseSecret(`whsec_${key}`));
    for (const text of texts) assert.equal(parseSecret(text), undefined, JSON.stringify(text));
  });
});
