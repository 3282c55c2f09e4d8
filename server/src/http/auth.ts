/**
 * Who is calling. Credentials come only in the Authorization header: no cookie is ever read, so
 * no page of another origin can act for a person who is logged in.
 */
import { hash } from 'node:crypto';
import type { Scope } from '@tidings/contracts/common';
import type { FastifyRequest } from 'fastify';
import type { ApplicationStore, Caller } from '../application/application-store.ts';
import { ServiceError } from '../errors.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Scope a caller needs; a route without one is open to everybody and says so by being listed in the tests. */
    scope?: Scope;
  }
  interface FastifyRequest {
    /** Set on every route that has a scope. */
    caller: Caller | null;
  }
}

/** Digests of credentials that were valid: hashing costs more than the look-up it is for. */
const REMEMBERED = 1000;

/**
 * Sets the caller of a request, whose key must have the scope.
 * @throws unauthorized or forbidden
 */
export function createAuthentication(
  applications: ApplicationStore,
): (request: FastifyRequest, scope: Scope) => void {
  const digests = new Map<string, string>();
  return (request, scope) => {
    const caller = authenticate(request, applications, digests);
    request.caller = caller;
    if (caller.scopes.includes(scope)) return;
    throw new ServiceError('forbidden', {
      detail: `This key does not have the scope "${scope}".`,
    });
  };
}

function authenticate(
  request: FastifyRequest,
  applications: ApplicationStore,
  digests: Map<string, string>,
): Caller {
  const header = request.headers.authorization;
  if (header === undefined)
    throw new ServiceError('unauthorized', { detail: 'The Authorization header is missing.' });
  const known = digests.get(header);
  const before = known === undefined ? undefined : applications.authenticate(known);
  if (before) return before;
  const space = header.indexOf(' ');
  if (header.slice(0, space).toLowerCase() !== 'bearer') {
    throw new ServiceError('unauthorized', {
      detail: 'The Authorization header must be "Bearer <API key>".',
    });
  }
  const digest = hash('sha256', header.slice(space + 1).trim());
  const caller = applications.authenticate(digest);
  // One answer for unknown, revoked and expired: nobody learns which keys once existed.
  if (!caller) throw new ServiceError('unauthorized', { detail: 'The API key is not valid.' });
  if (digests.size >= REMEMBERED) digests.clear();
  digests.set(header, digest);
  return caller;
}

/** The caller of a route that has a scope. */
export function callerOf(request: FastifyRequest): Caller {
  if (!request.caller) throw new ServiceError('unauthorized');
  return request.caller;
}
