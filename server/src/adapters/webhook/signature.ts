/**
 * Signatures of the Standard Webhooks scheme, symmetric (`v1`): HMAC-SHA256 over
 * `id.timestamp.body`, one signature per secret, so that a secret can be exchanged while both
 * sign. Signing and secrets only; which secrets sign at a time is the endpoint store's matter.
 */
import { createHmac, randomBytes } from 'node:crypto';

const PREFIX = 'whsec_';
/** Standard Webhooks: at least 192 bits, at most 512. */
const MIN_BYTES = 24;
const MAX_BYTES = 64;
const NEW_BYTES = 32;

export function createSecret(): string {
  return PREFIX + randomBytes(NEW_BYTES).toString('base64');
}

/** The key in a `whsec_…` text, or undefined when it is none: another prefix, length or spelling. */
export function parseSecret(secret: string): Buffer | undefined {
  if (!secret.startsWith(PREFIX)) return undefined;
  const text = secret.slice(PREFIX.length);
  const key = Buffer.from(text, 'base64');
  // Buffer.from skips what is not base64; a verifier elsewhere may not.
  if (key.toString('base64') !== text) return undefined;
  return key.length >= MIN_BYTES && key.length <= MAX_BYTES ? key : undefined;
}

export interface Signed {
  'webhook-id': string;
  /** Seconds since 1970. */
  'webhook-timestamp': string;
  'webhook-signature': string;
}

/**
 * @param id must not have a `.`, which separates what is signed
 * @param secrets newest first; verifiers take the request when any one fits
 */
export function sign(
  { id, at, body }: { id: string; at: number; body: string },
  secrets: readonly string[],
): Signed {
  const timestamp = String(Math.floor(at / 1000));
  const signatures = secrets.map((secret) => {
    const key = parseSecret(secret);
    if (key === undefined) throw new Error('a stored webhook secret is not one');
    const digest = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`);
    return `v1,${digest.digest('base64')}`;
  });
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures.join(' '),
  };
}
