/** The only place that knows HTTP status codes: errors as RFC 9457 problem details. */
import type { ServerResponse } from 'node:http';
import type { Problem } from '@tidings/contracts/problem';
import { Type } from '@tidings/contracts/schema';
import {
  faultMessage,
  pathOfFault,
  type SchemaFault,
  tellingFaults,
} from '@tidings/contracts/schema-fault';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import {
  ERROR_CODES,
  type ErrorCode,
  type ErrorKind,
  type FieldError,
  invalid,
  ServiceError,
} from '../errors.ts';

const STATUS_OF_KIND: Record<ErrorKind, number> = {
  invalid: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  limited: 429,
  unavailable: 503,
  internal: 500,
};

/** Codes whose status is not that of their kind. */
const STATUS_OF_CODE: Partial<Record<ErrorCode, number>> = {
  idempotency_mismatch: 422,
  forbidden_url: 422,
  invalid_template: 422,
  invalid_data: 422,
};

declare module 'fastify' {
  interface FastifyInstance {
    /** Where people reach the service, without a slash at the end; undefined where nobody said. */
    publicUrl?: string;
  }
}

const DOCUMENTATION = '/docs/errors#';
/** What may stand in a link: a name or address of a host, with or without a port. */
const HOST = /^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?$/i;
/** More faults than this in one request help nobody. */
const MAX_ERRORS = 20;

/** Refusals of how a request is sent rather than of what it asks. Their code is `invalid_request`. */
export const TRANSFER_STATUSES = {
  408: {
    title: 'The request did not arrive in time',
    hint: 'Headers have 10 seconds, the whole request 30.',
  },
  413: {
    title: 'The body is larger than the service takes',
    hint: 'The setting http.bodyLimitBytes says how much: 1 MiB unless the operator changed it.',
  },
  415: {
    title: 'The body is not application/json, or is encoded',
    hint: 'Send JSON without Content-Encoding.',
  },
  417: {
    title: 'The expectation of the request cannot be met',
    hint: 'Leave Expect out, or send 100-continue.',
  },
  431: {
    title: 'The headers are larger than the service takes',
    hint: 'Headers and URL together have 16 KiB.',
  },
} as const;

const MEANINGS: Readonly<Record<number, string>> = {
  400: 'The request is not acceptable; `errors` names the fields.',
  401: 'The credentials are missing or not valid.',
  403: 'The credentials do not allow this.',
  404: 'There is no such resource, or it is of another application.',
  409: 'The resource is not in a state that allows this.',
  422: 'The request fits its schema and cannot be done; `code` says why.',
  429: 'Too many requests; `Retry-After` says when to come back.',
  500: 'Something went wrong inside the service.',
  503: 'The service cannot take this just now; `Retry-After` says when to come back.',
};

/** What any request can be refused with. */
const ANY = [400, 408, 415, 417, 431, 500, 503] as const;
export const READ: readonly number[] = [...ANY, 401, 403];
export const WRITE: readonly number[] = [...READ, 413];
/** Without an API key: nothing is forbidden to whoever has what the body asks for. */
export const OPEN_WRITE: readonly number[] = [...ANY, 401, 413];

/** Refusals as the OpenAPI document lists them: those of the kind of operation, and those of its own. */
export function refused(kind: readonly number[], ...own: number[]): Record<number, object> {
  const transfer: Readonly<Record<number, { title: string }>> = TRANSFER_STATUSES;
  return Object.fromEntries(
    [...kind, ...own].map((status) => [
      status,
      {
        description: transfer[status] ? `${transfer[status].title}.` : MEANINGS[status],
        content: { 'application/problem+json': { schema: Type.Ref('Problem') } },
      },
    ]),
  );
}

export function statusOf(error: ServiceError): number {
  return statusOfCode(error.code);
}

export function statusOfCode(code: ErrorCode): number {
  return STATUS_OF_CODE[code] ?? STATUS_OF_KIND[ERROR_CODES[code].kind];
}

/**
 * @param site what `doc_url` begins with, so that it can be pasted anywhere; `type` names the kind of
 *   problem and is the same under every name of the host
 */
export function problemOf(
  error: ServiceError,
  requestId: string,
  status = statusOf(error),
  site = '',
): Problem {
  const documentation = `${DOCUMENTATION}${error.code}`;
  const detail = error.detail ?? sentenceOf(error.errors);
  return {
    type: documentation,
    title: ERROR_CODES[error.code].title,
    status,
    code: error.code,
    ...(detail === undefined ? {} : { detail }),
    ...(error.errors === undefined ? {} : { errors: error.errors.slice(0, MAX_ERRORS) }),
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    request_id: requestId,
    doc_url: `${site}${documentation}`,
  };
}

/** For whoever shows only `detail`: the first fault. */
function sentenceOf([first]: readonly FieldError[] = []): string | undefined {
  return first && `${first.path} ${first.message}.`;
}

/** Empty when the host is not known, or is none that a link should lead to. */
function siteOf(host: string | undefined, protocol: string): string {
  return host !== undefined && HOST.test(host) ? `${protocol}://${host}` : '';
}

export function sendProblem(reply: FastifyReply, error: ServiceError, status?: number): void {
  const { id, server, host, protocol } = reply.request;
  const site = server.publicUrl ?? siteOf(host, protocol);
  const problem = problemOf(error, id, status, site);
  if (error.kind === 'unauthorized') reply.header('www-authenticate', 'Bearer');
  reply.headers(retryHeader(error));
  // Serialised here: a route's response schemas describe its success.
  reply
    .code(problem.status)
    .type('application/problem+json')
    .serializer(JSON.stringify)
    .send(problem);
}

/** In whole seconds, and never at once. */
function retryHeader({ retryAfterMs }: ServiceError): Record<string, string> {
  if (retryAfterMs === undefined) return {};
  return { 'retry-after': String(Math.max(1, Math.ceil(retryAfterMs / 1000))) };
}

/** Answers many requests with the same error: its text is made once, and only the request's id differs. */
export class QuickRefusal {
  readonly #publicUrl: string | undefined;
  #error: ServiceError | undefined;
  #site = '';
  #status = 503;
  #headers: Record<string, string> = {};
  #before = '';
  #after = '';
  /** Without the request's id, which is ASCII. */
  #bytes = 0;

  constructor(publicUrl?: string) {
    this.#publicUrl = publicUrl;
  }

  send(response: ServerResponse, error: ServiceError, requestId: string): void {
    const site = this.#publicUrl ?? siteOf(response.req.headers.host, 'http');
    if (error !== this.#error || site !== this.#site) this.#prepare(error, site);
    const length = this.#bytes + requestId.length;
    response.writeHead(this.#status, { ...this.#headers, 'content-length': length });
    response.end(`${this.#before}${requestId}${this.#after}`);
  }

  #prepare(error: ServiceError, site: string): void {
    const mark = '{request}';
    const text = JSON.stringify(problemOf(error, mark, undefined, site));
    const at = text.indexOf(mark);
    this.#error = error;
    this.#site = site;
    this.#status = statusOf(error);
    this.#before = text.slice(0, at);
    this.#after = text.slice(at + mark.length);
    this.#bytes = Buffer.byteLength(text) - mark.length;
    this.#headers = {
      'content-type': 'application/problem+json',
      'x-content-type-options': 'nosniff',
      ...retryHeader(error),
    };
  }
}

/** Turns whatever a request ended in into a problem; what is not our own is logged and not shown. */
export function errorHandler(log: Logger) {
  return (error: FastifyError, request: FastifyRequest, reply: FastifyReply): void => {
    const { error: known, status } = translate(error, request);
    if (known.kind === 'internal')
      log.error({ err: known.cause ?? error, requestId: request.id }, 'request failed');
    else if (known.kind === 'unavailable')
      log.warn({ code: known.code, requestId: request.id }, 'request refused');
    sendProblem(reply, known, status);
  };
}

function translate(
  error: FastifyError | ServiceError,
  request: FastifyRequest,
): { error: ServiceError; status?: number } {
  if (error instanceof ServiceError) return { error };
  if (error.validation) return { error: validationError(error, request) };
  const status = error.statusCode ?? 500;
  if (status >= 400 && status < 500) return { error: clientError(error, status), status };
  return { error: new ServiceError('internal', { cause: error }) };
}

function clientError(error: FastifyError, status: number): ServiceError {
  if (status === 413) {
    return new ServiceError('invalid_request', {
      detail: `${TRANSFER_STATUSES[413].title}.`,
      errors: [{ path: 'body', message: 'is too large' }],
      hint: TRANSFER_STATUSES[413].hint,
    });
  }
  if (status === 415) {
    return new ServiceError('invalid_request', {
      detail: 'The body must be application/json, without Content-Encoding.',
      errors: [{ path: 'header.content-type', message: 'must be application/json' }],
    });
  }
  return new ServiceError('invalid_request', { detail: error.message });
}

function validationError(error: FastifyError, { query }: FastifyRequest): ServiceError {
  const part = partName(error.validationContext);
  const given = query as Record<string, unknown>;
  const messageOf = (fault: SchemaFault): string => {
    if (part !== 'query') return faultMessage(fault);
    if (fault.keyword === 'additionalProperties') return 'is not a parameter of this request';
    // What is given twice comes as a list, of which the schema says only that it is no such value.
    return Array.isArray(given[String(pathOfFault(fault)[0])])
      ? 'may be given once'
      : faultMessage(fault);
  };
  const faults = tellingFaults((error.validation ?? []) as unknown as SchemaFault[]);
  const errors = faults.map((fault) => ({
    path: [part, ...pathOfFault(fault)].join('.'),
    message: messageOf(fault),
  }));
  const { detail, errors: once } = invalid('invalid_request', errors);
  return new ServiceError('invalid_request', { detail: `${detail}`.slice(0, 1000), errors: once });
}

function partName(context: string | undefined): string {
  if (context === 'querystring') return 'query';
  if (context === 'headers') return 'header';
  return context === 'params' ? 'path' : 'body';
}
