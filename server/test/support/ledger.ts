/**
 * The client's ledger (what it was told about each key) against the provider's (what arrived), in
 * the classes that Jepsen uses for queues:
 *
 *   lost        acknowledged, but never delivered                        must be none
 *   unexpected  delivered, though never sent or refused for certain      must be none
 *   split       one key became more than one message                     must be none
 *   recovered   no answer was seen, but it was delivered                 allowed
 *   duplicated  delivered more than once under one message id            bounded by each test
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Accepted, Ledger, Notification } from '@tidings/contracts/notification';
import { type HttpAnswer, HttpClient } from './http-client.ts';
import type { Tidings } from './start.ts';
import { delay, until } from './within.ts';

export type EntryState =
  /** The first request has not been answered yet. */
  | 'under way'
  /** A 2xx answer: it must be kept. */
  | 'acked'
  /** An answer that says it was not kept, or no connection at all. */
  | 'refused'
  /** No answer, or one that leaves it open. */
  | 'unknown';

export interface Entry {
  key: string;
  state: EntryState;
  notificationId?: string;
  messageId?: string;
  /** Requests made with this key. */
  sends: number;
  status?: number;
  /** Of the problem document. */
  code?: string;
  retryAfter?: string;
  /** When the last request was sent and answered, in ms of `performance.now`. */
  sentAt: number;
  endedAt: number;
}

export interface ClientLedgerOptions {
  tidings: Pick<Tidings, 'url' | 'key'>;
  /** The body of the request of a key. */
  body: (key: string) => unknown;
  /** Left out, `/v1/notifications`; with `?wait=…` it answers when the message has ended. */
  path?: string;
  /** Begins each key, so that runs and ledgers do not meet. */
  name?: string;
  connections?: number;
}

export class ClientLedger implements Disposable {
  readonly entries = new Map<string, Entry>();
  readonly #options: ClientLedgerOptions;
  readonly #client: HttpClient;
  #number = 0;
  #inFlight = 0;

  constructor(options: ClientLedgerOptions) {
    this.#options = options;
    this.#client = new HttpClient(options.connections ?? 64);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  of(state: EntryState): Entry[] {
    return [...this.entries.values()].filter((entry) => entry.state === state);
  }

  nextKey(): string {
    return `${this.#options.name ?? 'k'}-${++this.#number}`;
  }

  /** One request; its entry tells what came of it. Never throws. */
  async send(key = this.nextKey()): Promise<Entry> {
    const { tidings, body, path = '/v1/notifications' } = this.#options;
    const entry = this.entries.get(key) ?? newEntry(key);
    this.entries.set(key, entry);
    const before = entry.state;
    entry.sends++;
    entry.sentAt = performance.now();
    this.#inFlight++;
    try {
      const answer = await this.#client.call(`${tidings.url}${path}`, {
        headers: { authorization: `Bearer ${tidings.key}`, 'idempotency-key': key },
        body: body(key),
      });
      record(entry, answer);
    } catch (error) {
      delete entry.status;
      const { code } = error as NodeJS.ErrnoException;
      entry.code = code ?? (error as Error).message;
      entry.state = code === 'ECONNREFUSED' ? 'refused' : 'unknown';
    } finally {
      this.#inFlight--;
      entry.endedAt = performance.now();
    }
    // A later refusal takes nothing back.
    if (before === 'acked') entry.state = 'acked';
    else if (before === 'unknown' && entry.state === 'refused') entry.state = 'unknown';
    return entry;
  }

  /** Resolves when no request is under way. */
  async idle(): Promise<void> {
    await until('the end of all requests', () => this.#inFlight === 0);
  }

  /**
   * Sends on a fixed schedule until the promise resolves, and waits for the answers. At most
   * `maxInFlight` are under way; while `paused` says so none is begun, and none is made up for.
   */
  async sendUntil(
    end: Promise<unknown>,
    {
      ratePerSecond,
      maxInFlight = 1000,
      paused = () => false,
    }: { ratePerSecond: number; maxInFlight?: number; paused?: () => boolean },
  ): Promise<void> {
    let over = false;
    const finish = (): void => {
      over = true;
    };
    end.then(finish, finish);
    const underWay = new Set<Promise<unknown>>();
    let due = 0;
    let last = performance.now();
    while (!over) {
      const now = performance.now();
      if (!paused()) due += ((now - last) / 1000) * ratePerSecond;
      last = now;
      for (; due >= 1; due--) {
        if (underWay.size >= maxInFlight) continue;
        const sent: Promise<unknown> = this.send().finally(() => underWay.delete(sent));
        underWay.add(sent);
      }
      await delay(2);
    }
    await Promise.all(underWay);
  }

  /** Sends what is unknown again, with the same keys, until each is answered for certain. */
  async retryUnknown({ seconds = 60, width = 32 } = {}): Promise<void> {
    const queue = this.of('unknown');
    const end = performance.now() + seconds * 1000;
    const work = async (): Promise<void> => {
      for (let entry = queue.pop(); entry; entry = queue.pop()) {
        while ((await this.send(entry.key)).state === 'unknown') {
          if (performance.now() > end)
            throw new Error(`${entry.key} stays unknown (${entry.code})`);
          await delay(100);
        }
      }
    };
    await Promise.all(Array.from({ length: width }, work));
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}

function newEntry(key: string): Entry {
  return { key, state: 'under way', sends: 0, sentAt: 0, endedAt: 0 };
}

/** Codes whose meaning is that nothing of the request was kept (errors.ts). */
const NOT_KEPT = new Set(['overloaded', 'store_full', 'shutting_down', 'limited']);

function record(entry: Entry, answer: HttpAnswer): void {
  entry.status = answer.status;
  delete entry.code;
  delete entry.retryAfter;
  if (answer.status >= 200 && answer.status < 300) {
    const { id, messages } = answer.json<Accepted | Notification>();
    const messageId = messages[0]?.id;
    if (entry.notificationId !== undefined) {
      assert.equal(id, entry.notificationId, `${entry.key} was answered with two ids`);
    }
    Object.assign(entry, { state: 'acked', notificationId: id, messageId });
    return;
  }
  entry.code = codeOf(answer);
  const retryAfter = answer.headers['retry-after'];
  if (retryAfter !== undefined) entry.retryAfter = retryAfter;
  const certain = answer.status < 500 || NOT_KEPT.has(entry.code ?? '');
  entry.state = certain ? 'refused' : 'unknown';
}

function codeOf(answer: HttpAnswer): string {
  try {
    return String(answer.json()['code']);
  } catch {
    return `not a problem document: ${answer.text.slice(0, 100)}`;
  }
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

/** A request for the receiver above; the key travels in the payload and in the metadata. */
export function webhookBody(url: string, key: string): Record<string, unknown> {
  return {
    to: { webhook: url },
    channels: ['webhook'],
    content: { payload: { key } },
    metadata: { key },
  };
}

/** A request that ends in the capturing provider: nothing leaves the process. */
export function emailBody(key: string): Record<string, unknown> {
  return {
    to: { email: `${key}@example.com` },
    channels: ['email'],
    content: { title: 'Hello', text: `This is ${key}.` },
    metadata: { key },
  };
}

/** Settings with which the service may reach the receiver. */
export const WEBHOOK_ENV = {
  TIDINGS_WEBHOOK_HTTP_ALLOWED_NETWORKS: '127.0.0.0/8',
  TIDINGS_WEBHOOK_HTTP_ALLOW_HTTP: 'true',
} as const;

export interface Verdict {
  lost: string[];
  unexpected: string[];
  split: string[];
  recovered: string[];
  /** Deliveries beyond the first, over all keys. */
  duplicated: { key: string; times: number }[];
}

export function compare(client: ClientLedger, provider: ProviderLedger): Verdict {
  const verdict: Verdict = { lost: [], unexpected: [], split: [], recovered: [], duplicated: [] };
  for (const { key, state, messageId } of client.entries.values()) {
    const deliveries = provider.delivered.get(key) ?? [];
    if (state === 'acked' && deliveries.length === 0) verdict.lost.push(key);
    if (state === 'refused' && deliveries.length > 0) verdict.unexpected.push(key);
    if (state === 'unknown' && deliveries.length > 0) verdict.recovered.push(key);
    if (deliveries.length > 1) verdict.duplicated.push({ key, times: deliveries.length });
    const ids = new Set(deliveries.map((delivery) => delivery.messageId));
    if (messageId !== undefined && deliveries.length > 0) ids.add(messageId);
    if (ids.size > 1) verdict.split.push(key);
  }
  for (const key of provider.delivered.keys()) {
    if (!client.entries.has(key)) verdict.unexpected.push(key);
  }
  return verdict;
}

/** None lost, none unexpected, none split. */
export function assertKept(verdict: Verdict): void {
  const { lost, unexpected, split } = verdict;
  assert.deepEqual({ lost, unexpected, split }, { lost: [], unexpected: [], split: [] });
}

/** Waits until nothing is pending, and checks the service's own books. */
export async function settle(tidings: Tidings, seconds = 60): Promise<Ledger> {
  const ledger = await until(
    'the end of all messages',
    async () => {
      const now = await tidings.ledger();
      return now.pending === 0 ? now : undefined;
    },
    { seconds, everyMs: 100 },
  );
  assertBalanced(ledger);
  return ledger;
}

export function assertBalanced(ledger: Ledger): void {
  const { accepted, delivered, failed, expired, suppressed, cancelled, pending, balanced } = ledger;
  const sum = delivered + failed + expired + suppressed + cancelled + pending;
  assert.equal(sum, accepted, `the books do not balance: ${JSON.stringify(ledger)}`);
  assert.equal(balanced, true);
}

/** One line for the report of a test. */
export function describe(ledger: Ledger, client?: ClientLedger, verdict?: Verdict): string {
  const parts = Object.entries(ledger).filter(([name]) => name !== 'balanced');
  const text = [parts.map(([name, count]) => `${name} ${count}`).join(', ')];
  if (client) {
    const count = (state: EntryState): number => client.of(state).length;
    text.push(
      `client: acked ${count('acked')}, refused ${count('refused')}, unknown ${count('unknown')}`,
    );
  }
  if (verdict) {
    text.push(
      Object.entries(verdict)
        .map(([name, keys]) => `${name} ${keys.length}`)
        .join(', '),
    );
  }
  return text.join(' | ');
}
