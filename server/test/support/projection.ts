/** A projection file beside a test file, with its writing and its reading connection. */
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { openForReading, openForWriting } from '../../src/database/sqlite/connection.ts';
import { migrate, readMigrations } from '../../src/database/sqlite/migrate.ts';

export function openProjectionFile(folder: string): {
  connection: DatabaseSync;
  reader: DatabaseSync;
  close(): void;
} {
  const path = join(folder, 'projection.db');
  const connection = openForWriting(path, { durability: 'normal' });
  migrate(connection, readMigrations('projection'));
  const reader = openForReading(path);
  return {
    connection,
    reader,
    close() {
      reader.close();
      connection.close();
    },
  };
}
