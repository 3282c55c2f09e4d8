/**
 * Agents of node:http and node:https whose every connection passes the address guard: the literal
 * host before connecting, each answer of the resolver, and the peer's address before the first
 * byte is written, which for https is before the TLS handshake.
 *
 * Agents of our own, not the global ones: those follow `HTTP_PROXY` when Node is told to, and a
 * proxy would connect wherever it is asked to.
 */
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { type AddressGuard, AddressNotAllowedError } from './address-guard.ts';

/**
 * Idle connections end before receivers end them: 5 s is the default of Node and of several
 * proxies, and a request on a connection that is just being closed is lost.
 */
const IDLE_MS = 4000;

/** What the request adds to the options an agent is asked for a connection with. */
export interface ConnectOptions {
  /** Called with how to give up a connection that is being opened; without effect once it is open. */
  opening?: (giveUp: () => void) => void;
}

type Target = net.TcpNetConnectOpts & ConnectOptions & { servername?: string };
type Connected = (error: Error | null, socket?: Duplex) => void;

export interface GuardedAgents {
  agentOf(protocol: string): http.Agent;
  /** Ends all open connections; those being opened are given up by who asked for them. */
  close(): void;
}

/** Sets no limit on connections in use: host-limit.ts says why an agent cannot. */
export function createGuardedAgents(guard: AddressGuard, maxIdlePerHost: number): GuardedAgents {
  const settings = { keepAlive: true, timeout: IDLE_MS, maxFreeSockets: maxIdlePerHost };
  const plain = new http.Agent(settings);
  const secure = new https.Agent(settings);
  setConnect(plain, (target, done) => openConnection(guard, target, false, done));
  setConnect(secure, (target, done) => openConnection(guard, target, true, done));
  return {
    agentOf: (protocol) => (protocol === 'https:' ? secure : plain),
    close() {
      plain.destroy();
      secure.destroy();
    },
  };
}

function setConnect(agent: http.Agent, connect: (target: Target, done: Connected) => void): void {
  agent.createConnection = (options, callback) => {
    connect(options as Target, callback as Connected);
    return undefined;
  };
}

function openConnection(
  guard: AddressGuard,
  { host = '', port, servername, opening }: Target,
  secure: boolean,
  done: Connected,
): void {
  if (net.isIP(host) !== 0 && guard.refusalOf(host) !== undefined) {
    done(new AddressNotAllowedError());
    return;
  }
  const socket = net.connect({ host, port, lookup: guard.lookup, noDelay: true });
  const stages: Duplex[] = [socket];
  let settled = false;
  const settle = (error: Error | null, connected?: Duplex): void => {
    if (settled) return;
    settled = true;
    if (error) stages.forEach(abandon);
    done(error, connected);
  };
  opening?.(() => settle(failure('ECONNABORTED')));
  socket.once('error', settle);
  socket.once('close', () => settle(failure('ECONNRESET')));
  socket.once('connect', () => {
    const peer = socket.remoteAddress;
    if (peer === undefined) return settle(failure('ECONNRESET'));
    if (guard.refusalOf(peer) !== undefined) return settle(new AddressNotAllowedError());
    if (!secure) return settle(null, socket);
    const encrypted = startTls(socket, host, servername);
    stages.push(encrypted);
    encrypted.once('error', (error) => settle(tlsFailure(error)));
    encrypted.once('secureConnect', () => settle(null, encrypted));
  });
}

function abandon(socket: Duplex): void {
  // What else goes wrong with it is no news, but unheard it would end the process.
  socket.on('error', () => {});
  socket.destroy();
}

function startTls(socket: net.Socket, host: string, servername: string | undefined): tls.TLSSocket {
  return tls.connect({
    socket,
    // The certificate is checked against this when there is no server name, as for an IP address.
    host,
    servername: servername ?? '',
    ALPNProtocols: ['http/1.1'],
    minVersion: 'TLSv1.2',
    // Stated, so that NODE_TLS_REJECT_UNAUTHORIZED cannot switch it off.
    rejectUnauthorized: true,
  });
}

function failure(code: string): Error {
  return Object.assign(new Error(`connecting failed: ${code}`), { code });
}

const NETWORK_CODES: ReadonlySet<unknown> = new Set(['ECONNRESET', 'ETIMEDOUT', 'EPIPE']);

/** What goes wrong in the handshake is about TLS, unless the network broke. */
function tlsFailure(error: NodeJS.ErrnoException): Error {
  if (NETWORK_CODES.has(error.code)) return error;
  return Object.assign(new Error(error.message, { cause: error }), { code: 'ERR_TLS_HANDSHAKE' });
}
