/**
 * The built-in inbox: a message is delivered when it is stored. Many sends of one turn share one
 * commit of the store behind the port.
 */
import { Type } from '@tidings/contracts/schema';
import { ServiceError } from '../../../errors.ts';
import { type Delivery, defineProvider, type Outcome } from '../../provider.ts';
import type { InAppContent } from '../content.ts';
import { deliveredItem, type NewInboxItem } from '../inbox-store.ts';

export default defineProvider({
  name: 'inbox',
  title: 'Built-in inbox',
  documentation: '/docs/',
  configSchema: Type.Object({}, { additionalProperties: false }),
  secrets: [],
  automatic: true,
  capabilities: { receipts: false, idempotency: true },
  // The store takes them in groups, so what is under way at once is what shares a commit.
  limits: { concurrency: 10_000, ratePerSecond: null, timeoutMs: 10_000 },
  create: ({ services: { inbox, inboxLive }, clock }) => ({
    async send(delivery: Delivery<string>, signal: AbortSignal): Promise<Outcome> {
      if (signal.aborted) return { kind: 'retry', reason: 'aborted' };
      const item = newItem(delivery, clock.now());
      try {
        const { position } = await inbox.deliver(item);
        // A repeated delivery is told again with its first position, which live connections expect.
        const { applicationId, userId } = item;
        inboxLive?.publish({ applicationId, userId, position, item: deliveredItem(item) });
        return { kind: 'sent', providerMessageId: String(position) };
      } catch (error) {
        return retryOf(error);
      }
    },
  }),
});

function newItem(delivery: Delivery<string>, at: number): NewInboxItem {
  const { title, text, url, imageUrl, actions, data } = delivery.content as InAppContent;
  return {
    applicationId: delivery.applicationId,
    userId: delivery.address,
    messageId: delivery.messageId,
    content: {
      title: title ?? null,
      text: text ?? null,
      url: url ?? null,
      imageUrl: imageUrl ?? null,
      actions: actions ?? [],
      data: data ?? {},
    },
    category: delivery.category,
    collapseKey: delivery.collapseKey,
    at,
  };
}

/** Storing is repeatable, so whether a failed write was kept does not matter. */
function retryOf(error: unknown): Outcome {
  if (!(error instanceof ServiceError) || error.kind !== 'unavailable') throw error;
  const retry: Outcome = { kind: 'retry', reason: error.code };
  if (error.retryAfterMs !== undefined) retry.retryAfterMs = error.retryAfterMs;
  return retry;
}
