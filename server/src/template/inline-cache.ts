/**
 * Compiled content of recent notifications, by its text: a loop that sends the same content with
 * other data compiles it once. What was used longest ago goes first.
 */
import type { ChannelContent } from '@tidings/contracts/content';
import type { CompiledContent } from './compile.ts';

/** Longer content is compiled each time: attachments would fill the cache and gain nothing. */
const ENTRY_LENGTH = 32_768;
/** Characters of all keys. What is compiled takes some ten times as much. */
const TOTAL_LENGTH = 2_000_000;

export class InlineCache {
  readonly #entries = new Map<string, CompiledContent>();
  #length = 0;

  get(channel: string, content: ChannelContent, compile: () => CompiledContent): CompiledContent {
    if (textLength(content) > ENTRY_LENGTH) return compile();
    const key = `${channel} ${JSON.stringify(content)}`;
    const known = this.#entries.get(key);
    if (known !== undefined) {
      this.#entries.delete(key);
      this.#entries.set(key, known);
      return known;
    }
    const compiled = compile();
    this.#entries.set(key, compiled);
    this.#length += key.length;
    for (const [oldest] of this.#entries) {
      if (this.#length <= TOTAL_LENGTH) break;
      this.#entries.delete(oldest);
      this.#length -= oldest.length;
    }
    return compiled;
  }
}

/** Characters of all strings of a value, without putting them together. */
function textLength(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 1;
  return Object.values(value).reduce((sum: number, member) => sum + textLength(member), 0);
}
