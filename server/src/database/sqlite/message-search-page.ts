/**
 * One page of a list over messages, found in slices, so that whoever runs it can end a search that
 * finds little and go on elsewhere meanwhile.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { formatId } from '../../id.ts';
import { LANES } from '../../notification/notification.ts';
import type {
  FoundMessage,
  FoundPage,
  SearchFilter,
} from '../../notification/notification-store.ts';
import { statusName } from './message-row.ts';
import {
  joined,
  type Lead,
  membersOf,
  type Plan,
  planOf,
  SMALL_GROUP,
} from './message-search-plan.ts';

/** Rows of one slice: half a millisecond when they are in memory, and a few dozen when the disk has them. */
const SLICE_ROWS = 500;
/** Kinds of lists that are asked for differ by filters and leads; more than this are not kept prepared. */
const MOST_STATEMENTS = 200;

type IndexRow = {
  id: number;
  notification_id: number;
  application_id: number;
  status: number;
  lane: number;
  test: number;
  created_at: number;
  updated_at: number;
  attempts: number;
  channel: string | null;
  user_id: string | null;
  recipient: string | null;
  template: string | null;
  category: string | null;
  batch: string | null;
  reason: string | null;
};

/** Statements of a connection by their text. */
export class Statements {
  readonly #database: DatabaseSync;
  readonly #prepared = new Map<string, StatementSync>();

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  of(sql: string): StatementSync {
    let statement = this.#prepared.get(sql);
    if (!statement) {
      if (this.#prepared.size >= MOST_STATEMENTS) this.#prepared.clear();
      statement = this.#database.prepare(sql);
      this.#prepared.set(sql, statement);
    }
    return statement;
  }
}

/**
 * Yields after each slice and ends there when it is told so (`next(true)`), with what it has found and
 * where to go on; there is always something behind it then, though perhaps nothing that fits.
 */
export function* findPage(
  statements: Statements,
  filter: SearchFilter,
  sliceRows = SLICE_ROWS,
): Generator<undefined, FoundPage, boolean> {
  const plan = planOf(filter, {
    leadMs: leadOf(statements),
    smallGroup: filter.group !== undefined && isSmall(statements, filter),
  });
  const rows: IndexRow[] = [];
  // One more than is shown tells whether more follow.
  const wanted = filter.limit + 1;
  for (let below = plan.below; ; ) {
    const slice = sliceOf(statements, plan, below, sliceRows);
    rows.push(...fitting(statements, plan, { ...slice, below, limit: wanted - rows.length }));
    if (rows.length === wanted) {
      const found = rows.slice(0, filter.limit).map(foundOf);
      return { found, next: found.at(-1)?.key ?? null };
    }
    if (slice.last) return { found: rows.map(foundOf), next: null };
    below = slice.from;
    if (yield) return { found: rows.map(foundOf), next: below };
  }
}

interface Slice {
  lead: Lead;
  /** Its lowest id. */
  from: number;
  /** Nothing that fits is below it. */
  last: boolean;
}

/** The slice that leaves the least to go through: of so many rows, the one that reaches furthest. */
function sliceOf(statements: Statements, plan: Plan, below: number, rows: number): Slice {
  const end = { from: plan.from, last: true };
  const whole = plan.leads.find((lead) => lead.whole);
  if (whole) return { lead: whole, ...end };
  let best: Slice | undefined;
  for (const lead of plan.leads) {
    const { sql, values } = floorOf(lead);
    const row = statements.of(sql).get(...values(below, plan.from), rows - 1);
    if (!row) return { lead, ...end };
    const from = row['id'] as number;
    if (!best || from < best.from) best = { lead, from, last: false };
  }
  return best as Slice;
}

/** The id that so many rows of a lead are above or at. */
function floorOf({ index, stretches }: Lead) {
  const from = `FROM message_index ${hint(index)}`;
  const parts = stretches.map(({ sql }) => `SELECT id ${from} WHERE ${sql} AND id < ? AND id >= ?`);
  return {
    sql: `${parts.join(' UNION ALL ')} ORDER BY id DESC LIMIT 1 OFFSET ?`,
    values: (below: number, above: number): SQLInputValue[] =>
      stretches.flatMap(({ values }) => [...values, below, above]),
  };
}

function fitting(
  statements: Statements,
  { conditions }: Plan,
  { lead, from, below, limit }: Slice & { below: number; limit: number },
): IndexRow[] {
  const isOne = lead.stretches.length === 1;
  const { sql, values } = joined([...(isOne ? lead.stretches : []), ...conditions]);
  const statement = statements.of(
    `SELECT * FROM message_index ${hint(lead.index)}
     WHERE ${sql} AND id < ? AND id >= ? ORDER BY id DESC LIMIT ?`,
  );
  return statement.all(...values, below, from, limit) as IndexRow[];
}

function hint(index: string | undefined): string {
  return index === undefined ? 'NOT INDEXED' : `INDEXED BY ${index}`;
}

function leadOf(statements: Statements): number {
  const row = statements.of("SELECT value FROM position WHERE name = 'lead'").get();
  return (row?.['value'] as number | undefined) ?? 0;
}

function isSmall(statements: Statements, { group, applicationId }: SearchFilter): boolean {
  const own =
    applicationId === null ? [] : [{ sql: 'application_id = ?', values: [applicationId] }];
  const { sql, values } = membersOf(group as string, own);
  return (
    statements.of(`SELECT 1 FROM ${sql} LIMIT 1 OFFSET ${SMALL_GROUP}`).get(...values) === undefined
  );
}

function foundOf(row: IndexRow): FoundMessage {
  return {
    key: row.id,
    id: formatId('msg', row.id),
    notificationId: formatId('ntf', row.notification_id),
    applicationId: row.application_id,
    status: statusName(row.status),
    channel: row.channel,
    priority: LANES[row.lane] as (typeof LANES)[number],
    user: row.user_id,
    recipient: row.recipient,
    template: row.template,
    category: row.category,
    batch: row.batch,
    reason: row.reason,
    attempts: row.attempts,
    test: row.test === 1,
    createdAt: new Date(row.created_at).toISOString(),
    updatedAt: new Date(row.updated_at).toISOString(),
  };
}
