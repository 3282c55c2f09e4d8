/**
 * The HTTP application: how requests are read, checked, refused and answered. It is handed its
 * routes; it knows no store and no queue.
 */
import type { IncomingMessage } from 'node:http';
import { Ajv, type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { ApplicationStore } from '../application/application-store.ts';
import { ServiceError } from '../errors.ts';
import { addAuthentication } from './auth.ts';
import { parseStrictJson } from './json.ts';
import { addOpenApi } from './openapi.ts';
import { errorHandler, problemOf, sendProblem } from './problem.ts';

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

const PATH_FAULT = new ServiceError('invalid_request', {
  detail: 'The path cannot be read: it is not encoded UTF-8, or too long.',
  errors: [{ path: 'path', message: 'cannot be read' }],
});

export async function buildApp(options: AppOptions): Promise<FastifyInstance> {
  let requests = 0;
  const instance = Math.random().toString(36).slice(2, 8);
  const handleError = errorHandler(options.log);
  const app = Fastify({
    logger: false,
    bodyLimit: options.bodyLimitBytes,
    trustProxy: options.trustedProxies.length > 0 ? [...options.trustedProxies] : false,
    genReqId: () => `req_${instance}${(++requests).toString(36)}`,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    http: {
      requireHostHeader: false,
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
    },
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 1600, caseSensitive: true },
    clientErrorHandler,
    // What the framework refuses before any route or hook: a path that is no UTF-8, or too long.
    // Not with its own words: they repeat the whole URL, and with it whatever stands in the query.
    frameworkErrors: (_error, _request, reply) => sendProblem(reply, PATH_FAULT),
  });
  setValidation(app);
  readJson(app);
  app.setErrorHandler(handleError);
  app.setNotFoundHandler((request, reply) => {
    sendProblem(
      reply,
      new ServiceError('not_found', {
        detail: `There is no ${request.method} ${pathOf(request.url)}.`,
      }),
    );
  });
  addTransferRules(app);
  addRefusal(app, options.refusal);
  addAuthentication(app, options.applications);
  addAccessLog(app, options);
  if (options.measured) measure(app, options.measured);
  await addOpenApi(app);
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
    strict: false,
    useDefaults: true,
    removeAdditional: false,
    discriminator: false,
  } as const;
  const body = new Ajv({ ...settings, coerceTypes: false });
  const text = new Ajv({ ...settings, coerceTypes: true });
  for (const ajv of [body, text]) (addFormats as unknown as (ajv: Ajv) => void)(ajv);
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
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    /^application\/([a-z.-]+\+)?json\b/,
    { parseAs: 'string' },
    (_request, text, done) => {
      try {
        done(null, text === '' ? undefined : parseStrictJson(text as string));
      } catch (error) {
        done(error as Error);
      }
    },
  );
  app.addHook('onRequest', (request, _reply, done) => {
    const encoding = request.headers['content-encoding'];
    if (encoding === undefined || encoding === 'identity') return done();
    done(Object.assign(new Error('encoded body'), { statusCode: 415 }));
  });
}

/** How long a sender that goes on after its refusal has to read the answer. */
const LINGER_MS = 500;

/** What HTTP allows and two readers could understand differently, or what would be read for nothing. */
/** Connections whose last answer is on its way: what else comes on them gets none. */
const closing = new WeakSet<object>();

function addTransferRules(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    const { 'transfer-encoding': coding, host } = request.headers;
    if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
      reply.header('connection', 'close');
      closing.add(request.raw.socket);
      const fault = { path: 'header.transfer-encoding', message: 'must be chunked or left out' };
      return done(new ServiceError('invalid_request', { errors: [fault] }));
    }
    const { rawHeaders, httpVersion } = request.raw;
    const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host');
    const missing = httpVersion === '1.1' && hosts.length === 0;
    if (missing || hosts.length > 1 || (host !== undefined && !HOST.test(host))) {
      reply.header('connection', 'close');
      const fault = { path: 'header.host', message: 'must be one host, with or without a port' };
      return done(new ServiceError('invalid_request', { errors: [fault] }));
    }
    done();
  });
  app.addHook('onSend', (request, reply, _payload, done) => {
    if (isLong(request)) reply.removeHeader('connection');
    done();
  });
  // A body that was refused before its end is not read to its end: that may never come.
  app.addHook('onResponse', (request, _reply, done) => {
    if (isLong(request)) cutOff(request.raw);
    done();
  });
  app.server.on('checkExpectation', (request, response) => {
    const error = new ServiceError('invalid_request', {
      detail: 'The expectation of the request cannot be met.',
      errors: [{ path: 'header.expect', message: 'must be 100-continue or left out' }],
    });
    const body = JSON.stringify(problemOf(error, 'none', 417));
    response.writeHead(417, { 'content-type': 'application/problem+json', connection: 'close' });
    response.end(body);
    request.socket.once('finish', () => request.socket.destroy());
  });
}

const HOST = /^(\[[0-9a-f:.%]+\]|[^\s/?#@\\:[\]]+)(:\d{1,5})?$/i;
/** What is left of a body up to this long arrives by itself; the connection can stay open. */
const SHORT_BODY_BYTES = 64 * 1024;

/** Whether more of the body is to come than is worth waiting for. */
function isLong({ raw }: FastifyRequest): boolean {
  if (raw.complete) return false;
  const length = Number(raw.headers['content-length'] ?? 0);
  return raw.headers['transfer-encoding'] !== undefined || length > SHORT_BODY_BYTES;
}

/**
 * Ends the connection, reading on for a moment: closing on unread bytes would lose the answer. For the
 * same reason the answer does not say "Connection: close", at which Node would close at once.
 */
function cutOff(message: IncomingMessage): void {
  message.resume();
  message.socket.end();
  setTimeout(() => message.socket.destroy(), LINGER_MS).unref();
}

/** While the service cannot take work, writes are refused before their body is read. */
function addRefusal(app: FastifyInstance, refusal: AppOptions['refusal']): void {
  app.addHook('onRequest', (request, _reply, done) => {
    if (request.method === 'GET' || request.method === 'HEAD') return done();
    done(refusal());
  });
}

function addAccessLog(app: FastifyInstance, { log, accessLogSampling }: AppOptions): void {
  if (accessLogSampling <= 0) return;
  app.addHook('onResponse', (request, reply, done) => {
    if (reply.statusCode >= 500 || Math.random() < accessLogSampling) {
      log.info(
        {
          requestId: request.id,
          method: request.method,
          route: request.routeOptions.url ?? 'unknown',
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

export interface RequestMetrics {
  requests: { inc(labels: { route: string; method: string; status: string }): void };
  duration: { observe(labels: { route: string }, seconds: number): void };
}

/** Labelled by the route's pattern, never by what the caller wrote. */
function measure(app: FastifyInstance, { requests, duration }: RequestMetrics): void {
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'unknown';
    requests.inc({ route, method: request.method, status: String(reply.statusCode) });
    duration.observe({ route }, reply.elapsedTime / 1000);
    done();
  });
}

/** What is not HTTP at all: answered by hand, since there is no request, and closed. */
function clientErrorHandler(error: NodeJS.ErrnoException, socket: IncomingMessage['socket']): void {
  if (error.code === 'ECONNRESET' || !socket.writable || closing.has(socket)) {
    return void socket.destroy();
  }
  const status =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? '408 Request Timeout'
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? '431 Request Header Fields Too Large'
        : '400 Bad Request';
  const body = JSON.stringify({
    type: '/docs/errors#invalid_request',
    title: 'The request is not acceptable HTTP',
    status: Number(status.slice(0, 3)),
    code: 'invalid_request',
    request_id: 'none',
    doc_url: '/docs/errors#invalid_request',
  });
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

function pathOf(url: string): string {
  const query = url.indexOf('?');
  return (query < 0 ? url : url.slice(0, query)).slice(0, 200);
}
