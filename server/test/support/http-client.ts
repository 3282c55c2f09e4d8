/**
 * A small HTTP client for tests that must know what became of each request: an answer, or an error
 * that says nothing about whether the request was taken. It never retries and never follows.
 * Loopback only.
 */
import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';

export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** The body as JSON; throws when it is none. */
  json<Body = Record<string, unknown>>(): Body;
}

export interface HttpCall {
  method?: string;
  headers?: Record<string, string>;
  /** Sent as JSON. */
  body?: unknown;
  timeoutMs?: number;
}

/** Beyond what any answer may take, `wait=30s` included; it only ends tests that hang. */
const TIMEOUT_MS = 60_000;

export class HttpClient implements Disposable {
  readonly #agent: Agent;

  constructor(connections = 64) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections, scheduling: 'fifo' });
  }

  /** @throws the socket's error; the request may have been taken all the same */
  call(url: string, { method, headers, body, timeoutMs }: HttpCall = {}): Promise<HttpAnswer> {
    const { hostname, port, pathname, search } = new URL(url);
    if (hostname !== '127.0.0.1') throw new Error(`${url} is not on the loopback interface`);
    const text = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const request = httpRequest({
        agent: this.#agent,
        host: hostname,
        port,
        path: pathname + search,
        method: method ?? (text === undefined ? 'GET' : 'POST'),
        headers: {
          ...headers,
          ...(text === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
        },
        timeout: timeoutMs ?? TIMEOUT_MS,
      });
      request.on('timeout', () => request.destroy(new Error(`no answer from ${url} in time`)));
      request.on('error', reject);
      request.on('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('close', () => {
          if (!response.complete) return reject(new Error(`the answer of ${url} was cut off`));
          const answer = Buffer.concat(chunks).toString('utf8');
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text: answer,
            json: <Body>() => JSON.parse(answer) as Body,
          });
        });
      });
      request.end(text);
    });
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}
