/**
 * The content of an in-app item in its own shape, and the limits its schema cannot say. Strings are
 * templates when a template is saved, so the schema holds only what is true before and after
 * rendering.
 */
import { Action, type ChannelContent, type Content } from '@tidings/contracts/content';
import { isSafeLink, UNSAFE_LINK } from '@tidings/contracts/link';
import { type Static, Type } from '@tidings/contracts/schema';
import type { FieldError } from '../../errors.ts';

/** An inbox is loaded by the page: what is longer belongs behind the link of the item. */
export const IN_APP_BYTES_LIMIT = 64 * 1024;

const link = (description: string) =>
  Type.Optional(Type.String({ minLength: 1, maxLength: 2048, description }));

export const InAppContent = Type.Object(
  {
    title: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 1000,
        description: 'First line. Title, text or both are needed.',
      }),
    ),
    text: Type.Optional(
      Type.String({ minLength: 1, maxLength: IN_APP_BYTES_LIMIT, description: 'The message.' }),
    ),
    url: link('Where the item leads: http(s), a path within the app, or an app link.'),
    imageUrl: link('Picture beside the item.'),
    actions: Type.Optional(Type.Array(Action, { maxItems: 5, description: 'Buttons.' })),
    data: Type.Optional(
      Type.Record(Type.String({ maxLength: 200 }), Type.Unknown(), {
        description: 'Anything the app needs to show or open the item.',
      }),
    ),
  },
  { additionalProperties: false },
);
export type InAppContent = Static<typeof InAppContent>;

/** Limits that the schema cannot say; `content` fits the schema. */
export function validateInAppContent(content: ChannelContent): FieldError[] {
  const { title, text, url, imageUrl, actions } = content as InAppContent;
  const errors: FieldError[] = [];
  if (title === undefined && text === undefined) {
    errors.push({ path: 'title', message: 'Title or text is needed.' });
  }
  if (url !== undefined && !isSafeLink(url)) errors.push({ path: 'url', message: UNSAFE_LINK });
  if (imageUrl !== undefined && !isSafeLink(imageUrl)) {
    errors.push({ path: 'imageUrl', message: UNSAFE_LINK });
  }
  actions?.forEach((action, i) => {
    if (!isSafeLink(action.url)) errors.push({ path: `actions.${i}.url`, message: UNSAFE_LINK });
  });
  if (bytesOf(content) > IN_APP_BYTES_LIMIT) {
    errors.push({
      path: largestOf(content),
      message: `The content is larger than ${IN_APP_BYTES_LIMIT} bytes.`,
    });
  }
  return errors;
}

/**
 * Neutral content as an in-app item: `title`, else `subject`; `text`, else `markdown` as it is (it
 * reads well); `payload` becomes `data`. Unsafe links are left out. Content that is too large is
 * nothing this channel can show: it may be a template, and a cut could break it.
 */
export function inAppFromContent(content: Content): ChannelContent | undefined {
  const title = content.title ?? content.subject;
  const text = content.text ?? content.markdown;
  if (title === undefined && text === undefined) return undefined;
  const item: InAppContent = {};
  if (title !== undefined) item.title = title;
  if (text !== undefined) item.text = text;
  if (content.url !== undefined && isSafeLink(content.url)) item.url = content.url;
  if (content.imageUrl !== undefined && isSafeLink(content.imageUrl))
    item.imageUrl = content.imageUrl;
  const actions = content.actions?.filter(({ url }) => isSafeLink(url)) ?? [];
  if (actions.length > 0) item.actions = actions;
  if (content.payload !== undefined) item.data = content.payload;
  return bytesOf(item) > IN_APP_BYTES_LIMIT ? undefined : item;
}

function bytesOf(content: unknown): number {
  return Buffer.byteLength(JSON.stringify(content));
}

/** The field to shorten first. */
function largestOf(content: ChannelContent): string {
  const sizes = Object.entries(content).map(([name, value]) => ({ name, bytes: bytesOf(value) }));
  return sizes.reduce((largest, field) => (field.bytes > largest.bytes ? field : largest)).name;
}
