/** Applications and users on a records file of their own, each opened stores with their own connection. */
import { hash } from 'node:crypto';
import type { Caller } from '../../src/application/application-store.ts';
import { createApplicationService } from '../../src/application/service.ts';
import type { Clock } from '../../src/clock.ts';
import {
  applicationOperations,
  SqliteApplicationStore,
} from '../../src/database/sqlite/application-store.ts';
import { mergeOperations } from '../../src/database/sqlite/group-writer.ts';
import { RecordCacheGroup } from '../../src/database/sqlite/record-cache.ts';
import { SqliteUserStore, userOperations } from '../../src/database/sqlite/user-store.ts';
import { ManualClock } from './manual-clock.ts';
import { openTestFile, type TestFile } from './store.ts';

export interface RecordStores {
  applications: SqliteApplicationStore;
  users: SqliteUserStore;
}

export interface TestRecords extends RecordStores, AsyncDisposable {
  file: TestFile;
  clock: ManualClock;
  /** The same stores as another thread has them. */
  another(): RecordStores;
}

export function openTestRecords(clock = new ManualClock()): TestRecords {
  const file = openTestFile('records', (database) =>
    mergeOperations(applicationOperations(database, { clock }), userOperations(database)),
  );
  const open = (): RecordStores => {
    const database = file.reader();
    const cache = new RecordCacheGroup(database, clock, 50);
    const shared = { database, writer: file.writer, cache };
    return {
      applications: new SqliteApplicationStore({ ...shared, clock }),
      users: new SqliteUserStore(shared),
    };
  };
  return {
    file,
    clock,
    ...open(),
    another: open,
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
}

/** The caller of a key with every scope of an application, which is made when it is not there. */
export async function adminOf(
  { applications }: RecordStores,
  clock: Clock,
  application = 'default',
): Promise<{ caller: Caller; key: string }> {
  const service = createApplicationService({ store: applications, clock });
  await service.bootstrap('a-key-of-the-test-operator');
  const operator = applications.authenticate(
    hash('sha256', 'a-key-of-the-test-operator'),
  ) as Caller;
  if (!(await applications.byKey(application))) await service.create({ key: application });
  const { secret } = await service.createKey(operator, {
    application,
    scopes: ['send', 'read', 'manage', 'admin'],
  });
  return { caller: applications.authenticate(hash('sha256', secret)) as Caller, key: secret };
}
