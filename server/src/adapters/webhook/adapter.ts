/**
 * The webhook channel: a message is a signed POST to an endpoint, named by its id or by a URL.
 * Whether a URL may be reached is not decided here but by the provider, whose configuration says
 * which networks the operator allows.
 */
import { formatId, parseId } from '../../id.ts';
import { defineAdapter, type ParsedAddress } from '../adapter.ts';
import { validateWebhookContent, WebhookContent, webhookFromContent } from './content.ts';
import { parseWebhookUrl } from './url.ts';

/** An endpoint of the application, or a URL that becomes one with the first message. */
export type WebhookAddress = { endpointId: number } | { url: string };

function parseAddress(text: string): ParsedAddress<WebhookAddress> {
  if (text.startsWith('whe_')) {
    const endpointId = parseId('whe', text);
    if (endpointId === undefined) {
      return { ok: false, message: 'begins like the id of an endpoint but is none' };
    }
    return { ok: true, address: { endpointId }, normalized: formatId('whe', endpointId) };
  }
  const parsed = parseWebhookUrl(text);
  if (!parsed.ok) return parsed;
  const { href } = parsed.url;
  return { ok: true, address: { url: href }, normalized: href };
}

/** Scheme and host: paths and queries of webhook URLs are often credentials. */
function maskAddress(text: string): string {
  const parsed = parseAddress(text);
  if (!parsed.ok) return '***';
  const { address } = parsed;
  return 'url' in address ? new URL(address.url).origin : `whe_***${text.slice(-3)}`;
}

export default defineAdapter<WebhookAddress>({
  channel: 'webhook',
  title: 'Webhook',
  contentSchema: WebhookContent,
  htmlFields: [],
  parseAddress,
  maskAddress,
  defaultAddress: 'none',
  needs: 'anything at all but html and attachments',
  fromContent: webhookFromContent,
  validate: validateWebhookContent,
  // RFC 2606 reserves `.invalid`: nothing can ever be delivered there.
  simulated: {
    delivered: 'https://simulate.invalid/delivered',
    temporaryFailure: 'https://simulate.invalid/temporary-failure',
    permanentFailure: 'https://simulate.invalid/permanent-failure',
  },
});
