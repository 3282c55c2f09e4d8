/** What operators and on-call engineers ask: the ledger, dead letters, channels. */

import { ChannelName, type KeyKind, PageQuery } from '@tidings/contracts/common';
import {
  KindFilter,
  type Ledger,
  LedgerQuery,
  MESSAGE_LIST_DESCRIPTION,
  MessagePage,
  type Redrive,
} from '@tidings/contracts/notification';
import { Type } from '@tidings/contracts/schema';
import type { FastifyInstance } from 'fastify';
import type { ApplicationStore } from '../../application/application-store.ts';
import { invalid } from '../../errors.ts';
import { parseId } from '../../id.ts';
import { type NotificationService, scopeOf } from '../../notification/service.ts';
import { callerOf } from '../auth.ts';
import { messagePage } from '../message-page.ts';
import { readCursor } from '../page.ts';
import { READ, refused, WRITE } from '../problem.ts';
import { described } from '../route.ts';
import { cursorOf, pageIn, rangeOf, readableQuery } from './query.ts';

export interface ChannelInfo {
  channel: string;
  title: string;
  accounts: { id: string; provider: string; title: string; documentation: string }[];
  simulated: { delivered: string; temporaryFailure: string; permanentFailure: string };
  /** JSON Schema of the channel's own content, in templates and in `content.channels`. */
  contentSchema: object;
}

export interface OperationRoutesOptions {
  notifications: NotificationService;
  applications: ApplicationStore;
  channels: readonly ChannelInfo[];
}

const DeadLetterQuery = Type.Object(
  { ...PageQuery, channel: Type.Optional(ChannelName), kind: KindFilter },
  { additionalProperties: false },
);

export function operationRoutes({
  notifications,
  applications,
  channels,
}: OperationRoutesOptions): (app: FastifyInstance) => void {
  return (app) => {
    app.get(
      '/v1/ledger',
      {
        ...described('read', {
          id: 'getLedger',
          tag: 'Operations',
          summary: 'What became of everything that was accepted',
          querystring: LedgerQuery,
          response: { 200: Type.Ref('Ledger'), ...refused(READ) },
        }),
        preValidation: readableQuery,
      },
      async (request): Promise<Ledger> => {
        const { kind } = request.query as LedgerQuery;
        return notifications.ledger(scopeOf(callerOf(request)), kind);
      },
    );

    app.get(
      '/v1/channels',
      described('read', {
        id: 'listChannels',
        tag: 'Operations',
        summary: 'Channels: provider accounts, test addresses, and the schema of their own content',
        response: {
          200: Type.Object({ items: Type.Array(Type.Object({}, { additionalProperties: true })) }),
          ...refused(READ),
        },
      }),
      async () => ({ items: channels }),
    );

    app.get(
      '/v1/dead-letters',
      {
        ...described('read', {
          id: 'listDeadLetters',
          tag: 'Operations',
          summary: 'Messages that failed for good, newest first',
          description: MESSAGE_LIST_DESCRIPTION,
          querystring: DeadLetterQuery,
          response: { 200: MessagePage, ...refused(READ) },
        }),
        preValidation: readableQuery,
      },
      async (request) => {
        const {
          limit = 50,
          cursor,
          channel,
          kind,
        } = request.query as { limit?: number; cursor?: string; channel?: string; kind?: KeyKind };
        const caller = callerOf(request);
        const found = await notifications.list(caller, {
          applicationId: scopeOf(caller),
          status: 'failed',
          channel,
          kind,
          limit,
          before: readCursor(cursorOf('dead-letters', cursor)),
        });
        return pageIn('dead-letters', await messagePage(found, applications));
      },
    );

    app.post(
      '/v1/dead-letters/redrive',
      described('manage', {
        id: 'redriveDeadLetters',
        tag: 'Operations',
        summary: 'Give dead letters new attempts, at a capped rate',
        description:
          'Those named by `messages`, `channel`, `from` and `to` together, at most a million at once; with `"all": true` every one.',
        body: Type.Ref('Redrive'),
        response: { 202: Type.Object({ taken: Type.Integer() }), ...refused(WRITE) },
      }),
      async (request, reply) => {
        const body = request.body as Redrive;
        checkSelection(body);
        const ids = body.messages?.map((id, i) => {
          const message = parseId('msg', id);
          if (message === undefined) {
            throw invalid('invalid_request', [
              { path: `body.messages.${i}`, message: 'is not a message id' },
            ]);
          }
          return message;
        });
        return reply
          .code(202)
          .send({ taken: await notifications.redrive(callerOf(request), body, ids) });
      },
    );
  };
}

/** All of them is never what somebody asks for by saying nothing. */
function checkSelection(body: Redrive): void {
  const { all, messages, channel, from, to } = body;
  const selects = [messages, channel, from, to].some((selector) => selector !== undefined);
  if (!all && !selects) {
    throw invalid('invalid_request', [
      { path: 'body', message: 'needs messages, channel, from or to, or "all": true' },
    ]);
  }
  if (all && selects) {
    throw invalid('invalid_request', [
      { path: 'body.all', message: 'cannot be given together with messages, channel, from or to' },
    ]);
  }
  rangeOf(body, 'body');
}
