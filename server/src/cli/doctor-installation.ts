/** Checks of what lies on this machine: Node, configuration, data folder, files. */
import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Config } from '../config.ts';
import type { Context } from './context.ts';
import type { Report } from './doctor-check.ts';

/** package.json of the launcher says the same; older ones do not run the server's files. */
const OLDEST_NODE = 26;

export interface Installation {
  /** Undefined when it cannot be read. */
  config: Config | undefined;
  dataDir: string;
  /** Whether there are data files that can be read. */
  hasData: boolean;
  /** Whether a process holds the data folder. */
  inUse: boolean;
}

export interface InstallationOptions {
  config?: string;
  dataDir?: string;
  integrity: boolean;
}

export async function checkInstallation(
  context: Context,
  options: InstallationOptions,
  report: Report,
): Promise<Installation> {
  await checkNode(report);
  const config = await checkConfiguration(context, options, report);
  const named = options.dataDir ?? config?.dataDir ?? context.environment['TIDINGS_DATA_DIR'];
  const dataDir = resolve(named ?? './data');
  const found = { config, dataDir, hasData: false, inUse: false };
  if (!(await checkFolder(dataDir, report))) return found;
  await checkMasterKey(dataDir, config, report);
  await checkSpace(dataDir, report);
  const { isFolderInUse } = await import('../assemble/inspection.ts');
  found.inUse = isFolderInUse(dataDir);
  await report({
    name: 'lock',
    status: 'ok',
    message: found.inUse
      ? 'a running server holds the data folder'
      : 'no server holds the data folder',
  });
  found.hasData = await checkFiles(context, dataDir, options.integrity, report);
  return found;
}

async function checkNode(report: Report): Promise<void> {
  const { node } = process.versions;
  const fits = Number.parseInt(node, 10) >= OLDEST_NODE;
  await report({
    name: 'Node',
    status: fits ? 'ok' : 'fail',
    message: `${node} (${process.platform} ${process.arch})`,
    ...(fits ? {} : { advice: `Use Node ${OLDEST_NODE} or newer; npm ci brings one along.` }),
  });
}

async function checkConfiguration(
  { environment }: Context,
  { config: file, dataDir }: InstallationOptions,
  report: Report,
): Promise<Config | undefined> {
  const { ConfigError, loadConfig } = await import('../config.ts');
  const { inspectAccounts } = await import('../assemble/inspection.ts');
  const name = 'configuration';
  try {
    const config = loadConfig({
      environment,
      file: file ?? (environment['TIDINGS_CONFIG'] || undefined),
      flags: dataDir === undefined ? {} : { dataDir },
    });
    const channels = await inspectAccounts(config);
    const captured = channels
      .filter(({ accounts }) => accounts.length === 0)
      .map(({ channel }) => channel);
    await report({
      name,
      status: 'ok',
      message: `${channels.length} channels, ${file ?? 'from the environment and defaults'}`,
    });
    if (captured.length > 0) {
      await report({
        name: 'providers',
        status: 'warn',
        message: `no provider is configured for ${captured.join(', ')}: such messages are captured, not sent`,
        advice:
          'Set the provider’s variables, such as TIDINGS_EMAIL_SMTP_HOST, if they are to be sent.',
      });
    }
    return config;
  } catch (error) {
    const advice =
      error instanceof ConfigError
        ? 'The server would not start; correct the setting.'
        : 'Look at the plug-in folder.';
    await report({ name, status: 'fail', message: (error as Error).message, advice });
    return undefined;
  }
}

async function checkFolder(dataDir: string, report: Report): Promise<boolean> {
  const name = 'data folder';
  if (!existsSync(dataDir)) {
    await report({
      name,
      status: 'warn',
      message: `${dataDir} does not exist`,
      advice: 'The first start makes it. If there should be data, check TIDINGS_DATA_DIR.',
    });
    return false;
  }
  const { mode } = statSync(dataDir);
  if (!statSync(dataDir).isDirectory()) {
    await report({
      name,
      status: 'fail',
      message: `${dataDir} is not a folder`,
      advice: 'Set TIDINGS_DATA_DIR.',
    });
    return false;
  }
  try {
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch {
    await report({
      name,
      status: 'fail',
      message: `${dataDir} cannot be written by this user`,
      advice: 'Run this as the user the server runs as, or give that user the folder.',
    });
    return false;
  }
  const open = process.platform !== 'win32' && (mode & 0o077) !== 0;
  await report({
    name,
    status: open ? 'warn' : 'ok',
    message: open ? `${dataDir} can be entered by other users (mode ${octal(mode)})` : dataDir,
    ...(open ? { advice: `chmod 700 ${dataDir}` } : {}),
  });
  return true;
}

async function checkMasterKey(
  dataDir: string,
  config: Config | undefined,
  report: Report,
): Promise<void> {
  const name = 'master key';
  const path = join(dataDir, 'master.key');
  if (config?.masterKey !== undefined) {
    const { isKnownKey } = await import('../data-folder.ts');
    const known = isKnownKey(dataDir, config.masterKey);
    await report({
      name,
      status: known ? 'ok' : 'fail',
      message: known
        ? 'from the configuration'
        : `the one from the configuration has not sealed the secrets of ${dataDir}`,
      ...(known ? {} : { advice: 'Restore the key this folder was made with.' }),
    });
    return;
  }
  if (!existsSync(path)) {
    const needed = existsSync(join(dataDir, 'records.db'));
    await report({
      name,
      status: needed ? 'fail' : 'ok',
      message: needed
        ? `${path} is gone, but secrets were sealed with it`
        : 'made at the first start',
      ...(needed ? { advice: 'Restore the file from a backup, or set TIDINGS_MASTER_KEY.' } : {}),
    });
    return;
  }
  const { mode } = statSync(path);
  const isOpen = process.platform !== 'win32' && (mode & 0o177) !== 0;
  await report({
    name,
    status: isOpen ? 'fail' : 'ok',
    message: isOpen
      ? `${path} can be read by others (mode ${octal(mode)})`
      : `${path} (mode ${octal(mode)})`,
    ...(isOpen ? { advice: `chmod 600 ${path}` } : {}),
  });
}

const MIB = 1024 * 1024;
/** Below the first the store may fill within minutes under load; below the second, soon. */
const SPACE_FAIL_BYTES = 200 * MIB;
const SPACE_WARN_BYTES = 2048 * MIB;

async function checkSpace(dataDir: string, report: Report): Promise<void> {
  const { bavail, bsize } = statfsSync(dataDir);
  const free = bavail * bsize;
  const status = free < SPACE_FAIL_BYTES ? 'fail' : free < SPACE_WARN_BYTES ? 'warn' : 'ok';
  await report({
    name: 'disk',
    status,
    message: `${bytesText(free)} free`,
    ...(status === 'ok' ? {} : { advice: 'Free space, or move the data folder to a larger disk.' }),
  });
}

async function checkFiles(
  { terminal }: Context,
  dataDir: string,
  integrity: boolean,
  report: Report,
): Promise<boolean> {
  const { checkIntegrity, inspectFiles } = await import('../assemble/inspection.ts');
  const files = inspectFiles(dataDir);
  if (files.every(({ exists }) => !exists)) {
    await report({ name: 'files', status: 'ok', message: 'there is no data yet' });
    return false;
  }
  let readable = true;
  for (const { file, path, exists, bytes, failure } of files) {
    const name = `${file}.db`;
    if (!exists) {
      readable = false;
      await report(
        file === 'projection'
          ? { name, status: 'warn', message: 'is missing', advice: 'The next start rebuilds it.' }
          : {
              name,
              status: 'fail',
              message: `${path} is missing`,
              advice: 'Restore the data folder from a backup.',
            },
      );
      continue;
    }
    if (integrity && terminal.showsProgress)
      terminal.note(`reading ${name} (${bytesText(bytes)}) …`);
    const faults = failure === undefined ? (integrity ? checkIntegrity(path) : []) : [failure];
    if (faults.length > 0) readable = false;
    await report({
      name,
      status: faults.length > 0 ? 'fail' : 'ok',
      message:
        faults.length > 0 ? faults.join('; ') : `${bytesText(bytes)}${integrity ? ', whole' : ''}`,
      ...(faults.length > 0 ? { advice: adviceFor(file) } : {}),
    });
  }
  await checkMigrations(files, report);
  return readable;
}

function adviceFor(file: string): string {
  return file === 'projection'
    ? 'Stop the server and delete the file: the next start rebuilds it.'
    : 'Stop the server, keep a copy, and restore the data folder from a backup.';
}

async function checkMigrations(
  files: readonly {
    file: string;
    exists: boolean;
    pending: string[];
    unknown: string[];
    failure?: string;
  }[],
  report: Report,
): Promise<void> {
  const listed = (part: 'pending' | 'unknown'): string =>
    files
      .filter(({ exists, failure }) => exists && failure === undefined)
      .flatMap((one) => one[part].map((migration) => `${one.file}/${migration}`))
      .join(', ');
  const unknown = listed('unknown');
  const pending = listed('pending');
  const name = 'migrations';
  if (unknown !== '') {
    await report({
      name,
      status: 'fail',
      message: `the data was written by a newer version of Tidings, which knows ${unknown}`,
      advice: 'Use that version or a newer one.',
    });
  } else if (pending !== '') {
    await report({
      name,
      status: 'warn',
      message: `not applied yet: ${pending}`,
      advice: 'The next start applies them; so does "tidings migrate".',
    });
  } else {
    await report({ name, status: 'ok', message: 'all are applied' });
  }
}

function octal(mode: number): string {
  return (mode & 0o777).toString(8).padStart(3, '0');
}

export function bytesText(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
