/** `/v1/notifications`: one line per route; what happens is in notification/service.ts. */
import {
  type Accepted,
  type CreateNotification,
  type EditNotification,
  type ListNotificationsQuery,
  ListNotificationsQuery as ListQuery,
  MESSAGE_LIST_DESCRIPTION,
  MessagePage,
  type Notification,
  NotificationId,
  NotificationOrMessageId,
  Timeline,
} from '@tidings/contracts/notification';
import { Type } from '@tidings/contracts/schema';
import { pattern } from '@tidings/contracts/schema-fault';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ApplicationStore, Caller } from '../../application/application-store.ts';
import { invalid, ServiceError } from '../../errors.ts';
import { failpoint } from '../../failpoint.ts';
import { parseId } from '../../id.ts';
import { LANES, type NotificationRecord } from '../../notification/notification.ts';
import type { NotificationService } from '../../notification/service.ts';
import {
  acceptedView,
  type EngagementTimes,
  notificationView,
  timelineView,
} from '../../notification/view.ts';
import { callerOf } from '../auth.ts';
import { messagePage } from '../message-page.ts';
import { readCursor } from '../page.ts';
import { READ, refused, WRITE } from '../problem.ts';
import { described } from '../route.ts';
import { cursorOf, pageIn, rangeOf, readableQuery } from './query.ts';

export interface NotificationRoutesOptions {
  notifications: NotificationService;
  applications: ApplicationStore;
  /** When in-app messages were seen and read. */
  engagement(messageIds: readonly number[]): Promise<ReadonlyMap<number, EngagementTimes>>;
  idempotencyRequired: boolean;
}

const Params = Type.Object({ id: NotificationId });
const ReadParams = Type.Object({ id: NotificationOrMessageId });
const TAG = 'Notifications';
const LONGEST_WAIT_MS = 30_000;

const WaitQuery = Type.Object(
  {
    wait: Type.Optional(
      Type.String({
        pattern: pattern('^[0-9]{1,5}(ms|s)?$', 'must be a time such as 5s or 500ms'),
        description:
          'Wait up to this long for the outcome: `5s` or `500ms`, a number alone is seconds; at most `30s`.',
        examples: ['5s'],
      }),
    ),
  },
  { additionalProperties: false },
);

const Headers = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      description: 'The same key with the same request is stored once, for at least 24 hours.',
    }),
  ),
});

export function notificationRoutes(
  options: NotificationRoutesOptions,
): (app: FastifyInstance) => void {
  const { notifications, applications, engagement } = options;

  async function view(record: NotificationRecord): Promise<Notification> {
    const application = await applications.byId(record.applicationId);
    const times = await engagement(record.messages.map(({ id }) => id));
    return notificationView(record, application?.key ?? '', times);
  }

  async function readOf(request: FastifyRequest): Promise<NotificationRecord> {
    const messageId = parseId('msg', (request.params as { id: string }).id);
    return messageId === undefined
      ? notifications.get(callerOf(request), idOf(request))
      : notifications.ofMessage(callerOf(request), messageId);
  }

  /** 202 with the ids, or 200 with the outcome when the caller waits for it and it comes in time. */
  async function answer(
    request: FastifyRequest,
    accept: (
      acceptOptions: Parameters<NotificationService['accept']>[2],
    ) => ReturnType<NotificationService['accept']>,
  ): Promise<{ code: 200 | 202; replayed: boolean; body: Accepted | Notification }> {
    const waitMs = waitOf((request.query as { wait?: string }).wait);
    const idempotencyKey = idempotencyKeyOf(request, options.idempotencyRequired);
    const accepted = await accept({
      idempotencyKey,
      watched: waitMs > 0,
      requestText: request.bodyText,
    });
    failpoint('before-202');
    const { id, body, replayed } = accepted;
    const isDue = body.sendAt === null || body.sendAt <= body.createdAt + waitMs;
    if (waitMs > 0 && isDue && !accepted.deleted) {
      const record = await notifications.outcome(callerOf(request), id, waitMs);
      const ended = record.messages.every(
        (message) => message.nextAt === null && message.status !== 'sent',
      );
      if (ended) return { code: 200, replayed, body: await view(record) };
    }
    return { code: 202, replayed, body: acceptedView(id, body) };
  }

  return (app) => {
    app.post(
      '/v1/notifications',
      described('send', {
        id: 'createNotification',
        tag: TAG,
        summary: 'Send a notification',
        description:
          'Answered after it is stored durably. With `wait`, answers 200 and the outcome when it comes in time.',
        headers: Headers,
        querystring: WaitQuery,
        body: Type.Ref('CreateNotification'),
        response: {
          202: Type.Ref('Accepted'),
          200: Type.Ref('Notification'),
          ...refused(WRITE, 422),
        },
      }),
      async (request, reply) => {
        const { code, replayed, body } = await answer(request, (accept) =>
          notifications.accept(callerOf(request), request.body as CreateNotification, accept),
        );
        if (replayed) reply.header('idempotency-replayed', 'true');
        return reply.code(code).send(body);
      },
    );

    app.get(
      '/v1/notifications',
      {
        ...described('read', {
          id: 'listNotifications',
          tag: TAG,
          summary: 'List messages, newest first',
          description: MESSAGE_LIST_DESCRIPTION,
          querystring: ListQuery,
          response: { 200: MessagePage, ...refused(READ) },
        }),
        preValidation: readableQuery,
      },
      async (request) => {
        const query = request.query as ListNotificationsQuery;
        const range = rangeOf(query, 'query');
        const before = readCursor(cursorOf('messages', query.cursor));
        const caller = callerOf(request);
        const applicationId = await applicationFilter(applications, caller, query.application);
        if (applicationId === undefined) return { items: [], next: null };
        const found = await notifications.list(caller, {
          applicationId,
          ...range,
          lane:
            query.priority === undefined ? undefined : (LANES.indexOf(query.priority) as 0 | 1 | 2),
          userId: query.user,
          group: query.group,
          channel: query.channel,
          status: query.status,
          template: query.template,
          category: query.category,
          batch: query.batch,
          kind: query.kind,
          limit: query.limit ?? 50,
          before,
        });
        return pageIn('messages', await messagePage(found, applications));
      },
    );

    app.get(
      '/v1/notifications/:id',
      described('read', {
        id: 'getNotification',
        tag: TAG,
        summary: 'Read a notification',
        params: ReadParams,
        response: { 200: Type.Ref('Notification'), ...refused(READ, 404) },
      }),
      async (request) => view(await readOf(request)),
    );

    app.get(
      '/v1/notifications/:id/timeline',
      described('read', {
        id: 'getTimeline',
        tag: TAG,
        summary: 'Every event and attempt, with what the vendor answered',
        params: ReadParams,
        response: { 200: Timeline, ...refused(READ, 404) },
      }),
      async (request) => {
        const record = await readOf(request);
        const events = await notifications.timeline(record);
        return { items: timelineView(record, events) };
      },
    );

    app.patch(
      '/v1/notifications/:id',
      described('send', {
        id: 'editNotification',
        tag: TAG,
        summary: 'Change a notification that is still scheduled',
        description: 'Its timeline then says what was accepted and what was changed when.',
        params: Params,
        body: Type.Ref('EditNotification'),
        response: { 200: Type.Ref('Notification'), ...refused(WRITE, 404, 409, 422) },
      }),
      async (request) =>
        view(
          await notifications.edit(
            callerOf(request),
            idOf(request),
            request.body as EditNotification,
          ),
        ),
    );

    app.post(
      '/v1/notifications/:id/cancel',
      described('send', {
        id: 'cancelNotification',
        tag: TAG,
        summary: 'Cancel what has not been sent',
        params: Params,
        response: { 200: Type.Ref('Notification'), ...refused(WRITE, 404, 409) },
      }),
      async (request) => view(await notifications.cancel(callerOf(request), idOf(request))),
    );

    app.post(
      '/v1/notifications/:id/resend',
      described('send', {
        id: 'resendNotification',
        tag: TAG,
        summary: 'Send it again, as a new notification that names this one',
        params: Params,
        headers: Headers,
        querystring: WaitQuery,
        response: {
          202: Type.Ref('Accepted'),
          200: Type.Ref('Notification'),
          ...refused(WRITE, 404, 409, 422),
        },
      }),
      async (request, reply) => {
        refuseBody(request);
        const { code, replayed, body } = await answer(request, (accept) =>
          notifications.resend(callerOf(request), idOf(request), accept),
        );
        if (replayed) reply.header('idempotency-replayed', 'true');
        return reply.code(code).send(body);
      },
    );

    app.delete(
      '/v1/notifications/:id',
      described('manage', {
        id: 'deleteNotification',
        tag: TAG,
        summary: 'Remove a notification that has ended',
        params: Params,
        response: { 204: Type.Null({ description: 'Removed.' }), ...refused(WRITE, 404, 409) },
      }),
      async (request, reply) => {
        await notifications.delete(callerOf(request), idOf(request));
        return reply.code(204).send();
      },
    );
  };
}

/** What is sent again is what was sent: whoever names something else would be misunderstood. */
function refuseBody({ body }: FastifyRequest): void {
  if (body === undefined || body === null) return;
  const names = typeof body === 'object' ? Object.keys(body) : [''];
  if (names.length === 0) return;
  throw new ServiceError('invalid_request', {
    errors: names.map((name) => ({
      path: ['body', name].filter(Boolean).join('.'),
      message: 'is not taken: the notification is sent again as it was',
    })),
  });
}

function idOf(request: FastifyRequest): number {
  const id = parseId('ntf', (request.params as { id: string }).id);
  if (id === undefined)
    throw new ServiceError('not_found', { detail: 'There is no such notification.' });
  return id;
}

/**
 * What a caller may list: operators everything or one application, others their own; undefined is
 * nothing, as of another application, which looks like one that there is not.
 * @throws invalid_request for operators, who may know, when there is no such application
 */
async function applicationFilter(
  applications: ApplicationStore,
  caller: Caller,
  key: string | undefined,
): Promise<number | null | undefined> {
  const admin = caller.scopes.includes('admin');
  if (key === undefined) return admin ? null : caller.applicationId;
  const application = await applications.byKey(key);
  if (!application && admin)
    throw invalid('invalid_request', [{ path: 'query.application', message: 'is no application' }]);
  return application && (admin || application.id === caller.applicationId)
    ? application.id
    : undefined;
}

/** A quoted string as in the draft, or bare as most clients send it. */
function idempotencyKeyOf(request: FastifyRequest, required: boolean): string | null {
  const header = request.headers['idempotency-key'];
  if (header === undefined) {
    if (required) throw keyFault('is required');
    return null;
  }
  const bare = (Array.isArray(header) ? header[0] : header) ?? '';
  const key = /^".*"$/.test(bare) ? bare.slice(1, -1) : bare;
  if (!/^[\x21-\x7e]{1,255}$/.test(key))
    throw keyFault('must be 1 to 255 visible ASCII characters');
  return key;
}

function keyFault(message: string): ServiceError {
  return new ServiceError('invalid_idempotency_key', {
    errors: [{ path: 'header.idempotency-key', message }],
  });
}

/** @throws invalid_request */
function waitOf(text: string | undefined): number {
  if (text === undefined) return 0;
  const amount = Number.parseInt(text, 10);
  const waitMs = text.endsWith('ms') ? amount : amount * 1000;
  if (waitMs > LONGEST_WAIT_MS) {
    throw new ServiceError('invalid_request', {
      errors: [
        {
          path: 'query.wait',
          message: `must be at most ${LONGEST_WAIT_MS / 1000}s (a number without a unit is seconds)`,
        },
      ],
    });
  }
  return waitMs;
}
