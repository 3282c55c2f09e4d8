/**
 * Port: notifications, their messages and the state of each.
 *
 * Written for its weakest engine: every method may be retried by the caller after `unavailable`,
 * nothing spans two calls, and `search` may lag behind. A write that resolved is durable. A write
 * that was refused with `store_unavailable` may have happened; repeating it with the same
 * idempotency key, or with the same claim, does it at most once. Errors: only ServiceError.
 *
 * What somebody has asked for (`edit`, `cancel`, `redrive`) brings its event into the timeline of each
 * message it has changed, and neither exists without the other. An engine whose events lie in another
 * store keeps them with the rows, in the same transaction, until that store has taken them.
 */
import type { KeyKind, MessageStatus } from '@tidings/contracts/common';
import type { Ledger, MessageSummary } from '@tidings/contracts/notification';
import type { Lane, NotificationBody, NotificationRecord } from './notification.ts';

export interface NewNotification {
  applicationId: number;
  lane: Lane;
  body: NotificationBody;
  /** The body as `writeBody` writes it: made once, stored and queued as it is. */
  text: string;
  /** When a processor should have claimed it; after this time it is published again. ms since 1970. */
  leaseUntil: number;
  /**
   * Until when it is claimed by whoever keeps a place for it: stored as being sent, its first attempt
   * begun. Only for one message that is due; null for none.
   */
  claimUntil: number | null;
  idempotency: IdempotencyKey | null;
}

export interface IdempotencyKey {
  /** Scope and key, digested: base64url, at least 22 characters. */
  keyDigest: string;
  /** What the request asked for, digested. */
  requestDigest: string;
}

export type AcceptResult =
  | { kind: 'accepted'; id: number }
  /** The key was used before for the same request: nothing was stored now. */
  | { kind: 'replayed'; id: number }
  /** The key was used before for another request. */
  | { kind: 'mismatch' };

/** What a lane carries: enough to claim and deliver a message without reading the store. */
export interface QueueEntry {
  messageId: number;
  notificationId: number;
  applicationId: number;
  lane: Lane;
  /** The channel that is tried next, or `auto`; entries of one channel wait together. */
  channel: string;
  claim: number;
  attempt: number;
  attemptsBefore: number;
  step: number;
  /** Where delivery resolved the route; null is the body's. */
  route: string[] | null;
  /** As `writeBody` writes it. */
  body: string;
  /** Somebody waits for the outcome and wants a hint. */
  watched: boolean;
  /** The message was stored as claimed, and `claim` and `attempt` are those from before; null is not claimed. */
  claimedUntil: number | null;
  /** Its last claim ran out or was released without an outcome: it may be what ended the process. */
  suspect: boolean;
}

/**
 * An entry whose consumer has ended, to be claimed by its successor like any other: the store may have
 * taken its claim back meanwhile, and then another attempt is on its way. The one that its acceptance
 * counted was not made.
 */
export function claimedAnew(entry: QueueEntry): QueueEntry {
  if (entry.claimedUntil === null) return entry;
  const [claim, attempt] = [entry.claim + 1, entry.attempt + 1];
  return { ...entry, claim, attempt, attemptsBefore: attempt, claimedUntil: null };
}

export interface Claim {
  messageId: number;
  /** The fence the claimer has seen. */
  claim: number;
  /** The claim holds at least until then; whoever has not completed when it ends has lost it. ms since 1970. */
  until: number;
}

/** The end of an attempt, or of a message. Fenced by the claim. */
export interface Completion {
  messageId: number;
  /** The fence of the claim, that is the claimed entry's plus one. */
  claim: number;
  /** `accepted` with `nextAt` means: try again then. */
  status: MessageStatus;
  nextAt: number | null;
  attempt: number;
  attemptsBefore: number;
  step: number;
  route: string[] | null;
  channel: string | null;
  provider: string | null;
  providerMessageId: string | null;
  reason: string | null;
  at: number;
}

export interface Edit {
  from: NotificationBody;
  to: NotificationBody;
  lane: Lane;
  nextAt: number;
  /** When it was asked for. ms since 1970. */
  at: number;
  /** By field, what the timeline tells of it. */
  changes: Record<string, unknown>;
}

export interface SearchFilter {
  /** null is every application (operators only). */
  applicationId: number | null;
  from?: number;
  to?: number;
  lane?: Lane;
  userId?: string;
  group?: string;
  channel?: string;
  status?: MessageStatus;
  template?: string;
  category?: string;
  batch?: string;
  /** Sent by live keys or by test keys. */
  kind?: KeyKind;
  limit: number;
  /** Only messages with ids below it; newest first. */
  before: number | null;
}

/** `application` and the masking of `recipient` are the service's, which knows names and channels. */
export type FoundMessage = Omit<MessageSummary, 'application'> & {
  applicationId: number;
  key: number;
};

export interface FoundPage {
  found: FoundMessage[];
  /** `before` of the next page; null when nothing follows. */
  next: number | null;
}

export interface RedriveSelection {
  applicationId: number | null;
  messageIds?: number[];
  channel?: string;
  from?: number;
  to?: number;
}

export interface NotificationStore {
  /**
   * Stores a notification and its messages, with the idempotency key in the same transaction.
   * Its id and those of its messages are consecutive: message i of the body has id + 1 + i.
   */
  accept(notification: NewNotification): Promise<AcceptResult>;

  /** What `accept` would answer for a key that was used within its retention before `now`; undefined for any other. */
  findKey(
    key: IdempotencyKey,
    now: number,
  ): Promise<Exclude<AcceptResult, { kind: 'accepted' }> | undefined>;

  /**
   * Compare-and-set to `sending`, counting an attempt. One answer per claim, in order: false when
   * somebody else has it, or it ended, or it was edited meanwhile.
   */
  claim(claims: readonly Claim[]): Promise<boolean[]>;

  /** Moves the end of claims that are still held. One answer per claim, in order. */
  extend(claims: readonly Claim[]): Promise<boolean[]>;

  /** Stores outcomes. One answer per completion, in order: false when the claim was lost, and nothing was stored. */
  complete(completions: readonly Completion[]): Promise<boolean[]>;

  /**
   * Messages of a lane whose `nextAt` is not after `until`, oldest first. Each is set to `accepted` (a
   * claim that ran out stays claimed until the next one) and its `nextAt` to `leaseUntil`, so that
   * nobody else takes it meanwhile. With `queuedOnly` it passes over everything but messages that lie
   * in a queue as far as the store knows: for a queue that knows it has lost some.
   */
  takeDue(
    lane: Lane,
    options: { until: number; leaseUntil: number; limit: number; queuedOnly: boolean },
  ): Promise<QueueEntry[]>;

  /**
   * Ends every claim at once. Only for a start at which every process that could hold one is known
   * to be gone. Resolves with their number.
   */
  releaseClaims(): Promise<number>;

  /** undefined when the application has no such notification. null asks for any application. */
  get(applicationId: number | null, id: number): Promise<NotificationRecord | undefined>;

  /** The notification of a message. */
  getByMessage(
    applicationId: number | null,
    messageId: number,
  ): Promise<NotificationRecord | undefined>;

  /**
   * Replaces the body `from` by another while every message is still `scheduled`: `refused` when one
   * is not, `changed` when the body is no longer the one that was read. Atomic, with the event `edited`
   * that tells the `changes`; without any there is none.
   */
  edit(id: number, edit: Edit): Promise<'edited' | 'changed' | 'refused'>;

  /** Cancels the messages that are not claimed and have not ended, with the event `cancelled`; their ids. */
  cancel(id: number, at: number): Promise<number[]>;

  /** Removes a notification, its messages and events when all of them have ended; false otherwise. Atomic. */
  delete(id: number): Promise<boolean>;

  /**
   * Gives failed messages (`failed` only) new attempts, the i-th at `startAt + i × intervalMs`, with the
   * event `redriven`.
   * Resolves with how many were taken of at most `limit`.
   */
  redrive(
    selection: RedriveSelection,
    schedule: { startAt: number; intervalMs: number; limit: number },
  ): Promise<number>;

  /**
   * Removes notifications accepted before `before` (ms since 1970) all of whose messages have ended,
   * with everything of them, at most `limit` looked at, and what the engine itself need keep no longer, in
   * steps as small. Pages by `after`: null when there is no more of either.
   */
  prune(page: {
    before: number;
    after: number;
    limit: number;
  }): Promise<{ removed: number; after: number | null }>;

  /** Newest first. May lag behind writes by the engine's stated staleness. */
  search(filter: SearchFilter): Promise<FoundMessage[]>;

  /** The same in bounded time: a page may be short, or empty, and yet have a next one. */
  page(filter: SearchFilter): Promise<FoundPage>;

  /**
   * Counts messages by what became of them. Exact: one consistent view. Which of them test keys have
   * sent may lag as searches do.
   */
  ledger(applicationId: number | null, kind?: KeyKind): Promise<Ledger>;

  /** Messages that have not ended, per lane, and the age of the oldest due one in ms. */
  backlog(now: number): Promise<{ lane: Lane; pending: number; oldestDueMs: number }[]>;
}
