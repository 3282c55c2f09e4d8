/**
 * What a webhook endpoint is sent, by the Standard Webhooks specification. Sent and never taken in:
 * the server types its requests by it, and the OpenAPI document tells receivers of it.
 */
import { OpenObject, TextMap, Timestamp } from './common.ts';
import { MessageId, NotificationId } from './notification.ts';
import { type Static, Type } from './schema.ts';

/** Not closed: receivers must bear fields that are added later. */
export const WebhookMessage = Type.Object(
  {
    type: Type.String({
      description: "The message's category, or `notification` when it has none.",
      examples: ['notification', 'order.shipped'],
    }),
    timestamp: Type.String({
      ...Timestamp,
      description: 'When the message was accepted; the same on every attempt.',
    }),
    id: MessageId,
    notificationId: NotificationId,
    userId: Type.Optional(Type.String({ description: 'Only of a message to a user.' })),
    collapseKey: Type.Optional(
      Type.String({ description: 'Only when it has one: newer messages replace older ones.' }),
    ),
    metadata: Type.Optional(TextMap({ description: 'Only when there is any.' })),
    data: OpenObject({
      description:
        '`payload` of the content; without one, what the content says to a person (`title`, `text`, `url` …).',
    }),
  },
  {
    $id: 'WebhookMessage',
    examples: [
      {
        type: 'order.shipped',
        timestamp: '2026-12-24T08:00:00.000Z',
        id: 'msg_00h4p8s3t6v',
        notificationId: 'ntf_00h4p8s3t6v',
        data: { order: 42 },
      },
    ],
  },
);
export type WebhookMessage = Static<typeof WebhookMessage>;

export const WebhookHeaders = Type.Object({
  'webhook-id': Type.String({
    description:
      'Id of the message, the same on every attempt: a receiver that has seen it drops the repetition.',
    examples: ['msg_00h4p8s3t6v'],
  }),
  'webhook-timestamp': Type.String({
    pattern: '^\\d+$',
    description: 'When this attempt was made, in seconds since 1970.',
    examples: ['1798099200'],
  }),
  'webhook-signature': Type.String({
    description:
      '`v1,` and base64 of the HMAC-SHA256 of `<webhook-id>.<webhook-timestamp>.<body>`, keyed with the bytes that are base64 in the secret behind `whsec_`. Several with a space between them while a secret is replaced: one that fits is enough.',
    examples: ['v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='],
  }),
});

/** What follows from each answer of a receiver. */
export const WEBHOOK_ANSWERS = {
  '2XX': 'Any of them: delivered. The body of the answer is only shown in the timeline.',
  '410':
    'Gone: the endpoint is disabled (`disabledReason` is `gone`), and the message is tried no more there.',
  default:
    'Tried again by the schedule, later when a `Retry-After` asks for it; redirections are not followed. An endpoint that fails for days without one success is disabled (`failing`).',
} as const;
