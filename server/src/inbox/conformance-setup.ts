/** A real inbox on SQLite files of its own, for the tests of everything that needs one. */
import type { DatabaseSync } from 'node:sqlite';
import { openProjectionFile } from '../../test/support/projection.ts';
import { openTestFile } from '../../test/support/store.ts';
import { type InboxOperations, inboxOperations } from '../database/sqlite/inbox-operations.ts';
import { SqliteInboxStore } from '../database/sqlite/inbox-store.ts';
import { Projection } from '../database/sqlite/projection.ts';

export interface TestInbox extends AsyncDisposable {
  store: SqliteInboxStore;
  /** Connections to the hot file (reading) and to the projection (writing). */
  messages: DatabaseSync;
  projection: DatabaseSync;
  /** Deletes messages by number, as the notification store does: in its own operation. */
  remove(first: number, last?: number): Promise<unknown>;
  /** Makes every write of the store fail as on a full disk, until called with false. */
  fill(full: boolean): void;
  /** The projection follows while this is true, as it is at first; otherwise it stays behind. */
  following: boolean;
  /** How long it takes, as it does in another thread; no time at first. */
  pause: () => Promise<void>;
}

export async function openTestInbox(): Promise<TestInbox> {
  let written: DatabaseSync;
  const hot = openTestFile('messages', (database) => {
    written = database;
    const inbox: InboxOperations = inboxOperations(database);
    const remove = ([first, last]: [number, number]) => inbox.remove(first, last, Date.now());
    return { operations: { ...inbox.operations, remove: { isolated: true, run: remove } } };
  });
  const messages = hot.reader();
  const shown = openProjectionFile(hot.folder);
  const follower = new Projection({ messages, projection: shown.connection });
  const inbox: TestInbox = {
    store: new SqliteInboxStore({
      messages: hot.reader(),
      projection: shown.reader,
      writer: hot.writer,
      caughtUp: async () => {
        await inbox.pause();
        while (inbox.following && follower.step());
      },
    }),
    messages,
    projection: shown.connection,
    remove: (first, last = first) => hot.writer.call('remove', [first, last]),
    fill(full) {
      const { page_count: pages } = written.prepare('PRAGMA page_count').get() as {
        page_count: number;
      };
      written.exec(`PRAGMA max_page_count = ${full ? pages : 1_000_000}`);
    },
    following: true,
    pause: async () => {},
    async [Symbol.asyncDispose]() {
      shown.close();
      await hot[Symbol.asyncDispose]();
    },
  };
  return inbox;
}
