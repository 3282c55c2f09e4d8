/**
 * Notifications as callers deal with them: accept, read, edit, cancel, resend, delete, list, redrive.
 *
 * `accept` is the hot path: everything that can be refused is refused before the store is asked,
 * then one durable write, then the dispatcher. It reads from caches only.
 */
import type {
  CreateNotification,
  EditNotification,
  Ledger,
  Redrive,
} from '@tidings/contracts/notification';
import type { EventStore, MessageEvent } from '../analytics/event-store.ts';
import type { Caller } from '../application/application-store.ts';
import { type Hints, messageTopic } from '../cache/hints.ts';
import type { Clock } from '../clock.ts';
import type { Dispatcher } from '../dispatch/dispatcher.ts';
import { ServiceError } from '../errors.ts';
import type { TemplateService } from '../template/service.ts';
import { checkContent } from './content.ts';
import { changesOf, requestOf } from './edited-request.ts';
import { digestKey } from './idempotency.ts';
import {
  AUTO,
  type Lane,
  laneOf,
  type NotificationBody,
  type NotificationRecord,
  writeBody,
} from './notification.ts';
import {
  type AcceptResult,
  claimedAnew,
  type FoundMessage,
  type IdempotencyKey,
  type NotificationStore,
  type SearchFilter,
} from './notification-store.ts';
import { decidePriority } from './priority.ts';
import { entriesOf, firstChannel } from './queue-entry.ts';
import { type Adapters, checkChannels, checkRecipient, checkTimes } from './validation.ts';

export interface NotificationServiceOptions {
  store: NotificationStore;
  events: EventStore;
  templates: TemplateService;
  adapters: Adapters;
  dispatcher: Dispatcher;
  hints: Hints;
  clock: Clock;
  /** How long a queued message may wait before it is queued again, in ms. */
  leaseMs: number;
  /** Channels in the order in which they are tried when neither request nor user names one. */
  defaultOrder: readonly string[];
}

export interface AcceptOptions {
  /** As the caller sent it; null when it sent none. */
  idempotencyKey: string | null;
  /** Ask delivery for a hint when a message has ended. */
  watched: boolean;
  /** The request as it was sent: what is sent again with the same key must be the same. */
  requestText: string;
}

export interface AcceptedNotification {
  id: number;
  body: NotificationBody;
  /** True when the idempotency key was used before for the same request. */
  replayed: boolean;
}

/** Most messages that one redrive takes; the next call goes on. */
const REDRIVE_LIMIT = 1_000_000;

/** How often an edit is made again on what others have edited meanwhile. */
const EDIT_ATTEMPTS = 5;

export type NotificationService = ReturnType<typeof createNotificationService>;

export function createNotificationService(options: NotificationServiceOptions) {
  const { store, events, templates, adapters, dispatcher, hints, clock, leaseMs, defaultOrder } =
    options;

  /** The request as it is stored; throws for everything that makes it unacceptable. */
  function prepare(caller: Caller, request: CreateNotification, now: number): NotificationBody {
    checkChannels(request, adapters);
    const to = checkRecipient(request.to, adapters);
    const { sendAt, expiresAt } = checkTimes(request, now);
    const template = templateOf(caller.applicationId, request);
    const routes = request.channels?.map((channel) => [channel]) ?? [request.route ?? [AUTO]];
    checkContent({ request, routes, to, template, templates, adapters });
    return {
      to,
      template: template ? { key: template.key, version: template.version } : null,
      content: request.content ?? null,
      data: request.data ?? {},
      category: request.category ?? template?.category ?? null,
      priority: decidePriority(request.priority, template?.priority),
      metadata: request.metadata ?? {},
      collapseKey: request.collapseKey ?? null,
      createdAt: now,
      sendAt,
      expiresAt,
      resendOf: null,
      batch: null,
      test: caller.kind === 'test',
      routes,
    };
  }

  function templateOf(applicationId: number, request: CreateNotification) {
    if ((request.template === undefined) === (request.content === undefined)) {
      throw new ServiceError('invalid_request', {
        detail: 'A notification needs either a template or content.',
        errors: [{ path: 'body', message: 'needs exactly one of template and content' }],
      });
    }
    if (request.template === undefined) return undefined;
    const { key, version } =
      typeof request.template === 'string'
        ? { key: request.template, version: undefined }
        : request.template;
    const template = templates.resolve(applicationId, { key, version: version ?? null });
    templates.checkData(template, request.data ?? {});
    return template;
  }

  async function keep(
    caller: Caller,
    body: NotificationBody,
    idempotency: IdempotencyKey | null,
    watched: boolean,
  ): Promise<AcceptedNotification> {
    const text = writeBody(body);
    const lane = laneOf(body.priority);
    const { applicationId } = caller;
    const isDue = body.sendAt === null || body.sendAt <= body.createdAt;
    const place = isDue ? placeFor(body, lane) : undefined;
    const claimUntil = place ? body.createdAt + place.claimMs : null;
    const leaseUntil = body.createdAt + leaseMs;
    const request = { applicationId, lane, body, text, leaseUntil, claimUntil, idempotency };
    let result: AcceptResult | undefined;
    try {
      result = await store.accept(request);
    } finally {
      if (result?.kind !== 'accepted') place?.giveBack();
    }
    if (result.kind === 'mismatch') throw new ServiceError('idempotency_mismatch');
    if (result.kind === 'replayed') {
      // Deleted since: the key still stands for it, and its answer is the same.
      return (await earlier(applicationId, result.id)) ?? { id: result.id, body, replayed: true };
    }
    if (isDue) {
      const accepted = { id: result.id, applicationId, body, text, watched, defaultOrder };
      const entries = entriesOf({ ...accepted, claimedUntil: claimUntil });
      dispatcher.dispatch(place?.isGone() ? entries.map(claimedAnew) : entries);
    }
    return { id: result.id, body, replayed: false };
  }

  /** Where a processor could begin it at once, the message is claimed with its acceptance. */
  function placeFor(body: NotificationBody, lane: Lane) {
    const [route, ...others] = body.routes;
    if (!route || others.length > 0) return undefined;
    return dispatcher.place(lane, firstChannel(route, body, defaultOrder));
  }

  async function earlier(
    applicationId: number,
    id: number,
  ): Promise<AcceptedNotification | undefined> {
    const found = await store.get(applicationId, id);
    return found && { id, body: found.body, replayed: true };
  }

  /** The earlier answer to a request that is refused by now: its time has passed, its template is gone. */
  async function replayOrThrow(
    { applicationId }: Caller,
    idempotency: IdempotencyKey | null,
    now: number,
    refusal: unknown,
  ): Promise<AcceptedNotification> {
    const known = idempotency === null ? undefined : await store.findKey(idempotency, now);
    if (known?.kind === 'mismatch') throw new ServiceError('idempotency_mismatch');
    const replay = known && (await earlier(applicationId, known.id));
    if (!replay) throw refusal;
    return replay;
  }

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
  ) {
    const now = clock.now();
    const owner: Caller = { ...caller, applicationId, kind: body.test ? 'test' : 'live' };
    const { createdAt, resendOf, batch } = body;
    const to = { ...prepare(owner, requestOf(body, change), now), createdAt, resendOf, batch };
    return { from: body, to, lane: laneOf(to.priority), nextAt: Math.max(to.sendAt ?? now, now) };
  }

  async function note(
    messageIds: readonly number[],
    type: string,
    detail: MessageEvent['detail'] = null,
  ): Promise<void> {
    await events.append(
      messageIds.map((messageId) => ({ messageId, at: clock.now(), type, detail })),
    );
  }

  return {
    /**
     * Stores a notification durably and hands it to its lane.
     * @throws ServiceError of kind invalid (with paths), idempotency_mismatch, or unavailable.
     */
    accept(
      caller: Caller,
      request: CreateNotification,
      { idempotencyKey, watched, requestText }: AcceptOptions,
    ): Promise<AcceptedNotification> {
      const now = clock.now();
      const idempotency =
        idempotencyKey === null
          ? null
          : digestKey(caller, 'notifications', idempotencyKey, requestText);
      let body: NotificationBody;
      try {
        body = prepare(caller, request, now);
      } catch (error) {
        return replayOrThrow(caller, idempotency, now, error);
      }
      return keep(caller, body, idempotency, watched);
    },

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
        const edit = changed(caller, found, change);
        const done = await store.edit(id, edit);
        if (done === 'edited') {
          const changes = changesOf(edit.from, edit.to);
          const messageIds = found.messages.map((message) => message.id);
          if (Object.keys(changes).length > 0) await note(messageIds, 'edited', { changes });
          return record(caller, id);
        }
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
      await note(cancelled, 'cancelled', { status: 'cancelled' });
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
      const now = clock.now();
      const { expiresAt } = found.body;
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
      return keep(owner, body, idempotency, watched);
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

    /** Newest first, with addresses shortened so that a list reveals nobody. */
    async list(filter: SearchFilter): Promise<FoundMessage[]> {
      return (await store.search(filter)).map((message) => {
        const adapter = message.channel === null ? undefined : adapters.adapter(message.channel);
        const shown =
          message.recipient === null ? null : (adapter?.maskAddress(message.recipient) ?? '***');
        return { ...message, recipient: shown };
      });
    },

    ledger(applicationId: number | null): Promise<Ledger> {
      return store.ledger(applicationId);
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
