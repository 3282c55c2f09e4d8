/** What an edit asks for as a whole: it is then checked like any request. */
import type { Content } from '@tidings/contracts/content';
import type { CreateNotification, EditNotification } from '@tidings/contracts/notification';
import { AUTO, type NotificationBody } from './notification.ts';

/** The stored body as a request again, with a change applied. */
export function requestOf(body: NotificationBody, change: EditNotification): CreateNotification {
  const time = (at: number | null): string | undefined =>
    at === null ? undefined : new Date(at).toISOString();
  const content: Content | undefined = change.content ?? body.content ?? undefined;
  const routes = body.routes;
  const automatic = routes.length === 1 && routes[0]?.[0] === AUTO;
  return {
    to: body.to as CreateNotification['to'],
    ...(body.template && !change.content ? { template: body.template } : { content }),
    data: change.data ?? body.data,
    ...(routes.length > 1
      ? { channels: routes.map((route) => route[0] as string) }
      : automatic
        ? {}
        : { route: routes[0] }),
    priority: change.priority ?? body.priority,
    category: change.category ?? body.category ?? undefined,
    sendAt: change.sendAt ?? time(body.sendAt),
    expiresAt: change.expiresAt ?? time(body.expiresAt),
    metadata: change.metadata ?? body.metadata,
    collapseKey: change.collapseKey ?? body.collapseKey ?? undefined,
  };
}
