/**
 * Finds adapters and providers by looking: `<folder>/<channel>/adapter.ts` and
 * `<folder>/<channel>/providers/<name>.ts`, in this folder and in the operator's plug-in folder.
 * Adding one is adding its file; nothing here names any. Accounts of providers from the plug-in folder
 * get a process of their own.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import { CHANNEL_PATTERN } from '@tidings/contracts/common';
import type { AdapterDefinition } from './adapter.ts';
import type { PlugInLog } from './plug-in-output.ts';
import type { ProviderDefinition } from './provider.ts';

export interface Catalog {
  adapter(channel: string): AdapterDefinition | undefined;
  channels(): string[];
  provider(channel: string, name: string): ProviderDefinition | undefined;
  providers(channel: string): ProviderDefinition[];
}

const OWN_FOLDER = fileURLToPath(new URL('.', import.meta.url));

type Providers = Map<string, Map<string, ProviderDefinition>>;
/** What becomes of a definition that was found in a file. */
type Place = (definition: ProviderDefinition, file: string, channel: string) => ProviderDefinition;

/**
 * @param log told when the process of a plug-in ends, and what it prints
 * @throws Error that names the file when a definition is missing, malformed or taken twice
 */
export async function loadCatalog(pluginFolder?: string, log?: PlugInLog): Promise<Catalog> {
  const adapters = new Map<string, AdapterDefinition>();
  const providers: Providers = new Map();
  const addFolder = async (folder: string, place: Place): Promise<void> => {
    for (const channelFolder of foldersIn(folder)) {
      const path = join(folder, channelFolder);
      await addAdapter(path, channelFolder, adapters);
      await addProviders(path, channelFolder.replaceAll('-', '_'), providers, place);
    }
  };
  await addFolder(OWN_FOLDER, (definition) => definition);
  if (pluginFolder !== undefined) {
    const { inOwnProcess } = await import('./plug-in-account.ts');
    // The other threads load what this one has tried.
    if (isMainThread) {
      const { tryLoading } = await import('./plug-in-trial.ts');
      await tryLoading(pluginFolder, filesIn(pluginFolder));
    }
    await addFolder(pluginFolder, (definition, file, channel) =>
      inOwnProcess(definition, { file, name: `${channel}/${definition.name}`, log }),
    );
  }
  for (const channel of providers.keys()) {
    if (!adapters.has(channel))
      throw new Error(`there are providers for the channel ${channel}, but no adapter.ts`);
  }
  return {
    adapter: (channel) => adapters.get(channel),
    channels: () => [...adapters.keys()],
    provider: (channel, name) => providers.get(channel)?.get(name),
    providers: (channel) => [...(providers.get(channel)?.values() ?? [])],
  };
}

/** All that `loadCatalog` loads of a folder. */
function filesIn(folder: string): string[] {
  return foldersIn(folder).flatMap((channelFolder) => {
    const path = join(folder, channelFolder);
    const adapter = definitionIn(path, 'adapter');
    const providers = join(path, 'providers');
    const names = existsSync(providers) ? readdirSync(providers).filter(isDefinitionFile) : [];
    return [...(adapter ? [adapter] : []), ...names.sort().map((name) => join(providers, name))];
  });
}

async function addAdapter(
  folder: string,
  name: string,
  adapters: Map<string, AdapterDefinition>,
): Promise<void> {
  const path = definitionIn(folder, 'adapter');
  if (path === undefined) return;
  const definition = (await loadDefinition(path)) as AdapterDefinition;
  const channel = name.replaceAll('-', '_');
  if (definition.channel !== channel || !new RegExp(CHANNEL_PATTERN).test(channel)) {
    throw new Error(`${path}: the channel must be named like its folder, "${channel}"`);
  }
  if (typeof definition.parseAddress !== 'function' || !definition.contentSchema) {
    throw new Error(`${path} does not export an adapter made by defineAdapter`);
  }
  if (adapters.has(channel)) throw new Error(`${path}: the channel ${channel} exists already`);
  adapters.set(channel, definition);
}

async function addProviders(
  folder: string,
  channel: string,
  providers: Providers,
  place: Place,
): Promise<void> {
  const path = join(folder, 'providers');
  if (!existsSync(path)) return;
  const known = providers.get(channel) ?? new Map<string, ProviderDefinition>();
  providers.set(channel, known);
  for (const name of readdirSync(path).filter(isDefinitionFile).sort()) {
    const file = join(path, name);
    const definition = (await loadDefinition(file)) as ProviderDefinition;
    if (typeof definition.create !== 'function' || !definition.configSchema || !definition.name) {
      throw new Error(`${file} does not export a provider made by defineProvider`);
    }
    if (known.has(definition.name))
      throw new Error(`${file}: ${channel} has a provider ${definition.name} already`);
    known.set(definition.name, place(definition, file, channel));
  }
}

/** The default export of a file. @throws Error that names it */
export async function loadDefinition(path: string): Promise<unknown> {
  let module: { default?: unknown };
  try {
    module = await import(pathToFileURL(path).href);
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
  }
  if (module.default === null || typeof module.default !== 'object')
    throw new Error(`${path} has no default export`);
  return module.default;
}

function foldersIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

function definitionIn(folder: string, name: string): string | undefined {
  return ['ts', 'mjs', 'js']
    .map((extension) => join(folder, `${name}.${extension}`))
    .find(existsSync);
}

function isDefinitionFile(name: string): boolean {
  return /\.(ts|mjs|js)$/.test(name) && !/\.(test|d)\.ts$/.test(name);
}
