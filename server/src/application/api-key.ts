/**
 * What an API key looks like: a start that says what it is, to people and to scanners for leaked
 * secrets, and 256 random bits. Only its SHA-256 is kept: with that much randomness a slow hash
 * would protect nothing more, and it would be paid for with each request.
 */
import { hash } from 'node:crypto';
import type { KeyKind } from '@tidings/contracts/common';
import type { Clock } from '../clock.ts';

const SECRET_BYTES = 32;
/** So much of the random part is shown, to recognise a key by: 24 of its 256 bits. */
const SHOWN_CHARACTERS = 4;

export interface Secret {
  text: string;
  /** First characters, to recognise it by. */
  prefix: string;
  digest: string;
}

export function newApiKey(clock: Clock, kind: KeyKind): Secret {
  return newSecret(clock, `tdk_${kind}_`);
}

export function newSessionKey(clock: Clock): Secret {
  return newSecret(clock, 'tdk_session_');
}

/** The token of an admin link; it travels in a URL. */
export function newLinkToken(clock: Clock): Secret {
  return newSecret(clock, '');
}

/** A key that somebody chose. */
export function secretOf(text: string): Secret {
  return { text, prefix: text.slice(0, SHOWN_CHARACTERS), digest: digestOf(text) };
}

export function digestOf(text: string): string {
  return hash('sha256', text);
}

function newSecret(clock: Clock, start: string): Secret {
  const text = start + clock.randomBytes(SECRET_BYTES).toString('base64url');
  return { text, prefix: text.slice(0, start.length + SHOWN_CHARACTERS), digest: digestOf(text) };
}
