/** Users of an application: who can be reached, where, and what they agreed to. */
import Type from 'typebox';
import { ChannelName, closed, Key, Locale, Page, Timestamp, UserId } from './common.ts';

export const Address = Type.Object(
  {
    channel: ChannelName,
    address: Type.String({ minLength: 1, maxLength: 2048 }),
    label: Type.Optional(Type.String({ maxLength: 100 })),
    verified: Type.Optional(Type.Boolean({ default: false })),
  },
  { ...closed, $id: 'Address', description: 'Where a user is reached; the first of a channel is used first.' },
);
export type Address = Type.Static<typeof Address>;

/**
 * What a user agreed to. The most specific entry decides:
 * category and channel, then category, then channel, then yes.
 */
export const Preferences = Type.Object(
  {
    channels: Type.Optional(Type.Record(ChannelName, Type.Boolean(), { maxProperties: 50 })),
    categories: Type.Optional(
      Type.Record(
        Key,
        Type.Object(
          {
            enabled: Type.Optional(Type.Boolean()),
            channels: Type.Optional(Type.Record(ChannelName, Type.Boolean(), { maxProperties: 50 })),
          },
          closed,
        ),
        { maxProperties: 500 },
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
  { ...closed, $id: 'Preferences' },
);
export type Preferences = Type.Static<typeof Preferences>;

const profile = {
  name: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
  locale: Type.Optional(Locale),
  timezone: Type.Optional(
    Type.String({ maxLength: 64, description: 'IANA time zone.', examples: ['Asia/Shanghai'] }),
  ),
  addresses: Type.Optional(Type.Array(Type.Ref('Address'), { maxItems: 100 })),
  groups: Type.Optional(Type.Array(Key, { maxItems: 500, uniqueItems: true })),
  attributes: Type.Optional(Type.Record(Type.String({ maxLength: 100 }), Type.Unknown(), { maxProperties: 100 })),
};

export const PutUser = Type.Object(
  { ...profile, preferences: Type.Optional(Type.Ref('Preferences')) },
  { ...closed, $id: 'PutUser', description: 'The whole profile; what is left out is cleared.' },
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
    attributes: Type.Record(Type.String(), Type.Unknown()),
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
