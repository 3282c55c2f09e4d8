/**
 * Finds adapters and providers by looking: `<folder>/<channel>/adapter.ts` and
 * `<folder>/<channel>/providers/<name>.ts`, in this folder and in the operator's plug-in folder.
 * Adding one is adding its file; nothing here names any. Accounts of providers from the plug-in folder
 * get a process of their own.
 */
import { closeSync, lstatSync, openSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import { CHANNEL_PATTERN } from '@tidings/contracts/common';
import { variableOf } from '../settings.ts';
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
    for (const channel of channelsIn(folder)) {
      if (channel.adapter !== undefined) await addAdapter(channel.adapter, channel.name, adapters);
      await addProviders(channel, providers, place);
    }
  };
  await addFolder(OWN_FOLDER, (definition) => definition);
  if (pluginFolder !== undefined) {
    checkFolder(pluginFolder);
    const { inOwnProcess } = await import('./plug-in-account.ts');
    const files = definitionFilesIn(pluginFolder);
    // The other threads load what this one has tried.
    if (isMainThread) {
      const { checkLinks } = await import('./plug-in-files.ts');
      const { tryLoading } = await import('./plug-in-trial.ts');
      checkLinks(pluginFolder, files);
      await tryLoading(pluginFolder, files);
    }
    await addFolder(pluginFolder, (definition, file, channel) =>
      inOwnProcess(definition, { file, files, name: `${channel}/${definition.name}`, log }),
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

/** All that `loadCatalog` loads of a folder. @throws Error that names what cannot be read */
export function definitionFilesIn(folder: string): string[] {
  return channelsIn(folder).flatMap(({ adapter, providers }) =>
    adapter === undefined ? providers : [adapter, ...providers],
  );
}

async function addAdapter(
  path: string,
  channel: string,
  adapters: Map<string, AdapterDefinition>,
): Promise<void> {
  const definition = (await loadDefinition(path)) as AdapterDefinition;
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
  { name: channel, providers: files }: ChannelFiles,
  providers: Providers,
  place: Place,
): Promise<void> {
  if (files.length === 0) return;
  const known = providers.get(channel) ?? new Map<string, ProviderDefinition>();
  providers.set(channel, known);
  for (const file of files) {
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

/** What is in the folder of one channel. */
interface ChannelFiles {
  name: string;
  adapter: string | undefined;
  providers: string[];
}

function channelsIn(folder: string): ChannelFiles[] {
  return namesIn(folder)
    .filter((name) => name !== 'node_modules' && isFolder(join(folder, name)))
    .map((name) => {
      const inside = namesIn(join(folder, name));
      const adapter = ADAPTER_FILES.find((file) => inside.includes(file));
      const providers = join(folder, name, 'providers');
      return {
        name: name.replaceAll('-', '_'),
        adapter: adapter && readable(join(folder, name, adapter)),
        providers: inside.includes('providers')
          ? namesIn(providers)
              .filter(isDefinitionFile)
              .map((file) => readable(join(providers, file)))
          : [],
      };
    });
}

/** @throws Error that names the variable of the setting */
function checkFolder(folder: string): void {
  try {
    namesIn(folder);
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`${message} (${variableOf('plugins')})`, { cause: error });
  }
}

const ADAPTER_FILES = ['adapter.ts', 'adapter.mjs', 'adapter.js'];

function namesIn(folder: string): string[] {
  return toldOf(folder, () => readdirSync(folder).sort());
}

function isFolder(path: string): boolean {
  return toldOf(path, () => statSync(path).isDirectory());
}

function readable(file: string): string {
  if (isFolder(file)) throw new Error(`${file}: it is a folder, where a file is expected`);
  toldOf(file, () => closeSync(openSync(file, 'r')));
  return file;
}

/** @throws Error that says in words why the path cannot be read */
function toldOf<Value>(path: string, read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink();
    const what = code === 'ENOENT' && isLink ? 'it is a link to nothing' : UNREADABLE[code];
    throw new Error(`${path}: ${what ?? message}`, { cause: error });
  }
}

const UNREADABLE: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such folder',
  ENOTDIR: 'it is no folder',
  EACCES: 'the service is not allowed to read it',
  EPERM: 'the service is not allowed to read it',
  ELOOP: 'it is a link that leads back to itself',
};

function isDefinitionFile(name: string): boolean {
  return /\.(ts|mjs|js)$/.test(name) && !/\.(test|d)\.ts$/.test(name);
}
