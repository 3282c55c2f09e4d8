/**
 * What came of one attempt, in the words of the service. By the Standard Webhooks specification
 * only 2xx is a success, 410 says that nothing is wanted any more, and everything else is tried
 * again on the schedule: a receiver that answers 404 or 401 today is most often misconfigured for
 * an hour, and its messages should survive that.
 */
import { type IncomingHttpHeaders, STATUS_CODES } from 'node:http';
import { type Outcome, RESPONSE_LIMIT } from '../provider.ts';
import type { Exchange } from './http-client.ts';
import { parseRetryAfter } from './retry-after.ts';

export const GONE = 410;

export function outcomeOf(exchange: Exchange, now: number): Outcome {
  switch (exchange.kind) {
    case 'refused':
      return refusedAddress('the host leads only to addresses that are not allowed');
    case 'held':
      return { kind: 'retry', reason: 'waiting_for_provider', holds: 'message', untried: true };
    case 'failure': {
      const { reason, written, theirs, detail } = exchange;
      return {
        kind: 'retry',
        reason,
        ...(theirs ? {} : { holds: 'message' as const }),
        ...(written ? { ambiguous: true } : {}),
        ...(detail === undefined ? {} : { response: shorten(detail) }),
      };
    }
    case 'answer':
      return outcomeOfAnswer(exchange, now);
  }
}

export function refusedAddress(response: string): Outcome {
  return { kind: 'rejected', reason: 'address_not_allowed', scope: 'recipient', response };
}

function outcomeOfAnswer(answer: Exchange & { kind: 'answer' }, now: number): Outcome {
  const { status, headers } = answer;
  const response = describeAnswer(answer);
  if (status >= 200 && status < 300) return { kind: 'sent', response };
  const reason = `http_${status}`;
  if (status === GONE) return { kind: 'rejected', reason, scope: 'recipient', response };
  const retryAfterMs = parseRetryAfter(headers['retry-after'], now);
  return {
    kind: 'retry',
    reason,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(isAboutDestination(status) ? {} : { holds: 'message' as const }),
    response,
  };
}

/**
 * Overload and failure concern everything that goes there. Other answers concern this message or
 * this URL: at a host that serves many receivers, one that is misconfigured must not hold back the
 * others.
 */
function isAboutDestination(status: number): boolean {
  return status >= 500 || status === 408 || status === 429;
}

/** Headers that explain an answer and carry no credentials. */
const SHOWN_HEADERS = ['content-type', 'content-encoding', 'retry-after', 'server'] as const;

/** The head of the answer and the beginning of its body, at most RESPONSE_LIMIT characters. */
export function describeAnswer(answer: {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  complete: boolean;
}): string {
  const { status, headers, complete } = answer;
  const lines = [`HTTP ${status} ${STATUS_CODES[status] ?? ''}`.trimEnd()];
  for (const name of SHOWN_HEADERS) {
    if (headers[name] !== undefined) lines.push(`${name}: ${headers[name]}`);
  }
  if (headers.location !== undefined)
    lines.push(`location: ${maskSecrets(withoutQuery(headers.location))}`);
  if (!complete) lines.push('(the answer was not read to its end)');
  const head = lines.join('\n');
  const body = textOf(answer.body);
  return shorten(body === '' ? head : `${head}\n\n${maskSecrets(body)}`);
}

function shorten(text: string): string {
  if (text.length <= RESPONSE_LIMIT) return text;
  return `${text.slice(0, RESPONSE_LIMIT - 1).toWellFormed()}…`;
}

function withoutQuery(location: string): string {
  return location.replace(/[?#].*$/s, '').replace(/\/\/[^/@]*@/, '//');
}

/** Enough bytes that masking sees a secret whole before the text is cut. */
const BODY_BYTES = 4 * RESPONSE_LIMIT;

function textOf(body: Buffer): string {
  if (body.length === 0) return '';
  const text = body.subarray(0, BODY_BYTES).toString('utf8');
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, ' ').trim();
}

/**
 * Receivers repeat what they were sent, and debug pages print their settings: nothing that looks
 * like a credential is kept.
 */
const SECRETS: readonly (readonly [RegExp, string])[] = [
  [/whsec_[\w+/=-]*/g, 'whsec_***'],
  [/\bv1a?,[\w+/=-]{8,}/g, 'v1,***'],
  [/\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi, '$1 ***'],
  [
    /((?:secret|token|password|passwd|api[-_]?key|authorization|cookie|signature)["']?\s*[:=]\s*["']?)[^\s"'&,;<]+/gi,
    '$1***',
  ],
];

/** Something that one of SECRETS begins with: most answers have none, and are read once only. */
const SUSPICIOUS = /whsec_|v1|bearer|basic|secret|token|passw|key|authorization|cookie|signature/i;

function maskSecrets(text: string): string {
  if (!SUSPICIOUS.test(text)) return text;
  return SECRETS.reduce((masked, [pattern, mask]) => masked.replace(pattern, mask), text);
}
