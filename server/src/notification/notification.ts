/**
 * The record of a notification and the state machine of its messages.
 *
 * A message is stored as `accepted` (or `scheduled`, until its time) and is then claimed:
 *
 *   scheduled ──due──► accepted ──claim──► sending ──outcome──► sent ──receipt──► delivered
 *                         ▲                   │ └─ no receipts to expect ────────► delivered
 *                         │                   ├─ try again later ─► accepted, with a time
 *                         │                   ├─ next channel of the route ─► accepted
 *                         └──── redrive ── failed (a dead letter until it is driven again)
 *
 * It ends as delivered, failed, expired, suppressed or cancelled. A claim is fenced by a counter:
 * whoever holds an older one cannot complete. A crash while `sending` leaves the claim to run out;
 * the attempt has been counted, and the message is tried again.
 */
import type { MessageStatus, Priority } from '@tidings/contracts/common';
import type { Content } from '@tidings/contracts/content';

/** 0 is the most urgent. */
export const LANES = ['high', 'medium', 'low'] as const satisfies readonly Priority[];
export type Lane = 0 | 1 | 2;

export function laneOf(priority: Priority): Lane {
  return LANES.indexOf(priority) as Lane;
}

/** Stands in a route where preferences decide the channel. */
export const AUTO = 'auto';

/** What was asked, as it is stored: normalised, complete, without defaults of the moment. */
export interface NotificationBody {
  to: Record<string, string>;
  template: { key: string; version: number } | null;
  content: Content | null;
  data: Record<string, unknown>;
  category: string | null;
  priority: Priority;
  metadata: Record<string, string>;
  collapseKey: string | null;
  /** ms since 1970. */
  createdAt: number;
  sendAt: number | null;
  expiresAt: number | null;
  resendOf: number | null;
  batch: string | null;
  test: boolean;
  /** One message per route, in the order of their ids. */
  routes: string[][];
}

/** A body as it is stored and queued: what says nothing is left out, which halves most bodies. */
export function writeBody(body: NotificationBody): string {
  return JSON.stringify({
    to: body.to,
    template: body.template ?? undefined,
    content: body.content ?? undefined,
    data: isEmpty(body.data) ? undefined : body.data,
    category: body.category ?? undefined,
    priority: body.priority,
    metadata: isEmpty(body.metadata) ? undefined : body.metadata,
    collapseKey: body.collapseKey ?? undefined,
    createdAt: body.createdAt,
    sendAt: body.sendAt ?? undefined,
    expiresAt: body.expiresAt ?? undefined,
    resendOf: body.resendOf ?? undefined,
    batch: body.batch ?? undefined,
    test: body.test ? true : undefined,
    routes: body.routes,
  });
}

export function readBody(text: string): NotificationBody {
  const body = JSON.parse(text) as Partial<NotificationBody> & NotificationBody;
  return {
    to: body.to,
    template: body.template ?? null,
    content: body.content ?? null,
    data: body.data ?? {},
    category: body.category ?? null,
    priority: body.priority,
    metadata: body.metadata ?? {},
    collapseKey: body.collapseKey ?? null,
    createdAt: body.createdAt,
    sendAt: body.sendAt ?? null,
    expiresAt: body.expiresAt ?? null,
    resendOf: body.resendOf ?? null,
    batch: body.batch ?? null,
    test: body.test ?? false,
    routes: body.routes,
  };
}

function isEmpty(object: object): boolean {
  for (const _ in object) return false;
  return true;
}

export interface MessageState {
  id: number;
  notificationId: number;
  applicationId: number;
  lane: Lane;
  status: MessageStatus;
  /** When it is looked at again, ms since 1970; null when it has ended. */
  nextAt: number | null;
  updatedAt: number;
  /** Fence: grows with each claim. */
  claim: number;
  /** Attempts made, over all channels of the route. */
  attempt: number;
  /** Attempts that do not count against the present channel (made on earlier ones, or before a redrive). */
  attemptsBefore: number;
  /** Which channel of the route is tried. */
  step: number;
  channel: string | null;
  provider: string | null;
  providerMessageId: string | null;
  reason: string | null;
  /** The route when delivery has resolved `auto`; otherwise the body's. */
  route: string[] | null;
}

export interface NotificationRecord {
  id: number;
  applicationId: number;
  body: NotificationBody;
  messages: MessageState[];
}
