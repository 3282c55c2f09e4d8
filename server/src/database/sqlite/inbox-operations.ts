/** The writing half of the inbox: what runs inside the writer's transaction. It only appends. */
import type { DatabaseSync } from 'node:sqlite';
import { sequenceOf } from './event-operations.ts';
import { hot, type OperationSet } from './group-writer.ts';

/** Adds an item. Every other type but REMOVED is an InboxAction. */
export const ITEM = 'item';
/** Takes items away whose message was deleted; names nobody. */
export const REMOVED = 'removed';

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
    `DELETE FROM inbox_log WHERE message_id BETWEEN ? AND ? AND type = '${ITEM}' RETURNING message_id`,
  );
  const insertRemoved = database.prepare(
    `INSERT INTO inbox_log VALUES (?, ?, 0, '', ?, '${REMOVED}', NULL, NULL, NULL)`,
  );

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

  return {
    operations: { deliverInbox: hot(deliver), markInbox: hot(mark) },
    remove(first, last, at) {
      for (const row of deleteItems.all(first, last)) {
        insertRemoved.run(next(), row['message_id'] as number, at);
      }
    },
  };
}
