/**
 * The in-app inbox of one user, as the user's own browser or app sees it.
 *
 * Live, over Server-Sent Events and over WebSocket alike, these events come:
 *
 * | event | data | position |
 * |---|---|---|
 * | `item` | InboxItem that was just delivered | resume after it |
 * | `marked` | InboxMarked: what this user did on some device, or that a newer item replaced others | of a replacement: resume after it |
 * | `removed` | InboxRemoved: items that are gone, archived ones too | resume after it |
 * | `counts` | InboxCounts, after `ready` and soon after everything that changes them | none |
 * | `ready` | InboxReady: everything missed has been sent, from here on it is live | resume after it |
 * | `closing` | InboxClosing: why the connection ends and when to come back | none |
 *
 * The position is the `id` of an SSE event and `position` of a WebSocket frame: text to give back as
 * it is. Load the first page of the list after a `ready` that did not resume, and nothing falls between
 * the two. A badge shows the latest `counts`. Items come, are replaced and are removed (with their
 * notification, or when its retention is over); they do not expire: `expiresAt` ends deliveries only.
 */

import { closed, OpenObject, Page, PageQuery, Timestamp, UserId } from './common.ts';
import { Action } from './content.ts';
import { type Static, type TSchema, type TSchemaOptions, Type } from './schema.ts';
import { pattern } from './schema-fault.ts';

const nullable = <T extends TSchema>(schema: T, options: TSchemaOptions = {}) =>
  Type.Union([schema, Type.Null()], options);

export const MintInboxToken = Type.Object(
  {
    userId: UserId,
    expiresInSeconds: Type.Optional(
      Type.Integer({
        minimum: 30,
        maximum: 86_400,
        default: 3600,
        description: 'A token ends early only when its user is removed: keep it short.',
      }),
    ),
  },
  { ...closed, $id: 'MintInboxToken' },
);
export type MintInboxToken = Static<typeof MintInboxToken>;

export const InboxToken = Type.Object(
  { token: Type.String(), expiresAt: Timestamp },
  {
    $id: 'InboxToken',
    description: 'Give it to the browser or app of that user; it opens that inbox only.',
  },
);
export type InboxToken = Static<typeof InboxToken>;

export const InboxTicket = Type.Object(
  { ticket: Type.String(), expiresAt: Timestamp },
  {
    $id: 'InboxTicket',
    description:
      'Opens one stream, once, as `?ticket=`: for EventSource, which cannot send a header.',
  },
);
export type InboxTicket = Static<typeof InboxTicket>;

export const InboxItem = Type.Object(
  {
    id: Type.String({ description: 'Id of the message.' }),
    title: nullable(Type.String()),
    text: nullable(Type.String()),
    url: nullable(Type.String()),
    imageUrl: nullable(Type.String()),
    actions: Type.Array(Action),
    data: OpenObject({
      description: 'The `payload` of the content: whatever the app that shows the item needs.',
    }),
    category: nullable(Type.String()),
    collapseKey: nullable(Type.String(), {
      description: 'Older items with the same key were archived when this one came.',
    }),
    createdAt: Timestamp,
    seenAt: nullable(Timestamp),
    readAt: nullable(Timestamp),
    archivedAt: nullable(Timestamp),
  },
  { $id: 'InboxItem' },
);
export type InboxItem = Static<typeof InboxItem>;

export const InboxCounts = Type.Object(
  { unseen: Type.Integer(), unread: Type.Integer(), total: Type.Integer() },
  { $id: 'InboxCounts', description: 'Archived items are not counted.' },
);
export type InboxCounts = Static<typeof InboxCounts>;

export const INBOX_STATES = ['all', 'unread', 'unseen', 'archived'] as const;
export type InboxState = (typeof INBOX_STATES)[number];

export const INBOX_ACTIONS = ['seen', 'read', 'unread', 'archive', 'unarchive'] as const;
export type InboxAction = (typeof INBOX_ACTIONS)[number];

const Category = Type.String({ minLength: 1, maxLength: 100 });

export const InboxQuery = Type.Object(
  {
    ...PageQuery,
    state: Type.Optional(
      Type.Enum([...INBOX_STATES], {
        default: 'all',
        description: 'Archived items are in `archived` only.',
      }),
    ),
    category: Type.Optional(Category),
  },
  closed,
);
export type InboxQuery = Static<typeof InboxQuery>;

const markFields = {
  action: Type.Enum([...INBOX_ACTIONS], { description: 'An item that is read is seen as well.' }),
  items: Type.Union(
    [
      Type.Array(Type.String({ maxLength: 40 }), { minItems: 1, maxItems: 500 }),
      Type.Literal('all'),
    ],
    {
      description:
        'Ids, or `"all"`: every item that is not archived. Ids of no item are passed over; `unarchive` needs ids.',
    },
  ),
  category: Type.Optional({ ...Category, description: 'Narrows `"all"`.' }),
};

export const MarkInbox = Type.Object(markFields, { ...closed, $id: 'MarkInbox' });
export type MarkInbox = Static<typeof MarkInbox>;

export const MarkedInbox = Type.Object(
  {
    changed: Type.Integer({ description: 'How many items are different now.' }),
    counts: Type.Ref('InboxCounts'),
  },
  { $id: 'MarkedInbox' },
);
export type MarkedInbox = { changed: number; counts: InboxCounts };

export const InboxPage = Page(Type.Ref('InboxItem'));

/** Also a single number, of which `0` is the beginning. */
export const POSITION_PATTERN = '^[0-9]{1,15}(-[0-9]{1,15})?$';

const LastPosition = Type.String({
  pattern: pattern(POSITION_PATTERN, 'must be the position of an event, as it was given'),
  description: 'Position of the last event that was seen; what came after it is sent first.',
});

export const InboxStreamQuery = Type.Object(
  {
    ticket: Type.Optional(Type.String({ minLength: 1, maxLength: 2000 })),
    lastEventId: Type.Optional({
      ...LastPosition,
      description: 'As the header Last-Event-ID, which wins, for clients that cannot send it.',
    }),
  },
  closed,
);
export type InboxStreamQuery = Static<typeof InboxStreamQuery>;

export const InboxReady = Type.Object(
  {
    position: Type.String(),
    resumed: Type.Boolean({
      description:
        'True when everything that came, was replaced or removed since the given position has been sent. Otherwise (none was given, or it is too old or of a store that was restored) load the list anew.',
    }),
    expiresAt: Timestamp,
  },
  { $id: 'InboxReady', description: 'The connection ends with its token, at `expiresAt`.' },
);
export type InboxReady = Static<typeof InboxReady>;

export const InboxMarked = Type.Object(
  {
    action: Type.Enum([...INBOX_ACTIONS]),
    items: Type.Union([Type.Array(Type.String()), Type.Literal('all')]),
    category: nullable(Type.String()),
    at: Timestamp,
    replacedBy: nullable(Type.String(), {
      description:
        'Id of the newer item with the same `collapseKey` that archived these; null when the user marked them.',
    }),
  },
  { $id: 'InboxMarked' },
);
export type InboxMarked = Static<typeof InboxMarked>;

export const InboxRemoved = Type.Object(
  { items: Type.Array(Type.String()), at: Timestamp },
  { $id: 'InboxRemoved', description: 'Ids of items that are in no list any more.' },
);
export type InboxRemoved = Static<typeof InboxRemoved>;

export const CLOSING_REASONS = [
  'token_expired',
  'user_removed',
  'shutting_down',
  'unavailable',
] as const;
export type ClosingReason = (typeof CLOSING_REASONS)[number];

export const InboxClosing = Type.Object(
  {
    reason: Type.Enum([...CLOSING_REASONS]),
    retryAfterMs: Type.Optional(
      Type.Integer({
        description:
          'Come back after this time, not all at once. Left out when the user was removed: every token of theirs is refused from then on.',
      }),
    ),
  },
  { $id: 'InboxClosing' },
);
export type InboxClosing = Static<typeof InboxClosing>;

/** The first frame of a WebSocket, within 5 s; the token never stands in the URL. */
export const InboxAuthFrame = Type.Object(
  {
    type: Type.Literal('auth'),
    token: Type.String({ minLength: 1, maxLength: 4000 }),
    lastPosition: Type.Optional(LastPosition),
  },
  { ...closed, $id: 'InboxAuthFrame' },
);
export type InboxAuthFrame = Static<typeof InboxAuthFrame>;

const frameId = Type.Optional(
  Type.Union([Type.String({ maxLength: 100 }), Type.Integer()], {
    description: 'Returned with the answer.',
  }),
);

/** Answered by `{"type":"result","id":…,"data":MarkedInbox}` or `{"type":"error","id":…,"data":…}`. */
export const InboxMarkFrame = Type.Object(
  { type: Type.Literal('mark'), id: frameId, ...markFields },
  { ...closed, $id: 'InboxMarkFrame' },
);
export type InboxMarkFrame = Static<typeof InboxMarkFrame>;

/** Answered by `{"type":"pong","id":…}`. */
export const InboxPingFrame = Type.Object(
  { type: Type.Literal('ping'), id: frameId },
  { ...closed, $id: 'InboxPingFrame' },
);
export type InboxPingFrame = Static<typeof InboxPingFrame>;
