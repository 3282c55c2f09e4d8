/** The engine's thread: lanes, processor, sweeper, providers. What it runs may hang or crash; it is then started anew. */

import { type AccountDefinition, resolveAccounts } from '../adapters/account.ts';
import { captureProvider } from '../adapters/capture.ts';
import { type Catalog, loadCatalog } from '../adapters/catalog.ts';
import type { ProviderServices } from '../adapters/provider.ts';
import { createTracker } from '../analytics/tracker.ts';
import { INBOX_TOPIC } from '../cache/hints.ts';
import { MemoryHints } from '../cache/memory.ts';
import type { Clock } from '../clock.ts';
import { systemClock } from '../clock.ts';
import type { Config } from '../config.ts';
import { ServiceGroup } from '../lifecycle.ts';
import { logLine } from '../log-line.ts';
import { engineMetrics } from '../metrics.ts';
import { AUTO } from '../notification/notification.ts';
import { Account } from '../outbound/account.ts';
import { createAttempts } from '../outbound/attempt.ts';
import { createCompleter } from '../outbound/completer.ts';
import { createDeliver } from '../outbound/deliver.ts';
import { createProcessor } from '../outbound/processor.ts';
import { createRetention } from '../outbound/retention.ts';
import type { Settlement } from '../outbound/settlement.ts';
import { createSweeper } from '../outbound/sweeper.ts';
import { MemoryQueue } from '../queue/memory.ts';
import { SecretBox } from '../secret-box.ts';
import { createTemplateService } from '../template/service.ts';
import type { RoleOptions, RunningRole } from './role.ts';
import { openStores } from './stores.ts';

/** A claim outlasts the longest attempt by this much, so that a slow commit never loses it. */
const CLAIM_MARGIN_MS = 15_000;

/** An account whose settings are refused is named in the log this often. */
const ENDPOINT_DISABLED = 'a webhook endpoint is disabled: its owner must mend and enable it';
const TELL_AGAIN_MS = 60_000;

export async function startEngine(
  { config, masterKey, ports }: RoleOptions,
  clock: Clock = systemClock,
): Promise<RunningRole> {
  const box = new SecretBox(Buffer.from(masterKey, 'hex'));
  // Only plug-ins have something to log here: the library is not loaded for nothing.
  const log =
    config.plugins === undefined
      ? undefined
      : (await import('pino')).pino({ level: config.log.level, base: { thread: 'engine' } });
  const catalog = await loadCatalog(config.plugins, log);
  const stores = openStores(config, { ports, clock, box, patient: true, staleMs: 0 });
  const hints = new MemoryHints();
  if (ports.hints) hints.connect(ports.hints);
  const accounts = openAccounts(config, catalog, clock, {
    webhookEndpoints: stores.webhookEndpoints,
    inbox: stores.inbox,
    inboxLive: { publish: (entry) => hints.publish(INBOX_TOPIC, entry) },
  });
  const claimMs =
    Math.max(...accounts.all.map((account) => account.definition.limits.timeoutMs)) +
    CLAIM_MARGIN_MS;
  const queue = new MemoryQueue({ channels: catalog.channels(), claimMs });
  if (ports.queue) queue.connect(ports.queue);
  const templates = createTemplateService({
    store: stores.templates,
    adapters: { get: catalog.adapter },
    clock,
  });
  const tracker = createTracker({ events: stores.events, clock });
  const attempts = createAttempts(clock);
  const { delivery } = config;
  const { retryDelaysMs: delaysMs, retryJitter: jitter, stepOnMs } = delivery;
  const policy = { delaysMs, jitter, stepOnMs };

  const metrics = engineMetrics({
    waiting: () => processor.waiting,
    underWay: () => processor.underWay,
    accounts: () =>
      accounts.all.map((account) => ({
        id: account.definition.id,
        underWay: account.underWay,
        open: account.openDestinations,
      })),
    trackerWaiting: () => tracker.waiting,
    trackerDropped: () => tracker.dropped,
  });
  const completer = createCompleter({
    store: stores.notifications,
    tracker,
    hints,
    clock,
    stored: count,
  });
  const processor = createProcessor({
    store: stores.notifications,
    queue,
    completer,
    clock,
    capacity: accounts.capacity,
    shares: delivery,
    laneCapacity: delivery.laneCapacity,
    claimMs,
    deliver: createDeliver({
      adapters: catalog,
      templates,
      findUser: (applicationId, userId) => stores.users.find(applicationId, userId),
      findTemplate: (applicationId, key, version) =>
        stores.templates.published(applicationId, key, version),
      isMandatory: (applicationId, category) =>
        stores.templates.category(applicationId, category)?.mandatory ?? false,
      accountFor: accounts.forChannel,
      attempts,
      policyFor: () => policy,
      defaultOrder: delivery.defaultOrder,
      began: metrics.began,
      clock,
    }),
  });
  const sweeper = createSweeper({
    store: stores.notifications,
    processor,
    clock,
    intervalMs: delivery.sweepIntervalMs,
    leaseMs: delivery.leaseMs,
  });

  const retention = createRetention({
    store: stores.notifications,
    clock,
    keepMs: config.retention.messagesMs,
  });

  function count({ completion, events }: Settlement): void {
    if (completion.nextAt === null) metrics.ended(completion.status);
    for (const { type, detail } of events) {
      if (type === 'endpoint_disabled')
        logLine('warn', 'engine', { ...detail, msg: ENDPOINT_DISABLED });
      if (type !== 'attempt' || !detail) continue;
      metrics.attempted(
        String(detail['channel']),
        String(detail['provider']),
        String(detail['outcome']),
        Number(detail['durationMs']) / 1000,
      );
      if (detail['scope'] === 'config') misconfigured(detail);
    }
  }

  const toldAt = new Map<string, number>();

  /** Nothing an application can mend: told to operators once in a while, however many messages it hits. */
  function misconfigured({ channel, provider, reason, response }: Record<string, unknown>): void {
    const now = clock.monotonic();
    const account = String(provider);
    if (now - (toldAt.get(account) ?? Number.NEGATIVE_INFINITY) < TELL_AGAIN_MS) return;
    toldAt.set(account, now);
    const msg = 'a provider account is refused: an operator must mend its settings';
    logLine('error', 'engine', { channel, account, reason, response, msg });
  }

  // This thread holds the only engine of the data folder: whatever is claimed was claimed by one that is gone.
  await stores.notifications.releaseClaims();
  const services = new ServiceGroup('engine', [
    tracker,
    completer,
    attempts,
    processor,
    queue,
    sweeper,
    retention,
  ]);
  await services.start();
  return {
    connect(name, port) {
      if (name === 'queue') queue.connect(port);
      else if (name === 'hints') hints.connect(port);
      else if (name === 'projection') stores.tracker.connect(port);
      else throw new Error(`the engine has no connection ${name}`);
    },
    metrics: async () => metrics.read(),
    drain() {},
    async stop() {
      await services.stop();
      await Promise.all(accounts.all.map((account) => account.close()));
      hints.close();
      stores.close();
    },
  };
}

function openAccounts(config: Config, catalog: Catalog, clock: Clock, services: ProviderServices) {
  const definitions = resolveAccounts(config, catalog, process.env);
  const byChannel = new Map<string, Account[]>();
  for (const [channel, list] of definitions) {
    byChannel.set(
      channel,
      list.map((definition) => new Account(definition, services, clock)),
    );
  }
  const captures = new Map<string, Account>();
  for (const channel of catalog.channels())
    captures.set(channel, new Account(captureAccount(channel), services, clock));

  function live(channel: string): Account {
    const list = byChannel.get(channel);
    if (!list) return captures.get(channel) as Account;
    return list.find((account) => account.state !== 'open') ?? (list[0] as Account);
  }
  return {
    all: [...[...byChannel.values()].flat(), ...captures.values()],
    forChannel: (channel: string, test: boolean): Account =>
      test ? (captures.get(channel) as Account) : live(channel),
    capacity: (channel: string): number =>
      channel === AUTO || !captures.has(channel)
        ? Number.POSITIVE_INFINITY
        : live(channel).capacity(),
  };
}

function captureAccount(channel: string): AccountDefinition {
  return {
    id: captureProvider.name,
    channel,
    provider: captureProvider,
    config: {},
    limits: captureProvider.limits,
  };
}
