/** The OpenAPI document, generated from the schemas the routes are checked with, and its reference. */
import * as application from '@tidings/contracts/application';
import * as content from '@tidings/contracts/content';
import * as inbox from '@tidings/contracts/inbox';
import * as notification from '@tidings/contracts/notification';
import * as problem from '@tidings/contracts/problem';
import * as template from '@tidings/contracts/template';
import * as user from '@tidings/contracts/user';
import * as webhookEndpoint from '@tidings/contracts/webhook-endpoint';
import * as webhookMessage from '@tidings/contracts/webhook-message';
import Fastify, { type FastifyInstance, type RouteOptions } from 'fastify';

const CONTRACTS = [
  problem,
  content,
  notification,
  template,
  user,
  application,
  webhookEndpoint,
  webhookMessage,
  inbox,
];

/** Adds every named schema of the contracts, so that routes refer to them and the document names them. */
export function addOpenApi(app: FastifyInstance): void {
  addContracts(app);
  const routes: RouteOptions[] = [];
  app.addHook('onRoute', (route) => {
    routes.push(route);
  });
  let document: Promise<object> | undefined;
  app.get('/openapi.json', { schema: { hide: true } }, () => {
    document ??= describe(routes);
    return document;
  });
}

function addContracts(app: FastifyInstance): void {
  for (const module of CONTRACTS) {
    for (const schema of Object.values(module)) {
      if (typeof schema === 'object' && '$id' in schema) app.addSchema(schema as { $id: string });
    }
  }
}

/** What is sent to webhook endpoints, as requests that a receiver answers. */
const WEBHOOKS = {
  message: {
    post: {
      operationId: 'receiveMessage',
      tags: ['Webhook endpoints'],
      summary: 'A message, as a signed request to a webhook endpoint',
      security: [],
      parameters: Object.entries(webhookMessage.WebhookHeaders.properties).map(
        ([name, schema]) => ({ name, in: 'header' as const, required: true, schema }),
      ),
      requestBody: {
        required: true,
        content: {
          'application/json': { schema: { $ref: '#/components/schemas/WebhookMessage' } },
        },
      },
      responses: Object.fromEntries(
        Object.entries(webhookMessage.WEBHOOK_ANSWERS).map(([status, description]) => [
          status,
          { description },
        ]),
      ),
    },
  },
};

/**
 * The document of these routes. Made when somebody first asks for it, from an application that has
 * the same routes and answers nobody: what draws it takes more memory than all routes, and the
 * document is read by few.
 */
async function describe(routes: readonly RouteOptions[]): Promise<object> {
  const { default: swagger } = await import('@fastify/swagger');
  await using drawn = Fastify({ exposeHeadRoutes: false });
  // Nothing is checked or answered here.
  drawn.setValidatorCompiler(() => () => true);
  drawn.setSerializerCompiler(() => JSON.stringify);
  addContracts(drawn);
  await drawn.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Tidings',
        version: '1',
        description: 'One service through which every system of an enterprise reaches people.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: '/' }],
      webhooks: WEBHOOKS,
      components: {
        securitySchemes: {
          apiKey: { type: 'http', scheme: 'bearer', description: 'An API key of an application.' },
          inboxToken: {
            type: 'http',
            scheme: 'bearer',
            description: 'A token of one user, from `POST /v1/inbox/tokens`.',
          },
        },
      },
    },
    refResolver: {
      buildLocalReference: (json, _base, _fragment, i) =>
        (json['$id'] as string | undefined) ?? `schema${i}`,
    },
  });
  for (const { method, url, schema } of routes) {
    drawn.route({ method, url, schema, handler: () => undefined });
  }
  await drawn.ready();
  return drawn.swagger();
}
