/** What a lane carries of a notification that was just accepted. */
import { AUTO, laneOf, type NotificationBody } from './notification.ts';
import type { QueueEntry } from './notification-store.ts';

/** One entry per message. */
export function entriesOf(accepted: {
  id: number;
  applicationId: number;
  body: NotificationBody;
  text: string;
  watched: boolean;
  claimedUntil: number | null;
  defaultOrder: readonly string[];
}): QueueEntry[] {
  const { id, applicationId, body, text, watched, claimedUntil, defaultOrder } = accepted;
  return body.routes.map((route, i) => ({
    messageId: id + 1 + i,
    notificationId: id,
    applicationId,
    lane: laneOf(body.priority),
    channel: firstChannel(route, body, defaultOrder),
    claim: 0,
    attempt: 0,
    attemptsBefore: 0,
    step: 0,
    route: null,
    body: text,
    watched,
    claimedUntil,
    suspect: false,
  }));
}

/** Which channel delivery will probably choose first: entries wait beside others of their channel. */
export function firstChannel(
  route: readonly string[],
  body: NotificationBody,
  defaultOrder: readonly string[],
): string {
  if (route[0] !== AUTO) return route[0] as string;
  if (body.to['userId'] !== undefined) return AUTO;
  return defaultOrder.find((channel) => body.to[channel] !== undefined) ?? AUTO;
}
