/**
 * The content of an email in its own shape, and the limits its schema cannot say. Strings are
 * templates when a template is saved, so the schema holds only what is true before and after
 * rendering; what concerns the rendered value is in `validateEmailContent`.
 */
import type { ChannelContent } from '@tidings/contracts/content';
import { Attachment } from '@tidings/contracts/content';
import { type Static, Type } from '@tidings/contracts/schema';
import { pattern } from '@tidings/contracts/schema-fault';
import type { FieldError } from '../../errors.ts';
import { parseEmailAddress } from './address.ts';

/**
 * Bodies and decoded attachments of one email together. In base64 this is 13.7 MiB, which the large
 * mailbox providers take (25 MB at Gmail); a relay with a lower limit announces it as SIZE.
 */
export const EMAIL_BYTES_LIMIT = 10 * 1024 * 1024;
const ATTACHMENT_COUNT_LIMIT = 20;
// A header line ends at 998 octets (RFC 5322, 2.1.1) and can be folded only at a space; room is left
// for the name in front and for `<>`.
const UNBROKEN_TEXT_LIMIT = 900;

/** One line of text: no control character and no line separator of any kind. */
const ONE_LINE = pattern(
  '^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$',
  'must be one line, without control characters',
);
const closed = { additionalProperties: false } as const;

export const EmailContent = Type.Object(
  {
    subject: Type.String({
      minLength: 1,
      maxLength: 998,
      pattern: ONE_LINE,
      description: 'Subject, one line.',
    }),
    text: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 120_000,
        description: 'The body as plain text. Text, html or both are needed.',
      }),
    ),
    html: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 600_000,
        description: 'The body as HTML; shown instead of the text where the reader can.',
      }),
    ),
    preheader: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 250,
        pattern: ONE_LINE,
        description: 'Text that mailboxes show beside the subject; hidden in the HTML body.',
      }),
    ),
    from: Type.Optional(
      Type.Object(
        {
          name: Type.Optional(
            Type.String({
              minLength: 1,
              maxLength: 200,
              pattern: ONE_LINE,
              description: 'Display name of the sender.',
            }),
          ),
          address: Type.Optional(
            Type.String({
              minLength: 1,
              maxLength: 320,
              description: 'Address of the sender; the provider account must allow its domain.',
            }),
          ),
        },
        {
          ...closed,
          minProperties: 1,
          description: 'Sender of this email instead of the one of the provider account.',
        },
      ),
    ),
    replyTo: Type.Optional(
      Type.String({ minLength: 1, maxLength: 320, description: 'Address that replies go to.' }),
    ),
    headers: Type.Optional(
      Type.Record(
        Type.String({ pattern: '^[A-Za-z][A-Za-z0-9-]{0,69}$' }),
        Type.String({ maxLength: UNBROKEN_TEXT_LIMIT, pattern: ONE_LINE }),
        {
          ...closed,
          maxProperties: 20,
          description:
            'Further header fields: `X-…`, or one of Feedback-ID, Importance, In-Reply-To, Keywords, Organization, Precedence, Priority, References, Sensitivity.',
        },
      ),
    ),
    attachments: Type.Optional(
      Type.Array(Attachment, {
        maxItems: ATTACHMENT_COUNT_LIMIT,
        description: 'Files; those with a `contentId` are shown where the HTML says `cid:…`.',
      }),
    ),
    unsubscribeUrl: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: UNBROKEN_TEXT_LIMIT,
        description: 'https address for one-click unsubscription (RFC 8058), unique per recipient.',
      }),
    ),
  },
  closed,
);
export type EmailContent = Static<typeof EmailContent>;

const SAFE_HEADERS: ReadonlySet<string> = new Set([
  'feedback-id',
  'importance',
  'in-reply-to',
  'keywords',
  'organization',
  'precedence',
  'priority',
  'references',
  'sensitivity',
]);

/**
 * `X-` headers that a relay obeys instead of passing on: some add recipients or change the sender.
 * SendGrid (X-SMTPAPI), SparkPost (X-MSYS-API), Mandrill (X-MC), SES (X-SES), Mailgun, Mailjet
 * (X-MJ), Postmark (X-PM), Brevo (X-Mailin), Exchange: from the vendors' SMTP documentation.
 */
const RELAY_COMMANDS =
  /^x-(?:smtpapi$|msys-api$|mc-|ses-|mailgun-|mj-|mailjet-|pm-|mailin-|ms-exchange-)/;

/** Whether a caller may set the header. Everything addresses, routes and signatures depend on is left out. */
export function isAllowedHeader(name: string): boolean {
  const lower = name.toLowerCase();
  if (SAFE_HEADERS.has(lower)) return true;
  return /^x-[a-z0-9-]+$/.test(lower) && !RELAY_COMMANDS.test(lower);
}

/** The address as it goes into the List-Unsubscribe header; undefined when it must not. */
export function readUnsubscribeUrl(text: string): string | undefined {
  if (!/^https:\/\/[^\s\p{Cc}<>]+$/iu.test(text)) return undefined;
  const url = URL.parse(text);
  if (url === null || url.username !== '' || url.password !== '') return undefined;
  return url.href.length <= UNBROKEN_TEXT_LIMIT ? url.href : undefined;
}

/** Limits that the schema cannot say; `content` fits the schema. */
export function validateEmailContent(content: ChannelContent): FieldError[] {
  const email = content as EmailContent;
  const errors: FieldError[] = [];
  const fault = (path: string, message: string) => errors.push({ path, message });

  if (email.text === undefined && email.html === undefined)
    fault('text', 'Text or html is needed.');
  if (hasUnbrokenText(email.subject)) {
    fault('subject', `A word is longer than ${UNBROKEN_TEXT_LIMIT} characters.`);
  }
  checkAddress('from.address', email.from?.address, fault);
  checkAddress('replyTo', email.replyTo, fault);
  for (const name of Object.keys(email.headers ?? {})) {
    if (!isAllowedHeader(name)) fault(`headers.${name}`, 'This header cannot be set.');
  }
  if (
    email.unsubscribeUrl !== undefined &&
    readUnsubscribeUrl(email.unsubscribeUrl) === undefined
  ) {
    fault('unsubscribeUrl', 'An https URL without user name is needed, at most 900 characters.');
  }
  email.attachments?.forEach((attachment, index) => {
    checkAttachment(`attachments.${index}`, attachment, fault);
  });
  if (decodedBytes(email) > EMAIL_BYTES_LIMIT) {
    fault(
      email.attachments === undefined ? 'html' : 'attachments',
      `Bodies and attachments together are larger than ${EMAIL_BYTES_LIMIT} bytes.`,
    );
  }
  return errors;
}

type Fault = (path: string, message: string) => void;

function hasUnbrokenText(text: string): boolean {
  return text.length > UNBROKEN_TEXT_LIMIT && /[^ ]{901}/.test(text);
}

function checkAddress(path: string, text: string | undefined, fault: Fault): void {
  if (text === undefined) return;
  const parsed = parseEmailAddress(text);
  if (!parsed.ok) fault(path, parsed.message);
}

// Path separators, and characters that reorder the name so that `gpj.exe` reads as `exe.jpg`.
const UNSAFE_FILENAME = /[/\\\p{Cc}\p{Cf}\u2028\u2029]|^\.{1,2}$|^\s|\s$/u;
// A media type with plain parameters (RFC 2045, 5.1). No quoted ones: charset and method need none.
const MEDIA_TYPE = /^([a-z]+)\/[a-z0-9][a-z0-9!#$&^_.+-]*(?: ?; ?[a-z0-9-]+=[a-z0-9._+-]+){0,5}$/i;
const CONTENT_ID = /^[A-Za-z0-9._%+-]+(?:@[A-Za-z0-9.-]+)?$/;

function checkAttachment(path: string, attachment: Attachment, fault: Fault): void {
  const { filename, contentType, contentId, contentBase64 } = attachment;
  if (UNSAFE_FILENAME.test(filename)) {
    fault(
      `${path}.filename`,
      'A plain file name is needed, without folders or control characters.',
    );
  }
  if (contentType !== undefined) {
    const type = MEDIA_TYPE.exec(contentType)?.[1]?.toLowerCase();
    if (type === undefined) fault(`${path}.contentType`, 'Not a media type such as `text/csv`.');
    // RFC 2046, 5.2.1: these may not be encoded, so their bytes would not survive the way.
    if (type === 'multipart' || type === 'message') {
      fault(`${path}.contentType`, `A ${type} is sent as application/octet-stream.`);
    }
  }
  if (contentId !== undefined && !CONTENT_ID.test(contentId)) {
    fault(`${path}.contentId`, 'Letters, digits and ._%+- only, with at most one @.');
  }
  if (!isBase64(contentBase64)) fault(`${path}.contentBase64`, 'Not valid base64 (RFC 4648).');
}

/** Strict: Buffer.from would skip what it does not know and deliver a damaged file. */
function isBase64(text: string): boolean {
  return text.length > 0 && text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
}

function decodedBytes(email: EmailContent): number {
  let bytes = Buffer.byteLength(email.text ?? '') + Buffer.byteLength(email.html ?? '');
  for (const { contentBase64 } of email.attachments ?? []) {
    bytes += Buffer.byteLength(contentBase64, 'base64');
  }
  return bytes;
}
