/** Calling systems and their API keys. The application is the unit of isolation. */

import { ApplicationKey, closed, KEY_KINDS, Page, PageQuery, SCOPES, Timestamp } from './common.ts';
import { type Static, Type } from './schema.ts';
import { pattern } from './schema-fault.ts';

export const CreateApplication = Type.Object(
  { key: ApplicationKey, name: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })) },
  { ...closed, $id: 'CreateApplication' },
);
export type CreateApplication = Static<typeof CreateApplication>;

export const Application = Type.Object(
  { key: Type.String(), name: Type.String(), createdAt: Timestamp },
  { $id: 'Application' },
);
export type Application = Static<typeof Application>;
export const ApplicationPage = Page(Type.Ref('Application'));

export const CreateApiKey = Type.Object(
  {
    name: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
    kind: Type.Optional(
      Type.Enum([...KEY_KINDS], {
        default: 'live',
        description:
          'Messages of a test key are captured, never sent. With the scope manage it changes users and templates that live messages use.',
      }),
    ),
    scopes: Type.Optional(
      Type.Array(Type.Enum([...SCOPES]), {
        minItems: 1,
        uniqueItems: true,
        description: 'Defaults to send, read and manage.',
      }),
    ),
    expiresAt: Type.Optional(Timestamp),
    application: Type.Optional({
      ...ApplicationKey,
      description: 'Another application; needs the admin scope.',
    }),
  },
  { ...closed, $id: 'CreateApiKey' },
);
export type CreateApiKey = Static<typeof CreateApiKey>;

export const ApiKeyId = Type.String({
  pattern: pattern(
    '^key_[0-9a-hjkmnp-tv-z]{11}$',
    'must be the id of an API key, such as key_00h4p8s3t6v',
  ),
  examples: ['key_00h4p8s3t6v'],
});

const fields = {
  id: ApiKeyId,
  application: Type.String(),
  name: Type.String(),
  kind: Type.Enum([...KEY_KINDS]),
  scopes: Type.Array(Type.Enum([...SCOPES])),
  prefix: Type.String({ description: 'First characters, to recognise it by.' }),
  createdAt: Timestamp,
  expiresAt: Type.Union([Timestamp, Type.Null()]),
  revokedAt: Type.Union([Timestamp, Type.Null()]),
};

export const ApiKey = Type.Object(fields, { $id: 'ApiKey' });
export type ApiKey = Static<typeof ApiKey>;
export const CreatedApiKey = Type.Object(
  { ...fields, secret: Type.String({ description: 'The key itself. Shown this once.' }) },
  { $id: 'CreatedApiKey' },
);
export type CreatedApiKey = Static<typeof CreatedApiKey>;
export const ApiKeyPage = Page(Type.Ref('ApiKey'));

export const CreateSession = Type.Object(
  {
    token: Type.String({
      minLength: 20,
      maxLength: 200,
      description: 'From the one-time admin link.',
    }),
  },
  { ...closed, $id: 'CreateSession' },
);
export type CreateSession = Static<typeof CreateSession>;
export const Session = Type.Object(
  {
    key: Type.String({ description: 'A bearer key with the admin scope, valid for this session.' }),
    application: Type.String(),
    expiresAt: Timestamp,
  },
  { $id: 'Session' },
);
export type Session = Static<typeof Session>;

export const Whoami = Type.Object(
  {
    application: Type.String(),
    id: ApiKeyId,
    name: Type.String(),
    prefix: fields.prefix,
    kind: fields.kind,
    scopes: fields.scopes,
    expiresAt: fields.expiresAt,
  },
  { $id: 'Whoami', description: 'The key this request was made with.' },
);
export type Whoami = Static<typeof Whoami>;

const named = Type.Optional({
  ...ApplicationKey,
  description: 'Another application; needs the admin scope.',
});
export const ListApplicationsQuery = Type.Object(PageQuery, closed);
export type ListApplicationsQuery = Static<typeof ListApplicationsQuery>;
export const ListApiKeysQuery = Type.Object({ ...PageQuery, application: named }, closed);
export type ListApiKeysQuery = Static<typeof ListApiKeysQuery>;
export const ApiKeyParams = Type.Object({ keyId: Type.String({ maxLength: 100 }) });
export const RevokeApiKeyQuery = Type.Object({ application: named }, closed);
export type RevokeApiKeyQuery = Static<typeof RevokeApiKeyQuery>;
