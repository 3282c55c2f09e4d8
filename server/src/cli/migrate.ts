/** `tidings migrate`: brings the files of a stopped server to the newest schema. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Context } from './context.ts';
import { type Define, examples } from './define.ts';
import { CommandFailure, EXIT, type ExitCode } from './exit.ts';

interface MigrateOptions {
  config?: string;
  dataDir?: string;
  dryRun?: boolean;
}

export function addMigrate(program: Command, define: Define): void {
  const command = program
    .command('migrate')
    .description(
      'Apply pending migrations to the data folder of a stopped server. A start does the same by itself.',
    )
    .option('--config <file>', 'configuration file: TIDINGS_CONFIG')
    .option('--data-dir <folder>', 'data folder: TIDINGS_DATA_DIR, or what the configuration says')
    .option('--dry-run', 'list what is pending and change nothing; works beside a running server')
    .addHelpText(
      'after',
      examples('tidings migrate --dry-run', 'tidings migrate --data-dir /var/lib/tidings'),
    );
  define<MigrateOptions>(command, (context, { options }) => migrate(context, options));
}

async function migrate(context: Context, options: MigrateOptions): Promise<ExitCode> {
  const folder = await dataFolder(context, options);
  const { inspectFiles } = await import('../assemble/inspection.ts');
  const files = inspectFiles(folder);
  // A schema without the key that its secrets are sealed with would keep the first start from making one.
  if (files.every(({ exists }) => !exists)) {
    throw new CommandFailure(EXIT.nothing, `there is no data in ${folder}`, [
      'The first start makes it, in its newest schema. Is this the folder? (--data-dir, TIDINGS_DATA_DIR)',
    ]);
  }
  const broken = files.find(({ failure }) => failure !== undefined);
  if (broken)
    throw new CommandFailure(EXIT.failed, `${broken.path}: ${broken.failure}`, [
      'Run "tidings doctor".',
    ]);
  const newer = files.find(({ unknown }) => unknown.length > 0);
  if (newer) {
    throw new CommandFailure(
      EXIT.failed,
      `${newer.path} was written by a newer version of Tidings`,
      [`It has ${newer.unknown.join(', ')}. Use that version or a newer one.`],
    );
  }
  if (options.dryRun) {
    await show(
      context,
      Object.fromEntries(files.map(({ file, pending }) => [file, pending])),
      'pending',
    );
    return EXIT.ok;
  }
  await show(context, await apply(context, folder), 'applied');
  return EXIT.ok;
}

async function dataFolder(
  { environment }: Context,
  { config: file, dataDir }: MigrateOptions,
): Promise<string> {
  if (dataDir !== undefined) return resolve(dataDir);
  const { ConfigError, loadConfig } = await import('../config.ts');
  try {
    return loadConfig({ environment, file: file ?? (environment['TIDINGS_CONFIG'] || undefined) })
      .dataDir;
  } catch (error) {
    if (error instanceof ConfigError) throw new CommandFailure(EXIT.usage, error.message);
    throw error;
  }
}

/** Under the lock that a server would hold, so that none starts meanwhile. */
async function apply({ terminal }: Context, folder: string): Promise<Record<string, string[]>> {
  const { ConfigError } = await import('../config.ts');
  const { lockFolder } = await import('../data-folder.ts');
  const { migrateDataFiles } = await import('../assemble/migration.ts');
  let lock: ReturnType<typeof lockFolder>;
  try {
    lock = lockFolder(folder);
  } catch (error) {
    if (error instanceof ConfigError) throw new CommandFailure(EXIT.failed, error.message);
    throw error;
  }
  try {
    if (terminal.showsProgress) terminal.note(`migrating ${folder} …`);
    return migrateDataFiles(folder);
  } catch (error) {
    throw new CommandFailure(EXIT.failed, `the migration failed: ${(error as Error).message}`, [
      'Each migration is applied as a whole or not at all: what was applied before this one stays.',
    ]);
  } finally {
    lock.release();
  }
}

async function show(
  { terminal, json }: Context,
  migrations: Record<string, string[]>,
  word: 'applied' | 'pending',
): Promise<void> {
  if (json) return terminal.line(JSON.stringify({ [word]: migrations }));
  const rows = Object.entries(migrations).flatMap(([file, names]) =>
    names.map((name) => `${file}.db  ${name}`),
  );
  for (const row of rows) await terminal.line(row);
  terminal.note(rows.length === 0 ? 'Everything is applied already.' : `${rows.length} ${word}`);
}
