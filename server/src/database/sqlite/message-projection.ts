/**
 * The index of messages in the projection file, filled from the hot file by statements that read
 * one and write the other: a row that came through JavaScript cost four times as much. The caller
 * opens the transaction, which is also the snapshot of the hot file, and keeps the position.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { firstIdAt, timeOfId } from '../../id.ts';
import { STATUS } from './message-row.ts';

const IDS_PER_SECOND = firstIdAt(timeOfId(0) + 1000);

/** A part of the hot file: ids or numbers above `after`, up to `last`. */
export interface Span {
  after: number;
  /** Past everything when there is nothing. */
  first: number;
  /** Equal to `after` when there is nothing. */
  last: number;
  /** More is known to follow. */
  full: boolean;
}

const CHANNEL_OF_ROUTE = `n.body ->> ('$.routes[' || (m.id - n.id - 1) || '][' || m.step || ']')`;
/** Of somebody who is given only by addresses, the first of them. */
const CHANNEL_OF_ADDRESS = `CASE WHEN n.body ->> '$.to.userId' IS NULL THEN
  (SELECT key FROM json_each(n.body, '$.to') WHERE key NOT IN ('name', 'locale') LIMIT 1) END`;
/** What a message is about before it has been tried, as far as it can be told. */
const CHANNEL = `coalesce(m.channel, nullif(${CHANNEL_OF_ROUTE}, 'auto'), ${CHANNEL_OF_ADDRESS})`;
/** The address that the body `n.body` has for a channel; null when it has none. */
const addressOn = (channel: string): string => `n.body ->> ('$.to."' || ${channel} || '"')`;

/** Columns in the order of the table, for a notification `n` and its message `m`. */
const ROWS = `SELECT id, notification_id, application_id, status, lane, test, created_at, updated_at,
    attempt, channel, user_id, ${addressOn('n.channel')}, template, category, batch, reason
  FROM (SELECT m.id, m.notification_id, m.application_id, m.status, m.lane,
      coalesce(n.body ->> '$.test', 0) AS test, n.body ->> '$.createdAt' AS created_at, m.updated_at,
      m.attempt, ${CHANNEL} AS channel, n.body ->> '$.to.userId' AS user_id, n.body,
      n.body ->> '$.template.key' AS template, n.body ->> '$.category' AS category,
      n.body ->> '$.batch' AS batch, m.reason
    FROM hot.notification n JOIN hot.message m ON m.id BETWEEN n.id + 1 AND n.id + n.message_count`;

/** Messages that events are about and that were there before the span of new ones. */
const CHANGED = 'SELECT message_id FROM hot.event WHERE seq > ?1 AND seq <= ?2 AND message_id < ?3';

export class MessageProjection {
  readonly #events: StatementSync;
  readonly #notifications: StatementSync;
  readonly #add: StatementSync;
  readonly #update: StatementSync;
  readonly #readAgain: StatementSync;
  readonly #remove: StatementSync;
  readonly #lead: StatementSync;

  /** @param path of the hot file, which is only read */
  constructor(projection: DatabaseSync, path: string) {
    projection.prepare('ATTACH ? AS hot').run(`${pathToFileURL(path).href}?mode=ro`);
    this.#events = projection.prepare(
      `SELECT min(seq) AS first, max(seq) AS last, count(*) AS count
       FROM (SELECT seq FROM hot.event WHERE seq > ? ORDER BY seq LIMIT ?)`,
    );
    this.#notifications = projection.prepare(
      `SELECT min(id) AS first, max(id) AS last, count(*) AS count
       FROM (SELECT id FROM hot.notification WHERE id > ? ORDER BY id LIMIT ?)`,
    );
    this.#add = projection.prepare(
      `INSERT OR REPLACE INTO message_index ${ROWS} WHERE n.id > ? AND n.id <= ?) n`,
    );
    this.#update = projection.prepare(
      `UPDATE message_index SET status = m.status, lane = m.lane, updated_at = m.updated_at,
         attempts = m.attempt, channel = coalesce(m.channel, message_index.channel), reason = m.reason,
         recipient = CASE
           WHEN coalesce(m.channel, message_index.channel) IS message_index.channel
           THEN message_index.recipient
           ELSE (SELECT ${addressOn('m.channel')} FROM hot.notification n WHERE n.id = m.notification_id)
         END
       FROM hot.message m WHERE m.id = message_index.id AND message_index.id IN (${CHANGED})`,
    );
    // An edit may have changed anything that is shown of a message that is still scheduled.
    this.#readAgain = projection.prepare(
      `INSERT OR REPLACE INTO message_index ${ROWS}
         WHERE n.id IN (SELECT notification_id FROM hot.message
           WHERE id IN (${CHANGED}) AND status = ${STATUS.scheduled})) n`,
    );
    this.#remove = projection.prepare(
      `DELETE FROM message_index WHERE id IN (${CHANGED})
         AND NOT EXISTS (SELECT 1 FROM hot.message m WHERE m.id = message_index.id)`,
    );
    this.#lead = projection.prepare(
      `SELECT max(id / ${IDS_PER_SECOND} * 1000 + ${timeOfId(0)} - created_at) AS lead
       FROM message_index WHERE id > ?`,
    );
  }

  /** By how many ms the ids of these notifications are ahead of the times of their acceptance, at most. */
  lead({ after, last }: Span): number {
    if (last === after) return 0;
    return (this.#lead.get(after)?.['lead'] as number | null) ?? 0;
  }

  /** The next events, at most so many. */
  events(after: number, limit: number): Span {
    return spanOf(after, limit, this.#events.get(after, limit));
  }

  /** The next notifications, at most so many. */
  notifications(after: number, limit: number): Span {
    return spanOf(after, limit, this.#notifications.get(after, limit));
  }

  /** Brings the index up to both spans. */
  apply(notifications: Span, events: Span): void {
    if (notifications.last > notifications.after)
      this.#add.run(notifications.after, notifications.last);
    if (events.last === events.after) return;
    // What was added here was read as it is now, and what comes later will be.
    const changed = [events.after, events.last, notifications.first] as const;
    this.#update.run(...changed);
    this.#readAgain.run(...changed);
    this.#remove.run(...changed);
  }
}

function spanOf(after: number, limit: number, row: Record<string, unknown> | undefined): Span {
  const { first, last, count } = row as {
    first: number | null;
    last: number | null;
    count: number;
  };
  return {
    after,
    first: first ?? Number.MAX_SAFE_INTEGER,
    last: last ?? after,
    full: count === limit,
  };
}
