/**
 * The writing half of the notification store: what runs inside the writer's transaction.
 * Arguments are flat arrays, because they cross from another thread for every message.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../../clock.ts';
import { IdSequence } from '../../id.ts';
import { readBody, writeBody } from '../../notification/notification.ts';
import { CHANGED, sequenceOf } from './event-operations.ts';
import { alone, hot, type OperationSet } from './group-writer.ts';
import type { IdempotencyIndex } from './idempotency-index.ts';
import { type MessageRow, STATUS } from './message-row.ts';

export type AcceptArgument = [
  applicationId: number,
  lane: number,
  messageCount: number,
  status: number,
  nextAt: number,
  createdAt: number,
  body: string,
  keyDigest: string | null,
  requestDigest: string | null,
];
/** A number is the new id; negative is the id of the notification that has the key already; 0 is a mismatch. */
export type AcceptAnswer = number;

export type ClaimArgument = [messageId: number, claim: number, until: number][];

export type CompletionArgument = [
  messageId: number,
  claim: number,
  status: number,
  nextAt: number | null,
  attempt: number,
  attemptsBefore: number,
  step: number,
  route: string | null,
  channel: string | null,
  provider: string | null,
  providerMessageId: string | null,
  reason: string | null,
  at: number,
][];

export type TakeDueArgument = [
  lane: number,
  until: number,
  leaseUntil: number,
  limit: number,
  queuedOnly: boolean,
];

export type EditArgument = [
  id: number,
  from: string,
  to: string,
  lane: number,
  nextAt: number,
  at: number,
  /** Of the event; null for none. */
  detail: string | null,
];

/** Of the event of each message that was cancelled. */
const CANCELLED = JSON.stringify({ status: 'cancelled' });

export interface PruneAnswer {
  removed: number;
  after: number | null;
}

export interface NotificationOperationsOptions {
  clock: Clock;
  /** Marks a message as changed for the projection (event-operations.ts). */
  changed: (messageId: number, at: number) => void;
  /** Adds an event to the timeline of a message, which also marks it as changed. */
  happened: (messageId: number, at: number, type: string, detail?: string | null) => void;
  /** Takes the inbox items of messages `first` to `last` away (inbox-operations.ts). */
  removeItems: (first: number, last: number, at: number) => void;
  index: IdempotencyIndex;
  /** How long an idempotency key is remembered, in ms. */
  idempotencyRetentionMs: number;
}

/** Keys, and marks of changes, that one step of pruning removes: some 0.3 ms. */
const PRUNED_AT_ONCE = 100;
/** A tracker is behind by seconds; one that met damage begins anew. */
const CHANGES_KEPT_MS = 24 * 3_600_000;

export function notificationOperations(
  database: DatabaseSync,
  {
    clock,
    changed,
    happened,
    removeItems,
    index,
    idempotencyRetentionMs,
  }: NotificationOperationsOptions,
): OperationSet {
  const greatest = database
    .prepare(
      'SELECT max(coalesce((SELECT max(id) FROM message), 0), coalesce((SELECT max(id) FROM notification), 0)) AS id',
    )
    .get() as { id: number };
  const ids = new IdSequence(clock.now, greatest.id);
  const nextKeyRow = sequenceOf(database, 'idempotency');
  loadIndex(database, index);

  const insertNotification = database.prepare('INSERT INTO notification VALUES (?, ?, ?, ?)');
  const insertMessage = database.prepare(
    `INSERT INTO message (id, notification_id, application_id, lane, status, next_at, updated_at, claim, attempt)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const insertKey = database.prepare('INSERT INTO idempotency VALUES (?, ?, ?, ?, ?)');
  const selectKey = database.prepare(
    'SELECT at, key_digest, request_digest, notification_id FROM idempotency WHERE seq = ?',
  );
  // While the lease of the row outlasts the claim, its place in the index stays as it is.
  const claimLeased = database.prepare(
    `UPDATE message SET status = ${STATUS.sending}, claim = claim + 1, attempt = attempt + 1
     WHERE id = ? AND claim = ? AND next_at >= ? AND status IN (${STATUS.accepted}, ${STATUS.sending})`,
  );
  const claim = database.prepare(
    `UPDATE message SET status = ${STATUS.sending}, claim = claim + 1, attempt = attempt + 1, next_at = ?
     WHERE id = ? AND claim = ? AND status IN (${STATUS.accepted}, ${STATUS.sending})`,
  );
  const extend = database.prepare(
    `UPDATE message SET next_at = ? WHERE id = ? AND claim = ? AND status = ${STATUS.sending}`,
  );
  const complete = database.prepare(
    `UPDATE message SET status = ?, next_at = ?, attempt = ?, attempts_before = ?, step = ?, route = ?,
       channel = ?, provider = ?, provider_message_id = ?, reason = ?, updated_at = ?
     WHERE id = ? AND claim = ? AND status = ${STATUS.sending}`,
  );
  const selectDue = database.prepare(
    'SELECT id FROM message WHERE lane = ? AND next_at <= ? ORDER BY next_at LIMIT ?',
  );
  const selectQueued = database.prepare(
    `SELECT id FROM message WHERE lane = ? AND next_at <= ? AND status = ${STATUS.accepted} ORDER BY next_at LIMIT ?`,
  );
  const releaseClaims = database.prepare(
    `UPDATE message SET next_at = 0 WHERE status = ${STATUS.sending} AND next_at IS NOT NULL`,
  );
  const take = database.prepare(
    `UPDATE message SET status = CASE status WHEN ${STATUS.sending} THEN ${STATUS.sending} ELSE ${STATUS.accepted} END,
       next_at = ? WHERE id = ? AND next_at IS NOT NULL`,
  );
  const selectBody = database.prepare(
    `SELECT min(status) AS lowest, max(status) AS highest FROM message WHERE notification_id = ? AND id BETWEEN ? AND ?`,
  );
  const selectNotification = database.prepare(
    'SELECT message_count, body FROM notification WHERE id = ?',
  );
  const updateBody = database.prepare('UPDATE notification SET body = ? WHERE id = ?');
  const reschedule = database.prepare(
    `UPDATE message SET lane = ?, next_at = ?, updated_at = ? WHERE id BETWEEN ? AND ?`,
  );
  const selectMessages = database.prepare(
    'SELECT id, status FROM message WHERE id BETWEEN ? AND ?',
  );
  const cancel = database.prepare(
    `UPDATE message SET status = ${STATUS.cancelled}, next_at = NULL, updated_at = ?, claim = claim + 1
     WHERE id = ? AND status IN (${STATUS.scheduled}, ${STATUS.accepted}, ${STATUS.waiting})`,
  );
  const redrive = database.prepare(
    `UPDATE message SET status = ${STATUS.waiting}, next_at = ?, updated_at = ?, attempts_before = attempt,
       claim = claim + 1, step = 0, reason = NULL
     WHERE id = ? AND status = ${STATUS.failed}`,
  );
  const selectOld = database.prepare(
    'SELECT id FROM notification WHERE id > ? AND id < ? ORDER BY id LIMIT ?',
  );
  // Rows are in the order of time, so only the first are looked at: to look for some that are old
  // enough went through all of them when there were none. Those from further ahead than a retention
  // are of a clock that was wrong, and would keep all behind them.
  const deleteKeys = database.prepare(
    `DELETE FROM idempotency WHERE seq IN (SELECT seq FROM
       (SELECT seq, at FROM idempotency ORDER BY seq LIMIT ${PRUNED_AT_ONCE}) WHERE at < ?1 OR at > ?2)`,
  );
  // Followed by everybody within seconds. The newest stays, so that no number is given out twice.
  const deleteChanges = database.prepare(
    `DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE type = '${CHANGED}' AND at < ? ORDER BY at LIMIT ${PRUNED_AT_ONCE})
       AND seq < (SELECT max(seq) FROM event)`,
  );
  const deleteEvents = database.prepare('DELETE FROM event WHERE message_id BETWEEN ? AND ?');
  const deleteMessages = database.prepare('DELETE FROM message WHERE id BETWEEN ? AND ?');
  const deleteNotification = database.prepare('DELETE FROM notification WHERE id = ?');

  /** The notification that used this key within the retention. */
  function known(
    keyDigest: string,
    now: number,
  ): { id: number; requestDigest: string } | undefined {
    for (const seq of index.candidates(keyDigest)) {
      const row = selectKey.get(seq) as
        | { at: number; key_digest: string; request_digest: string; notification_id: number }
        | undefined;
      if (row && row.key_digest === keyDigest && row.at >= now - idempotencyRetentionMs) {
        return { id: row.notification_id, requestDigest: row.request_digest };
      }
    }
    return undefined;
  }

  function accept(argument: AcceptArgument): AcceptAnswer {
    const [applicationId, lane, count, status, nextAt, createdAt, body, keyDigest, requestDigest] =
      argument;
    if (keyDigest !== null) {
      const before = known(keyDigest, createdAt);
      if (before) return before.requestDigest === requestDigest ? -before.id : 0;
    }
    const id = ids.take(count + 1, createdAt);
    insertNotification.run(id, applicationId, count, body);
    // One that is stored as claimed has begun its first attempt.
    const claims = status === STATUS.sending ? 1 : 0;
    for (let i = 1; i <= count; i++) {
      insertMessage.run(id + i, id, applicationId, lane, status, nextAt, createdAt, claims, claims);
    }
    if (keyDigest !== null) {
      const seq = nextKeyRow();
      insertKey.run(seq, createdAt, keyDigest, requestDigest, id);
      index.add(keyDigest, seq, createdAt);
    }
    return id;
  }

  function findKey([keyDigest, requestDigest, now]: [string, string, number]): AcceptAnswer | null {
    const before = known(keyDigest, now);
    if (!before) return null;
    return before.requestDigest === requestDigest ? -before.id : 0;
  }

  function completeAll(argument: CompletionArgument): boolean[] {
    return argument.map((c) => {
      const held = complete.run(
        c[2],
        c[3],
        c[4],
        c[5],
        c[6],
        c[7],
        c[8],
        c[9],
        c[10],
        c[11],
        c[12],
        c[0],
        c[1],
      );
      return held.changes === 1;
    });
  }

  function takeDue([lane, until, leaseUntil, limit, queuedOnly]: TakeDueArgument): number[] {
    const due = (queuedOnly ? selectQueued : selectDue)
      .all(lane, until, limit)
      .map((row) => row['id'] as number);
    for (const id of due) take.run(leaseUntil, id);
    return due;
  }

  function edit([id, from, to, lane, nextAt, at, detail]: EditArgument):
    | 'edited'
    | 'changed'
    | 'refused' {
    const notification = selectNotification.get(id) as
      | { message_count: number; body: string }
      | undefined;
    if (!notification) return 'refused';
    const last = id + notification.message_count;
    const statuses = selectBody.get(id, id + 1, last) as { lowest: number; highest: number };
    if (statuses.lowest !== STATUS.scheduled || statuses.highest !== STATUS.scheduled)
      return 'refused';
    if (writeBody(readBody(notification.body)) !== from) return 'changed';
    updateBody.run(to, id);
    reschedule.run(lane, nextAt, at, id + 1, last);
    for (let message = id + 1; message <= last; message++) {
      if (detail === null) changed(message, at);
      else happened(message, at, 'edited', detail);
    }
    return 'edited';
  }

  function cancelAll([id, at]: [number, number]): number[] {
    const notification = selectNotification.get(id) as { message_count: number } | undefined;
    const cancelled: number[] = [];
    for (let message = id + 1; message <= id + (notification?.message_count ?? 0); message++) {
      if (cancel.run(at, message).changes === 0) continue;
      happened(message, at, 'cancelled', CANCELLED);
      cancelled.push(message);
    }
    return cancelled;
  }

  function remove(id: number): boolean {
    const notification = selectNotification.get(id) as { message_count: number } | undefined;
    if (!notification) return true;
    const last = id + notification.message_count;
    const messages = selectMessages.all(id + 1, last) as Pick<MessageRow, 'id' | 'status'>[];
    if (messages.some(({ status }) => status < STATUS.delivered || status === STATUS.waiting))
      return false;
    const at = clock.now();
    deleteEvents.run(id + 1, last);
    removeItems(id + 1, last, at);
    deleteMessages.run(id + 1, last);
    deleteNotification.run(id);
    for (const message of messages) changed(message.id, at);
    return true;
  }

  function prune([before, after, limit]: [number, number, number]): PruneAnswer {
    const ids = selectOld.all(after, before, limit).map((row) => row['id'] as number);
    const now = clock.now();
    const keys = deleteKeys.run(now - idempotencyRetentionMs, now + idempotencyRetentionMs).changes;
    const changes = deleteChanges.run(now - CHANGES_KEPT_MS).changes;
    const removed = ids.filter((id) => remove(id)).length;
    const isLast = ids.length < limit && keys < PRUNED_AT_ONCE && changes < PRUNED_AT_ONCE;
    return { removed, after: isLast ? null : (ids.at(-1) ?? after) };
  }

  function redriveAll([messageIds, startAt, intervalMs, at]: [
    number[],
    number,
    number,
    number,
  ]): number {
    let taken = 0;
    for (const id of messageIds) {
      if (redrive.run(Math.round(startAt + taken * intervalMs), at, id).changes === 0) continue;
      happened(id, at, 'redriven');
      taken++;
    }
    return taken;
  }

  return {
    operations: {
      accept: hot(accept),
      claim: hot((claims: ClaimArgument) =>
        claims.map(
          ([id, fence, until]) =>
            claimLeased.run(id, fence, until).changes === 1 ||
            claim.run(until, id, fence).changes === 1,
        ),
      ),
      extend: hot((claims: ClaimArgument) =>
        claims.map(([id, fence, until]) => extend.run(until, id, fence).changes === 1),
      ),
      complete: hot(completeAll),
      takeDue: hot(takeDue),
      releaseClaims: hot(() => Number(releaseClaims.run().changes)),
      findKey: hot(findKey),
      edit: alone(edit),
      cancel: alone(cancelAll),
      remove: alone(remove),
      prune: alone(prune),
      redrive: alone(redriveAll),
    },
    committed: () => index.committed(),
    rolledBack: () => index.rolledBack(),
  };
}

/**
 * Brings the index up to the rows, reading only what no kept segment covers. All rows, however old: the
 * clock may have been wrong for some of them, so nothing follows from the age of one for its neighbours.
 */
function loadIndex(database: DatabaseSync, index: IdempotencyIndex): void {
  const bounds = database
    // Two look-ups: asked for both at once, SQLite reads the whole table.
    .prepare(
      'SELECT (SELECT min(seq) FROM idempotency) AS low, (SELECT max(seq) FROM idempotency) AS high',
    )
    .get() as {
    low: number | null;
    high: number | null;
  };
  if (bounds.low === null || bounds.high === null) {
    index.load(1, 0);
    return;
  }
  const covered = index.load(bounds.low, bounds.high);
  for (const row of database
    .prepare('SELECT seq, at, key_digest FROM idempotency WHERE seq > ?')
    .iterate(covered)) {
    index.add(row['key_digest'] as string, row['seq'] as number, row['at'] as number);
  }
  index.committed();
}
