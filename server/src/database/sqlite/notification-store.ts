/**
 * Notifications in SQLite: writes go through the writer of the hot file, single reads come from
 * the hot file itself (always current), searches from the projection.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { KeyKind } from '@tidings/contracts/common';
import type { Ledger } from '@tidings/contracts/notification';
import { firstIdAt } from '../../id.ts';
import {
  type Lane,
  type NotificationRecord,
  readBody,
  writeBody,
} from '../../notification/notification.ts';
import type {
  AcceptResult,
  Claim,
  Completion,
  Edit,
  FoundMessage,
  FoundPage,
  IdempotencyKey,
  NewNotification,
  NotificationStore,
  QueueEntry,
  RedriveSelection,
  SearchFilter,
} from '../../notification/notification-store.ts';
import { entryOf, type MessageRow, STATUS, stateOf } from './message-row.ts';
import type { MessageSearch } from './message-search.ts';
import type {
  AcceptAnswer,
  AcceptArgument,
  ClaimArgument,
  CompletionArgument,
  EditArgument,
  PruneAnswer,
  TakeDueArgument,
} from './notification-operations.ts';
import type { WriteClient } from './write-client.ts';

const REDRIVE_PAGE = 500;

export interface SqliteNotificationStoreOptions {
  /** Read-only connection to the hot file. */
  database: DatabaseSync;
  writer: WriteClient;
  search: MessageSearch;
}

export class SqliteNotificationStore implements NotificationStore {
  readonly #writer: WriteClient;
  readonly #search: MessageSearch;
  readonly #notification: StatementSync;
  readonly #messages: StatementSync;
  readonly #owner: StatementSync;
  readonly #entry: StatementSync;
  readonly #backlog: StatementSync;

  constructor({ database, writer, search }: SqliteNotificationStoreOptions) {
    this.#writer = writer;
    this.#search = search;
    this.#notification = database.prepare(
      'SELECT application_id, body, message_count FROM notification WHERE id = ?',
    );
    this.#messages = database.prepare('SELECT * FROM message WHERE id BETWEEN ? AND ? ORDER BY id');
    this.#owner = database.prepare('SELECT notification_id FROM message WHERE id = ?');
    this.#entry = database.prepare(
      `SELECT message.*, notification.body FROM message JOIN notification ON notification.id = notification_id
       WHERE message.id = ? AND status IN (${STATUS.accepted}, ${STATUS.sending})`,
    );
    this.#backlog = database.prepare(
      `SELECT lane, count(*) AS pending, min(CASE WHEN status <> ${STATUS.scheduled} THEN updated_at END) AS oldest
       FROM message INDEXED BY message_pending WHERE next_at IS NOT NULL GROUP BY lane`,
    );
  }

  accept({
    applicationId,
    lane,
    body,
    text,
    leaseUntil,
    claimUntil,
    idempotency,
  }: NewNotification): Promise<AcceptResult> {
    const scheduled = body.sendAt !== null && body.sendAt > body.createdAt;
    const argument: AcceptArgument = [
      applicationId,
      lane,
      body.routes.length,
      scheduled ? STATUS.scheduled : claimUntil === null ? STATUS.accepted : STATUS.sending,
      scheduled ? (body.sendAt as number) : Math.max(leaseUntil, claimUntil ?? 0),
      body.createdAt,
      text,
      idempotency?.keyDigest ?? null,
      idempotency?.requestDigest ?? null,
    ];
    return this.#writer.call<number>('accept', argument).then(acceptResult);
  }

  async findKey(
    { keyDigest, requestDigest }: IdempotencyKey,
    now: number,
  ): Promise<Exclude<AcceptResult, { kind: 'accepted' }> | undefined> {
    const argument = [keyDigest, requestDigest, now];
    const answer = await this.#writer.call<AcceptAnswer | null>('findKey', argument);
    return answer === null
      ? undefined
      : (acceptResult(answer) as Exclude<AcceptResult, { kind: 'accepted' }>);
  }

  claim(claims: readonly Claim[]): Promise<boolean[]> {
    return this.#writer.call('claim', claimArguments(claims));
  }

  extend(claims: readonly Claim[]): Promise<boolean[]> {
    return this.#writer.call('extend', claimArguments(claims));
  }

  complete(completions: readonly Completion[]): Promise<boolean[]> {
    return this.#writer.call(
      'complete',
      completions.map(completionArgument) satisfies CompletionArgument,
    );
  }

  async takeDue(
    lane: Lane,
    {
      until,
      leaseUntil,
      limit,
      queuedOnly,
    }: { until: number; leaseUntil: number; limit: number; queuedOnly: boolean },
  ): Promise<QueueEntry[]> {
    const argument: TakeDueArgument = [lane, until, leaseUntil, limit, queuedOnly];
    return this.#entries(await this.#writer.call<number[]>('takeDue', argument));
  }

  releaseClaims(): Promise<number> {
    return this.#writer.call('releaseClaims', null);
  }

  #entries(messageIds: readonly number[]): QueueEntry[] {
    const entries: QueueEntry[] = [];
    for (const id of messageIds) {
      const row = this.#entry.get(id) as (MessageRow & { body: string }) | undefined;
      if (row) entries.push(entryOf(row, row.body));
    }
    return entries;
  }

  async get(applicationId: number | null, id: number): Promise<NotificationRecord | undefined> {
    return this.#get(applicationId, id);
  }

  async getByMessage(
    applicationId: number | null,
    messageId: number,
  ): Promise<NotificationRecord | undefined> {
    const row = this.#owner.get(messageId) as { notification_id: number } | undefined;
    return row && this.#get(applicationId, row.notification_id);
  }

  #get(applicationId: number | null, id: number): NotificationRecord | undefined {
    const row = this.#notification.get(id) as
      | { application_id: number; body: string; message_count: number }
      | undefined;
    if (!row || (applicationId !== null && row.application_id !== applicationId)) return undefined;
    const messages = this.#messages.all(id + 1, id + row.message_count) as MessageRow[];
    return {
      id,
      applicationId: row.application_id,
      body: readBody(row.body),
      messages: messages.map(stateOf),
    };
  }

  edit(
    id: number,
    { from, to, lane, nextAt, at, changes }: Edit,
  ): Promise<'edited' | 'changed' | 'refused'> {
    const detail = Object.keys(changes).length > 0 ? JSON.stringify({ changes }) : null;
    const argument: EditArgument = [id, writeBody(from), writeBody(to), lane, nextAt, at, detail];
    return this.#writer.call('edit', argument);
  }

  cancel(id: number, at: number): Promise<number[]> {
    return this.#writer.call('cancel', [id, at]);
  }

  delete(id: number): Promise<boolean> {
    return this.#writer.call('remove', id);
  }

  async redrive(
    selection: RedriveSelection,
    { startAt, intervalMs, limit }: { startAt: number; intervalMs: number; limit: number },
  ): Promise<number> {
    let taken = 0;
    let before: number | null = null;
    while (taken < limit) {
      const page: number[] = await this.#search.failed(
        selection,
        before,
        Math.min(REDRIVE_PAGE, limit - taken),
      );
      if (page.length === 0) break;
      before = page.at(-1) as number;
      taken += await this.#writer.call<number>('redrive', [
        page,
        startAt + taken * intervalMs,
        intervalMs,
        startAt,
      ]);
    }
    return taken;
  }

  prune({
    before,
    after,
    limit,
  }: {
    before: number;
    after: number;
    limit: number;
  }): Promise<PruneAnswer> {
    return this.#writer.call('prune', [firstIdAt(before), after, limit]);
  }

  search(filter: SearchFilter): Promise<FoundMessage[]> {
    return this.#search.find(filter);
  }

  page(filter: SearchFilter): Promise<FoundPage> {
    return this.#search.page(filter);
  }

  ledger(applicationId: number | null, kind?: KeyKind): Promise<Ledger> {
    return this.#search.ledger({ applicationId, kind });
  }

  async backlog(now: number) {
    return this.#backlog.all().map((row) => ({
      lane: row['lane'] as Lane,
      pending: row['pending'] as number,
      oldestDueMs: row['oldest'] === null ? 0 : Math.max(0, now - (row['oldest'] as number)),
    }));
  }
}

function acceptResult(answer: AcceptAnswer): AcceptResult {
  if (answer > 0) return { kind: 'accepted', id: answer };
  return answer === 0 ? { kind: 'mismatch' } : { kind: 'replayed', id: -answer };
}

function claimArguments(claims: readonly Claim[]): ClaimArgument {
  return claims.map(({ messageId, claim, until }) => [messageId, claim, until]);
}

function completionArgument(c: Completion): CompletionArgument[number] {
  const status = c.status === 'accepted' ? STATUS.waiting : STATUS[c.status];
  return [
    c.messageId,
    c.claim,
    status,
    c.nextAt,
    c.attempt,
    c.attemptsBefore,
    c.step,
    c.route === null ? null : JSON.stringify(c.route),
    c.channel,
    c.provider,
    c.providerMessageId,
    c.reason,
    c.at,
  ];
}
