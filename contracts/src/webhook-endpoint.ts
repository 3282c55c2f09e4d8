/** Endpoints that webhook messages are sent to, signed by the Standard Webhooks scheme. */

import { closed, Page, PageQuery, Timestamp } from './common.ts';
import { type Static, Type } from './schema.ts';
import { pattern } from './schema-fault.ts';

export const WebhookEndpointId = Type.String({
  pattern: pattern(
    '^whe_[0-9a-hjkmnp-tv-z]{11}$',
    'must be the id of a webhook endpoint, such as whe_00h4p8s3t6v',
  ),
  examples: ['whe_00h4p8s3t6v'],
});

const Url = Type.String({
  minLength: 1,
  maxLength: 2048,
  description:
    'https URL of a public host, without user name and fragment; more where the operator allows it.',
  examples: ['https://hooks.example.com/tidings'],
});
const Secret = Type.String({
  maxLength: 200,
  description: '`whsec_` and base64 of 24 to 64 bytes; made for you when left out.',
});

export const CreateWebhookEndpoint = Type.Object(
  {
    url: Url,
    description: Type.Optional(Type.String({ maxLength: 500 })),
    secret: Type.Optional(Secret),
  },
  { ...closed, $id: 'CreateWebhookEndpoint' },
);
export type CreateWebhookEndpoint = Static<typeof CreateWebhookEndpoint>;

export const EditWebhookEndpoint = Type.Object(
  {
    url: Type.Optional(Url),
    description: Type.Optional(Type.Union([Type.String({ maxLength: 500 }), Type.Null()])),
    enabled: Type.Optional(
      Type.Boolean({ description: '`true` also forgets past failures and why it was disabled.' }),
    ),
  },
  { ...closed, minProperties: 1, $id: 'EditWebhookEndpoint' },
);
export type EditWebhookEndpoint = Static<typeof EditWebhookEndpoint>;

export const RotateWebhookSecret = Type.Object(
  {
    secret: Type.Optional(Secret),
    keepPreviousForSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 2_592_000,
        default: 86_400,
        description: 'The secrets before it sign beside it for so long.',
      }),
    ),
  },
  { ...closed, $id: 'RotateWebhookSecret' },
);
export type RotateWebhookSecret = Static<typeof RotateWebhookSecret>;

const fields = {
  id: WebhookEndpointId,
  url: Type.String(),
  description: Type.Union([Type.String(), Type.Null()]),
  enabled: Type.Boolean(),
  disabledReason: Type.Union([Type.String(), Type.Null()], {
    description:
      '`gone`: it answered 410. `failing`: it failed for days. null when a request disabled it.',
  }),
  failingSince: Type.Union([Timestamp, Type.Null()], {
    description: 'First failure since the last success.',
  }),
  secrets: Type.Integer({ description: 'How many secrets sign at present.' }),
  createdAt: Timestamp,
  updatedAt: Timestamp,
};
export const WebhookEndpoint = Type.Object(fields, { $id: 'WebhookEndpoint' });
export type WebhookEndpoint = Static<typeof WebhookEndpoint>;
export const WebhookEndpointWithSecret = Type.Object(
  { ...fields, secret: Type.String({ description: 'Shown this once.' }) },
  { $id: 'WebhookEndpointWithSecret' },
);
export type WebhookEndpointWithSecret = Static<typeof WebhookEndpointWithSecret>;
export const WebhookEndpointPage = Page(Type.Ref('WebhookEndpoint'));

/** Any text: what is no id is answered like the id of nothing. */
export const WebhookEndpointParams = Type.Object({ id: Type.String({ maxLength: 100 }) });
export type WebhookEndpointParams = Static<typeof WebhookEndpointParams>;
export const ListWebhookEndpointsQuery = Type.Object(PageQuery, closed);
export type ListWebhookEndpointsQuery = Static<typeof ListWebhookEndpointsQuery>;
