/**
 * One keep-alive connection of the load generator, with at most one request in flight. It reconnects by itself and
 * tells what became of each request; when to send is not its business.
 */
import { connect, type Socket } from 'node:net';
import { answer, incomplete, maxAnswerBytes, readAnswer } from './load-answer.ts';
import type { BuildRequest } from './load-request.ts';

export const failureKinds = ['connect', 'closed', 'timeout', 'protocol'] as const;
export type FailureKind = (typeof failureKinds)[number];

export interface ConnectionEvents {
  /** Open and idle, for the first time or after a reconnect. */
  opened(connection: Connection): void;
  /** The answer is complete and the connection idle, unless it is `down` because the server closes it. */
  answered(connection: Connection, status: number): void;
  /** The connection is down; `lost` says whether a request was in flight. A reconnect follows. */
  failed(connection: Connection, kind: FailureKind, lost: boolean): void;
}

/** What is read is used before the callback returns, so that all connections share one buffer. */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);
/** So that a server that refuses connections does not make the generator spin. */
const reconnectDelayMs = 50;

export class Connection {
  /** Down: not connected, or about to be closed. */
  state: 'down' | 'idle' | 'busy' = 'down';
  /** Kept by the sender: when the request in flight was due, and when it was sent. */
  dueMs = 0;
  sentMs = 0;
  /** Whether it stands in the sender's list of free ones, so that it never stands there twice. */
  isListed = false;

  readonly #events: ConnectionEvents;
  readonly #build: BuildRequest;
  readonly #address: { host: string; port: number };
  #socket: Socket | undefined;
  #partial: Buffer | undefined;
  #reconnect: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(
    address: { host: string; port: number },
    build: BuildRequest,
    events: ConnectionEvents,
  ) {
    this.#address = address;
    this.#build = build;
    this.#events = events;
    this.#open();
  }

  /** Only on an idle connection. The request's buffer is free again with the answer, since it was read in full. */
  send(n: number): void {
    this.state = 'busy';
    (this.#socket as Socket).write(this.#build(n));
  }

  fail(kind: FailureKind): void {
    const lost = this.state === 'busy';
    this.#drop();
    this.#events.failed(this, kind, lost);
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#reconnect);
    this.#drop();
  }

  #open(): void {
    const socket = connect({
      ...this.#address,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          if (socket === this.#socket) this.#read(length);
          return true;
        },
      },
    });
    this.#socket = socket;
    let isConnected = false;
    const ended = (): void => {
      if (socket === this.#socket) this.fail(isConnected ? 'closed' : 'connect');
    };
    socket.on('connect', () => {
      isConnected = true;
      if (socket !== this.#socket) return;
      this.state = 'idle';
      this.#events.opened(this);
    });
    socket.on('end', ended);
    socket.on('error', ended);
    socket.on('close', ended);
  }

  #drop(): void {
    this.state = 'down';
    this.#partial = undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
    if (this.#isClosed) return;
    clearTimeout(this.#reconnect);
    this.#reconnect = setTimeout(() => this.#open(), reconnectDelayMs);
  }

  #read(length: number): void {
    if (this.state !== 'busy') {
      this.fail('protocol');
      return;
    }
    let bytes = readBuffer;
    let total = length;
    if (this.#partial !== undefined) {
      bytes = Buffer.concat([this.#partial, readBuffer.subarray(0, length)]);
      total = bytes.length;
    }
    const used = readAnswer(bytes, total);
    if (used === total) {
      this.#partial = undefined;
      this.state = 'idle';
      if (answer.closes) this.#drop();
      this.#events.answered(this, answer.status);
    } else if (used === incomplete && total <= maxAnswerBytes) {
      this.#partial = Buffer.from(bytes.subarray(0, total));
    } else {
      // Malformed, endless, or more bytes than the one answer that was due.
      this.fail('protocol');
    }
  }
}
