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
  defaultOrder: readonly string[];
}): QueueEntry[] {
  const { id, applicationId, body, text, watched, defaultOrder } = accepted;
  return body.routes.map((route, i) => ({
    messageId: id + 1 + i,
    notificationId: id,
    applicationId,
    lane: laneOf(body.priority),
    channel: route[0] === AUTO ? likelyChannel(body, defaultOrder) : (route[0] as string),
    claim: 0,
    attempt: 0,
    attemptsBefore: 0,
    step: 0,
    route: null,
    body: text,
    watched,
    suspect: false,
  }));
}

/** Which channel delivery will probably choose: entries wait beside others of their channel. */
function likelyChannel(body: NotificationBody, defaultOrder: readonly string[]): string {
  if (body.to['userId'] !== undefined) return AUTO;
  return defaultOrder.find((channel) => body.to[channel] !== undefined) ?? AUTO;
}
