/**
 * The settings, in one schema: default and description per key. How they are read is in config.ts.
 *
 * Settings of providers are not here: each provider declares its own (adapters/account.ts), read
 * from `accounts` or from `TIDINGS_<CHANNEL>_<PROVIDER>_<KEY>`.
 */
import { availableParallelism } from 'node:os';
import { CHANNEL_PATTERN } from '@tidings/contracts/common';
import { type Static, Type } from '@tidings/contracts/schema';
import { pattern } from '@tidings/contracts/schema-fault';

const closed = { additionalProperties: false } as const;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const AccountSettings = Type.Object(
  {
    id: Type.Optional(
      Type.String({
        pattern: pattern(
          '^[A-Za-z0-9_.-]{1,64}$',
          'must be 1 to 64 letters, digits, dots, hyphens or underscores',
        ),
      }),
    ),
    channel: Type.String({ pattern: CHANNEL_PATTERN }),
    provider: Type.String({ minLength: 1 }),
    config: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    concurrency: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000 })),
    ratePerSecond: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
    timeoutMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 10 * MINUTE_MS })),
  },
  closed,
);
export type AccountSettings = Static<typeof AccountSettings>;

export const Settings = Type.Object(
  {
    mode: Type.Enum(['embedded'], {
      default: 'embedded',
      description: 'Where data lives. embedded: everything in this process, on SQLite.',
    }),
    role: Type.Enum(['all'], { default: 'all', description: 'What this process does.' }),
    host: Type.String({
      default: '127.0.0.1',
      minLength: 1,
      description: 'Address to listen on; 0.0.0.0 for all.',
    }),
    port: Type.Integer({
      minimum: 0,
      maximum: 65_535,
      default: 8484,
      description: 'Port to listen on; 0 takes a free one.',
    }),
    publicUrl: Type.Optional(
      Type.String({
        description: 'URL under which people reach the service; host and port when left out.',
      }),
    ),
    dataDir: Type.String({
      default: './data',
      minLength: 1,
      description: 'Folder of all data.',
    }),
    bootstrapKey: Type.Optional(
      Type.String({
        description:
          "The first application's API key, for unattended set-ups; made and printed once when left out.",
      }),
    ),
    masterKey: Type.Optional(
      Type.String({
        description:
          '32 bytes, hex or base64, that seal stored secrets; kept in the data folder when left out.',
      }),
    ),
    plugins: Type.Optional(
      Type.String({
        description: 'Folder with further adapters and providers, laid out like adapters/.',
      }),
    ),
    log: Type.Object(
      {
        level: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug'], {
          default: 'info',
          description: 'Least level that is logged.',
        }),
        accessSampling: Type.Number({
          minimum: 0,
          maximum: 1,
          default: 0,
          description: 'Share of answered requests that are logged; errors always are.',
        }),
      },
      { ...closed, default: {} },
    ),
    http: Type.Object(
      {
        threads: Type.Integer({
          minimum: 1,
          maximum: 64,
          default: Math.max(1, Math.floor(availableParallelism() / 2)),
          description: 'Threads that answer HTTP.',
        }),
        bodyLimitBytes: Type.Integer({
          minimum: 1024,
          maximum: 64 * 1024 * 1024,
          default: 1024 * 1024,
          description: 'Largest body of a request, attachments included.',
        }),
        trustedProxies: Type.Array(Type.String(), {
          default: [],
          description: 'Addresses or networks whose X-Forwarded-For is believed.',
        }),
        maxWaiting: Type.Integer({
          minimum: 1,
          default: 5000,
          description:
            'Accepts of one thread that may wait for their commit; more are refused with 503.',
        }),
        maxDelayMs: Type.Integer({
          minimum: 1,
          default: 250,
          description: 'Delay of the event loop past which writes are refused with 503.',
        }),
      },
      { ...closed, default: {} },
    ),
    idempotency: Type.Object(
      {
        required: Type.Boolean({
          default: false,
          description: 'Refuse sends without an Idempotency-Key.',
        }),
        retentionMs: Type.Integer({
          minimum: HOUR_MS,
          default: DAY_MS,
          description: 'How long a key is remembered.',
        }),
      },
      { ...closed, default: {} },
    ),
    delivery: Type.Object(
      {
        concurrency: Type.Integer({
          minimum: 4,
          maximum: 10_000,
          default: 512,
          description: 'Deliveries under way at once.',
        }),
        reservedHigh: Type.Number({
          minimum: 0,
          maximum: 0.9,
          default: 0.25,
          description: 'Share of them that only high priority may use.',
        }),
        guaranteedMedium: Type.Number({
          minimum: 0,
          maximum: 0.5,
          default: 0.15,
          description: 'Share that medium priority always gets when it has work.',
        }),
        guaranteedLow: Type.Number({
          minimum: 0,
          maximum: 0.5,
          default: 0.1,
          description: 'Share that low priority always gets when it has work.',
        }),
        laneCapacity: Type.Integer({
          minimum: 100,
          default: 20_000,
          description: 'Messages of one lane held in memory; the rest waits in the store.',
        }),
        retryDelaysMs: Type.Array(Type.Integer({ minimum: 0 }), {
          default: [
            5_000,
            5 * MINUTE_MS,
            30 * MINUTE_MS,
            2 * HOUR_MS,
            5 * HOUR_MS,
            10 * HOUR_MS,
            10 * HOUR_MS,
          ],
          description:
            'Waits between the attempts of one message on one channel; their number plus one is the number of attempts.',
        }),
        retryJitter: Type.Number({
          minimum: 0,
          maximum: 1,
          default: 0.2,
          description: 'Share by which a wait may be longer, at random.',
        }),
        stepOnMs: Type.Integer({
          minimum: 0,
          default: 30_000,
          description:
            'How long a message waits for a channel whose provider is left alone after failures before the next channel of its route is tried.',
        }),
        leaseMs: Type.Integer({
          minimum: 1000,
          default: 5 * MINUTE_MS,
          description: 'How long a queued message may wait before it is queued again.',
        }),
        sweepIntervalMs: Type.Integer({
          minimum: 10,
          default: 100,
          description: 'How often the store is asked for what is due.',
        }),
        defaultOrder: Type.Array(Type.String({ pattern: CHANNEL_PATTERN }), {
          default: ['in_app', 'email', 'webhook'],
          description: 'Order of channels when neither the request nor the user names one.',
        }),
      },
      { ...closed, default: {} },
    ),
    retention: Type.Object(
      {
        messagesMs: Type.Integer({
          minimum: HOUR_MS,
          default: 90 * DAY_MS,
          description: 'How long notifications that have ended are kept.',
        }),
      },
      { ...closed, default: {} },
    ),
    inbox: Type.Object(
      {
        allowedOrigins: Type.Array(Type.String(), {
          default: [],
          description: 'Origins of pages that may open inboxes; the own one always may.',
        }),
      },
      { ...closed, default: {} },
    ),
    shutdown: Type.Object(
      {
        graceMs: Type.Integer({
          minimum: 0,
          default: 30_000,
          description: 'Longest time a stop waits for what is under way.',
        }),
      },
      { ...closed, default: {} },
    ),
    accounts: Type.Array(AccountSettings, {
      default: [],
      description: 'Provider accounts, in the order they are preferred.',
    }),
  },
  closed,
);
export interface SchemaNode {
  type?: string;
  enum?: unknown[];
  default?: unknown;
  description?: string;
  properties?: Record<string, SchemaNode>;
  items?: SchemaNode;
}

/** Every setting by its dotted key; groups of settings are not settings themselves. */
export function settingKeys(schema: SchemaNode, prefix = ''): Map<string, SchemaNode> {
  const keys = new Map<string, SchemaNode>();
  for (const [name, node] of Object.entries(schema.properties ?? {})) {
    const key = prefix + name;
    if (node.type === 'object' && node.properties) {
      for (const [inner, innerNode] of settingKeys(node, `${key}.`)) keys.set(inner, innerNode);
    } else {
      keys.set(key, node);
    }
  }
  return keys;
}

/** `delivery.retryDelaysMs` → `TIDINGS_DELIVERY_RETRY_DELAYS_MS` */
export function variableOf(key: string): string {
  return `TIDINGS_${key
    .replaceAll('.', '_')
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toUpperCase()}`;
}

/** `delivery.retryDelaysMs` → `--delivery.retry-delays-ms` */
export function flagOf(key: string): string {
  return `--${key.replace(/([a-z0-9])([A-Z])/g, '$1-$2').toLowerCase()}`;
}
