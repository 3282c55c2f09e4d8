/** Templates: versioned content per channel and locale. A published version never changes. */

import { ChannelName, closed, Data, Key, Locale, Page, PriorityName, Timestamp } from './common.ts';
import { ChannelContent, LIQUID_DESCRIPTION } from './content.ts';
import { ProblemError } from './problem.ts';
import { type Static, Type } from './schema.ts';

/** Locale of `content` where a version names none. */
export const DEFAULT_LOCALE = 'en';

/** Number of a version. The limit only keeps it a 32-bit integer in every store. */
export const VersionNumber = Type.Integer({ minimum: 1, maximum: 2_147_483_647 });

const name = Type.String({ minLength: 1, maxLength: 200 });
const description = Type.String({ maxLength: 2000 });

/**
 * JSON objects in answers. Not `Type.Record`: its pattern `^.*$` leaves out keys with a line
 * break, and what a pattern leaves out is not serialised.
 */
const JsonObject = Type.Unsafe<Record<string, unknown>>({
  type: 'object',
  additionalProperties: true,
});
const JsonObjects = Type.Unsafe<Record<string, Record<string, unknown>>>({
  type: 'object',
  additionalProperties: { type: 'object', additionalProperties: true },
});

const contents = Type.Record(ChannelName, ChannelContent, {
  ...closed,
  minProperties: 1,
  maxProperties: 30,
  description: `Content per channel, by the channel's name: \`{"email": {"subject": …, "text": …}, "in_app": {"title": …}}\`, each in the shape of its channel (\`GET /v1/channels\`). A channel that is not named here is not sent to. ${LIQUID_DESCRIPTION}`,
});

const versionFields = {
  locale: Type.Optional({
    ...Locale,
    default: DEFAULT_LOCALE,
    description: 'BCP 47 language tag of `content`, in its canonical spelling.',
  }),
  content: contents,
  translations: Type.Optional(
    Type.Record(Locale, contents, {
      ...closed,
      maxProperties: 100,
      description:
        'Content for further locales. A recipient gets the exact locale, else the language and script, else the language, else `content`; each channel by itself.',
    }),
  ),
  variables: Type.Optional(
    Type.Record(Type.String(), Type.Unknown(), {
      description:
        'JSON Schema of `data`: a notification whose data does not fit is refused. With `required` a variable cannot be missing (else it leaves a hole, which the timeline tells), with `additionalProperties: false` a misspelt one is refused.',
    }),
  ),
  example: Type.Optional({
    ...Data,
    description: 'Example `data`, used by previews and rendered when the version is published.',
  }),
};

export const CreateTemplate = Type.Object(
  {
    key: Key,
    name: Type.Optional({ ...name, description: 'The key when left out.' }),
    description: Type.Optional(description),
    category: Type.Optional({ ...Key, description: 'What recipients can opt out of.' }),
    priority: Type.Optional(PriorityName),
    ...versionFields,
    publish: Type.Optional(
      Type.Boolean({ default: false, description: 'Publish the first version at once.' }),
    ),
  },
  { ...closed, $id: 'CreateTemplate' },
);
export type CreateTemplate = Static<typeof CreateTemplate>;

export const EditTemplate = Type.Object(
  {
    name: Type.Optional(name),
    description: Type.Optional(Type.Union([description, Type.Null()])),
    category: Type.Optional(Type.Union([Key, Type.Null()])),
    priority: Type.Optional(Type.Union([PriorityName, Type.Null()])),
  },
  { ...closed, minProperties: 1, $id: 'EditTemplate' },
);
export type EditTemplate = Static<typeof EditTemplate>;

export const CreateTemplateVersion = Type.Object(
  {
    ...versionFields,
    publish: Type.Optional(Type.Boolean({ default: false, description: 'Publish it at once.' })),
  },
  { ...closed, $id: 'CreateTemplateVersion' },
);
export type CreateTemplateVersion = Static<typeof CreateTemplateVersion>;

export const PutTemplateVersion = Type.Object(versionFields, {
  ...closed,
  $id: 'PutTemplateVersion',
});
export type PutTemplateVersion = Static<typeof PutTemplateVersion>;

export const PublishTemplate = Type.Object(
  { version: Type.Optional({ ...VersionNumber, description: 'The newest unless named.' }) },
  { ...closed, $id: 'PublishTemplate' },
);
export type PublishTemplate = Static<typeof PublishTemplate>;

export const TemplateVersion = Type.Object(
  {
    version: Type.Integer(),
    status: Type.Enum(['draft', 'published'], {
      description: 'A published version never changes.',
    }),
    locale: Type.String(),
    content: JsonObjects,
    translations: Type.Unsafe<Record<string, Record<string, Record<string, unknown>>>>({
      type: 'object',
      additionalProperties: {
        type: 'object',
        additionalProperties: { type: 'object', additionalProperties: true },
      },
    }),
    variables: Type.Union([JsonObject, Type.Null()]),
    example: Type.Union([JsonObject, Type.Null()]),
    createdAt: Timestamp,
    publishedAt: Type.Union([Timestamp, Type.Null()]),
  },
  { $id: 'TemplateVersion' },
);
export type TemplateVersion = Static<typeof TemplateVersion>;

export const Template = Type.Object(
  {
    key: Type.String(),
    name: Type.String(),
    description: Type.Union([Type.String(), Type.Null()]),
    category: Type.Union([Type.String(), Type.Null()]),
    priority: Type.Union([PriorityName, Type.Null()]),
    publishedVersion: Type.Union([Type.Integer(), Type.Null()], {
      description: 'The version that is sent now.',
    }),
    latestVersion: Type.Integer({
      description:
        'Numbers are never given twice: a template that is deleted and created again goes on counting.',
    }),
    createdAt: Timestamp,
    updatedAt: Timestamp,
  },
  { $id: 'Template' },
);
export type Template = Static<typeof Template>;

export const TemplatePage = Page(Type.Ref('Template'));
export const TemplateVersionPage = Page(Type.Ref('TemplateVersion'));

export const PreviewTemplate = Type.Object(
  {
    version: Type.Optional({ ...VersionNumber, description: 'The newest unless named.' }),
    channel: Type.Optional(ChannelName),
    locale: Type.Optional(Locale),
    data: Type.Optional({ ...Data, description: 'The example of the version when left out.' }),
  },
  { ...closed, $id: 'PreviewTemplate' },
);
export type PreviewTemplate = Static<typeof PreviewTemplate>;

export const TemplatePreview = Type.Object(
  {
    version: Type.Integer(),
    locale: Type.String({ description: 'The locale that was asked for.' }),
    locales: Type.Unsafe<Record<string, string>>({
      type: 'object',
      additionalProperties: { type: 'string' },
      description: 'Per channel, the locale whose content is shown.',
    }),
    channels: Type.Unsafe<Record<string, Record<string, unknown>>>({
      type: 'object',
      additionalProperties: { type: 'object', additionalProperties: true },
      description: 'The rendered content per channel.',
    }),
    missing: Type.Array(Type.String(), {
      description:
        'Variables the templates use that the data does not have, those in conditions and with the filter `default` too. Of a message that was sent, `detail.missingVariables` of its attempt names the ones that left a hole.',
    }),
    dataErrors: Type.Array(ProblemError, {
      description: 'Why a notification with this data would be refused; empty when it would not.',
    }),
  },
  { $id: 'TemplatePreview' },
);
export type TemplatePreview = Static<typeof TemplatePreview>;

export const Category = Type.Object(
  {
    key: Key,
    name: Type.Optional(name),
    mandatory: Type.Boolean({ description: 'Cannot be opted out of (security, legal).' }),
  },
  { ...closed, $id: 'Category' },
);
export type Category = Static<typeof Category>;
export const PutCategory = Type.Object(
  {
    name: Type.Optional(name),
    mandatory: Type.Optional(Type.Boolean({ default: false })),
  },
  { ...closed, $id: 'PutCategory' },
);
export type PutCategory = Static<typeof PutCategory>;
export const CategoryPage = Page(Type.Ref('Category'));
