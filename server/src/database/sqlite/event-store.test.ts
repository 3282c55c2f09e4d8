import { openTestFile } from '../../../test/support/store.ts';
import { runEventStoreConformance } from '../../analytics/event-store.conformance.ts';
import { eventOperations } from './event-operations.ts';
import { SqliteEventStore } from './event-store.ts';

runEventStoreConformance('SQLite', async () => {
  const file = openTestFile('messages', eventOperations);
  return {
    store: new SqliteEventStore({ database: file.reader(), writer: file.writer }),
    async shown() {},
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
});
