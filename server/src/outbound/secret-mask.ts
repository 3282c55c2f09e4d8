/**
 * Takes an account's secrets out of what its provider says, before it is stored or shown. A provider
 * should not repeat them; a vendor's answer or an exception may all the same.
 */
import type { AccountDefinition } from '../adapters/account.ts';
import type { Note, Outcome } from '../adapters/provider.ts';
import { formsOf, maskForms, secretsIn } from '../secret-text.ts';

/** The outcome without any secret in it; the same object when there is none. */
export function createSecretMask({
  provider,
  config,
}: Pick<AccountDefinition, 'provider' | 'config'>): (outcome: Outcome) => Outcome {
  const forms = formsOf(secretsIn(config, provider.secrets));
  if (forms.length === 0) return (outcome) => outcome;
  const mask = (text: string): string => maskForms(text, forms);
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
