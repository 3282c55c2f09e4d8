/**
 * What one rendering may cost, and the account it is charged to.
 *
 * Work is counted, never timed: the same template with the same data gives the same result
 * on every machine and under a simulated clock. One unit stands for about half a microsecond
 * of the slowest thing that is charged one unit, so that the whole of `work` ends within about
 * 100 ms. Whoever adds something a template can do charges here what it costs.
 *
 * The account is not a limit on a template's text or shape; compile.ts checks those.
 */

export const RENDER_LIMITS = {
  /** Units of one content: a table of a thousand rows and ten columns by liquidjs, or 100 ms of the worst. */
  work: 200_000,
  /** Characters of one rendered string, and of any string on the way to it: twice the largest field of a content. */
  textLength: 1_000_000,
  /** Characters of all rendered strings of a content. */
  totalLength: 2_000_000,
  /** Nested objects and arrays of the data. JSON written for people stays far below. */
  dataDepth: 64,
  /** Characters of what a filter searches for. V8's search of a longer one can take the product of both lengths. */
  patternLength: 1000,
} as const;

/** Why a rendering was given up. Never leaves this folder: render.ts makes a ServiceError of it. */
export class RenderLimitError extends Error {}

/** The units have run out. */
export class WorkLimitError extends RenderLimitError {}

/** Characters that one unit pays for: the slowest filter takes some 15 ns for each. */
const CHARACTERS_PER_UNIT = 32;
/** Units of one node of a template: liquidjs takes 1 to 2 µs to visit one. */
const UNITS_PER_NODE = 4;

/** The account of one rendering. Its methods `check` and `use` are those of a limiter of liquidjs. */
export class Work {
  #left: number;

  /** @param units less than RENDER_LIMITS.work where a rendering is only tried */
  constructor(units: number = RENDER_LIMITS.work) {
    this.#left = units;
  }

  spend(units: number): void {
    this.#left -= units;
    if (this.#left < 0) throw new WorkLimitError('takes too much work to render');
  }

  /** Called by liquidjs before each node, with the time, which is not looked at. */
  check(_now: number): void {
    this.spend(UNITS_PER_NODE);
  }

  /** Pays for handling so many characters; called by filters of liquidjs too. */
  use(characters: number): void {
    if (characters > 0) this.spend(1 + characters / CHARACTERS_PER_UNIT);
  }

  /** Pays for going through so many elements of an array. */
  visit(elements: number): void {
    this.spend(1 + elements / 4);
  }

  /** Pays for listing so many keys of an object, which takes 0.3 µs each when there are many. */
  list(keys: number): void {
    this.spend(1 + keys);
  }
}
