/**
 * One POST to an endpoint that nobody trusts: guarded connections, one time limit for everything
 * from resolving the name to the last byte, a bounded answer, no redirects, no proxy. It makes one
 * attempt and says what came of it; what that means for the message is outcome.ts.
 */
import http, {
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
} from 'node:http';
import https from 'node:https';
import { type AddressGuard, AddressNotAllowedError, hostOf } from './address-guard.ts';
import { reasonOfError } from './failure-reason.ts';
import { type ConnectOptions, createGuardedAgents, type GuardedAgents } from './guarded-agent.ts';
import { createHostLimit, type HostLimit } from './host-limit.ts';

/** More of an answer than this is not read: the connection is given up instead. */
export const ANSWER_LIMIT_BYTES = 64 * 1024;

/**
 * Share of the time limit that a request may wait for its place. Behind a receiver that hangs,
 * one that waited longer would be sent only to be given up at once: received, and sent again.
 */
const QUEUE_SHARE = 0.5;

export type Exchange =
  | {
      kind: 'answer';
      status: number;
      headers: IncomingHttpHeaders;
      /** The body, as far as it was read. */
      body: Buffer;
      complete: boolean;
    }
  | {
      kind: 'failure';
      reason: string;
      /** A connection had been opened, so that some of the request may have arrived. */
      written: boolean;
      /** Whether the endpoint or the way to it failed; false when we gave up of ourselves. */
      theirs: boolean;
      /** What is wrong with a certificate, for who has to mend it. */
      detail?: string;
    }
  | { kind: 'refused' }
  /** Its turn came when the endpoint was to be left alone: nothing was sent. */
  | { kind: 'held' };

export interface HttpClient {
  /** @param isHeld asked when the request has its place; left out, it is always sent */
  post(
    url: URL,
    request: PostRequest,
    signal: AbortSignal,
    isHeld?: () => boolean,
  ): Promise<Exchange>;
  /** Ends everything under way. */
  close(): void;
}

export function createHttpClient(options: {
  guard: AddressGuard;
  timeoutMs: number;
  maxConnectionsPerHost: number;
}): HttpClient {
  const { guard, timeoutMs, maxConnectionsPerHost } = options;
  const agents = createGuardedAgents(guard, maxConnectionsPerHost);
  const hosts = createHostLimit(maxConnectionsPerHost);
  const closing = new AbortController();
  const attempts = new Set<Attempt>();
  return {
    async post(url, request, signal, isHeld = () => false) {
      if (signal.aborted) return givenUp(signal);
      if (closing.signal.aborted) return givenUp(closing.signal);
      const attempt = new Attempt(agents, timeoutMs);
      attempts.add(attempt);
      const abort = () => attempt.giveUp(signal);
      signal.addEventListener('abort', abort);
      try {
        return await attempt.run(hosts, url, request, isHeld);
      } finally {
        attempts.delete(attempt);
        signal.removeEventListener('abort', abort);
      }
    },
    close() {
      closing.abort();
      for (const attempt of attempts) attempt.giveUp(closing.signal);
      agents.close();
    },
  };
}

function givenUp(signal: AbortSignal): Exchange {
  return { kind: 'failure', reason: reasonOfAbort(signal), written: false, theirs: false };
}

function reasonOfAbort(signal: AbortSignal): string {
  return (signal.reason as Error | undefined)?.name === 'TimeoutError' ? 'timeout' : 'aborted';
}

interface PostRequest {
  headers: Record<string, string>;
  /** Text, because Node writes head and text together, but head and bytes in two parts. */
  body: string;
}

/** State of one request: waiting for its place, under way, settled with its one Exchange. */
class Attempt {
  readonly #agents: GuardedAgents;
  readonly #timeoutMs: number;
  #request: ClientRequest | undefined;
  #response: IncomingMessage | undefined;
  #stopOpening: (() => void) | undefined;
  #chunks: Buffer[] = [];
  #length = 0;
  #written = false;
  #resolve: ((exchange: Exchange) => void) | undefined;
  #limit: NodeJS.Timeout | undefined;

  constructor(agents: GuardedAgents, timeoutMs: number) {
    this.#agents = agents;
    this.#timeoutMs = timeoutMs;
  }

  async run(
    hosts: HostLimit,
    url: URL,
    request: PostRequest,
    isHeld: () => boolean,
  ): Promise<Exchange> {
    const settled = new Promise<Exchange>((resolve) => {
      this.#resolve = resolve;
    });
    this.#limit = setTimeout(() => this.#expireWaiting(), this.#timeoutMs * QUEUE_SHARE);
    const leave = hosts.take(url.origin, () => {
      if (isHeld()) this.#settle({ kind: 'held' });
      else this.#start(url, request);
    });
    try {
      return await settled;
    } finally {
      // Not earlier: by now the connection is back with the agent, and the next request takes it.
      leave();
      clearTimeout(this.#limit);
    }
  }

  giveUp(signal: AbortSignal): void {
    const reason = reasonOfAbort(signal);
    // The caller's time limit stands for the account's.
    this.#end({ reason, theirs: reason === 'timeout' && this.#written });
  }

  #start(url: URL, { headers, body }: PostRequest): void {
    const options: http.RequestOptions & ConnectOptions = {
      agent: this.#agents.agentOf(url.protocol),
      protocol: url.protocol,
      host: hostOf(url),
      port: url.port,
      path: url.pathname + url.search,
      method: 'POST',
      headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
      opening: (giveUp) => {
        this.#stopOpening = giveUp;
      },
    };
    const request = (url.protocol === 'https:' ? https : http).request(options);
    this.#request = request;
    this.#listen(request);
    request.end(body);
  }

  #listen(request: ClientRequest): void {
    request.on('socket', () => {
      this.#written = true;
    });
    request.on('response', (response) => this.#read(response));
    // We never ask for another protocol; who switches anyway has not answered the request.
    request.on('upgrade', (_response, socket) => {
      socket.destroy();
      this.#end({ reason: 'invalid_response', theirs: true });
    });
    request.on('error', (error) => {
      if (error instanceof AddressNotAllowedError) {
        this.#settle({ kind: 'refused' });
        return;
      }
      const reason = reasonOfError(error);
      // Messages of other errors name addresses, which may tell of the inside.
      const detail = reason === 'tls_failure' ? { detail: error.message } : {};
      this.#end({ reason, theirs: true, ...detail });
    });
  }

  #read(response: IncomingMessage): void {
    this.#response = response;
    response.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk.subarray(0, ANSWER_LIMIT_BYTES - this.#length));
      this.#length += chunk.length;
      if (this.#length >= ANSWER_LIMIT_BYTES) this.#answer(response, false);
    });
    response.on('end', () => this.#answer(response, response.complete));
    response.on('error', () => this.#answer(response, false));
    response.on('close', () => this.#answer(response, response.complete));
  }

  #expireWaiting(): void {
    if (this.#request === undefined) {
      // Waiting behind other requests to the same host says nothing about this one.
      this.#end({ reason: 'connection_limit', theirs: false });
      return;
    }
    const rest = this.#timeoutMs * (1 - QUEUE_SHARE);
    this.#limit = setTimeout(() => this.#end({ reason: 'timeout', theirs: true }), rest);
  }

  /** The status decides, also when the rest of the answer never came. */
  #end(failure: { reason: string; theirs: boolean; detail?: string }): void {
    if (this.#response) this.#answer(this.#response, false);
    else this.#settle({ kind: 'failure', ...failure, written: this.#written });
  }

  #answer(response: IncomingMessage, complete: boolean): void {
    this.#settle({
      kind: 'answer',
      status: response.statusCode ?? 0,
      headers: response.headers,
      body: Buffer.concat(this.#chunks),
      complete,
    });
  }

  #settle(exchange: Exchange): void {
    const resolve = this.#resolve;
    if (resolve === undefined) return;
    this.#resolve = undefined;
    // A connection that has carried the whole request and the whole answer goes back to the agent;
    // any other is closed.
    const whole = exchange.kind === 'answer' && exchange.complete;
    if (!whole || this.#request?.writableFinished !== true) {
      this.#request?.destroy();
      this.#stopOpening?.();
    }
    resolve(exchange);
  }
}
