/**
 * Regular expressions that callers write, made safe to run.
 *
 * JavaScript's engine backtracks: `(a+)+$` takes longer than the universe is old on forty
 * letters. A pattern is therefore read first, and the most steps that it can take on a text of
 * n characters are counted, as a function of n: all ways in which its repeats and alternatives
 * can share out the text. That is an upper limit, reached only by patterns made to be slow.
 * A pattern that is over the limit on short texts already is refused; for the others each match
 * is paid for before it runs. Backreferences and lookaround, for which the count does not hold,
 * are refused too.
 */

/** Steps that all matches of one check may take together: 10 to 20 ms. */
export const PATTERN_STEPS = 4_000_000;
export const PATTERN_LENGTH = 500;
/** A pattern must be able to match texts at least so long. */
const SHORTEST_LIMIT = 32;

/** Ways in which a part of a pattern can match a text, and the steps to go through all of them. */
interface Cost {
  ways: number;
  steps: number;
}

type CostOf = (length: number) => Cost;

export interface SafePattern {
  regExp: RegExp;
  /** The most steps that a match of a text of so many characters takes. */
  stepsFor(length: number): number;
}

/** Throws an Error whose message is meant for the author. */
export function compilePattern(source: string): SafePattern {
  if (source.length > PATTERN_LENGTH) {
    throw new Error(`the pattern is longer than ${PATTERN_LENGTH} characters`);
  }
  const regExp = newRegExp(source);
  const reader = new PatternReader(source);
  const cost = reader.read();
  const stepsFor = (length: number): number =>
    cost(length).steps * (reader.anchored ? 1 : length + 1);
  if (!(stepsFor(SHORTEST_LIMIT) <= PATTERN_STEPS)) {
    throw new Error('the pattern can take too long: it has repeats or alternatives within repeats');
  }
  // The engine interprets a pattern once and compiles it to machine code the second time.
  regExp.test('');
  return { regExp, stepsFor };
}

function newRegExp(source: string): RegExp {
  try {
    return new RegExp(source, 'u');
  } catch (error) {
    throw new Error(`the pattern is not valid: ${(error as Error).message}`);
  }
}

const ONE: Cost = { ways: 1, steps: 1 };
const one: CostOf = () => ONE;

/** Reads a pattern that is known to be valid with the flag `u`. */
class PatternReader {
  readonly #source: string;
  #at = 0;
  /** Whether a match can begin at the beginning of a text only. */
  anchored: boolean;

  constructor(source: string) {
    this.#source = source;
    this.anchored = source.startsWith('^');
  }

  read(): CostOf {
    return this.#alternatives();
  }

  /** Up to the `)` that closes them or the end. */
  #alternatives(): CostOf {
    const isOutermost = this.#at === 0;
    const sequences = [this.#sequence()];
    while (this.#source[this.#at] === '|') {
      this.#at += 1;
      if (isOutermost && this.#source[this.#at] !== '^') this.anchored = false;
      sequences.push(this.#sequence());
    }
    return sequences.length === 1 ? (sequences[0] as CostOf) : alternatives(sequences);
  }

  #sequence(): CostOf {
    const items: CostOf[] = [];
    while (this.#at < this.#source.length && !'|)'.includes(this.#source[this.#at] as string)) {
      const atom = this.#atom();
      items.push(this.#quantified(atom));
    }
    return sequence(items);
  }

  #atom(): CostOf {
    const character = this.#source[this.#at];
    if (character === '(') return this.#group();
    if (character === '[') this.#skipClass();
    else if (character === '\\') this.#skipEscape();
    else this.#at += 1;
    return one;
  }

  #group(): CostOf {
    const opening = /^\((?:\?:|\?<(?![=!])[^>]*>|(?!\?))/u.exec(this.#source.slice(this.#at));
    if (opening === null) throw new Error('the pattern has lookaround or flags within it');
    this.#at += opening[0].length;
    const inner = this.#alternatives();
    this.#at += 1;
    return inner;
  }

  #skipClass(): void {
    while (this.#source[this.#at] !== ']') this.#at += this.#source[this.#at] === '\\' ? 2 : 1;
    this.#at += 1;
  }

  #skipEscape(): void {
    const kind = this.#source[this.#at + 1] as string;
    if (/[1-9k]/.test(kind)) throw new Error('the pattern has a backreference');
    const hasBraces = 'pPu'.includes(kind) && this.#source[this.#at + 2] === '{';
    if (hasBraces) this.#at = this.#source.indexOf('}', this.#at) + 1;
    else this.#at += kind === 'c' ? 3 : 2;
  }

  #quantified(atom: CostOf): CostOf {
    const quantifier = /^(?:[*+?]|\{(\d+)(,?)(\d*)\})\??/.exec(this.#source.slice(this.#at));
    if (quantifier === null) return atom;
    this.#at += quantifier[0].length;
    const [text, from, comma, to] = quantifier;
    if (from === undefined)
      return repeat(atom, text[0] === '+' ? 1 : 0, text[0] === '?' ? 1 : Infinity);
    return repeat(atom, Number(from), comma === '' ? Number(from) : to ? Number(to) : Infinity);
  }
}

function sequence(items: CostOf[]): CostOf {
  return (length) => {
    let ways = 1;
    let steps = 1;
    for (const item of items) {
      const cost = item(length);
      steps += ways * cost.steps;
      ways *= cost.ways;
    }
    return { ways, steps };
  };
}

function alternatives(items: CostOf[]): CostOf {
  return (length) => {
    const costs = items.map((item) => item(length));
    return {
      ways: costs.reduce((sum, { ways }) => sum + ways, 0),
      steps: costs.reduce((sum, { steps }) => sum + steps, 0),
    };
  };
}

/** A turn that matches nothing is the last one, so there are at most `length` + 1. */
function repeat(item: CostOf, min: number, max: number): CostOf {
  return (length) => {
    const { ways, steps } = item(length);
    const most = Math.min(max, length + 1);
    const least = Math.min(min, most);
    if (ways === 1) return { ways: most - least + 1, steps: most * steps + 1 };
    const total: Cost = { ways: 0, steps: 1 };
    for (let turn = 0, waysSoFar = 1; turn <= most; turn++, waysSoFar *= ways) {
      if (waysSoFar > PATTERN_STEPS) return { ways: Infinity, steps: Infinity };
      if (turn >= least) total.ways += waysSoFar;
      if (turn < most) total.steps += waysSoFar * steps;
    }
    return total;
  };
}
