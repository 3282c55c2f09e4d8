/** The data folder: one process at a time, and the key that seals its secrets. */
import { randomBytes } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ConfigError } from './config.ts';
import { SecretBox } from './secret-box.ts';

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
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    // One that can only be read is locked by nobody, and would let several processes in.
    if (existsSync(path)) accessSync(path, constants.R_OK | constants.W_OK);
    lock = new DatabaseSync(path, { timeout: 0 });
  } catch {
    throw new ConfigError('dataDir', `${folder} cannot be written by this user (TIDINGS_DATA_DIR)`);
  }
  try {
    lock.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE');
  } catch (error) {
    lock.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) {
      throw new ConfigError(
        'dataDir',
        `${folder} cannot be locked: ${path} cannot be used (${(error as Error).message}); it holds nothing, so remove it`,
      );
    }
    throw new ConfigError(
      'dataDir',
      `${folder} is in use by another process of Tidings; stop it, or set TIDINGS_DATA_DIR to another folder`,
    );
  }
  return { release: () => lock.close() };
}

const SQLITE_BUSY = 5;
const KEY_BYTES = 32;

/** Sealed with the master key at the first start, to know it again. */
const CHECK_FILE = 'master.check';
const CHECK_TEXT = 'Tidings';

/**
 * The master key as hex: from the settings, or from a file that is made at the first start.
 * @throws ConfigError when it is not the one that has sealed what is in the folder
 */
export function masterKeyOf(folder: string, configured: string | undefined): string {
  const key = readMasterKey(folder, configured);
  const path = join(folder, CHECK_FILE);
  if (!existsSync(path)) {
    writeWhole(path, `${new SecretBox(Buffer.from(key, 'hex')).seal(CHECK_TEXT)}\n`);
    return key;
  }
  if (isKnownKey(folder, key)) return key;
  throw new ConfigError(
    'masterKey',
    `is not the one that sealed the secrets of ${folder}; restore it (if the key is right, ${path} is damaged: remove that file)`,
  );
}

/** Whether a key, as hex or base64, is the one of the folder, as far as the folder knows its key. */
export function isKnownKey(folder: string, key: string): boolean {
  const path = join(folder, CHECK_FILE);
  if (!existsSync(path)) return true;
  try {
    const box = new SecretBox(Buffer.from(decodeKey(key, 'masterKey'), 'hex'));
    return box.open(readFileSync(path, 'utf8').trim()) === CHECK_TEXT;
  } catch {
    // Another key, or a damaged file.
    return false;
  }
}

function readMasterKey(folder: string, configured: string | undefined): string {
  if (configured !== undefined) return decodeKey(configured, 'masterKey', ' (TIDINGS_MASTER_KEY)');
  const path = join(folder, 'master.key');
  if (!existsSync(path)) {
    if (existsSync(join(folder, 'records.db'))) {
      throw new ConfigError(
        'masterKey',
        `is missing: ${path} is gone, but secrets were sealed with it; restore the file or set TIDINGS_MASTER_KEY`,
      );
    }
    writeWhole(path, `${randomBytes(KEY_BYTES).toString('hex')}\n`);
  }
  return decodeKey(readFileSync(path, 'utf8').trim(), path);
}

/** Whoever is interrupted leaves the file whole or not at all. */
function writeWhole(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}

function decodeKey(text: string, name: string, origin = ''): string {
  const bytes = /^[0-9a-f]{64}$/i.test(text)
    ? Buffer.from(text, 'hex')
    : Buffer.from(text, 'base64');
  if (bytes.length !== KEY_BYTES)
    throw new ConfigError(name, `must be 32 bytes, as 64 hex characters or as base64${origin}`);
  return bytes.toString('hex');
}
