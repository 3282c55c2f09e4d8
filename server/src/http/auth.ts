/**
 * Who is calling. Credentials come only in the Authorization header: no cookie is ever read, so
 * no page of another origin can act for a person who is logged in.
 */
import { hash } from 'node:crypto';
import type { Scope } from '@tidings/contracts/common';
import type { FastifyInstance, FastifyRequest } from 'fastify';
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

export function addAuthentication(app: FastifyInstance, applications: ApplicationStore): void {
  app.decorateRequest('caller', null);
  app.addHook('onRequest', (request, _reply, done) => {
    const { scope } = request.routeOptions.config;
    if (scope === undefined) return done();
    try {
      request.caller = authenticate(request, applications);
      if (!request.caller.scopes.includes(scope)) {
        throw new ServiceError('forbidden', {
          detail: `This key does not have the scope "${scope}".`,
        });
      }
      done();
    } catch (error) {
      done(error as Error);
    }
  });
}

function authenticate(request: FastifyRequest, applications: ApplicationStore): Caller {
  const header = request.headers.authorization;
  if (header === undefined)
    throw new ServiceError('unauthorized', { detail: 'The Authorization header is missing.' });
  const space = header.indexOf(' ');
  if (header.slice(0, space).toLowerCase() !== 'bearer') {
    throw new ServiceError('unauthorized', {
      detail: 'The Authorization header must be "Bearer <API key>".',
    });
  }
  const caller = applications.authenticate(hash('sha256', header.slice(space + 1).trim()));
  // One answer for unknown, revoked and expired: nobody learns which keys once existed.
  if (!caller) throw new ServiceError('unauthorized', { detail: 'The API key is not valid.' });
  return caller;
}

/** The caller of a route that has a scope. */
export function callerOf(request: FastifyRequest): Caller {
  if (!request.caller) throw new ServiceError('unauthorized');
  return request.caller;
}
