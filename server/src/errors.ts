/**
 * The one error of the service and the one table of its codes.
 *
 * A ServiceError says what happened in the service's own words; it knows nothing of HTTP
 * (http/problem.ts maps `kind` to a status) nor of engines (they translate theirs before
 * an error leaves a port).
 */

export type ErrorKind =
  | 'invalid'
  | 'unauthorized'
  | 'forbidden'
  | 'not_found'
  | 'conflict'
  | 'limited'
  | 'unavailable'
  | 'internal';

interface CodeEntry {
  kind: ErrorKind;
  title: string;
  hint?: string;
}

/** Every code the service can answer with; the documentation prints this table. */
export const ERROR_CODES = {
  invalid_request: { kind: 'invalid', title: 'The request does not fit its schema' },
  invalid_json: { kind: 'invalid', title: 'The body is not acceptable JSON' },
  invalid_recipient: { kind: 'invalid', title: 'The recipient cannot be used' },
  invalid_content: { kind: 'invalid', title: 'The content does not fit its channel' },
  invalid_template: { kind: 'invalid', title: 'The template cannot be used' },
  invalid_data: { kind: 'invalid', title: 'The data does not fit the template' },
  invalid_time: { kind: 'invalid', title: 'A time is not acceptable' },
  invalid_idempotency_key: {
    kind: 'invalid',
    title: 'The Idempotency-Key header is missing or malformed',
    hint: 'Send 1 to 255 visible ASCII characters, for example a UUID.',
  },
  unknown_channel: { kind: 'invalid', title: 'There is no such channel' },
  forbidden_url: {
    kind: 'invalid',
    title: 'The URL is not allowed',
    hint: 'Private, loopback and link-local addresses are refused unless the operator allows their network.',
  },
  idempotency_mismatch: {
    kind: 'invalid',
    title: 'The Idempotency-Key was used before with another request',
    hint: 'Use a new key for a new request.',
  },
  unauthorized: {
    kind: 'unauthorized',
    title: 'The request needs valid credentials',
    hint: 'Send "Authorization: Bearer <API key>".',
  },
  forbidden: { kind: 'forbidden', title: 'The credentials do not allow this' },
  not_found: { kind: 'not_found', title: 'There is no such resource' },
  conflict: { kind: 'conflict', title: 'The resource is not in a state that allows this' },
  already_exists: { kind: 'conflict', title: 'The resource exists already' },
  limited: { kind: 'limited', title: 'Too many requests' },
  overloaded: {
    kind: 'unavailable',
    title: 'The service has more work than it can take just now',
    hint: 'Retry after the time in Retry-After; nothing of this request was kept.',
  },
  store_unavailable: {
    kind: 'unavailable',
    title: 'The store cannot be used just now',
    hint: 'Try again; a request that writes with the same Idempotency-Key, since it may have been kept.',
  },
  store_full: {
    kind: 'unavailable',
    title: 'The disk of the store is full',
    hint: 'The operator must free space; nothing of this request was kept.',
  },
  shutting_down: { kind: 'unavailable', title: 'The service is shutting down' },
  internal: { kind: 'internal', title: 'Something went wrong inside the service' },
} as const satisfies Record<string, CodeEntry>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** One fault of a request: where and what. */
export interface FieldError {
  /** Dotted path from the part of the request: `body.to.email`. */
  path: string;
  message: string;
}

export interface ErrorOptions {
  /** One sentence about this very case. */
  detail?: string;
  errors?: FieldError[];
  hint?: string;
  /** For kinds limited and unavailable: when to try again, in ms from now. */
  retryAfterMs?: number;
  cause?: unknown;
}

export class ServiceError extends Error {
  readonly code: ErrorCode;
  readonly kind: ErrorKind;
  readonly detail: string | undefined;
  readonly errors: FieldError[] | undefined;
  readonly hint: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    const entry: CodeEntry = ERROR_CODES[code];
    super(options.detail ?? entry.title, { cause: options.cause });
    this.name = 'ServiceError';
    this.code = code;
    this.kind = entry.kind;
    this.detail = options.detail;
    this.errors = options.errors;
    this.hint = options.hint ?? entry.hint;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** The error as a plain value that survives a hand-over between threads. */
  toPlain(): PlainError {
    return {
      code: this.code,
      detail: this.detail,
      errors: this.errors,
      hint: this.hint,
      retryAfterMs: this.retryAfterMs,
    };
  }

  static fromPlain(plain: PlainError): ServiceError {
    return new ServiceError(plain.code, plain);
  }
}

export interface PlainError extends Omit<ErrorOptions, 'cause'> {
  code: ErrorCode;
}

/** A request with one or more faulty fields. What two channels find wrong with one field is said once. */
export function invalid(code: ErrorCode, faults: FieldError[], hint?: string): ServiceError {
  const errors = [
    ...new Map(faults.map((fault) => [`${fault.path}: ${fault.message}`, fault])).values(),
  ];
  const detail = errors.map((error) => `${error.path}: ${error.message}`).join('; ');
  return new ServiceError(code, { detail, errors, hint });
}

export function notFound(what: string): ServiceError {
  return new ServiceError('not_found', { detail: `There is no such ${what}.` });
}

/** Any thrown value as a ServiceError; what is not ours becomes `internal` with its cause kept. */
export function asServiceError(error: unknown): ServiceError {
  return error instanceof ServiceError ? error : new ServiceError('internal', { cause: error });
}
