/**
 * Applications, their API keys and the sessions of the dashboard, as callers deal with them: who
 * may create, see and end which. Whether a key that is presented is valid is not decided here; that
 * is the store's `authenticate`.
 */
import type {
  ApiKey,
  CreateApiKey,
  CreateApplication,
  CreatedApiKey,
  Session,
  Whoami,
} from '@tidings/contracts/application';
import { type KeyKind, SCOPES, type Scope } from '@tidings/contracts/common';
import type { Clock } from '../clock.ts';
import { invalid, notFound, ServiceError } from '../errors.ts';
import { parseId } from '../id.ts';
import { digestOf, newApiKey, newLinkToken, newSessionKey } from './api-key.ts';
import type { ApplicationRecord, ApplicationStore, Caller } from './application-store.ts';
import { AttemptLimiter } from './attempt-limiter.ts';
import { BOOTSTRAP_NAME, type Bootstrap, bootstrap, ensureDefault } from './bootstrap.ts';

const DEFAULT_SCOPES: readonly Scope[] = ['send', 'read', 'manage'];
const ADMIN_LINK_VALID_MS = 3_600_000;
const SESSION_VALID_MS = 12 * 3_600_000;
/** Nobody opens thirty admin links a minute. */
const SESSION_ATTEMPTS = { limit: 30, windowMs: 60_000, capacity: 10_000 };

export interface ApplicationServiceOptions {
  store: ApplicationStore;
  clock: Clock;
}

export type ApplicationService = ReturnType<typeof createApplicationService>;

/** Keys and applications read at once. */
const PAGE = 100;

function administers({ scopes, revokedAt, expiresAt }: ApiKey, now: number): boolean {
  if (!scopes.includes('admin') || revokedAt !== null) return false;
  return expiresAt === null || Date.parse(expiresAt) > now;
}

export function createApplicationService({ store, clock }: ApplicationServiceOptions) {
  const sessionAttempts = new AttemptLimiter({ clock, ...SESSION_ATTEMPTS });

  /** The application a caller means: its own unless it may name another. */
  async function applicationOf(
    caller: Caller,
    named: string | undefined,
  ): Promise<ApplicationRecord> {
    const own = named === undefined || named === caller.application;
    if (!own && !caller.scopes.includes('admin')) {
      throw new ServiceError('forbidden', {
        detail: 'Only a key with the scope "admin" may name another application.',
      });
    }
    const found = own ? await store.byId(caller.applicationId) : await store.byKey(named);
    if (!found) throw notFound('application');
    return found;
  }

  /** Whether no other key that holds could administer: sessions end by themselves and do not count. */
  async function isLastAdmin(keyId: string): Promise<boolean> {
    for (let below: number | null = null; ; ) {
      const applications = await store.list({ limit: PAGE, before: below });
      for (const { id } of applications) if (await hasOtherAdmin(id, keyId)) return false;
      if (applications.length < PAGE) return true;
      below = (applications.at(-1) as ApplicationRecord).id;
    }
  }

  async function hasOtherAdmin(applicationId: number, keyId: string): Promise<boolean> {
    for (let below: number | null = null; ; ) {
      const keys = await store.listKeys(applicationId, { limit: PAGE, before: below });
      if (keys.some((key) => key.id !== keyId && administers(key, clock.now()))) return true;
      if (keys.length < PAGE) return false;
      below = parseId('key', (keys.at(-1) as ApiKey).id) as number;
    }
  }

  return {
    /** To be called at each start: makes sure of the default application and the operator's key. */
    bootstrap(configured: string | undefined): Promise<Bootstrap> {
      return bootstrap(store, clock, configured);
    },

    /** @throws already_exists */
    create({ key, name }: CreateApplication): Promise<ApplicationRecord> {
      return store.create({ key, name: name ?? key });
    },

    /** Newest first, below `before`. */
    list(page: { limit: number; before: number | null }): Promise<ApplicationRecord[]> {
      return store.list(page);
    },

    /**
     * Creates a key that can do no more than the caller's own: no scope it lacks, and no live
     * messages by a test key. The secret is in the answer and nowhere else.
     * @throws forbidden, not_found, invalid_time, invalid_request
     */
    async createKey(caller: Caller, request: CreateApiKey): Promise<CreatedApiKey> {
      const { name = 'API key', kind = 'live', scopes = DEFAULT_SCOPES } = request;
      checkName(name);
      checkNoMore(caller, kind, scopes);
      const expiresAt = checkExpiry(request.expiresAt, clock.now());
      const application = await applicationOf(caller, request.application);
      const { text, digest, prefix } = newApiKey(clock, kind);
      const key = await store.createKey({
        applicationId: application.id,
        name,
        kind,
        scopes: SCOPES.filter((scope) => scopes.includes(scope)),
        digest,
        prefix,
        session: false,
        expiresAt,
      });
      return { ...key, secret: text };
    },

    /** Newest first, below `before`, without sessions. @throws forbidden, not_found */
    async listKeys(
      caller: Caller,
      page: { application: string | undefined; limit: number; before: number | null },
    ): Promise<ApiKey[]> {
      const { id } = await applicationOf(caller, page.application);
      return store.listKeys(id, { limit: page.limit, before: page.before });
    },

    /**
     * Ends a key or a session; repeated, it changes nothing. Operators' keys are ended by operators
     * only: nobody else may lock them out.
     * @throws forbidden, not_found, conflict for the last that can administer
     */
    async revokeKey(caller: Caller, id: string, named: string | undefined): Promise<void> {
      const application = await applicationOf(caller, named);
      const keyId = parseId('key', id);
      const key = keyId === undefined ? undefined : await store.keyById(application.id, keyId);
      if (!key || keyId === undefined) throw notFound('API key');
      if (key.scopes.includes('admin') && !caller.scopes.includes('admin')) {
        throw new ServiceError('forbidden', {
          detail: 'A key with the scope "admin" can be revoked only with that scope.',
        });
      }
      if (administers(key, clock.now()) && (await isLastAdmin(key.id))) {
        throw new ServiceError('conflict', {
          detail: 'This is the last key with the scope "admin"; create another one first.',
        });
      }
      await store.revokeKey(application.id, keyId);
    },

    /** A one-time token by which a person gets a session; valid for an hour. */
    async createAdminLink(): Promise<{ token: string; expiresAt: number }> {
      const { text, digest } = newLinkToken(clock);
      const expiresAt = clock.now() + ADMIN_LINK_VALID_MS;
      await store.createAdminLink(digest, expiresAt);
      return { token: text, expiresAt };
    },

    /**
     * Exchanges the token of an admin link for a key with every scope, valid for twelve hours.
     * @throws unauthorized, in the same words whatever is wrong with the token; limited
     */
    async createSession(token: string, remoteAddress: string): Promise<Session> {
      const retryAfterMs = sessionAttempts.take(remoteAddress);
      if (retryAfterMs !== undefined) {
        const detail = 'There were too many attempts from this address.';
        throw new ServiceError('limited', { detail, retryAfterMs });
      }
      if (!(await store.useAdminLink(digestOf(token)))) {
        throw new ServiceError('unauthorized', {
          detail: 'The link is not valid, was used before, or has expired.',
          hint: 'Ask the operator for a new admin link.',
        });
      }
      const application = await ensureDefault(store);
      const { text, digest, prefix } = newSessionKey(clock);
      const expiresAt = clock.now() + SESSION_VALID_MS;
      await store.createKey({
        applicationId: application.id,
        name: 'session',
        kind: 'live',
        scopes: SCOPES,
        digest,
        prefix,
        session: true,
        expiresAt,
      });
      const until = new Date(expiresAt).toISOString();
      return { key: text, application: application.key, expiresAt: until };
    },

    /** What the caller's own key is. @throws not_found */
    async whoami({ applicationId, keyId }: Caller): Promise<Whoami> {
      const key = await store.keyById(applicationId, keyId);
      if (!key) throw notFound('API key');
      const { application, id, name, prefix, kind, scopes, expiresAt } = key;
      return { application, id, name, prefix, kind, scopes, expiresAt };
    },
  };
}

function checkName(name: string): void {
  if (name !== BOOTSTRAP_NAME) return;
  throw invalid('invalid_request', [
    { path: 'body.name', message: `"${BOOTSTRAP_NAME}" is reserved for the operator's key` },
  ]);
}

function checkExpiry(expiresAt: string | undefined, now: number): number | null {
  if (expiresAt === undefined) return null;
  const at = Date.parse(expiresAt);
  if (at > now) return at;
  const message = Number.isNaN(at) ? 'is not a time that exists' : 'has passed already';
  throw invalid('invalid_time', [{ path: 'body.expiresAt', message }]);
}

function checkNoMore(caller: Caller, kind: KeyKind, scopes: readonly Scope[]): void {
  const missing = scopes.filter((scope) => !caller.scopes.includes(scope));
  if (missing.length > 0) {
    throw new ServiceError('forbidden', {
      detail: `This key cannot give what it does not have itself: ${missing.join(', ')}.`,
      errors: [{ path: 'body.scopes', message: `may not include: ${missing.join(', ')}` }],
    });
  }
  if (caller.kind === 'test' && kind !== 'test') {
    throw new ServiceError('forbidden', {
      detail: 'A test key can create only test keys: give "kind": "test".',
      errors: [{ path: 'body.kind', message: 'must be test' }],
    });
  }
}
