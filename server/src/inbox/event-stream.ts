/**
 * A live connection as Server-Sent Events (WHATWG HTML, 9.2). The head of the answer is Node's; the
 * body ends with the connection instead of being chunked, so its blocks go straight to the socket,
 * those of one turn in one piece: half the processor time of `response.write`.
 */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { InboxClosing } from '@tidings/contracts/inbox';
import { ServiceError } from '../errors.ts';
import type { CloseReason, LiveSink } from './connection.ts';
import { frameOf } from './frame.ts';

const HEADERS = {
  'content-type': 'text/event-stream',
  // no-transform: a proxy that compressed the stream would hold it back.
  'cache-control': 'no-store, no-transform',
  // nginx passes on what it gets at once.
  'x-accel-buffering': 'no',
  connection: 'close',
} as const;

const HEARTBEAT = ':\n\n';

export class EventStream implements LiveSink {
  readonly encoding = 'sse';
  readonly #response: ServerResponse;
  readonly #socket: Socket;
  /** Blocks of this turn. */
  #gathered = '';

  /** @throws invalid_request when an earlier answer on the same connection is not finished */
  constructor(response: ServerResponse) {
    if (response.socket === null) {
      throw new ServiceError('invalid_request', {
        detail: 'A stream cannot be asked for behind a request that is not answered yet.',
      });
    }
    this.#response = response;
    this.#socket = response.socket;
  }

  /** Answers with the head, at once. @param retryMs when the client comes back after a lost connection */
  begin(headers: Readonly<Record<string, string>>, retryMs: number): void {
    const response = this.#response;
    response.removeHeader('transfer-encoding');
    response.writeHead(200, { ...headers, ...HEADERS });
    this.#socket.cork();
    response.flushHeaders();
    this.#socket.write(`retry: ${retryMs}\n\n`);
    this.#socket.uncork();
  }

  /** Calls back once, when the connection is gone. */
  onGone(callback: () => void): void {
    this.#response.once('close', callback);
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength + this.#gathered.length;
  }

  write(frame: string): void {
    if (this.#gathered === '') process.nextTick(flush, this);
    this.#gathered += frame;
  }

  flush(): void {
    const gathered = this.#gathered;
    this.#gathered = '';
    if (gathered !== '' && this.#socket.writable) this.#socket.write(gathered);
  }

  drained(): Promise<void> {
    this.flush();
    const socket = this.#socket;
    if (!socket.writableNeedDrain || socket.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        socket.off('drain', done);
        socket.off('close', done);
        resolve();
      };
      socket.on('drain', done);
      socket.on('close', done);
    });
  }

  heartbeat(): void {
    this.write(HEARTBEAT);
  }

  close(reason: CloseReason, retryAfterMs: number | undefined): void {
    // Whoever does not read cannot be told anything.
    if (reason === 'slow_reader') return void this.destroy();
    const closing: InboxClosing = { reason, retryAfterMs };
    const retry = retryAfterMs === undefined ? '' : `retry: ${retryAfterMs}\n`;
    this.write(retry + frameOf('sse', 'closing', JSON.stringify(closing)));
    this.flush();
    this.#response.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

function flush(stream: EventStream): void {
  stream.flush();
}
