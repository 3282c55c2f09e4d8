/** Idempotency keys as they are stored: digests of who asks, with which key, for what. */
import { hash } from 'node:crypto';
import type { Caller } from '../application/application-store.ts';
import type { IdempotencyKey } from './notification-store.ts';

/** 132 bits of SHA-256: enough that no two keys meet, short enough to store for each request. */
const DIGEST_LENGTH = 22;

export function digestKey(
  caller: Caller,
  route: string,
  key: string,
  request: string,
): IdempotencyKey {
  const digest = (text: string): string =>
    hash('sha256', text, 'base64url').slice(0, DIGEST_LENGTH);
  return {
    keyDigest: digest(`${caller.applicationId}\n${caller.kind}\n${route}\n${key}`),
    requestDigest: digest(request),
  };
}
