/**
 * Provider accounts from the configuration: each checked against its provider's own schema, its
 * secrets resolved. An account comes from the `accounts` setting or from variables
 * `TIDINGS_<CHANNEL>_<PROVIDER>_<KEY>`; providers that need no configuration have one by themselves.
 *
 * A secret may be given as `{ "env": "NAME" }` or `{ "file": "/run/secrets/name" }`.
 */
import { readFileSync } from 'node:fs';
import { pathOfFault, type SchemaFault } from '@tidings/contracts/schema-fault';
import { type Config, ConfigError, convert, settingFault } from '../config.ts';
import { createAjv } from '../json-schema.ts';
import { type AccountSettings, type SchemaNode, settingKeys, variableOf } from '../settings.ts';
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
  const accounts = new Map<string, AccountDefinition[]>();
  const ids = new Set<string>();
  const add = (setting: AccountSettings, ofVariables = false): void => {
    const account = resolveAccount({ setting, ofVariables, catalog, environment });
    if (ids.has(account.id))
      throw new ConfigError(`accounts ${account.id}`, 'is defined twice; give each its own id');
    ids.add(account.id);
    accounts.set(account.channel, [...(accounts.get(account.channel) ?? []), account]);
  };
  for (const setting of config.accounts) add(setting);
  for (const setting of fromEnvironment(config.providerEnvironment, catalog)) add(setting, true);
  for (const channel of catalog.channels()) {
    for (const provider of catalog.providers(channel)) {
      const configured = accounts.get(channel)?.some((account) => account.provider === provider);
      if (provider.automatic && !configured) add({ channel, provider: provider.name });
    }
  }
  return accounts;
}

interface AccountSource {
  setting: AccountSettings;
  /** Its values came from variables `TIDINGS_<CHANNEL>_<PROVIDER>_<KEY>`, which faults then name. */
  ofVariables: boolean;
  catalog: Catalog;
  environment: Readonly<Record<string, string | undefined>>;
}

function resolveAccount(source: AccountSource): AccountDefinition {
  const { setting, ofVariables, catalog, environment } = source;
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
  const refuse = (key: string, message: string): never => {
    const variable = ofVariables ? ` (${variablesFor(setting.channel, provider, key)})` : '';
    throw new ConfigError(`accounts ${id}: ${key}`, `${message}${variable}`);
  };
  const values = structuredClone(setting.config ?? {});
  resolveSecrets(values, environment, refuse);
  const validate = createAjv({ useDefaults: true }).compile(provider.configSchema);
  if (!validate(values)) {
    const fault = validate.errors?.[0] as SchemaFault;
    const known = `${setting.channel}/${provider.name}; there are: ${keysOf(provider).join(', ')}`;
    refuse(
      pathOfFault(fault).join('.'),
      settingFault(fault) + (fault.keyword === 'additionalProperties' ? ` of ${known}` : ''),
    );
  }
  const [fault] = provider.checkConfig?.(values as never) ?? [];
  if (fault) refuse(fault.path, fault.message);
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

/** The variable of a key; of a group of settings, or a value within one, the nearest there are. */
function variablesFor(channel: string, provider: ProviderDefinition, key: string): string {
  const near = keysOf(provider).filter(
    (known) => key === known || known.startsWith(`${key}.`) || key.startsWith(`${known}.`),
  );
  return near.map((known) => accountVariable(channel, provider, known)).join(', ');
}

function keysOf({ configSchema }: ProviderDefinition): string[] {
  return [...settingKeys(configSchema as unknown as SchemaNode).keys()];
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

/** Puts secrets in the place of references to them, at any depth. */
function resolveSecrets(
  values: Record<string, unknown>,
  environment: Readonly<Record<string, string | undefined>>,
  refuse: (key: string, message: string) => never,
  prefix = '',
): void {
  for (const [key, value] of Object.entries(values)) {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) continue;
    const reference = value as { env?: unknown; file?: unknown };
    const only = Object.keys(value).length === 1;
    if (only && typeof reference.env === 'string') {
      values[key] =
        environment[reference.env] ??
        refuse(prefix + key, `refers to the variable ${reference.env}, which is not set`);
    } else if (only && typeof reference.file === 'string') {
      try {
        values[key] = readFileSync(reference.file, 'utf8').trimEnd();
      } catch (error) {
        refuse(prefix + key, `refers to a file that cannot be read: ${(error as Error).message}`);
      }
    } else {
      resolveSecrets(value as Record<string, unknown>, environment, refuse, `${prefix}${key}.`);
    }
  }
}
