/**
 * The one program. `start` runs the service: configuration, data folder, roles, signals. Everything
 * else is the `tidings` command (cli/).
 */
import { mkdirSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { ConfigError, loadConfig, type SchemaNode, Settings, settingKeys } from './config.ts';

// Helper threads that share two cores with the service keep a collection waiting more than they help.
setFlagsFromString('--no-parallel-scavenge');

// Whatever is written here is for its owner alone, also in a folder that others may read.
process.umask(0o077);

const [command, ...rest] = process.argv.slice(2);

if (command === 'start' && !rest.some((word) => word === '--help' || word === '-h')) {
  await start(rest);
} else {
  const { runCommand } = await import('./cli/command.ts');
  process.exitCode = await runCommand(process.argv.slice(2));
}

async function start(args: string[]): Promise<void> {
  const startedAt = performance.now();
  try {
    const { file, flags } = readFlags(args);
    const config = loadConfig({ environment: process.env, file, flags });
    keepCompiled(config.dataDir);
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
    process.stderr.write(`tidings: the start failed: ${(error as Error).stack}\n`);
    process.exit(1);
  }
}

/**
 * Keeps compiled code in the data folder, for this thread and those it starts: without it every
 * thread would strip the types of every file again at each start.
 */
function keepCompiled(dataDir: string): void {
  const folder = join(dataDir, 'compiled');
  try {
    // Before the cache makes it with everybody's rights.
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  } catch {
    // Whoever locks the folder says what is wrong with it.
    return;
  }
  enableCompileCache(folder);
  // Read by worker threads when they start.
  process.env['NODE_COMPILE_CACHE'] ??= folder;
}

/**
 * Every setting is a flag, spelt like the setting or with dashes: `--port 80`, `--data-dir /srv/data`,
 * `--delivery.concurrency 64`; `--config` names the file.
 */
function readFlags(args: string[]): { file: string | undefined; flags: Record<string, string> } {
  const keys = [...settingKeys(Settings as unknown as SchemaNode).keys()];
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
  return { file: config ?? process.env['TIDINGS_CONFIG'], flags };
}
