/** The routes of templates and categories over real requests, with keys of two applications. */
import { hash, randomBytes } from 'node:crypto';
import type { Scope } from '@tidings/contracts/common';
import { pino } from 'pino';
import { buildApp } from '../../src/http/app.ts';
import { categoryRoutes } from '../../src/http/routes/categories.ts';
import { templateRoutes } from '../../src/http/routes/templates.ts';
import { openTestTemplates } from './templates.ts';

export interface Answer {
  status: number;
  headers: Record<string, unknown>;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: answers of many routes, which the tests look into
  body: any;
  /** Paths of the faults of a refusal. */
  paths: string[];
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
/** A body that is text is sent as it is. */
export type Call = (method: Method, path: string, body?: unknown) => Promise<Answer>;

export interface TemplateApi extends AsyncDisposable {
  /** Every scope of one application. */
  one: Call;
  /** Every scope of another application. */
  other: Call;
  /** Of the first application, with one scope. */
  reader: Call;
  manager: Call;
  sender: Call;
  /** Without a key. */
  stranger: Call;
  /** The routes of templates: `GET /v1/templates/:key`. */
  routes: ReadonlySet<string>;
}

export async function openTemplateApi(): Promise<TemplateApi> {
  const opened = openTestTemplates();
  const { applications, service: templates } = opened;
  const routes = new Set<string>();
  const app = await buildApp({
    applications,
    log: pino({ level: 'silent' }),
    routes: [
      (scope) => {
        scope.addHook('onRoute', ({ method, url }) => {
          if (method !== 'HEAD') routes.add(`${method} ${url}`);
        });
        templateRoutes({ templates })(scope);
      },
      categoryRoutes({ templates }),
    ],
    refusal: () => undefined,
    bodyLimitBytes: 1024 * 1024,
    trustedProxies: [],
    accessLogSampling: 0,
  });
  const [one, other] = [
    await applications.create({ key: 'one', name: 'One' }),
    await applications.create({ key: 'other', name: 'Other' }),
  ];

  async function callerWith(applicationId: number, scopes: Scope[]): Promise<Call> {
    const key = randomBytes(32).toString('hex');
    await applications.createKey({
      ...{ applicationId, name: 'test', kind: 'live', scopes, prefix: key.slice(0, 8) },
      ...{ digest: hash('sha256', key), session: false, expiresAt: null },
    });
    return callAs(`Bearer ${key}`);
  }

  function callAs(authorization?: string): Call {
    return async (method, url, body) => {
      const text = typeof body === 'string' ? body : JSON.stringify(body);
      const answer = await app.inject({
        method,
        url,
        headers: {
          ...(authorization === undefined ? {} : { authorization }),
          ...(text === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(text === undefined ? {} : { payload: text }),
      });
      const read = answer.payload === '' ? null : answer.json();
      const { statusCode: status, headers, payload } = answer;
      const paths = (read?.errors ?? []).map(({ path }: { path: string }) => path);
      return { status, headers, text: payload, body: read, paths };
    };
  }

  return {
    one: await callerWith(one.id, ['read', 'manage']),
    other: await callerWith(other.id, ['read', 'manage']),
    reader: await callerWith(one.id, ['read']),
    manager: await callerWith(one.id, ['manage']),
    sender: await callerWith(one.id, ['send']),
    stranger: callAs(),
    routes: new Set([...routes].filter((route) => route.includes('/v1/templates'))),
    async [Symbol.asyncDispose]() {
      await app.close();
      await opened[Symbol.asyncDispose]();
    },
  };
}
