/**
 * The one program. `start` runs the service: configuration, data folder, roles, signals. Everything
 * else is the `tidings` command (cli/).
 *
 * Nothing of ours is imported before compiled code has its place: what is loaded earlier has its types
 * stripped again at each start, by a library that takes 15 MB in every thread that needs it.
 */
import { mkdirSync } from 'node:fs';
import { enableCompileCache, getCompileCacheDir } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import type { SchemaNode } from './settings.ts';

/** Ends with the installation, which `npm ci` makes anew. The launcher names the same one (scripts/launch.mjs). */
const COMPILED = fileURLToPath(new URL('../../node_modules/.cache/tidings', import.meta.url));

/** What the file system refuses with, besides SQLite. */
const OF_FILES = new Set(['EACCES', 'EISDIR', 'ENOENT', 'ENOTDIR', 'EPERM', 'EROFS', 'ENOSPC']);

// Helper threads that share two cores with the service keep a collection waiting more than they help.
setFlagsFromString('--no-parallel-scavenge');

// Whatever is written here is for its owner alone, also in a folder that others may read.
process.umask(0o077);

if (getCompileCacheDir() === undefined) keepCompiled(COMPILED);
const [command, ...rest] = process.argv.slice(2);

if (command === 'start' && !rest.some((word) => word === '--help' || word === '-h')) {
  await start(rest);
} else {
  const { runCommand } = await import('./cli/command.ts');
  process.exitCode = await runCommand(process.argv.slice(2));
}

async function start(args: string[]): Promise<void> {
  const startedAt = performance.now();
  const { ConfigError, loadConfig } = await import('./config.ts');
  const { Settings, settingKeys } = await import('./settings.ts');
  try {
    const keys = [...settingKeys(Settings as unknown as SchemaNode).keys()];
    const { file, flags } = readFlags(args, keys);
    const config = loadConfig({ environment: process.env, file, flags });
    if (getCompileCacheDir() === undefined) keepCompiledWithData(config.dataDir);
    const { serve } = await import('./serve.ts');
    await serve(config, startedAt);
  } catch (error) {
    if (
      error instanceof ConfigError ||
      (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS')
    ) {
      process.stderr.write(`tidings: ${(error as Error).message}\n`);
      process.exit(2);
    }
    const { code, message, stack } = error as NodeJS.ErrnoException;
    // A file that is not what it should be: whoever can mend it has no use for where in the program it was found.
    const isOfFiles = code === 'ERR_SQLITE_ERROR' || OF_FILES.has(code ?? '');
    process.stderr.write(`tidings: the start failed: ${isOfFiles ? message : stack}\n`);
    process.exit(isOfFiles ? 2 : 1);
  }
}

/**
 * Keeps compiled code from one start to the next, for this thread and those it starts. Says nothing
 * where it cannot: everything works without it, more slowly.
 */
function keepCompiled(folder: string): void {
  enableCompileCache(folder);
  // Read by worker threads when they start; one that names a folder of no use is no help to them.
  if (getCompileCacheDir() !== undefined) process.env['NODE_COMPILE_CACHE'] = folder;
}

/** Beside the data, where the installation cannot be written. */
function keepCompiledWithData(dataDir: string): void {
  try {
    // Before the cache makes it with everybody's rights.
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  } catch {
    // Whoever locks the folder says what is wrong with it.
    return;
  }
  keepCompiled(join(dataDir, 'compiled'));
}

/**
 * Every setting is a flag, spelt like the setting or with dashes: `--port 80`, `--data-dir /srv/data`,
 * `--delivery.concurrency 64`; `--config` names the file.
 */
function readFlags(
  args: string[],
  keys: string[],
): { file: string | undefined; flags: Record<string, string> } {
  const options = Object.fromEntries(
    [...keys, 'config'].map((key) => [key, { type: 'string' as const }]),
  );
  const spelt = args.map((word) =>
    word.startsWith('--')
      ? word.replace(/^--[^=]+/, (name) =>
          name.replace(/(?<=\w)-(\w)/g, (_, letter: string) => letter.toUpperCase()),
        )
      : word,
  );
  const { values } = parseArgs({ args: spelt, options, strict: true, allowPositionals: false });
  const { config, ...flags } = values as Record<string, string>;
  return { file: config ?? (process.env['TIDINGS_CONFIG'] || undefined), flags };
}
