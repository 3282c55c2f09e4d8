/**
 * Webhooks over HTTP by the Standard Webhooks specification: a signed POST of
 * `{ type, timestamp, id, …, data }`. The body is the same on every attempt of a message, and
 * `webhook-id` is the message's id, by which a receiver recognises a repetition.
 *
 * An endpoint that answers 410, or fails for days without one success, is switched off here: it
 * takes no messages until somebody enables it again. The timeline of the message that came to it has
 * an event of its own for that.
 */
import type { WebhookMessage } from '@tidings/contracts/webhook-message';
import { formatId } from '../../id.ts';
import type { Delivery, Note, Outcome, ProviderAccount, ProviderContext } from '../provider.ts';
import type { WebhookAddress } from './adapter.ts';
import type { AddressGuard, CheckedUrl } from './address-guard.ts';
import type { WebhookContent } from './content.ts';
import type { DisabledReason, SigningEndpoint, WebhookEndpointStore } from './endpoint-store.ts';
import { createHttpClient, type Exchange, type HttpClient } from './http-client.ts';
import {
  CONNECTIONS_PER_HOST,
  DISABLE_AFTER_MS,
  type HttpConfig,
  TIMEOUT_MS,
} from './http-config.ts';
import { GONE, outcomeOf, refusedAddress } from './outcome.ts';
import { createSecret, sign } from './signature.ts';

const USER_AGENT = 'Tidings/1 (Standard-Webhooks/1)';

type WebhookDelivery = Omit<Delivery, 'address'> & { address: WebhookAddress };

/** @param guard of the provider; tests bring one with a resolver of their own */
export function openAccount(
  context: ProviderContext<HttpConfig>,
  guard: AddressGuard,
): ProviderAccount {
  const { config } = context;
  const client = createHttpClient({
    guard,
    timeoutMs: config.timeoutMs ?? TIMEOUT_MS,
    maxConnectionsPerHost: config.maxConnectionsPerHost ?? CONNECTIONS_PER_HOST,
  });
  const account: Account = { context, checkUrl: remembering(guard.checkUrl), client };
  return {
    send: (delivery, signal, isHeld) => send(account, delivery as WebhookDelivery, signal, isHeld),
    close: async () => client.close(),
  };
}

interface Account {
  context: ProviderContext<HttpConfig>;
  checkUrl: AddressGuard['checkUrl'];
  client: HttpClient;
}

/** URLs whose judgement is remembered; past it all are forgotten, which costs a few µs each. */
const REMEMBERED_URLS = 10_000;

/** A guard does not change its mind about a text. */
function remembering(checkUrl: AddressGuard['checkUrl']): AddressGuard['checkUrl'] {
  const known = new Map<string, CheckedUrl>();
  return (text) => {
    const remembered = known.get(text);
    if (remembered !== undefined) return remembered;
    const checked = checkUrl(text);
    if (known.size >= REMEMBERED_URLS) known.clear();
    known.set(text, checked);
    return checked;
  };
}

async function send(
  account: Account,
  delivery: WebhookDelivery,
  signal: AbortSignal,
  isHeld: (() => boolean) | undefined,
): Promise<Outcome> {
  const { clock } = account.context;
  const found = await findEndpoint(account, delivery);
  if ('kind' in found) return found;
  const { endpoint, url } = found;
  const body = bodyOf(delivery);
  const headers = {
    'content-type': 'application/json',
    'user-agent': USER_AGENT,
    ...sign({ id: delivery.messageId, at: clock.now(), body }, endpoint.secrets),
  };
  const exchange = await account.client.post(url, { headers, body }, signal, isHeld);
  const outcome = outcomeOf(exchange, clock.now());
  return recordExchange(account, endpoint, exchange, outcome);
}

/** The endpoint of a delivery and its URL as checked today, or why there is none. */
async function findEndpoint(
  { context, checkUrl }: Account,
  { address, applicationId }: WebhookDelivery,
): Promise<{ endpoint: SigningEndpoint; url: URL } | Outcome> {
  const store = context.services.webhookEndpoints;
  if ('url' in address) {
    // Checked first: a URL that is refused leaves no endpoint behind.
    const checked = checkUrl(address.url);
    if (!checked.ok) return refusedAddress(`the URL ${checked.message}`);
    // A secret of its own for each endpoint, since its receiver could forge what is signed with
    // it. Who wants to know it creates the endpoint beforehand or rotates the secret.
    const input = { applicationId, url: checked.url.href, createSecret };
    return usable(await store.ensure(input), checked.url);
  }
  const endpoint = await store.signing(applicationId, address.endpointId);
  if (endpoint === undefined) {
    return { kind: 'rejected', reason: 'endpoint_unknown', scope: 'recipient' };
  }
  // Checked when it was saved, but the operator may allow less by now.
  const checked = checkUrl(endpoint.url);
  return checked.ok ? usable(endpoint, checked.url) : refusedAddress(`the URL ${checked.message}`);
}

function usable(
  endpoint: SigningEndpoint,
  url: URL,
): { endpoint: SigningEndpoint; url: URL } | Outcome {
  return endpoint.enabled ? { endpoint, url } : refusedEndpoint('the endpoint is switched off');
}

function refusedEndpoint(response: string): Outcome {
  return { kind: 'rejected', reason: 'endpoint_disabled', scope: 'recipient', response };
}

/**
 * `type` is the message's category, which names the kind of event as Standard Webhooks wants it,
 * and `notification` without one. `timestamp` is when the message was accepted, not the attempt.
 */
function bodyOf(delivery: WebhookDelivery): string {
  const { payload } = delivery.content as WebhookContent;
  const { messageId, notificationId, recipient, collapseKey, metadata } = delivery;
  const message: WebhookMessage = {
    type: delivery.category ?? 'notification',
    timestamp: new Date(delivery.createdAt).toISOString(),
    id: messageId,
    notificationId,
    ...(recipient.userId === undefined ? {} : { userId: recipient.userId }),
    ...(collapseKey === null ? {} : { collapseKey }),
    ...(Object.keys(metadata).length > 0 ? { metadata } : {}),
    data: payload,
  };
  return JSON.stringify(message);
}

/** Keeps the endpoint's series of failures, switches it off when it is over with it, and says what that makes of the outcome. */
async function recordExchange(
  { context }: Account,
  endpoint: SigningEndpoint,
  exchange: Exchange,
  outcome: Outcome,
): Promise<Outcome> {
  // What was our own doing says nothing about the endpoint.
  if (exchange.kind === 'held' || (exchange.kind === 'failure' && !exchange.theirs)) return outcome;
  const { services, clock, config } = context;
  const store = services.webhookEndpoints;
  const { applicationId, id, failingSince } = endpoint;
  const at = clock.now();
  try {
    if (exchange.kind === 'answer' && exchange.status === GONE)
      return { ...outcome, ...(await disable(store, endpoint, 'gone')) };
    await store.recordResult(applicationId, id, { ok: outcome.kind === 'sent', at });
    const tooLong = config.disableAfterMs ?? DISABLE_AFTER_MS;
    if (outcome.kind !== 'retry' || failingSince === null || at - failingSince < tooLong)
      return outcome;
    const noted = await disable(store, endpoint, 'failing');
    const since = new Date(failingSince).toISOString();
    const response = `switched off: failing since ${since}, last with ${outcome.reason}`;
    return { ...refusedEndpoint(response), ...noted };
  } catch {
    // The attempt was made, and what came of it must not be lost because the store cannot take a
    // note: the next attempt takes it.
    return outcome;
  }
}

/** One of many attempts at a time switches it off, and that one notes it. */
async function disable(
  store: WebhookEndpointStore,
  { applicationId, id }: SigningEndpoint,
  reason: DisabledReason,
): Promise<{ note?: Note }> {
  if (!(await store.disable(applicationId, id, reason))) return {};
  return {
    note: { type: 'endpoint_disabled', detail: { reason, endpointId: formatId('whe', id) } },
  };
}
