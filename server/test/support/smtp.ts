/**
 * A real SMTP server on the loopback interface for tests: npm `smtp-server` behind a listener of our
 * own, strict about what it is sent, and scripted per stage and recipient. It records envelopes, raw
 * messages and the bytes clients sent before any TLS.
 *
 * Nothing here waits for time to pass: a test awaits `until(…)`, which looks again whenever
 * something has happened.
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import {
  SMTPServer,
  type SMTPServerAuthentication,
  type SMTPServerAuthenticationResponse,
  type SMTPServerDataStream,
  type SMTPServerSession,
} from 'smtp-server';

/** Instead of going on: a reply such as `550 5.1.1 No such user`, no reply, FIN, or RST. */
export type Answer = `${number} ${string}` | 'hang' | 'drop' | 'reset';

export interface SmtpScript {
  /** In place of the greeting; `garbage` greets in another protocol. */
  greeting?: Answer | 'garbage';
  auth?: Answer;
  sender?: Answer;
  /** For every recipient. */
  recipient?: Answer;
  /** For the recipients named. */
  recipients?: Record<string, Answer>;
  /** When the first bytes of the message are there. */
  body?: 'drop' | 'reset';
  /** After the final dot, when the message is recorded; `drip` replies line by line and never ends. */
  message?: Answer | 'drip';
}

export interface SmtpServerOptions {
  /** Default: none. */
  tls?: 'none' | 'starttls' | 'implicit';
  certificate?: Certificate;
  /** Passwords by user name; with them authentication is required. */
  users?: Record<string, string>;
  /** Announced as SIZE and enforced. */
  sizeLimit?: number;
}

export interface ReceivedMessage {
  raw: Buffer;
  from: string;
  to: string[];
  user: string | undefined;
  secure: boolean;
  /** Number of the connection it came over, from 0. */
  connection: number;
}

type Done = (error?: Error | null) => void;

export class SmtpTestServer implements AsyncDisposable {
  script: SmtpScript = {};
  readonly messages: ReceivedMessage[] = [];
  /** Bytes the client sent in the clear, per connection opened so far. */
  readonly wire: Buffer[][] = [];
  /** How often the script was followed by not answering. */
  held = 0;
  readonly #options: SmtpServerOptions;
  readonly #smtp: SMTPServer;
  readonly #listener: Server;
  readonly #sockets = new Map<number, { socket: Socket; connection: number }>();
  readonly #waiting = new Set<() => void>();

  private constructor(options: SmtpServerOptions) {
    this.#options = options;
    this.#smtp = this.#createSmtp();
    this.#listener = createServer((socket) => this.#accept(socket));
  }

  static async start(options: SmtpServerOptions = {}): Promise<SmtpTestServer> {
    const server = new SmtpTestServer(options);
    server.#listener.listen(0, '127.0.0.1');
    await once(server.#listener, 'listening');
    return server;
  }

  get port(): number {
    return (this.#listener.address() as AddressInfo).port;
  }

  get openConnections(): number {
    return this.#sockets.size;
  }

  /** Resolves as soon as the condition holds; it is looked at after everything that happens here. */
  until(condition: (server: this) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!condition(this)) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** Ends every connection from this side, as a server does with idle ones. Without TLS only. */
  dropConnections(): void {
    for (const { socket } of this.#sockets.values()) socket.destroy();
  }

  /** Where there is TLS the clients must have gone: one that stays is a leak, and the test hangs. */
  async [Symbol.asyncDispose](): Promise<void> {
    // Destroying a socket underneath its TLS session crashes Node.
    if ((this.#options.tls ?? 'none') === 'none') this.dropConnections();
    this.#listener.close();
    await once(this.#listener, 'close');
  }

  #changed(): void {
    for (const look of [...this.#waiting]) look();
  }

  #accept(socket: Socket): void {
    const { remotePort = 0 } = socket;
    const connection = this.wire.push([]) - 1;
    this.#sockets.set(remotePort, { socket, connection });
    // Listening would take the bytes of a TLS handshake away from smtp-server.
    if (this.#options.tls !== 'implicit') {
      socket.on('data', (chunk: Buffer) => this.wire[connection]?.push(chunk));
    }
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#left(remotePort));
    this.#changed();
    const { greeting } = this.script;
    if (greeting === undefined) {
      this.#smtp.server.emit('connection', socket);
    } else if (greeting === 'garbage') {
      socket.write('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n');
    } else if (/^\d/.test(greeting)) {
      socket.end(`${greeting}\r\n`);
    } else {
      this.#follow(greeting, remotePort);
    }
  }

  #left(remotePort: number): void {
    this.#sockets.delete(remotePort);
    this.#changed();
  }

  /** Does what the script says; without an entry `done` goes on as usual. */
  #follow(answer: Answer | undefined, remotePort: number, done: Done = () => {}): void {
    if (answer === undefined) {
      done();
    } else if (answer === 'hang' || answer === 'drop' || answer === 'reset') {
      const { socket } = this.#sockets.get(remotePort) ?? {};
      if (answer === 'drop') socket?.destroy();
      if (answer === 'reset') socket?.resetAndDestroy();
      this.held += 1;
      this.#changed();
    } else {
      done(replyError(answer));
    }
  }

  #createSmtp(): SMTPServer {
    const { tls = 'none', users, sizeLimit } = this.#options;
    const { key, cert } = this.#options.certificate ?? {};
    const smtp = new SMTPServer({
      name: 'mail.test',
      logger: false,
      key,
      cert,
      secure: tls === 'implicit',
      disableReverseLookup: true,
      disabledCommands: [...(tls === 'starttls' ? [] : ['STARTTLS']), ...(users ? [] : ['AUTH'])],
      size: sizeLimit,
      rejectOversized: true,
      maxRecipients: 1,
      onAuth: (auth, session, done) => this.#onAuth(auth, session, done),
      onMailFrom: (_address, { remotePort }, done) =>
        this.#follow(this.script.sender, remotePort, done),
      onRcptTo: ({ address }, { remotePort }, done) => {
        const { recipients, recipient } = this.script;
        this.#follow(recipients?.[address] ?? recipient, remotePort, done);
      },
      onData: (stream, session, done) => void this.#onData(stream, session, done),
      // The raw socket loses its listeners when STARTTLS takes it over.
      onClose: ({ remotePort }) => this.#left(remotePort),
    });
    smtp.on('error', () => {
      // A connection that broke; the tests see it on their side.
    });
    return smtp;
  }

  #onAuth(
    { username, password }: SMTPServerAuthentication,
    { remotePort }: SMTPServerSession,
    done: (error: Error | null, response?: SMTPServerAuthenticationResponse) => void,
  ): void {
    this.#follow(this.script.auth, remotePort, (error) => {
      if (error) done(error);
      else if (username !== undefined && this.#options.users?.[username] === password) {
        done(null, { user: username });
      } else done(replyError('535 5.7.8 Authentication credentials invalid'));
    });
  }

  async #onData(
    stream: SMTPServerDataStream,
    session: SMTPServerSession,
    done: Done,
  ): Promise<void> {
    const { remotePort } = session;
    const { body, message } = this.script;
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of stream) {
        if (body !== undefined) return this.#follow(body, remotePort);
        chunks.push(chunk);
      }
    } catch {
      return; // The client left in the middle.
    }
    const raw = Buffer.concat(chunks);
    const fault = findFault(raw);
    if (fault !== undefined) return done(replyError(`554 5.6.0 ${fault}`));
    const { mailFrom, rcptTo } = session.envelope;
    this.messages.push({
      raw,
      from: mailFrom === false ? '' : mailFrom.address,
      to: rcptTo.map(({ address }) => address),
      user: session.user,
      secure: session.secure,
      connection: this.#sockets.get(remotePort)?.connection ?? -1,
    });
    if (message === 'drip') this.#drip(remotePort);
    else this.#follow(message, remotePort, done);
    this.#changed();
  }

  #drip(remotePort: number): void {
    const { socket } = this.#sockets.get(remotePort) ?? {};
    const timer = setInterval(() => {
      if (socket === undefined || socket.destroyed) clearInterval(timer);
      else socket.write('250-still thinking\r\n');
    }, 2);
    this.held += 1;
  }
}

function replyError(reply: string): Error {
  return Object.assign(new Error(reply.slice(4)), { responseCode: Number(reply.slice(0, 3)) });
}

const NEEDED = ['from', 'to', 'date', 'message-id', 'mime-version', 'content-type'];
const AT_MOST_ONCE = [...NEEDED, 'subject', 'reply-to', 'sender', 'content-transfer-encoding'];

/** What RFC 5321 and 5322 forbid in a message; undefined when there is nothing of the kind. */
export function findFault(raw: Buffer): string | undefined {
  const text = raw.toString('latin1');
  if (/\r(?!\n)|(?<!\r)\n/.test(text)) return 'A line does not end in CR LF';
  if (text.split('\r\n').some((line) => line.length > 998)) return 'A line is too long';
  if (/[^\x01-\x7f]/.test(text)) return 'A byte is not 7-bit text';
  const headers = readHeaders(raw);
  const missing = NEEDED.find((name) => !headers.has(name));
  if (missing !== undefined) return `There is no ${missing} header`;
  const repeated = AT_MOST_ONCE.find((name) => (headers.get(name)?.length ?? 0) > 1);
  if (repeated !== undefined) return `There are two ${repeated} headers`;
  return headers.has('bcc') ? 'There is a Bcc header' : undefined;
}

/** Values by lower-case name, unfolded and with encoded words decoded. */
export function readHeaders(raw: Buffer): Map<string, string[]> {
  const headers = new Map<string, string[]>();
  const [head = ''] = raw.toString('latin1').split('\r\n\r\n', 1);
  for (const line of head.replace(/\r\n(?=[ \t])/g, '').split('\r\n')) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    headers.set(name, [...(headers.get(name) ?? []), decodeWords(line.slice(colon + 1).trim())]);
  }
  return headers;
}

function decodeWords(text: string): string {
  return text
    .replace(/\?=\s+=\?/g, '?==?')
    .replace(/=\?utf-8\?([bq])\?([^?]*)\?=/gi, (_word, encoding: string, encoded: string) =>
      encoding.toLowerCase() === 'b'
        ? Buffer.from(encoded, 'base64').toString()
        : decodeQuoted(encoded.replaceAll('_', ' ')).toString(),
    );
}

function decodeQuoted(text: string): Buffer {
  const bytes = text
    .replace(/=\r\n/g, '')
    .replace(/=([0-9A-F]{2})/g, (_escape, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
  return Buffer.from(bytes, 'latin1');
}

export interface MimePart {
  headers: Map<string, string[]>;
  body: Buffer;
}

/** The leaves of a message in order, decoded. */
export function readParts(raw: Buffer): MimePart[] {
  const headers = readHeaders(raw);
  const text = raw.toString('latin1');
  const body = text.slice(text.indexOf('\r\n\r\n') + 4);
  const boundary = /boundary="?([^";]+)"?/.exec(headers.get('content-type')?.[0] ?? '')?.[1];
  if (boundary === undefined) {
    const encoding = headers.get('content-transfer-encoding')?.[0];
    if (encoding === 'base64') return [{ headers, body: Buffer.from(body, 'base64') }];
    if (encoding === 'quoted-printable') return [{ headers, body: decodeQuoted(body) }];
    return [{ headers, body: Buffer.from(body, 'latin1') }];
  }
  return `\r\n${body}`
    .split(`\r\n--${boundary}`)
    .slice(1, -1)
    .flatMap((part) => readParts(Buffer.from(part.replace(/^\r\n/, ''), 'latin1')));
}

export interface Certificate {
  key: string;
  cert: string;
}

/** A fresh certificate for localhost and 127.0.0.1, signed by itself (X.509 v3, ECDSA P-256). */
export function createCertificate(): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const ecdsaWithSha256 = der(0x30, Buffer.from('06082a8648ce3d040302', 'hex'));
  const commonName = der(
    0x30,
    Buffer.from('0603550403', 'hex'),
    der(0x0c, Buffer.from('localhost')),
  );
  const name = der(0x30, der(0x31, commonName));
  const utcTime = (ms: number) =>
    der(0x17, Buffer.from(`${new Date(ms).toISOString().replace(/\D/g, '').slice(2, 14)}Z`));
  const dayMs = 86_400_000;
  const names = der(
    0x30,
    der(0x82, Buffer.from('localhost')),
    der(0x87, Buffer.from([127, 0, 0, 1])),
  );
  const subjectAltName = der(0x30, Buffer.from('0603551d11', 'hex'), der(0x04, names));
  const content = der(
    0x30,
    Buffer.from('a003020102', 'hex'),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ecdsaWithSha256,
    name,
    der(0x30, utcTime(Date.now() - dayMs), utcTime(Date.now() + dayMs)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, der(0x30, subjectAltName)),
  );
  const signature = der(0x03, Buffer.from([0]), sign('sha256', content, privateKey));
  const certificate = der(0x30, content, ecdsaWithSha256, signature);
  const lines = certificate.toString('base64').replace(/.{64}/g, '$&\n');
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
  };
}

/** One DER element: tag, length, content. */
function der(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
