/**
 * The inboxes as they stand, in the projection file: the log of the hot file applied row by row in
 * its order. The caller opens the transaction and keeps the position (projection.ts).
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { InboxAction } from '@tidings/contracts/inbox';
import { CLEARED, DEPARTURES_KEPT, ITEM, REMOVED } from './inbox-operations.ts';

/** A group ends behind this much content, so that long items do not fill the memory. */
const GROUP_CHARACTERS = 8_000_000;

/** Results of marks are read right after the mark; this many rows of the log behind, nobody waits any more. */
const MARKS_KEPT = 200_000;

export type InboxLogRow = {
  seq: number;
  message_id: number | null;
  application_id: number;
  user_id: string;
  at: number;
  type: string;
  detail: string | null;
  category: string | null;
  collapse_key: string | null;
};

type IdRow = Pick<InboxLogRow, 'message_id'>;
type DepartedRow = Pick<InboxLogRow, 'seq' | 'application_id' | 'user_id' | 'at'>;
export type DepartureKind = 'replaced' | 'removed' | 'cleared';

/** What an action sets (`?1` is the time) and which items it still has to change. */
const CHANGES: Record<InboxAction, { set: string; where: string }> = {
  seen: { set: 'seen_at = ?1', where: 'seen_at IS NULL' },
  read: { set: 'read_at = ?1, seen_at = coalesce(seen_at, ?1)', where: 'read_at IS NULL' },
  unread: { set: 'read_at = NULL', where: 'read_at IS NOT NULL AND ?1 = ?1' },
  archive: { set: 'archived_at = ?1', where: 'archived_at IS NULL' },
  unarchive: { set: 'archived_at = NULL', where: 'archived_at IS NOT NULL AND ?1 = ?1' },
};

export class InboxProjection {
  readonly #newRows: StatementSync;
  readonly #lastRow: StatementSync;
  readonly #insert: StatementSync;
  readonly #collapse: StatementSync;
  readonly #remove: StatementSync;
  readonly #ownerOfRemoved: StatementSync;
  readonly #clear: readonly StatementSync[];
  readonly #saveDeparture: StatementSync;
  readonly #dropDepartures: StatementSync;
  readonly #undoDepartures: StatementSync;
  readonly #markOne: Record<string, StatementSync>;
  readonly #markAll: Record<string, StatementSync>;
  readonly #saveMark: StatementSync;
  readonly #dropMarks: StatementSync;

  /**
   * @param options.messages read-only connection to the hot file
   * @param options.projection writing connection to the projection file
   */
  constructor({ messages, projection }: { messages: DatabaseSync; projection: DatabaseSync }) {
    this.#newRows = messages.prepare('SELECT * FROM inbox_log WHERE seq > ? ORDER BY seq LIMIT ?');
    this.#lastRow = messages.prepare('SELECT coalesce(max(seq), 0) AS last FROM inbox_log');
    this.#insert = projection.prepare(
      'INSERT OR IGNORE INTO inbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL)',
    );
    this.#collapse = projection.prepare(
      `UPDATE inbox SET archived_at = ?1
       WHERE application_id = ?2 AND user_id = ?3 AND collapse_key = ?4 AND archived_at IS NULL
       RETURNING message_id`,
    );
    this.#remove = projection.prepare(
      'DELETE FROM inbox WHERE message_id = ? RETURNING application_id, user_id',
    );
    this.#ownerOfRemoved = messages.prepare(
      'SELECT application_id, user_id FROM inbox_removed WHERE seq = ?',
    );
    this.#clear = ['inbox', 'inbox_count', 'inbox_departure'].map((table) =>
      projection.prepare(`DELETE FROM ${table} WHERE application_id = ? AND user_id = ?`),
    );
    this.#saveDeparture = projection.prepare(
      'INSERT INTO inbox_departure VALUES (?, ?, ?, ?, ?, ?, ?)',
    );
    this.#dropDepartures = projection.prepare('DELETE FROM inbox_departure WHERE seq < ?');
    this.#undoDepartures = projection.prepare('DELETE FROM inbox_departure WHERE seq >= ?');
    const marks = (condition: string) =>
      Object.fromEntries(
        Object.entries(CHANGES).map(([action, { set, where }]) => [
          action,
          projection.prepare(
            `UPDATE inbox SET ${set} WHERE ${condition} AND application_id = ?2 AND user_id = ?3 AND ${where}`,
          ),
        ]),
      );
    this.#markOne = marks('message_id = ?4');
    this.#markAll = marks('archived_at IS NULL AND (?4 IS NULL OR category = ?4)');
    this.#saveMark = projection.prepare('INSERT OR REPLACE INTO inbox_mark VALUES (?, ?)');
    this.#dropMarks = projection.prepare('DELETE FROM inbox_mark WHERE seq < ?');
  }

  /** Rows of the log behind `afterSeq`, at most `limit` and about GROUP_CHARACTERS of content. */
  read(afterSeq: number, limit: number): InboxLogRow[] {
    const rows: InboxLogRow[] = [];
    let characters = 0;
    for (const row of this.#newRows.iterate(afterSeq, limit)) {
      rows.push(row as InboxLogRow);
      characters += (row as InboxLogRow).detail?.length ?? 0;
      if (characters >= GROUP_CHARACTERS) break;
    }
    return rows;
  }

  /** Inside a transaction on the projection file. */
  apply(rows: readonly InboxLogRow[]): void {
    const [first] = rows;
    const newest = rows.at(-1)?.seq;
    if (first === undefined || newest === undefined) return;
    // When the log is taken from the beginning again, behind a backup, they are of another time.
    this.#undoDepartures.run(first.seq);
    for (const row of rows) {
      if (row.type === ITEM) this.#add(row);
      else if (row.type === REMOVED) this.#takeAway(row);
      else if (row.type === CLEARED) this.#empty(row);
      else this.#saveMark.run(row.seq, this.#mark(row));
    }
    this.#dropMarks.run(newest - MARKS_KEPT);
    this.#dropDepartures.run(newest - DEPARTURES_KEPT);
  }

  /** The newest row of the log. */
  last(): number {
    return (this.#lastRow.get() as { last: number }).last;
  }

  #add(row: InboxLogRow): void {
    if (row.collapse_key !== null) {
      const { at, application_id, user_id, collapse_key, message_id } = row;
      const replaced = this.#collapse.all(at, application_id, user_id, collapse_key) as IdRow[];
      if (replaced.length > 0) this.#depart(row, 'replaced', replaced.map(idOf), message_id);
    }
    this.#insert.run(
      row.message_id,
      row.application_id,
      row.user_id,
      row.seq,
      row.detail,
      row.category,
      row.collapse_key,
      row.at,
    );
  }

  /** An item can be gone before it was ever taken from the log; streams have shown it all the same. */
  #takeAway({ seq, at, message_id }: InboxLogRow): void {
    const owner = (this.#remove.get(message_id) ?? this.#ownerOfRemoved.get(seq)) as
      | Pick<InboxLogRow, 'application_id' | 'user_id'>
      | undefined;
    if (owner) this.#depart({ seq, at, ...owner }, 'removed', [message_id as number]);
  }

  #empty(row: InboxLogRow): void {
    for (const statement of this.#clear) statement.run(row.application_id, row.user_id);
    this.#depart(row, 'cleared', []);
  }

  #depart(
    { seq, application_id, user_id, at }: DepartedRow,
    kind: DepartureKind,
    ids: number[],
    by: number | null = null,
  ): void {
    this.#saveDeparture.run(seq, application_id, user_id, at, kind, JSON.stringify(ids), by);
  }

  #mark({ type, at, application_id, user_id, detail, category }: InboxLogRow): number {
    if (detail === null) {
      return Number(this.#markAll[type]?.run(at, application_id, user_id, category).changes ?? 0);
    }
    let changed = 0;
    for (const id of JSON.parse(detail) as number[]) {
      changed += Number(this.#markOne[type]?.run(at, application_id, user_id, id).changes ?? 0);
    }
    return changed;
  }
}

const idOf = ({ message_id }: IdRow): number => message_id as number;
