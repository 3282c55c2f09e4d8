/**
 * What a vendor is: how one message of a channel is handed to it and what its answer means.
 *
 * A provider is one file, `adapters/<channel>/providers/<name>.ts`, that default-exports
 * `defineProvider(…)`. Configuration checks, forms, documentation and the conformance test
 * read that one definition. A provider never sleeps, loops or retries: it makes one attempt
 * and returns what came of it; outbound/retry.ts alone decides what happens next.
 *
 * What a provider of the plug-in folder creates is in a process of its own (plug-in-account.ts). Its
 * configuration, deliveries and outcomes cross over as structured clones: plain data arrives as it is,
 * an instance of a class without its methods, and what holds a function not at all.
 */
import type { ChannelContent } from '@tidings/contracts/content';
import type { Static, TSchema } from '@tidings/contracts/schema';
import type { Clock } from '../clock.ts';
import type { FieldError } from '../errors.ts';
import type { InboxLive, InboxStore } from './in-app/inbox-store.ts';
import type { WebhookEndpointStore } from './webhook/endpoint-store.ts';

/**
 * Something that an attempt has changed beside its message, such as an endpoint that is switched off:
 * an event of its own in the timeline, behind the attempt.
 */
export interface Note {
  /** Two or more words (`endpoint_disabled`): single words, and `passed_over`, are events of the service itself. */
  type: string;
  /** Texts by name, in camel case, at most NOTE_TEXTS of them; NOT_IN_NOTES says which names the service keeps. */
  detail?: Readonly<Record<string, string>>;
}

export const NOTE_TEXTS = 10;
export const NOT_IN_NOTES: readonly string[] = [
  'channel',
  'provider',
  'attempt',
  'status',
  'durationMs',
];

/**
 * What came of one attempt. `reason` is a short stable word (`mailbox_full`); `response` is
 * what the vendor said, without secrets, at most RESPONSE_LIMIT characters, for the timeline.
 */
export type Outcome = { note?: Note } & (
  | {
      kind: 'sent';
      providerMessageId?: string;
      response?: string;
      /** What would have been sent, when a capturing provider stood in. */
      captured?: Record<string, unknown>;
    }
  | {
      kind: 'retry';
      reason: string;
      /** When the vendor says so (`Retry-After`). */
      retryAfterMs?: number;
      /**
       * What has to wait: the whole destination (the default; it also counts towards its circuit
       * breaker), or only this message, because the answer was about its recipient (greylisting).
       */
      holds?: 'destination' | 'message';
      /** The request left but no answer was seen: it may have been delivered. */
      ambiguous?: boolean;
      /** Nothing was wrong with this message: its attempt ended with that of another. It is tried again soon. */
      soon?: boolean;
      /** Nothing was tried, because the destination was held by then: this counts as no attempt. */
      untried?: boolean;
      response?: string;
    }
  | {
      kind: 'rejected';
      reason: string;
      /** recipient: this address will not work. content: this message will not. config: an operator must act. */
      scope: 'recipient' | 'content' | 'config';
      response?: string;
    }
);

export const RESPONSE_LIMIT = 1000;

/** One message as a provider gets it: rendered, checked, addressed. */
export interface Delivery<Address = unknown> {
  messageId: string;
  notificationId: string;
  /** Number of the application; names it in every store. */
  applicationId: number;
  /** 1 for the first attempt. */
  attempt: number;
  /** Stable over all attempts of this message: the vendor's idempotency key where it has one. */
  idempotencyKey: string;
  address: Address;
  /** The content in the channel's shape, after rendering. */
  content: ChannelContent;
  recipient: { userId?: string; name?: string; locale?: string };
  priority: 'high' | 'medium' | 'low';
  category: string | null;
  collapseKey: string | null;
  metadata: Record<string, string>;
  /** ms since 1970. */
  createdAt: number;
  expiresAt: number | null;
}

export interface ProviderAccount {
  /**
   * Sends one message. Resolves with an outcome for everything a vendor or network can do; it throws only for faults of its own.
   * @param isHeld whether the destination has asked for rest or failed too often since this began: who
   *   lets messages wait for their turn asks again before it sends, and answers `untried` if so.
   *   A plug-in hears of it up to 50 ms later
   */
  send(delivery: Delivery<never>, signal: AbortSignal, isHeld?: () => boolean): Promise<Outcome>;
  /** Closes connections. A plug-in has a second for it. */
  close?(): Promise<void>;
}

export interface ProviderServices {
  webhookEndpoints: WebhookEndpointStore;
  inbox: InboxStore;
  /** Tells open inboxes of an item that has become durable. */
  inboxLive: InboxLive;
}

export interface ProviderContext<Config> {
  /** Name of the configured account, for messages to operators. */
  accountId: string;
  /** Checked against configSchema, secrets resolved. */
  config: Config;
  /** For channels that are built in: a plug-in has none, and asking for one throws. */
  services: ProviderServices;
  clock: Clock;
}

export interface ProviderDefinition<ConfigSchema extends TSchema = TSchema> {
  /** Unique within its channel; what configuration names. */
  name: string;
  title: string;
  /** The vendor's documentation of what is called here. */
  documentation: string;
  /** Closed TypeBox object, each property with a description. */
  configSchema: ConfigSchema;
  /** Names of properties of the configuration that are never shown. */
  secrets: readonly string[];
  /** True when it needs no configuration: it then stands for its channel by itself. */
  automatic: boolean;
  capabilities: {
    /** The vendor reports delivery later; without receipts `sent` is as good as it gets and counts as delivered. */
    receipts: boolean;
    /** The vendor drops a second request with the same idempotency key. */
    idempotency: boolean;
  };
  /** May be overridden per account. */
  limits: {
    /** Attempts under way at once. */
    concurrency: number;
    /** Attempts started per second; null for no limit. */
    ratePerSecond: number | null;
    /** Longest time of one attempt, in ms. */
    timeoutMs: number;
  };
  /**
   * What fails together: circuit breaker and Retry-After are kept per destination. Left out,
   * the whole account is one destination (an SMTP relay); a webhook's is its endpoint.
   */
  destination?(delivery: Delivery<never>): string;
  /** What is wrong with a configuration that fits the schema; it stops the start. Paths are relative to it. */
  checkConfig?(config: Static<ConfigSchema>): FieldError[];
  /**
   * Why nothing may be sent to this address, as far as the configuration tells: asked when a message
   * is accepted, so that its sender learns it then. undefined when it may. Cheap and without waiting.
   */
  checkAddress?(address: never, config: Static<ConfigSchema>): string | undefined;
  /** Of a plug-in the only function that is called in its own process, again in each new one. */
  create(context: ProviderContext<Static<ConfigSchema>>): ProviderAccount;
}

export function defineProvider<ConfigSchema extends TSchema>(
  definition: ProviderDefinition<ConfigSchema>,
): ProviderDefinition<ConfigSchema> {
  return definition;
}
