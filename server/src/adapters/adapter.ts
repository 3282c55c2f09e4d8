/**
 * What a channel is: the shape of its content, its limits, its address rules. An adapter
 * knows nothing of vendors (provider.ts) and nothing of queues, retries or stores.
 *
 * One folder per channel, named like the channel with dashes (`in-app/` is `in_app`), with
 * `adapter.ts` default-exporting `defineAdapter(…)` and `providers/<vendor>.ts`.
 */
import type { ChannelContent, Content } from '@tidings/contracts/content';
import type { TSchema } from '@tidings/contracts/schema';
import type { FieldError } from '../errors.ts';

export type ParsedAddress<Address> =
  | {
      ok: true;
      address: Address /** The address in its one normal spelling. */;
      normalized: string;
    }
  | { ok: false; message: string };

/** Fixed addresses that produce an outcome without anything being sent, with live and test keys alike. */
export interface SimulatedAddresses {
  delivered: string;
  /** Fails on each attempt in a way that is retried. */
  temporaryFailure: string;
  /** Fails at once and for good. */
  permanentFailure: string;
}

export interface AdapterDefinition<Address = unknown> {
  /** `^[a-z][a-z0-9_]*$`; what callers write. */
  channel: string;
  title: string;
  /**
   * TypeBox object of the channel's content. Strings in it are templates; after rendering
   * the result is checked against the same schema.
   */
  contentSchema: TSchema;
  /** Names of top-level fields that hold HTML: values rendered into them are escaped. */
  htmlFields: readonly string[];
  /** An address as a caller or profile gives it. Cheap: it runs on the hot path. */
  parseAddress(text: string): ParsedAddress<Address>;
  /** The address with enough hidden that a list of messages reveals nobody. */
  maskAddress(text: string): string;
  /** Where the address is when neither the request nor the profile names one: the user's own id, or nowhere. */
  defaultAddress: 'userId' | 'none';
  /** What neutral content must have for it, after "it needs": "a title or a subject". */
  needs: string;
  /** Neutral content in this channel's shape; undefined when it has nothing this channel can show. */
  fromContent(content: Content): ChannelContent | undefined;
  /** Limits that the schema cannot say (bytes, sums of sizes). Paths are relative to the content: `attachments.0`. */
  validate(content: ChannelContent): FieldError[];
  simulated: SimulatedAddresses;
}

export function defineAdapter<Address>(
  definition: AdapterDefinition<Address>,
): AdapterDefinition<Address> {
  return definition;
}

/** Neutral content in the shape of one channel; undefined when it has nothing that channel can show. */
export function channelContentOf(
  content: Content,
  adapter: AdapterDefinition,
): ChannelContent | undefined {
  return (
    (content.channels?.[adapter.channel] as ChannelContent | undefined) ??
    adapter.fromContent(content)
  );
}
