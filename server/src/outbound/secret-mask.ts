/**
 * Takes an account's secrets out of what its provider says, before it is stored or shown. A provider
 * should not repeat them; a vendor's answer or an exception may all the same.
 */
import type { AccountDefinition } from '../adapters/account.ts';
import type { Note, Outcome } from '../adapters/provider.ts';

const MASK = '***';
/** What is shorter stands in most texts by accident. */
const SHORTEST = 4;

/** The outcome without any secret in it; the same object when there is none. */
export function createSecretMask({
  provider,
  config,
}: Pick<AccountDefinition, 'provider' | 'config'>): (outcome: Outcome) => Outcome {
  const secrets = provider.secrets.flatMap((name) => textsIn(config[name]));
  const forms = [...new Set(secrets.flatMap(formsOf))].sort((a, b) => b.length - a.length);
  if (forms.length === 0) return (outcome) => outcome;
  const mask = (text: string): string =>
    forms.reduce((masked, form) => masked.replaceAll(form, MASK), text);
  return (outcome) => {
    const masked = { ...outcome };
    if (masked.response !== undefined) masked.response = mask(masked.response);
    if (masked.kind !== 'sent') masked.reason = mask(masked.reason);
    else if (masked.providerMessageId !== undefined)
      masked.providerMessageId = mask(masked.providerMessageId);
    if (masked.note) masked.note = maskedNote(masked.note, mask);
    return masked;
  };
}

function maskedNote({ type, detail = {} }: Note, mask: (text: string) => string): Note {
  const texts = Object.entries(detail).map(([name, text]) => [mask(name), mask(text)]);
  return { type: mask(type), detail: Object.fromEntries(texts) };
}

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return value.length >= SHORTEST ? [value] : [];
  return value !== null && typeof value === 'object' ? Object.values(value).flatMap(textsIn) : [];
}

/** As it is, and as it stands in JSON, in a URL and in an Authorization header. */
function formsOf(secret: string): string[] {
  return [
    secret,
    JSON.stringify(secret).slice(1, -1),
    encodeURIComponent(secret),
    Buffer.from(secret).toString('base64'),
  ];
}
