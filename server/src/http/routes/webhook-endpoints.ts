/** Routes of webhook endpoints. */

import { Type } from '@tidings/contracts/schema';
import {
  type CreateWebhookEndpoint,
  type EditWebhookEndpoint,
  ListWebhookEndpointsQuery,
  type RotateWebhookSecret,
  type WebhookEndpoint,
  WebhookEndpointPage,
  WebhookEndpointParams,
  type WebhookEndpointWithSecret,
} from '@tidings/contracts/webhook-endpoint';
import type { FastifyInstance } from 'fastify';
import { parseId } from '../../id.ts';
import { callerOf } from '../auth.ts';
import { pageOf, readCursor } from '../page.ts';
import { READ, refused, WRITE } from '../problem.ts';
import { described } from '../route.ts';
import { cursorOf, pageIn } from './query.ts';

const TAG = 'Webhook endpoints';

/**
 * What the routes need; stated here because http knows no channel. Methods with an id answer
 * `not_found` for one that is unknown, malformed or another application's.
 */
export interface WebhookEndpoints {
  create(applicationId: number, input: CreateWebhookEndpoint): Promise<WebhookEndpointWithSecret>;
  /** Newest first. */
  list(
    applicationId: number,
    page: { limit: number; before: number | null },
  ): Promise<WebhookEndpoint[]>;
  get(applicationId: number, id: string): Promise<WebhookEndpoint>;
  update(applicationId: number, id: string, change: EditWebhookEndpoint): Promise<WebhookEndpoint>;
  delete(applicationId: number, id: string): Promise<void>;
  rotateSecret(
    applicationId: number,
    id: string,
    input: RotateWebhookSecret,
  ): Promise<WebhookEndpointWithSecret>;
}

export function webhookEndpointRoutes(deps: {
  webhookEndpoints: WebhookEndpoints;
}): (app: FastifyInstance) => void {
  return (app) => {
    addCollection(app, deps.webhookEndpoints);
    addSingle(app, deps.webhookEndpoints);
    addRotation(app, deps.webhookEndpoints);
  };
}

function addCollection(app: FastifyInstance, endpoints: WebhookEndpoints): void {
  app.post<{ Body: CreateWebhookEndpoint }>(
    '/v1/webhook-endpoints',
    described('manage', {
      id: 'createWebhookEndpoint',
      tag: TAG,
      summary: 'Create a webhook endpoint',
      description:
        'The answer is the only one that shows the secret; requests to the endpoint are signed with it by the Standard Webhooks scheme.',
      body: Type.Ref('CreateWebhookEndpoint'),
      response: { 201: Type.Ref('WebhookEndpointWithSecret'), ...refused(WRITE, 409, 422) },
    }),
    async (request, reply) => {
      const { applicationId } = callerOf(request);
      return reply.code(201).send(await endpoints.create(applicationId, request.body));
    },
  );

  app.get<{ Querystring: ListWebhookEndpointsQuery & { limit: number } }>(
    '/v1/webhook-endpoints',
    described('read', {
      id: 'listWebhookEndpoints',
      tag: TAG,
      summary: 'List webhook endpoints, newest first',
      querystring: ListWebhookEndpointsQuery,
      response: { 200: WebhookEndpointPage, ...refused(READ) },
    }),
    async (request) => {
      const { limit, cursor } = request.query;
      const before = readCursor(cursorOf('webhook-endpoints', cursor));
      const page = { limit: limit + 1, before };
      const found = await endpoints.list(callerOf(request).applicationId, page);
      return pageIn(
        'webhook-endpoints',
        pageOf(found, limit, {
          id: ({ id }) => parseId('whe', id) as number,
          item: (endpoint) => endpoint,
        }),
      );
    },
  );
}

function addSingle(app: FastifyInstance, endpoints: WebhookEndpoints): void {
  app.get<{ Params: WebhookEndpointParams }>(
    '/v1/webhook-endpoints/:id',
    described('read', {
      id: 'getWebhookEndpoint',
      tag: TAG,
      summary: 'Get a webhook endpoint',
      params: WebhookEndpointParams,
      response: { 200: Type.Ref('WebhookEndpoint'), ...refused(READ, 404) },
    }),
    async (request) => endpoints.get(callerOf(request).applicationId, request.params.id),
  );

  app.patch<{ Params: WebhookEndpointParams; Body: EditWebhookEndpoint }>(
    '/v1/webhook-endpoints/:id',
    described('manage', {
      id: 'updateWebhookEndpoint',
      tag: TAG,
      summary: 'Change, enable or disable a webhook endpoint',
      params: WebhookEndpointParams,
      body: Type.Ref('EditWebhookEndpoint'),
      response: { 200: Type.Ref('WebhookEndpoint'), ...refused(WRITE, 404, 409, 422) },
    }),
    async (request) =>
      endpoints.update(callerOf(request).applicationId, request.params.id, request.body),
  );

  app.delete<{ Params: WebhookEndpointParams }>(
    '/v1/webhook-endpoints/:id',
    described('manage', {
      id: 'deleteWebhookEndpoint',
      tag: TAG,
      summary: 'Delete a webhook endpoint',
      description:
        'Messages on their way to it are rejected; those to its bare URL make a new one.',
      params: WebhookEndpointParams,
      response: { 204: Type.Null({ description: 'It is gone.' }), ...refused(WRITE, 404) },
    }),
    async (request, reply) => {
      await endpoints.delete(callerOf(request).applicationId, request.params.id);
      return reply.code(204).send(null);
    },
  );
}

function addRotation(app: FastifyInstance, endpoints: WebhookEndpoints): void {
  app.post<{ Params: WebhookEndpointParams; Body: RotateWebhookSecret }>(
    '/v1/webhook-endpoints/:id/rotate-secret',
    {
      ...described('manage', {
        id: 'rotateWebhookSecret',
        tag: TAG,
        summary: 'Give a webhook endpoint a new secret',
        description:
          'The answer is the only one that shows the secret. Until `keepPreviousForSeconds` have passed the secrets before it sign as well, so that the receiver can change over.',
        params: WebhookEndpointParams,
        body: Type.Ref('RotateWebhookSecret'),
        response: { 200: Type.Ref('WebhookEndpointWithSecret'), ...refused(WRITE, 404) },
      }),
      // Everything in the body has a default, so it may be left out as a whole.
      preValidation: (request, _reply, done) => {
        request.body ??= {};
        done();
      },
    },
    async (request) =>
      endpoints.rotateSecret(callerOf(request).applicationId, request.params.id, request.body),
  );
}
