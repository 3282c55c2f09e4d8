/** The routes of users and applications on a real store, without queue and delivery. */
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import email from '../../src/adapters/email/adapter.ts';
import inApp from '../../src/adapters/in-app/adapter.ts';
import {
  type ApplicationService,
  createApplicationService,
} from '../../src/application/service.ts';
import { buildApp } from '../../src/http/app.ts';
import { applicationRoutes } from '../../src/http/routes/applications.ts';
import { userRoutes } from '../../src/http/routes/users.ts';
import { openTestInbox } from '../../src/inbox/conformance-setup.ts';
import { createUserService } from '../../src/user/service.ts';
import { adminOf, openTestRecords, type TestRecords } from './records.ts';

export interface Answer {
  status: number;
  headers: Record<string, unknown>;
  // biome-ignore lint/suspicious/noExplicitAny: the test says what it expects of it
  body: any;
}

export interface TestApp extends AsyncDisposable {
  app: FastifyInstance;
  records: TestRecords;
  service: ApplicationService;
  /** A key with every scope of the application `default`. */
  key: string;
  call(
    method: string,
    url: string,
    options?: { key?: string | null; body?: unknown; text?: string; remoteAddress?: string },
  ): Promise<Answer>;
}

export async function openTestApp(): Promise<TestApp> {
  const records = openTestRecords();
  const inbox = await openTestInbox();
  const { clock, applications, users } = records;
  const channels = new Map([email, inApp].map((adapter) => [adapter.channel, adapter] as const));
  const adapters = {
    adapter: (channel: string) => channels.get(channel),
    channels: () => [...channels.keys()],
  };
  const service = createApplicationService({ store: applications, clock });
  const app = await buildApp({
    applications,
    log: pino({ level: 'silent' }),
    routes: [
      userRoutes({ users: createUserService({ users, inboxes: inbox.store, adapters, clock }) }),
      applicationRoutes({ applications: service }),
    ],
    refusal: () => undefined,
    bodyLimitBytes: 1_048_576,
    trustedProxies: [],
    accessLogSampling: 0,
  });
  const { key } = await adminOf(records, clock);
  return {
    app,
    records,
    service,
    key,
    async call(method, url, { key: given = key, body, text, remoteAddress } = {}) {
      const payload = text ?? (body === undefined ? undefined : JSON.stringify(body));
      const response = await app.inject({
        method: method as 'GET',
        url,
        headers: {
          ...(given === null ? {} : { authorization: `Bearer ${given}` }),
          ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(payload === undefined ? {} : { payload }),
        ...(remoteAddress === undefined ? {} : { remoteAddress }),
      });
      return {
        status: response.statusCode,
        headers: response.headers,
        body: response.payload === '' ? undefined : response.json(),
      };
    },
    async [Symbol.asyncDispose]() {
      await app.close();
      await inbox[Symbol.asyncDispose]();
      await records[Symbol.asyncDispose]();
    },
  };
}

/** A problem without what differs from request to request. */
export function problemOf({ status, body }: Answer): Record<string, unknown> {
  const { request_id, ...problem } = body as Record<string, unknown>;
  return { status, ...problem };
}
