/**
 * All settings, in one schema: default and description per key. They come, each overriding the one
 * before, from the defaults, a JSON file, the environment (`TIDINGS_` and the key in capitals) and
 * flags. Parsed once into a frozen object; an unknown key or bad value stops the start with its name.
 *
 * Settings of providers are not here: each provider declares its own (adapters/account.ts), read
 * from `accounts` or from `TIDINGS_<CHANNEL>_<PROVIDER>_<KEY>`.
 */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { CHANNEL_PATTERN } from '@tidings/contracts/common';
import { type Static, Type } from '@tidings/contracts/schema';
import {
  faultMessage,
  pathOfFault,
  pattern,
  type SchemaFault,
} from '@tidings/contracts/schema-fault';
import { Ajv } from 'ajv';

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
    dataDir: Type.String({ default: './data', description: 'Folder of all data.' }),
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
export type Config = Readonly<Static<typeof Settings>> & {
  /** `TIDINGS_…` variables that are not settings of this schema; the provider catalogue takes them or refuses the start. */
  readonly providerEnvironment: Readonly<Record<string, string>>;
};

/** Variables of the service's other programs and of fault tests, which are no settings of the server. */
const FOREIGN = new Set(['TIDINGS_FAILPOINTS', 'TIDINGS_API_KEY', 'TIDINGS_URL', 'TIDINGS_CONFIG']);

export class ConfigError extends Error {
  constructor(key: string, message: string) {
    super(`${key} ${message}`);
    this.name = 'ConfigError';
  }
}

export interface ConfigSources {
  environment: Readonly<Record<string, string | undefined>>;
  /** Path of the JSON file, when one is named. */
  file?: string;
  /** Dotted keys and their values as written on the command line. */
  flags?: Readonly<Record<string, string>>;
}

export function loadConfig({ environment, file, flags = {} }: ConfigSources): Config {
  const keys = settingKeys(Settings as unknown as SchemaNode);
  const values: Record<string, unknown> = file === undefined ? {} : readFile(file);
  const providerEnvironment: Record<string, string> = {};
  const byVariable = new Map([...keys.keys()].map((key) => [variableOf(key), key]));
  /** By key, the variable or flag that its value was written in. */
  const writtenIn = new Map<string, string>();
  for (const [variable, text] of Object.entries(environment)) {
    if (!variable.startsWith('TIDINGS_') || text === undefined || FOREIGN.has(variable)) continue;
    const key = byVariable.get(variable);
    if (key === undefined) {
      providerEnvironment[variable] = text;
      continue;
    }
    assign(values, key, convert(text, keys.get(key) as SchemaNode, variable));
    writtenIn.set(key, variable);
  }
  for (const [key, text] of Object.entries(flags)) {
    const node = keys.get(key);
    const flag = flagOf(key);
    if (!node) throw new ConfigError(flag, 'is not a setting');
    assign(values, key, convert(text, node, flag));
    writtenIn.set(key, flag);
  }
  const refuse = (key: string, message: string): never => {
    const origin = [...writtenIn].find(([known]) => key === known || key.startsWith(`${known}.`));
    throw new ConfigError(key, origin ? `${message} (${origin[1]})` : message);
  };
  const ajv = new Ajv({ useDefaults: true, allErrors: false, strict: false });
  const validate = ajv.compile(Settings);
  if (!validate(values)) {
    const fault = validate.errors?.[0] as SchemaFault;
    refuse(pathOfFault(fault).join('.'), settingFault(fault));
  }
  const config = values as Static<typeof Settings>;
  check(config, refuse);
  config.dataDir = resolve(config.dataDir);
  if (config.publicUrl !== undefined) config.publicUrl = config.publicUrl.replace(/\/+$/, '');
  return deepFreeze({ ...config, providerEnvironment });
}

/** What is wrong with a value that does not fit its schema, as it follows the name of the key. */
export function settingFault(fault: SchemaFault): string {
  return fault.keyword === 'additionalProperties' ? 'is not a setting' : faultMessage(fault);
}

function check(
  config: Static<typeof Settings>,
  refuse: (key: string, message: string) => never,
): void {
  const { reservedHigh, guaranteedMedium, guaranteedLow } = config.delivery;
  if (reservedHigh + guaranteedMedium + guaranteedLow > 1) {
    refuse('delivery', 'reservedHigh, guaranteedMedium and guaranteedLow add up to more than 1');
  }
  if (config.bootstrapKey !== undefined && !/^[\x21-\x7e]{16,200}$/.test(config.bootstrapKey)) {
    refuse('bootstrapKey', 'must be 16 to 200 visible ASCII characters without spaces');
  }
  for (const proxy of config.http.trustedProxies) {
    if (isNetwork(proxy)) continue;
    refuse(
      'http.trustedProxies',
      `has "${proxy}", which is no address or network such as 10.0.0.0/8`,
    );
  }
  if (config.publicUrl !== undefined && !/^https?:\/\//.test(config.publicUrl)) {
    refuse('publicUrl', 'must begin with http:// or https://');
  }
}

/** An address, alone or with the length of its prefix. */
function isNetwork(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return (
    bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128))
  );
}

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

/** Text from the environment or a flag in the type the schema asks for. */
export function convert(text: string, node: SchemaNode, name: string): unknown {
  switch (node.type) {
    case 'integer':
    case 'number': {
      const value = Number(text);
      if (text.trim() === '' || Number.isNaN(value))
        throw new ConfigError(name, `must be a number, not "${text}"`);
      return value;
    }
    case 'boolean':
      if (text === 'true' || text === '1') return true;
      if (text === 'false' || text === '0') return false;
      throw new ConfigError(name, `must be true or false, not "${text}"`);
    case 'array':
    case 'object':
      if (/^\s*[[{]/.test(text)) return parseJson(text, name);
      if (node.type === 'object') throw new ConfigError(name, 'must be a JSON object');
      if (node.items?.type === 'object') throw new ConfigError(name, 'must be a JSON array');
      return text
        .split(',')
        .map((item) => convert(item.trim(), node.items ?? {}, name))
        .filter((item) => item !== '');
    default:
      return text;
  }
}

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ConfigError(name, `is not JSON: ${(error as Error).message}`);
  }
}

function readFile(file: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(file, `cannot be read: ${(error as Error).message}`);
  }
  const value = parseJson(text, file);
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw new ConfigError(file, 'must hold one JSON object');
  return value as Record<string, unknown>;
}

function assign(values: Record<string, unknown>, key: string, value: unknown): void {
  const steps = key.split('.');
  const last = steps.pop() as string;
  let at = values;
  for (const step of steps) {
    at[step] ??= {};
    at = at[step] as Record<string, unknown>;
  }
  at[last] = value;
}

function deepFreeze<T>(value: T): T {
  if (value !== null && typeof value === 'object') {
    for (const child of Object.values(value)) deepFreeze(child);
    Object.freeze(value);
  }
  return value;
}
