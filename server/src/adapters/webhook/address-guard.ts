/**
 * Where webhooks may go. Callers choose the URLs, and the service stands inside of the operator's
 * network: unguarded, every caller could reach what only the inside can (server-side request
 * forgery). Nothing but public addresses is reached unless the operator allows its network.
 *
 * Three layers, each of which must hold when the others fail:
 *  - `checkUrl` when an endpoint is saved and before each delivery: scheme, port, literal
 *    addresses in any spelling, and names that mean the inside;
 *  - `lookup` when a connection is opened: names are judged by all the addresses they lead to, and
 *    the connection goes to one of those that were judged (a second look-up could answer
 *    differently: DNS rebinding);
 *  - `refusalOf` for the literal host before and the peer's address after connecting, before
 *    anything is written. Node never calls `lookup` for a literal address.
 *
 * It opens no connection itself: guarded-agent.ts does.
 */
import { type LookupAddress, type LookupOptions, lookup as systemLookup } from 'node:dns';
import {
  type Address,
  embeddedIpv4,
  isNeverAllowed,
  isPublic,
  isWithin,
  parseIp,
  parseNetworks,
} from './address-range.ts';
import { kindOfName } from './host-name.ts';
import { parseWebhookUrl } from './url.ts';

export interface AddressGuardOptions {
  /** CIDRs that may be reached although they are not public; http is allowed there too. */
  allowedNetworks?: readonly string[];
  /** CIDRs that may not be reached although they are public; wins over `allowedNetworks`. */
  deniedNetworks?: readonly string[];
  /** Whether http is allowed for any host. */
  allowHttp?: boolean;
  /** Resolves names to all their addresses; the system's resolver unless a test replaces it. */
  lookup?: ResolveAll;
}

export type ResolveAll = (
  hostname: string,
  options: LookupOptions & { all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/** `lookup` as node:net takes it. */
export type GuardedLookup = (
  hostname: string,
  options: LookupOptions,
  callback: (
    error: NodeJS.ErrnoException | null,
    address: string | LookupAddress[],
    family?: number,
  ) => void,
) => void;

/** `hint`: what to do, when it is not the address that is refused. */
export type CheckedUrl = { ok: true; url: URL } | { ok: false; message: string; hint?: string };

export interface AddressGuard {
  /** Whether webhooks may be sent to this URL, as far as the text tells. */
  checkUrl(text: string): CheckedUrl;
  /** Why this IP address may not be reached; undefined when it may. */
  refusalOf(address: string): string | undefined;
  /** Resolves a name to those of its addresses that may be reached; AddressNotAllowedError when there are none. */
  lookup: GuardedLookup;
}

/** A connection that the guard refused. Says nothing of the address: it may tell of the inside. */
export class AddressNotAllowedError extends Error {
  readonly code = 'ERR_ADDRESS_NOT_ALLOWED';

  constructor() {
    super('the host leads to an address that is not allowed');
    this.name = 'AddressNotAllowedError';
  }
}

/**
 * Ports of other protocols that read enough of an HTTP request to be misused: the "bad ports" of
 * the Fetch standard (fetch.spec.whatwg.org/#port-blocking), which browsers refuse as well.
 */
const BAD_PORTS: ReadonlySet<number> = new Set([
  0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102,
  103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465,
  512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993,
  995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668,
  6669, 6679, 6697, 10080,
]);

const SPELLING_HINT =
  'Write an absolute https URL without user name and fragment, such as https://hooks.example.com/tidings.';

const LOOPBACK_ADDRESSES = ['127.0.0.1', '::1'];

/** @throws Error that names the setting when a network cannot be read */
export function createAddressGuard(options: AddressGuardOptions = {}): AddressGuard {
  const allowed = parseNetworks('allowedNetworks', options.allowedNetworks ?? []);
  const denied = parseNetworks('deniedNetworks', options.deniedNetworks ?? []);
  const resolveAll: ResolveAll = options.lookup ?? systemLookup;

  const refusalOfParsed = (address: Address): string | undefined => {
    if (isNeverAllowed(address)) return 'is never allowed';
    if (isWithin(address, denied)) return 'is denied by the operator';
    if (embeddedIpv4(address).some((inner) => refusalOfParsed(inner) !== undefined)) {
      return 'stands for an IPv4 address that is not allowed';
    }
    if (isPublic(address) || isWithin(address, allowed)) return undefined;
    return 'is not a public address';
  };
  const refusalOf = (text: string): string | undefined => {
    const address = parseIp(text);
    return address === undefined ? 'is not an IP address' : refusalOfParsed(address);
  };
  const isInside = (text: string): boolean => {
    const address = parseIp(text);
    return address !== undefined && isWithin(address, allowed);
  };

  /** What is wrong with a name, before anything is resolved. */
  const refusalOfName = (name: string): string | undefined => {
    switch (kindOfName(name)) {
      case 'public':
        return undefined;
      case 'malformed':
        return 'has a host name that is not acceptable (write it without a dot at the end)';
      case 'metadata':
        return 'names a metadata service, which is never allowed';
      case 'loopback':
        return LOOPBACK_ADDRESSES.some((address) => refusalOf(address) === undefined)
          ? undefined
          : 'names the machine itself, which is not allowed';
      case 'internal':
        // Where the operator allows networks, their names are judged by the addresses behind them.
        return allowed.length > 0
          ? undefined
          : 'names a host of an internal network, which is not allowed';
    }
  };

  const checkUrl = (text: string): CheckedUrl => {
    const parsed = parseWebhookUrl(text);
    if (!parsed.ok) return { ...parsed, hint: SPELLING_HINT };
    const { url } = parsed;
    const host = hostOf(url);
    const literal = parseIp(host) !== undefined;
    const refusal = literal ? refusalOf(host) : refusalOfName(host);
    if (refusal !== undefined) {
      return { ok: false, message: literal ? `has an address that ${refusal}` : refusal };
    }
    if (url.port !== '' && BAD_PORTS.has(Number(url.port))) {
      return {
        ok: false,
        message: `has the port ${url.port}, which belongs to another protocol`,
        hint: 'Let the receiver listen on 443 or another port of its own.',
      };
    }
    const inside = literal ? isInside(host) : kindOfName(host) === 'loopback';
    if (url.protocol === 'http:' && options.allowHttp !== true && !inside) {
      return {
        ok: false,
        message: 'must begin with https://',
        hint: 'Without TLS a URL is taken only where the operator allows it.',
      };
    }
    return { ok: true, url };
  };

  const lookup: GuardedLookup = (hostname, lookupOptions, callback) => {
    resolveAll(hostname, { ...lookupOptions, all: true }, (error, addresses) => {
      if (error) return callback(error, []);
      const permitted = addresses.filter(({ address }) => refusalOf(address) === undefined);
      const [first] = permitted;
      if (first === undefined) return callback(new AddressNotAllowedError(), []);
      if (lookupOptions.all) callback(null, permitted);
      else callback(null, first.address, first.family);
    });
  };

  return { checkUrl, refusalOf, lookup };
}

/** The host of a URL as sockets take it: IPv6 without its brackets. */
export function hostOf(url: URL): string {
  const { hostname } = url;
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
}
