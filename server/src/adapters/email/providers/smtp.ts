/**
 * Email through any SMTP server, over a pool of connections. The vendor's bounces come as mail to
 * the return path, so `sent` is the last word here.
 */
import type { Transporter } from 'nodemailer';
import type { SMTPPoolOptions, SMTPPoolSentMessageInfo } from 'nodemailer/lib/smtp-pool';
import { asServiceError } from '../../../errors.ts';
import {
  type Delivery,
  defineProvider,
  type Outcome,
  type ProviderAccount,
  RESPONSE_LIMIT,
} from '../../provider.ts';
import type { EmailAddress } from '../address.ts';
import { composeMessage, SIGNED_HEADERS } from '../message.ts';
import {
  ATTEMPT_TIMEOUT_MS,
  readSmtpConfig,
  SMTP_DEFAULTS,
  SmtpConfig,
  type SmtpSettings,
} from '../smtp-config.ts';
import { judgeError, judgeReply, type SmtpError } from '../smtp-reply.ts';

type Pool = Transporter<SMTPPoolSentMessageInfo, SMTPPoolOptions>;

export default defineProvider({
  name: 'smtp',
  title: 'SMTP',
  documentation: 'https://www.rfc-editor.org/rfc/rfc5321',
  configSchema: SmtpConfig,
  secrets: ['password', 'dkimPrivateKey'],
  automatic: false,
  capabilities: { receipts: false, idempotency: false },
  limits: {
    concurrency: SMTP_DEFAULTS.maxConnections,
    ratePerSecond: null,
    timeoutMs: ATTEMPT_TIMEOUT_MS,
  },
  checkConfig(config) {
    try {
      readSmtpConfig(config);
      return [];
    } catch (error) {
      return asServiceError(error).errors ?? [];
    }
  },
  create: ({ config }) => new SmtpAccount(readSmtpConfig(config)),
});

class SmtpAccount implements ProviderAccount {
  readonly #settings: SmtpSettings;
  readonly #secrets: readonly string[];
  #library: Promise<Library> | undefined;
  #pool: Pool | undefined;
  #closed = false;

  constructor(settings: SmtpSettings) {
    this.#settings = settings;
    this.#secrets = secretForms(settings);
  }

  async send(delivery: Delivery<EmailAddress>, signal: AbortSignal): Promise<Outcome> {
    this.#library ??= loadLibrary();
    const library = await this.#library;
    if (this.#closed) return { kind: 'retry', reason: 'closed' };
    const composed = composeMessage(delivery, this.#settings, library.detectMimeType);
    if (!composed.ok) return composed.outcome;

    this.#pool ??= openPool(library, this.#settings);
    const trace: Trace = { handedOver: false };
    const mail: TracedMail = { ...composed.mail, signal, trace };
    try {
      return this.#sent(await this.#pool.sendMail(mail));
    } catch (error) {
      return this.#failed(error as SmtpError, signal, trace);
    }
  }

  /** A message under way ends as a retry: whoever wants it to finish waits before closing. */
  async close(): Promise<void> {
    this.#closed = true;
    // The library's own type of close() has no parameter for the pool's options.
    const pool = this.#pool?.transporter as
      | { close(options: { force: boolean }): void }
      | undefined;
    pool?.close({ force: true });
  }

  #sent(info: SMTPPoolSentMessageInfo): Outcome {
    // sendMail resolves when the server takes the message for some of the recipients; ours is one.
    const refused = info.rejectedErrors?.[0]?.response;
    if (refused !== undefined) {
      return { ...judgeReply(refused, 'recipient'), response: this.#quote(refused) };
    }
    const id = info.serverMessageId ?? info.messageId;
    return {
      kind: 'sent',
      providerMessageId: id.replace(/^<|>$/g, ''),
      response: this.#quote(info.response),
    };
  }

  #failed(error: SmtpError, signal: AbortSignal, { handedOver }: Trace): Outcome {
    if (error.code === 'EABORT') {
      return {
        kind: 'retry',
        reason: abortReason(signal),
        ...(handedOver && { ambiguous: true }),
      };
    }
    const verdict = judgeError(error, handedOver);
    if (verdict !== undefined) {
      return { ...verdict, response: this.#quote(error.response ?? error.message) };
    }
    // The pool fails what waits in it with errors that have no code.
    if (this.#closed) return { kind: 'retry', reason: 'closed' };
    throw error;
  }

  /** What the server said on one line, without credentials: some servers repeat what they refuse. */
  #quote(text: string): string {
    let quoted = text;
    for (const secret of this.#secrets) quoted = quoted.replaceAll(secret, '***');
    return quoted.replace(/[\p{Cc}\s]+/gu, ' ').slice(0, RESPONSE_LIMIT);
  }
}

function abortReason(signal: AbortSignal): string {
  const { reason } = signal;
  return reason instanceof Error && reason.name === 'TimeoutError' ? 'timeout' : 'aborted';
}

/** The password as it is and as it crosses the wire (AUTH LOGIN and AUTH PLAIN). */
function secretForms({ config: { username, password } }: SmtpSettings): string[] {
  if (username === undefined || password === undefined) return [];
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return [base64(`\0${username}\0${password}`), base64(password), password];
}

interface Library {
  createTransport: typeof import('nodemailer')['createTransport'];
  detectMimeType: (filename: string) => string;
}

async function loadLibrary(): Promise<Library> {
  const [{ createTransport }, { detectMimeType }] = await Promise.all([
    import('nodemailer'),
    import('nodemailer/lib/mime-funcs'),
  ]);
  return { createTransport, detectMimeType };
}

function openPool({ createTransport }: Library, settings: SmtpSettings): Pool {
  const { config, secure, startTls } = settings;
  const { username, password, dkim, dkimPrivateKey } = config;
  const pool = createTransport({
    pool: true,
    host: config.host,
    port: config.port,
    secure,
    requireTLS: startTls === 'required',
    ignoreTLS: startTls === 'never',
    tls: { minVersion: 'TLSv1.2', rejectUnauthorized: true, ...config.tls },
    auth: username === undefined ? undefined : { user: username, pass: password ?? '' },
    name: config.clientName,
    maxConnections: config.maxConnections,
    maxMessages: config.maxMessagesPerConnection,
    // One: for a connection the server closed while idle, when not a byte of the message was sent.
    // Every other repetition is retry.ts's to decide.
    maxRequeues: 1,
    dnsTimeout: config.connectTimeoutMs,
    connectionTimeout: config.connectTimeoutMs,
    greetingTimeout: config.greetingTimeoutMs,
    socketTimeout: config.replyTimeoutMs,
    // A connection given up is cut at once: what is still buffered must not be delivered later.
    socketCloseTimeout: 0,
    disableFileAccess: true,
    disableUrlAccess: true,
    dkim:
      dkim === undefined || dkimPrivateKey === undefined
        ? undefined
        : {
            domainName: dkim.domain,
            keySelector: dkim.selector,
            privateKey: dkimPrivateKey,
            headerFieldNames: SIGNED_HEADERS,
          },
  });
  pool.use('stream', traceMessage);
  return pool;
}

interface Trace {
  /** All of the message was read by the connection, so its final dot may have reached the server. */
  handedOver: boolean;
}

type TracedMail = Parameters<Pool['sendMail']>[0] & { trace: Trace };

/** nodemailer does not tell at which point a connection broke; the end of the message stream does. */
const traceMessage: Parameters<Pool['use']>[1] = (mail, done) => {
  const { trace } = mail.data as TracedMail;
  const { message } = mail;
  if (message) {
    const createReadStream = message.createReadStream.bind(message);
    message.createReadStream = (options) => {
      const stream = createReadStream(options);
      stream.once('end', () => {
        trace.handedOver = true;
      });
      return stream;
    };
  }
  done();
};
