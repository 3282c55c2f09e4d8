/**
 * Inboxes in SQLite: written to the log of the hot file, read from the projection once it has
 * caught up with the log.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { InboxCounts, InboxItem, InboxState } from '@tidings/contracts/inbox';
import type {
  Engagement,
  InboxChange,
  InboxDeparture,
  InboxDepartures,
  InboxEntry,
  InboxOwner,
  InboxStore,
  NewInboxItem,
} from '../../adapters/in-app/inbox-store.ts';
import { invalid, ServiceError } from '../../errors.ts';
import { formatId, parseId } from '../../id.ts';
import { isDamaged, translateError } from './connection.ts';
import {
  type ClearInboxArgument,
  DEPARTURES_KEPT,
  type DeliverInboxArgument,
  type MarkInboxArgument,
} from './inbox-operations.ts';
import type { DepartureKind } from './inbox-projection.ts';
import type { WriteClient } from './write-client.ts';

type InboxRow = {
  message_id: number;
  position: number;
  content: string;
  category: string | null;
  collapse_key: string | null;
  created_at: number;
  seen_at: number | null;
  read_at: number | null;
  archived_at: number | null;
};

type DepartureRow = {
  seq: number;
  application_id: number;
  user_id: string;
  at: number;
  kind: DepartureKind;
  message_ids: string;
  replaced_by: number | null;
};

/** Which items a state shows, and which counter says how many of them there are at most. */
const STATES: Record<InboxState, { where: string; counter: string | null }> = {
  all: { where: 'archived_at IS NULL', counter: 'total' },
  unread: { where: 'archived_at IS NULL AND read_at IS NULL', counter: 'unread' },
  unseen: { where: 'archived_at IS NULL AND seen_at IS NULL', counter: 'unseen' },
  archived: { where: 'archived_at IS NOT NULL', counter: null },
};

const COLUMNS =
  'message_id, position, content, category, collapse_key, created_at, seen_at, read_at, archived_at';

export interface SqliteInboxStoreOptions {
  /** Read-only connection to the hot file. */
  messages: DatabaseSync;
  /** Read-only connection to the projection file. */
  projection: DatabaseSync;
  /** Of the hot file. */
  writer: WriteClient;
  /** Waits until the projection shows what was committed before the call, within a bound. */
  caughtUp: () => Promise<void>;
  /** Tells whoever makes the projection anew that it is not whole; what to answer. */
  damaged?: (cause: unknown) => ServiceError;
}

export class SqliteInboxStore implements InboxStore {
  readonly #writer: WriteClient;
  readonly #caughtUp: () => Promise<void>;
  readonly #logged: StatementSync;
  readonly #shown: StatementSync;
  readonly #list: Record<InboxState, StatementSync>;
  readonly #counts: StatementSync;
  readonly #changed: StatementSync;
  readonly #since: StatementSync;
  readonly #departures: StatementSync;
  readonly #allDepartures: StatementSync;
  readonly #archived: StatementSync;
  readonly #generation: StatementSync;
  readonly #engagement: StatementSync;

  constructor(options: SqliteInboxStoreOptions) {
    const { messages, writer, caughtUp, damaged = translateError } = options;
    const projection = { prepare: (sql: string) => told(options.projection.prepare(sql), damaged) };
    this.#writer = writer;
    this.#caughtUp = caughtUp;
    this.#logged = messages.prepare('SELECT coalesce(max(seq), 0) AS seq FROM inbox_log');
    this.#shown = projection.prepare("SELECT value AS seq FROM position WHERE name = 'inbox'");
    const inbox = 'FROM inbox WHERE application_id = ?1 AND user_id = ?2';
    const listOf = (state: InboxState) => {
      const { where, counter } = STATES[state];
      // Ends the search with the last item there is, instead of at the bottom of a long inbox.
      const most = `coalesce((SELECT ${counter} FROM inbox_count WHERE application_id = ?1 AND user_id = ?2), 0)`;
      return projection.prepare(
        `SELECT ${COLUMNS} ${inbox} AND position < ?3 AND ${where} AND (?4 IS NULL OR category = ?4)
         ORDER BY position DESC LIMIT ${counter === null ? '?5' : `min(?5, ${most})`}`,
      );
    };
    this.#list = {
      all: listOf('all'),
      unread: listOf('unread'),
      unseen: listOf('unseen'),
      archived: listOf('archived'),
    };
    this.#counts = projection.prepare(
      'SELECT unseen, unread, total FROM inbox_count WHERE application_id = ? AND user_id = ?',
    );
    this.#changed = projection.prepare('SELECT changed FROM inbox_mark WHERE seq = ?');
    this.#since = projection.prepare(
      `SELECT ${COLUMNS} ${inbox} AND position > ?3 ORDER BY position LIMIT ?4`,
    );
    this.#departures = projection.prepare(
      `SELECT * FROM inbox_departure WHERE application_id = ? AND user_id = ? AND seq > ?
       ORDER BY seq LIMIT ?`,
    );
    this.#allDepartures = projection.prepare(
      'SELECT * FROM inbox_departure WHERE seq > ? ORDER BY seq LIMIT ?',
    );
    this.#archived = projection.prepare(
      'SELECT 1 FROM inbox WHERE message_id = ? AND archived_at IS NOT NULL',
    );
    this.#generation = messages.prepare(
      'SELECT seq FROM inbox_cleared WHERE application_id = ? AND user_id = ?',
    );
    this.#engagement = projection.prepare(
      'SELECT seen_at, read_at, archived_at FROM inbox WHERE message_id = ?',
    );
  }

  async deliver(item: NewInboxItem): Promise<{ position: number }> {
    const messageId = parseId('msg', item.messageId);
    if (messageId === undefined) {
      throw new ServiceError('internal', { detail: `${item.messageId} is no id of a message.` });
    }
    const position = await this.#writer.call<number>('deliverInbox', [
      messageId,
      item.applicationId,
      item.userId,
      item.at,
      JSON.stringify(item.content),
      item.category,
      item.collapseKey,
    ] satisfies DeliverInboxArgument);
    return { position };
  }

  async list(
    { applicationId, userId }: InboxOwner,
    query: { state: InboxState; category: string | null; limit: number; cursor: string | null },
  ): Promise<{ items: InboxItem[]; next: string | null }> {
    const before = query.cursor === null ? Number.MAX_SAFE_INTEGER : readCursor(query.cursor);
    await this.#caughtUp();
    const rows = this.#list[query.state].all(
      applicationId,
      userId,
      before,
      query.category,
      query.limit + 1,
    ) as InboxRow[];
    const shown = rows.slice(0, query.limit);
    const last = shown.at(-1);
    return {
      items: shown.map(itemOf),
      next: rows.length > query.limit && last ? writeCursor(last.position) : null,
    };
  }

  async counts(owner: InboxOwner): Promise<InboxCounts> {
    await this.#caughtUp();
    return this.#countsOf(owner);
  }

  async countsOf(owners: readonly InboxOwner[]): Promise<InboxCounts[]> {
    return owners.map((owner) => this.#countsOf(owner));
  }

  #countsOf({ applicationId, userId }: InboxOwner): InboxCounts {
    const row = this.#counts.get(applicationId, userId) as InboxCounts | undefined;
    return { unseen: row?.unseen ?? 0, unread: row?.unread ?? 0, total: row?.total ?? 0 };
  }

  async mark({ applicationId, userId }: InboxOwner, change: InboxChange): Promise<number> {
    const { action, items, category, at } = change;
    const ids = items === 'all' ? null : JSON.stringify(messageIdsOf(items));
    const seq = await this.#writer.call<number>('markInbox', [
      applicationId,
      userId,
      at,
      action,
      ids,
      ids === null ? category : null,
    ] satisfies MarkInboxArgument);
    await this.#caughtUp();
    const row = this.#changed.get(seq) as { changed: number } | undefined;
    if (!row) throw behind();
    return row.changed;
  }

  async since(
    { applicationId, userId }: InboxOwner,
    position: number,
    limit: number,
  ): Promise<InboxEntry[]> {
    await this.#complete();
    const rows = this.#since.all(applicationId, userId, position, limit) as InboxRow[];
    return rows.map((row) => ({
      applicationId,
      userId,
      position: row.position,
      item: itemOf(row),
    }));
  }

  position(): Promise<number> {
    return this.#complete();
  }

  async departures(
    { applicationId, userId }: InboxOwner,
    position: number,
    limit: number,
  ): Promise<InboxDepartures> {
    const shown = await this.#complete();
    const rows = this.#departures.all(applicationId, userId, position, limit) as DepartureRow[];
    return this.#departuresOf(rows, position, limit, shown);
  }

  async follow(position: number | null, limit: number): Promise<InboxDepartures> {
    const shown = this.#shownSeq();
    if (position === null) return { departures: [], position: shown, complete: true };
    // The projection is being made anew: what it counts meanwhile is not so.
    if (shown < position) throw behind();
    const rows = this.#allDepartures.all(position, limit) as DepartureRow[];
    return this.#departuresOf(rows, position, limit, shown);
  }

  async clear({ applicationId, userId }: InboxOwner, at: number): Promise<void> {
    const argument = [applicationId, userId, at] satisfies ClearInboxArgument;
    const seq = await this.#writer.call<number>('clearInbox', argument);
    await this.#caughtUp();
    if (this.#shownSeq() < seq) throw behind();
  }

  async generation({ applicationId, userId }: InboxOwner): Promise<number> {
    const row = this.#generation.get(applicationId, userId) as { seq: number } | undefined;
    return row?.seq ?? 0;
  }

  async engagement(messageIds: readonly number[]): Promise<Map<number, Engagement>> {
    const found = new Map<number, Engagement>();
    try {
      await this.#caughtUp();
      for (const id of messageIds) {
        const row = this.#engagement.get(id) as InboxRow | undefined;
        if (!row) continue;
        found.set(id, { seenAt: row.seen_at, readAt: row.read_at, archivedAt: row.archived_at });
      }
    } catch (error) {
      // It stands beside what was asked for, which is not in that file.
      if (!(error instanceof ServiceError)) throw error;
    }
    return found;
  }

  /**
   * Like `caughtUp`, but fails where that gives up: a live stream must not go on behind a gap.
   * Resolves with the newest row of the log that is shown.
   */
  async #complete(): Promise<number> {
    const { seq } = this.#logged.get() as { seq: number };
    await this.#caughtUp();
    const shown = this.#shownSeq();
    if (shown < seq) throw behind();
    return shown;
  }

  #shownSeq(): number {
    return (this.#shown.get() as { seq: number } | undefined)?.seq ?? 0;
  }

  /** @param shown from before the rows were read */
  #departuresOf(
    rows: readonly DepartureRow[],
    after: number,
    limit: number,
    shown: number,
  ): InboxDepartures {
    const last = rows.at(-1)?.seq ?? 0;
    return {
      departures: rows.map((row) => this.#departureOf(row)),
      position: rows.length === limit ? last : Math.max(after, last, shown),
      complete: after >= shown - DEPARTURES_KEPT,
    };
  }

  #departureOf(row: DepartureRow): InboxDeparture {
    const { seq, application_id: applicationId, user_id: userId, at, kind } = row;
    const departed = { applicationId, userId, position: seq, at };
    if (kind === 'cleared') return { ...departed, kind };
    const ids = JSON.parse(row.message_ids) as number[];
    const idsOf = (numbers: number[]) => numbers.map((id) => formatId('msg', id));
    if (kind === 'removed') return { ...departed, kind, items: idsOf(ids) };
    const items = idsOf(ids.filter((id) => this.#archived.get(id) !== undefined));
    return { ...departed, kind, items, by: formatId('msg', row.replaced_by as number) };
  }
}

function behind(): ServiceError {
  return new ServiceError('store_unavailable', {
    detail: 'The inbox is being brought up to date.',
    hint: 'Ask again in a moment; what was written is kept.',
    retryAfterMs: 1000,
  });
}

/** Ids of messages among what callers wrote; everything else is in no inbox. */
function messageIdsOf(items: readonly string[]): number[] {
  const ids = new Set<number>();
  for (const item of items) {
    const id = parseId('msg', item);
    if (id !== undefined) ids.add(id);
  }
  return [...ids];
}

function itemOf(row: InboxRow): InboxItem {
  return {
    id: formatId('msg', row.message_id),
    ...(JSON.parse(row.content) as NewInboxItem['content']),
    category: row.category,
    collapseKey: row.collapse_key,
    createdAt: timeOf(row.created_at) as string,
    seenAt: timeOf(row.seen_at),
    readAt: timeOf(row.read_at),
    archivedAt: timeOf(row.archived_at),
  };
}

function timeOf(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString();
}

function writeCursor(position: number): string {
  return Buffer.from(String(position), 'latin1').toString('base64url');
}

function readCursor(cursor: string): number {
  const position = Number(Buffer.from(cursor, 'base64url').toString('latin1'));
  if (!Number.isSafeInteger(position) || position < 1 || writeCursor(position) !== cursor) {
    throw invalid('invalid_request', [
      { path: 'query.cursor', message: 'is not a cursor of this list' },
    ]);
  }
  return position;
}

/** A statement whose reads, where the file is not whole, tell it and fail in the service's words. */
function told(statement: StatementSync, damaged: (cause: unknown) => ServiceError): StatementSync {
  const { get, all } = statement;
  const within =
    <Values extends unknown[], Result>(run: (...values: Values) => Result) =>
    (...values: Values): Result => {
      try {
        return run.apply(statement, values);
      } catch (error) {
        throw isDamaged(error) ? damaged(error) : error;
      }
    };
  return Object.assign(statement, { get: within(get), all: within(all) });
}
