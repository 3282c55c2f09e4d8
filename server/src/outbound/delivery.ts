/** What goes into one attempt: the variables that templates see, and the message as its provider gets it. */
import type { ChannelContent } from '@tidings/contracts/content';
import type { User } from '@tidings/contracts/user';
import type { Delivery } from '../adapters/provider.ts';
import { formatId } from '../id.ts';
import type { NotificationBody } from '../notification/notification.ts';
import type { QueueEntry } from '../notification/notification-store.ts';

/** The data, and who it is for unless the data has a `user` of its own. */
export function variablesFor(
  body: NotificationBody,
  user: User | undefined,
): Record<string, unknown> {
  if (Object.hasOwn(body.data, 'user')) return body.data;
  const { userId, name, locale } = body.to;
  const person = {
    userId,
    name: name ?? user?.name,
    locale: locale ?? user?.locale,
    timezone: user?.timezone,
    attributes: user?.attributes ?? {},
  };
  return { ...body.data, user: person };
}

export function deliveryOf(
  { entry, body, user }: { entry: QueueEntry; body: NotificationBody; user: User | undefined },
  address: unknown,
  content: ChannelContent,
): Delivery {
  const messageId = formatId('msg', entry.messageId);
  return {
    messageId,
    notificationId: formatId('ntf', entry.notificationId),
    applicationId: entry.applicationId,
    attempt: entry.attempt + 1,
    idempotencyKey: messageId,
    address,
    content,
    recipient: {
      userId: body.to['userId'],
      name: body.to['name'] ?? user?.name ?? undefined,
      locale: body.to['locale'] ?? user?.locale ?? undefined,
    },
    priority: body.priority,
    category: body.category,
    collapseKey: body.collapseKey,
    metadata: body.metadata,
    createdAt: body.createdAt,
    expiresAt: body.expiresAt,
  };
}
