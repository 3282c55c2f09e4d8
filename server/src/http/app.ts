/**
 * The HTTP application: how requests are read, checked, refused and answered. It is handed its
 * routes; it knows no store and no queue.
 */
import type { RequestListener, Server } from 'node:http';
import type { Ajv, ValidateFunction } from 'ajv';
import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyRequest,
  type onRequestHookHandler,
} from 'fastify';
import type { Logger } from 'pino';
import type { ApplicationStore } from '../application/application-store.ts';
import { ServiceError } from '../errors.ts';
import { createAjv } from '../json-schema.ts';
import { createAuthentication } from './auth.ts';
import { decodeStrict, parseStrictJson } from './json.ts';
import { addOpenApi } from './openapi.ts';
import { plainNumbers } from './plain-number.ts';
import { errorHandler, QuickRefusal, sendProblem } from './problem.ts';
import {
  answerExpectations,
  clientErrorHandler,
  cutOff,
  isLong,
  isShort,
  keepOpen,
  transferFault,
} from './transfer.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The JSON body as it was sent. */
    bodyText: string;
    /** Path of the route as it was registered, for metrics and logs. */
    pattern: string;
  }
}

export interface AppOptions {
  applications: ApplicationStore;
  log: Logger;
  /** Adds the routes of one resource. */
  routes: ((app: FastifyInstance) => void)[];
  /** Why no new work is taken now; undefined when it is. Called for each request: cheap. */
  refusal: () => ServiceError | undefined;
  bodyLimitBytes: number;
  /** Addresses of proxies whose X-Forwarded-For is believed; none by default. */
  trustedProxies: readonly string[];
  /** Where people reach the service, without a slash at the end; from the requests where nobody said. */
  publicUrl?: string | undefined;
  /** Where requests are counted and timed. */
  measured?: RequestMetrics;
  /** Answers a sampled share of requests to the log; 0 logs none. */
  accessLogSampling: number;
}

/** Slow senders hold a socket no longer than this. Node's own defaults are 60 and 300 s. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const CHECK_INTERVAL_MS = 1_000;
/** Longer than common load balancers keep an idle connection (60 s), so that they close first. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000;

/** In UTF-8 or without a word about it; what other parameters say changes nothing. */
const JSON_TYPE =
  /^application\/(?:[\w.-]+\+)?json\s*(?:;\s*(?:charset="?utf-8"?|(?!charset)[\w-]+=[^;]*)\s*)*$/i;

const PATH_FAULT = new ServiceError('invalid_request', {
  detail: 'The path cannot be read: it is not encoded UTF-8, or too long.',
  errors: [{ path: 'path', message: 'cannot be read' }],
});

export async function buildApp(options: AppOptions): Promise<FastifyInstance> {
  let requests = 0;
  const instance = Math.random().toString(36).slice(2, 8);
  const nextId = (): string => `req_${instance}${(++requests).toString(36)}`;
  const handleError = errorHandler(options.log);
  const app = Fastify({
    logger: false,
    bodyLimit: options.bodyLimitBytes,
    trustProxy: options.trustedProxies.length > 0 ? [...options.trustedProxies] : false,
    genReqId: nextId,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    http: {
      requireHostHeader: false,
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
    },
    // RFC 9110, 9.1: whatever answers GET answers HEAD. A route that must not run for it has one of its own.
    exposeHeadRoutes: true,
    routerOptions: { maxParamLength: 1600, caseSensitive: true },
    clientErrorHandler,
    // What the framework refuses before any route or hook: a path that is no UTF-8, or too long.
    // Not with its own words: they repeat the whole URL, and with it whatever stands in the query.
    frameworkErrors: (_error, _request, reply) => sendProblem(reply, PATH_FAULT),
  });
  if (options.publicUrl !== undefined) app.decorate('publicUrl', options.publicUrl);
  setValidation(app);
  readJson(app);
  app.setErrorHandler((error: FastifyError, request, reply) => {
    keepOpen(request, reply);
    return handleError(error, request, reply);
  });
  app.setNotFoundHandler((request, reply) => {
    keepOpen(request, reply);
    sendProblem(reply, noSuchRoute(request));
  });
  answerExpectations(app.server);
  addRefusal(app, options.refusal);
  refuseEarly(app.server, options, nextId);
  addAdmission(app, options.applications);
  addAfterwards(app, options);
  addOpenApi(app);
  plainNumbers(app);
  await app.register((scope, _options, done) => {
    for (const add of options.routes) add(scope);
    done();
  });
  return app;
}

/** Bodies are taken as they are written; only queries and paths, which are all text, are converted. */
function setValidation(app: FastifyInstance): void {
  const settings = {
    allErrors: true,
    useDefaults: true,
    removeAdditional: false,
    discriminator: false,
  } as const;
  const body = createAjv({ ...settings, coerceTypes: false });
  const text = createAjv({ ...settings, coerceTypes: true });
  let shared = false;
  app.setValidatorCompiler(({ schema, httpPart }) => {
    const ajv = httpPart === 'body' ? body : text;
    return onFirstUse(() => {
      if (!shared) {
        shared = true;
        for (const each of [body, text]) addShared(each, app.getSchemas());
      }
      return ajv.compile(schema as object);
    });
  });
  // Response schemas document; the views that build answers are typed by them. Compiling a
  // serialiser for each of them would take longer than the rest of the start.
  app.setSerializerCompiler(() => JSON.stringify);
}

function addShared(ajv: Ajv, schemas: Record<string, unknown>): void {
  for (const [id, schema] of Object.entries(schemas)) {
    if (!ajv.getSchema(id)) ajv.addSchema(schema as object, id);
  }
}

/** Compiles a check when it is first needed: most routes are not, before the service is ready. */
function onFirstUse(compile: () => ValidateFunction): ValidateFunction {
  let compiled: ValidateFunction | undefined;
  const check = ((data: unknown) => {
    compiled ??= compile();
    const valid = compiled(data) as boolean;
    check.errors = compiled.errors;
    return valid;
  }) as ValidateFunction;
  return check;
}

function readJson(app: FastifyInstance): void {
  app.decorateRequest('bodyText', '');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(JSON_TYPE, { parseAs: 'buffer' }, (request, bytes, done) => {
    try {
      const text = decodeStrict(bytes as Buffer);
      request.bodyText = text;
      done(null, text === '' ? undefined : parseStrictJson(text));
    } catch (error) {
      done(error as Error);
    }
  });
}

/**
 * Takes writes that are refused out of the way of all others, before anything is done for them: a
 * service that is past its capacity has no time for those it refuses. Unusual ones, whose bodies need
 * care, go the usual way and are refused there.
 */
function refuseEarly(
  server: Server,
  { refusal, measured, publicUrl }: AppOptions,
  nextId: () => string,
): void {
  const quick = new QuickRefusal(publicUrl);
  const [handle, ...others] = server.listeners('request') as RequestListener[];
  if (!handle || others.length > 0) throw new Error('the framework listens in another way');
  server.removeListener('request', handle);
  server.on('request', (request, response) => {
    const { method = '', headers } = request;
    const usual = method === 'GET' || method === 'HEAD' || !isShort(headers);
    const refused = usual ? undefined : refusal();
    if (refused === undefined) return handle.call(server, request, response);
    quick.send(response, refused, nextId());
    measured?.('refused', method, response.statusCode, 0);
  });
}

/** What is refused before a body is read; while the service cannot take work, every write. */
function addRefusal(app: FastifyInstance, refusal: AppOptions['refusal']): void {
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-content-type-options', 'nosniff');
    const fault = transferFault(request, reply);
    if (fault !== undefined) return done(fault);
    // The framework would read the body first, of whoever sent it.
    if (request.is404) return done(noSuchRoute(request));
    if (request.method === 'GET' || request.method === 'HEAD') return done();
    done(refusal());
  });
}

/**
 * Who calls, and what for. A hook of each route rather than one for all of them: a request can be
 * asked for its route, but only at the cost of the rest of the hook.
 */
function addAdmission(app: FastifyInstance, applications: ApplicationStore): void {
  const authenticate = createAuthentication(applications);
  app.decorateRequest('caller', null);
  app.decorateRequest('pattern', 'unknown');
  app.addHook('onRoute', (route) => {
    const { url, config: { scope } = {} } = route;
    const admit: onRequestHookHandler = (request, _reply, done) => {
      request.pattern = url;
      if (scope === undefined) return done();
      try {
        authenticate(request, scope);
        done();
      } catch (error) {
        done(error as Error);
      }
    };
    route.onRequest = [admit, ...[route.onRequest ?? []].flat()];
  });
}

/** What happens behind each answer. One hook for all of it: each costs every request its share. */
function addAfterwards(app: FastifyInstance, options: AppOptions): void {
  const { log, accessLogSampling: sampling, measured } = options;
  app.addHook('onResponse', (request, reply, done) => {
    if (isLong(request)) cutOff(request.raw);
    const route = request.pattern;
    measured?.(route, request.method, reply.statusCode, reply.elapsedTime / 1000);
    if (sampling > 0 && (reply.statusCode >= 500 || Math.random() < sampling)) {
      log.info(
        {
          requestId: request.id,
          method: request.method,
          route,
          status: reply.statusCode,
          durationMs: Math.round(reply.elapsedTime * 10) / 10,
          application: request.caller?.application,
        },
        'request',
      );
    }
    done();
  });
}

/** Labelled by the route's pattern, never by what the caller wrote. */
export type RequestMetrics = (
  route: string,
  method: string,
  status: number,
  seconds: number,
) => void;

function noSuchRoute({ method, url }: FastifyRequest): ServiceError {
  return new ServiceError('not_found', { detail: `There is no ${method} ${pathOf(url)}.` });
}

function pathOf(url: string): string {
  const query = url.indexOf('?');
  return (query < 0 ? url : url.slice(0, query)).slice(0, 200);
}
