/** Notifications and messages as they are shown to callers. */
import type {
  Accepted,
  Message,
  MessageSummary,
  Notification,
  TimelineEvent,
} from '@tidings/contracts/notification';
import type { MessageEvent } from '../analytics/event-store.ts';
import { formatId } from '../id.ts';
import type { MessageState, NotificationBody, NotificationRecord } from './notification.ts';
import type { FoundMessage } from './notification-store.ts';

export interface EngagementTimes {
  seenAt: number | null;
  readAt: number | null;
  archivedAt: number | null;
}

function time(at: number): string {
  return new Date(at).toISOString();
}

function timeOrNull(at: number | null): string | null {
  return at === null ? null : time(at);
}

export function acceptedView(id: number, body: NotificationBody): Accepted {
  const status = body.sendAt !== null && body.sendAt > body.createdAt ? 'scheduled' : 'accepted';
  return {
    id: formatId('ntf', id),
    status,
    ...(body.test ? { test: true } : {}),
    messages: body.routes.map((route, i) => ({ id: formatId('msg', id + 1 + i), route, status })),
  };
}

export function notificationView(
  record: NotificationRecord,
  application: string,
  engagement: ReadonlyMap<number, EngagementTimes>,
): Notification {
  const { body } = record;
  return {
    id: formatId('ntf', record.id),
    application,
    to: body.to,
    template: body.template,
    content: body.content,
    data: body.data,
    priority: body.priority,
    category: body.category,
    metadata: body.metadata,
    collapseKey: body.collapseKey,
    createdAt: time(body.createdAt),
    sendAt: timeOrNull(body.sendAt),
    expiresAt: timeOrNull(body.expiresAt),
    resendOf: body.resendOf === null ? null : formatId('ntf', body.resendOf),
    batch: body.batch,
    test: body.test,
    messages: record.messages.map((message) =>
      messageView(message, body, engagement.get(message.id)),
    ),
  };
}

function messageView(
  message: MessageState,
  body: NotificationBody,
  engagement: EngagementTimes | undefined,
): Message {
  const times = Object.entries(engagement ?? {}).filter(
    (entry): entry is [string, number] => entry[1] !== null,
  );
  return {
    id: formatId('msg', message.id),
    notificationId: formatId('ntf', message.notificationId),
    status: message.status,
    route: message.route ?? body.routes[message.id - message.notificationId - 1] ?? [],
    channel: message.channel,
    provider: message.provider,
    providerMessageId: message.providerMessageId,
    attempts: message.attempt,
    reason: message.reason,
    nextAttemptAt:
      message.status === 'accepted' || message.status === 'scheduled'
        ? timeOrNull(message.nextAt)
        : null,
    updatedAt: time(message.updatedAt),
    engagement: Object.fromEntries(times.map(([name, at]) => [name, time(at)])),
  };
}

/** What an `edited` event says of a field. Times are RFC 3339. */
interface Changes {
  priority?: { from: NotificationBody['priority'] };
  sendAt?: { from: string | null };
}

/** A notification as it was accepted: the first edit of a field knows what it was in the beginning. */
function bodyAsAccepted(body: NotificationBody, events: readonly MessageEvent[]): NotificationBody {
  const changes = events
    .filter(({ type }) => type === 'edited')
    .map(({ detail }) => (detail?.['changes'] ?? {}) as Changes);
  const priority = changes.find((one) => one.priority)?.priority;
  const sendAt = changes.find((one) => one.sendAt)?.sendAt;
  const accepted = { ...body };
  if (priority) accepted.priority = priority.from;
  if (sendAt) accepted.sendAt = sendAt.from === null ? null : Date.parse(sendAt.from);
  return accepted;
}

/**
 * The timeline begins with the acceptance, which is the notification itself with its edits undone.
 * @param events oldest first
 */
export function timelineView(
  record: NotificationRecord,
  events: readonly MessageEvent[],
): TimelineEvent[] {
  const body = bodyAsAccepted(record.body, events);
  const first: TimelineEvent = {
    at: time(body.createdAt),
    type: body.sendAt !== null && body.sendAt > body.createdAt ? 'scheduled' : 'accepted',
    detail: {
      priority: body.priority,
      ...(body.sendAt === null ? {} : { sendAt: time(body.sendAt) }),
      ...(body.resendOf === null ? {} : { resendOf: formatId('ntf', body.resendOf) }),
      ...(body.test ? { test: true } : {}),
    },
  };
  return [first, ...events.map(eventView)];
}

const SHOWN = [
  'channel',
  'provider',
  'attempt',
  'status',
  'reason',
  'durationMs',
  'response',
  'providerMessageId',
] as const;

function eventView({ messageId, at, type, detail }: MessageEvent): TimelineEvent {
  const event: Record<string, unknown> = {
    at: time(at),
    type,
    messageId: formatId('msg', messageId),
  };
  const rest: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(detail ?? {})) {
    if ((SHOWN as readonly string[]).includes(name)) event[name] = value;
    else rest[name] = value;
  }
  if (Object.keys(rest).length > 0) event['detail'] = rest;
  return event as TimelineEvent;
}

export function summaryView(
  { applicationId: _, key: __, ...message }: FoundMessage,
  application: string,
): MessageSummary {
  return { ...message, application };
}
