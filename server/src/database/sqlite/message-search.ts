/** Filters over messages, answered from the projection. */
import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { firstIdAt, formatId } from '../../id.ts';
import { LANES } from '../../notification/notification.ts';
import type {
  FoundMessage,
  RedriveSelection,
  SearchFilter,
} from '../../notification/notification-store.ts';
import { STATUS, statusCodes, statusName } from './message-row.ts';

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

/** Ids run ahead of the time of acceptance by this much at most (a clock that was set back). */
const ID_AHEAD_MS = 2 * 3_600_000;

export class MessageSearch {
  readonly #database: DatabaseSync;
  /** Waits until the projection shows what was committed before the call, within a bound. */
  readonly #caughtUp: () => Promise<void>;

  /**
   * @param database read-only connection to the projection, with the records file attached as `records`
   */
  constructor({ database, caughtUp }: { database: DatabaseSync; caughtUp: () => Promise<void> }) {
    this.#database = database;
    this.#caughtUp = caughtUp;
  }

  async find(filter: SearchFilter): Promise<FoundMessage[]> {
    await this.#caughtUp();
    const { sql, values } = query(filter);
    return (this.#database.prepare(sql).all(...values) as IndexRow[]).map(foundOf);
  }

  /** Ids of failed messages, newest first, below `before`. */
  async failed(
    selection: RedriveSelection,
    before: number | null,
    limit: number,
  ): Promise<number[]> {
    if (selection.messageIds) {
      await this.#caughtUp();
      const ids = selection.messageIds
        .filter((id) => before === null || id < before)
        .sort((a, b) => b - a);
      return this.#owned(selection.applicationId, ids.slice(0, limit));
    }
    const { applicationId, channel, from, to } = selection;
    const found = await this.find({
      applicationId,
      channel,
      from,
      to,
      status: 'failed',
      limit,
      before,
    });
    return found.map(({ key }) => key);
  }

  #owned(applicationId: number | null, ids: number[]): number[] {
    if (applicationId === null) return ids;
    const owner = this.#database.prepare(
      'SELECT 1 FROM message_index WHERE id = ? AND application_id = ?',
    );
    return ids.filter((id) => owner.get(id, applicationId));
  }
}

/** Only column names and operators from here reach the SQL; every value is bound. */
export function query(filter: SearchFilter): { sql: string; values: SQLInputValue[] } {
  let index = '';
  const conditions: string[] = [];
  const values: SQLInputValue[] = [];
  const add = (condition: string, ...bound: SQLInputValue[]): void => {
    conditions.push(condition);
    values.push(...bound);
  };
  if (filter.applicationId !== null) add('application_id = ?', filter.applicationId);
  if (filter.before !== null) add('id < ?', filter.before);
  if (filter.from !== undefined)
    add('id >= ? AND created_at >= ?', firstIdAt(filter.from), filter.from);
  if (filter.to !== undefined)
    add('id < ? AND created_at < ?', firstIdAt(filter.to + ID_AHEAD_MS), filter.to);
  if (filter.userId !== undefined) add('user_id = ?', filter.userId);
  if (filter.group !== undefined) {
    add(
      `(application_id, user_id) IN (SELECT application_id, user_id FROM records.user_group WHERE group_key = ?
        AND (?2 IS NULL OR application_id = ?2))`.replaceAll('?2', '?'),
      filter.group,
      filter.applicationId,
      filter.applicationId,
    );
  }
  if (filter.channel !== undefined) add('channel = ?', filter.channel);
  if (filter.template !== undefined) add('template = ?', filter.template);
  if (filter.category !== undefined) add('category = ?', filter.category);
  if (filter.batch !== undefined) add('batch = ?', filter.batch);
  if (filter.lane !== undefined) add('lane = ?', filter.lane);
  if (filter.status !== undefined) {
    const codes = statusCodes(filter.status);
    add(
      codes.length === 1 ? 'status = ?' : `status IN (${codes.map(() => '?').join(', ')})`,
      ...codes,
    );
    // What did not simply arrive is rare, and the planner does not know it; a user's or batch's is rarer.
    const isRarer = filter.userId !== undefined || filter.batch !== undefined;
    if (!isRarer && !codes.includes(STATUS.delivered)) {
      add(`status <> ${STATUS.delivered}`);
      index = `INDEXED BY message_index_${filter.applicationId === null ? 'any_status' : 'status'}`;
    }
  }
  const where = conditions.length > 0 ? `WHERE ${conditions.join(' AND ')}` : '';
  values.push(filter.limit);
  return { sql: `SELECT * FROM message_index ${index} ${where} ORDER BY id DESC LIMIT ?`, values };
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
