/** A notification as it was accepted, for the beginning of its timeline: its edits are undone. */
import type { NotificationBody, NotificationRecord } from '../../notification/notification.ts';
import type { timelineView } from '../../notification/view.ts';

type MessageEvent = Parameters<typeof timelineView>[1][number];

/** What an `edited` event says of a field. Times are RFC 3339. */
interface Changes {
  priority?: { from: NotificationBody['priority'] };
  sendAt?: { from: string | null };
}

/** @param events oldest first: the first edit of a field knows what it was in the beginning */
export function asAccepted(
  record: NotificationRecord,
  events: readonly MessageEvent[],
): NotificationRecord {
  const changes = events
    .filter(({ type }) => type === 'edited')
    .map(({ detail }) => (detail?.['changes'] ?? {}) as Changes);
  const priority = changes.find((one) => one.priority)?.priority;
  const sendAt = changes.find((one) => one.sendAt)?.sendAt;
  const body = { ...record.body };
  if (priority) body.priority = priority.from;
  if (sendAt) body.sendAt = sendAt.from === null ? null : Date.parse(sendAt.from);
  return { ...record, body };
}
