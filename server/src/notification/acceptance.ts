/**
 * The acceptance of a notification: the hot path. Everything that can be refused is refused before
 * the store is asked, then one durable write, then the dispatcher. It reads from caches only.
 */
import type { CreateNotification } from '@tidings/contracts/notification';
import type { Caller } from '../application/application-store.ts';
import type { Clock } from '../clock.ts';
import type { Dispatcher } from '../dispatch/dispatcher.ts';
import { ServiceError } from '../errors.ts';
import type { TemplateService } from '../template/service.ts';
import { checkContent } from './content.ts';
import { digestKey } from './idempotency.ts';
import { AUTO, type Lane, laneOf, type NotificationBody, writeBody } from './notification.ts';
import {
  type AcceptResult,
  claimedAnew,
  type IdempotencyKey,
  type NotificationStore,
} from './notification-store.ts';
import { decidePriority } from './priority.ts';
import { entriesOf, firstChannel } from './queue-entry.ts';
import { type Adapters, checkChannels, checkRecipient, checkTimes } from './validation.ts';

export interface AcceptanceOptions {
  store: NotificationStore;
  templates: TemplateService;
  adapters: Adapters;
  dispatcher: Dispatcher;
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
  /** It has been deleted since. */
  deleted?: boolean;
}

export function createAcceptance({
  store,
  templates,
  adapters,
  dispatcher,
  clock,
  leaseMs,
  defaultOrder,
}: AcceptanceOptions) {
  /**
   * The request as it is stored; throws for everything that makes it unacceptable.
   * @param kept the version it was accepted with, which an edit may keep although the template is gone
   */
  function prepare(
    caller: Caller,
    request: CreateNotification,
    now: number,
    kept: NotificationBody['template'] = null,
  ): NotificationBody {
    checkChannels(request, adapters);
    const to = checkRecipient(request.to, adapters);
    const { sendAt, expiresAt } = checkTimes(request, now);
    const template = templateOf(caller.applicationId, request, kept);
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

  function templateOf(
    applicationId: number,
    request: CreateNotification,
    kept: NotificationBody['template'],
  ) {
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
    const isKept = kept !== null && kept.key === key && kept.version === version;
    const template = templates.resolve(applicationId, { key, version: version ?? null, isKept });
    templates.checkData(template, request.data ?? {});
    return template;
  }

  /** Stores it durably and hands it to its lane. @throws idempotency_mismatch, unavailable */
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
    if (result.kind === 'mismatch') throw otherRequest();
    if (result.kind === 'replayed') {
      // Deleted since: the key still stands for it, and its answer is the same.
      const gone = { id: result.id, body, replayed: true, deleted: true };
      return (await earlier(applicationId, result.id)) ?? gone;
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
    if (known?.kind === 'mismatch') throw otherRequest();
    const replay = known && (await earlier(applicationId, known.id));
    if (!replay) throw refusal;
    return replay;
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

    prepare,
    keep,
  };
}

function otherRequest(): ServiceError {
  return new ServiceError('idempotency_mismatch', {
    errors: [{ path: 'header.idempotency-key', message: 'was used for another request before' }],
  });
}
