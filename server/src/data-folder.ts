/** The data folder: one process at a time, and the key that seals its secrets. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ConfigError } from './config.ts';

/**
 * Holds the folder until the process ends, however it ends: the operating system releases the lock
 * of an open SQLite transaction with its process.
 * @throws ConfigError when another process has it
 */
export function lockFolder(folder: string): { release(): void } {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new ConfigError(
      'dataDir',
      `cannot be created: ${(error as Error).message} (TIDINGS_DATA_DIR)`,
    );
  }
  const path = join(folder, 'lock.db');
  let lock: DatabaseSync;
  try {
    lock = new DatabaseSync(path, { timeout: 0 });
  } catch {
    throw new ConfigError('dataDir', `${folder} cannot be written by this user (TIDINGS_DATA_DIR)`);
  }
  try {
    lock.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE');
  } catch {
    lock.close();
    throw new ConfigError(
      'dataDir',
      `${folder} is in use by another process of Tidings; stop it, or set TIDINGS_DATA_DIR to another folder`,
    );
  }
  return { release: () => lock.close() };
}

const KEY_BYTES = 32;

/** The master key as hex: from the settings, or from a file that is made at the first start. */
export function masterKeyOf(folder: string, configured: string | undefined): string {
  if (configured !== undefined) return decodeKey(configured, 'masterKey');
  const path = join(folder, 'master.key');
  if (!existsSync(path)) {
    if (existsSync(join(folder, 'records.db'))) {
      throw new ConfigError(
        'masterKey',
        `is missing: ${path} is gone, but secrets were sealed with it; restore the file or set TIDINGS_MASTER_KEY`,
      );
    }
    writeFileSync(path, `${randomBytes(KEY_BYTES).toString('hex')}\n`, {
      mode: 0o600,
      flag: 'wx',
      flush: true,
    });
  }
  return decodeKey(readFileSync(path, 'utf8').trim(), path);
}

function decodeKey(text: string, name: string): string {
  const bytes = /^[0-9a-f]{64}$/i.test(text)
    ? Buffer.from(text, 'hex')
    : Buffer.from(text, 'base64');
  if (bytes.length !== KEY_BYTES)
    throw new ConfigError(name, 'must be 32 bytes, as 64 hex characters or as base64');
  return bytes.toString('hex');
}
