/**
 * Routes of the in-app inbox. An application lets a user in with its API key; everything else is
 * called by the user's own browser or app with the token it was given. That token comes in the
 * Authorization header or the first frame of a WebSocket; a URL carries at most a ticket that works
 * once, within 30 s.
 */
import { EventEmitter } from 'node:events';
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import websocket from '@fastify/websocket';
import {
  InboxPage,
  InboxQuery,
  InboxStreamQuery,
  type MarkInbox,
  type MintInboxToken,
  POSITION_PATTERN,
} from '@tidings/contracts/inbox';
import { Type } from '@tidings/contracts/schema';
import { pattern } from '@tidings/contracts/schema-fault';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ServiceError } from '../../errors.ts';
import {
  createInboxService,
  type InboxService,
  type InboxServiceOptions,
  type InboxSession,
} from '../../inbox/service.ts';
import { callerOf } from '../auth.ts';
import { parseStrictJson } from '../json.ts';
import { READ, refused, WRITE } from '../problem.ts';
import { described } from '../route.ts';
import { readableQuery } from './query.ts';

export interface InboxRoutesOptions extends Omit<InboxServiceOptions, 'parseFrame'> {
  /** Origins of pages that may open inboxes, besides this service's own: `https://shop.example`. */
  allowedOrigins: readonly string[];
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set on every route that needs a user's token. */
    inboxSession: InboxSession | null;
  }
}

const TAG = 'Inbox';
const STREAM_PATH = '/v1/inbox/stream';
const SOCKET_PATH = '/v1/inbox/socket';
/** A frame is an id and a few words; a mark of 500 items is 12 KiB. */
const MAX_FRAME_BYTES = 64 * 1024;
/** How long a browser remembers the answer to a preflight. */
const PREFLIGHT_SECONDS = 7200;
const USER_PATHS = [
  '/v1/inbox',
  '/v1/inbox/counts',
  '/v1/inbox/mark',
  '/v1/inbox/tickets',
  STREAM_PATH,
];

const NoQuery = Type.Object({}, { additionalProperties: false });
const StreamHeaders = Type.Object({
  'last-event-id': Type.Optional(
    Type.String({
      pattern: pattern(
        `^$|${POSITION_PATTERN}`,
        'must be the position of an event, as it was given',
      ),
      description: 'Position of the last event that was seen; what came after it is sent first.',
    }),
  ),
});

export function inboxRoutes(options: InboxRoutesOptions): (app: FastifyInstance) => void {
  const service = createInboxService({ ...options, parseFrame: parseStrictJson });
  const checkOrigin = originCheck(options.allowedOrigins);
  return (app) => {
    addMinting(app, service);
    app.register(async (scope) => {
      scope.decorateRequest('inboxSession', null);
      // First, so that it knows of every refused upgrade and closes its socket.
      await addWebSockets(scope, service);
      scope.addHook('onRequest', checkOrigin);
      const authenticate = tokenCheck(service);
      addReading(scope, service, authenticate);
      addMarking(scope, service, authenticate);
      addStream(scope, service, authenticate);
      addSocket(scope, service);
      addStreamHead(scope, service, authenticate);
      for (const path of USER_PATHS) scope.options(path, { schema: { hide: true } }, preflight);
    });
  };
}

function addMinting(app: FastifyInstance, service: InboxService): void {
  app.post<{ Body: MintInboxToken & { expiresInSeconds: number } }>(
    '/v1/inbox/tokens',
    described('manage', {
      id: 'mintInboxToken',
      tag: TAG,
      summary: 'Let a user open their inbox',
      description:
        'Call it from your own server once you know who the user is, and give the token to their browser or app. It cannot be taken back before it ends, unless the user is removed.',
      body: Type.Ref('MintInboxToken'),
      response: { 201: Type.Ref('InboxToken'), ...refused(WRITE) },
    }),
    async (request, reply) => {
      const { applicationId, kind } = callerOf(request);
      if (kind === 'test') {
        throw new ServiceError('forbidden', {
          detail: 'What test keys send is captured and in no inbox, so they open none.',
        });
      }
      const token = await service.mintToken(applicationId, request.body);
      return reply.code(201).header('cache-control', 'no-store').send(token);
    },
  );
}

type Check = (request: FastifyRequest) => Promise<void>;

function addReading(app: FastifyInstance, service: InboxService, authenticate: Check): void {
  type Query = InboxQuery & { limit: number; state: NonNullable<InboxQuery['state']> };
  app.get<{ Querystring: Query }>(
    '/v1/inbox',
    {
      onRequest: authenticate,
      schema: ofUser({
        operationId: 'listInbox',
        summary: 'List the items of an inbox, newest first',
        querystring: InboxQuery,
        response: { 200: InboxPage, ...refused(READ) },
      }),
      preValidation: readableQuery,
    },
    async (request) => {
      const { state, category = null, limit, cursor = null } = request.query;
      return service.list(sessionOf(request), { state, category, limit, cursor });
    },
  );

  app.get(
    '/v1/inbox/counts',
    {
      onRequest: authenticate,
      schema: ofUser({
        operationId: 'countInbox',
        summary: 'Count what is unseen, unread and there',
        querystring: NoQuery,
        response: { 200: Type.Ref('InboxCounts'), ...refused(READ) },
      }),
    },
    async (request) => service.counts(sessionOf(request)),
  );
}

function addMarking(app: FastifyInstance, service: InboxService, authenticate: Check): void {
  app.post<{ Body: MarkInbox }>(
    '/v1/inbox/mark',
    {
      onRequest: authenticate,
      schema: ofUser({
        operationId: 'markInbox',
        summary: 'Mark items as seen, read, unread, archived or not archived',
        description: "The user's other devices learn of it at once.",
        querystring: NoQuery,
        body: Type.Ref('MarkInbox'),
        response: { 200: Type.Ref('MarkedInbox'), ...refused(WRITE) },
      }),
    },
    async (request) => service.mark(sessionOf(request), request.body),
  );
}

function addStream(app: FastifyInstance, service: InboxService, authenticate: Check): void {
  app.post(
    '/v1/inbox/tickets',
    {
      onRequest: authenticate,
      schema: ofUser({
        operationId: 'mintInboxTicket',
        summary: 'Get a ticket for one stream',
        description:
          'For EventSource, which cannot send a header. It works once, within 30 seconds.',
        querystring: NoQuery,
        response: { 201: Type.Ref('InboxTicket'), ...refused(WRITE, 429) },
      }),
    },
    async (request, reply) => reply.code(201).send(await service.mintTicket(sessionOf(request))),
  );

  app.get<{ Querystring: InboxStreamQuery }>(
    STREAM_PATH,
    {
      exposeHeadRoute: false,
      // Behind the validation, so that a ticket is only used up by a request that can be answered.
      preHandler: ticketOr(authenticate, service.useTicket),
      schema: ofUser({
        operationId: 'streamInbox',
        summary: 'Follow an inbox live (Server-Sent Events)',
        description:
          'Events: `item`, `marked`, `removed`, `counts`, `ready`, `closing`. Send the token in the Authorization header, or a ticket as `?ticket=`; resume with Last-Event-ID, the text of the last `id`. Then the items that came meanwhile are sent as they are now, those that newer ones replaced (`marked` with `replacedBy`) and those that are gone (`removed`), but not what was marked meanwhile on other devices: `counts` tells that something changed, and `GET /v1/inbox` what is now true. `counts` also follows whatever comes later, usually within half a second. A `closing` with `user_removed` has no `retryAfterMs`: do not come back; who does gets 401.',
        querystring: InboxStreamQuery,
        headers: StreamHeaders,
        response: {
          200: {
            description: 'The stream.',
            content: { 'text/event-stream': { schema: Type.String() } },
          },
          ...refused(READ, 429),
        },
      }),
    },
    async (request, reply) => {
      const headers = textHeadersOf(reply);
      service.stream(sessionOf(request), reply.raw, {
        headers,
        lastPosition: lastPositionOf(request),
      });
      reply.hijack();
    },
  );
}

/** What GET would answer; it opens no stream and uses up no ticket. */
function addStreamHead(app: FastifyInstance, service: InboxService, authenticate: Check): void {
  app.head(
    STREAM_PATH,
    {
      preHandler: ticketOr(authenticate, service.lookAtTicket),
      schema: { hide: true, querystring: InboxStreamQuery, headers: StreamHeaders },
    },
    async (request, reply) => {
      service.checkStream(sessionOf(request));
      return reply.type('text/event-stream').send();
    },
  );
}

function ticketOr(
  authenticate: Check,
  sessionOfTicket: (ticket: string) => Promise<InboxSession>,
): Check {
  return async (request) => {
    const { ticket } = request.query as InboxStreamQuery;
    if (ticket === undefined) return authenticate(request);
    request.inboxSession = await sessionOfTicket(ticket);
  };
}

function addSocket(app: FastifyInstance, service: InboxService): void {
  app.route({
    method: 'GET',
    url: SOCKET_PATH,
    schema: ofUser({
      operationId: 'openInboxSocket',
      summary: 'Follow an inbox live (WebSocket)',
      description:
        'The first frame is InboxAuthFrame, within 5 seconds; then InboxMarkFrame and InboxPingFrame. Events come as `{"type", "position", "data"}`. The connection ends with code 4401 when the token is not valid or has ended, or when the first frame is no InboxAuthFrame (the reason names the field), with 4410 when the user was removed, with 1008 for what is no JSON object or no frame of this protocol. A reason may have `retry-after-ms`: the time to come back after. With 4410 it has none: do not come back.',
      querystring: NoQuery,
      response: {
        101: { description: 'The protocol is WebSocket from here on.', type: 'null' },
        ...refused(READ, 429),
      },
    }),
    handler: async () => {
      throw new ServiceError('invalid_request', {
        detail: 'This is a WebSocket: connect with ws:// or wss://.',
        errors: [{ path: 'header.upgrade', message: 'must be websocket' }],
      });
    },
    wsHandler: (socket) => service.serve(socket),
  });
}

/** How a route that users call is documented. */
function ofUser<Schema extends { response: Record<number, unknown> }>(schema: Schema) {
  const { schema: shared } = described('read', {
    id: '',
    tag: TAG,
    summary: '',
    response: schema.response,
  });
  return { ...shared, ...schema, response: shared.response, security: [{ inboxToken: [] }] };
}

function tokenCheck(service: InboxService): Check {
  return async (request) => {
    const [scheme, token] = (request.headers.authorization ?? '').split(' ', 2);
    if (scheme?.toLowerCase() !== 'bearer' || !token) {
      throw new ServiceError('unauthorized', {
        detail: 'The Authorization header must be "Bearer <inbox token>".',
        hint: 'Get a token for this user: POST /v1/inbox/tokens with an API key.',
      });
    }
    request.inboxSession = await service.authenticate(token);
  };
}

function sessionOf(request: FastifyRequest): InboxSession {
  if (!request.inboxSession) throw new ServiceError('unauthorized');
  return request.inboxSession;
}

/** The header wins: a client that reconnects by itself repeats the URL it began with. */
function lastPositionOf(request: FastifyRequest): string | undefined {
  const header = request.headers['last-event-id'];
  if (typeof header === 'string' && header !== '') return header;
  return (request.query as InboxStreamQuery).lastEventId;
}

function textHeadersOf(reply: FastifyReply): Record<string, string> {
  return Object.fromEntries(
    Object.entries(reply.getHeaders()).map(([name, value]) => [name, String(value)]),
  );
}

/**
 * Pages of other origins are refused unless they are listed, WebSockets included, where the browser
 * itself would let them in. What sends no Origin is no page.
 */
function originCheck(allowedOrigins: readonly string[]) {
  const allowed = new Set(allowedOrigins.map((origin) => origin.replace(/\/$/, '').toLowerCase()));
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    reply.header('cache-control', 'no-store').header('vary', 'Origin');
    const { origin } = request.headers;
    if (origin === undefined) return;
    if (allowed.has(origin.toLowerCase())) {
      reply.header('access-control-allow-origin', origin);
      reply.header('access-control-expose-headers', 'retry-after');
      return;
    }
    if (URL.parse(origin)?.host === request.host) return;
    throw new ServiceError('forbidden', {
      detail: 'Pages of this origin may not open inboxes here.',
      hint: 'The operator lists the origins that may in the setting inbox.allowedOrigins.',
    });
  };
}

async function preflight(_request: FastifyRequest, reply: FastifyReply): Promise<void> {
  reply.header('access-control-allow-methods', 'GET, POST');
  reply.header('access-control-allow-headers', 'authorization, content-type, last-event-id');
  reply.header('access-control-max-age', PREFLIGHT_SECONDS);
  await reply.code(204).send();
}

/**
 * Only requests for the WebSocket are handed to its library. Others that ask for an upgrade (Java's
 * HTTP client asks for h2c with every request) are answered like any request.
 */
async function addWebSockets(app: FastifyInstance, service: InboxService): Promise<void> {
  const upgrades = new EventEmitter();
  const server = app.server as Server & {
    shouldUpgradeCallback(request: IncomingMessage): boolean;
  };
  server.shouldUpgradeCallback = isForSocket;
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    if (isForSocket(request)) upgrades.emit('upgrade', request, socket, head);
    else socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  });
  await app.register(websocket, {
    options: { server: upgrades as Server, maxPayload: MAX_FRAME_BYTES },
    // The conversation deals with what goes wrong on its socket.
    errorHandler: () => {},
    preClose: async function stop(this: FastifyInstance) {
      await service.stop();
      this.websocketServer.close();
    },
  });
}

function isForSocket({ url = '', headers }: IncomingMessage): boolean {
  return url.split('?', 1)[0] === SOCKET_PATH && headers.upgrade?.toLowerCase() === 'websocket';
}
