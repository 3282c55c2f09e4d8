/**
 * Names that mean the machine itself, its network, or a metadata service, by convention rather
 * than by what DNS answers. Names outside of these are judged by the addresses they lead to.
 */

export type NameKind = 'public' | 'loopback' | 'internal' | 'metadata' | 'malformed';

/** Metadata services of cloud providers by name: Google, AWS, Tencent, Equinix. */
const METADATA: ReadonlySet<string> = new Set([
  'metadata',
  'metadata.google.internal',
  'metadata.goog',
  'instance-data',
  'instance-data.ec2.internal',
  'metadata.tencentyun.com',
  'metadata.platformequinix.com',
  'metadata.packet.net',
]);

/** RFC 6761 and what /etc/hosts of common distributions adds. */
const LOOPBACK: ReadonlySet<string> = new Set([
  'localhost',
  'localhost4',
  'localhost6',
  'ip6-localhost',
  'ip6-loopback',
  'localhost.localdomain',
  'localhost4.localdomain4',
  'localhost6.localdomain6',
]);

/** Reserved or, by RFC 6762 appendix G, widely used for private networks. */
const INTERNAL_DOMAINS: ReadonlySet<string> = new Set([
  'local',
  'localdomain',
  'localdomain4',
  'localdomain6',
  'internal',
  'intranet',
  'private',
  'corp',
  'home',
  'lan',
]);

const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const NAME_LIMIT = 253;

/** @param name a host name in ASCII and lower case, as `URL.hostname` gives it */
export function kindOfName(name: string): NameKind {
  const labels = name.split('.');
  if (name.length > NAME_LIMIT || !labels.every((label) => LABEL.test(label))) return 'malformed';
  const last = labels.at(-1) ?? '';
  if (METADATA.has(name)) return 'metadata';
  if (LOOPBACK.has(name) || last === 'localhost') return 'loopback';
  if (labels.length === 1 || INTERNAL_DOMAINS.has(last) || name.endsWith('.home.arpa')) {
    return 'internal';
  }
  return 'public';
}
