/**
 * A live connection over WebSocket. The first frame says whose inbox it is, so that no token stands
 * in a URL:
 *
 *   {"type":"auth","token":"…","lastPosition":"17-15"}   → missed items, `ready`, `counts`, then live
 *   {"type":"mark","id":1,"action":"read","items":"all"} → {"type":"result","id":1,"data":{…}}
 *   {"type":"ping","id":2}                            → {"type":"pong","id":2}
 *
 * Frames are answered in their order. A mark that cannot be done is answered by an `error` frame;
 * what is no frame of this protocol at all ends the connection.
 */
import {
  InboxAuthFrame,
  type InboxClosing,
  InboxMarkFrame,
  InboxPingFrame,
  type MarkedInbox,
  type MarkInbox,
} from '@tidings/contracts/inbox';
import type { Static } from '@tidings/contracts/schema';
import type { RawData, WebSocket } from 'ws';
import type { Clock, Timer } from '../clock.ts';
import { asServiceError, type ServiceError } from '../errors.ts';
import { checkOf } from '../json-schema.ts';
import type { CloseReason, LiveConnection, LiveSink } from './connection.ts';
import { frameOf } from './frame.ts';
import type { InboxSession } from './token.ts';

/** RFC 6455, 7.4.1, and two of ours that read like HTTP's 401 and 410. */
export const CLOSE = {
  goingAway: 1001,
  unsupported: 1003,
  policy: 1008,
  tryAgainLater: 1013,
  unauthorized: 4401,
  gone: 4410,
} as const;

const AUTH_TIMEOUT_MS = 5_000;
/** Sockets that have not said yet whose they are; each is closed after AUTH_TIMEOUT_MS. */
const MAX_UNAUTHENTICATED = 1_000;
/** Frames of one client that wait for their turn. */
const MAX_WAITING_FRAMES = 32;
/** Below this nothing is worth waiting for. */
const LOW_WATER_BYTES = 16 * 1024;
/** What was closed has this long to say goodbye. */
const CLOSE_GRACE_MS = 5_000;

/** Of a field, in the reason of a close, which has to say what is wrong with it as well. */
const LONGEST_NAME = 40;

const auth = checkOf<Static<typeof InboxAuthFrame>>(InboxAuthFrame);
const mark = checkOf<Static<typeof InboxMarkFrame>>(InboxMarkFrame);
const ping = checkOf<Static<typeof InboxPingFrame>>(InboxPingFrame);

export interface SocketServices {
  clock: Clock;
  failed(error: unknown): void;
  /** @throws ServiceError for what is no JSON */
  parseFrame(text: string): unknown;
  authenticate(token: string): Promise<InboxSession>;
  connect(session: InboxSession, sink: LiveSink, lastPosition: string | undefined): LiveConnection;
  mark(session: InboxSession, change: MarkInbox): Promise<MarkedInbox>;
}

export class InboxSockets {
  readonly #services: SocketServices;
  readonly #unauthenticated = new Set<WebSocket>();
  #stopped = false;

  constructor(services: SocketServices) {
    this.#services = services;
  }

  serve(socket: WebSocket): void {
    if (this.#stopped || this.#unauthenticated.size >= MAX_UNAUTHENTICATED) {
      end(socket, CLOSE.tryAgainLater, 'too many connections just now', this.#services.clock);
      return;
    }
    this.#unauthenticated.add(socket);
    const known = () => this.#unauthenticated.delete(socket);
    socket.once('close', known);
    new Conversation(socket, this.#services, known);
  }

  /** Ends those that the hub does not know yet. */
  stop(): void {
    this.#stopped = true;
    for (const socket of this.#unauthenticated) {
      end(socket, CLOSE.goingAway, 'shutting down', this.#services.clock);
    }
  }
}

/** One client from its first frame to its last. */
class Conversation {
  readonly #socket: WebSocket;
  readonly #services: SocketServices;
  readonly #known: () => void;
  readonly #deadline: Timer;
  #session: InboxSession | undefined;
  #turn: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(socket: WebSocket, services: SocketServices, known: () => void) {
    this.#socket = socket;
    this.#services = services;
    this.#known = known;
    this.#deadline = services.clock.after(AUTH_TIMEOUT_MS, () =>
      this.#end(CLOSE.unauthorized, 'no auth frame came in time'),
    );
    socket.on('message', (data, isBinary) => this.#receive(data, isBinary));
    socket.once('close', () => this.#deadline.cancel());
    // ws closes with the fitting code (1009 for a frame that is too large) by itself.
    socket.on('error', () => this.#terminateLater());
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    if (isBinary) return void this.#end(CLOSE.unsupported, 'frames are text');
    if (this.#waiting >= MAX_WAITING_FRAMES)
      return void this.#end(CLOSE.policy, 'too many frames at once');
    this.#waiting++;
    this.#turn = this.#turn.then(async () => {
      await this.#handle(data.toString());
      this.#waiting--;
    });
  }

  /** Never fails. */
  async #handle(text: string): Promise<void> {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    let frame: unknown;
    try {
      frame = this.#services.parseFrame(text);
    } catch (thrown) {
      const [fault] = asServiceError(thrown).errors ?? [];
      return this.#end(CLOSE.policy, `a frame is a JSON object: it ${fault?.message ?? 'is none'}`);
    }
    if (this.#session === undefined) await this.#begin(frame);
    else if (mark.fits(frame)) await this.#mark(this.#session, frame);
    else if (ping.fits(frame)) this.#answer({ type: 'pong', id: frame.id });
    else if (typeOf(frame) === 'mark') this.#refuse(frame, mark.faults(frame));
    else if (typeOf(frame) === 'ping') this.#end(CLOSE.policy, faultIn('ping', ping.faults(frame)));
    else this.#end(CLOSE.policy, 'unknown frame');
  }

  async #begin(frame: unknown): Promise<void> {
    if (typeOf(frame) !== 'auth')
      return this.#end(CLOSE.unauthorized, 'the first frame must be auth');
    if (!auth.fits(frame))
      return this.#end(CLOSE.unauthorized, faultIn('auth', auth.faults(frame)));
    const { token, lastPosition } = frame;
    try {
      const session = await this.#services.authenticate(token);
      if (this.#socket.readyState !== this.#socket.OPEN) return;
      const sink = new WebSocketSink(this.#socket);
      const connection = this.#services.connect(session, sink, lastPosition);
      this.#socket.once('close', () => connection.gone());
      this.#session = session;
      this.#deadline.cancel();
      this.#known();
    } catch (thrown) {
      const error = asServiceError(thrown);
      if (error.kind === 'internal') this.#services.failed(thrown);
      if (error.kind === 'unauthorized') this.#end(CLOSE.unauthorized, 'the token is not valid');
      else this.#end(CLOSE.tryAgainLater, error.message);
    }
  }

  async #mark(session: InboxSession, { type: _, id, ...change }: InboxMarkFrame): Promise<void> {
    if (session.expiresAt <= this.#services.clock.now()) {
      return this.#end(CLOSE.unauthorized, 'the token has ended');
    }
    try {
      this.#answer({ type: 'result', id, data: await this.#services.mark(session, change) });
    } catch (thrown) {
      const error = asServiceError(thrown);
      if (error.kind === 'internal') this.#services.failed(thrown);
      if (error.kind === 'unauthorized')
        return this.#end(CLOSE.unauthorized, 'the token has ended');
      this.#answer({ type: 'error', id, data: problemOf(error) });
    }
  }

  #refuse(frame: unknown, errors: { path: string; message: string }[]): void {
    const { id } = frame as { id?: unknown };
    this.#answer({
      type: 'error',
      id: typeof id === 'string' || typeof id === 'number' ? id : undefined,
      data: { code: 'invalid_request', detail: 'The frame does not fit its schema.', errors },
    });
  }

  #answer(frame: object): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #end(code: number, reason: string): void {
    end(this.#socket, code, reason, this.#services.clock);
  }

  #terminateLater(): void {
    this.#services.clock.after(CLOSE_GRACE_MS, () => this.#socket.terminate());
  }
}

class WebSocketSink implements LiveSink {
  readonly encoding = 'json';
  readonly #socket: WebSocket;
  #answered = true;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    const alive = () => {
      this.#answered = true;
    };
    socket.on('pong', alive);
    socket.on('message', alive);
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  write(frame: string): void {
    this.#socket.send(frame, ignore);
  }

  drained(): Promise<void> {
    if (this.#socket.bufferedAmount <= LOW_WATER_BYTES) return Promise.resolve();
    // Called back when the kernel has taken it and everything before it, or with an error.
    return new Promise((resolve) => this.#socket.ping('', false, () => resolve()));
  }

  /** A peer that has not answered the one before is gone. */
  heartbeat(): void {
    if (!this.#answered) return void this.destroy();
    this.#answered = false;
    this.#socket.ping('', false, ignore);
  }

  close(reason: CloseReason, retryAfterMs: number | undefined): void {
    const hint = retryAfterMs === undefined ? reason : `${reason}; retry-after-ms=${retryAfterMs}`;
    if (reason === 'slow_reader') return void this.#socket.close(CLOSE.tryAgainLater, hint);
    const closing: InboxClosing = { reason, retryAfterMs };
    this.write(frameOf('json', 'closing', JSON.stringify(closing)));
    this.#socket.close(CODE_OF[reason], hint);
  }

  destroy(): void {
    this.#socket.terminate();
  }
}

const CODE_OF = {
  token_expired: CLOSE.unauthorized,
  user_removed: CLOSE.gone,
  shutting_down: CLOSE.goingAway,
  unavailable: CLOSE.tryAgainLater,
} as const;

/** A frame that could not be sent belongs to a connection that is ending: its end is what matters. */
function ignore(): void {}

/** Closes in good order, and for good when the other side does not answer. */
function end(socket: WebSocket, code: number, reason: string, clock: Clock): void {
  // RFC 6455, 5.5: a reason has at most 123 bytes. Ours are ASCII, names of a client's fields need not be.
  socket.close(code, reason.replace(/[^ -~]/g, '?').slice(0, 123));
  const timer = clock.after(CLOSE_GRACE_MS, () => socket.terminate());
  socket.once('close', () => timer.cancel());
}

/** The first thing that is wrong with a frame, by the field's name. */
function faultIn(type: string, faults: { path: string; message: string }[]): string {
  const [{ path, message } = { path: '', message: 'does not fit its schema' }] = faults;
  const name = path.length > LONGEST_NAME ? `${path.slice(0, LONGEST_NAME)}...` : path;
  return `${type} frame: ${name} ${message}`;
}

function typeOf(frame: unknown): unknown {
  return (frame as { type?: unknown } | null)?.type;
}

function problemOf({ code, detail, message, errors }: ServiceError) {
  const faults = errors?.map((fault) => ({ ...fault, path: fault.path.replace(/^body\./, '') }));
  return { code, detail: detail ?? message, ...(faults && { errors: faults }) };
}
