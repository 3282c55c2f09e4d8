/** How a message's state is written in SQLite: small integers for closed sets. */
import type { MessageStatus } from '@tidings/contracts/common';
import { AUTO, type Lane, type MessageState, readBody } from '../../notification/notification.ts';
import type { QueueEntry } from '../../notification/notification-store.ts';

/**
 * `waiting` is this engine's own: a message that is `accepted` to everybody else but lies in no
 * queue, because it waits for the time of its next attempt.
 */
export const STATUS = {
  scheduled: 0,
  accepted: 1,
  sending: 2,
  sent: 3,
  delivered: 4,
  failed: 5,
  expired: 6,
  suppressed: 7,
  cancelled: 8,
  waiting: 9,
} as const;

const NAMES: readonly MessageStatus[] = [
  'scheduled',
  'accepted',
  'sending',
  'sent',
  'delivered',
  'failed',
  'expired',
  'suppressed',
  'cancelled',
  'accepted',
];

export function statusName(code: number): MessageStatus {
  return NAMES[code] as MessageStatus;
}

/** The codes a public status stands for. */
export function statusCodes(status: MessageStatus): number[] {
  return status === 'accepted' ? [STATUS.accepted, STATUS.waiting] : [STATUS[status]];
}

export type MessageRow = {
  id: number;
  notification_id: number;
  application_id: number;
  lane: number;
  status: number;
  next_at: number | null;
  updated_at: number;
  claim: number;
  attempt: number;
  attempts_before: number;
  step: number;
  channel: string | null;
  provider: string | null;
  provider_message_id: string | null;
  reason: string | null;
  route: string | null;
};

export function stateOf(row: MessageRow): MessageState {
  return {
    id: row.id,
    notificationId: row.notification_id,
    applicationId: row.application_id,
    lane: row.lane as Lane,
    status: statusName(row.status),
    nextAt: row.next_at,
    updatedAt: row.updated_at,
    claim: row.claim,
    attempt: row.attempt,
    attemptsBefore: row.attempts_before,
    step: row.step,
    channel: row.channel,
    provider: row.provider,
    providerMessageId: row.provider_message_id,
    reason: row.reason,
    route: row.route === null ? null : (JSON.parse(row.route) as string[]),
  };
}

export function entryOf(row: MessageRow, body: string): QueueEntry {
  const own = row.route === null ? null : (JSON.parse(row.route) as string[]);
  // Parsed again by whoever delivers it; this path serves retries and recovery, not the hot one.
  const route = own ?? readBody(body).routes[row.id - row.notification_id - 1];
  return {
    messageId: row.id,
    notificationId: row.notification_id,
    applicationId: row.application_id,
    lane: row.lane as Lane,
    channel: route?.[row.step] ?? AUTO,
    claim: row.claim,
    attempt: row.attempt,
    attemptsBefore: row.attempts_before,
    step: row.step,
    route: own,
    body,
    watched: false,
    claimedUntil: null,
    suspect: row.status === STATUS.sending,
  };
}
