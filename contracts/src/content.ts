/**
 * Content that does not name a channel. Every adapter says how it becomes the channel's
 * own content (an email's subject is `subject`, else `title`), so one inline content can
 * go to several channels. `channels` overrides it for one channel in that channel's own shape.
 */

import { ChannelName, closed, OpenObject } from './common.ts';
import { type Static, Type } from './schema.ts';

export const Action = Type.Object(
  {
    label: Type.String({ minLength: 1, maxLength: 100 }),
    url: Type.String({ minLength: 1, maxLength: 2048, description: 'http(s) or app link.' }),
  },
  closed,
);
export type Action = Static<typeof Action>;

export const Attachment = Type.Object(
  {
    filename: Type.String({ minLength: 1, maxLength: 255 }),
    contentType: Type.Optional(Type.String({ maxLength: 255 })),
    contentBase64: Type.String({ description: 'The file, base64.' }),
    contentId: Type.Optional(
      Type.String({ maxLength: 200, description: 'For inline images: referred to as `cid:…`.' }),
    ),
  },
  closed,
);
export type Attachment = Static<typeof Attachment>;

/** Fields of neutral content, without the per-channel overrides. */
export const contentFields = {
  title: Type.Optional(Type.String({ minLength: 1, maxLength: 500 })),
  subject: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 998,
      description: 'Email subject; the title otherwise.',
    }),
  ),
  text: Type.Optional(
    Type.String({ minLength: 1, maxLength: 100_000, description: 'The message as plain text.' }),
  ),
  html: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 500_000,
      description:
        'The message as HTML, for email alone: other channels leave it out. `text` goes beside it. Values of variables are escaped, unless by the filter `raw`.',
    }),
  ),
  markdown: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 100_000,
      description:
        'The message as Markdown, for receivers that show it formatted. It is not made into HTML: without `text`, email and the in-app inbox have it as plain text, as it is written. For formatted mail give `html`.',
    }),
  ),
  url: Type.Optional(
    Type.String({ minLength: 1, maxLength: 2048, description: 'Where the notification leads.' }),
  ),
  imageUrl: Type.Optional(Type.String({ minLength: 1, maxLength: 2048 })),
  actions: Type.Optional(Type.Array(Action, { maxItems: 5 })),
  attachments: Type.Optional(
    Type.Array(Attachment, {
      maxItems: 20,
      description: 'Files, for email alone: other channels leave them out.',
    }),
  ),
  payload: Type.Optional(
    OpenObject({
      description: 'Structured data: the body of a webhook, the data of an in-app item.',
    }),
  ),
};

/** Content of one channel in the channel's own shape, checked by its adapter. */
export const ChannelContent = OpenObject();
export type ChannelContent = Record<string, unknown>;

/** What authors have to know of the template language. */
export const LIQUID_DESCRIPTION =
  'Every text in it, in nested values too, is a [Liquid](https://shopify.github.io/liquid/) template: `{{ order }}` stands for the value in `data`, `{{ user.name }}` for the recipient’s (`user` has `userId`, `name`, `locale`, `timezone`, `attributes`). A variable that is not given leaves nothing behind. A literal `{{` is written `{% raw %}{{{% endraw %}`, which texts from elsewhere need as well.';

export const Content = Type.Object(
  {
    ...contentFields,
    channels: Type.Optional(
      Type.Record(ChannelName, ChannelContent, {
        additionalProperties: false,
        description:
          'Content for one channel, in the shape of that channel: `GET /v1/channels` has the schema of each.',
      }),
    ),
  },
  {
    ...closed,
    minProperties: 1,
    $id: 'Content',
    description: `Content for any channel; each takes what it can show. ${LIQUID_DESCRIPTION} A published template takes the place of it.`,
  },
);
export type Content = Static<typeof Content>;
