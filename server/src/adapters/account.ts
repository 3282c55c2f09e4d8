/**
 * Provider accounts from the configuration: each checked against its provider's own schema, its
 * secrets resolved. An account comes from the `accounts` setting or from variables
 * `TIDINGS_<CHANNEL>_<PROVIDER>_<KEY>`; providers that need no configuration have one by themselves.
 *
 * A secret may be given as `{ "env": "NAME" }` or `{ "file": "/run/secrets/name" }`.
 */
import { readFileSync } from 'node:fs';
import {
  type AccountSettings,
  type Config,
  ConfigError,
  convert,
  type SchemaNode,
  settingKeys,
  variableOf,
} from '../config.ts';
import { createAjv } from '../json-schema.ts';
import type { Catalog } from './catalog.ts';
import type { ProviderDefinition } from './provider.ts';

export interface AccountDefinition {
  id: string;
  channel: string;
  provider: ProviderDefinition;
  config: Record<string, unknown>;
  limits: ProviderDefinition['limits'];
}

/** Accounts per channel, in the order they are preferred. @throws ConfigError that names the key */
export function resolveAccounts(
  config: Pick<Config, 'accounts' | 'providerEnvironment'>,
  catalog: Catalog,
  environment: Readonly<Record<string, string | undefined>>,
): Map<string, AccountDefinition[]> {
  const settings = [...config.accounts, ...fromEnvironment(config.providerEnvironment, catalog)];
  const accounts = new Map<string, AccountDefinition[]>();
  const ids = new Set<string>();
  const add = (setting: AccountSettings): void => {
    const account = resolveAccount(setting, catalog, environment);
    if (ids.has(account.id))
      throw new ConfigError(`accounts ${account.id}`, 'is defined twice; give each its own id');
    ids.add(account.id);
    accounts.set(account.channel, [...(accounts.get(account.channel) ?? []), account]);
  };
  settings.forEach(add);
  for (const channel of catalog.channels()) {
    for (const provider of catalog.providers(channel)) {
      const configured = accounts.get(channel)?.some((account) => account.provider === provider);
      if (provider.automatic && !configured) add({ channel, provider: provider.name });
    }
  }
  return accounts;
}

function resolveAccount(
  setting: AccountSettings,
  catalog: Catalog,
  environment: Readonly<Record<string, string | undefined>>,
): AccountDefinition {
  const id = setting.id ?? `${setting.channel}-${setting.provider}`;
  const provider = catalog.provider(setting.channel, setting.provider);
  if (!provider) {
    const known = catalog
      .channels()
      .flatMap((channel) => catalog.providers(channel).map(({ name }) => `${channel}/${name}`));
    throw new ConfigError(
      `accounts ${id}`,
      `names the provider ${setting.channel}/${setting.provider}; there are: ${known.join(', ')}`,
    );
  }
  const values = resolveSecrets(structuredClone(setting.config ?? {}), id, environment);
  const validate = createAjv({ useDefaults: true }).compile(provider.configSchema);
  if (!validate(values)) {
    const [error] = validate.errors ?? [];
    const key = [
      ...(error?.instancePath ?? '').split('/').slice(1),
      error?.params['missingProperty'] ?? error?.params['additionalProperty'],
    ]
      .filter((step) => step !== undefined)
      .join('.');
    const missing = error?.keyword === 'required';
    const message = missing ? 'is required' : (error?.message ?? 'is not valid');
    // The beginning of the variable: what is missing may be a group of settings.
    const variable = accountVariable(setting.channel, provider, key);
    throw new ConfigError(
      `accounts ${id}: ${key}`,
      `${message} (${variable}${missing ? '…' : ''})`,
    );
  }
  const [fault] = provider.checkConfig?.(values as never) ?? [];
  if (fault) throw new ConfigError(`accounts ${id}: ${fault.path}`, fault.message);
  const { concurrency, ratePerSecond, timeoutMs } = setting;
  return {
    id,
    channel: setting.channel,
    provider,
    config: values,
    limits: {
      concurrency: concurrency ?? provider.limits.concurrency,
      ratePerSecond: ratePerSecond ?? provider.limits.ratePerSecond,
      timeoutMs: timeoutMs ?? provider.limits.timeoutMs,
    },
  };
}

/** One account per provider that any variable names. What no provider declares stops the start. */
function fromEnvironment(
  variables: Readonly<Record<string, string>>,
  catalog: Catalog,
): AccountSettings[] {
  const left = new Map(Object.entries(variables));
  const found: AccountSettings[] = [];
  for (const channel of catalog.channels()) {
    for (const provider of catalog.providers(channel)) {
      const config = takeVariables(left, channel, provider);
      if (Object.keys(config).length > 0) found.push({ channel, provider: provider.name, config });
    }
  }
  const [unknown] = left.keys();
  if (unknown !== undefined)
    throw new ConfigError(unknown, 'is not a setting of Tidings or of any provider');
  return found;
}

/** The variable of a provider's setting: `TIDINGS_EMAIL_SMTP_FROM_ADDRESS`. */
function accountVariable(channel: string, { name }: ProviderDefinition, key: string): string {
  return variableOf(`${channel}.${name}.${key}`).replaceAll('-', '_');
}

function takeVariables(
  left: Map<string, string>,
  channel: string,
  provider: ProviderDefinition,
): Record<string, unknown> {
  const config: Record<string, unknown> = {};
  const keys = settingKeys(provider.configSchema as unknown as SchemaNode);
  for (const [key, node] of keys) {
    const variable = accountVariable(channel, provider, key);
    const text = left.get(variable);
    if (text === undefined) continue;
    left.delete(variable);
    const steps = key.split('.');
    let at = config;
    for (const step of steps.slice(0, -1)) {
      at[step] ??= {};
      at = at[step] as Record<string, unknown>;
    }
    at[steps.at(-1) as string] = convert(text, node, variable);
  }
  return config;
}

function resolveSecrets(
  values: Record<string, unknown>,
  id: string,
  environment: Readonly<Record<string, string | undefined>>,
): Record<string, unknown> {
  for (const [key, value] of Object.entries(values)) {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) continue;
    const reference = value as { env?: unknown; file?: unknown };
    const only = Object.keys(value).length === 1;
    if (only && typeof reference.env === 'string') {
      const text = environment[reference.env];
      if (text === undefined)
        throw new ConfigError(
          `accounts ${id}: ${key}`,
          `refers to the variable ${reference.env}, which is not set`,
        );
      values[key] = text;
    } else if (only && typeof reference.file === 'string') {
      try {
        values[key] = readFileSync(reference.file, 'utf8').trimEnd();
      } catch (error) {
        throw new ConfigError(
          `accounts ${id}: ${key}`,
          `refers to a file that cannot be read: ${(error as Error).message}`,
        );
      }
    } else {
      resolveSecrets(value as Record<string, unknown>, id, environment);
    }
  }
  return values;
}
