/**
 * Endpoints as callers manage them: URLs are checked before they are kept, secrets are made or
 * checked, ids are read. What an endpoint is and where it is kept is the store's matter.
 */
import type {
  CreateWebhookEndpoint,
  EditWebhookEndpoint,
  RotateWebhookSecret,
  WebhookEndpoint,
  WebhookEndpointWithSecret,
} from '@tidings/contracts/webhook-endpoint';
import type { Clock } from '../../clock.ts';
import { invalid, notFound, ServiceError } from '../../errors.ts';
import { parseId } from '../../id.ts';
import type { AddressGuard } from './address-guard.ts';
import type { WebhookEndpointStore } from './endpoint-store.ts';
import { createSecret, parseSecret } from './signature.ts';

/** Long enough to roll out a secret without haste. */
const KEEP_PREVIOUS_SECONDS = 86_400;

export interface WebhookEndpointService {
  /** @throws forbidden_url, invalid_request for a bad secret, already_exists */
  create(applicationId: number, input: CreateWebhookEndpoint): Promise<WebhookEndpointWithSecret>;
  list(
    applicationId: number,
    page: { limit: number; before: number | null },
  ): Promise<WebhookEndpoint[]>;
  /** This and all below: @throws not_found */
  get(applicationId: number, id: string): Promise<WebhookEndpoint>;
  /** @throws forbidden_url, already_exists */
  update(applicationId: number, id: string, change: EditWebhookEndpoint): Promise<WebhookEndpoint>;
  delete(applicationId: number, id: string): Promise<void>;
  /** @throws invalid_request for a bad secret */
  rotateSecret(
    applicationId: number,
    id: string,
    input: RotateWebhookSecret,
  ): Promise<WebhookEndpointWithSecret>;
}

export function createWebhookEndpointService({
  store,
  guard,
  clock,
}: {
  store: WebhookEndpointStore;
  guard: Pick<AddressGuard, 'checkUrl'>;
  clock: Pick<Clock, 'now'>;
}): WebhookEndpointService {
  const checkUrl = (text: string): string => {
    const checked = guard.checkUrl(text);
    if (checked.ok) return checked.url.href;
    throw invalid('forbidden_url', [{ path: 'body.url', message: checked.message }], checked.hint);
  };

  return {
    async create(applicationId, { url, description, secret }) {
      const input = {
        applicationId,
        url: checkUrl(url),
        description: description ?? null,
        secret: checkSecret(secret),
      };
      return store.create(input).catch(nameUrl);
    },

    list: (applicationId, page) => store.list(applicationId, page),

    async get(applicationId, id) {
      return present(await store.get(applicationId, readId(id)));
    },

    async update(applicationId, id, { url, ...rest }) {
      const change = url === undefined ? rest : { ...rest, url: checkUrl(url) };
      return present(await store.update(applicationId, readId(id), change).catch(nameUrl));
    },

    async delete(applicationId, id) {
      if (!(await store.delete(applicationId, readId(id)))) throw absent();
    },

    async rotateSecret(applicationId, id, input) {
      const secret = checkSecret(input.secret);
      const keepMs = (input.keepPreviousForSeconds ?? KEEP_PREVIOUS_SECONDS) * 1000;
      const previousUntil = clock.now() + keepMs;
      return present(await store.rotate(applicationId, readId(id), { secret, previousUntil }));
    },
  };
}

function checkSecret(secret: string | undefined): string {
  if (secret === undefined) return createSecret();
  if (parseSecret(secret) !== undefined) return secret;
  const message = 'must be "whsec_" followed by 24 to 64 bytes in base64';
  throw invalid('invalid_request', [{ path: 'body.secret', message }]);
}

/** What cannot be an id is answered like one that does not exist. */
function readId(text: string): number {
  const id = parseId('whe', text);
  if (id === undefined) throw absent();
  return id;
}

function present<T>(found: T | undefined): T {
  if (found === undefined) throw absent();
  return found;
}

function absent(): ServiceError {
  return notFound('webhook endpoint');
}

function nameUrl(error: unknown): never {
  if (!(error instanceof ServiceError) || error.code !== 'already_exists') throw error;
  throw invalid(
    'already_exists',
    [{ path: 'body.url', message: 'belongs to another endpoint of this application' }],
    'List the endpoints to find it, and change that one.',
  );
}
