/**
 * What a request must satisfy beyond its schema: known channels, parseable addresses, content that
 * fits, times that make sense. Collects every fault, so that a caller mends them in one go.
 */
import type { Content } from '@tidings/contracts/content';
import type { CreateNotification } from '@tidings/contracts/notification';
import type { AdapterDefinition } from '../adapters/adapter.ts';
import { type FieldError, invalid } from '../errors.ts';

/** Fields of a recipient that are not channels. */
const RECIPIENT_FIELDS = new Set(['userId', 'name', 'locale']);
/** Farther away than this is a mistake in the unit rather than a plan. */
const LONGEST_AHEAD_MS = 366 * 24 * 3_600_000;
/** A clock of the caller that is this much behind is forgiven. */
const PAST_TOLERANCE_MS = 24 * 3_600_000;

export interface Adapters {
  adapter(channel: string): AdapterDefinition | undefined;
  channels(): string[];
  /** Why the provider of a channel would refuse this parsed address; undefined when it would not. */
  refusal?(channel: string, address: unknown): string | undefined;
}

/** The recipient with addresses in their one spelling. */
export function checkRecipient(
  to: CreateNotification['to'],
  adapters: Adapters,
): Record<string, string> {
  const errors: FieldError[] = [];
  const normalized: Record<string, string> = {};
  let addressed = to.userId !== undefined;
  for (const [name, value] of Object.entries(to as Record<string, string>)) {
    if (RECIPIENT_FIELDS.has(name)) {
      normalized[name] = value;
      continue;
    }
    const adapter = adapters.adapter(name);
    if (!adapter) {
      errors.push({
        path: `body.to.${name}`,
        message: `is neither a field of a recipient nor a channel; channels: ${adapters.channels().join(', ')}`,
      });
      continue;
    }
    addressed = true;
    const parsed = adapter.parseAddress(value);
    if (parsed.ok) {
      // Addresses that stand for an outcome are never sent to.
      const simulated = Object.values(adapter.simulated).includes(parsed.normalized);
      const refusal = simulated ? undefined : adapters.refusal?.(name, parsed.address);
      if (refusal !== undefined) {
        throw invalid('forbidden_url', [{ path: `body.to.${name}`, message: refusal }]);
      }
      normalized[name] = parsed.normalized;
    } else errors.push({ path: `body.to.${name}`, message: parsed.message });
  }
  if (/[\r\n]/.test(to.name ?? ''))
    errors.push({ path: 'body.to.name', message: 'must not have line breaks' });
  if (!addressed && errors.length === 0) {
    errors.push({
      path: 'body.to',
      message: 'needs a userId or an address such as {"email": "ada@example.com"}',
    });
  }
  if (errors.length > 0) throw invalid('invalid_recipient', errors);
  return normalized;
}

/** The channels named by a request, each known. */
export function checkChannels(
  request: Pick<CreateNotification, 'channels' | 'route'>,
  adapters: Adapters,
): void {
  if (request.channels && request.route) {
    throw invalid('invalid_request', [
      { path: 'body.route', message: 'cannot be given together with channels' },
    ]);
  }
  const field = request.channels ? 'channels' : 'route';
  const errors = (request.channels ?? request.route ?? []).flatMap((channel, i) =>
    adapters.adapter(channel)
      ? []
      : [
          {
            path: `body.${field}.${i}`,
            message: `is not a channel; channels: ${adapters.channels().join(', ')}`,
          },
        ],
  );
  if (errors.length > 0) throw invalid('unknown_channel', errors);
}

export function checkContentChannels(content: Content, adapters: Adapters): void {
  const errors = Object.keys(content.channels ?? {}).flatMap((channel) =>
    adapters.adapter(channel)
      ? []
      : [{ path: `body.content.channels.${channel}`, message: 'is not a channel' }],
  );
  if (errors.length > 0) throw invalid('unknown_channel', errors);
}

/** Times in ms since 1970; a `sendAt` that has passed means now. */
export function checkTimes(
  { sendAt, expiresAt }: Pick<CreateNotification, 'sendAt' | 'expiresAt'>,
  now: number,
): { sendAt: number | null; expiresAt: number | null } {
  const errors: FieldError[] = [];
  const send = typeof sendAt === 'string' ? Date.parse(sendAt) : null;
  const expires = typeof expiresAt === 'string' ? Date.parse(expiresAt) : null;
  if (send !== null) {
    if (Number.isNaN(send))
      errors.push({ path: 'body.sendAt', message: 'is not a time that exists' });
    else if (send > now + LONGEST_AHEAD_MS)
      errors.push({ path: 'body.sendAt', message: 'is more than a year ahead' });
    else if (send < now - PAST_TOLERANCE_MS)
      errors.push({ path: 'body.sendAt', message: 'is more than a day in the past' });
  }
  if (expires !== null) {
    if (Number.isNaN(expires))
      errors.push({ path: 'body.expiresAt', message: 'is not a time that exists' });
    else if (expires <= Math.max(now, send ?? now)) {
      errors.push({
        path: 'body.expiresAt',
        message: send !== null && send > now ? 'must be after sendAt' : 'has passed already',
      });
    }
  }
  if (errors.length > 0) throw invalid('invalid_time', errors);
  return { sendAt: send, expiresAt: expires };
}
