/**
 * Every operation of the API, as /openapi.json lists them, with what the tests know of each: who may
 * call it and a body it takes. An operation that is not described here fails the tests that go
 * through all of them: whoever adds one decides who may call it.
 */
import assert from 'node:assert/strict';
import type { Scope } from '@tidings/contracts/common';
import type { Tidings } from './start.ts';

/** A scope of API keys; the token of a user's inbox; or nothing at all. */
export type Access = Scope | 'user' | 'open';

export interface Operation {
  id: string;
  method: string;
  /** With `{names}`. */
  path: string;
  parameters: Record<string, unknown>[];
  requestBody: Record<string, unknown> | undefined;
  responses: Record<string, unknown>;
  tags: string[];
  summary: string;
  security: Record<string, string[]>[] | undefined;
  access: Access;
  /** A body that fits its schema, where it takes one. */
  body: object | undefined;
}

interface Description {
  access: Access;
  body?: object;
}

const CONTENT = { title: 'Hello', text: 'Your order has shipped.' };
const EMAIL_VERSION = { content: { email: { subject: 'Hi {{ name }}', text: 'Hello' } } };

const DESCRIPTIONS: Record<string, Description> = {
  createNotification: {
    access: 'send',
    body: { to: { email: 'ada@example.com' }, content: CONTENT },
  },
  listNotifications: { access: 'read' },
  getNotification: { access: 'read' },
  editNotification: { access: 'send', body: { priority: 'low' } },
  deleteNotification: { access: 'manage' },
  getTimeline: { access: 'read' },
  cancelNotification: { access: 'send' },
  resendNotification: { access: 'send' },
  getLedger: { access: 'read' },
  listChannels: { access: 'read' },
  listDeadLetters: { access: 'read' },
  redriveDeadLetters: { access: 'manage', body: { messages: ['msg_00000000000'] } },
  listTemplates: { access: 'read' },
  createTemplate: { access: 'manage', body: { key: 'sample', ...EMAIL_VERSION } },
  getTemplate: { access: 'read' },
  editTemplate: { access: 'manage', body: { name: 'Sample' } },
  deleteTemplate: { access: 'manage' },
  listTemplateVersions: { access: 'read' },
  createTemplateVersion: { access: 'manage', body: EMAIL_VERSION },
  getTemplateVersion: { access: 'read' },
  putTemplateVersion: { access: 'manage', body: EMAIL_VERSION },
  publishTemplate: { access: 'manage', body: { version: 1 } },
  previewTemplate: { access: 'read', body: { data: { name: 'Ada' } } },
  listCategories: { access: 'read' },
  getCategory: { access: 'read' },
  putCategory: { access: 'manage', body: { name: 'Sample' } },
  deleteCategory: { access: 'manage' },
  putUser: { access: 'manage', body: { name: 'Ada' } },
  getUser: { access: 'read' },
  deleteUser: { access: 'manage' },
  listUsers: { access: 'read' },
  getPreferences: { access: 'read' },
  putPreferences: { access: 'manage', body: { channels: { email: false } } },
  listApplications: { access: 'admin' },
  createApplication: { access: 'admin', body: { key: 'sample' } },
  listApiKeys: { access: 'manage' },
  // A key can give only what it has.
  createApiKey: { access: 'manage', body: { scopes: ['manage'] } },
  revokeApiKey: { access: 'manage' },
  whoami: { access: 'read' },
  createSession: { access: 'open', body: { token: 'x'.repeat(43) } },
  createWebhookEndpoint: { access: 'manage', body: { url: 'https://hooks.example.com/sample' } },
  listWebhookEndpoints: { access: 'read' },
  getWebhookEndpoint: { access: 'read' },
  updateWebhookEndpoint: { access: 'manage', body: { description: 'Sample' } },
  deleteWebhookEndpoint: { access: 'manage' },
  rotateWebhookSecret: { access: 'manage', body: { keepPreviousForSeconds: 60 } },
  mintInboxToken: { access: 'manage', body: { userId: 'ada' } },
  listInbox: { access: 'user' },
  countInbox: { access: 'user' },
  markInbox: { access: 'user', body: { action: 'read', items: 'all' } },
  mintInboxTicket: { access: 'user' },
  streamInbox: { access: 'user' },
  // Its token comes in the first frame; what is no WebSocket is told so, whoever asks.
  openInboxSocket: { access: 'open' },
};

/** Values for path parameters that name nothing that exists. */
const ABSENT: Record<string, string> = {
  key: 'absent',
  version: '1',
  userId: 'absent',
  keyId: 'key_00000000000',
};

export interface OpenApi {
  openapi: string;
  info: Record<string, unknown>;
  paths: Record<string, Record<string, Record<string, unknown>>>;
  /** What receivers are sent. */
  webhooks: Record<string, { post: Record<string, unknown> }>;
  components: {
    schemas: Record<string, Record<string, unknown>>;
    securitySchemes: Record<string, unknown>;
  };
}

export async function openApiOf(tidings: Tidings): Promise<OpenApi> {
  const answer = await tidings.call('/openapi.json');
  assert.equal(answer.status, 200, answer.text);
  return answer.json<OpenApi>();
}

export function operationsOf({ paths }: OpenApi): Operation[] {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, documented]) => {
      const id = String(documented['operationId']);
      const described = DESCRIPTIONS[id];
      assert.ok(
        described,
        `${id} (${method} ${path}) is not described in test/support/operations.ts`,
      );
      assert.equal(
        documented['requestBody'] !== undefined,
        described.body !== undefined,
        `${id} has a body in one of the document and test/support/operations.ts`,
      );
      return {
        id,
        method: method.toUpperCase(),
        path,
        parameters: (documented['parameters'] ?? []) as Record<string, unknown>[],
        requestBody: documented['requestBody'] as Record<string, unknown> | undefined,
        responses: documented['responses'] as Record<string, unknown>,
        tags: documented['tags'] as string[],
        summary: documented['summary'] as string,
        security: documented['security'] as Record<string, string[]>[] | undefined,
        access: described.access,
        body: described.body,
      };
    }),
  );
  const gone = Object.keys(DESCRIPTIONS).filter((id) => operations.every((one) => one.id !== id));
  assert.deepEqual(gone, [], 'described in test/support/operations.ts, but not in the document');
  return operations;
}

/** The path with values for its parameters; those left out name nothing that exists. */
export function pathOf({ path }: Operation, values: Readonly<Record<string, string>> = {}): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[name] ?? ABSENT[name] ?? absentId(path);
    return encodeURIComponent(value);
  });
}

function absentId(path: string): string {
  return path.includes('/webhook-endpoints/') ? 'whe_00000000000' : 'ntf_00000000000';
}
