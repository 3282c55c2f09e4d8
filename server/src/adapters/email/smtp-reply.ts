/**
 * What a reply of a mail server, or the lack of one, means for a message. The tables follow
 * RFC 5321, RFC 3463 (enhanced status codes), RFC 7372, 7504 and 7505, and what Postfix, Exchange
 * Online and Gmail document for their own replies.
 *
 * Scope `recipient` feeds suppression, so it is given only where a reply says that the address is at
 * fault. A refusal that names nobody counts against the content.
 */
import type { Outcome } from '../provider.ts';

export type Verdict = Exclude<Outcome, { kind: 'sent' }>;

/** Where in the session the server said it. */
export type Stage = 'connect' | 'auth' | 'sender' | 'recipient' | 'message';

/** Greylisting usually ends after 5 minutes (Postgrey's default); rate limits ask for as much. */
export const THROTTLE_WAIT_MS = 5 * 60 * 1000;

const retry = (reason: string, retryAfterMs?: number): Verdict =>
  retryAfterMs === undefined ? { kind: 'retry', reason } : { kind: 'retry', reason, retryAfterMs };
/** About this recipient, not about the server: others need not wait. */
const later = (reason: string, retryAfterMs?: number): Verdict => ({
  ...retry(reason, retryAfterMs),
  ...{ holds: 'message' as const },
});
const recipient = (reason: string): Verdict => ({ kind: 'rejected', reason, scope: 'recipient' });
const content = (reason: string): Verdict => ({ kind: 'rejected', reason, scope: 'content' });
const config = (reason: string): Verdict => ({ kind: 'rejected', reason, scope: 'config' });

const BY_STATUS: ReadonlyMap<string, Verdict> = new Map([
  ['5.1.1', recipient('unknown_mailbox')],
  ['5.1.2', recipient('unknown_domain')],
  ['5.1.3', recipient('invalid_address')],
  ['5.1.6', recipient('mailbox_moved')],
  ['5.1.7', config('sender_refused')],
  ['5.1.8', config('sender_refused')],
  ['5.2.1', recipient('mailbox_disabled')],
  // Permanent by its number, but mailboxes are emptied: worth the later attempts.
  ['5.2.2', later('mailbox_full')],
  ['5.2.3', content('message_too_large')],
  ['5.3.4', content('message_too_large')],
  ['5.5.3', config('protocol_refused')],
  ['5.7.3', config('authentication_failed')],
  ['5.7.8', config('authentication_failed')],
  ['5.7.9', config('authentication_failed')],
  ['5.7.11', config('authentication_failed')],
  // RFC 7372 and 7505: DKIM, SPF, reverse DNS, DMARC and the null MX of the sender.
  ['5.7.20', config('sender_not_authenticated')],
  ['5.7.21', config('sender_not_authenticated')],
  ['5.7.22', config('sender_not_authenticated')],
  ['5.7.23', config('sender_not_authenticated')],
  ['5.7.24', config('sender_not_authenticated')],
  ['5.7.25', config('sender_not_authenticated')],
  ['5.7.26', config('sender_not_authenticated')],
  ['5.7.27', config('sender_not_authenticated')],
  // Exchange Online: relaying, sending as another, DMARC.
  ['5.7.54', config('relay_denied')],
  ['5.7.60', config('sender_refused')],
  ['5.7.64', config('relay_denied')],
  ['5.7.509', config('sender_not_authenticated')],
]);

/** The middle number of a status that the table does not name. */
const BY_SUBJECT: Readonly<Record<string, Verdict>> = {
  '1': recipient('address_refused'),
  '2': recipient('mailbox_unavailable'),
  '4': recipient('undeliverable'),
  '6': content('content_refused'),
  '7': content('policy_refused'),
};

const AUTH_CODES: ReadonlySet<number> = new Set([530, 534, 535, 538]);

// Postfix checks client and sender only when it sees the recipient (smtpd_delay_reject), so the stage
// does not tell these apart from a bad address.
const RELAY_TEXT =
  /relay(?:ing)?(?: access)? (?:denied|not (?:permitted|allowed))|unable to relay/i;
const SENDER_TEXT = /sender address rejected|send as this sender|not owned by user/i;
const CLIENT_TEXT = /client host rejected|helo command rejected|blocked using|bl(?:ack|ock) ?list/i;
const THROTTLE_TEXT = /too many|too fast|rate limit|throttl|unusual rate|quota exceeded/i;
const GREYLIST_TEXT = /gr[ae]y-?\s?list/i;

/** The verdict on a reply of 400 and above. `reply` is the whole text, several lines or one. */
export function judgeReply(reply: string, stage: Stage): Verdict {
  const code = Number(reply.slice(0, 3));
  const status = /^\d{3}[ -]([45]\.\d{1,3}\.\d{1,3})\b/.exec(reply)?.[1];
  if (code < 500) return judgeTemporary(code, status, stage, reply);
  // The session was in the wrong state, not the message; a new connection can do it.
  if (code === 503) return retry('protocol_error');
  if (AUTH_CODES.has(code) || stage === 'auth') return config('authentication_failed');
  if (stage === 'connect') return config('server_refused');
  if (stage === 'sender') return judgeSender(code, status);
  // RFC 7504: the domain takes no mail at all.
  if (code === 556) return recipient('domain_takes_no_mail');
  if (RELAY_TEXT.test(reply)) return config('relay_denied');
  if (SENDER_TEXT.test(reply)) return config('sender_refused');
  if (CLIENT_TEXT.test(reply)) return config('server_refused');
  if (status !== undefined) {
    const named = BY_STATUS.get(status) ?? BY_SUBJECT[status.split('.')[1] ?? ''];
    if (named !== undefined) return named;
  }
  return stage === 'recipient' ? judgeRecipient(code) : judgeMessage(code, reply);
}

function judgeTemporary(
  code: number,
  status: string | undefined,
  stage: Stage,
  reply: string,
): Verdict {
  if (stage === 'auth') return retry('authentication_unavailable');
  if (status === '4.2.2') return later('mailbox_full');
  if (GREYLIST_TEXT.test(reply)) return later('greylisted', THROTTLE_WAIT_MS);
  if (status?.startsWith('4.7.') || THROTTLE_TEXT.test(reply)) {
    return retry('throttled', THROTTLE_WAIT_MS);
  }
  if (code === 421 || stage === 'connect') return retry('server_busy');
  return stage === 'recipient' ? later('temporary_failure') : retry('temporary_failure');
}

/** MAIL FROM names the sender and, as SIZE, the length. */
function judgeSender(code: number, status: string | undefined): Verdict {
  return code === 552 || status === '5.3.4'
    ? content('message_too_large')
    : config('sender_refused');
}

function judgeRecipient(code: number): Verdict {
  switch (code) {
    case 550:
      return recipient('mailbox_unavailable');
    case 551:
      return recipient('mailbox_moved');
    case 552:
      return later('mailbox_full');
    case 501:
    case 553:
      return recipient('invalid_address');
    case 554:
      return content('message_refused');
    default:
      return config('protocol_refused');
  }
}

function judgeMessage(code: number, reply: string): Verdict {
  if (code !== 552) return content('message_refused');
  return /quota|mailbox|storage/i.test(reply)
    ? later('mailbox_full')
    : content('message_too_large');
}

/** An error as nodemailer raises it. */
export interface SmtpError extends Error {
  code?: string;
  /** Code of the error of the system or of OpenSSL underneath. */
  originalCode?: string;
  response?: string;
  command?: string;
}

// Codes of Node and OpenSSL for a certificate or a handshake that will fail again.
const TLS_FAULT =
  /^(?:ERR_TLS_|ERR_SSL_|EPROTO$|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|INVALID_CA$|INVALID_PURPOSE$|HOSTNAME_MISMATCH$|ERR_OSSL_)/;

/**
 * The verdict on an attempt that threw; undefined for an error that neither server nor network made.
 *
 * @param handedOver whether all of the message had been given to the connection: without a reply it
 *   may then have been delivered
 */
export function judgeError(error: SmtpError, handedOver: boolean): Verdict | undefined {
  const { code, response } = error;
  const unanswered = (reason: string): Verdict =>
    handedOver ? { kind: 'retry', reason, ambiguous: true } : retry(reason);

  if (response !== undefined) {
    const replied = Number(response.slice(0, 3));
    if (!(replied >= 400 && replied < 600)) return unanswered('protocol_error');
    if (code === 'ETLS')
      return replied < 500 ? retry('tls_unavailable') : config('tls_unavailable');
    return judgeReply(response, stageOf(error.command));
  }
  switch (code) {
    case 'ETIMEDOUT':
      return unanswered('timeout');
    case 'EDNS':
      return retry('dns_failed');
    case 'EPROTOCOL':
      return unanswered('protocol_error');
    case 'ESOCKET':
    case 'ECONNECTION':
      if (TLS_FAULT.test(error.originalCode ?? '')) return config('tls_failed');
      if (error.originalCode === 'ECONNREFUSED') return retry('connection_refused');
      return unanswered('connection_lost');
    case 'ETLS':
      // Only closed in the middle of the handshake, which a restart of the server does too.
      if (/closed unexpectedly/i.test(error.message)) return retry('connection_lost');
      return config('tls_failed');
    case 'EREQUIRETLS':
      return config('tls_unavailable');
    case 'EAUTH':
    case 'ENOAUTH':
      return config('authentication_failed');
    case 'EMESSAGE':
      return content('message_too_large');
    case 'EENVELOPE':
      return recipient('invalid_address');
    default:
      return undefined;
  }
}

function stageOf(command: string | undefined): Stage {
  if (command === 'MAIL FROM') return 'sender';
  if (command === 'RCPT TO') return 'recipient';
  if (command === 'DATA') return 'message';
  return command?.startsWith('AUTH') ? 'auth' : 'connect';
}
