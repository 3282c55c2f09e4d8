/**
 * An email address as Tidings accepts it: exactly one addr-spec in its plain form, `local@domain`.
 * This is not a parser of header fields: what RFC 5322 allows there beyond one plain address
 * (display names, lists, groups, comments, quoted local parts, source routes, IP literals) is
 * what address injection is made of, and no caller needs it to name one person.
 *
 * No installed library does this. nodemailer's addressparser reads header values and always finds
 * something: `b@y.io\r\nBcc: evil@z.io` becomes a message to evil@z.io.
 */
import { domainToASCII, domainToUnicode } from 'node:url';
import type { ParsedAddress } from '../adapter.ts';

export interface EmailAddress {
  /** `localPart@domain`: ASCII, the domain in lower case, international names in their `xn--` form. */
  address: string;
  localPart: string;
  domain: string;
}

// RFC 5321, 4.5.3.1: a path is at most 256 octets with its angle brackets, a local part 64.
const ADDRESS_LIMIT = 254;
const LOCAL_PART_LIMIT = 64;

// RFC 5322 atext without `%` and `!`: `user%far@near` and `near!user` are source routes that some
// servers still follow.
const ATOM = "[A-Za-z0-9#$&'*+/=?^_`{|}~-]+";
// A leading `-` is read as an option where an address ends up on a command line; Postfix refuses it
// by default as well (allow_min_user).
const LOCAL_PART = `(?!-)${ATOM}(?:\\.${ATOM})*`;
// The last label is alphabetic or `xn--` (RFC 3696, 2), so that no spelling of an IP address passes.
const DOMAIN =
  '(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\\.)+(?:[A-Za-z]{2,63}|[Xx][Nn]--[A-Za-z0-9-]{0,58}[A-Za-z0-9])';

const PLAIN_ADDRESS = new RegExp(`^${LOCAL_PART}@${DOMAIN}$`);
const PLAIN_LOCAL_PART = new RegExp(`^${LOCAL_PART}$`);
const PLAIN_DOMAIN = new RegExp(`^${DOMAIN}$`);
// Checked before domainToASCII sees the text: that function parses a URL host, so it drops what
// follows a `/` and decodes `%41`.
const INTERNATIONAL_DOMAIN = /^[\p{L}\p{M}\p{N}.-]+$/u;
const HYPHEN_AT_LABEL_EDGE = /(?:^|\.)-|-(?:\.|$)/;
const NOT_ASCII = /[^\u0000-\u007f]/;
// Starts an encoded word (RFC 2047). Some servers decode it even in an address and find another one
// in it (PortSwigger, "Splitting the email atom", 2024).
const ENCODED_WORD = '=?';
const INVISIBLE = /[\s\p{Cc}\p{Cf}\p{Z}]/u;

/**
 * Local parts are ASCII. A UTF-8 local part (RFC 6531) arrives only where every server on the way
 * offers SMTPUTF8, and none can be asked beforehand: such an address would be accepted here and
 * bounce later. Domains may be international; they travel in their ASCII form.
 */
export function parseEmailAddress(text: string): ParsedAddress<EmailAddress> {
  if (text.length > ADDRESS_LIMIT) return refuse(`is longer than ${ADDRESS_LIMIT} characters`);
  if (text.includes(ENCODED_WORD)) return refuse('contains an encoded word');
  if (PLAIN_ADDRESS.test(text)) {
    const at = text.indexOf('@');
    const domain = text.slice(at + 1).toLowerCase();
    if (domain.includes('xn--') && !isReadable(domain)) {
      return refuse('has a domain whose xn-- form stands for nothing');
    }
    return accept(text.slice(0, at), domain);
  }
  const at = text.indexOf('@');
  const localPart = text.slice(0, Math.max(at, 0));
  const domain = text.slice(at + 1);
  if (NOT_ASCII.test(domain) && PLAIN_LOCAL_PART.test(localPart)) {
    const ascii = toAsciiDomain(domain);
    if (ascii !== undefined) return accept(localPart, ascii);
  }
  return refuse(describeFault(text, localPart, domain));
}

function accept(localPart: string, domain: string): ParsedAddress<EmailAddress> {
  if (localPart.length > LOCAL_PART_LIMIT) {
    return refuse(`has more than ${LOCAL_PART_LIMIT} characters before the @`);
  }
  const address = `${localPart}@${domain}`;
  if (address.length > ADDRESS_LIMIT) return refuse(`is longer than ${ADDRESS_LIMIT} characters`);
  return { ok: true, address: { address, localPart, domain }, normalized: address };
}

function refuse(fault: string): ParsedAddress<EmailAddress> {
  return { ok: false, message: `The email address ${fault}.` };
}

/** The ASCII form, if it reads back as what was written: nothing was mapped to a look-alike or left out. */
function toAsciiDomain(domain: string): string | undefined {
  if (!INTERNATIONAL_DOMAIN.test(domain) || HYPHEN_AT_LABEL_EDGE.test(domain)) return undefined;
  const written = domain.normalize('NFC').toLowerCase();
  const ascii = domainToASCII(written);
  return PLAIN_DOMAIN.test(ascii) && domainToUnicode(ascii) === written ? ascii : undefined;
}

function isReadable(domain: string): boolean {
  const unicode = domainToUnicode(domain);
  return unicode !== domain && domainToASCII(unicode) === domain;
}

/** Off the hot path: why an address was refused, in the words of who typed it. */
function describeFault(text: string, localPart: string, domain: string): string {
  if (text === '') return 'is empty';
  if (INVISIBLE.test(text)) {
    return 'contains spaces, control or invisible characters; give one address and nothing else';
  }
  if (!text.includes('@')) return 'has no @';
  if (/[<>]/.test(text)) return 'has a display name or angle brackets; give the bare address';
  if (text.includes('"')) return 'has a quoted part, which is not accepted';
  if (/[,;]/.test(text)) return 'is a list or a group; give one address';
  if (domain.includes('@')) return 'has more than one @';
  if (domain.startsWith('[')) return 'names an IP address instead of a domain';
  if (NOT_ASCII.test(localPart)) {
    return 'has characters other than ASCII before the @, which not every mail server takes';
  }
  if (!PLAIN_LOCAL_PART.test(localPart)) return 'has a part before the @ that is not acceptable';
  return 'has a domain that is not acceptable';
}

/** `ada@example.com` → `a***@example.com`; a one-letter name is hidden whole. */
export function maskEmailAddress(text: string): string {
  const parsed = parseEmailAddress(text);
  if (!parsed.ok) return '***';
  const { localPart, domain } = parsed.address;
  return `${localPart.length > 1 ? localPart[0] : ''}***@${domain}`;
}
