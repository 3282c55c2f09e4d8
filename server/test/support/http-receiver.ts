/**
 * A real HTTP or HTTPS server on the loopback interface that plays the receiver of webhooks, honest
 * or hostile, one scripted answer after another. It records what arrived as bytes.
 *
 * Nothing here waits for time to pass: a test awaits `until(…)`, which looks again whenever
 * something has happened. The one timer is the slow drip's, which is about time.
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import http, {
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import https from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';

export type Answer =
  | {
      status: number;
      headers?: Record<string, string>;
      body?: string | Buffer;
      /** The answer is held back until this resolves. */
      after?: Promise<unknown>;
      /** The answer comes at once, and the body of the request is not read before this resolves. */
      readAfter?: Promise<unknown>;
    }
  /** Reads the request and never answers. */
  | 'hang'
  /** RST as soon as the connection is there; for https before the handshake. */
  | 'reset-on-connect'
  /** RST when the head of the request is there, without reading its body. */
  | 'reset-before-body'
  /** RST instead of an answer, after the whole request. */
  | 'reset-after-reading'
  /** 200, then a body that comes byte by byte and never ends. */
  | 'drip-body'
  /** The head of an answer, byte by byte without end. */
  | 'drip-head'
  /** 200 and 10 GB, as fast as they are taken. */
  | 'flood'
  /** Something that is not HTTP. */
  | 'garbage'
  /** Switches to another protocol, which nobody asked for. */
  | 'upgrade';

export interface ReceivedRequest {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** Number of the connection it came on, from 1. */
  connection: number;
}

export interface HttpReceiver extends AsyncDisposable {
  port: number;
  /** `http://127.0.0.1:<port>`, or the host name the certificate is for. */
  origin: string;
  /** Requests read to their end, oldest first. */
  readonly requests: readonly ReceivedRequest[];
  /** Connections accepted so far, and those still open. */
  readonly connections: number;
  readonly open: number;
  /** Bytes of the floods that were handed to the network. */
  readonly bytesFlooded: number;
  /** Requests that are held open without an end: hanging, dripping, or waiting for `after`. */
  readonly holding: number;
  /** The answers to the next requests in this order; the last one stays. */
  answer(...answers: Answer[]): void;
  /** Resolves once the condition holds. */
  until(condition: (receiver: HttpReceiver) => boolean): Promise<void>;
}

const FLOOD_BYTES = 10 * 1024 ** 3;
const FLOOD_CHUNK = Buffer.alloc(64 * 1024, 'x');
const DRIP_MS = 5;

export async function startHttpReceiver(
  options: { host?: string; tls?: { key: string; cert: string; name: string } } = {},
): Promise<HttpReceiver> {
  const { host = '127.0.0.1', tls } = options;
  let script: Answer[] = [{ status: 200 }];
  const requests: ReceivedRequest[] = [];
  const sockets = new Map<Socket, number>();
  const state = { connections: 0, bytesFlooded: 0, holding: 0 };
  const watchers = new Set<() => void>();
  const changed = (): void => {
    for (const look of watchers) look();
  };

  const take = (): Answer => (script.length > 1 ? script.shift() : script[0]) as Answer;
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const next = take();
    const { socket } = request;
    if (next === 'reset-before-body') return void resetOf(socket);
    if (typeof next === 'object' && next.readAfter !== undefined) {
      // By hand: node:http would read the rest to keep the connection.
      socket.write(`HTTP/1.1 ${next.status} Early\r\nContent-Length: 0\r\n\r\n`);
      await next.readAfter;
    }
    const body = await readAll(request);
    const connection = sockets.get(rawOf(socket)) ?? 0;
    const { method = '', url: path = '', headers } = request;
    requests.push({ method, path, headers, body, connection });
    if (next === 'reset-after-reading') resetOf(socket);
    else if (next === 'flood') flood(response, state, changed);
    else if (next === 'garbage') socket.end('SSH-2.0-OpenSSH_9.9\r\n\0\0\0garbage\r\n\r\n');
    else if (next === 'upgrade') {
      socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n');
    } else if (typeof next === 'object') {
      if (next.after !== undefined) {
        state.holding++;
        changed();
        await next.after;
        state.holding--;
      }
      if (next.readAfter === undefined) {
        response.writeHead(next.status, next.headers).end(next.body ?? '');
      }
    } else {
      state.holding++;
      socket.once('close', () => {
        state.holding--;
        changed();
      });
      if (next === 'drip-body')
        drip(socket, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', '1\r\n.\r\n');
      if (next === 'drip-head') drip(socket, 'HTTP/1.1 200 OK\r\nX-Slow: ', '.');
    }
    changed();
  };
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    answer(request, response).catch((error: NodeJS.ErrnoException) => {
      // The client may go at any time; anything else is a fault of the test support.
      if (!['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'].includes(error.code ?? ''))
        throw error;
    });
  };
  const server: Server = tls ? https.createServer(tls, listener) : http.createServer(listener);
  // Before node:tls reads anything: this listener is called for the TCP connection itself.
  server.prependListener('connection', (socket: Socket) => {
    sockets.set(socket, ++state.connections);
    socket.on('error', () => {});
    socket.once('close', () => {
      sockets.delete(socket);
      changed();
    });
    if (script[0] === 'reset-on-connect') {
      take();
      socket.resetAndDestroy();
    }
    changed();
  });
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const receiver: HttpReceiver = {
    port,
    origin: tls ? `https://${tls.name}:${port}` : `http://127.0.0.1:${port}`,
    requests,
    get connections() {
      return state.connections;
    },
    get open() {
      return sockets.size;
    },
    get bytesFlooded() {
      return state.bytesFlooded;
    },
    get holding() {
      return state.holding;
    },
    answer(...answers) {
      script = answers;
    },
    until(condition) {
      return new Promise((resolve) => {
        const look = (): void => {
          if (!condition(receiver)) return;
          watchers.delete(look);
          resolve();
        };
        watchers.add(look);
        look();
      });
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets.keys()) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
  return receiver;
}

/** The TCP socket below TLS, or the socket itself. */
function rawOf(socket: Socket): Socket {
  return (socket as Socket & { _parent?: Socket })._parent ?? socket;
}

function resetOf(socket: Socket): void {
  rawOf(socket).resetAndDestroy();
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function drip(socket: Socket, head: string, more: string): void {
  socket.write(head);
  const timer = setInterval(() => socket.write(more), DRIP_MS);
  socket.once('close', () => clearInterval(timer));
}

function flood(
  response: ServerResponse,
  state: { bytesFlooded: number },
  changed: () => void,
): void {
  response.writeHead(200, { 'content-length': FLOOD_BYTES });
  const more = (): void => {
    while (!response.destroyed && state.bytesFlooded < FLOOD_BYTES) {
      state.bytesFlooded += FLOOD_CHUNK.length;
      if (!response.write(FLOOD_CHUNK)) return void response.once('drain', more);
    }
  };
  response.once('close', changed);
  more();
}

/** A self-signed certificate for one host name and 127.0.0.1, made with node:crypto alone. */
export function makeCertificate(name: string): { key: string; cert: string; name: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = sequence(oid('2a8648ce3d040302'));
  const subject = sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(name)))));
  const dayMs = 24 * 3_600_000;
  const validity = sequence(utcTime(Date.now() - dayMs), utcTime(Date.now() + dayMs));
  const alternatives = sequence(
    der(0x82, Buffer.from(name)),
    der(0x87, Buffer.from([127, 0, 0, 1])),
  );
  const extensions = sequence(sequence(oid('551d11'), der(0x04, alternatives)));
  const content = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    algorithm,
    subject,
    validity,
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, extensions),
  );
  const signature = sign('sha256', content, privateKey);
  const certificate = sequence(
    content,
    algorithm,
    der(0x03, Buffer.concat([Buffer.from([0]), signature])),
  );
  const lines = certificate.toString('base64').replace(/.{64}/g, '$&\n').trimEnd();
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    name,
  };
}

/** One DER value: tag, length, content (X.690, 8.1). */
function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size =
    length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

function sequence(...values: Buffer[]): Buffer {
  return der(0x30, Buffer.concat(values));
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'));
}

function utcTime(ms: number): Buffer {
  const text = new Date(ms).toISOString().replace(/[-:T]/g, '').slice(2, 14);
  return der(0x17, Buffer.from(`${text}Z`));
}
