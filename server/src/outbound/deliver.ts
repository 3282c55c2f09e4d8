/**
 * The way of one claimed message, as a sentence: has it expired? which channels? may it go out on
 * this one? to which address? with what content? through which account? and what came of it.
 * Returns what is to be stored; never throws and never stores.
 */

import type { MessageStatus } from '@tidings/contracts/common';
import type { ChannelContent } from '@tidings/contracts/content';
import type { User } from '@tidings/contracts/user';
import { type AdapterDefinition, channelContentOf } from '../adapters/adapter.ts';
import { CAPTURE } from '../adapters/capture.ts';
import type { Delivery, Outcome } from '../adapters/provider.ts';
import type { MessageEvent } from '../analytics/event-store.ts';
import type { Clock } from '../clock.ts';
import { asServiceError } from '../errors.ts';
import { formatId } from '../id.ts';
import { AUTO, type Lane, type NotificationBody, readBody } from '../notification/notification.ts';
import type { Completion, QueueEntry } from '../notification/notification-store.ts';
import type { TemplateService } from '../template/service.ts';
import type { PublishedTemplate } from '../template/template-store.ts';
import { resolveRoute } from '../user/route.ts';
import type { Account } from './account.ts';
import { type Attempts, runAttempt } from './attempt.ts';
import { checkPreference, isExpired } from './gates.ts';
import {
  type AttemptState,
  type Decision,
  decide,
  maxAttempts,
  nextChannel,
  type RetryPolicy,
} from './retry.ts';

export interface DeliverOptions {
  adapters: { adapter(channel: string): AdapterDefinition | undefined; channels(): string[] };
  templates: TemplateService;
  findUser(applicationId: number, userId: string): User | undefined;
  findTemplate(applicationId: number, key: string, version: number): PublishedTemplate | undefined;
  isMandatory(applicationId: number, category: string): boolean;
  /** The account that serves a channel now, or the capturing one. */
  accountFor(channel: string, test: boolean): Account;
  attempts: Attempts;
  policyFor(channel: string): RetryPolicy;
  defaultOrder: readonly string[];
  /** Told how long a message waited, since it was accepted or due, before its first attempt. */
  began(lane: Lane, waitedMs: number): void;
  clock: Clock;
}

export interface Settlement {
  completion: Completion;
  events: MessageEvent[];
}

/** Everything about a message that stays the same while its channels are tried. */
interface Context {
  entry: QueueEntry;
  body: NotificationBody;
  user: User | undefined;
  mandatory: boolean;
  template: PublishedTemplate | undefined;
  events: MessageEvent[];
}

export type Deliver = (entry: QueueEntry) => Promise<Settlement>;

export function createDeliver(options: DeliverOptions): Deliver {
  const { adapters, templates, clock } = options;

  return async function deliver(entry: QueueEntry): Promise<Settlement> {
    const body = readBody(entry.body);
    const events: MessageEvent[] = [];
    const settled = settle.bind(null, entry, events);
    try {
      if (isExpired(body, clock.now()))
        return settled({ status: 'expired', reason: 'expired', attempted: false });
      const context = contextOf(entry, body, events);
      if (body.template && !context.template) {
        return settled({ status: 'failed', reason: 'template_deleted', attempted: false });
      }
      const { route, reason } = routeOf(context);
      if (route.length === 0) return settled({ ...reason, attempted: false });
      return await tryChannels(context, route);
    } catch (error) {
      // A fault of our own must not go round for ever: it counts as an attempt like any other.
      const cause = asServiceError(error);
      const outcome: Outcome = {
        kind: 'retry',
        reason: 'internal_error',
        response: cause.detail ?? String(cause.cause ?? cause),
      };
      return afterAttempt(
        { entry, body, events },
        entry.route ?? [AUTO],
        entry.channel,
        null,
        outcome,
        0,
      );
    }
  };

  function contextOf(entry: QueueEntry, body: NotificationBody, events: MessageEvent[]): Context {
    const userId = body.to['userId'];
    return {
      entry,
      body,
      events,
      user: userId === undefined ? undefined : options.findUser(entry.applicationId, userId),
      mandatory: body.category !== null && options.isMandatory(entry.applicationId, body.category),
      template: body.template
        ? options.findTemplate(entry.applicationId, body.template.key, body.template.version)
        : undefined,
    };
  }

  /** The ordered channels of the message, with `auto` resolved by what the recipient prefers and has. */
  function routeOf(context: Context): {
    route: string[];
    reason: { status: MessageStatus; reason: string };
  } {
    const { entry, body, user, mandatory } = context;
    const route =
      entry.route ?? (body.routes[entry.messageId - entry.notificationId - 1] as string[]);
    const none = { status: 'failed' as const, reason: 'unreachable' };
    if (route[0] !== AUTO) return { route, reason: none };
    // Of somebody given only by addresses, other channels are no news.
    const candidates =
      body.to['userId'] === undefined
        ? adapters.channels().filter((channel) => body.to[channel] !== undefined)
        : adapters.channels();
    const available = candidates.filter((channel) => hasContent(context, channel));
    const resolved = resolveRoute({
      user,
      to: body.to,
      available,
      reachable: (channel) => addressOf(context, channel),
      category: body.category,
      mandatory,
      defaultOrder: [...options.defaultOrder],
    });
    const optedOut = resolved.left.some(({ reason }) => reason === 'opted_out');
    const decided = candidates.length !== 1 || resolved.route.length !== 1;
    if (decided) note(context, 'routed', { route: resolved.route, left: resolved.left });
    return {
      route: resolved.route,
      reason: optedOut ? { status: 'suppressed', reason: 'opted_out' } : none,
    };
  }

  function hasContent({ body, template }: Context, channel: string): boolean {
    if (template) return template.content[channel] !== undefined;
    const adapter = adapters.adapter(channel);
    return (
      adapter !== undefined &&
      body.content !== null &&
      channelContentOf(body.content, adapter) !== undefined
    );
  }

  /** Where the recipient is reached: what the request says, else the profile, else the user id where that is one. */
  function addressOf({ body, user }: Context, channel: string): string | undefined {
    const inline = body.to[channel];
    if (inline !== undefined) return inline;
    const stored = user?.addresses.find((address) => address.channel === channel);
    if (stored) return stored.address;
    return adapters.adapter(channel)?.defaultAddress === 'userId' ? body.to['userId'] : undefined;
  }

  /** From the present step on, the first channel that can be tried is tried; the others are passed over. */
  async function tryChannels(context: Context, route: string[]): Promise<Settlement> {
    const { entry, body, user, mandatory } = context;
    let last: { status: MessageStatus; reason: string } = {
      status: 'failed',
      reason: 'unreachable',
    };
    for (let step = entry.step; step < route.length; step++) {
      const channel = route[step] as string;
      const refusal = checkPreference(user, { channel, category: body.category, mandatory });
      if (refusal) {
        note(context, 'suppressed', { channel, ...refusal });
        last = { status: 'suppressed', reason: refusal.reason };
        continue;
      }
      const prepared = prepare(context, channel);
      if ('reason' in prepared) {
        note(context, 'passed_over', {
          channel,
          reason: prepared.reason,
          ...(prepared.detail ? { detail: prepared.detail } : {}),
        });
        if (last.status !== 'suppressed') last = { status: 'failed', reason: prepared.reason };
        continue;
      }
      return attempt(context, route, step, prepared.delivery, prepared.address);
    }
    const completion = settle(entry, context.events, {
      ...last,
      attempted: false,
      channel: route[entry.step] ?? null,
    });
    completion.completion.route = entry.route ?? route;
    return completion;
  }

  function prepare(
    context: Context,
    channel: string,
  ): { delivery: Delivery; address: string } | { reason: string; detail?: string } {
    const adapter = adapters.adapter(channel);
    if (!adapter) return { reason: 'unknown_channel' };
    const address = addressOf(context, channel);
    if (address === undefined) return { reason: 'no_address' };
    const parsed = adapter.parseAddress(address);
    if (!parsed.ok) return { reason: 'bad_address', detail: parsed.message };
    let content: ChannelContent | undefined;
    try {
      content = render(context, adapter);
    } catch (error) {
      const fault = asServiceError(error);
      return { reason: fault.code, detail: fault.detail ?? fault.message };
    }
    if (content === undefined) return { reason: 'no_content' };
    return { delivery: deliveryOf(context, parsed.address, content), address: parsed.normalized };
  }

  function render(
    { body, user, template }: Context,
    adapter: AdapterDefinition,
  ): ChannelContent | undefined {
    const shared = {
      channel: adapter.channel,
      data: body.data,
      now: clock.now(),
      timezone: user?.timezone ?? undefined,
      locale: body.to['locale'] ?? user?.locale ?? undefined,
    };
    if (template)
      return template.content[adapter.channel] ? templates.render(template, shared) : undefined;
    const inline = body.content ? channelContentOf(body.content, adapter) : undefined;
    return inline && templates.renderInline(inline, shared);
  }

  function deliveryOf(
    { entry, body, user }: Context,
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

  async function attempt(
    context: Context,
    route: string[],
    step: number,
    delivery: Delivery,
    address: string,
  ): Promise<Settlement> {
    const { entry, body } = context;
    const channel = route[step] as string;
    const onStep = step === entry.step ? entry : { ...entry, step, attemptsBefore: entry.attempt };
    if (onStep.attempt - onStep.attemptsBefore >= maxAttempts(options.policyFor(channel))) {
      // Every attempt was begun and none came back: the process died each time.
      const outcome: Outcome = { kind: 'rejected', reason: 'crashed', scope: 'content' };
      return afterAttempt({ ...context, entry: onStep }, route, channel, null, outcome, 0, false);
    }
    const adapter = adapters.adapter(channel) as AdapterDefinition;
    const account = options.accountFor(channel, body.test);
    if (entry.attempt === 0)
      options.began(entry.lane, clock.now() - Math.max(body.createdAt, body.sendAt ?? 0));
    const { outcome, waitMs, durationMs } = await runAttempt(options.attempts, {
      adapter,
      address,
      account,
      delivery,
    });
    if (waitMs > 0) return postponed(context, onStep, route, channel, waitMs);
    return afterAttempt(
      { ...context, entry: onStep },
      route,
      channel,
      account,
      outcome,
      durationMs,
    );
  }

  /** The account takes nothing just now: not an attempt, only a later look. */
  function postponed(
    context: Context,
    entry: QueueEntry,
    route: string[],
    channel: string,
    waitMs: number,
  ): Settlement {
    const nextAt = Math.round(clock.now() + waitMs * (1 + 0.2 * clock.random()));
    const settlement = settle(entry, context.events, {
      status: 'accepted',
      reason: 'waiting_for_provider',
      attempted: false,
      channel,
    });
    settlement.completion.nextAt = Math.min(nextAt, context.body.expiresAt ?? nextAt);
    settlement.completion.route = keptRoute(context.entry, context.body, route);
    return settlement;
  }

  function afterAttempt(
    { entry, body, events }: Pick<Context, 'entry' | 'body' | 'events'>,
    route: string[],
    channel: string,
    account: Account | null,
    outcome: Outcome,
    durationMs: number,
    counted = true,
  ): Settlement {
    const now = clock.now();
    const made = entry.attempt + (counted ? 1 : 0);
    const state: AttemptState = {
      attempt: made,
      attemptsBefore: entry.attemptsBefore,
      step: entry.step,
      steps: route.length,
      expiresAt: body.expiresAt,
    };
    const decision = counted
      ? decide(outcome, state, options.policyFor(channel), {
          now,
          random: clock.random(),
          receipts: account?.receipts ?? false,
        })
      : nextChannel(state, outcome.kind === 'sent' ? '' : outcome.reason, now);
    events.push(
      attemptEvent(entry.messageId, {
        now,
        made,
        channel,
        account,
        outcome,
        durationMs,
        decision,
        test: body.test,
      }),
    );
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
        provider: account?.definition.id ?? null,
        providerMessageId: outcome.kind === 'sent' ? (outcome.providerMessageId ?? null) : null,
        reason: decision.reason,
        at: now,
      },
    };
  }

  function settle(
    entry: QueueEntry,
    events: MessageEvent[],
    end: { status: MessageStatus; reason: string; attempted: false; channel?: string | null },
  ): Settlement {
    const now = clock.now();
    if (end.status !== 'accepted') {
      events.push({
        messageId: entry.messageId,
        at: now,
        type: end.status,
        detail: { status: end.status, reason: end.reason },
      });
    }
    return {
      events,
      completion: {
        messageId: entry.messageId,
        claim: entry.claim + 1,
        status: end.status,
        nextAt: null,
        attempt: entry.attempt,
        attemptsBefore: entry.attemptsBefore,
        step: entry.step,
        route: entry.route,
        channel: end.channel ?? null,
        provider: null,
        providerMessageId: null,
        reason: end.reason,
        at: now,
      },
    };
  }

  function note(context: Context, type: string, detail: Record<string, unknown>): void {
    context.events.push({ messageId: context.entry.messageId, at: clock.now(), type, detail });
  }
}

/** A route is stored with the message only when it is not the one of the body. */
function keptRoute(entry: QueueEntry, body: NotificationBody, route: string[]): string[] | null {
  const asked = body.routes[entry.messageId - entry.notificationId - 1];
  return asked?.[0] === AUTO ? route : entry.route;
}

function attemptEvent(
  messageId: number,
  attempt: {
    now: number;
    made: number;
    channel: string;
    account: Account | null;
    outcome: Outcome;
    durationMs: number;
    decision: Decision;
    test: boolean;
  },
): MessageEvent {
  const { now, made, channel, account, outcome, durationMs, decision } = attempt;
  return {
    messageId,
    at: now,
    type: 'attempt',
    detail: {
      channel,
      provider: account?.definition.id ?? CAPTURE,
      attempt: made,
      outcome: outcome.kind,
      status: decision.status,
      durationMs: Math.round(durationMs * 10) / 10,
      ...(outcome.kind === 'sent' ? {} : { reason: outcome.reason }),
      ...(outcome.response === undefined ? {} : { response: outcome.response }),
      ...(outcome.kind === 'sent' && outcome.providerMessageId !== undefined
        ? { providerMessageId: outcome.providerMessageId }
        : {}),
      ...(outcome.kind === 'sent' && outcome.captured ? { captured: outcome.captured } : {}),
      ...(outcome.kind === 'rejected' ? { scope: outcome.scope } : {}),
      ...(outcome.kind === 'retry' && outcome.ambiguous ? { ambiguous: true } : {}),
      ...(decision.nextAt === null
        ? {}
        : { nextAttemptAt: new Date(decision.nextAt).toISOString() }),
    },
  };
}
