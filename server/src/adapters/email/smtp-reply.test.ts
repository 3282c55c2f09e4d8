import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  judgeError,
  judgeReply,
  type SmtpError,
  type Stage,
  THROTTLE_WAIT_MS,
} from './smtp-reply.ts';

type Case = [stage: Stage, reply: string, verdict: string];

/** `retry reason`, `retry reason wait`, or `scope reason`. */
function replyVerdict(stage: Stage, reply: string): string {
  const verdict = judgeReply(reply, stage);
  if (verdict.kind === 'rejected') return `${verdict.scope} ${verdict.reason}`;
  assert.equal(verdict.ambiguous, undefined);
  if (verdict.retryAfterMs !== undefined) assert.equal(verdict.retryAfterMs, THROTTLE_WAIT_MS);
  return `retry ${verdict.reason}${verdict.retryAfterMs === undefined ? '' : ' wait'}`;
}

const CASES: Record<string, Case[]> = {
  'addresses that do not work': [
    [
      'recipient',
      '550 5.1.1 <a@x.io>: Recipient address rejected: User unknown',
      'recipient unknown_mailbox',
    ],
    [
      'recipient',
      '550-5.1.1 The email account does not exist.\n550 5.1.1 Try again',
      'recipient unknown_mailbox',
    ],
    ['recipient', '550 5.1.2 Host unknown', 'recipient unknown_domain'],
    ['recipient', '553 5.1.3 Bad syntax', 'recipient invalid_address'],
    ['recipient', '551 5.1.6 Moved', 'recipient mailbox_moved'],
    ['recipient', '550 5.1.10 RESOLVER.ADR.RecipientNotFound', 'recipient address_refused'],
    ['recipient', '550 5.2.1 The account is disabled', 'recipient mailbox_disabled'],
    ['recipient', '550 5.4.1 Recipient address rejected: Access denied', 'recipient undeliverable'],
    ['recipient', '550 5.1.99 Whatever', 'recipient address_refused'],
    ['recipient', '550 no such user here', 'recipient mailbox_unavailable'],
    ['recipient', '551 user not local', 'recipient mailbox_moved'],
    ['recipient', '553 mailbox name not allowed', 'recipient invalid_address'],
    ['recipient', '501 malformed address', 'recipient invalid_address'],
    ['recipient', '556 domain does not accept mail', 'recipient domain_takes_no_mail'],
    ['recipient', '556 5.1.10 Null MX', 'recipient domain_takes_no_mail'],
    // Some servers say so only after the message.
    ['message', '550 5.1.1 unknown', 'recipient unknown_mailbox'],
  ],
  'mailboxes that are full': [
    ['recipient', '552 5.2.2 Mailbox full', 'retry mailbox_full'],
    ['recipient', '552 exceeded storage allocation', 'retry mailbox_full'],
    ['recipient', '452 4.2.2 Over quota', 'retry mailbox_full'],
    ['message', '552 quota of the mailbox exceeded', 'retry mailbox_full'],
  ],
  'content that is not taken': [
    ['message', '552 5.3.4 Message too big', 'content message_too_large'],
    ['message', '552 Message size exceeds fixed maximum', 'content message_too_large'],
    ['sender', '552 Message size exceeds fixed maximum', 'content message_too_large'],
    ['sender', '523 5.3.4 Message too big', 'content message_too_large'],
    ['message', '550 5.2.3 too large for this mailbox', 'content message_too_large'],
    ['message', '554 5.6.0 Malformed', 'content content_refused'],
    ['message', '550 5.7.1 Message rejected as spam', 'content policy_refused'],
    ['recipient', '550 5.7.1 Rejected by policy', 'content policy_refused'],
    ['message', '554 Transaction failed', 'content message_refused'],
    ['message', '550 Rejected', 'content message_refused'],
    ['recipient', '554 Transaction failed', 'content message_refused'],
  ],
  'what the operator must mend': [
    ['auth', '535 5.7.8 Bad credentials', 'config authentication_failed'],
    ['auth', '534 5.7.9 Mechanism too weak', 'config authentication_failed'],
    ['auth', '504 Unrecognized mechanism', 'config authentication_failed'],
    ['sender', '530 5.7.0 Authentication required', 'config authentication_failed'],
    ['recipient', '530 5.7.0 Must issue a STARTTLS command first', 'config authentication_failed'],
    ['recipient', '538 5.7.11 Encryption required', 'config authentication_failed'],
    ['recipient', '554 5.7.1 <a@x.io>: Relay access denied', 'config relay_denied'],
    ['recipient', '550 5.7.1 Unable to relay', 'config relay_denied'],
    ['recipient', '550 relaying denied', 'config relay_denied'],
    ['recipient', '550 5.7.54 SMTP; Unable to relay recipient', 'config relay_denied'],
    [
      'recipient',
      '553 5.7.1 <s@x.io>: Sender address rejected: not owned by user',
      'config sender_refused',
    ],
    ['sender', '550 5.1.8 Sender denied', 'config sender_refused'],
    ['sender', '553 sender not allowed', 'config sender_refused'],
    ['message', '550 5.7.60 Client cannot send as this sender', 'config sender_refused'],
    [
      'message',
      '550-5.7.26 Unauthenticated email from x.io is not accepted',
      'config sender_not_authenticated',
    ],
    ['message', '550 5.7.23 SPF validation failed', 'config sender_not_authenticated'],
    [
      'recipient',
      '554 5.7.1 Service unavailable; Client host [1.2.3.4] blocked using zen',
      'config server_refused',
    ],
    ['connect', '554 No SMTP service here', 'config server_refused'],
    ['recipient', '555 5.5.4 Unsupported option', 'config protocol_refused'],
  ],
  'what passes by itself': [
    ['connect', '421 Service not available', 'retry server_busy'],
    ['connect', '450 busy', 'retry server_busy'],
    ['message', '421 4.3.2 Shutting down', 'retry server_busy'],
    ['message', '451 4.3.0 Local error', 'retry temporary_failure'],
    ['recipient', '450 4.2.1 Mailbox busy', 'retry temporary_failure'],
    ['recipient', '452 Insufficient storage', 'retry temporary_failure'],
    ['auth', '454 4.7.0 Temporary authentication failure', 'retry authentication_unavailable'],
    ['message', '503 Bad sequence of commands', 'retry protocol_error'],
  ],
  'what asks to wait': [
    [
      'recipient',
      '450 4.2.0 <a@x.io>: Recipient address rejected: Greylisted',
      'retry greylisted wait',
    ],
    ['recipient', '451 Grey-listing in action, please come back later', 'retry greylisted wait'],
    ['recipient', '451 4.7.1 Please try again later', 'retry throttled wait'],
    ['connect', '421 4.7.0 Too many connections', 'retry throttled wait'],
    ['message', '421-4.7.28 Unusual rate of unsolicited mail', 'retry throttled wait'],
    ['message', '454 Throttling failure: Maximum sending rate exceeded.', 'retry throttled wait'],
  ],
};

describe('smtp reply', () => {
  for (const [kind, cases] of Object.entries(CASES)) {
    test(kind, () => {
      for (const [stage, reply, expected] of cases) {
        assert.equal(replyVerdict(stage, reply), expected, `${stage}: ${reply}`);
      }
    });
  }
});

describe('smtp error', () => {
  const errorVerdict = (error: Partial<SmtpError>, handedOver: boolean) =>
    judgeError(Object.assign(new Error(error.message ?? 'failed'), error), handedOver);

  test('without a reply a message that was handed over may have arrived', () => {
    for (const code of ['ETIMEDOUT', 'ECONNECTION', 'ESOCKET', 'EPROTOCOL']) {
      for (const handedOver of [true, false]) {
        const verdict = errorVerdict({ code }, handedOver);
        assert.equal(verdict?.kind, 'retry');
        assert.equal((verdict as { ambiguous?: boolean }).ambiguous, handedOver || undefined, code);
      }
    }
    assert.deepEqual(
      errorVerdict({ code: 'EMESSAGE', response: 'nonsense', command: 'DATA' }, true),
      {
        kind: 'retry',
        reason: 'protocol_error',
        ambiguous: true,
      },
    );
  });

  test('a refusal after the message is not ambiguous', () => {
    const response = '451 4.3.0 Local error';
    assert.deepEqual(errorVerdict({ code: 'EMESSAGE', response, command: 'DATA' }, true), {
      kind: 'retry',
      reason: 'temporary_failure',
    });
  });

  test('certificates and handshakes that fail again are configuration, broken ones are not', () => {
    const verdict = (error: Partial<SmtpError>) => {
      const { kind, reason } = errorVerdict(error, false) ?? {};
      return `${kind} ${reason}`;
    };
    for (const originalCode of [
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'SELF_SIGNED_CERT_IN_CHAIN',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      'CERT_HAS_EXPIRED',
      'ERR_TLS_CERT_ALTNAME_INVALID',
      'ERR_SSL_WRONG_VERSION_NUMBER',
    ]) {
      assert.equal(verdict({ code: 'ESOCKET', originalCode }), 'rejected tls_failed');
    }
    assert.equal(verdict({ code: 'ESOCKET', originalCode: 'ECONNRESET' }), 'retry connection_lost');
    assert.equal(
      verdict({ code: 'ETLS', message: 'Connection closed unexpectedly' }),
      'retry connection_lost',
    );
    assert.equal(verdict({ code: 'ETLS', response: '454 4.7.0 not now' }), 'retry tls_unavailable');
    assert.equal(verdict({ code: 'ETLS', response: '502 what?' }), 'rejected tls_unavailable');
    assert.equal(verdict({ code: 'EDNS' }), 'retry dns_failed');
  });

  test('what neither server nor network did is not judged', () => {
    assert.equal(errorVerdict({}, false), undefined);
    assert.equal(errorVerdict({ code: 'ESTREAM' }, false), undefined);
    assert.equal(errorVerdict({ code: 'ERR_INVALID_ARG_TYPE' }, false), undefined);
  });
});
