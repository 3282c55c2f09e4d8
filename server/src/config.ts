/**
 * Settings as they are read: each source overrides the one before, from the defaults of the schema
 * (settings.ts), a JSON file, the environment (`TIDINGS_` and the key in capitals) and flags. Parsed
 * once into a frozen object; an unknown key or bad value stops the start with its name. An empty variable
 * counts as not set.
 */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import type { Static } from '@tidings/contracts/schema';
import { faultMessage, pathOfFault, type SchemaFault } from '@tidings/contracts/schema-fault';
import { Ajv } from 'ajv';
import { flagOf, type SchemaNode, Settings, settingKeys, variableOf } from './settings.ts';

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
    if (!variable.startsWith('TIDINGS_') || FOREIGN.has(variable)) continue;
    // Files of containers pass every variable on, also those that nobody has set.
    if (text === undefined || text === '') continue;
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

/** Text from the environment or a flag in the type the schema asks for. */
export function convert(text: string, node: SchemaNode, name: string): unknown {
  switch (node.type) {
    case 'integer':
    case 'number': {
      const value = Number(text);
      if (!/^\s*-?\d+(\.\d+)?\s*$/.test(text))
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
