/**
 * Which of a template's locales a recipient gets. Tags are BCP 47 in the canonical spelling of
 * Intl; which script and region a bare tag stands for (`zh-TW` is Traditional) is CLDR's likely
 * subtags, as Intl has them.
 *
 * Nothing is refused here: a recipient whose locale makes no sense still gets the message.
 */

/** The canonical spelling; undefined for text that is no language tag. */
export function canonicalLocale(tag: string): string | undefined {
  try {
    return Intl.getCanonicalLocales(tag)[0];
  } catch {
    return undefined;
  }
}

/** Locales come with requests and profiles, so what is remembered about them is bounded. */
const REMEMBERED_LIMIT = 2000;
const remembered = new Map<string, readonly string[]>();

/**
 * Tags to look for, best first: the tag itself and its other spellings, then language and
 * script, then the language. `zh-Hant-TW`: `zh-Hant-TW`, `zh-TW`, `zh-Hant`, `zh`. None for what
 * is no language tag.
 */
export function localeCandidates(tag: string): readonly string[] {
  const known = remembered.get(tag);
  if (known !== undefined) return known;
  const candidates = findCandidates(tag);
  if (remembered.size >= REMEMBERED_LIMIT) remembered.clear();
  remembered.set(tag, candidates);
  return candidates;
}

function findCandidates(tag: string): readonly string[] {
  const canonical = canonicalLocale(tag);
  if (canonical === undefined) return [];
  const { language, script, region } = new Intl.Locale(canonical).maximize();
  // An undetermined language is likely English, says CLDR; here it is likelier the template's own.
  if (languageOf(canonical) === 'und') return [canonical];
  const candidates = [canonical];
  if (region !== undefined) {
    // Another spelling of the same only if the region alone means the same script.
    const short = new Intl.Locale(`${language}-${region}`);
    if (short.maximize().script === script) candidates.push(short.toString());
    if (script !== undefined) candidates.push(`${language}-${script}-${region}`);
  }
  if (script !== undefined) candidates.push(`${language}-${script}`);
  candidates.push(language);
  return [...new Set(candidates)];
}

/** The best of the locales that are there; the fallback when none fits or none is asked for. */
export function chooseLocale(
  requested: string | null | undefined,
  fallback: string,
  isThere: (locale: string) => boolean,
): string {
  if (requested === null || requested === undefined) return fallback;
  for (const candidate of localeCandidates(requested)) {
    if (candidate === fallback || isThere(candidate)) return candidate;
  }
  return fallback;
}

/**
 * Locale of the dates in a text: the recipient's own where it is the language of the text
 * (`en-GB` in a text for `en`), so that no sentence is half in another language.
 */
export function dateLocale(requested: string | null | undefined, ofText: string): string {
  if (requested === null || requested === undefined) return ofText;
  const [canonical] = localeCandidates(requested);
  if (canonical === undefined) return ofText;
  return languageOf(canonical) === languageOf(ofText) ? canonical : ofText;
}

function languageOf(tag: string): string {
  const end = tag.indexOf('-');
  return end === -1 ? tag : tag.slice(0, end);
}
