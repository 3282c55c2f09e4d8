/**
 * Port: endpoints that webhook messages go to. Owned by this room because only webhooks have
 * them. Writes are durable when they resolve; reads see every write that resolved before them
 * in the same process, and others' writes within 5 s.
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
  /** `whsec_…` texts that sign now, newest first. */
  secrets: string[];
  /** Start of the present series of failures, ms since 1970, or null. */
  failingSince: number | null;
}

export interface WebhookEndpointStore {
  /** @param secret `whsec_…`, already checked */
  create(input: {
    applicationId: number;
    url: string;
    description: string | null;
    secret: string;
  }): Promise<WebhookEndpointWithSecret>;

  /** The endpoint with exactly this URL; made with the given secret when there is none. Concurrent calls get the same one. */
  ensure(input: { applicationId: number; url: string; secret: string }): Promise<SigningEndpoint>;

  /** undefined when the application has no such endpoint. */
  get(applicationId: number, id: number): Promise<WebhookEndpoint | undefined>;

  /** Cheap: called for each delivery. undefined when the application has no such endpoint. */
  signing(applicationId: number, id: number): Promise<SigningEndpoint | undefined>;

  /** Newest first, ids below `before`. */
  list(applicationId: number, page: { limit: number; before: number | null }): Promise<WebhookEndpoint[]>;

  /** Enabling clears the reason and the series of failures. undefined when there is none. */
  update(
    applicationId: number,
    id: number,
    change: { url?: string; description?: string; enabled?: boolean },
  ): Promise<WebhookEndpoint | undefined>;

  /** Adds a secret that signs first; the ones before it sign until `previousUntil` (ms since 1970). */
  rotate(
    applicationId: number,
    id: number,
    input: { secret: string; previousUntil: number },
  ): Promise<WebhookEndpointWithSecret | undefined>;

  /** False when there was none. */
  delete(applicationId: number, id: number): Promise<boolean>;

  /** A success ends a series of failures; the first failure starts one. Idempotent. */
  recordResult(applicationId: number, id: number, result: { ok: boolean; at: number }): Promise<void>;

  /** Switches it off with a reason; true when it was on until now. */
  disable(applicationId: number, id: number, reason: string): Promise<boolean>;
}
