/** The in-app inbox of one user, as the user's own browser or app sees it. */
import Type from 'typebox';
import { closed, Data, Page, PageQuery, Timestamp, UserId } from './common.ts';
import { Action } from './content.ts';

export const MintInboxToken = Type.Object(
  {
    userId: UserId,
    expiresInSeconds: Type.Optional(Type.Integer({ minimum: 30, maximum: 86_400, default: 3600 })),
  },
  { ...closed, $id: 'MintInboxToken' },
);
export type MintInboxToken = Type.Static<typeof MintInboxToken>;

export const InboxToken = Type.Object(
  { token: Type.String(), expiresAt: Timestamp },
  { $id: 'InboxToken', description: 'Give it to the browser or app of that user; it opens that inbox only.' },
);
export type InboxToken = Type.Static<typeof InboxToken>;

export const InboxItem = Type.Object(
  {
    id: Type.String({ description: 'Id of the message.' }),
    title: Type.Union([Type.String(), Type.Null()]),
    text: Type.Union([Type.String(), Type.Null()]),
    url: Type.Union([Type.String(), Type.Null()]),
    imageUrl: Type.Union([Type.String(), Type.Null()]),
    actions: Type.Array(Action),
    data: Data,
    category: Type.Union([Type.String(), Type.Null()]),
    createdAt: Timestamp,
    seenAt: Type.Union([Timestamp, Type.Null()]),
    readAt: Type.Union([Timestamp, Type.Null()]),
    archivedAt: Type.Union([Timestamp, Type.Null()]),
  },
  { $id: 'InboxItem' },
);
export type InboxItem = Type.Static<typeof InboxItem>;

export const InboxCounts = Type.Object(
  { unseen: Type.Integer(), unread: Type.Integer(), total: Type.Integer() },
  { $id: 'InboxCounts', description: 'Archived items are not counted.' },
);
export type InboxCounts = Type.Static<typeof InboxCounts>;

export const INBOX_ACTIONS = ['seen', 'read', 'unread', 'archive', 'unarchive'] as const;
export type InboxAction = (typeof INBOX_ACTIONS)[number];

export const InboxQuery = Type.Object(
  {
    ...PageQuery,
    state: Type.Optional(Type.Enum(['all', 'unread', 'unseen', 'archived'], { default: 'all' })),
    category: Type.Optional(Type.String({ maxLength: 100 })),
  },
  closed,
);

export const MarkInbox = Type.Object(
  {
    action: Type.Enum([...INBOX_ACTIONS]),
    items: Type.Union(
      [
        Type.Array(Type.String({ maxLength: 40 }), { minItems: 1, maxItems: 500 }),
        Type.Literal('all'),
      ],
      { description: 'Ids, or `"all"`: every item that is not archived.' },
    ),
    category: Type.Optional(Type.String({ maxLength: 100, description: 'Narrows `"all"`.' })),
  },
  { ...closed, $id: 'MarkInbox' },
);
export type MarkInbox = Type.Static<typeof MarkInbox>;

export const InboxPage = Page(Type.Ref('InboxItem'));
