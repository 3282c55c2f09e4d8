/**
 * Shapes shared by every resource of the API. These schemas are the wire contract:
 * the server validates with them, the OpenAPI document is generated from them, and
 * clients take their types from them. Nothing here knows how the server works.
 */
import { type TSchema, Type } from './schema.ts';
import { pattern } from './schema-fault.ts';

export const PRIORITIES = ['high', 'medium', 'low'] as const;
export type Priority = (typeof PRIORITIES)[number];

/**
 * Delivery status of a message: one exclusive, ordered value. Engagement (read, clicked …)
 * is kept beside it and never changes it.
 */
export const MESSAGE_STATUSES = [
  'scheduled',
  'accepted',
  'sending',
  'sent',
  'delivered',
  'failed',
  'expired',
  'suppressed',
  'cancelled',
] as const;
export type MessageStatus = (typeof MESSAGE_STATUSES)[number];

/** Statuses after which a message never changes again, except by an explicit redrive. */
export const FINAL_STATUSES = [
  'delivered',
  'failed',
  'expired',
  'suppressed',
  'cancelled',
] as const;

export const KEY_KINDS = ['live', 'test'] as const;
export type KeyKind = (typeof KEY_KINDS)[number];

export const SCOPES = ['send', 'read', 'manage', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

/** Channels are an open set: each adapter folder adds one. */
export const CHANNEL_PATTERN = pattern(
  '^[a-z][a-z0-9_]{0,31}$',
  'must be the name of a channel, such as email or in_app',
);
export const ChannelName = Type.String({
  pattern: CHANNEL_PATTERN,
  description: 'A channel, such as `email`, `in_app` or `webhook`.',
  examples: ['email'],
});

export const PriorityName = Type.Enum([...PRIORITIES], {
  description: 'Lane of the message. High never waits behind anything else.',
});

export const StatusName = Type.Enum([...MESSAGE_STATUSES], { description: 'Delivery status.' });

/** RFC 3339 date-time with a zone. */
export const Timestamp = Type.String({
  format: 'date-time',
  maxLength: 40,
  description: 'RFC 3339 date-time with a zone.',
  examples: ['2026-12-24T08:00:00Z'],
});

/** Keys that people choose: template keys, categories, groups. */
export const KEY_PATTERN = pattern(
  '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$',
  'must be 1 to 100 letters, digits, dots, colons, hyphens or underscores, the first a letter or digit',
);
export const Key = Type.String({ pattern: KEY_PATTERN, examples: ['order-shipped'] });
export const GroupKey = { ...Key, examples: ['staff'] };
export const ApplicationKey = { ...Key, examples: ['shop'] };

/**
 * Identifier of a user in the calling system: any visible characters. Not `.` or `..`, which clients take out
 * of the paths of URLs.
 */
export const USER_ID_PATTERN = pattern(
  '^(?!\\.{1,2}$)(?=[^]*\\S)[^\\p{Cc}\\p{Cs}\\p{Zl}\\p{Zp}\\u200b\\u200e\\u200f\\u202a-\\u202e\\u2060-\\u2069\\ufeff\\ufffe\\uffff]{1,128}$',
  'must be 1 to 128 visible characters, not only spaces, and not "." or ".."',
);
export const UserId = Type.String({
  pattern: USER_ID_PATTERN,
  description: "The caller's own id of the user.",
  examples: ['user-42'],
});

export const Locale = Type.String({
  pattern: pattern(
    '^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$',
    'must be a language tag such as en or zh-CN',
  ),
  maxLength: 35,
  description: 'BCP 47 language tag.',
  examples: ['zh-CN'],
});

/**
 * Objects with any names. Not `Type.Record`: its pattern does not match a name with a line break,
 * which would then be taken unchecked and left out of answers.
 */
export function OpenObject(options: object = {}) {
  return Type.Unsafe<Record<string, unknown>>({
    type: 'object',
    additionalProperties: true,
    ...options,
  });
}

export function TextMap(options: object = {}) {
  return Type.Unsafe<Record<string, string>>({
    type: 'object',
    additionalProperties: { type: 'string' },
    ...options,
  });
}

export const Metadata = TextMap({
  propertyNames: { minLength: 1, maxLength: 100 },
  additionalProperties: { type: 'string', maxLength: 500 },
  maxProperties: 50,
  description: 'Free labels of the caller, returned as given.',
});

export const Data = OpenObject({
  propertyNames: { maxLength: 200 },
  description:
    'Values for the variables of the template or of `content`, which are Liquid: `{"order": "42"}` is `{{ order }}` there. Beside them templates have `user`, unless it is given here. Integers beyond ±9007199254740991 as strings: most JSON readers, this one too, would change them.',
});

export const closed = { additionalProperties: false } as const;

/** A page of a list. `next` is null on the last page. */
export function Page<T extends TSchema>(item: T) {
  return Type.Object({
    items: Type.Array(item),
    next: Type.Union([Type.String(), Type.Null()], {
      description: 'Pass it as `cursor` to get the next page; null on the last one.',
    }),
  });
}

export const PageQuery = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 50 })),
  cursor: Type.Optional(Type.String({ maxLength: 200 })),
};
