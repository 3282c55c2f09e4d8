/**
 * What the strings of one content share while they are rendered: the data, the options and
 * the account of work.
 */
import type { DateOptions } from './date.ts';
import { plainCopy, readRoot } from './value.ts';
import { RENDER_LIMITS, RenderLimitError, Work } from './work.ts';

export class RenderState {
  readonly work = new Work();
  readonly data: unknown;
  readonly options: DateOptions;
  /** Copies of the members of the data that liquidjs has asked for. */
  #roots: Record<string, unknown> | undefined;
  #textLeft: number = RENDER_LIMITS.totalLength;

  constructor(data: unknown, options: DateOptions) {
    this.data = data;
    this.options = options;
  }

  root(key: string | number): unknown {
    this.#roots ??= Object.create(null) as Record<string, unknown>;
    if (key in this.#roots) return this.#roots[key];
    const value = plainCopy(readRoot(this.data, key), this.work);
    this.#roots[key] = value;
    return value;
  }

  /** Counts a finished string. */
  addText(length: number): void {
    this.#textLeft -= length;
    if (length > RENDER_LIMITS.textLength) {
      throw new RenderLimitError(`makes a text longer than ${RENDER_LIMITS.textLength} characters`);
    }
    if (this.#textLeft < 0) {
      throw new RenderLimitError(
        `makes the content longer than ${RENDER_LIMITS.totalLength} characters`,
      );
    }
  }
}
