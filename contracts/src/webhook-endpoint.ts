/** Endpoints that webhook messages are sent to, signed by the Standard Webhooks scheme. */
import Type from 'typebox';
import { closed, Page, Timestamp } from './common.ts';

export const WebhookEndpointId = Type.String({ pattern: '^whe_[0-9a-hjkmnp-tv-z]{11}$' });

export const CreateWebhookEndpoint = Type.Object(
  {
    url: Type.String({ minLength: 1, maxLength: 2048 }),
    description: Type.Optional(Type.String({ maxLength: 500 })),
    secret: Type.Optional(
      Type.String({
        maxLength: 200,
        description: '`whsec_` and base64 of 24 to 64 bytes; made for you when left out.',
      }),
    ),
  },
  { ...closed, $id: 'CreateWebhookEndpoint' },
);
export type CreateWebhookEndpoint = Type.Static<typeof CreateWebhookEndpoint>;

export const EditWebhookEndpoint = Type.Object(
  {
    url: Type.Optional(Type.String({ minLength: 1, maxLength: 2048 })),
    description: Type.Optional(Type.String({ maxLength: 500 })),
    enabled: Type.Optional(Type.Boolean()),
  },
  { ...closed, minProperties: 1, $id: 'EditWebhookEndpoint' },
);
export type EditWebhookEndpoint = Type.Static<typeof EditWebhookEndpoint>;

export const RotateWebhookSecret = Type.Object(
  {
    secret: Type.Optional(Type.String({ maxLength: 200 })),
    keepPreviousForSeconds: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 2_592_000, default: 86_400, description: 'Both sign until then.' }),
    ),
  },
  { ...closed, $id: 'RotateWebhookSecret' },
);
export type RotateWebhookSecret = Type.Static<typeof RotateWebhookSecret>;

const fields = {
  id: WebhookEndpointId,
  url: Type.String(),
  description: Type.Union([Type.String(), Type.Null()]),
  enabled: Type.Boolean(),
  disabledReason: Type.Union([Type.String(), Type.Null()]),
  failingSince: Type.Union([Timestamp, Type.Null()]),
  secrets: Type.Integer({ description: 'How many secrets sign at present.' }),
  createdAt: Timestamp,
  updatedAt: Timestamp,
};
export const WebhookEndpoint = Type.Object(fields, { $id: 'WebhookEndpoint' });
export type WebhookEndpoint = Type.Static<typeof WebhookEndpoint>;
export const WebhookEndpointWithSecret = Type.Object(
  { ...fields, secret: Type.String({ description: 'Shown this once.' }) },
  { $id: 'WebhookEndpointWithSecret' },
);
export type WebhookEndpointWithSecret = Type.Static<typeof WebhookEndpointWithSecret>;
export const WebhookEndpointPage = Page(Type.Ref('WebhookEndpoint'));
