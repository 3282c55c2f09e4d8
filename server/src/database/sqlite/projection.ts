/**
 * Fills the projection file behind the hot path: reads what was appended to the hot file since the
 * last time and writes it in one group, with its own position in the same transaction. Killing it
 * at any point neither loses nor doubles anything, and deleting the file rebuilds it.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { AUTO, type NotificationBody, readBody } from '../../notification/notification.ts';
import { InboxProjection } from './inbox-projection.ts';
import { type MessageRow, STATUS } from './message-row.ts';

export interface ProjectionPosition {
  notification: number;
  event: number;
  inbox: number;
}

export interface ProjectionOptions {
  /** Read-only connection to the hot file. */
  messages: DatabaseSync;
  /** Writing connection to the projection file. */
  projection: DatabaseSync;
}

/** Rows of each kind taken in one group: bounds the time of one transaction to some 100 ms. */
const GROUP = 4000;

type NotificationRow = { id: number; application_id: number; message_count: number; body: string };

export class Projection {
  readonly #projection: DatabaseSync;
  readonly #inbox: InboxProjection;
  readonly #newNotifications: StatementSync;
  readonly #notification: StatementSync;
  readonly #newEvents: StatementSync;
  readonly #messagesOf: StatementSync;
  readonly #message: StatementSync;
  readonly #lastEvent: StatementSync;
  readonly #lastNotification: StatementSync;
  readonly #insert: StatementSync;
  readonly #update: StatementSync;
  readonly #delete: StatementSync;
  readonly #savePosition: StatementSync;
  #position: ProjectionPosition;

  constructor({ messages, projection }: ProjectionOptions) {
    this.#projection = projection;
    this.#inbox = new InboxProjection({ messages, projection });
    this.#newNotifications = messages.prepare(
      'SELECT id, application_id, message_count, body FROM notification WHERE id > ? ORDER BY id LIMIT ?',
    );
    this.#notification = messages.prepare(
      'SELECT id, application_id, message_count, body FROM notification WHERE id = ?',
    );
    this.#newEvents = messages.prepare(
      'SELECT seq, message_id FROM event WHERE seq > ? ORDER BY seq LIMIT ?',
    );
    this.#newEvents.setReturnArrays(true);
    this.#messagesOf = messages.prepare(
      'SELECT * FROM message WHERE id BETWEEN ? AND ? ORDER BY id',
    );
    this.#message = messages.prepare('SELECT * FROM message WHERE id = ?');
    this.#lastEvent = messages.prepare('SELECT coalesce(max(seq), 0) AS last FROM event');
    this.#lastNotification = messages.prepare(
      'SELECT coalesce(max(id), 0) AS last FROM notification',
    );
    this.#insert = projection.prepare(
      'INSERT OR REPLACE INTO message_index VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
    );
    this.#update = projection.prepare(
      `UPDATE message_index SET status = ?, lane = ?, updated_at = ?, attempts = ?,
         channel = coalesce(?, channel), reason = ? WHERE id = ?`,
    );
    this.#delete = projection.prepare('DELETE FROM message_index WHERE id = ?');
    this.#savePosition = projection.prepare('INSERT OR REPLACE INTO position VALUES (?, ?)');
    const saved = projection.prepare('SELECT name, value FROM position').all();
    const value = (name: string): number =>
      (saved.find((row) => row['name'] === name)?.['value'] as number) ?? 0;
    this.#position = {
      notification: value('notification'),
      event: value('event'),
      inbox: value('inbox'),
    };
    const target = this.target();
    // Behind a backup that was put back: what is shown is of another time.
    if (this.#position.event > target.event || this.#position.inbox > target.inbox) this.#clear();
  }

  #clear(): void {
    const tables = ['message_index', 'inbox', 'inbox_count', 'inbox_mark', 'position'];
    this.#projection.exec(
      `BEGIN IMMEDIATE; ${tables.map((table) => `DELETE FROM ${table};`).join(' ')} COMMIT;`,
    );
    this.#position = { notification: 0, event: 0, inbox: 0 };
  }

  get position(): Readonly<ProjectionPosition> {
    return this.#position;
  }

  /** What a reader that wants to see everything committed so far has to wait for. */
  target(): ProjectionPosition {
    return {
      notification: (this.#lastNotification.get() as { last: number }).last,
      event: (this.#lastEvent.get() as { last: number }).last,
      inbox: this.#inbox.last(),
    };
  }

  /** Takes one group. False when it was all there was. */
  step(): boolean {
    // Events first: the state read for them is then at least as new as the event.
    const events = this.#newEvents.all(this.#position.event, GROUP) as unknown as [
      seq: number,
      messageId: number,
    ][];
    const notifications = this.#newNotifications.all(
      this.#position.notification,
      GROUP,
    ) as NotificationRow[];
    const inbox = this.#inbox.read(this.#position.inbox, GROUP);
    if (events.length === 0 && notifications.length === 0 && inbox.length === 0) return false;
    const next: ProjectionPosition = {
      notification: notifications.at(-1)?.id ?? this.#position.notification,
      event: events.at(-1)?.[0] ?? this.#position.event,
      inbox: inbox.at(-1)?.seq ?? this.#position.inbox,
    };
    this.#projection.exec('BEGIN IMMEDIATE');
    try {
      this.#addAll(notifications);
      // What is added in this group was read as it is now, and what comes later will be.
      const added = notifications[0]?.id ?? Number.POSITIVE_INFINITY;
      const changed = new Set<number>();
      for (const [, id] of events) if (id < added) changed.add(id);
      for (const id of changed) this.#refresh(id);
      this.#inbox.apply(inbox);
      for (const [name, value] of Object.entries(next)) this.#savePosition.run(name, value);
      this.#projection.exec('COMMIT');
    } catch (error) {
      if (this.#projection.isTransaction) this.#projection.exec('ROLLBACK');
      throw error;
    }
    this.#position = next;
    const full = events.length === GROUP || notifications.length === GROUP;
    // A group of the inbox also ends behind a long content.
    return full || (inbox.length > 0 && next.inbox < this.#inbox.last());
  }

  /** Ids grow with time, so the messages of a group of notifications are one range of rows. */
  #addAll(notifications: readonly NotificationRow[]): void {
    const [first] = notifications;
    const last = notifications.at(-1);
    if (!first || !last) return;
    const rows = this.#messagesOf.all(first.id + 1, last.id + last.message_count) as MessageRow[];
    let next = 0;
    for (const notification of notifications) {
      const body = readBody(notification.body);
      const end = notification.id + notification.message_count;
      for (; next < rows.length && (rows[next] as MessageRow).id <= end; next++)
        this.#add(notification, body, rows[next] as MessageRow);
    }
  }

  #add(notification: NotificationRow, body: NotificationBody, row: MessageRow): void {
    const channel = row.channel ?? firstChannel(body, row);
    const address = channel === null ? undefined : body.to[channel];
    this.#insert.run(
      row.id,
      notification.id,
      notification.application_id,
      row.status,
      row.lane,
      body.test ? 1 : 0,
      body.createdAt,
      row.updated_at,
      row.attempt,
      channel,
      body.to['userId'] ?? null,
      address ?? null,
      body.template?.key ?? null,
      body.category,
      body.batch,
      row.reason,
    );
  }

  /** An edit may have changed anything that is shown of a message that is still scheduled. */
  #readAgain(notificationId: number): void {
    const row = this.#notification.get(notificationId) as NotificationRow | undefined;
    if (row) this.#addAll([row]);
  }

  #refresh(id: number): void {
    const row = this.#message.get(id) as MessageRow | undefined;
    if (!row) {
      this.#delete.run(id);
    } else {
      this.#update.run(
        row.status,
        row.lane,
        row.updated_at,
        row.attempt,
        row.channel,
        row.reason,
        id,
      );
      if (row.status === STATUS.scheduled) this.#readAgain(row.notification_id);
    }
  }
}

/** The channel a message is about before it has been tried, as far as it can be told. */
function firstChannel(body: NotificationBody, row: MessageRow): string | null {
  const channel = body.routes[row.id - row.notification_id - 1]?.[row.step];
  if (channel !== undefined && channel !== AUTO) return channel;
  const { userId, name: _, locale: __, ...addresses } = body.to;
  return userId === undefined ? (Object.keys(addresses)[0] ?? null) : null;
}
