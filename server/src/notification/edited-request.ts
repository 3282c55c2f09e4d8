/** What an edit asks for as a whole: it is then checked like any request. And what it changed, for the timeline. */
import type { Content } from '@tidings/contracts/content';
import type { CreateNotification, EditNotification } from '@tidings/contracts/notification';
import { AUTO, type NotificationBody } from './notification.ts';

/** The stored body as a request again, with a change applied: what is null is taken back. */
export function requestOf(body: NotificationBody, change: EditNotification): CreateNotification {
  const content: Content | undefined = change.content ?? body.content ?? undefined;
  const routes = body.routes;
  const automatic = routes.length === 1 && routes[0]?.[0] === AUTO;
  const { data, priority, category, sendAt, expiresAt, metadata, collapseKey } = {
    ...fieldsOf(body),
    ...change,
  };
  return {
    to: body.to as CreateNotification['to'],
    ...(body.template && !change.content ? { template: body.template } : { content }),
    ...(routes.length > 1
      ? { channels: routes.map((route) => route[0] as string) }
      : automatic
        ? {}
        : { route: routes[0] }),
    data: data ?? undefined,
    priority: priority ?? undefined,
    category: category ?? undefined,
    sendAt: sendAt ?? undefined,
    expiresAt: expiresAt ?? undefined,
    metadata: metadata ?? undefined,
    collapseKey: collapseKey ?? undefined,
  };
}

/** The fields that an edit may change, as callers write them; what there is none of is null. */
function fieldsOf(body: NotificationBody) {
  const { data, priority, category, metadata, collapseKey, content, template } = body;
  return {
    ...{ data, priority, category, metadata, collapseKey, content, template },
    sendAt: timeOf(body.sendAt),
    expiresAt: timeOf(body.expiresAt),
  };
}

function timeOf(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString();
}

/** Longer values would make a timeline of edits larger than all else that is kept. */
const LONGEST_SHOWN = 4096;

export interface FieldChange {
  from: unknown;
  to: unknown;
}

/** By field, what it was and what it became; only of fields that are different now. */
export function changesOf(
  before: NotificationBody,
  after: NotificationBody,
): Record<string, FieldChange> {
  const old = fieldsOf(before);
  const changes: Record<string, FieldChange> = {};
  for (const [name, to] of Object.entries(fieldsOf(after))) {
    const from = old[name as keyof typeof old];
    if (JSON.stringify(from) !== JSON.stringify(to))
      changes[name] = { from: shown(from), to: shown(to) };
  }
  return changes;
}

function shown(value: unknown): unknown {
  const { length } = JSON.stringify(value);
  return length > LONGEST_SHOWN ? { length } : value;
}
