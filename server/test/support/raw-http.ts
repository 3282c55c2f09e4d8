/**
 * HTTP as bytes on a loopback socket, for requests that no client library would send. It reads
 * answers, and has no opinion on what a request looks like.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { within } from './within.ts';

export interface RawAnswer {
  status: number;
  /** By lower-case name; what came twice is joined by a comma. */
  headers: Record<string, string>;
  body: string;
}

/** Longer than any time limit of the service itself: it only ends tests that hang. */
const PATIENCE_SECONDS = 50;

export class RawConnection implements Disposable {
  readonly #socket: Socket;
  #text = '';
  /** Resolves when the server has ended the connection, in good order or by force. */
  readonly closed: Promise<void>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1').on('data', (text: string) => {
      this.#text += text;
    });
    // A server that ends the connection while more is sent resets it; what it said came before.
    socket.on('error', () => {});
    this.closed = within(
      PATIENCE_SECONDS,
      'the end of the connection by the server',
      once(socket, 'close').then(() => {}),
    );
    this.closed.catch(() => {});
  }

  static async open(port: number): Promise<RawConnection> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return new RawConnection(socket);
  }

  get open(): boolean {
    return !this.#socket.destroyed;
  }

  /** What has come so far. */
  get answers(): RawAnswer[] {
    return parseAnswers(this.#text);
  }

  write(bytes: string | Buffer): void {
    if (this.open) this.#socket.write(bytes);
  }

  /** Resolves when the kernel has taken everything, or the connection is gone. */
  async drained(): Promise<void> {
    const socket = this.#socket;
    if (!socket.writableNeedDrain || socket.destroyed) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        socket.off('drain', done).off('close', done);
        resolve();
      };
      socket.on('drain', done).on('close', done);
    });
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

/** Sends bytes and waits for the server to end the connection. */
export async function exchange(port: number, bytes: string | Buffer): Promise<RawAnswer[]> {
  using connection = await RawConnection.open(port);
  connection.write(bytes);
  await connection.closed;
  return connection.answers;
}

export interface RawRequest {
  method?: string;
  path: string;
  /** Lines, without their ends. */
  headers?: readonly string[];
  body?: string | Buffer;
}

/** A request whose answer ends the connection; the length of a body is told unless a header tells it. */
export function requestBytes({ method, path, headers = [], body }: RawRequest): Buffer {
  const content = Buffer.from(body ?? '');
  const sized = headers.some((line) => /^(content-length|transfer-encoding):/i.test(line));
  const lines = [
    `${method ?? (body === undefined ? 'GET' : 'POST')} ${path} HTTP/1.1`,
    'Host: 127.0.0.1',
    'Connection: close',
    ...headers,
    ...(body === undefined || sized ? [] : [`Content-Length: ${content.length}`]),
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), content]);
}

/** The one answer to a request. @throws when there is none, or more */
export async function ask(port: number, request: RawRequest): Promise<RawAnswer> {
  const answers = await exchange(port, requestBytes(request));
  const [answer] = answers;
  if (answer === undefined || answers.length > 1) {
    throw new Error(`${answers.length} answers to ${request.method ?? ''} ${request.path}`);
  }
  return answer;
}

/** @param text latin1; bodies are decoded as UTF-8 */
function parseAnswers(text: string): RawAnswer[] {
  const answers: RawAnswer[] = [];
  let rest = text;
  for (;;) {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) return answers;
    const [start = '', ...lines] = rest.slice(0, end).split('\r\n');
    const headers: Record<string, string> = {};
    for (const line of lines) {
      const colon = line.indexOf(':');
      const name = line.slice(0, colon).toLowerCase();
      const value = line.slice(colon + 1).trim();
      headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
    }
    const status = Number(start.split(' ')[1]);
    const { body, length } = readBody(rest.slice(end + 4), status, headers);
    answers.push({ status, headers, body: Buffer.from(body, 'latin1').toString('utf8') });
    rest = rest.slice(end + 4 + length);
  }
}

function readBody(
  text: string,
  status: number,
  headers: Record<string, string>,
): { body: string; length: number } {
  if (status < 200 || status === 204 || status === 304) return { body: '', length: 0 };
  if (headers['transfer-encoding'] === 'chunked') return readChunks(text);
  const length = Math.min(Number(headers['content-length'] ?? text.length), text.length);
  return { body: text.slice(0, length), length };
}

function readChunks(text: string): { body: string; length: number } {
  let body = '';
  let at = 0;
  for (;;) {
    const lineEnd = text.indexOf('\r\n', at);
    const size = lineEnd < 0 ? Number.NaN : Number.parseInt(text.slice(at, lineEnd), 16);
    if (Number.isNaN(size)) return { body, length: text.length };
    body += text.slice(lineEnd + 2, lineEnd + 2 + size);
    at = lineEnd + 2 + size + 2;
    if (size === 0) return { body, length: Math.min(at, text.length) };
  }
}
