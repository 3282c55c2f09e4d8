/** A line of a list of recipients as the request it asks for. */
import { parseData, setOwn } from './assignment.ts';
import { usage } from './exit.ts';
import { parseRecipient } from './recipient.ts';
import type { BaseRequest } from './send-request.ts';

/** Belong to the recipient, also beside `to`. */
const RECIPIENT_FIELDS = new Set(['userId', 'name', 'locale']);

/** @throws CommandFailure when it names nobody */
export function rowRequest(
  row: unknown,
  base: BaseRequest,
  channel: string | undefined,
): { body: BaseRequest; idempotencyKey: string | undefined } {
  if (typeof row === 'string') {
    return { body: { to: parseRecipient(row, channel, 'to'), ...base }, idempotencyKey: undefined };
  }
  if (row === null || typeof row !== 'object' || Array.isArray(row)) {
    throw usage('is neither a recipient nor a request');
  }
  const { to, idempotencyKey, ...rest } = row as Record<string, unknown>;
  const recipient: Record<string, unknown> = to === undefined ? {} : recipientOf(to, channel);
  const request: BaseRequest = {};
  const values: Record<'data' | 'metadata', Record<string, unknown>> = { data: {}, metadata: {} };
  for (const [name, value] of Object.entries(rest)) {
    const part = /^(data|metadata)(?:\.(.+))?$/.exec(name);
    if (part) merge(values[part[1] as 'data' | 'metadata'], part[1] as string, part[2], value);
    else if (to === undefined || RECIPIENT_FIELDS.has(name)) recipient[name] = value;
    else request[name] = value;
  }
  if (Object.keys(recipient).length === 0) throw usage('names nobody');
  const body: BaseRequest = { to: recipient, ...base, ...request };
  for (const [name, own] of Object.entries(values)) {
    if (Object.keys(own).length === 0) continue;
    body[name] = { ...(base[name] as Record<string, unknown> | undefined), ...own };
  }
  return { body, idempotencyKey: keyOf(idempotencyKey) };
}

function recipientOf(to: unknown, channel: string | undefined): Record<string, unknown> {
  if (typeof to === 'string') return { ...parseRecipient(to, channel, 'to') };
  if (to === null || typeof to !== 'object' || Array.isArray(to)) {
    throw usage('to: is neither a text nor an object');
  }
  return { ...(to as Record<string, unknown>) };
}

function merge(
  into: Record<string, unknown>,
  name: string,
  key: string | undefined,
  value: unknown,
): void {
  if (key === undefined) {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) {
      throw usage(`${name}: is not an object`);
    }
    Object.assign(into, value);
  } else if (name === 'metadata') setOwn(into, key, value);
  else mergeDeep(into, parseData([`${key}:=${JSON.stringify(value)}`], name));
}

/** Columns `data.order.id` and `data.order.sum` share `order`. */
function mergeDeep(into: Record<string, unknown>, from: Record<string, unknown>): void {
  for (const [key, value] of Object.entries(from)) {
    const known = Object.hasOwn(into, key) ? into[key] : undefined;
    if (isObject(known) && isObject(value)) mergeDeep(known, value);
    else setOwn(into, key, value);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

function keyOf(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || !/^[\x21-\x7e]{1,255}$/.test(value)) {
    throw usage('idempotencyKey: must be 1 to 255 visible ASCII characters without spaces');
  }
  return value;
}
