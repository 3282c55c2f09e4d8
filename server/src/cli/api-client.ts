/**
 * The API as the command calls it: with a time limit, and with retries where a repeated request
 * cannot do harm, that is for methods that are idempotent and for requests with an idempotency key.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ApiFailure, ConnectionFailure, codeOf } from './api-failure.ts';
import { CommandFailure, EXIT } from './exit.ts';

export interface ApiClientOptions {
  /** Where the service is, without a slash at the end. */
  url: string;
  /** Undefined for what is open to everybody. */
  key: string | undefined;
  /** For one request with all its retries. */
  timeoutMs: number;
  retries?: number;
  /** Ends what is under way. */
  signal?: AbortSignal;
}

export interface ApiRequest {
  query?: Readonly<Record<string, string | number | undefined>>;
  body?: unknown;
  idempotencyKey?: string;
  /** Longer than usual, for a request that waits at the service. */
  extraMs?: number;
  retries?: number;
}

export interface ApiAnswer<Body> {
  status: number;
  headers: Headers;
  body: Body;
  /** The body as it came. */
  text: string;
}

const RETRIES = 4;
const FIRST_DELAY_MS = 200;
const LONGEST_DELAY_MS = 5_000;
/** Proxies answer 502 and 504 for a service that is being restarted. */
const RETRIED = new Set([429, 502, 503, 504]);
const IDEMPOTENT = new Set(['GET', 'PUT', 'DELETE']);
/** What trying again does not mend. */
const LASTING =
  /^(ENOTFOUND|ERR_TLS_|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_SSL_|ERR_INVALID_)/;

export class ApiClient {
  readonly url: string;
  readonly #options: ApiClientOptions;

  constructor(options: ApiClientOptions) {
    this.url = options.url;
    this.#options = options;
  }

  get<Body>(path: string, request?: ApiRequest): Promise<ApiAnswer<Body>> {
    return this.call('GET', path, request);
  }

  post<Body>(path: string, request?: ApiRequest): Promise<ApiAnswer<Body>> {
    return this.call('POST', path, request);
  }

  put<Body>(path: string, request?: ApiRequest): Promise<ApiAnswer<Body>> {
    return this.call('PUT', path, request);
  }

  patch<Body>(path: string, request?: ApiRequest): Promise<ApiAnswer<Body>> {
    return this.call('PATCH', path, request);
  }

  delete(path: string, request?: ApiRequest): Promise<ApiAnswer<undefined>> {
    return this.call('DELETE', path, request);
  }

  /** @throws ApiFailure, ConnectionFailure, or CommandFailure with EXIT.timeout */
  async call<Body>(
    method: string,
    path: string,
    request: ApiRequest = {},
  ): Promise<ApiAnswer<Body>> {
    const { timeoutMs } = this.#options;
    const deadline = performance.now() + timeoutMs + (request.extraMs ?? 0);
    const repeatable = IDEMPOTENT.has(method) || request.idempotencyKey !== undefined;
    const retries = repeatable ? (request.retries ?? this.#options.retries ?? RETRIES) : 0;
    let uncertain = false;
    for (let attempt = 0; ; attempt++) {
      let failure: CommandFailure;
      let waitMs =
        Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt) * (0.5 + Math.random());
      try {
        const answer = await this.#once<Body>(method, path, request, deadline);
        if (answer.status >= 200 && answer.status < 300) return answer;
        // The first try of this very request may be why there is nothing left to remove.
        if (method === 'DELETE' && answer.status === 404 && uncertain) return answer;
        failure = new ApiFailure(answer.status, answer.text, this.url + path);
        if (!RETRIED.has(answer.status)) throw failure;
        waitMs = Math.max(waitMs, retryAfterMs(answer.headers));
      } catch (error) {
        if (!(error instanceof ConnectionFailure) || LASTING.test(codeOf(error.cause))) throw error;
        failure = error;
      }
      uncertain = true;
      if (attempt >= retries || performance.now() + waitMs >= deadline) throw failure;
      await delay(waitMs, undefined, { signal: this.#options.signal });
    }
  }

  async #once<Body>(
    method: string,
    path: string,
    { query, body, idempotencyKey }: ApiRequest,
    deadline: number,
  ): Promise<ApiAnswer<Body>> {
    const { key, signal } = this.#options;
    const timeout = AbortSignal.timeout(Math.max(1, Math.ceil(deadline - performance.now())));
    try {
      const response = await fetch(`${this.url}${path}${queryText(query)}`, {
        method,
        // Elsewhere the key would be a stranger's.
        redirect: 'manual',
        headers: {
          accept: 'application/json',
          ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: signal ? AbortSignal.any([timeout, signal]) : timeout,
      });
      const text = await response.text();
      const { status, headers } = response;
      return { status, headers, text, body: bodyOf<Body>(status, headers, text, this.url + path) };
    } catch (error) {
      if (error instanceof CommandFailure || signal?.aborted) throw error;
      if (timeout.aborted) {
        throw new CommandFailure(EXIT.timeout, `${this.url} did not answer in time`, [
          'Whether the request was carried out is not known. --timeout allows more time.',
        ]);
      }
      throw Object.assign(new ConnectionFailure(this.url, error), { cause: error });
    }
  }

  /** Every item of a list, page by page. `from` is the cursor to begin at. */
  async *pages<Item>(
    path: string,
    { query, pageSize = 200, limit = Number.POSITIVE_INFINITY, from }: PagesOptions = {},
  ): AsyncGenerator<Page<Item>> {
    let cursor = from;
    let left = limit;
    do {
      const size = Math.min(pageSize, left);
      const { body } = await this.get<Page<Item>>(path, {
        query: { ...query, limit: size, cursor },
      });
      yield body;
      left -= body.items.length;
      cursor = body.next ?? undefined;
    } while (cursor !== undefined && left > 0);
  }
}

export interface Page<Item> {
  items: Item[];
  next: string | null;
}

export interface PagesOptions {
  query?: ApiRequest['query'];
  pageSize?: number;
  /** Most items in all. */
  limit?: number;
  from?: string;
}

function queryText(query: ApiRequest['query'] = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  return parameters.size === 0 ? '' : `?${parameters}`;
}

function bodyOf<Body>(status: number, headers: Headers, text: string, url: string): Body {
  const isJson = /^application\/([a-z.-]+\+)?json\b/.test(headers.get('content-type') ?? '');
  if (isJson && text !== '') {
    try {
      return JSON.parse(text) as Body;
    } catch {
      throw new CommandFailure(EXIT.failed, `${url} answered something that is not JSON`);
    }
  }
  // A page where an answer should be: some other server listens there.
  if (status === 200 && /^text\/html\b/.test(headers.get('content-type') ?? '')) {
    throw new CommandFailure(EXIT.failed, `${url} answered a web page, and not as Tidings does`);
  }
  return (text === '' ? undefined : text) as Body;
}

function retryAfterMs(headers: Headers): number {
  const text = headers.get('retry-after');
  if (text === null) return 0;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? 0 : Math.max(0, ms);
}
