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
import { createGuardedAgents, type GuardedAgents } from './guarded-agent.ts';

/** More of an answer than this is not read: the connection is given up instead. */
export const ANSWER_LIMIT_BYTES = 64 * 1024;

/**
 * Share of the time limit that a request may wait for a connection. Behind a receiver that hangs,
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
    }
  | { kind: 'refused' };

export interface HttpClient {
  post(
    url: URL,
    request: { headers: Record<string, string>; body: Buffer },
    signal: AbortSignal,
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
  const agents = createGuardedAgents({ guard, maxConnectionsPerHost, connectTimeoutMs: timeoutMs });
  const closing = new AbortController();
  const attempts = new Set<Attempt>();
  return {
    async post(url, request, signal) {
      if (signal.aborted) return givenUp(signal);
      if (closing.signal.aborted) return givenUp(closing.signal);
      const attempt = new Attempt(agents, timeoutMs);
      attempts.add(attempt);
      try {
        return await attempt.run(url, request, signal);
      } finally {
        attempts.delete(attempt);
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

/** State of one request, from `run` to the one Exchange it resolves with. */
class Attempt {
  readonly #agents: GuardedAgents;
  readonly #timeoutMs: number;
  #request: ClientRequest | undefined;
  #response: IncomingMessage | undefined;
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
    url: URL,
    { headers, body }: { headers: Record<string, string>; body: Buffer },
    signal: AbortSignal,
  ): Promise<Exchange> {
    this.#limit = setTimeout(() => this.#expireInQueue(), this.#timeoutMs * QUEUE_SHARE);
    const abort = () => this.giveUp(signal);
    signal.addEventListener('abort', abort);
    try {
      return await new Promise((resolve) => {
        this.#resolve = resolve;
        const request = (url.protocol === 'https:' ? https : http).request({
          agent: this.#agents.agentOf(url.protocol),
          protocol: url.protocol,
          host: hostOf(url),
          port: url.port,
          path: url.pathname + url.search,
          method: 'POST',
          headers: { ...headers, 'content-length': String(body.length) },
        });
        this.#request = request;
        this.#listen(request);
        request.end(body);
      });
    } finally {
      clearTimeout(this.#limit);
      signal.removeEventListener('abort', abort);
    }
  }

  giveUp(signal: AbortSignal): void {
    const reason = reasonOfAbort(signal);
    // The caller's time limit stands for the account's.
    this.#end({ reason, theirs: reason === 'timeout' && this.#written });
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
      if (error instanceof AddressNotAllowedError) this.#settle({ kind: 'refused' });
      else this.#end({ reason: reasonOfError(error), theirs: true });
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

  /** Waiting behind other requests to the same host says nothing about this one. */
  #expireInQueue(): void {
    if (this.#isQueued()) {
      this.#end({ reason: 'connection_limit', theirs: false });
      return;
    }
    const rest = this.#timeoutMs * (1 - QUEUE_SHARE);
    this.#limit = setTimeout(() => this.#end({ reason: 'timeout', theirs: true }), rest);
  }

  #isQueued(): boolean {
    const request = this.#request;
    if (request === undefined || this.#written) return false;
    const queues = Object.values(this.#agents.agentOf(request.protocol).requests);
    return queues.some((queue) => (queue as unknown[] | undefined)?.includes(request));
  }

  /** The status decides, also when the rest of the answer never came. */
  #end(failure: { reason: string; theirs: boolean }): void {
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
    // A connection whose answer was read to its end goes back to the agent; any other is closed.
    if (exchange.kind !== 'answer' || !exchange.complete) this.#request?.destroy();
    resolve(exchange);
  }
}
