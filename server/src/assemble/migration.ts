/** Brings the files of a data folder to the newest schema, before any thread opens them. */
import { dataFiles, migrateFiles } from '../database/sqlite/files.ts';

/** Names of the migrations that were applied now, per file. */
export function migrateDataFiles(folder: string): Record<string, string[]> {
  return migrateFiles(dataFiles(folder));
}
