/**
 * Port: endpoints that webhook messages go to. Owned by this room because only webhooks have
 * them. Writes are durable when they resolve; reads see every write that resolved before them
 * in the same process, and others' writes within 5 s.
 *
 * Endpoints belong to one application: to every method, an endpoint of another application is
 * one that does not exist. URLs and texts are kept and compared exactly as given: case, trailing
 * spaces and characters of four bytes matter. Secrets are encrypted at rest.
 *
 * An engine fails only with `already_exists` where a method says so, and with `store_unavailable`
 * or `store_full` when it cannot work just now.
 */
import type {
  WebhookEndpoint,
  WebhookEndpointWithSecret,
} from '@tidings/contracts/webhook-endpoint';

/** An endpoint with what is needed to sign for it. */
export interface SigningEndpoint {
  id: number;
  applicationId: number;
  url: string;
  enabled: boolean;
  /** `whsec_…` texts that sign now, newest first; never empty. */
  secrets: string[];
  /** Start of the present series of failures, ms since 1970, or null. */
  failingSince: number | null;
}

/** Secrets that sign at a time: more would only lengthen every request. */
export const SECRET_LIMIT = 10;

/** Why an endpoint was switched off by the service itself; null when a request did it. */
export type DisabledReason = 'gone' | 'failing';

export interface WebhookEndpointStore {
  /**
   * A new endpoint, enabled, with an id greater than all before.
   * @param secret `whsec_…`, already checked
   * @throws already_exists when the application has an endpoint with this URL
   */
  create(input: {
    applicationId: number;
    url: string;
    description: string | null;
    secret: string;
  }): Promise<WebhookEndpointWithSecret>;

  /**
   * The endpoint with exactly this URL, enabled or not; made when there is none, with a secret
   * from `createSecret`. Concurrent calls get the same endpoint. Cheap when it exists: called for
   * each delivery.
   */
  ensure(input: {
    applicationId: number;
    url: string;
    /** Gives a new `whsec_…`; may be called in vain. */
    createSecret: () => string;
  }): Promise<SigningEndpoint>;

  /** undefined when the application has no such endpoint. */
  get(applicationId: number, id: number): Promise<WebhookEndpoint | undefined>;

  /** Cheap: called for each delivery. undefined when the application has no such endpoint. */
  signing(applicationId: number, id: number): Promise<SigningEndpoint | undefined>;

  /** Newest first, ids below `before`. */
  list(
    applicationId: number,
    page: { limit: number; before: number | null },
  ): Promise<WebhookEndpoint[]>;

  /**
   * Changes what is given and `updatedAt`. Enabling clears the reason and the series of failures;
   * so does another URL, which is another receiver, for the series. Disabling an endpoint that is
   * disabled keeps its reason. undefined when there is none.
   * @throws already_exists when another endpoint of the application has the URL; nothing is changed
   */
  update(
    applicationId: number,
    id: number,
    change: { url?: string; description?: string | null; enabled?: boolean },
  ): Promise<WebhookEndpoint | undefined>;

  /**
   * Adds a secret that signs first; the ones before it sign until `previousUntil` (ms since 1970),
   * or until the end they already had when that is earlier. Past SECRET_LIMIT the oldest end at
   * once. Concurrent rotations all take effect. undefined when there is no such endpoint.
   */
  rotate(
    applicationId: number,
    id: number,
    input: { secret: string; previousUntil: number },
  ): Promise<WebhookEndpointWithSecret | undefined>;

  /** False when there was none. */
  delete(applicationId: number, id: number): Promise<boolean>;

  /**
   * The first failure starts a series of failures; a success ends it unless it happened before the
   * series began. Idempotent, nothing without such an endpoint. Writes only when something
   * changes, so it may be called for each delivery.
   */
  recordResult(
    applicationId: number,
    id: number,
    result: { ok: boolean /** ms since 1970 */; at: number },
  ): Promise<void>;

  /** Switches it off with a reason; true for the one call that did, false when it was off or is absent. */
  disable(applicationId: number, id: number, reason: DisabledReason): Promise<boolean>;
}
