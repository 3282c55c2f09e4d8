/**
 * The provider of webhooks over HTTP: its settings, what fails together, which addresses it takes.
 * It sends nothing itself; http-account.ts does.
 */
import { formatId } from '../../../id.ts';
import {
  type Delivery,
  defineProvider,
  type ProviderAccount,
  type ProviderContext,
} from '../../provider.ts';
import type { WebhookAddress } from '../adapter.ts';
import { type AddressGuard, createAddressGuard } from '../address-guard.ts';
import { isNetwork } from '../address-range.ts';
import { HttpConfig, LONGEST_TIMEOUT_MS } from '../http-config.ts';

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
  create: (context) => openAtFirstUse(context, guardOf(context.config)),
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

/** An endpoint, or a bare URL of one application: many hooks of many owners may share a host. */
function destinationOf({ applicationId, address: given }: Delivery<never>): string {
  const address = given as WebhookAddress;
  if (!('url' in address)) return formatId('whe', address.endpointId);
  const { origin, pathname } = new URL(address.url);
  return `${applicationId} ${origin}${pathname}`;
}

/**
 * Every thread reads this file for its settings, but only one sends: Node's HTTP client, with what
 * it brings along, is loaded there with the first message.
 */
function openAtFirstUse(
  context: ProviderContext<HttpConfig>,
  guard: AddressGuard,
): ProviderAccount {
  let opened: Promise<ProviderAccount> | undefined;
  async function open(): Promise<ProviderAccount> {
    const { openAccount } = await import('../http-account.ts');
    return openAccount(context, guard);
  }
  return {
    async send(delivery, signal, isHeld) {
      opened ??= open();
      return (await opened).send(delivery, signal, isHeld);
    },
    async close() {
      await (await opened)?.close?.();
    },
  };
}
