/** Time zones of recipients: what is no time zone must not cost anybody a message. */

/** Zones come with profiles, so what is remembered about them is bounded. */
const REMEMBERED_LIMIT = 1000;
const remembered = new Map<string, boolean>();

/** The zone, if Intl knows it (making a formatter costs 50 µs, so the answer is remembered). */
export function knownTimezone(name: string | null | undefined): string | undefined {
  if (name === null || name === undefined) return undefined;
  let isKnown = remembered.get(name);
  if (isKnown === undefined) {
    isKnown = isTimezone(name);
    if (remembered.size >= REMEMBERED_LIMIT) remembered.clear();
    remembered.set(name, isKnown);
  }
  return isKnown ? name : undefined;
}

function isTimezone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }) !== undefined;
  } catch {
    return false;
  }
}
