/**
 * What the strings of one content share while they are rendered: the data, the options and
 * the account of work.
 */
import type { DateOptions } from './date.ts';
import { plainCopy, readRoot } from './value.ts';
import { variableName } from './variable-name.ts';
import { RENDER_LIMITS, RenderLimitError, Work } from './work.ts';

/** Missing variables that are told of one rendering; more names say no more. */
const MISSING_TOLD = 20;
/** Characters of such a name. */
const MISSING_LENGTH = 100;

export class RenderState {
  readonly work: Work;
  readonly data: unknown;
  readonly options: DateOptions;
  /** Above 0 while a value is evaluated whose absence its template provides for: a condition, or one with `default`. */
  tolerant = 0;
  #missing: Set<string> | undefined;
  /** Copies of the members of the data that liquidjs has asked for. */
  #roots: Record<string, unknown> | undefined;
  #textLeft: number = RENDER_LIMITS.totalLength;

  constructor(data: unknown, options: DateOptions, work = new Work()) {
    this.data = data;
    this.options = options;
    this.work = work;
  }

  /** Names of the variables that were read and are not in the data, shortened; undefined when there was none. */
  get missing(): string[] | undefined {
    return this.#missing && [...this.#missing];
  }

  /** Notes a variable that was read and had no value. */
  miss(path: readonly (string | number)[]): void {
    if (this.tolerant > 0) return;
    this.#missing ??= new Set();
    if (this.#missing.size === MISSING_TOLD) return;
    this.work.spend(2);
    // No more of a path than can be shown: a template may have thousands of steps in one.
    const name = variableName(path.slice(0, MISSING_LENGTH));
    this.#missing.add(
      name.length > MISSING_LENGTH ? `${name.slice(0, MISSING_LENGTH - 1)}…` : name,
    );
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
