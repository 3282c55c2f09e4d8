/**
 * What a client was told about each of its requests, by idempotency key, and a sender that keeps a
 * schedule. It judges nothing (verdict.ts).
 */
import assert from 'node:assert/strict';
import type { Accepted, Notification } from '@tidings/contracts/notification';
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

/** A request that ends in the capturing provider: nothing leaves the process. */
export function emailBody(key: string): Record<string, unknown> {
  return {
    to: { email: `${key}@example.com` },
    channels: ['email'],
    content: { title: 'Hello', text: `This is ${key}.` },
    metadata: { key },
  };
}
