/**
 * What must be there before anybody can call: the default application and the operator's key,
 * which has every scope. Run at each start, by several processes at once if need be.
 *
 * The operator's key is the one named `bootstrap` of the default application. A key that is
 * configured is added, then the earlier ones are revoked; a stop in between is made good by the
 * next start. What was revoked, for example because it had leaked, does not come back by a restart.
 */
import type { ApiKey } from '@tidings/contracts/application';
import { SCOPES } from '@tidings/contracts/common';
import type { Clock } from '../clock.ts';
import { ServiceError } from '../errors.ts';
import { parseId } from '../id.ts';
import { newApiKey, type Secret, secretOf } from './api-key.ts';
import type { ApplicationRecord, ApplicationStore } from './application-store.ts';

export const DEFAULT_APPLICATION = 'default';
/** Reserved, since a change of the operator's key revokes the ones named so. */
export const BOOTSTRAP_NAME = 'bootstrap';

/** Visible ASCII without spaces: what an Authorization header carries unchanged. */
const CONFIGURED_KEY = /^[\x21-\x7e]{16,200}$/;
const PAGE = 200;

/** What came of the operator's key. */
export type Bootstrap =
  /** Shown once: nobody can read it again. */
  | { kind: 'generated'; key: string }
  /** The configured key is valid; `revoked` says how many earlier ones ended with it. */
  | { kind: 'configured'; revoked: number }
  /** None is configured, and this is not the first start. */
  | { kind: 'kept' }
  /** The configured key was revoked and stays so; all others were left as they are. */
  | { kind: 'refused' };

/**
 * @param configured TIDINGS_BOOTSTRAP_KEY; without it the first start generates a key.
 * @throws invalid_request when it is no key, conflict when it is another key already
 */
export async function bootstrap(
  store: ApplicationStore,
  clock: Clock,
  configured: string | undefined,
): Promise<Bootstrap> {
  const application = await ensureDefault(store);
  if (configured !== undefined) return useConfigured(store, application, configured);
  if ((await operatorKeys(store, application)).length > 0) return { kind: 'kept' };
  const secret = newApiKey(clock, 'live');
  await storeKey(store, application, secret);
  return { kind: 'generated', key: secret.text };
}

/** The default application, made when it is not there. */
export async function ensureDefault(store: ApplicationStore): Promise<ApplicationRecord> {
  const known = await store.byKey(DEFAULT_APPLICATION);
  if (known) return known;
  try {
    return await store.create({ key: DEFAULT_APPLICATION, name: 'Default' });
  } catch (error) {
    const created = isTaken(error) ? await store.byKey(DEFAULT_APPLICATION) : undefined;
    if (created) return created;
    throw error;
  }
}

async function useConfigured(
  store: ApplicationStore,
  application: ApplicationRecord,
  text: string,
): Promise<Bootstrap> {
  if (!CONFIGURED_KEY.test(text)) {
    throw new ServiceError('invalid_request', {
      detail: 'TIDINGS_BOOTSTRAP_KEY must be 16 to 200 visible ASCII characters without spaces.',
    });
  }
  const current = await addConfigured(store, application, secretOf(text));
  if (current.name !== BOOTSTRAP_NAME || current.application !== application.key) {
    throw new ServiceError('conflict', {
      detail: `TIDINGS_BOOTSTRAP_KEY is already the API key ${current.id}; choose another text.`,
    });
  }
  if (current.revokedAt !== null) return { kind: 'refused' };
  const earlier = (await operatorKeys(store, application)).filter(
    ({ id, revokedAt }) => id !== current.id && revokedAt === null,
  );
  for (const { id } of earlier) await store.revokeKey(application.id, parseId('key', id) as number);
  return { kind: 'configured', revoked: earlier.length };
}

async function addConfigured(
  store: ApplicationStore,
  application: ApplicationRecord,
  secret: Secret,
): Promise<ApiKey> {
  const known = await store.keyByDigest(secret.digest);
  if (known) return known;
  try {
    return await storeKey(store, application, secret);
  } catch (error) {
    const created = isTaken(error) ? await store.keyByDigest(secret.digest) : undefined;
    if (created) return created;
    throw error;
  }
}

function storeKey(
  store: ApplicationStore,
  application: ApplicationRecord,
  { digest, prefix }: Secret,
): Promise<ApiKey> {
  return store.createKey({
    applicationId: application.id,
    name: BOOTSTRAP_NAME,
    kind: 'live',
    scopes: SCOPES,
    digest,
    prefix,
    session: false,
    expiresAt: null,
  });
}

async function operatorKeys(
  store: ApplicationStore,
  application: ApplicationRecord,
): Promise<ApiKey[]> {
  const found: ApiKey[] = [];
  let before: number | null = null;
  for (;;) {
    const page: ApiKey[] = await store.listKeys(application.id, { limit: PAGE, before });
    found.push(...page.filter(({ name }) => name === BOOTSTRAP_NAME));
    const last = page.at(-1);
    if (page.length < PAGE || !last) return found;
    before = parseId('key', last.id) as number;
  }
}

/** Another process that started at the same time was faster. */
function isTaken(error: unknown): boolean {
  return error instanceof ServiceError && error.code === 'already_exists';
}
