/**
 * How a request comes over its connection: what HTTP allows and two readers could understand
 * differently is refused, and so is what would be read for nothing; connections end so that the
 * sender still gets its answer. Who calls and what is asked is not looked at here.
 */
import type { IncomingHttpHeaders, IncomingMessage, Server } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ServiceError } from '../errors.ts';
import { problemOf } from './problem.ts';

/** How long a sender that goes on after its refusal has to read the answer. */
const LINGER_MS = 500;
/** What is left of a body up to this long arrives by itself; the connection can stay open. */
const SHORT_BODY_BYTES = 64 * 1024;
const HOST = /^(\[[0-9a-f:.%]+\]|[^\s/?#@\\:[\]]+)(:\d{1,5})?$/i;

/** Connections whose last answer is on its way: what else comes on them gets none. */
const closing = new WeakSet<object>();

/** Why a request is refused for the way it is sent; its connection is then closed behind the answer. */
export function transferFault(request: FastifyRequest, reply: FastifyReply): Error | undefined {
  const { 'content-encoding': encoding, 'transfer-encoding': coding, host } = request.raw.headers;
  if (encoding !== undefined && encoding !== 'identity') {
    return Object.assign(new Error('encoded body'), { statusCode: 415 });
  }
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
    closing.add(request.raw.socket);
    return fault(reply, 'transfer-encoding', 'must be chunked or left out');
  }
  const { hosts, credentials } = countHeaders(request.raw.rawHeaders);
  if (credentials > 1) return fault(reply, 'authorization', 'must be sent once');
  const missing = hosts === 0 && request.raw.httpVersion === '1.1';
  if (missing || hosts > 1 || (host !== undefined && !HOST.test(host))) {
    return fault(reply, 'host', 'must be one host, with or without a port');
  }
  return undefined;
}

function fault(reply: FastifyReply, header: string, message: string): ServiceError {
  reply.header('connection', 'close');
  return new ServiceError('invalid_request', { errors: [{ path: `header.${header}`, message }] });
}

/** How many there are of headers of which Node keeps only the first. */
function countHeaders(rawHeaders: readonly string[]): { hosts: number; credentials: number } {
  let hosts = 0;
  let credentials = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (name.length === 4 && name.toLowerCase() === 'host') hosts++;
    if (name.length === 13 && name.toLowerCase() === 'authorization') credentials++;
  }
  return { hosts, credentials };
}

/** Whether more of the body is to come than is worth waiting for. */
export function isLong({ raw }: FastifyRequest): boolean {
  if (raw.complete) return false;
  const length = Number(raw.headers['content-length'] ?? 0);
  return raw.headers['transfer-encoding'] !== undefined || length > SHORT_BODY_BYTES;
}

/** Whether a body, if there is one, arrives by itself and ends where it says. */
export function isShort(headers: IncomingHttpHeaders): boolean {
  if (headers['transfer-encoding'] !== undefined || headers.expect !== undefined) return false;
  return Number(headers['content-length'] ?? 0) <= SHORT_BODY_BYTES;
}

/** Before a refusal is sent that does not wait for the body: at "Connection: close" Node would close at once. */
export function keepOpen(request: FastifyRequest, reply: FastifyReply): void {
  if (isLong(request)) reply.removeHeader('connection');
}

/**
 * A body that was refused before its end is not read to its end: that may never come. Reads on for
 * a moment, because closing on unread bytes would lose the answer.
 */
export function cutOff(message: IncomingMessage): void {
  message.resume();
  message.socket.end();
  setTimeout(() => message.socket.destroy(), LINGER_MS).unref();
}

/** Expectations other than 100-continue cannot be met. */
export function answerExpectations(server: Server): void {
  server.on('checkExpectation', (request, response) => {
    const error = new ServiceError('invalid_request', {
      detail: 'The expectation of the request cannot be met.',
      errors: [{ path: 'header.expect', message: 'must be 100-continue or left out' }],
    });
    const body = JSON.stringify(problemOf(error, 'none', 417));
    response.writeHead(417, { 'content-type': 'application/problem+json', connection: 'close' });
    response.end(body);
    request.socket.once('finish', () => request.socket.destroy());
  });
}

/** What is not HTTP at all: answered by hand, since there is no request, and closed. */
export function clientErrorHandler(
  error: NodeJS.ErrnoException,
  socket: IncomingMessage['socket'],
): void {
  if (error.code === 'ECONNRESET' || !socket.writable || closing.has(socket)) {
    return void socket.destroy();
  }
  const status =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? '408 Request Timeout'
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? '431 Request Header Fields Too Large'
        : '400 Bad Request';
  const body = JSON.stringify({
    type: '/docs/errors#invalid_request',
    title: 'The request is not acceptable HTTP',
    status: Number(status.slice(0, 3)),
    code: 'invalid_request',
    request_id: 'none',
    doc_url: '/docs/errors#invalid_request',
  });
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
