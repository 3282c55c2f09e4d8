/** Notifications and their messages as they cross the wire. */

import {
  ApplicationKey,
  ChannelName,
  closed,
  Data,
  GroupKey,
  KEY_KINDS,
  Key,
  Locale,
  Metadata,
  OpenObject,
  Page,
  PageQuery,
  PriorityName,
  StatusName,
  TextMap,
  Timestamp,
  UserId,
} from './common.ts';
import { Content } from './content.ts';
import { type Static, type TSchema, Type } from './schema.ts';
import { pattern } from './schema-fault.ts';
import { EVENT_TYPE_DESCRIPTION, REASON_DESCRIPTION } from './timeline.ts';

/** Where a notification is read, a message of it names it as well. */
export const NotificationOrMessageId = Type.String({
  pattern: pattern(
    '^(ntf|msg)_[0-9a-hjkmnp-tv-z]{11}$',
    'must be the id of a notification or message, such as ntf_00h4p8s3t6v',
  ),
  description: 'The id of a notification, or of a message of it.',
  examples: ['ntf_00h4p8s3t6v'],
});
export const NotificationId = Type.String({
  pattern: pattern(
    '^ntf_[0-9a-hjkmnp-tv-z]{11}$',
    'must be the id of a notification, such as ntf_00h4p8s3t6v',
  ),
  examples: ['ntf_00h4p8s3t6v'],
});
export const MessageId = Type.String({
  pattern: pattern(
    '^msg_[0-9a-hjkmnp-tv-z]{11}$',
    'must be the id of a message, such as msg_00h4p8s3t6w',
  ),
  examples: ['msg_00h4p8s3t6w'],
});

/**
 * Who is reached: a known user, or addresses given inline, or both (inline addresses win).
 * Every member besides `userId`, `name` and `locale` is a channel.
 */
export const Recipient = Type.Object(
  {
    userId: Type.Optional(UserId),
    name: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
    locale: Type.Optional(Locale),
    email: Type.Optional(
      Type.String({ minLength: 1, maxLength: 320, examples: ['ada@example.com'] }),
    ),
    webhook: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 2048,
        description: 'An https URL or an endpoint id (`whe_…`).',
      }),
    ),
  },
  {
    additionalProperties: Type.String({ minLength: 1, maxLength: 2048 }),
    minProperties: 1,
    maxProperties: 20,
    $id: 'Recipient',
    description:
      'A `userId`, or an inline address per channel such as `{"email": "ada@example.com"}`, or both. An address beside a `userId` takes the place of the one in the profile and does not choose the channel: `channels` or `route` do. A `userId` needs no profile; it then has its in-app inbox alone, so that a mistyped one is delivered to an inbox that nobody opens.',
  },
);
export type Recipient = Static<typeof Recipient> & { [channel: string]: string };

export const TemplateReference = Type.Union(
  [Key, Type.Object({ key: Key, version: Type.Optional(Type.Integer({ minimum: 1 })) }, closed)],
  { description: 'Key of a published template, with its newest version unless one is named.' },
);

const channelList = Type.Array(ChannelName, { minItems: 1, maxItems: 10, uniqueItems: true });

const CollapseKey = Type.String({ minLength: 1, maxLength: 64 });

/** What a notification shows as null where there is none; null is therefore taken for it as well. */
const nullable = <T extends TSchema>(schema: T, description: string) =>
  Type.Optional(Type.Union([schema, Type.Null()], { description }));

const options = {
  data: Type.Optional(Data),
  priority: Type.Optional(PriorityName),
  category: nullable(Key, "null or left out: the template's, else none."),
  sendAt: nullable(
    Timestamp,
    'When it is sent: RFC 3339 with a zone, at most a year (366 days) ahead. A time that has passed, by a day at most, means now; null or left out too.',
  ),
  expiresAt: nullable(
    Timestamp,
    'What has not been sent by then is not sent any more. It must lie ahead, and after `sendAt`; null or left out: it does not expire.',
  ),
  metadata: Type.Optional(Metadata),
  collapseKey: nullable(
    CollapseKey,
    'A newer message with the same key replaces the older one where the channel can; null or left out: it replaces nothing.',
  ),
};

export const CreateNotification = Type.Object(
  {
    to: Recipient,
    template: Type.Optional(TemplateReference),
    content: Type.Optional(Content),
    channels: Type.Optional({
      ...channelList,
      description:
        'Each channel gets a message of its own. Without `channels` and `route` there is one message, and the channel is chosen: see `route`.',
    }),
    route: Type.Optional({
      ...channelList,
      description:
        "One message; the next channel is tried when the one before it cannot deliver: at once after a permanent failure, after a temporary one only when the retry schedule of the channel is over (27.6 hours and up to a fifth more, unless the operator has set `delivery.retryDelaysMs`). When neither `route` nor `channels` is given, the order is the user's own (`preferences.route`), then the operator's (setting `delivery.defaultOrder`: `in_app`, `email`, `webhook` unless changed), of the channels for which there are content, an address and consent.",
    }),
    ...options,
  },
  {
    ...closed,
    $id: 'CreateNotification',
    examples: [
      {
        to: { email: 'ada@example.com' },
        content: { title: 'Your order has shipped', text: 'It will arrive on Friday.' },
      },
    ],
  },
);
export type CreateNotification = Static<typeof CreateNotification>;

export const EditNotification = Type.Object(
  {
    data: nullable(Data, 'Replaces the values as a whole; null leaves none.'),
    priority: nullable(PriorityName, "null: the template's, else medium."),
    category: nullable(Key, "null: the template's, else none."),
    sendAt: nullable(Timestamp, 'At most a year (366 days) ahead; null sends it now.'),
    expiresAt: nullable(Timestamp, 'null: it does not expire.'),
    metadata: nullable(Metadata, 'Replaces the labels as a whole; null leaves none.'),
    collapseKey: nullable(CollapseKey, 'null: it replaces nothing.'),
    content: Type.Optional(Content),
  },
  {
    ...closed,
    minProperties: 1,
    $id: 'EditNotification',
    description:
      'What is left out stays as it is; null takes a field back. `content` replaces the content, or the template.',
    examples: [{ sendAt: '2026-12-24T09:00:00Z', collapseKey: null }],
  },
);
export type EditNotification = Static<typeof EditNotification>;

export const Engagement = Type.Object({
  seenAt: Type.Optional(Timestamp),
  readAt: Type.Optional(Timestamp),
  archivedAt: Type.Optional(Timestamp),
});

export const Message = Type.Object(
  {
    id: MessageId,
    notificationId: NotificationId,
    status: StatusName,
    route: Type.Array(Type.String(), {
      description:
        'Channels in the order they are tried; `["auto"]` until preferences have decided.',
    }),
    channel: Type.Union([Type.String(), Type.Null()], { description: 'Channel tried last.' }),
    provider: Type.Union([Type.String(), Type.Null()]),
    providerMessageId: Type.Union([Type.String(), Type.Null()]),
    attempts: Type.Integer(),
    reason: Type.Union([Type.String(), Type.Null()], {
      description:
        'Why it ended, or why the last attempt did not succeed; `reason` of TimelineEvent lists them.',
    }),
    nextAttemptAt: Type.Union([Timestamp, Type.Null()]),
    updatedAt: Timestamp,
    engagement: Engagement,
  },
  { $id: 'Message' },
);
export type Message = Static<typeof Message>;

export const Notification = Type.Object(
  {
    id: NotificationId,
    application: Type.String(),
    to: TextMap(),
    template: Type.Union([
      Type.Object({ key: Type.String(), version: Type.Integer() }),
      Type.Null(),
    ]),
    content: Type.Union([Type.Object({}, { additionalProperties: true }), Type.Null()]),
    data: OpenObject(),
    priority: PriorityName,
    category: Type.Union([Type.String(), Type.Null()]),
    metadata: TextMap(),
    collapseKey: Type.Union([Type.String(), Type.Null()]),
    createdAt: Timestamp,
    sendAt: Type.Union([Timestamp, Type.Null()]),
    expiresAt: Type.Union([Timestamp, Type.Null()]),
    resendOf: Type.Union([NotificationId, Type.Null()]),
    batch: Type.Union([Type.String(), Type.Null()]),
    test: Type.Boolean({ description: 'Accepted by a test key: captured, never sent.' }),
    messages: Type.Array(Type.Ref('Message')),
  },
  { $id: 'Notification' },
);
export type Notification = Omit<Static<typeof Notification>, 'messages'> & {
  messages: Message[];
};

export const Accepted = Type.Object(
  {
    id: NotificationId,
    status: Type.Enum(['accepted', 'scheduled']),
    test: Type.Optional(Type.Boolean()),
    messages: Type.Array(
      Type.Object({
        id: MessageId,
        route: Type.Array(Type.String()),
        status: Type.Enum(['accepted', 'scheduled']),
      }),
    ),
  },
  { $id: 'Accepted', description: 'Stored durably; delivery goes on by itself.' },
);
export type Accepted = Static<typeof Accepted>;

export const TimelineEvent = Type.Object(
  {
    at: Timestamp,
    type: Type.String({
      examples: ['accepted', 'routed', 'attempt'],
      description: EVENT_TYPE_DESCRIPTION,
    }),
    messageId: Type.Optional(MessageId),
    channel: Type.Optional(Type.String()),
    provider: Type.Optional(Type.String()),
    attempt: Type.Optional(Type.Integer()),
    status: Type.Optional(StatusName),
    reason: Type.Optional(
      Type.String({ examples: ['opted_out', 'timeout'], description: REASON_DESCRIPTION }),
    ),
    durationMs: Type.Optional(Type.Number({ description: 'Of the attempt.' })),
    response: Type.Optional(
      Type.String({ description: 'What the vendor answered, shortened, secrets masked.' }),
    ),
    providerMessageId: Type.Optional(Type.String()),
    detail: Type.Optional(
      OpenObject({
        description:
          'Of `edited`: `changes` has, by field, what it was (`from`) and became (`to`); values over 4096 characters of JSON are shown by their `length`.',
      }),
    ),
  },
  { $id: 'TimelineEvent' },
);
export type TimelineEvent = Static<typeof TimelineEvent>;

export const Timeline = Type.Object({ items: Type.Array(Type.Ref('TimelineEvent')) });

/** What pages of messages have in common, for the description of such lists. */
export const MESSAGE_LIST_DESCRIPTION =
  'A page ends when it has `limit` messages, or after a bounded time of looking for them: it may be short or empty while `next` is not null. The list ends where `next` is null.';

export const KindFilter = Type.Optional(
  Type.Enum([...KEY_KINDS], {
    description: 'Sent by live keys, or by test keys (captured, never delivered).',
  }),
);

export const LedgerQuery = Type.Object({ kind: KindFilter }, closed);
export type LedgerQuery = Static<typeof LedgerQuery>;

export const ListNotificationsQuery = Type.Object(
  {
    ...PageQuery,
    from: Type.Optional({ ...Timestamp, description: 'Accepted then or later.' }),
    to: Type.Optional({ ...Timestamp, description: 'Accepted before then.' }),
    priority: Type.Optional(PriorityName),
    application: Type.Optional({
      ...Type.String({ maxLength: 100 }),
      examples: ApplicationKey.examples,
      description:
        'Accepted from this application. Others than its own only a key with the scope admin sees; without the filter such a key sees all.',
    }),
    user: Type.Optional(UserId),
    group: Type.Optional({
      ...GroupKey,
      description: 'To users who are in this group now.',
    }),
    channel: Type.Optional(ChannelName),
    status: Type.Optional(StatusName),
    template: Type.Optional({ ...Key, description: 'Made from any version of this template.' }),
    category: Type.Optional({
      ...Key,
      examples: ['marketing'],
      description: 'Of this category, its own or its template’s.',
    }),
    batch: Type.Optional(
      Type.String({ maxLength: 100, description: 'Of this batch; nothing makes batches yet.' }),
    ),
    kind: KindFilter,
  },
  closed,
);
export type ListNotificationsQuery = Static<typeof ListNotificationsQuery>;

/** One line of a list: a message with what is needed to recognise it. */
export const MessageSummary = Type.Object(
  {
    id: MessageId,
    notificationId: NotificationId,
    application: Type.String(),
    status: StatusName,
    channel: Type.Union([Type.String(), Type.Null()]),
    priority: PriorityName,
    user: Type.Union([Type.String(), Type.Null()]),
    recipient: Type.Union([Type.String(), Type.Null()], {
      description:
        'The address on that channel as the request gave it, partly masked; null when it gave none, as where the profile has it.',
    }),
    template: Type.Union([Type.String(), Type.Null()]),
    category: Type.Union([Type.String(), Type.Null()]),
    batch: Type.Union([Type.String(), Type.Null()]),
    reason: Type.Union([Type.String(), Type.Null()], {
      description: '`reason` of TimelineEvent lists them.',
    }),
    attempts: Type.Integer(),
    test: Type.Boolean(),
    createdAt: Timestamp,
    updatedAt: Timestamp,
  },
  { $id: 'MessageSummary' },
);
export type MessageSummary = Static<typeof MessageSummary>;

export const MessagePage = Page(Type.Ref('MessageSummary'));

export const Ledger = Type.Object(
  {
    accepted: Type.Integer(),
    delivered: Type.Integer(),
    failed: Type.Integer(),
    expired: Type.Integer(),
    suppressed: Type.Integer(),
    cancelled: Type.Integer(),
    pending: Type.Integer(),
    balanced: Type.Boolean(),
  },
  {
    $id: 'Ledger',
    description: 'accepted = delivered + failed + expired + suppressed + cancelled + pending.',
  },
);
export type Ledger = Static<typeof Ledger>;

export const Redrive = Type.Object(
  {
    all: Type.Optional(
      Type.Boolean({ description: 'True takes every dead letter; nothing else is then named.' }),
    ),
    messages: Type.Optional(Type.Array(MessageId, { minItems: 1, maxItems: 1000 })),
    channel: Type.Optional(ChannelName),
    from: Type.Optional({ ...Timestamp, description: 'Accepted then or later.' }),
    to: Type.Optional({ ...Timestamp, description: 'Accepted before then.' }),
    ratePerSecond: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 50 })),
  },
  {
    ...closed,
    $id: 'Redrive',
    description: 'Which dead letters: at least one of messages, channel, from and to, or all.',
    examples: [{ channel: 'email', ratePerSecond: 50 }, { all: true }],
  },
);
export type Redrive = Static<typeof Redrive>;
