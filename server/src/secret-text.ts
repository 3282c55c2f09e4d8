/**
 * Secrets of a configuration in texts that others wrote: what a vendor answered, what a plug-in printed.
 * Nobody should repeat them; an answer or an exception may all the same.
 */
const MASK = '***';
/** What is shorter stands in most texts by accident. */
const SHORTEST = 4;

/** The texts in the members of a configuration that are never shown. */
export function secretsIn(config: unknown, names: readonly string[]): string[] {
  const members = (config ?? {}) as Record<string, unknown>;
  return names.flatMap((name) => textsIn(members[name]));
}

/** Every form in which the secrets are looked for, the longest first. */
export function formsOf(secrets: readonly string[]): string[] {
  return [...new Set(secrets.flatMap(formsOfOne))].sort((a, b) => b.length - a.length);
}

/** @param forms as `formsOf` gives them */
export function maskForms(text: string, forms: readonly string[]): string {
  return forms.reduce((masked, form) => masked.replaceAll(form, MASK), text);
}

export function withoutSecrets(text: string, secrets: readonly string[]): string {
  return maskForms(text, formsOf(secrets));
}

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return value.length >= SHORTEST ? [value] : [];
  return value !== null && typeof value === 'object' ? Object.values(value).flatMap(textsIn) : [];
}

/** As it is, and as it stands in JSON, in a URL and in an Authorization header. */
function formsOfOne(secret: string): string[] {
  return [
    secret,
    JSON.stringify(secret).slice(1, -1),
    encodeURIComponent(secret),
    Buffer.from(secret).toString('base64'),
  ];
}
