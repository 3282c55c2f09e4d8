/**
 * Stands in for a provider that is not configured, and for every provider when a test key asked:
 * nothing leaves the machine, the timeline shows what would have been sent. It is no provider of
 * any channel, so it has no file in a providers folder.
 */
import { Type } from '@tidings/contracts/schema';
import type { Delivery, ProviderDefinition } from './provider.ts';

/** Longest text of a captured field; the stored message has all of it. */
const FIELD_LIMIT = 2000;

export const CAPTURE = 'capture';

export const captureProvider: ProviderDefinition = {
  name: CAPTURE,
  title: 'Capture',
  documentation: '/docs/',
  configSchema: Type.Object({}, { additionalProperties: false }),
  secrets: [],
  automatic: true,
  capabilities: { receipts: false, idempotency: true },
  limits: { concurrency: 10_000, ratePerSecond: null, timeoutMs: 1000 },
  create: () => ({
    send: async (delivery: Delivery) => ({
      kind: 'sent',
      response: 'captured: nothing was sent',
      captured: { content: shorten(delivery.content) as Record<string, unknown> },
    }),
  }),
};

function shorten(value: unknown): unknown {
  if (typeof value === 'string') {
    return value.length > FIELD_LIMIT
      ? `${value.slice(0, FIELD_LIMIT)}… (${value.length} characters)`
      : value;
  }
  if (Array.isArray(value)) return value.map(shorten);
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shorten(inner)]));
  }
  return value;
}
