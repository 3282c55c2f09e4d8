/** The writing half of the event store, and the change feed of the projection. */
import type { DatabaseSync } from 'node:sqlite';
import { hot, type OperationSet } from './group-writer.ts';

/** Type of rows that only say "look at this message again"; no timeline shows them. */
export const CHANGED = '~';

export type EventArgument = [messageId: number, at: number, type: string, detail: string | null][];

export function eventOperations(database: DatabaseSync): OperationSet & {
  changed: (messageId: number, at: number) => void;
  happened: (messageId: number, at: number, type: string, detail?: string | null) => void;
} {
  const next = sequenceOf(database, 'event');
  const insert = database.prepare('INSERT INTO event VALUES (?, ?, ?, ?, ?)');
  return {
    operations: {
      appendEvents: hot((events: EventArgument) => {
        for (const [messageId, at, type, detail] of events)
          insert.run(next(), messageId, at, type, detail);
        return null;
      }),
    },
    changed(messageId, at) {
      insert.run(next(), messageId, at, CHANGED, null);
    },
    happened(messageId, at, type, detail = null) {
      insert.run(next(), messageId, at, type, detail);
    },
  };
}

/**
 * Next number of a table's `seq`. Only the writer adds rows, so memory may count on; numbers of a
 * group that was rolled back are left out, which no reader minds.
 */
export function sequenceOf(database: DatabaseSync, table: string): () => number {
  const row = database.prepare(`SELECT coalesce(max(seq), 0) AS last FROM ${table}`).get() as {
    last: number;
  };
  let last = row.last;
  return () => ++last;
}
