/** One migrated SQLite file in a folder of its own, for conformance suites of the embedded engine. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { openForReading, openForWriting } from '../../src/database/sqlite/connection.ts';
import { GroupWriter, type OperationSet } from '../../src/database/sqlite/group-writer.ts';
import { type DatabaseFile, migrate, readMigrations } from '../../src/database/sqlite/migrate.ts';
import { LocalWriteClient } from '../../src/database/sqlite/write-client.ts';

export interface TestFile extends AsyncDisposable {
  folder: string;
  path: string;
  writer: LocalWriteClient;
  /** A read-only connection, closed with the file. */
  reader(): DatabaseSync;
  /** A writing connection beside the writer's, as the projection has. */
  connection(): DatabaseSync;
}

export function openTestFile(
  file: DatabaseFile,
  prepare: (database: DatabaseSync) => OperationSet,
): TestFile {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-store-'));
  const path = join(folder, `${file}.db`);
  const first = openForWriting(path, { durability: 'full' });
  migrate(first, readMigrations(file));
  first.close();
  const group = new GroupWriter({
    open: () => openForWriting(path, { durability: 'full' }),
    prepare,
  });
  const opened: DatabaseSync[] = [];
  const remember = (database: DatabaseSync): DatabaseSync => {
    opened.push(database);
    return database;
  };
  return {
    folder,
    path,
    writer: new LocalWriteClient(group),
    reader: () => remember(openForReading(path)),
    connection: () => remember(openForWriting(path, { durability: 'normal' })),
    async [Symbol.asyncDispose]() {
      for (const database of opened) database.close();
      group.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
