/** A thread that answers HTTP: authentication, validation, acceptance, reading. It renders and delivers nothing. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { resolveAccounts } from '../adapters/account.ts';
import { captureProvider } from '../adapters/capture.ts';
import { type Catalog, loadCatalog } from '../adapters/catalog.ts';
import { createAddressGuard } from '../adapters/webhook/address-guard.ts';
import { createWebhookEndpointService } from '../adapters/webhook/endpoint-service.ts';
import { createApplicationService } from '../application/service.ts';
import { INBOX_TOPIC } from '../cache/hints.ts';
import { MemoryHints } from '../cache/memory.ts';
import { type Clock, systemClock } from '../clock.ts';
import { type Config, ConfigError } from '../config.ts';
import { createDispatcher } from '../dispatch/dispatcher.ts';
import { buildApp } from '../http/app.ts';
import { createOverload } from '../http/overload.ts';
import { applicationRoutes } from '../http/routes/applications.ts';
import { categoryRoutes } from '../http/routes/categories.ts';
import { healthRoutes } from '../http/routes/health.ts';
import { inboxRoutes } from '../http/routes/inbox.ts';
import { notificationRoutes } from '../http/routes/notifications.ts';
import { type ChannelInfo, operationRoutes } from '../http/routes/operations.ts';
import { pageRoutes } from '../http/routes/pages.ts';
import { templateRoutes } from '../http/routes/templates.ts';
import { userRoutes } from '../http/routes/users.ts';
import { webhookEndpointRoutes } from '../http/routes/webhook-endpoints.ts';
import { InboxHub } from '../inbox/live.ts';
import { createInboxTokens } from '../inbox/token.ts';
import type { ThreadMetrics } from '../metric.ts';
import { apiMetrics, joinMetrics } from '../metrics.ts';
import { createNotificationService } from '../notification/service.ts';
import { MemoryQueuePublisher } from '../queue/memory.ts';
import { SecretBox } from '../secret-box.ts';
import { createTemplateRetention } from '../template/retention.ts';
import { createTemplateService } from '../template/service.ts';
import { createUserService } from '../user/service.ts';
import type { RoleOptions, RunningRole } from './role.ts';
import { need, openStores } from './stores.ts';

export interface ApiRole extends RunningRole {
  /** Where it listens. */
  address: AddressInfo;
  /** The application service, for the first start. */
  applications: ReturnType<typeof createApplicationService>;
}

type Accounts = ReturnType<typeof resolveAccounts>;

const NEWEST = { before: null, limit: 1 } as const;

export interface ApiEnvironment {
  /** Metrics of all other threads. */
  otherMetrics(): Promise<ThreadMetrics[]>;
  /** What keeps the process from being ready besides this thread: "the engine is starting". */
  notReady(): string[];
}

export async function startApi(
  { config, masterKey, ports, index }: RoleOptions,
  environment: ApiEnvironment,
  clock: Clock = systemClock,
): Promise<ApiRole> {
  const key = Buffer.from(masterKey, 'hex');
  const box = new SecretBox(key);
  const log = pino({ level: config.log.level, base: { thread: 'api' } });
  const catalog = await loadCatalog(config.plugins);
  const accounts = resolveAccounts(config, catalog, process.env);
  const stores = openStores(config, {
    ports,
    clock,
    box,
    patient: false,
    // Alone, it sees its own changes at once; others are only made by operators' tools.
    staleMs: config.http.threads > 1 ? 0 : 50,
  });
  const hints = new MemoryHints();
  hints.connect(need(ports, 'hints'));
  const queue = new MemoryQueuePublisher(need(ports, 'queue'));
  const templates = createTemplateService({
    store: stores.templates,
    adapters: { get: catalog.adapter },
    clock,
  });
  const templateRetention = createTemplateRetention({
    store: stores.templates,
    isNamed: async (applicationId, template, to) =>
      (await stores.notifications.search({ applicationId, template, to, ...NEWEST })).length > 0,
    clock,
  });
  const applications = createApplicationService({ store: stores.applications, clock });
  const hub = new InboxHub({ clock });
  hints.subscribe(INBOX_TOPIC, (entry) => hub.publish(entry as Parameters<InboxHub['publish']>[0]));
  const notifications = createNotificationService({
    store: stores.notifications,
    events: stores.events,
    templates,
    adapters: { ...catalog, refusal: addressRefusal(accounts) },
    dispatcher: createDispatcher(queue),
    hints,
    clock,
    leaseMs: config.delivery.leaseMs,
    defaultOrder: config.delivery.defaultOrder,
  });
  const overload = createOverload({
    clock,
    maxDelayMs: config.http.maxDelayMs,
    maxWaiting: config.http.maxWaiting,
    waiting: () => stores.messagesWriter.waiting,
    failure: () => stores.messagesWriter.failure ?? stores.recordsWriter.failure,
  });
  let draining = false;
  const metrics = apiMetrics({
    delayMs: () => overload.delayMs,
    waiting: () => stores.messagesWriter.waiting,
    lag: () => stores.tracker.lag(),
  });
  const app = await buildApp({
    applications: stores.applications,
    log,
    bodyLimitBytes: config.http.bodyLimitBytes,
    trustedProxies: config.http.trustedProxies,
    publicUrl: config.publicUrl,
    accessLogSampling: config.log.accessSampling,
    refusal: overload.refusal,
    measured: metrics.measure,
    routes: [
      healthRoutes({
        notReady: () => [
          ...(draining ? ['shutting down'] : []),
          ...[stores.messagesWriter.failure, stores.recordsWriter.failure]
            .filter((failure) => failure !== undefined)
            .map(({ detail }) => detail ?? 'the store takes no writes'),
          ...(stores.messagesWriter.full || stores.recordsWriter.full
            ? ['the disk of the store is full']
            : []),
          ...environment.notReady(),
        ],
        degraded: () => {
          const failure = stores.tracker.failure();
          return failure ? [failure.message] : [];
        },
        metrics: async () => joinMetrics([metrics.read(), ...(await environment.otherMetrics())]),
      }),
      notificationRoutes({
        notifications,
        applications: stores.applications,
        engagement: (ids) => stores.inbox.engagement(ids),
        idempotencyRequired: config.idempotency.required,
      }),
      operationRoutes({
        notifications,
        applications: stores.applications,
        channels: describeChannels(accounts, catalog),
      }),
      templateRoutes({ templates }),
      categoryRoutes({ templates }),
      userRoutes({
        users: createUserService({
          users: stores.users,
          inboxes: stores.inbox,
          adapters: catalog,
          clock,
        }),
      }),
      applicationRoutes({ applications }),
      webhookEndpointRoutes({
        webhookEndpoints: createWebhookEndpointService({
          store: stores.webhookEndpoints,
          guard: webhookGuard(accounts),
          clock,
        }),
      }),
      inboxRoutes({
        inbox: stores.inbox,
        hub,
        live: { publish: (event) => hints.publish(INBOX_TOPIC, event) },
        tokens: createInboxTokens({ key: SecretBox.derive(key, 'inbox-token'), clock }),
        clock,
        allowedOrigins: config.inbox.allowedOrigins,
      }),
      pageRoutes(),
    ],
  });
  await overload.start();
  await listen(app, config, index);
  if (index === 0) await templateRetention.start();
  return {
    address: app.server.address() as AddressInfo,
    applications,
    connect(name, port) {
      if (name === 'queue') queue.reconnect(port);
      else if (name === 'hints') hints.connect(port);
      else if (name === 'projection') stores.tracker.connect(port);
      else throw new Error(`an HTTP thread has no connection ${name}`);
    },
    metrics: async () => metrics.read(),
    drain() {
      draining = true;
    },
    async stop() {
      draining = true;
      await close(app, hub);
      overload.close();
      await overload.stop();
      await queue.stop();
      await templateRetention.stop();
      hints.close();
      stores.close();
    },
  };
}

/** @throws ConfigError when this machine does not give the address */
async function listen(app: FastifyInstance, config: Config, index: number): Promise<void> {
  const { host, port } = config;
  const shared = config.http.threads > 1;
  try {
    // A port that threads share could be shared with a stranger too: only the first may find it free.
    if (shared && index === 0) await probe(host, port);
    await app.listen({
      host,
      port,
      listenTextResolver: () => '',
      ...(shared ? { reusePort: true } : {}),
    });
  } catch (error) {
    throw new ConfigError(...refusalOf(error as NodeJS.ErrnoException, host, port));
  }
}

async function probe(host: string, port: number): Promise<void> {
  const server = createServer();
  server.listen({ host, port });
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
}

function refusalOf(
  error: NodeJS.ErrnoException,
  host: string,
  port: number,
): [key: string, message: string] {
  switch (error.code) {
    case 'EADDRINUSE':
      return ['port', `${port} is in use on ${host}; choose another (TIDINGS_PORT)`];
    case 'EACCES':
      return ['port', `${port} needs more rights than this process has (TIDINGS_PORT)`];
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return ['host', `${host} is no address of this machine (TIDINGS_HOST)`];
    default:
      throw error;
  }
}

/** Live connections are told to come back elsewhere first; they would keep the server open. */
async function close(app: FastifyInstance, hub: InboxHub): Promise<void> {
  await hub.stop();
  await app.close();
}

function describeChannels(accounts: Accounts, catalog: Catalog): ChannelInfo[] {
  return catalog.channels().map((channel) => {
    const adapter = catalog.adapter(channel);
    const configured = (accounts.get(channel) ?? []).map(({ id, provider }) => ({
      id,
      provider: provider.name,
      title: provider.title,
      documentation: provider.documentation,
    }));
    const { name, title, documentation } = captureProvider;
    return {
      channel,
      title: adapter?.title ?? channel,
      accounts:
        configured.length > 0 ? configured : [{ id: name, provider: name, title, documentation }],
      contentSchema: adapter?.contentSchema ?? {},
      simulated: adapter?.simulated ?? {
        delivered: '',
        temporaryFailure: '',
        permanentFailure: '',
      },
    };
  });
}

/** Asks the first account of a channel, which is the one that would send. */
function addressRefusal(accounts: Accounts) {
  return (channel: string, address: unknown): string | undefined => {
    const [account] = accounts.get(channel) ?? [];
    return account?.provider.checkAddress?.(address as never, account.config);
  };
}

/** The same guard at save as the provider has at connect: built from the account's own settings. */
function webhookGuard(accounts: Accounts) {
  const [account] = accounts.get('webhook') ?? [];
  return createAddressGuard((account?.config ?? {}) as never);
}
