/**
 * Whether a user agreed to a message on a channel. Pure: it is given the preferences and knows no
 * store. It is not about quiet hours, limits or suppression lists, which have rules of their own.
 */
import type { Preferences } from '@tidings/contracts/user';

export interface PreferenceQuestion {
  channel: string;
  /** null for a message without a category. */
  category: string | null;
  /** The category is one that nobody can opt out of. */
  mandatory: boolean;
}

export interface PreferenceDecision {
  allowed: boolean;
  /** What decided, for the timeline: `categories.marketing.channels.email=false`. */
  rule: string;
}

/** The rules that are no entry of the preferences. */
export const MANDATORY_RULE = 'mandatory';
export const DEFAULT_RULE = 'default';

/**
 * The most specific entry decides: category and channel, then category, then channel, then yes.
 * So `channels.email=true` inside a category wins over `enabled=false` of that category.
 */
export function allows(
  preferences: Preferences | undefined,
  { channel, category, mandatory }: PreferenceQuestion,
): PreferenceDecision {
  if (mandatory) return { allowed: true, rule: MANDATORY_RULE };
  const entry = category === null ? undefined : own(preferences?.categories, category);
  const inCategory = own(entry?.channels, channel);
  if (inCategory !== undefined) {
    return decision(`categories.${category}.channels.${channel}`, inCategory);
  }
  if (entry?.enabled !== undefined)
    return decision(`categories.${category}.enabled`, entry.enabled);
  const anyCategory = own(preferences?.channels, channel);
  if (anyCategory !== undefined) return decision(`channels.${channel}`, anyCategory);
  return { allowed: true, rule: DEFAULT_RULE };
}

function decision(entry: string, allowed: boolean): PreferenceDecision {
  return { allowed, rule: `${entry}=${allowed}` };
}

/** `constructor` and `toString` are names a category may have; they must not find what every object inherits. */
function own<Value>(
  record: Readonly<Record<string, Value>> | undefined,
  key: string,
): Value | undefined {
  return record !== undefined && Object.hasOwn(record, key) ? record[key] : undefined;
}
