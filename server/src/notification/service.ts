/**
 * Notifications as callers deal with them: accept (acceptance.ts), read, edit, cancel, resend,
 * delete, list, redrive.
 */
import type { KeyKind } from '@tidings/contracts/common';
import type { EditNotification, Ledger, Redrive } from '@tidings/contracts/notification';
import type { EventStore, MessageEvent } from '../analytics/event-store.ts';
import type { Caller } from '../application/application-store.ts';
import { type Hints, messageTopic } from '../cache/hints.ts';
import type { Clock } from '../clock.ts';
import { asServiceError, invalid, ServiceError } from '../errors.ts';
import {
  type AcceptanceOptions,
  type AcceptedNotification,
  type AcceptOptions,
  createAcceptance,
} from './acceptance.ts';
import { changesOf, requestOf } from './edited-request.ts';
import { digestKey } from './idempotency.ts';
import { laneOf, type NotificationBody, type NotificationRecord } from './notification.ts';
import type { Edit, FoundMessage, FoundPage, SearchFilter } from './notification-store.ts';

export interface NotificationServiceOptions extends AcceptanceOptions {
  events: Pick<EventStore, 'timeline'>;
  hints: Hints;
}

/** Most messages that one redrive takes; the next call goes on. */
const REDRIVE_LIMIT = 1_000_000;

/** How often an edit is made again on what others have edited meanwhile. */
const EDIT_ATTEMPTS = 5;

export type NotificationService = ReturnType<typeof createNotificationService>;

export function createNotificationService(options: NotificationServiceOptions) {
  const { store, events, adapters, hints, clock } = options;
  const acceptance = createAcceptance(options);

  async function record(caller: Caller, id: number): Promise<NotificationRecord> {
    const found = await store.get(scopeOf(caller), id);
    if (!found) throw new ServiceError('not_found', { detail: 'There is no such notification.' });
    return found;
  }

  /** For whoever wants to change it: what live keys have sent is not for test keys, which reach nobody. */
  async function changeable(caller: Caller, id: number): Promise<NotificationRecord> {
    const found = await record(caller, id);
    if (caller.kind === 'test' && !found.body.test) throw notForTests();
    return found;
  }

  /** What an edit makes of a notification: checked like a request of the application it belongs to. */
  function changed(
    caller: Caller,
    { body, applicationId }: NotificationRecord,
    change: EditNotification,
  ): Edit {
    const now = clock.now();
    const owner: Caller = { ...caller, applicationId, kind: body.test ? 'test' : 'live' };
    const { createdAt, resendOf, batch } = body;
    const to = {
      ...acceptance.prepare(owner, requestOf(body, change), now, body.template),
      createdAt,
      resendOf,
      batch,
    };
    const nextAt = Math.max(to.sendAt ?? now, now);
    const changes = changesOf(body, to);
    return { from: body, to, lane: laneOf(to.priority), nextAt, at: now, changes };
  }

  /** Whoever sends again has sent no template with it, so no field is at fault. @throws invalid_template */
  function checkThere(applicationId: number, template: { key: string; version: number }): void {
    try {
      options.templates.resolve(applicationId, template);
    } catch (error) {
      if (asServiceError(error).code !== 'invalid_template') throw error;
      throw new ServiceError('invalid_template', {
        detail: `Version ${template.version} of the template ${template.key}, which it was sent with, has been deleted.`,
        hint: 'Send a new notification, with content or another template.',
        cause: error,
      });
    }
  }

  /** Channels of plug-ins that were removed are known by what was sent. @throws unknown_channel */
  async function checkKnown(caller: Caller, channel: string): Promise<void> {
    if (adapters.adapter(channel) !== undefined) return;
    const first = { applicationId: scopeOf(caller), channel, limit: 1, before: null };
    const { found, next } = await store.page(first);
    if (found.length > 0 || next !== null) return;
    const message = `is not a channel; channels: ${adapters.channels().join(', ')}`;
    throw invalid('unknown_channel', [{ path: 'query.channel', message }]);
  }

  function masked(message: FoundMessage): FoundMessage {
    if (message.recipient === null) return message;
    const adapter = message.channel === null ? undefined : adapters.adapter(message.channel);
    return { ...message, recipient: adapter?.maskAddress(message.recipient) ?? '***' };
  }

  return {
    accept: acceptance.accept,

    get: record,

    /** The notification a message belongs to: lists and webhooks name messages. @throws not_found */
    async ofMessage(caller: Caller, messageId: number): Promise<NotificationRecord> {
      const found = await store.getByMessage(scopeOf(caller), messageId);
      if (!found) throw new ServiceError('not_found', { detail: 'There is no such message.' });
      return found;
    },

    /** Every event of a notification that was read for its caller, oldest first. */
    timeline({ id, messages }: NotificationRecord): Promise<MessageEvent[]> {
      return events.timeline(id + 1, id + messages.length);
    },

    /** Changes a notification none of whose messages has become due. @throws conflict */
    async edit(caller: Caller, id: number, change: EditNotification): Promise<NotificationRecord> {
      for (let attempt = 0; attempt < EDIT_ATTEMPTS; attempt++) {
        const found = await changeable(caller, id);
        const done = await store.edit(id, changed(caller, found, change));
        if (done === 'edited') return record(caller, id);
        if (done === 'refused') {
          throw new ServiceError('conflict', {
            detail: 'The notification is no longer scheduled, so it cannot be edited.',
          });
        }
      }
      throw new ServiceError('conflict', {
        detail: 'The notification is being edited by others at the same time; try again.',
      });
    },

    /** Cancels what has not been sent. @throws conflict when there was nothing left to cancel */
    async cancel(caller: Caller, id: number): Promise<NotificationRecord> {
      const found = await changeable(caller, id);
      const cancelled = await store.cancel(id, clock.now());
      const all = found.messages.every((message) => message.status === 'cancelled');
      if (cancelled.length === 0 && !all) {
        throw new ServiceError('conflict', {
          detail: 'Every message has been sent or has ended, so there is nothing to cancel.',
        });
      }
      for (const messageId of cancelled) hints.publish(messageTopic(messageId), null);
      return record(caller, id);
    },

    /** Sends the same again, as a new notification that names the old one. */
    async resend(
      caller: Caller,
      id: number,
      { idempotencyKey, watched }: Omit<AcceptOptions, 'requestText'>,
    ): Promise<AcceptedNotification> {
      const found = await record(caller, id);
      if (found.messages.some((message) => message.status === 'scheduled')) {
        throw new ServiceError('conflict', {
          detail:
            'The notification is still scheduled, so it would be sent twice; edit or cancel it.',
        });
      }
      const { template, expiresAt } = found.body;
      if (template) checkThere(found.applicationId, template);
      const now = clock.now();
      const body: NotificationBody = {
        ...found.body,
        createdAt: now,
        sendAt: null,
        expiresAt: expiresAt !== null && expiresAt > now ? expiresAt : null,
        resendOf: id,
        test: caller.kind === 'test',
      };
      const owner = { ...caller, applicationId: found.applicationId };
      const idempotency =
        idempotencyKey === null
          ? null
          : digestKey(owner, `resend/${id}`, idempotencyKey, String(id));
      return acceptance.keep(owner, body, idempotency, watched);
    },

    /** Removes a notification that has ended, with its messages, events and inbox items. @throws conflict */
    async delete(caller: Caller, id: number): Promise<void> {
      await changeable(caller, id);
      if (!(await store.delete(id))) {
        throw new ServiceError('conflict', {
          detail: 'A message has not ended yet; cancel the notification first.',
        });
      }
    },

    /**
     * Newest first, with addresses shortened so that a list reveals nobody. As much as is found in
     * bounded time. @throws unknown_channel
     */
    async list(caller: Caller, filter: SearchFilter): Promise<FoundPage> {
      if (filter.channel !== undefined) await checkKnown(caller, filter.channel);
      const { found, next } = await store.page(filter);
      return { found: found.map(masked), next };
    },

    ledger(applicationId: number | null, kind?: KeyKind): Promise<Ledger> {
      return store.ledger(applicationId, kind);
    },

    /** Gives dead letters new attempts, spread at the given rate. Resolves with how many were taken. */
    async redrive(
      caller: Caller,
      request: Redrive,
      messageIds: number[] | undefined,
    ): Promise<number> {
      if (caller.kind === 'test') throw notForTests();
      const { channel, from, to, ratePerSecond = 50 } = request;
      return store.redrive(
        {
          applicationId: scopeOf(caller),
          messageIds,
          channel,
          from: from === undefined ? undefined : Date.parse(from),
          to: to === undefined ? undefined : Date.parse(to),
        },
        { startAt: clock.now(), intervalMs: 1000 / ratePerSecond, limit: REDRIVE_LIMIT },
      );
    },

    /**
     * Resolves with the notification once every message has ended, or after `waitMs` with what it
     * is then. To be called before the acceptance is dispatched or with `watched`: a hint that was
     * missed costs only the wait.
     */
    async outcome(caller: Caller, id: number, waitMs: number): Promise<NotificationRecord> {
      const deadline = clock.monotonic() + waitMs;
      for (;;) {
        const found = await record(caller, id);
        const open = found.messages.filter(
          (message) => message.nextAt !== null || message.status === 'sent',
        );
        const left = deadline - clock.monotonic();
        if (open.length === 0 || left <= 0) return found;
        await hintOrTime(
          hints,
          clock,
          open.map((message) => messageTopic(message.id)),
          left,
        );
      }
    },
  };
}

function notForTests(): ServiceError {
  return new ServiceError('forbidden', {
    detail: 'A test key reaches nobody, so it changes only what test keys have sent.',
  });
}

/** Operators see every application; everybody else its own. */
export function scopeOf(caller: Caller): number | null {
  return caller.scopes.includes('admin') ? null : caller.applicationId;
}

function hintOrTime(hints: Hints, clock: Clock, topics: string[], waitMs: number): Promise<void> {
  return new Promise((resolve) => {
    const unsubscribe: (() => void)[] = [];
    const done = (): void => {
      timer.cancel();
      for (const stop of unsubscribe) stop();
      resolve();
    };
    const timer = clock.after(waitMs, done);
    for (const topic of topics) unsubscribe.push(hints.subscribe(topic, done));
  });
}
