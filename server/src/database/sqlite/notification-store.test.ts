import { openProjectionFile } from '../../../test/support/projection.ts';
import { openTestFile } from '../../../test/support/store.ts';
import { systemClock } from '../../clock.ts';
import { runNotificationStoreConformance } from '../../notification/notification-store.conformance.ts';
import { eventOperations } from './event-operations.ts';
import { SqliteEventStore } from './event-store.ts';
import { mergeOperations } from './group-writer.ts';
import { IdempotencyIndex } from './idempotency-index.ts';
import { inboxOperations } from './inbox-operations.ts';
import { MessageSearch } from './message-search.ts';
import { notificationOperations } from './notification-operations.ts';
import { SqliteNotificationStore } from './notification-store.ts';
import { Projection } from './projection.ts';

runNotificationStoreConformance('SQLite', async () => {
  const file = openTestFile('messages', (database) => {
    const events = eventOperations(database);
    const inbox = inboxOperations(database);
    const index = new IdempotencyIndex(undefined);
    return mergeOperations(
      events,
      notificationOperations(database, {
        clock: systemClock,
        changed: events.changed,
        happened: events.happened,
        removeItems: inbox.remove,
        index,
        idempotencyRetentionMs: 365 * 86_400_000,
      }),
      inbox,
    );
  });
  const { connection, reader, close } = openProjectionFile(file.folder);
  const projection = new Projection({
    messages: file.reader(),
    projection: connection,
  });
  const database = file.reader();
  const search = new MessageSearch({
    database: reader,
    caughtUp: async () => {
      while (projection.step());
    },
  });
  return {
    store: new SqliteNotificationStore({ database, writer: file.writer, search }),
    events: new SqliteEventStore({ database, writer: file.writer }),
    async [Symbol.asyncDispose]() {
      close();
      await file[Symbol.asyncDispose]();
    },
  };
});
