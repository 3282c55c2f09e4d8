/**
 * Fills the projection file behind the hot path: reads what was appended to the hot file since the
 * last time and writes it in one group, with its own position in the same transaction. Killing it
 * at any point neither loses nor doubles anything, and deleting the file rebuilds it.
 */
import { backup, DatabaseSync, type StatementSync } from 'node:sqlite';
import { openForReading } from './connection.ts';
import { InboxProjection } from './inbox-projection.ts';
import { MessageProjection } from './message-projection.ts';
import { migrate, readMigrations } from './migrate.ts';

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

/** Beside the position: the file was made anew and does not show everything yet. */
export const REBUILDING = 'rebuilding';
/** Beside the position: by how much ids run ahead of the time of acceptance at most, in ms. */
export const LEAD = 'lead';

/** Any other value than the usual one: a header is written when something in it changes. */
const HEADER_WRITTEN = 1;

/** Rows of each kind taken in one group: bounds the time of one transaction to some 100 ms. */
const GROUP = 4000;

export class Projection {
  readonly #projection: DatabaseSync;
  readonly #inbox: InboxProjection;
  readonly #messages: MessageProjection;
  readonly #lastEvent: StatementSync;
  readonly #lastNotification: StatementSync;
  readonly #savePosition: StatementSync;
  #position: ProjectionPosition;
  #lead: number;
  #rebuilding: boolean;
  /**
   * How many events it had seen, when it was opened, that the hot file does not have: a backup was put
   * back, or the end of the file's log was lost.
   */
  readonly ahead: number = 0;

  constructor({ messages, projection }: ProjectionOptions) {
    this.#projection = projection;
    this.#inbox = new InboxProjection({ messages, projection });
    this.#messages = new MessageProjection(projection, messages.location() as string);
    this.#lastEvent = messages.prepare('SELECT coalesce(max(seq), 0) AS last FROM event');
    this.#lastNotification = messages.prepare(
      'SELECT coalesce(max(id), 0) AS last FROM notification',
    );
    this.#savePosition = projection.prepare('INSERT OR REPLACE INTO position VALUES (?, ?)');
    const saved = projection.prepare('SELECT name, value FROM position').all();
    const value = (name: string): number =>
      (saved.find((row) => row['name'] === name)?.['value'] as number) ?? 0;
    this.#position = {
      notification: value('notification'),
      event: value('event'),
      inbox: value('inbox'),
    };
    this.#lead = value(LEAD);
    this.#rebuilding = value(REBUILDING) === 1;
    const target = this.target();
    // What is shown is of another time.
    if (this.#position.event > target.event || this.#position.inbox > target.inbox) {
      this.ahead = Math.max(this.#position.event - target.event, 1);
      this.#clear();
    }
  }

  #clear(): void {
    const tables = ['message_index', 'inbox', 'inbox_count', 'inbox_mark', 'position'];
    this.#projection.exec(
      `BEGIN IMMEDIATE; ${tables.map((table) => `DELETE FROM ${table};`).join(' ')} COMMIT;`,
    );
    this.#forget();
    this.#rebuilding = false;
  }

  #forget(): void {
    this.#position = { notification: 0, event: 0, inbox: 0 };
    this.#lead = 0;
  }

  /**
   * Puts an empty file in the place of a damaged one, page by page and under SQLite's own locks, so that
   * whoever has it open goes on with it. Says in it that it is being filled, until `step` has done so.
   * @throws SQLite's error when not even its first page can be read or written
   */
  async remake(): Promise<void> {
    const empty = new DatabaseSync(':memory:');
    try {
      migrate(empty, readMigrations('projection'));
      empty.prepare('INSERT OR REPLACE INTO position VALUES (?, 1)').run(REBUILDING);
      // A damaged header is mended from the copy that this connection has: nobody could open the file.
      this.#projection.exec(`PRAGMA user_version = ${HEADER_WRITTEN}; PRAGMA user_version = 0`);
      await backup(empty, this.#projection.location() as string);
    } finally {
      empty.close();
    }
    this.#forget();
    this.#rebuilding = true;
  }

  /**
   * Reads the whole file, not what this connection remembers of it. Where it is whole, damage that was
   * met with it is of a file that is read beside it.
   */
  isWhole(): boolean {
    let file: DatabaseSync | undefined;
    try {
      file = openForReading(this.#projection.location() as string);
      return file.prepare('PRAGMA quick_check(1)').get()?.['quick_check'] === 'ok';
    } catch {
      return false;
    } finally {
      file?.close();
    }
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
    const inbox = this.#inbox.read(this.#position.inbox, GROUP);
    this.#projection.exec('BEGIN');
    try {
      // Events first: the state read for them is then at least as new as the event.
      const events = this.#messages.events(this.#position.event, GROUP);
      const notifications = this.#messages.notifications(this.#position.notification, GROUP);
      const next: ProjectionPosition = {
        notification: notifications.last,
        event: events.last,
        inbox: inbox.at(-1)?.seq ?? this.#position.inbox,
      };
      this.#messages.apply(notifications, events);
      this.#inbox.apply(inbox);
      for (const name of ['notification', 'event', 'inbox'] as const) {
        if (next[name] > this.#position[name]) this.#savePosition.run(name, next[name]);
      }
      const lead = Math.max(this.#lead, this.#messages.lead(notifications));
      if (lead > this.#lead) this.#savePosition.run(LEAD, lead);
      // A group of the inbox also ends behind a long content.
      const moreInbox = inbox.length > 0 && next.inbox < this.#inbox.last();
      const more = events.full || notifications.full || moreInbox;
      if (this.#rebuilding && !more) this.#savePosition.run(REBUILDING, 0);
      this.#projection.exec('COMMIT');
      this.#position = next;
      this.#lead = lead;
      this.#rebuilding &&= more;
      return more;
    } catch (error) {
      if (this.#projection.isTransaction) this.#projection.exec('ROLLBACK');
      throw error;
    }
  }
}
