/** Events in the hot file: appended by its writer, in the same transaction as the outcomes of the same turn. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { EventStore, MessageEvent } from '../../analytics/event-store.ts';
import { CHANGED, type EventArgument } from './event-operations.ts';
import { reportDamage, type WriteClient } from './write-client.ts';

export class SqliteEventStore implements EventStore {
  readonly #writer: WriteClient;
  readonly #timeline: StatementSync;

  constructor({ database, writer }: { database: DatabaseSync; writer: WriteClient }) {
    this.#writer = writer;
    // For all stores that share these two.
    reportDamage(database, writer);
    this.#timeline = database.prepare(
      `SELECT message_id, at, type, detail FROM event WHERE message_id BETWEEN ? AND ? AND type <> '${CHANGED}' ORDER BY seq`,
    );
  }

  async append(events: readonly MessageEvent[]): Promise<void> {
    if (events.length === 0) return;
    const argument: EventArgument = events.map(({ messageId, at, type, detail }) => [
      messageId,
      at,
      type,
      detail === null ? null : JSON.stringify(detail),
    ]);
    await this.#writer.call('appendEvents', argument);
  }

  async timeline(first: number, last: number): Promise<MessageEvent[]> {
    return this.#timeline.all(first, last).map((row) => ({
      messageId: row['message_id'] as number,
      at: row['at'] as number,
      type: row['type'] as string,
      detail:
        row['detail'] === null
          ? null
          : (JSON.parse(row['detail'] as string) as Record<string, unknown>),
    }));
  }
}
