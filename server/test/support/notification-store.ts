/** The notification store of the embedded engine on a file of its own, with its projection. */
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { type Clock, systemClock } from '../../src/clock.ts';
import { SqliteEventStore } from '../../src/database/sqlite/event-store.ts';
import { messagesOperations } from '../../src/database/sqlite/files.ts';
import { IdempotencyIndex } from '../../src/database/sqlite/idempotency-index.ts';
import { MessageSearch } from '../../src/database/sqlite/message-search.ts';
import { SearchReader } from '../../src/database/sqlite/message-search-reader.ts';
import { SqliteNotificationStore } from '../../src/database/sqlite/notification-store.ts';
import { Projection } from '../../src/database/sqlite/projection.ts';
import { openProjectionFile } from './projection.ts';
import { openTestFile } from './store.ts';

export interface TestNotificationStore extends AsyncDisposable {
  store: SqliteNotificationStore;
  events: SqliteEventStore;
  /** A read-only connection to the hot file. */
  database: DatabaseSync;
}

export function openNotificationStore(clock: Clock = systemClock): TestNotificationStore {
  const file = openTestFile('messages', (database) =>
    messagesOperations(database, {
      clock,
      index: new IdempotencyIndex(undefined),
      idempotencyRetentionMs: 365 * 86_400_000,
    }),
  );
  const { connection, reader, close } = openProjectionFile(file.folder);
  const projection = new Projection({
    messages: file.reader(),
    projection: connection,
  });
  const database = file.reader();
  const files = {
    messages: file.path,
    projection: reader.location() as string,
    records: join(file.folder, 'records.db'),
  };
  const search = new MessageSearch(new SearchReader(files), {
    caughtUp: async () => {
      while (projection.step());
    },
  });
  return {
    store: new SqliteNotificationStore({ database, writer: file.writer, search }),
    events: new SqliteEventStore({ database, writer: file.writer }),
    database,
    async [Symbol.asyncDispose]() {
      search.close();
      close();
      await file[Symbol.asyncDispose]();
    },
  };
}
