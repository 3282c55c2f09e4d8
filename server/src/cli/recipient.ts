/** `--to`: who is reached, in one word. */

import { CHANNEL_PATTERN } from '@tidings/contracts/common';
import type { Recipient } from '@tidings/contracts/notification';
import { parseJsonObject } from './assignment.ts';
import { usage } from './exit.ts';

const CHANNEL = new RegExp(CHANNEL_PATTERN);

/**
 * `user:42`, `channel:address`, an email address, an http(s) URL or endpoint id (webhook), a JSON
 * object, or any address of the channel that `--channel` names.
 */
export function parseRecipient(text: string, channel: string | undefined, name: string): Recipient {
  const value = text.trim();
  if (value === '') throw usage(`${name}: is empty`);
  if (value.startsWith('{')) return parseJsonObject(value, name) as Recipient;
  if (/^https?:\/\//i.test(value)) return { [channel ?? 'webhook']: value };
  const [kind, address] = splitKind(value);
  if (kind === 'user' || kind === 'userId') return { userId: need(address, value, name) };
  if (channel !== undefined)
    return { [channel]: kind === channel ? need(address, value, name) : value };
  if (kind === 'mailto') return { email: need(address, value, name) };
  if (kind !== undefined) return { [kind]: need(address, value, name) };
  if (value.startsWith('whe_')) return { webhook: value };
  if (value.includes('@')) return { email: value };
  throw usage(
    `${name}: "${value}" does not say how it is reached`,
    'Write user:42, ada@example.com, webhook:https://…, <channel>:<address>, or add --channel.',
  );
}

function splitKind(value: string): [string, string] | [undefined] {
  const at = value.indexOf(':');
  if (at < 0) return [undefined];
  const kind = value.slice(0, at);
  return kind === 'userId' || CHANNEL.test(kind) ? [kind, value.slice(at + 1)] : [undefined];
}

function need(address: string | undefined, value: string, name: string): string {
  if (!address) throw usage(`${name}: nothing follows the colon in "${value}"`);
  return address;
}

/** A recipient in the words of `--to`, for messages. */
export function describeRecipient(to: unknown): string {
  if (typeof to === 'string') return to;
  const { userId, name, locale, ...addresses } = (to ?? {}) as Record<string, unknown>;
  if (typeof userId === 'string') return `user:${userId}`;
  const [first] = Object.entries(addresses);
  if (first === undefined) return '(nobody)';
  return first[0] === 'email' ? String(first[1]) : `${first[0]}:${String(first[1])}`;
}
