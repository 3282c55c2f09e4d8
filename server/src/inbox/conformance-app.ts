/** The routes of the inbox on real files and a real port, and clients that read what really comes. */
import { once } from 'node:events';
import { type ClientRequest, get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import type { InboxItem } from '@tidings/contracts/inbox';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { WebSocket } from 'ws';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { adminOf, openTestRecords, type TestRecords } from '../../test/support/records.ts';
import { within } from '../../test/support/within.ts';
import { itemFor } from '../adapters/in-app/inbox-store.conformance.ts';
import {
  deliveredItem,
  type InboxOwner,
  type NewInboxItem,
} from '../adapters/in-app/inbox-store.ts';
import { buildApp } from '../http/app.ts';
import { inboxRoutes } from '../http/routes/inbox.ts';
import { userRoutes } from '../http/routes/users.ts';
import { createUserService } from '../user/service.ts';
import { openTestInbox, type TestInbox } from './conformance-setup.ts';
import { InboxHub, type InboxHubOptions } from './live.ts';
import { readPosition } from './position.ts';
import { createInboxTokens, type InboxTokens } from './token.ts';

/** Longer than anything here takes on a busy machine. */
const PATIENCE_SECONDS = 30;

export interface InboxApp extends AsyncDisposable {
  app: FastifyInstance;
  url: string;
  port: number;
  clock: ManualClock;
  inbox: TestInbox;
  records: TestRecords;
  hub: InboxHub;
  tokens: InboxTokens;
  /** Every scope, of the application of `ada`. */
  apiKey: string;
  ada: InboxOwner;
  /** What ended connections against the user's will. */
  failures: unknown[];
  token(owner?: InboxOwner, seconds?: number): Promise<string>;
  /** Lets reads show what was written, and the hub look at it once. */
  look(): Promise<void>;
  /** Stores and tells, as the provider does. */
  deliver(n: number, owner?: InboxOwner, more?: Partial<NewInboxItem>): Promise<number>;
}

export interface InboxAppOptions extends Omit<InboxHubOptions, 'clock'> {
  allowedOrigins?: string[];
}

export async function openInboxApp(options: InboxAppOptions = {}): Promise<InboxApp> {
  const { allowedOrigins = [], ...limits } = options;
  const clock = new ManualClock(Date.UTC(2026, 10, 22, 8));
  const records = openTestRecords(clock);
  const inbox = await openTestInbox();
  const hub = new InboxHub({ clock, ...limits });
  const tokens = createInboxTokens({ key: Buffer.alloc(32, 7), clock });
  const failures: unknown[] = [];
  const failed = (error: unknown) => void failures.push(error);
  const users = createUserService({
    users: records.users,
    inboxes: inbox.store,
    adapters: { adapter: () => undefined, channels: () => [] },
    clock,
  });
  const app = await buildApp({
    applications: records.applications,
    log: pino({ level: 'silent' }),
    routes: [
      inboxRoutes({ inbox: inbox.store, hub, tokens, clock, allowedOrigins, failed }),
      userRoutes({ users }),
    ],
    refusal: () => undefined,
    bodyLimitBytes: 1_048_576,
    trustedProxies: [],
    accessLogSampling: 0,
  });
  const { caller, key } = await adminOf(records, clock);
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const ada = { applicationId: caller.applicationId, userId: 'ada' };
  return {
    app,
    url: `http://127.0.0.1:${port}`,
    port,
    clock,
    inbox,
    records,
    hub,
    tokens,
    apiKey: key,
    ada,
    failures,
    async token(owner = ada, seconds = 3600) {
      const generation = await inbox.store.generation(owner);
      return (await tokens.mint({ ...owner, generation, expiresInSeconds: seconds })).token;
    },
    async look() {
      await inbox.store.position();
      clock.advance(100);
      await setImmediate();
    },
    async deliver(n, owner = ada, more = {}) {
      const item = itemFor(owner, n, more);
      const { position } = await inbox.store.deliver(item);
      hub.publish({ ...owner, position, item: deliveredItem(item) });
      return position;
    },
    async [Symbol.asyncDispose]() {
      await app.close();
      await inbox[Symbol.asyncDispose]();
      await records[Symbol.asyncDispose]();
    },
  };
}

export interface LiveMessage {
  type: string;
  /** Of the items. */
  position: number | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: the test says what it expects of it
  data: any;
}

/** Messages in their order, for whoever asks for the next one. */
export class Received {
  readonly all: LiveMessage[] = [];
  #taken = 0;
  #ended: Error | undefined;
  #wake: () => void = () => {};

  push(message: LiveMessage): void {
    this.all.push(message);
    this.#wake();
  }

  end(why: string): void {
    this.#ended = new Error(why);
    this.#wake();
  }

  async next(): Promise<LiveMessage> {
    while (this.#taken === this.all.length) {
      if (this.#ended) throw this.#ended;
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await within(PATIENCE_SECONDS, 'the next live message', woken);
    }
    return this.all[this.#taken++] as LiveMessage;
  }

  /** The next message of this type; others before it are passed over. */
  async nextOf(type: string): Promise<LiveMessage> {
    for (;;) {
      const message = await this.next();
      if (message.type === type) return message;
    }
  }

  /** Everything up to and with the next message of this type. */
  async until(type: string): Promise<LiveMessage[]> {
    const messages: LiveMessage[] = [];
    do messages.push(await this.next());
    while (messages.at(-1)?.type !== type);
    return messages;
  }
}

/** A client of the event stream that hides nothing: the head, comments and `retry` lines as well. */
export class StreamClient extends Received {
  readonly #request: ClientRequest;
  readonly response: IncomingMessage;
  /** Resolves once the connection has ended. */
  readonly ended: Promise<void>;
  /** All of the body so far. */
  text = '';
  #rest = '';

  static async open(
    { url }: Pick<InboxApp, 'url'>,
    path: string,
    headers: Record<string, string> = {},
  ): Promise<StreamClient> {
    const request = get(url + path, { headers, agent: false });
    const [response] = (await within(
      PATIENCE_SECONDS,
      'the head of the stream',
      once(request, 'response'),
    )) as [IncomingMessage];
    return new StreamClient(request, response);
  }

  private constructor(request: ClientRequest, response: IncomingMessage) {
    super();
    this.#request = request;
    this.response = response;
    request.on('error', () => {});
    response.on('error', () => {});
    response.setEncoding('utf8');
    response.on('data', (text: string) => this.#read(text));
    this.ended = within(
      PATIENCE_SECONDS,
      'the end of the stream',
      once(response, 'close').then(() => {
        this.end('the stream has ended');
      }),
    );
    this.ended.catch(() => {});
  }

  get status(): number {
    return this.response.statusCode ?? 0;
  }

  /** `retry` times in ms, oldest first. */
  get retries(): number[] {
    return [...this.text.matchAll(/^retry: (\d+)$/gm)].map((match) => Number(match[1]));
  }

  destroy(): void {
    this.#request.destroy();
  }

  [Symbol.dispose](): void {
    this.destroy();
  }

  #read(text: string): void {
    this.text += text;
    const unread = this.#rest + text;
    const end = unread.lastIndexOf('\n\n');
    const complete = end < 0 ? 0 : end + 2;
    this.#rest = unread.slice(complete);
    for (const message of messagesIn(unread.slice(0, complete))) this.push(message);
  }
}

/** The events of a stream, as far as they are complete. */
export function messagesIn(text: string): LiveMessage[] {
  const blocks = text.split('\n\n').slice(0, -1);
  return blocks.flatMap((block) => {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
    const [id, data] = [field('id'), field('data')];
    if (data === undefined) return [];
    return [
      { type: field('event') ?? 'message', position: itemPositionOf(id), data: JSON.parse(data) },
    ];
  });
}

export function itemPositionOf(position: string | undefined): number | undefined {
  return position === undefined ? undefined : readPosition(position).item;
}

/** A WebSocket that has said whose it is. */
export class SocketClient extends Received {
  readonly socket: WebSocket;
  /** The position of the last event that had one. */
  last: string | undefined;
  /** Code and reason of the close. */
  readonly closed: Promise<{ code: number; reason: string }>;

  constructor({ port }: Pick<InboxApp, 'port'>, headers: Record<string, string> = {}) {
    super();
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/v1/inbox/socket`, { headers });
    this.socket.on('error', () => {});
    this.socket.on('message', (data) => {
      const { type, position, ...rest } = JSON.parse(String(data));
      this.last = position ?? this.last;
      this.push({
        type,
        position: itemPositionOf(position),
        data: 'data' in rest ? rest.data : rest,
        ...('id' in rest && { id: rest.id }),
      });
    });
    this.closed = within(
      PATIENCE_SECONDS,
      'the close of the socket',
      once(this.socket, 'close').then(([code, reason]) => {
        this.end(`the socket was closed with ${code} ${reason}`);
        return { code: code as number, reason: String(reason) };
      }),
    );
    this.closed.catch(() => {});
  }

  static async open(
    app: Pick<InboxApp, 'port'>,
    token: string,
    lastPosition?: string | number,
  ): Promise<SocketClient> {
    const client = new SocketClient(app);
    await once(client.socket, 'open');
    client.send({
      type: 'auth',
      token,
      ...(lastPosition !== undefined && { lastPosition: String(lastPosition) }),
    });
    return client;
  }

  send(frame: unknown): void {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  [Symbol.dispose](): void {
    this.socket.terminate();
  }
}

export const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

export const itemsOf = (messages: readonly LiveMessage[]): InboxItem[] =>
  messages.filter(({ type }) => type === 'item').map(({ data }) => data as InboxItem);
