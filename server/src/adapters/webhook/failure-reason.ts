/** Errors of sockets, DNS, TLS and the HTTP parser as the short stable words of outcomes. */

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection_refused',
  ECONNRESET: 'connection_reset',
  ECONNABORTED: 'connection_reset',
  EPIPE: 'connection_reset',
  ETIMEDOUT: 'timeout',
  ERR_SOCKET_CONNECTION_TIMEOUT: 'timeout',
  ENOTFOUND: 'dns_failure',
  ENODATA: 'dns_failure',
  EHOSTUNREACH: 'network_unreachable',
  ENETUNREACH: 'network_unreachable',
  EHOSTDOWN: 'network_unreachable',
  ENETDOWN: 'network_unreachable',
  EADDRNOTAVAIL: 'network_unreachable',
  EPROTO: 'tls_failure',
};

const REASONS_BY_PREFIX: readonly (readonly [string, string])[] = [
  ['EAI_', 'dns_failure'],
  ['ERR_TLS', 'tls_failure'],
  ['ERR_SSL', 'tls_failure'],
  ['HPE_', 'invalid_response'],
];

export function reasonOfError(error: unknown): string {
  const { code } = error as { code?: unknown };
  if (typeof code !== 'string') return 'network_failure';
  return (
    REASONS[code] ??
    REASONS_BY_PREFIX.find(([prefix]) => code.startsWith(prefix))?.[1] ??
    'network_failure'
  );
}
