/**
 * Port: the stored inbox of each user. Owned by this room because only in-app messages live
 * there. An item is durable when `deliver` resolves. Reads may lag behind writes of other
 * processes; within one process a read sees every write that resolved before it.
 */
import type { InboxAction, InboxCounts, InboxItem } from '@tidings/contracts/inbox';

export interface InboxOwner {
  applicationId: number;
  userId: string;
}

export interface NewInboxItem extends InboxOwner {
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

/** Something that happened in an inbox, in the order in which it became durable. */
export interface InboxEntry extends InboxOwner {
  /** Grows with every entry of the installation; the `Last-Event-ID` of the live stream. */
  position: number;
  item: InboxItem;
}

export interface InboxStore {
  /** Idempotent by message id: a repeated delivery adds nothing and resolves with the first position. */
  deliver(item: NewInboxItem): Promise<{ position: number }>;

  /** Newest first. `cursor` comes from the page before. */
  list(
    owner: InboxOwner,
    query: {
      state: 'all' | 'unread' | 'unseen' | 'archived';
      category: string | null;
      limit: number;
      cursor: string | null;
    },
  ): Promise<{ items: InboxItem[]; next: string | null }>;

  counts(owner: InboxOwner): Promise<InboxCounts>;

  /** Idempotent. Ids that are not in this inbox are passed over. Resolves with how many items changed. */
  mark(
    owner: InboxOwner,
    change: { action: InboxAction; items: string[] | 'all'; category: string | null; at: number },
  ): Promise<number>;

  /** Items that became durable after `position`, oldest first, at most `limit`. */
  since(owner: InboxOwner, position: number, limit: number): Promise<InboxEntry[]>;

  /** The newest position of this inbox, 0 when it is empty. */
  position(owner: InboxOwner): Promise<number>;
}
