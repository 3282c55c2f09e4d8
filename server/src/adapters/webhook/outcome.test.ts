import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RESPONSE_LIMIT } from '../provider.ts';
import { reasonOfError } from './failure-reason.ts';
import type { Exchange } from './http-client.ts';
import { describeAnswer, outcomeOf } from './outcome.ts';

const NOW = Date.UTC(2026, 0, 1);

function answer(
  status: number,
  headers: Record<string, string> = {},
  body: string | Buffer = '',
): Exchange & { kind: 'answer' } {
  return { kind: 'answer', status, headers, body: Buffer.from(body), complete: true };
}

describe('outcomes', () => {
  test('2xx is sent', () => {
    for (const status of [200, 201, 202, 204, 299]) {
      assert.equal(outcomeOf(answer(status), NOW).kind, 'sent');
    }
  });

  test('410 is rejected, everything else is tried again', () => {
    const gone = outcomeOf(answer(410), NOW);
    assert.deepEqual(
      [gone.kind, gone.kind === 'rejected' && [gone.reason, gone.scope]],
      ['rejected', ['http_410', 'recipient']],
    );
    for (const status of [
      300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 500, 501,
      502, 503, 504, 599,
    ]) {
      const outcome = outcomeOf(answer(status), NOW);
      assert.ok(outcome.kind === 'retry', `${status}`);
      assert.equal(outcome.reason, `http_${status}`);
      assert.equal(outcome.ambiguous ?? false, false);
      assert.equal(outcome.retryAfterMs, undefined);
    }
  });

  test('overload and failure hold the destination back, anything else only the message', () => {
    const holds = (exchange: Exchange) => {
      const outcome = outcomeOf(exchange, NOW);
      assert.ok(outcome.kind === 'retry');
      return outcome.holds ?? 'destination';
    };
    for (const status of [408, 429, 500, 502, 503, 504]) {
      assert.equal(holds(answer(status)), 'destination');
    }
    for (const status of [301, 400, 401, 403, 404, 413, 422]) {
      assert.equal(holds(answer(status)), 'message');
    }
    const failure = { kind: 'failure', reason: 'timeout', written: true } as const;
    assert.equal(holds({ ...failure, theirs: true }), 'destination');
    assert.equal(holds({ ...failure, theirs: false }), 'message');
  });

  test('Retry-After is passed on', () => {
    const waits = [
      [429, '7', 7000],
      [503, 'Thu, 01 Jan 2026 00:01:00 GMT', 60_000],
      [503, 'whenever', undefined],
    ] as const;
    for (const [status, text, expected] of waits) {
      const outcome = outcomeOf(answer(status, { 'retry-after': text }), NOW);
      assert.equal(outcome.kind === 'retry' && outcome.retryAfterMs, expected);
    }
  });

  test('failures are tried again, ambiguous once something was written', () => {
    for (const written of [true, false]) {
      const outcome = outcomeOf({ kind: 'failure', reason: 'timeout', written, theirs: true }, NOW);
      assert.ok(outcome.kind === 'retry');
      assert.deepEqual([outcome.reason, outcome.ambiguous ?? false], ['timeout', written]);
    }
  });

  test('an address that is not allowed is rejected', () => {
    const outcome = outcomeOf({ kind: 'refused' }, NOW);
    assert.ok(outcome.kind === 'rejected');
    assert.deepEqual([outcome.reason, outcome.scope], ['address_not_allowed', 'recipient']);
  });
});

describe('what is shown of an answer', () => {
  test('status, telling headers, the beginning of the body', () => {
    const headers = {
      'content-type': 'text/plain',
      'retry-after': '5',
      'set-cookie': 'session=1',
      'x-internal': 'host-7',
    };
    assert.equal(
      describeAnswer(answer(503, headers, 'come back\r\nlater\0')),
      'HTTP 503 Service Unavailable\ncontent-type: text/plain\nretry-after: 5\n\ncome back \nlater',
    );
    assert.equal(describeAnswer(answer(204)), 'HTTP 204 No Content');
    assert.equal(describeAnswer(answer(299)), 'HTTP 299');
    assert.match(describeAnswer({ ...answer(200), complete: false }), /not read to its end/);
  });

  test('where a redirect leads, without what may be a credential', () => {
    const location = 'https://user:password@other.example/path?token=abcdef#x';
    assert.match(
      describeAnswer(answer(302, { location })),
      /location: https:\/\/other\.example\/path$/,
    );
  });

  test('never more than the limit, and always text', () => {
    for (const body of [
      'a'.repeat(5000),
      '📦'.repeat(2000),
      Buffer.alloc(70_000, 0xff),
      Buffer.alloc(3000),
    ]) {
      const shown = describeAnswer(answer(500, {}, body));
      assert.ok(shown.length <= RESPONSE_LIMIT);
      assert.ok(shown.isWellFormed());
      assert.doesNotMatch(shown, /[^\P{Cc}\n\t]/u);
    }
  });

  test('no secrets', () => {
    const secrets = [
      'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      'webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
      'Authorization: Bearer tdg_live_abcdefghijklmnop',
      'authorization=Basic dXNlcjpwYXNzd29yZA==',
      '{"api_key":"canary-key","password": "canary-word"}',
      'token=canary-token&secret=canary-secret',
      'Cookie: canary-cookie',
    ];
    const canaries = ['MfKQ9r8', 'g0hM9SsE', 'tdg_live', 'dXNlcjp', 'canary'];
    const shown = describeAnswer(answer(500, {}, secrets.join('\n')));
    for (const canary of canaries) assert.ok(!shown.includes(canary), `${canary} in ${shown}`);
    const long = describeAnswer(
      answer(500, {}, `${'a'.repeat(950)} whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`),
    );
    assert.ok(!long.includes('MfKQ'));
  });
});

test('errors have stable words', () => {
  const words = {
    ECONNREFUSED: 'connection_refused',
    ECONNRESET: 'connection_reset',
    EPIPE: 'connection_reset',
    ENOTFOUND: 'dns_failure',
    EAI_AGAIN: 'dns_failure',
    ETIMEDOUT: 'timeout',
    EHOSTUNREACH: 'network_unreachable',
    ERR_TLS_CERT_ALTNAME_INVALID: 'tls_failure',
    ERR_SSL_WRONG_VERSION_NUMBER: 'tls_failure',
    HPE_INVALID_CONSTANT: 'invalid_response',
    EMFILE: 'network_failure',
  };
  for (const [code, word] of Object.entries(words)) {
    assert.equal(reasonOfError(Object.assign(new Error(code), { code })), word);
  }
  assert.equal(reasonOfError(new Error('no code')), 'network_failure');
});
