/**
 * Webhooks over HTTP by the Standard Webhooks specification: a signed POST of
 * `{ type, timestamp, id, …, data }`. The body is the same on every attempt of a message, and
 * `webhook-id` is the message's id, by which a receiver recognises a repetition.
 *
 * An endpoint that answers 410, or fails for days without one success, is switched off here: it
 * takes no messages until somebody enables it again.
 */
import { type Static, Type } from '@tidings/contracts/schema';
import { formatId } from '../../../id.ts';
import {
  type Delivery,
  defineProvider,
  type Outcome,
  type ProviderAccount,
  type ProviderContext,
} from '../../provider.ts';
import type { WebhookAddress } from '../adapter.ts';
import { type AddressGuard, type CheckedUrl, createAddressGuard } from '../address-guard.ts';
import { isNetwork } from '../address-range.ts';
import type { WebhookContent } from '../content.ts';
import type { DisabledReason, SigningEndpoint } from '../endpoint-store.ts';
import { createHttpClient, type Exchange, type HttpClient } from '../http-client.ts';
import { GONE, outcomeOf, refusedAddress } from '../outcome.ts';
import { createSecret, sign } from '../signature.ts';

const DAY_MS = 24 * 3_600_000;
/** Standard Webhooks advises 15 to 30 s for one attempt. */
const TIMEOUT_MS = 15_000;
const LONGEST_TIMEOUT_MS = 30_000;
const DISABLE_AFTER_MS = 5 * DAY_MS;
const CONNECTIONS_PER_HOST = 50;

const USER_AGENT = 'Tidings/1 (Standard-Webhooks/1)';

const Network = Type.String({ maxLength: 64 });

const HttpConfig = Type.Object(
  {
    timeoutMs: Type.Optional(
      Type.Integer({
        minimum: 100,
        maximum: LONGEST_TIMEOUT_MS,
        default: TIMEOUT_MS,
        description:
          'Longest time of one attempt, from resolving the name to the end of the answer.',
      }),
    ),
    allowedNetworks: Type.Optional(
      Type.Array(Network, {
        default: [],
        description:
          'Networks such as 10.0.0.0/8 that may be reached although they are not public, by http too.',
      }),
    ),
    deniedNetworks: Type.Optional(
      Type.Array(Network, {
        default: [],
        description: 'Networks that may not be reached, whatever else allows them.',
      }),
    ),
    allowHttp: Type.Optional(
      Type.Boolean({ default: false, description: 'Whether any endpoint may be reached by http.' }),
    ),
    disableAfterMs: Type.Optional(
      Type.Integer({
        minimum: 60_000,
        default: DISABLE_AFTER_MS,
        description: 'An endpoint that failed for so long without one success is switched off.',
      }),
    ),
    maxConnectionsPerHost: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1000,
        default: CONNECTIONS_PER_HOST,
        description: 'Connections to one host and port at once; further requests wait for one.',
      }),
    ),
  },
  { additionalProperties: false },
);
type HttpConfig = Static<typeof HttpConfig>;

export default defineProvider<typeof HttpConfig>({
  name: 'http',
  title: 'HTTP (Standard Webhooks)',
  documentation:
    'https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md',
  configSchema: HttpConfig,
  secrets: [],
  automatic: true,
  // Receivers are asked to drop repetitions of a `webhook-id`; that they do is not known.
  capabilities: { receipts: false, idempotency: false },
  // A second more than the longest `timeoutMs`, which then decides.
  limits: { concurrency: 500, ratePerSecond: null, timeoutMs: LONGEST_TIMEOUT_MS + 1000 },
  destination: destinationOf,
  checkConfig: (config) =>
    (['allowedNetworks', 'deniedNetworks'] as const).flatMap((path) =>
      (config[path] ?? [])
        .filter((network) => !isNetwork(network))
        .map((network) => ({
          path,
          message: `has "${network}", which is no network such as 10.0.0.0/8 or fd00::/8`,
        })),
    ),
  checkAddress: (address, config) => {
    const webhook = address as WebhookAddress;
    if (!('url' in webhook)) return undefined;
    const checked = guardOf(config).checkUrl(webhook.url);
    return checked.ok ? undefined : checked.message;
  },
  create: (context) => openAccount(context, guardOf(context.config)),
});

const guards = new WeakMap<HttpConfig, AddressGuard>();

/** Made once per configuration: it is asked for every message that names a URL. */
function guardOf(config: HttpConfig): AddressGuard {
  const known = guards.get(config);
  if (known) return known;
  const guard = createAddressGuard(config);
  guards.set(config, guard);
  return guard;
}

type WebhookDelivery = Omit<Delivery, 'address'> & { address: WebhookAddress };

function destinationOf(delivery: Delivery<never>): string {
  const address = delivery.address as WebhookAddress;
  return 'url' in address ? new URL(address.url).origin : formatId('whe', address.endpointId);
}

/** For tests, which bring a guard with a resolver of their own; everything else uses `create`. */
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
  return (await recordExchange(account, endpoint, exchange, outcome)) ?? outcome;
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
  return endpoint.enabled ? { endpoint, url } : disabled('the endpoint is switched off');
}

function disabled(response: string): Outcome {
  return { kind: 'rejected', reason: 'endpoint_disabled', scope: 'recipient', response };
}

/**
 * `type` is the message's category, which names the kind of event as Standard Webhooks wants it,
 * and `notification` without one. `timestamp` is when the message was accepted, not the attempt.
 */
function bodyOf(delivery: WebhookDelivery): string {
  const { payload } = delivery.content as WebhookContent;
  const { messageId, notificationId, recipient, collapseKey, metadata } = delivery;
  return JSON.stringify({
    type: delivery.category ?? 'notification',
    timestamp: new Date(delivery.createdAt).toISOString(),
    id: messageId,
    notificationId,
    userId: recipient.userId,
    collapseKey: collapseKey ?? undefined,
    metadata: Object.keys(metadata).length > 0 ? metadata : undefined,
    data: payload,
  });
}

/** Keeps the endpoint's series of failures, and switches it off when it is over with it. */
async function recordExchange(
  { context }: Account,
  endpoint: SigningEndpoint,
  exchange: Exchange,
  outcome: Outcome,
): Promise<Outcome | undefined> {
  // What was our own doing says nothing about the endpoint.
  if (exchange.kind === 'held' || (exchange.kind === 'failure' && !exchange.theirs))
    return undefined;
  const { services, clock, config } = context;
  const store = services.webhookEndpoints;
  const { applicationId, id, failingSince } = endpoint;
  const at = clock.now();
  const disable = (reason: DisabledReason) => store.disable(applicationId, id, reason);
  try {
    if (exchange.kind === 'answer' && exchange.status === GONE) {
      await disable('gone');
      return undefined;
    }
    await store.recordResult(applicationId, id, { ok: outcome.kind === 'sent', at });
    const tooLong = config.disableAfterMs ?? DISABLE_AFTER_MS;
    if (outcome.kind !== 'retry' || failingSince === null || at - failingSince < tooLong)
      return undefined;
    await disable('failing');
    const since = new Date(failingSince).toISOString();
    return disabled(`switched off: failing since ${since}, last with ${outcome.reason}`);
  } catch {
    // The attempt was made, and what came of it must not be lost because the store cannot take a
    // note: the next attempt takes it.
    return undefined;
  }
}
