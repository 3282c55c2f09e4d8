/** The content of a webhook message, its limit, and neutral content in its shape. */
import type { ChannelContent, Content } from '@tidings/contracts/content';
import { type Static, Type } from '@tidings/contracts/schema';
import type { FieldError } from '../../errors.ts';

/**
 * The payload as JSON. What message buses take as one event (256 KiB), and receivers' web servers
 * by default; Standard Webhooks advises to stay far below and to send links instead.
 */
export const PAYLOAD_LIMIT_BYTES = 256 * 1024;

export const WebhookContent = Type.Object(
  {
    payload: Type.Record(Type.String({ maxLength: 200 }), Type.Unknown(), {
      description: `Sent as \`data\` of the request body; at most ${PAYLOAD_LIMIT_BYTES} bytes as JSON.`,
    }),
  },
  { additionalProperties: false },
);
export type WebhookContent = Static<typeof WebhookContent>;

export function validateWebhookContent(content: ChannelContent): FieldError[] {
  const { payload } = content as WebhookContent;
  return fits(payload)
    ? []
    : [{ path: 'payload', message: `is larger than ${PAYLOAD_LIMIT_BYTES} bytes as JSON` }];
}

/**
 * The payload if there is one; otherwise what the content says to a person: title (or subject),
 * text, markdown, url, imageUrl, actions. HTML and attachments are made for mail and left out; who
 * wants them at the receiver gives a payload. Nothing of it, or too much, is no webhook.
 */
export function webhookFromContent(content: Content): ChannelContent | undefined {
  if (content.payload !== undefined) return { payload: content.payload };
  const title = content.title ?? content.subject;
  const { text, markdown, url, imageUrl, actions } = content;
  const payload = defined({ title, text, markdown, url, imageUrl, actions });
  return Object.keys(payload).length > 0 && fits(payload) ? { payload } : undefined;
}

function fits(payload: unknown): boolean {
  return Buffer.byteLength(JSON.stringify(payload)) <= PAYLOAD_LIMIT_BYTES;
}

function defined(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
