/** Templates: versioned content per channel and locale. A published version never changes. */
import Type from 'typebox';
import { ChannelName, closed, Data, Key, Locale, Page, PriorityName, Timestamp } from './common.ts';
import { ChannelContent } from './content.ts';

const contents = Type.Record(ChannelName, ChannelContent, {
  minProperties: 1,
  maxProperties: 30,
  description: 'Content per channel, each in the shape of its channel; Liquid in every text.',
});

const versionFields = {
  locale: Type.Optional(Locale),
  content: contents,
  translations: Type.Optional(
    Type.Record(Locale, contents, { maxProperties: 100, description: 'Content for further locales.' }),
  ),
  variables: Type.Optional(
    Type.Record(Type.String(), Type.Unknown(), { description: 'JSON Schema of `data`.' }),
  ),
  example: Type.Optional({ ...Data, description: 'Example `data`, used by previews.' }),
};

export const CreateTemplate = Type.Object(
  {
    key: Key,
    name: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
    description: Type.Optional(Type.String({ maxLength: 2000 })),
    category: Type.Optional(Key),
    priority: Type.Optional(PriorityName),
    ...versionFields,
    publish: Type.Optional(Type.Boolean({ default: false, description: 'Publish version 1 at once.' })),
  },
  { ...closed, $id: 'CreateTemplate' },
);
export type CreateTemplate = Type.Static<typeof CreateTemplate>;

export const EditTemplate = Type.Object(
  {
    name: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
    description: Type.Optional(Type.String({ maxLength: 2000 })),
    category: Type.Optional(Type.Union([Key, Type.Null()])),
    priority: Type.Optional(Type.Union([PriorityName, Type.Null()])),
  },
  { ...closed, minProperties: 1, $id: 'EditTemplate' },
);
export type EditTemplate = Type.Static<typeof EditTemplate>;

export const CreateTemplateVersion = Type.Object(
  { ...versionFields, publish: Type.Optional(Type.Boolean({ default: false })) },
  { ...closed, $id: 'CreateTemplateVersion' },
);
export type CreateTemplateVersion = Type.Static<typeof CreateTemplateVersion>;

export const PublishTemplate = Type.Object(
  { version: Type.Optional(Type.Integer({ minimum: 1, description: 'The newest unless named.' })) },
  { ...closed, $id: 'PublishTemplate' },
);

export const TemplateVersion = Type.Object(
  {
    version: Type.Integer(),
    status: Type.Enum(['draft', 'published'], {
      description: 'A published version never changes.',
    }),
    locale: Type.String(),
    content: Type.Record(Type.String(), ChannelContent),
    translations: Type.Record(Type.String(), Type.Record(Type.String(), ChannelContent)),
    variables: Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()]),
    example: Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()]),
    createdAt: Timestamp,
    publishedAt: Type.Union([Timestamp, Type.Null()]),
  },
  { $id: 'TemplateVersion' },
);
export type TemplateVersion = Type.Static<typeof TemplateVersion>;

export const Template = Type.Object(
  {
    key: Type.String(),
    name: Type.String(),
    description: Type.Union([Type.String(), Type.Null()]),
    category: Type.Union([Type.String(), Type.Null()]),
    priority: Type.Union([PriorityName, Type.Null()]),
    publishedVersion: Type.Union([Type.Integer(), Type.Null()]),
    latestVersion: Type.Integer(),
    createdAt: Timestamp,
    updatedAt: Timestamp,
  },
  { $id: 'Template' },
);
export type Template = Type.Static<typeof Template>;

export const TemplatePage = Page(Type.Ref('Template'));
export const TemplateVersionPage = Page(Type.Ref('TemplateVersion'));

export const PreviewTemplate = Type.Object(
  {
    version: Type.Optional(Type.Integer({ minimum: 1 })),
    channel: Type.Optional(ChannelName),
    locale: Type.Optional(Locale),
    data: Type.Optional(Data),
  },
  { ...closed, $id: 'PreviewTemplate' },
);
export type PreviewTemplate = Type.Static<typeof PreviewTemplate>;

export const TemplatePreview = Type.Object(
  {
    version: Type.Integer(),
    locale: Type.String(),
    channels: Type.Record(Type.String(), ChannelContent),
    missing: Type.Array(Type.String(), {
      description: 'Variables the templates use that the data does not have.',
    }),
  },
  { $id: 'TemplatePreview' },
);
export type TemplatePreview = Type.Static<typeof TemplatePreview>;

export const Category = Type.Object(
  {
    key: Key,
    name: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
    mandatory: Type.Boolean({ description: 'Cannot be opted out of (security, legal).' }),
  },
  { ...closed, $id: 'Category' },
);
export type Category = Type.Static<typeof Category>;
export const PutCategory = Type.Object(
  {
    name: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
    mandatory: Type.Optional(Type.Boolean({ default: false })),
  },
  { ...closed, $id: 'PutCategory' },
);
export type PutCategory = Type.Static<typeof PutCategory>;
export const CategoryPage = Page(Type.Ref('Category'));
