/** Brings the files of a data folder to the newest schema, before any thread opens them. */
import { ConfigError } from '../config.ts';
import { dataFiles, FileError, migrateFiles } from '../database/sqlite/files.ts';
import { repairProjection } from '../database/sqlite/projection-repair.ts';

/**
 * Names of the migrations that were applied now, per file.
 * @throws ConfigError that names the file which cannot be used
 */
export function migrateDataFiles(folder: string): Record<string, string[]> {
  try {
    const files = dataFiles(folder);
    const applied = migrateFiles(files);
    repairProjection(files);
    return applied;
  } catch (error) {
    if (error instanceof FileError) throw new ConfigError('dataDir', `has ${error.message}`);
    throw error;
  }
}
