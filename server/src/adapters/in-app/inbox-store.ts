/**
 * Port: the stored inbox of each user. Owned by this room because only in-app messages live
 * there; it is no live connection (inbox/live.ts) and knows no tokens.
 *
 * An item is durable when `deliver` resolves. Reads may lag behind writes of other processes;
 * within one process a read sees every write that resolved before it was called. An inbox is named
 * by application and user, both compared exactly: case and trailing spaces matter.
 *
 * Every method fails with `store_unavailable` (or `store_full`) when the store cannot be reached;
 * a write that failed so may have been kept, and repeating it is harmless.
 */
import type { InboxAction, InboxCounts, InboxItem, InboxState } from '@tidings/contracts/inbox';

export interface InboxOwner {
  applicationId: number;
  userId: string;
}

export interface NewInboxItem extends InboxOwner {
  /** `msg_…` */
  messageId: string;
  content: {
    title: string | null;
    text: string | null;
    url: string | null;
    imageUrl: string | null;
    actions: { label: string; url: string }[];
    data: Record<string, unknown>;
  };
  category: string | null;
  /** An older item of the same user with the same key is replaced (archived). */
  collapseKey: string | null;
  /** ms since 1970. */
  at: number;
}

/** An item that came into an inbox. */
export interface InboxEntry extends InboxOwner {
  /** Grows with every entry of the installation; the `Last-Event-ID` of the live stream. */
  position: number;
  item: InboxItem;
}

export interface InboxChange {
  action: InboxAction;
  /** Ids of messages, or every item that is not archived when the change becomes durable. */
  items: readonly string[] | 'all';
  /** Narrows `all`; without meaning for ids. */
  category: string | null;
  /** ms since 1970. */
  at: number;
}

/** A change that somebody made, with what it led to, for the user's other devices. */
export interface InboxMark extends InboxOwner, InboxChange {
  counts: InboxCounts;
}

/**
 * Items that left the list without their user's doing. `replaced`: archived by a newer item with the
 * same collapse key. `removed`: their message was deleted. `cleared`: the whole inbox was.
 */
export type InboxDeparture = InboxOwner & {
  /** Of the order that entries are in: that of the replacing item, or a place of its own. */
  position: number;
  /** ms since 1970. */
  at: number;
} & (
    | { kind: 'replaced'; items: string[]; by: string }
    | { kind: 'removed'; items: string[] }
    | { kind: 'cleared' }
  );

export interface InboxDepartures {
  /** Oldest first. */
  departures: InboxDeparture[];
  /** There are no others up to here. */
  position: number;
  /** False when departures behind the given position are forgotten: too much has happened since. */
  complete: boolean;
}

export interface Engagement {
  /** ms since 1970, null for what has not happened (any more). */
  seenAt: number | null;
  readAt: number | null;
  archivedAt: number | null;
}

export interface InboxStore {
  /**
   * Idempotent by message id, also when called at the same time: a repeated delivery adds and
   * changes nothing and resolves with the first position. Archives the items of the same inbox
   * that have the same collapse key.
   */
  deliver(item: NewInboxItem): Promise<{ position: number }>;

  /**
   * Newest first. `all` is everything that is not archived, `unread` and `unseen` are parts of it.
   * @param query.cursor from the page before; @throws invalid_request for a text that is none
   */
  list(
    owner: InboxOwner,
    query: { state: InboxState; category: string | null; limit: number; cursor: string | null },
  ): Promise<{ items: InboxItem[]; next: string | null }>;

  /** Archived items are not counted. */
  counts(owner: InboxOwner): Promise<InboxCounts>;

  /**
   * Resolves with how many items changed: one that is as asked already keeps its time and is not
   * counted, also when two calls come at the same time. What is read is seen. Ids that are not in
   * this inbox are passed over. `all` reaches what was delivered before the change and nothing that
   * comes after it.
   */
  mark(owner: InboxOwner, change: InboxChange): Promise<number>;

  /**
   * Items that became durable after `position`, archived ones too, oldest first, at most `limit`.
   * Complete: positions become visible in their order, and when the engine cannot see everything
   * that is durable it fails with `store_unavailable` instead of leaving something out.
   */
  since(owner: InboxOwner, position: number, limit: number): Promise<InboxEntry[]>;

  /**
   * A position that everything durable is at or below, of this inbox and of all others; 0 at first.
   * As complete as `since`.
   */
  position(): Promise<number>;

  /**
   * What left this inbox after `position`. As complete as `since`. Of replaced items only those that
   * are still archived, perhaps none.
   */
  departures(owner: InboxOwner, position: number, limit: number): Promise<InboxDepartures>;

  /**
   * What left all inboxes after `position` (null: from now on), as far as reads show it just now:
   * never waits, and fails with `store_unavailable` while they show less than they did.
   */
  follow(position: number | null, limit: number): Promise<InboxDepartures>;

  /** Of several inboxes, as reads show them just now: never waits. */
  countsOf(owners: readonly InboxOwner[]): Promise<InboxCounts[]>;

  /**
   * Takes everything out of an inbox that was delivered before, for good, and begins its next
   * generation. Resolves when every read shows it. Whether a call that failed did so may be unknown;
   * repeating it is harmless.
   */
  clear(owner: InboxOwner, at: number): Promise<void>;

  /**
   * Grows with every `clear` of this inbox that has become durable, at once and in all processes; 0
   * before the first one, and again once it lies longer back than any token lives.
   */
  generation(owner: InboxOwner): Promise<number>;

  /** When these messages were seen, read and archived; messages that are in no inbox are left out. */
  engagement(messageIds: readonly number[]): Promise<Map<number, Engagement>>;
}

/**
 * Tells live connections of what has become durable. Never fails, never waits, may reach nobody.
 * Entries of one inbox are told in the order of their positions; telling one again is harmless.
 */
export interface InboxLive {
  publish(event: InboxEntry | InboxMark): void;
}

/** The item as it is shown right after its delivery. */
export function deliveredItem({
  messageId,
  content,
  category,
  collapseKey,
  at,
}: NewInboxItem): InboxItem {
  return {
    id: messageId,
    ...content,
    category,
    collapseKey,
    createdAt: new Date(at).toISOString(),
    seenAt: null,
    readAt: null,
    archivedAt: null,
  };
}
