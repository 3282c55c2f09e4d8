/**
 * The way of one claimed message, as a sentence: has it expired? which channels? may it go out on
 * this one? to which address? with what content? through which account? and what came of it.
 * Returns what is to be stored; never throws and never stores.
 */

import type { MessageStatus } from '@tidings/contracts/common';
import type { ChannelContent } from '@tidings/contracts/content';
import type { User } from '@tidings/contracts/user';
import { type AdapterDefinition, channelContentOf } from '../adapters/adapter.ts';
import type { Delivery, Outcome } from '../adapters/provider.ts';
import type { Clock } from '../clock.ts';
import { asServiceError } from '../errors.ts';
import { AUTO, type Lane, readBody } from '../notification/notification.ts';
import type { QueueEntry } from '../notification/notification-store.ts';
import type { TemplateService } from '../template/service.ts';
import type { PublishedTemplate } from '../template/template-store.ts';
import { resolveRoute } from '../user/route.ts';
import type { Account } from './account.ts';
import { type Attempts, runAttempt } from './attempt.ts';
import { deliveryOf, variablesFor } from './delivery.ts';
import { checkPreference, isExpired } from './gates.ts';
import { maxAttempts, type RetryPolicy, waitsUntil } from './retry.ts';
import {
  type Attempted,
  type Delivered,
  passOver,
  postpone,
  type Settlement,
  settle,
  settleAttempt,
} from './settlement.ts';

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

/** Everything about a message that stays the same while its channels are tried. */
interface Context extends Delivered {
  user: User | undefined;
  mandatory: boolean;
  template: PublishedTemplate | undefined;
}

/** Messages whose wait has been noted: as many as wait in one lane. Past it one may be noted again. */
const WAITING_LIMIT = 20_000;

/** A delivery that can be attempted. */
interface Prepared {
  delivery: Delivery;
  address: string;
  /** Variables that the content has holes for. */
  missing: string[] | undefined;
}

interface Wait {
  route: string[];
  channel: string;
  account: Account;
  waitMs: number;
  /** When it has waited enough, in ms since 1970. */
  until: number;
}

export type Deliver = (entry: QueueEntry) => Promise<Settlement>;

export function createDeliver(options: DeliverOptions): Deliver {
  const { adapters, templates, clock } = options;
  /** The step on which each message waits for a provider that is left alone. */
  const waiting = new Map<number, number>();

  return async function deliver(entry: QueueEntry): Promise<Settlement> {
    const delivered: Delivered = { entry, body: readBody(entry.body), events: [] };
    try {
      return await deliverTo(delivered);
    } catch (error) {
      // A fault of our own must not go round for ever: it counts as an attempt like any other.
      const cause = asServiceError(error);
      const outcome: Outcome = {
        kind: 'retry',
        reason: 'internal_error',
        response: cause.detail ?? String(cause.cause ?? cause),
      };
      const { channel } = entry;
      return attempted(delivered, { route: entry.route ?? [AUTO], channel, outcome });
    }
  };

  function deliverTo(delivered: Delivered): Settlement | Promise<Settlement> {
    const { body } = delivered;
    const end = (status: MessageStatus, reason: string) =>
      settle(delivered, { status, reason }, clock.now());
    if (isExpired(body, clock.now())) return end('expired', 'expired');
    const context = contextOf(delivered);
    if (body.template && !context.template) return end('failed', 'template_deleted');
    const { route, reason } = routeOf(context);
    if (route.length === 0) return end(reason.status, reason.reason);
    return tryChannels(context, route);
  }

  function contextOf({ entry, body, events }: Delivered): Context {
    const userId = body.to['userId'];
    const { applicationId } = entry;
    return {
      entry,
      body,
      events,
      user: userId === undefined ? undefined : options.findUser(applicationId, userId),
      mandatory: body.category !== null && options.isMandatory(applicationId, body.category),
      template: body.template
        ? options.findTemplate(applicationId, body.template.key, body.template.version)
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
      reason: resolved.missed
        ? { ...none, reason: 'no_content' }
        : optedOut
          ? { status: 'suppressed', reason: 'opted_out' }
          : none,
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
  function tryChannels(context: Context, route: string[]): Settlement | Promise<Settlement> {
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
          ...(prepared.missing ? { missingVariables: prepared.missing } : {}),
        });
        if (last.status !== 'suppressed') last = { status: 'failed', reason: prepared.reason };
        continue;
      }
      return attempt(context, route, step, prepared);
    }
    const settlement = settle(context, { ...last, channel: route[entry.step] }, clock.now());
    settlement.completion.route = entry.route ?? route;
    return settlement;
  }

  function prepare(
    context: Context,
    channel: string,
  ): Prepared | { reason: string; detail?: string; missing?: string[] | undefined } {
    const adapter = adapters.adapter(channel);
    if (!adapter) return { reason: 'unknown_channel' };
    const address = addressOf(context, channel);
    if (address === undefined) return { reason: 'no_address' };
    const parsed = adapter.parseAddress(address);
    if (!parsed.ok) return { reason: 'bad_address', detail: parsed.message };
    let content: ChannelContent | undefined;
    let missing: string[] | undefined;
    const onMissing = (names: string[]): void => {
      missing = names;
    };
    try {
      content = render(context, adapter, onMissing);
    } catch (error) {
      const fault = asServiceError(error);
      return { reason: fault.code, detail: fault.detail ?? fault.message, missing };
    }
    if (content === undefined) return { reason: 'no_content' };
    const delivery = deliveryOf(context, parsed.address, content);
    return { delivery, address: parsed.normalized, missing };
  }

  function render(
    context: Context,
    adapter: AdapterDefinition,
    onMissing: (names: string[]) => void,
  ): ChannelContent | undefined {
    const { body, user, template } = context;
    const shared = {
      onMissing,
      channel: adapter.channel,
      data: variablesFor(body, user),
      now: clock.now(),
      timezone: user?.timezone ?? undefined,
      locale: body.to['locale'] ?? user?.locale ?? undefined,
    };
    if (template)
      return template.content[adapter.channel] ? templates.render(template, shared) : undefined;
    const inline = body.content ? channelContentOf(body.content, adapter) : undefined;
    return inline && templates.renderInline(inline, shared);
  }

  async function attempt(
    context: Context,
    route: string[],
    step: number,
    { delivery, address, missing }: Prepared,
  ): Promise<Settlement> {
    const { entry, body } = context;
    const channel = route[step] as string;
    const onStep = step === entry.step ? entry : { ...entry, step, attemptsBefore: entry.attempt };
    const delivered = onStep === entry ? context : { ...context, entry: onStep };
    const policy = options.policyFor(channel);
    if (onStep.attempt - onStep.attemptsBefore >= maxAttempts(policy)) {
      // Every attempt was begun and none came back: the process died each time.
      const outcome: Outcome = { kind: 'rejected', reason: 'crashed', scope: 'content' };
      return attempted(delivered, { route, channel, outcome, counted: false });
    }
    const adapter = adapters.adapter(channel) as AdapterDefinition;
    const account = options.accountFor(channel, body.test);
    const dueAt = Math.max(body.createdAt, body.sendAt ?? 0);
    if (entry.attempt === 0) options.began(entry.lane, clock.now() - dueAt);
    const { outcome, waitMs, durationMs } = await runAttempt(options.attempts, {
      adapter,
      address,
      account,
      delivery,
    });
    const heldMs = account.heldMs(delivery);
    const until =
      heldMs > 0 ? waitsUntil({ ...onStep, steps: route.length }, policy, dueAt) : Infinity;
    if (waitMs > 0 && clock.now() < until) {
      const wait = { route, channel, account, waitMs, until };
      return heldMs > 0 ? waitForProvider(delivered, wait) : lookAgain(delivered, wait);
    }
    if (waiting.size > 0) waiting.delete(entry.messageId);
    if (waitMs > 0) {
      const reason = 'provider_down';
      return passOver(delivered, { route, channel, account, reason }, clock.now());
    }
    // Where another channel is left, one that is late and down again gets no further attempts.
    const isLate = clock.now() >= until && step + 1 < route.length;
    const attempt = { route, channel, account, outcome, durationMs };
    const settlement = attempted(delivered, attempt, isLate ? { ...policy, delaysMs: [] } : policy);
    if (missing) {
      const event = settlement.events.find(({ type }) => type === 'attempt');
      Object.assign(event?.detail ?? {}, { missingVariables: missing });
    }
    return settlement;
  }

  function lookAgain(delivered: Delivered, { route, channel, waitMs, until }: Wait): Settlement {
    const now = clock.now();
    const nextAt = Math.min(Math.round(now + waitMs * (1 + 0.2 * clock.random())), until);
    return postpone(delivered, route, channel, { now, nextAt });
  }

  /** Its timeline says so once: until when at most, and that another channel is tried then. */
  function waitForProvider(delivered: Delivered, wait: Wait): Settlement {
    const { messageId, step } = delivered.entry;
    if (waiting.get(messageId) !== step) {
      if (waiting.size >= WAITING_LIMIT) waiting.delete(waiting.keys().next().value as number);
      waiting.set(messageId, step);
      note(delivered, 'waiting_for_provider', {
        channel: wait.channel,
        provider: wait.account.definition.id,
        ...(Number.isFinite(wait.until) ? { until: new Date(wait.until).toISOString() } : {}),
        ...(step + 1 < wait.route.length ? { nextChannel: wait.route[step + 1] } : {}),
      });
    }
    return lookAgain(delivered, wait);
  }

  function attempted(
    delivered: Delivered,
    attempt: Pick<Attempted, 'route' | 'channel' | 'outcome'> & Partial<Attempted>,
    policy = options.policyFor(attempt.channel),
  ): Settlement {
    const all = { account: null, durationMs: 0, counted: true, ...attempt };
    return settleAttempt(delivered, all, {
      now: clock.now(),
      random: clock.random(),
      policy,
    });
  }

  function note({ entry, events }: Delivered, type: string, detail: Record<string, unknown>): void {
    events.push({ messageId: entry.messageId, at: clock.now(), type, detail });
  }
}
