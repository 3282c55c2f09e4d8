import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { captureProvider } from '../adapters/capture.ts';
import type { Outcome } from '../adapters/provider.ts';
import { createSecretMask } from './secret-mask.ts';

const SECRET = 'pa ss"word';
const mask = createSecretMask({
  provider: { ...captureProvider, secrets: ['apiKey', 'keys', 'pin'] },
  config: {
    apiKey: SECRET,
    keys: { first: 'another-one', list: ['third-one'] },
    pin: '12',
    host: 'mail',
  },
});

describe('secret mask', () => {
  it('takes secrets out of everything a provider says', () => {
    const forms = [SECRET, encodeURIComponent(SECRET), JSON.stringify(SECRET), btoa(SECRET)];
    for (const form of [...forms, 'another-one', 'third-one']) {
      const outcomes: Outcome[] = [
        { kind: 'retry', reason: `r ${form}`, response: `no ${form} ${form}` },
        { kind: 'rejected', reason: form, scope: 'config', response: form },
        { kind: 'sent', providerMessageId: form, response: form },
        { kind: 'sent', note: { type: form, detail: { [form]: 'of the message', why: form } } },
      ];
      for (const outcome of outcomes) {
        const text = JSON.stringify(mask(outcome));
        assert.ok(text.includes('***'), text);
        for (const secret of [...forms, 'another-one', 'third-one', 'word'])
          assert.ok(!text.includes(secret), text);
      }
    }
  });

  it('leaves all else as it is', () => {
    const outcome: Outcome = {
      kind: 'retry',
      reason: 'limited',
      retryAfterMs: 5,
      response: 'mail 12 is busy',
    };
    assert.deepEqual(mask(outcome), outcome);
    const none = createSecretMask({ provider: captureProvider, config: {} });
    assert.equal(none(outcome), outcome);
  });
});
