/**
 * One delivery as a message for nodemailer. Nothing here is a header line made from input: addresses
 * are parsed objects, the envelope is explicit, and nodemailer encodes every other value.
 */
import type { SendMailOptions } from 'nodemailer';
import type { Delivery, Outcome } from '../provider.ts';
import { type EmailAddress, parseEmailAddress } from './address.ts';
import { type EmailContent, isAllowedHeader, readUnsubscribeUrl } from './content.ts';
import { escapeHtmlText } from './neutral-content.ts';
import type { SmtpSettings } from './smtp-config.ts';

export type Composed = { ok: true; mail: SendMailOptions } | { ok: false; outcome: Outcome };

/**
 * The message, the same for each attempt: its Message-ID comes from the message id, so that a copy
 * sent twice is recognised by the mailbox and a bounce by us.
 */
export function composeMessage(
  delivery: Delivery<EmailAddress>,
  settings: SmtpSettings,
  detectMimeType: (filename: string) => string,
): Composed {
  const content = delivery.content as EmailContent;
  // Parsed again, cheaply: an address object that did not come from the parser would be quoted and
  // sent to whatever follows its last @.
  const recipient = parse(delivery.address.address);
  if (recipient === undefined) return refuse('invalid_address', 'recipient');
  const sender = chooseSender(content.from, settings);
  if (sender === undefined) return refuse('sender_not_allowed', 'content');
  const fault = faultOf(content);
  if (fault !== undefined) return refuse(fault, 'content');
  const replyTo = parse(content.replyTo ?? settings.replyTo);

  return {
    ok: true,
    mail: {
      envelope: {
        from: returnPathOf(delivery.messageId, sender.address, settings),
        to: [recipient.address],
        size: leastBytes(content),
      },
      from: { name: sender.name, address: sender.address.address },
      to: { name: oneLine(delivery.recipient.name ?? ''), address: recipient.address },
      replyTo: replyTo && { name: '', address: replyTo.address },
      subject: oneLine(content.subject),
      messageId: `<${delivery.messageId}@${sender.address.domain}>`,
      date: new Date(delivery.createdAt),
      headers: extraHeaders(content),
      text: content.text,
      html: content.html === undefined ? undefined : withPreheader(content.html, content.preheader),
      attachments: content.attachments?.map((attachment) => ({
        filename: attachment.filename,
        contentType: attachment.contentType ?? opaqueType(detectMimeType(attachment.filename)),
        cid: attachment.contentId,
        content: Buffer.from(attachment.contentBase64, 'base64'),
      })),
    },
  };
}

/** RFC 2046, 5.2.1: a `message/…` part may not be encoded, so the bytes of a file would change. */
function opaqueType(type: string): string {
  return /^(?:message|multipart)\//i.test(type) ? 'application/octet-stream' : type;
}

function refuse(reason: string, scope: 'recipient' | 'content'): Composed {
  return { ok: false, outcome: { kind: 'rejected', reason, scope } };
}

function parse(text: string | undefined): EmailAddress | undefined {
  if (text === undefined) return undefined;
  const parsed = parseEmailAddress(text);
  return parsed.ok ? parsed.address : undefined;
}

function chooseSender(
  wanted: EmailContent['from'],
  { from, allowedFrom }: SmtpSettings,
): SmtpSettings['from'] | undefined {
  const name = oneLine(wanted?.name ?? from.name);
  if (wanted?.address === undefined) return { name, address: from.address };
  const address = parse(wanted.address);
  if (address === undefined) return undefined;
  const allowed = address.address === from.address.address || allowedFrom.has(address.domain);
  return allowed ? { name, address } : undefined;
}

/** What must never reach a header, should content come here that was not validated. */
function faultOf({ replyTo, unsubscribeUrl, headers = {} }: EmailContent): string | undefined {
  if (replyTo !== undefined && parse(replyTo) === undefined) return 'invalid_reply_to';
  if (unsubscribeUrl !== undefined && readUnsubscribeUrl(unsubscribeUrl) === undefined) {
    return 'invalid_unsubscribe_url';
  }
  return Object.keys(headers).every(isAllowedHeader) ? undefined : 'header_not_allowed';
}

/** VERP by plus tag: a bounce names its message even when its body cannot be read. */
function returnPathOf(messageId: string, sender: EmailAddress, settings: SmtpSettings): string {
  const { returnPath } = settings;
  if (returnPath === undefined) return sender.address;
  return `${returnPath.localPart}+${messageId}@${returnPath.domain}`;
}

function extraHeaders(content: EmailContent): { key: string; value: string }[] {
  // RFC 3834, 5: keeps holiday replies and ticket systems from answering.
  const headers = [{ key: 'Auto-Submitted', value: 'auto-generated' }];
  const url = readUnsubscribeUrl(content.unsubscribeUrl ?? '');
  if (url !== undefined) {
    // RFC 8058, 3.1: both, and DKIM covers both (SIGNED_HEADERS).
    headers.push(
      { key: 'List-Unsubscribe', value: `<${url}>` },
      { key: 'List-Unsubscribe-Post', value: 'List-Unsubscribe=One-Click' },
    );
  }
  for (const [key, value] of Object.entries(content.headers ?? {})) {
    headers.push({ key, value: oneLine(value) });
  }
  return headers;
}

/**
 * What a DKIM signature covers: the recommendation of RFC 6376, 5.4.1 and the fields that RFC 8058
 * demands. nodemailer's own list lacks List-Unsubscribe-Post.
 */
export const SIGNED_HEADERS = [
  'From',
  'Reply-To',
  'Subject',
  'Date',
  'Message-ID',
  'To',
  'MIME-Version',
  'Content-Type',
  'Content-Transfer-Encoding',
  'In-Reply-To',
  'References',
  'Auto-Submitted',
  'Feedback-ID',
  'List-Unsubscribe',
  'List-Unsubscribe-Post',
].join(':');

// Control characters, and those that reorder text so that a name reads as another address.
const NOT_ON_ONE_LINE = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]+/gu;

function oneLine(text: string): string {
  return text.replace(NOT_ON_ONE_LINE, ' ').trim();
}

const HIDDEN = 'display:none;max-height:0;overflow:hidden;mso-hide:all';

function withPreheader(html: string, preheader: string | undefined): string {
  if (preheader === undefined) return html;
  const body = /<body\b[^>]*>/i.exec(html);
  const at = body === null ? 0 : body.index + body[0].length;
  const hidden = `<div style="${HIDDEN}">${escapeHtmlText(preheader)}</div>`;
  return `${html.slice(0, at)}${hidden}${html.slice(at)}`;
}

/**
 * Bytes the message has at least, told as SIZE (RFC 1870): a server with a lower limit refuses
 * before anything large is sent, and none refuses a message it would have taken.
 */
function leastBytes(content: EmailContent): number {
  let bytes = Buffer.byteLength(content.text ?? '') + Buffer.byteLength(content.html ?? '');
  for (const { contentBase64 } of content.attachments ?? []) bytes += contentBase64.length;
  return bytes;
}
