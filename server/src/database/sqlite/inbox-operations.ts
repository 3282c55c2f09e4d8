/** The writing half of the inbox: what runs inside the writer's transaction. It only appends. */
import type { DatabaseSync } from 'node:sqlite';
import { sequenceOf } from './event-operations.ts';
import { hot, type OperationSet } from './group-writer.ts';

/** Adds an item. Every other type but REMOVED and CLEARED is an InboxAction. */
export const ITEM = 'item';
/** Takes items away whose message was deleted; names nobody (`inbox_removed` does, for a while). */
export const REMOVED = 'removed';
/** Takes everything of one user away. */
export const CLEARED = 'cleared';

/** For streams that resume: so many rows of the log back it is known what left which inbox. */
export const DEPARTURES_KEPT = 200_000;
/** Longer than any token lives (a day): what was cleared before that opens nothing any more. */
const GENERATIONS_KEPT_MS = 2 * 24 * 3_600_000;

export type DeliverInboxArgument = [
  messageId: number,
  applicationId: number,
  userId: string,
  at: number,
  content: string,
  category: string | null,
  collapseKey: string | null,
];

export type MarkInboxArgument = [
  applicationId: number,
  userId: string,
  at: number,
  action: string,
  /** JSON array of message ids, or null for all. */
  ids: string | null,
  category: string | null,
];

export type ClearInboxArgument = [applicationId: number, userId: string, at: number];

export interface InboxOperations extends OperationSet {
  /** Forgets the items of messages `first` to `last`, whose notification is deleted in the same transaction. */
  remove(first: number, last: number, at: number): void;
}

export function inboxOperations(database: DatabaseSync): InboxOperations {
  const next = sequenceOf(database, 'inbox_log');
  const insertItem = database.prepare(
    `INSERT INTO inbox_log VALUES (?, ?, ?, ?, ?, '${ITEM}', ?, ?, ?)
     ON CONFLICT (message_id) WHERE type = '${ITEM}' DO NOTHING`,
  );
  const findItem = database.prepare(
    `SELECT seq FROM inbox_log WHERE message_id = ? AND type = '${ITEM}'`,
  );
  const insertMark = database.prepare(
    'INSERT INTO inbox_log VALUES (?, NULL, ?, ?, ?, ?, ?, ?, NULL)',
  );
  const deleteItems = database.prepare(
    `DELETE FROM inbox_log WHERE message_id BETWEEN ? AND ? AND type = '${ITEM}' RETURNING message_id, application_id, user_id`,
  );
  const insertRemoved = database.prepare(
    `INSERT INTO inbox_log VALUES (?, ?, 0, '', ?, '${REMOVED}', NULL, NULL, NULL)`,
  );

  const insertOwner = database.prepare('INSERT INTO inbox_removed VALUES (?, ?, ?)');
  const forgetOwners = database.prepare('DELETE FROM inbox_removed WHERE seq < ?');
  const insertCleared = database.prepare(
    `INSERT INTO inbox_log VALUES (?, NULL, ?, ?, ?, '${CLEARED}', NULL, NULL, NULL)`,
  );
  const saveGeneration = database.prepare(
    'INSERT OR REPLACE INTO inbox_cleared VALUES (?, ?, ?, ?)',
  );
  const forgetGenerations = database.prepare('DELETE FROM inbox_cleared WHERE at < ?');

  function deliver(argument: DeliverInboxArgument): number {
    const [messageId, applicationId, userId, at, content, category, collapseKey] = argument;
    const seq = next();
    const added = insertItem.run(
      seq,
      messageId,
      applicationId,
      userId,
      at,
      content,
      category,
      collapseKey,
    );
    return added.changes === 1 ? seq : (findItem.get(messageId) as { seq: number }).seq;
  }

  function mark([applicationId, userId, at, action, ids, category]: MarkInboxArgument): number {
    const seq = next();
    insertMark.run(seq, applicationId, userId, at, action, ids, category);
    return seq;
  }

  function clear([applicationId, userId, at]: ClearInboxArgument): number {
    const seq = next();
    insertCleared.run(seq, applicationId, userId, at);
    saveGeneration.run(applicationId, userId, seq, at);
    forgetGenerations.run(at - GENERATIONS_KEPT_MS);
    return seq;
  }

  return {
    operations: { deliverInbox: hot(deliver), markInbox: hot(mark), clearInbox: hot(clear) },
    remove(first, last, at) {
      for (const row of deleteItems.all(first, last)) {
        const seq = next();
        insertRemoved.run(seq, row['message_id'] as number, at);
        insertOwner.run(seq, row['application_id'] as number, row['user_id'] as string);
        forgetOwners.run(seq - DEPARTURES_KEPT);
      }
    },
  };
}
