/** Templates on a records file of their own, with the real service and real channels beside a small one. */

import { Type } from '@tidings/contracts/schema';
import type { CreateTemplate } from '@tidings/contracts/template';
import { defineAdapter } from '../../src/adapters/adapter.ts';
import email from '../../src/adapters/email/adapter.ts';
import webhook from '../../src/adapters/webhook/adapter.ts';
import {
  applicationOperations,
  SqliteApplicationStore,
} from '../../src/database/sqlite/application-store.ts';
import { mergeOperations } from '../../src/database/sqlite/group-writer.ts';
import { RecordCacheGroup } from '../../src/database/sqlite/record-cache.ts';
import {
  SqliteTemplateStore,
  templateOperations,
} from '../../src/database/sqlite/template-store.ts';
import type { Channels } from '../../src/template/content-check.ts';
import { createTemplateService, type TemplateService } from '../../src/template/service.ts';
import { ManualClock } from './manual-clock.ts';
import { openTestFile } from './store.ts';

const closed = { additionalProperties: false } as const;

/** A channel with one of each rule that a schema can have. It lives only here. */
export const chat = defineAdapter({
  channel: 'chat',
  title: 'Chat',
  contentSchema: Type.Object(
    {
      text: Type.String({ minLength: 1, maxLength: 20 }),
      url: Type.Optional(Type.String({ format: 'uri', minLength: 1 })),
      level: Type.Optional(Type.Union([Type.Literal('info'), Type.Literal('warning')])),
      mode: Type.Optional(Type.Enum(['plain', 'rich'])),
      badge: Type.Optional(Type.Integer({ minimum: 0 })),
      blocks: Type.Optional(
        Type.Array(
          Type.Union([
            Type.Object(
              { kind: Type.Literal('text'), text: Type.String({ minLength: 1 }) },
              closed,
            ),
            Type.Object(
              { kind: Type.Literal('link'), href: Type.String({ pattern: '^https://' }) },
              closed,
            ),
          ]),
          { maxItems: 3 },
        ),
      ),
    },
    closed,
  ),
  htmlFields: [],
  parseAddress: (text) => ({ ok: true, address: text, normalized: text }),
  maskAddress: () => '***',
  defaultAddress: 'userId',
  needs: 'a text',
  fromContent: (content) => (content.text === undefined ? undefined : { text: content.text }),
  validate: ({ text, url }) => [
    ...(String(text).includes('!') ? [{ path: 'text', message: 'must not shout' }] : []),
    ...(url === undefined && text === 'see' ? [{ path: 'url', message: 'is needed' }] : []),
  ],
  simulated: { delivered: 'd', temporaryFailure: 't', permanentFailure: 'p' },
});

const channels = new Map([email, webhook, chat].map((adapter) => [adapter.channel, adapter]));
export const adapters: Channels = { get: (channel) => channels.get(channel) };

export interface TestTemplates extends AsyncDisposable {
  applications: SqliteApplicationStore;
  store: SqliteTemplateStore;
  service: TemplateService;
  clock: ManualClock;
  /** A service over the same store with other channels, as after a change of plug-ins. */
  serviceWith(adapters: Channels): TemplateService;
}

export function openTestTemplates(): TestTemplates {
  const clock = new ManualClock();
  const file = openTestFile('records', (database) =>
    mergeOperations(applicationOperations(database, { clock }), templateOperations(database)),
  );
  const database = file.reader();
  const cache = new RecordCacheGroup(database, clock, 0);
  const shared = { database, writer: file.writer, cache };
  const store = new SqliteTemplateStore(shared);
  const serviceWith: TestTemplates['serviceWith'] = (adapters) =>
    createTemplateService({ store, adapters, clock });
  return {
    applications: new SqliteApplicationStore({ ...shared, clock }),
    store,
    clock,
    service: serviceWith(adapters),
    serviceWith,
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
}

/** A template of an email, with what the test says. */
export function emailTemplate(key: string, rest: Partial<CreateTemplate> = {}): CreateTemplate {
  const content = { email: { subject: 'Order {{ order.id }}', text: 'Thank you, {{ name }}.' } };
  return { key, content, ...rest };
}
