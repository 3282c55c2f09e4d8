/** Users of an application: who can be reached, where, and what they agreed to. */

import {
  CHANNEL_PATTERN,
  ChannelName,
  closed,
  GroupKey,
  KEY_PATTERN,
  Locale,
  Page,
  PageQuery,
  Timestamp,
  UserId,
} from './common.ts';
import { type Static, Type } from './schema.ts';

export const Address = Type.Object(
  {
    channel: ChannelName,
    address: Type.String({ minLength: 1, maxLength: 2048 }),
    label: Type.Optional(Type.String({ maxLength: 100 })),
    verified: Type.Optional(Type.Boolean({ default: false })),
  },
  {
    ...closed,
    $id: 'Address',
    description: 'Where a user is reached; the first of a channel is used first.',
  },
);
export type Address = Static<typeof Address>;

/** A name that does not fit the pattern is refused, not ignored: a misspelt opt-out must not pass. */
const channelChoices = Type.Record(Type.String({ pattern: CHANNEL_PATTERN }), Type.Boolean(), {
  ...closed,
  maxProperties: 50,
  description: 'Whether a channel may be used.',
});

/**
 * What a user agreed to. The most specific entry decides:
 * category and channel, then category, then channel, then yes.
 */
export const Preferences = Type.Object(
  {
    channels: Type.Optional(channelChoices),
    categories: Type.Optional(
      Type.Record(
        Type.String({ pattern: KEY_PATTERN }),
        Type.Object(
          { enabled: Type.Optional(Type.Boolean()), channels: Type.Optional(channelChoices) },
          closed,
        ),
        { ...closed, maxProperties: 500 },
      ),
    ),
    route: Type.Optional(
      Type.Array(ChannelName, {
        minItems: 1,
        maxItems: 20,
        uniqueItems: true,
        description: 'Order in which channels are tried when the caller names none.',
      }),
    ),
  },
  {
    ...closed,
    $id: 'Preferences',
    description:
      'What a user agreed to. The most specific entry decides: category and channel, then category, then channel, then yes. Mandatory categories are always sent.',
    examples: [{ channels: { webhook: false }, categories: { marketing: { enabled: false } } }],
  },
);
export type Preferences = Static<typeof Preferences>;

/** Not Type.Record: its pattern would let names with a line break through unchecked and leave them out of answers. */
const attributes = Type.Object(
  {},
  {
    additionalProperties: true,
    propertyNames: { minLength: 1, maxLength: 100 },
    maxProperties: 100,
    description:
      'Values of the caller for templates, which have them as `{{ user.attributes.… }}`; at most 16 KiB as JSON.',
  },
);

const profile = {
  name: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
  locale: Type.Optional(Locale),
  timezone: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 64,
      description: 'IANA time zone.',
      examples: ['Asia/Shanghai'],
    }),
  ),
  addresses: Type.Optional(Type.Array(Type.Ref('Address'), { maxItems: 100 })),
  groups: Type.Optional(
    Type.Array(GroupKey, {
      maxItems: 500,
      uniqueItems: true,
      description: 'Keys of the groups the user belongs to, by which lists are filtered.',
    }),
  ),
  attributes: Type.Optional(attributes),
};

export const PutUser = Type.Object(
  { ...profile, preferences: Type.Optional(Type.Ref('Preferences')) },
  {
    ...closed,
    $id: 'PutUser',
    description:
      'The whole profile: what is left out is cleared, except the preferences, which then stay as they are.',
    examples: [
      {
        name: 'Ada',
        locale: 'zh-CN',
        timezone: 'Asia/Shanghai',
        addresses: [{ channel: 'email', address: 'ada@example.com' }],
        groups: ['staff'],
      },
    ],
  },
);
export type PutUser = {
  name?: string;
  locale?: string;
  timezone?: string;
  addresses?: Address[];
  groups?: string[];
  attributes?: Record<string, unknown>;
  preferences?: Preferences;
};

export const User = Type.Object(
  {
    id: UserId,
    name: Type.Union([Type.String(), Type.Null()]),
    locale: Type.Union([Type.String(), Type.Null()]),
    timezone: Type.Union([Type.String(), Type.Null()]),
    addresses: Type.Array(Type.Ref('Address')),
    groups: Type.Array(Type.String()),
    attributes: Type.Object({}, { additionalProperties: true }),
    preferences: Type.Ref('Preferences'),
    createdAt: Timestamp,
    updatedAt: Timestamp,
  },
  { $id: 'User' },
);
export type User = {
  id: string;
  name: string | null;
  locale: string | null;
  timezone: string | null;
  addresses: Address[];
  groups: string[];
  attributes: Record<string, unknown>;
  preferences: Preferences;
  createdAt: string;
  updatedAt: string;
};

export const UserPage = Page(Type.Ref('User'));

export const UserParams = Type.Object({ userId: UserId });

/** A user id has up to 512 bytes of UTF-8, so its cursor is longer than others. */
const USER_CURSOR_LIMIT = 700;
export const ListUsersQuery = Type.Object(
  {
    ...PageQuery,
    cursor: Type.Optional(Type.String({ maxLength: USER_CURSOR_LIMIT })),
    group: Type.Optional({ ...GroupKey, description: 'Only members of this group.' }),
  },
  closed,
);
export type ListUsersQuery = Static<typeof ListUsersQuery>;
