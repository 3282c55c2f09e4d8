/**
 * What is to be stored of a delivery: the completion of its claim, and the events of its timeline.
 * Pure: nothing is decided here that retry.ts does not decide, and nothing is stored.
 */
import type { MessageStatus } from '@tidings/contracts/common';
import { CAPTURE } from '../adapters/capture.ts';
import type { Outcome } from '../adapters/provider.ts';
import type { MessageEvent } from '../analytics/event-store.ts';
import { AUTO, type NotificationBody } from '../notification/notification.ts';
import type { Completion, QueueEntry } from '../notification/notification-store.ts';
import type { Account } from './account.ts';
import {
  type AttemptState,
  type Decision,
  decide,
  nextChannel,
  type RetryPolicy,
} from './retry.ts';

export interface Settlement {
  completion: Completion;
  events: MessageEvent[];
}

/** A message as its delivery stands: events that have been noted so far are settled with it. */
export interface Delivered {
  entry: QueueEntry;
  body: NotificationBody;
  events: MessageEvent[];
}

/** An end, or a later look, without an attempt. */
export function settle(
  { entry, events }: Pick<Delivered, 'entry' | 'events'>,
  end: { status: MessageStatus; reason: string; channel?: string | null },
  now: number,
): Settlement {
  const { status, reason, channel = null } = end;
  if (status !== 'accepted') {
    events.push({ messageId: entry.messageId, at: now, type: status, detail: { status, reason } });
  }
  return {
    events,
    completion: {
      messageId: entry.messageId,
      claim: entry.claim + 1,
      status,
      nextAt: null,
      attempt: entry.attempt,
      attemptsBefore: entry.attemptsBefore,
      step: entry.step,
      route: entry.route,
      channel,
      provider: null,
      providerMessageId: null,
      reason,
      at: now,
    },
  };
}

/** The account takes nothing just now: not an attempt, only a later look. */
export function postpone(
  delivered: Delivered,
  route: string[],
  channel: string,
  { now, nextAt }: { now: number; nextAt: number },
): Settlement {
  const settlement = settle(
    delivered,
    { status: 'accepted', reason: 'waiting_for_provider', channel },
    now,
  );
  settlement.completion.nextAt = Math.min(nextAt, delivered.body.expiresAt ?? nextAt);
  settlement.completion.route = keptRoute(delivered.entry, delivered.body, route);
  return settlement;
}

/** The channel is given up without an attempt: the next one of the route at once, or the end. */
export function passOver(
  delivered: Delivered,
  { route, channel, account, reason }: PassedOver,
  now: number,
): Settlement {
  const { entry, body, events } = delivered;
  const provider = account.definition.id;
  const detail = { channel, provider, reason };
  events.push({ messageId: entry.messageId, at: now, type: 'passed_over', detail });
  const { status, nextAt, step, attemptsBefore } = nextChannel(
    { ...entry, steps: route.length, expiresAt: body.expiresAt },
    reason,
    now,
  );
  const settlement = settle(delivered, { status, reason, channel }, now);
  const kept = keptRoute(entry, body, route);
  Object.assign(settlement.completion, { nextAt, step, attemptsBefore, provider, route: kept });
  return settlement;
}

export interface PassedOver {
  route: string[];
  channel: string;
  account: Account;
  reason: string;
}

export interface Attempted {
  route: string[];
  channel: string;
  account: Account | null;
  outcome: Outcome;
  durationMs: number;
  /** False when nothing was sent, and the attempt does not count. */
  counted: boolean;
}

export function settleAttempt(
  { entry, body, events }: Delivered,
  { route, channel, account, outcome, durationMs, counted }: Attempted,
  { now, random, policy }: { now: number; random: number; policy: RetryPolicy },
): Settlement {
  const made = entry.attempt + (counted ? 1 : 0);
  const state: AttemptState = {
    attempt: made,
    attemptsBefore: entry.attemptsBefore,
    step: entry.step,
    steps: route.length,
    expiresAt: body.expiresAt,
  };
  const decision = counted
    ? decide(outcome, state, policy, { now, random, receipts: account?.receipts ?? false })
    : nextChannel(state, outcome.kind === 'sent' ? '' : outcome.reason, now);
  const provider = account?.definition.id ?? null;
  events.push({
    messageId: entry.messageId,
    at: now,
    type: 'attempt',
    detail: attemptDetail({ channel, provider, made, outcome, durationMs, decision }),
  });
  const { note } = outcome;
  if (note) {
    const detail = { channel, provider: provider ?? CAPTURE, attempt: made, ...note.detail };
    events.push({ messageId: entry.messageId, at: now, type: note.type, detail });
  }
  return {
    events,
    completion: {
      messageId: entry.messageId,
      claim: entry.claim + 1,
      status: decision.status,
      nextAt: decision.nextAt,
      attempt: made,
      attemptsBefore: decision.attemptsBefore,
      step: decision.step,
      route: keptRoute(entry, body, route),
      channel,
      provider,
      providerMessageId: outcome.kind === 'sent' ? (outcome.providerMessageId ?? null) : null,
      reason: decision.reason,
      at: now,
    },
  };
}

/** A route is stored with the message only when it is not the one of the body. */
function keptRoute(entry: QueueEntry, body: NotificationBody, route: string[]): string[] | null {
  const asked = body.routes[entry.messageId - entry.notificationId - 1];
  return asked?.[0] === AUTO ? route : entry.route;
}

/** What a timeline says of an attempt; what says nothing is left out. */
function attemptDetail(attempt: {
  channel: string;
  provider: string | null;
  made: number;
  outcome: Outcome;
  durationMs: number;
  decision: Decision;
}): Record<string, unknown> {
  const { channel, provider, made, outcome, durationMs, decision } = attempt;
  const detail: Record<string, unknown> = {
    channel,
    provider: provider ?? CAPTURE,
    attempt: made,
    outcome: outcome.kind,
    status: decision.status,
    durationMs: Math.round(durationMs * 10) / 10,
  };
  if (outcome.kind !== 'sent') detail['reason'] = outcome.reason;
  if (outcome.response !== undefined) detail['response'] = outcome.response;
  if (outcome.kind === 'sent') {
    if (outcome.providerMessageId !== undefined)
      detail['providerMessageId'] = outcome.providerMessageId;
    if (outcome.captured) detail['captured'] = outcome.captured;
  } else if (outcome.kind === 'rejected') detail['scope'] = outcome.scope;
  else if (outcome.ambiguous) detail['ambiguous'] = true;
  if (decision.nextAt !== null) detail['nextAttemptAt'] = new Date(decision.nextAt).toISOString();
  return detail;
}
