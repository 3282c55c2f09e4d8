/** Configuration of an SMTP account: its schema, and the checks that need more than one property. */
import { createPrivateKey } from 'node:crypto';
import { BlockList, isIP } from 'node:net';
import { type Static, Type } from '@tidings/contracts/schema';
import { pattern } from '@tidings/contracts/schema-fault';
import { type FieldError, invalid } from '../../errors.ts';
import { type EmailAddress, parseEmailAddress } from './address.ts';

const START_TLS = ['required', 'opportunistic', 'never'] as const;
type StartTls = (typeof START_TLS)[number];

const closed = { additionalProperties: false } as const;
const SECOND_MS = 1000;

/** Longest time of one attempt. RFC 5321, 4.5.3.2 would allow more; a slot held longer starves others. */
export const ATTEMPT_TIMEOUT_MS = 120 * SECOND_MS;

/** What holds for a property that is left out. */
export const SMTP_DEFAULTS = {
  port: 587,
  maxConnections: 5,
  maxMessagesPerConnection: 100,
  connectTimeoutMs: 10 * SECOND_MS,
  greetingTimeoutMs: 10 * SECOND_MS,
  replyTimeoutMs: 60 * SECOND_MS,
} as const;

/** A local part ends at 64 characters (RFC 5321, 4.5.3.1.1); `+` and a message id take 16 of them. */
const RETURN_NAME_LIMIT = 48;

const milliseconds = (value: number, description: string) =>
  Type.Optional(Type.Integer({ minimum: 10, maximum: 600_000, default: value, description }));

export const SmtpConfig = Type.Object(
  {
    host: Type.String({
      minLength: 1,
      maxLength: 253,
      description: 'Host name of the mail server.',
    }),
    port: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 65_535,
        default: SMTP_DEFAULTS.port,
        description: 'Port: 587 for submission, 465 for implicit TLS, 25 between servers.',
      }),
    ),
    secure: Type.Optional(
      Type.Boolean({
        description: 'TLS from the first byte. Default: true on port 465, false on every other.',
      }),
    ),
    startTls: Type.Optional(
      Type.Enum([...START_TLS], {
        description:
          'Whether to switch to TLS by STARTTLS when `secure` is off. Default: `required`, except `opportunistic` for a loopback host. Credentials are never sent unencrypted to another machine.',
      }),
    ),
    username: Type.Optional(
      Type.String({ minLength: 1, maxLength: 500, description: 'User name; none when left out.' }),
    ),
    password: Type.Optional(
      Type.String({ minLength: 1, maxLength: 2000, description: 'Password of the user.' }),
    ),
    from: Type.Object(
      {
        address: Type.String({
          minLength: 3,
          maxLength: 320,
          description: 'Address of the sender.',
        }),
        name: Type.Optional(
          Type.String({ minLength: 1, maxLength: 200, description: 'Display name of the sender.' }),
        ),
      },
      { ...closed, description: 'Sender of every email that names no other.' },
    ),
    allowedFrom: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 253 }), {
        maxItems: 100,
        default: [],
        description:
          'Domains that an email may name in `from.address`; the address of `from` always may.',
      }),
    ),
    replyTo: Type.Optional(
      Type.String({
        minLength: 3,
        maxLength: 320,
        description: 'Address that replies go to when an email names none. Default: the sender.',
      }),
    ),
    returnPath: Type.Optional(
      Type.String({
        minLength: 3,
        maxLength: 320,
        description:
          'Address that bounces go to, extended by the message id: `bounce@example.com` becomes `bounce+msg_…@example.com`. Default: the sender, without message id.',
      }),
    ),
    clientName: Type.Optional(
      Type.String({
        pattern: pattern('^[A-Za-z0-9.-]{1,253}$', 'must be the name of a host'),
        description: 'Name given in EHLO. Default: the full name of this machine.',
      }),
    ),
    maxConnections: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 100,
        default: SMTP_DEFAULTS.maxConnections,
        description: 'Connections open at once; further emails wait for one.',
      }),
    ),
    maxMessagesPerConnection: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 100_000,
        default: SMTP_DEFAULTS.maxMessagesPerConnection,
        description: 'Emails after which a connection is replaced; many servers close it at 100.',
      }),
    ),
    connectTimeoutMs: milliseconds(
      SMTP_DEFAULTS.connectTimeoutMs,
      'Time to connect, with DNS and TLS, in ms.',
    ),
    greetingTimeoutMs: milliseconds(
      SMTP_DEFAULTS.greetingTimeoutMs,
      'Time the server has to greet, in ms.',
    ),
    replyTimeoutMs: milliseconds(
      SMTP_DEFAULTS.replyTimeoutMs,
      'Time the server may be silent, in ms. Too short a time sends emails twice: some servers scan the content before they answer.',
    ),
    dkim: Type.Optional(
      Type.Object(
        {
          domain: Type.String({
            minLength: 1,
            maxLength: 253,
            description: 'Signing domain (d=).',
          }),
          selector: Type.String({
            pattern: pattern(
              '^[A-Za-z0-9._-]{1,100}$',
              'must be 1 to 100 letters, digits, dots, hyphens or underscores',
            ),
            description: 'Selector of the key (s=).',
          }),
        },
        {
          ...closed,
          description:
            'Signs every email with `dkimPrivateKey`. Default: the relay signs, or nobody.',
        },
      ),
    ),
    dkimPrivateKey: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 10_000,
        description: 'RSA private key of the DKIM selector, PEM.',
      }),
    ),
    tls: Type.Optional(
      Type.Object(
        {
          ca: Type.Optional(
            Type.String({
              maxLength: 100_000,
              description: 'Certificates trusted instead of the public ones, PEM.',
            }),
          ),
          rejectUnauthorized: Type.Optional(
            Type.Boolean({
              default: true,
              description: 'Refuse a server whose certificate does not verify.',
            }),
          ),
          servername: Type.Optional(
            Type.String({
              maxLength: 253,
              description: 'Name the certificate must have. Default: `host`.',
            }),
          ),
        },
        { ...closed, description: 'How the certificate of the server is checked.' },
      ),
    ),
  },
  closed,
);
export type SmtpConfig = Static<typeof SmtpConfig>;

/** The configuration with its defaults, checked as a whole. */
export interface SmtpSettings {
  config: SmtpConfig & { [Key in keyof typeof SMTP_DEFAULTS]: number };
  secure: boolean;
  startTls: StartTls;
  from: { name: string; address: EmailAddress };
  allowedFrom: ReadonlySet<string>;
  replyTo: string | undefined;
  returnPath: EmailAddress | undefined;
}

/** @throws ServiceError `invalid_request` naming each property that is wrong */
export function readSmtpConfig(config: SmtpConfig): SmtpSettings {
  const errors: FieldError[] = [];
  const address = (path: string, text: string | undefined): EmailAddress | undefined => {
    if (text === undefined) return undefined;
    const parsed = parseEmailAddress(text);
    if (parsed.ok) return parsed.address;
    errors.push({ path, message: parsed.message });
    return undefined;
  };
  const secure = config.secure ?? config.port === 465;
  const loopback = isLoopback(config.host);
  const startTls = config.startTls ?? (loopback ? 'opportunistic' : 'required');
  const from = address('from.address', config.from.address);
  const replyTo = address('replyTo', config.replyTo);
  const returnPath = address('returnPath', config.returnPath);

  if (returnPath !== undefined && returnPath.localPart.length > RETURN_NAME_LIMIT) {
    errors.push({
      path: 'returnPath',
      message: `At most ${RETURN_NAME_LIMIT} characters before the @: the message id follows them.`,
    });
  }
  if ((config.username === undefined) !== (config.password === undefined)) {
    errors.push({ path: 'password', message: 'User name and password come together.' });
  }
  if (config.username !== undefined && !secure && startTls !== 'required' && !loopback) {
    errors.push({
      path: 'startTls',
      message: 'Must be `required` with a password: it would be sent unencrypted.',
    });
  }
  if ((config.dkim === undefined) !== (config.dkimPrivateKey === undefined)) {
    errors.push({ path: 'dkimPrivateKey', message: 'dkim and dkimPrivateKey come together.' });
  }
  if (config.dkimPrivateKey !== undefined && !isRsaKey(config.dkimPrivateKey)) {
    errors.push({ path: 'dkimPrivateKey', message: 'Not an RSA private key in PEM.' });
  }
  if (from === undefined || errors.length > 0) throw invalid('invalid_request', errors);
  return {
    config: { ...SMTP_DEFAULTS, ...config },
    secure,
    startTls,
    from: { name: config.from.name ?? '', address: from },
    allowedFrom: new Set(config.allowedFrom?.map((domain) => domain.toLowerCase())),
    replyTo: replyTo?.address,
    returnPath,
  };
}

const loopbackAddresses = new BlockList();
loopbackAddresses.addSubnet('127.0.0.0', 8, 'ipv4');
loopbackAddresses.addAddress('::1', 'ipv6');

function isLoopback(host: string): boolean {
  const version = isIP(host);
  if (version === 0) return /^(?:.+\.)?localhost$/i.test(host);
  return loopbackAddresses.check(host, version === 4 ? 'ipv4' : 'ipv6');
}

/** nodemailer signs with rsa-sha256 only, and sends unsigned when the key does not work. */
function isRsaKey(pem: string): boolean {
  try {
    return createPrivateKey(pem).asymmetricKeyType === 'rsa';
  } catch {
    return false;
  }
}
