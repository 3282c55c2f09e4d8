/** A receiver of webhooks that keeps one line per request: what arrived, when, and under which id. */
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Settings with which the service may reach the receiver. */
export const WEBHOOK_ENV = {
  TIDINGS_WEBHOOK_HTTP_ALLOWED_NETWORKS: '127.0.0.0/8',
  TIDINGS_WEBHOOK_HTTP_ALLOW_HTTP: 'true',
} as const;

/** A request for the receiver below; the key travels in the payload and in the metadata. */
export function webhookBody(url: string, key: string): Record<string, unknown> {
  return {
    to: { webhook: url },
    channels: ['webhook'],
    content: { payload: { key } },
    metadata: { key },
  };
}

export interface Arrival {
  key: string;
  /** `webhook-id` */
  messageId: string;
  /** ms of `performance.now` when the request had been read, and when its answer was given out. */
  at: number;
  answeredAt: number;
  status: number;
}

export interface ProviderAnswer {
  status: number;
  headers?: Record<string, string>;
  /** The answer is held back until this resolves. */
  after?: Promise<unknown>;
}

/** A real receiver of webhooks that keeps a line per request and answers as it is told. */
export interface ProviderLedger extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Every request, in the order of arrival. */
  readonly arrivals: readonly Arrival[];
  /** Requests that were answered with 2xx, by key. */
  readonly delivered: ReadonlyMap<string, Arrival[]>;
  /** What it answers from now on. */
  answer(with_: (arrival: Arrival) => ProviderAnswer): void;
}

export async function startProviderLedger(): Promise<ProviderLedger> {
  const arrivals: Arrival[] = [];
  const delivered = new Map<string, Arrival[]>();
  let answerWith: (arrival: Arrival) => ProviderAnswer = () => ({ status: 200 });
  const server = createServer(async (request, response) => {
    const key = await keyOf(request).catch(() => undefined);
    // Cut off by the death of the sender: it has delivered nothing.
    if (key === undefined) return void request.destroy();
    const messageId = String(request.headers['webhook-id']);
    const at = performance.now();
    const arrival: Arrival = { key, messageId, at, answeredAt: at, status: 0 };
    arrivals.push(arrival);
    const { status, headers, after } = answerWith(arrival);
    await after;
    arrival.status = status;
    if (status < 300) delivered.set(key, [...(delivered.get(key) ?? []), arrival]);
    response.writeHead(status, headers).end();
    arrival.answeredAt = performance.now();
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/hook`,
    port,
    arrivals,
    delivered,
    answer(with_) {
      answerWith = with_;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function keyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const { data } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { data: { key: string } };
  return data.key;
}
