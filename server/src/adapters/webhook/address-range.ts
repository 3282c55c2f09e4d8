/**
 * What an IP address is: public, or one of the many ranges that lead to the inside of a network.
 * Facts only; what an operator allows or denies beyond them is in address-guard.ts.
 *
 * ipaddr.js knows the special ranges of the IANA registries. It counts as `unicast` what is left,
 * which is too much: addresses of cloud services that stand in public space, IPv6 outside of the
 * one block that is routed at all, and IPv6 that carries an IPv4 address inside.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

export type Address = ipaddr.IPv4 | ipaddr.IPv6;
export type Network = [Address, number];

/**
 * Denied whatever an operator allows: no webhook receiver lives there, and a credential of the
 * machine may. An operator who allows `100.64.0.0/10` means a VPN, not Alibaba's metadata.
 */
const NEVER = parseNetworks('NEVER', [
  // Link-local: the metadata services of AWS, Google, Azure, Tencent and others (169.254.169.254).
  '169.254.0.0/16',
  'fe80::/10',
  // Azure: wire server and DNS, the same in every virtual network; in public address space.
  '168.63.129.16/32',
  // Alibaba Cloud and Oracle Cloud metadata.
  '100.100.100.200/32',
  '192.0.0.192/32',
  // AWS, Google and Scaleway metadata over IPv6.
  'fd00:ec2::254/128',
  'fd20:ce::254/128',
  'fd00:42::42/128',
  // "This host": Linux connects to itself.
  '0.0.0.0/8',
  '::/128',
  // Nobody in particular.
  '224.0.0.0/4',
  '255.255.255.255/32',
  'ff00::/8',
]);

/** Global unicast (IANA IPv6 address space registry): nothing outside is routed on the internet. */
const GLOBAL_IPV6 = parseNetworks('GLOBAL_IPV6', ['2000::/3']);

/** ipaddr.js alone would also take `010.0.0.0/8` and `10/8`, which people read in different ways. */
export function isNetwork(text: string): boolean {
  return ipaddr.IPv4.isValidCIDRFourPartDecimal(text) || ipaddr.IPv6.isValidCIDR(text);
}

/** @throws Error that names the setting and the network that cannot be read */
export function parseNetworks(setting: string, networks: readonly string[]): Network[] {
  return networks.map((text) => {
    if (!isNetwork(text)) {
      throw new Error(`${setting}: "${text}" is not a network such as 10.0.0.0/8 or fd00::/8`);
    }
    return ipaddr.parseCIDR(text);
  });
}

/** undefined when the text is no IP address in a usual spelling; `URL` makes others usual. */
export function parseIp(text: string): Address | undefined {
  // Node first: ipaddr.js takes 17 µs to find out that a name is none.
  return isIP(text) === 0 ? undefined : ipaddr.parse(text);
}

export function isWithin(address: Address, networks: readonly Network[]): boolean {
  return networks.some(
    ([network, bits]) => network.kind() === address.kind() && address.match(network, bits),
  );
}

export function isNeverAllowed(address: Address): boolean {
  return isWithin(address, NEVER);
}

/** Whether the address is an ordinary one of the public internet. */
export function isPublic(address: Address): boolean {
  if (isNeverAllowed(address) || address.range() !== 'unicast') return false;
  return address.kind() === 'ipv4' || isWithin(address, GLOBAL_IPV6);
}

/**
 * IPv4 addresses that an IPv6 address stands for where a gateway or tunnel takes them out again:
 * mapped, compatible, translated (RFC 6145), NAT64 (RFC 6052), 6to4 (RFC 3056), Teredo (RFC 4380,
 * whose client is stored inverted) and ISATAP (RFC 5214).
 */
export function embeddedIpv4(address: Address): ipaddr.IPv4[] {
  if (address.kind() === 'ipv4') return [];
  const parts = (address as ipaddr.IPv6).parts;
  const at = (index: number) => parts[index] ?? 0;
  const last = ipv4Of(at(6), at(7));
  const startsWith = (...prefix: number[]) => prefix.every((part, index) => at(index) === part);
  if (startsWith(0x2002)) return [ipv4Of(at(1), at(2))];
  if (startsWith(0x2001, 0)) return [ipv4Of(at(2), at(3)), ipv4Of(~at(6), ~at(7))];
  if ((at(4) & ~0x0200) === 0 && at(5) === 0x5efe) return [last];
  if (startsWith(0x64, 0xff9b)) return [last];
  const mapped = startsWith(0, 0, 0, 0, 0, 0xffff);
  const translated = startsWith(0, 0, 0, 0, 0xffff, 0);
  // Not `::1` and its neighbours, which have no IPv4 address inside.
  const compatible = startsWith(0, 0, 0, 0, 0, 0) && at(6) !== 0;
  return mapped || translated || compatible ? [last] : [];
}

function ipv4Of(high: number, low: number): ipaddr.IPv4 {
  return new ipaddr.IPv4([(high >> 8) & 0xff, high & 0xff, (low >> 8) & 0xff, low & 0xff]);
}
