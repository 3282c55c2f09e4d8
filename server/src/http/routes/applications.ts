/** Routes of applications, API keys and sessions. */
import {
  ApiKeyPage,
  ApiKeyParams,
  type Application,
  ApplicationPage,
  type CreateApiKey,
  type CreateApplication,
  type CreateSession,
  ListApiKeysQuery,
  ListApplicationsQuery,
  RevokeApiKeyQuery,
} from '@tidings/contracts/application';
import { Type } from '@tidings/contracts/schema';
import type { FastifyInstance } from 'fastify';
import type { ApplicationService } from '../../application/service.ts';
import { parseId } from '../../id.ts';
import { callerOf } from '../auth.ts';
import { pageOf, readCursor } from '../page.ts';
import { OPEN_WRITE, READ, refused, WRITE } from '../problem.ts';
import { described } from '../route.ts';
import { cursorOf, pageIn, readableQuery } from './query.ts';

const TAG = 'Applications';
/** Anybody may send one, so nobody shall have much of it read. */
const SESSION_BODY_BYTES = 4096;

export function applicationRoutes(deps: {
  applications: ApplicationService;
}): (app: FastifyInstance) => void {
  return (app) => {
    addApplications(app, deps.applications);
    addApiKeys(app, deps.applications);
    addSessions(app, deps.applications);
  };
}

function addApplications(app: FastifyInstance, applications: ApplicationService): void {
  app.get<{ Querystring: ListApplicationsQuery & { limit: number } }>(
    '/v1/applications',
    described('admin', {
      id: 'listApplications',
      tag: TAG,
      summary: 'List applications, newest first',
      querystring: ListApplicationsQuery,
      response: { 200: ApplicationPage, ...refused(READ) },
    }),
    async ({ query: { limit, cursor } }) => {
      const before = readCursor(cursorOf('applications', cursor));
      const rows = await applications.list({ limit: limit + 1, before });
      return pageIn('applications', pageOf(rows, limit, { id: ({ id }) => id, item: shown }));
    },
  );

  app.post<{ Body: CreateApplication }>(
    '/v1/applications',
    described('admin', {
      id: 'createApplication',
      tag: TAG,
      summary: 'Create an application',
      body: Type.Ref('CreateApplication'),
      response: { 201: Type.Ref('Application'), ...refused(WRITE, 409) },
    }),
    async (request, reply) => reply.code(201).send(shown(await applications.create(request.body))),
  );
}

/** An application goes by its key; the number is the store's. */
function shown({ key, name, createdAt }: Application): Application {
  return { key, name, createdAt };
}

function addApiKeys(app: FastifyInstance, applications: ApplicationService): void {
  app.get<{ Querystring: ListApiKeysQuery & { limit: number } }>(
    '/v1/api-keys',
    {
      ...described('manage', {
        id: 'listApiKeys',
        tag: TAG,
        summary: 'List API keys, newest first',
        querystring: ListApiKeysQuery,
        response: { 200: ApiKeyPage, ...refused(READ, 404) },
      }),
      preValidation: readableQuery,
    },
    async (request) => {
      const { limit, cursor, application } = request.query;
      const before = readCursor(cursorOf('api-keys', cursor));
      const page = { application, limit: limit + 1, before };
      const keys = await applications.listKeys(callerOf(request), page);
      return pageIn(
        'api-keys',
        pageOf(keys, limit, {
          id: ({ id }) => parseId('key', id) as number,
          item: (key) => key,
        }),
      );
    },
  );

  app.post<{ Body: CreateApiKey }>(
    '/v1/api-keys',
    described('manage', {
      id: 'createApiKey',
      tag: TAG,
      summary: 'Create an API key',
      description: 'The secret is shown in this answer and never again.',
      body: Type.Ref('CreateApiKey'),
      response: { 201: Type.Ref('CreatedApiKey'), ...refused(WRITE, 404) },
    }),
    async (request, reply) => {
      const created = await applications.createKey(callerOf(request), request.body);
      return reply.code(201).header('cache-control', 'no-store').send(created);
    },
  );

  app.delete<{ Params: { keyId: string }; Querystring: RevokeApiKeyQuery }>(
    '/v1/api-keys/:keyId',
    {
      ...described('manage', {
        id: 'revokeApiKey',
        tag: TAG,
        summary: 'Revoke an API key or end a session',
        description: 'Everywhere within 5 seconds. The key stays in the list.',
        params: ApiKeyParams,
        querystring: RevokeApiKeyQuery,
        response: { 204: Type.Null(), ...refused(WRITE, 404, 409) },
      }),
      preValidation: readableQuery,
    },
    async (request, reply) => {
      const { params, query } = request;
      await applications.revokeKey(callerOf(request), params.keyId, query.application);
      return reply.code(204).send();
    },
  );

  app.get(
    '/v1/whoami',
    described('read', {
      id: 'whoami',
      tag: TAG,
      summary: 'Read what the key of this request is',
      response: { 200: Type.Ref('Whoami'), ...refused(READ, 404) },
    }),
    (request) => applications.whoami(callerOf(request)),
  );
}

/** Open to everybody: the token in the body is the credential. */
function addSessions(app: FastifyInstance, applications: ApplicationService): void {
  const { schema } = described('admin', {
    id: 'createSession',
    tag: TAG,
    summary: 'Exchange the token of a one-time admin link for a session',
    body: Type.Ref('CreateSession'),
    response: { 201: Type.Ref('Session'), ...refused(OPEN_WRITE, 429) },
  });
  app.post<{ Body: CreateSession }>(
    '/v1/sessions',
    { schema: { ...schema, security: [] }, bodyLimit: SESSION_BODY_BYTES },
    async (request, reply) => {
      const session = await applications.createSession(request.body.token, request.ip);
      return reply.code(201).header('cache-control', 'no-store').send(session);
    },
  );
}
