/** The operators of conditions. The library's would turn objects into text and compare them for free. */
import { type Context, Drop, defaultOperators } from 'liquidjs';
import { workOf } from './liquid-context.ts';
import { isSame, toText } from './value.ts';
import { RENDER_LIMITS, RenderLimitError, type Work } from './work.ts';

/** Keeps what the library does with `empty`, `blank` and `nil`; compares other values by value.ts, for pay. */
function comparison(
  operator: string,
  compare: (left: unknown, right: unknown, work: Work) => boolean,
): (left: unknown, right: unknown, context: Context) => unknown {
  const ofLibrary = defaultOperators[operator] as (...args: unknown[]) => unknown;
  return (left, right, context) => {
    const work = workOf(context);
    work.spend(1);
    if (!(left instanceof Drop || right instanceof Drop)) return compare(left, right, work);
    payForWidth(left, work);
    payForWidth(right, work);
    return ofLibrary(left, right, context);
  };
}

function payForWidth(value: unknown, work: Work): void {
  if (typeof value === 'string' || Array.isArray(value)) work.use(value.length);
  else if (typeof value === 'object' && value !== null && !(value instanceof Drop)) {
    work.list(Object.keys(value).length);
  }
}

/** Order of strings and numbers; nothing else comes before or after anything. */
function ordering(operator: string, isOrdered: (left: number, right: number) => boolean) {
  return comparison(operator, (left, right, work) => {
    payForWidth(left, work);
    return isOrderable(left) && isOrderable(right) && isOrdered(left, right);
  });
}

/** Strings too, in truth: the operators of JavaScript do not care. */
function isOrderable(value: unknown): value is number {
  return typeof value !== 'object' && value !== undefined;
}

function contains(whole: unknown, part: unknown, work: Work): boolean {
  if (Array.isArray(whole)) return whole.some((element) => isSame(element, part, work));
  if (typeof whole !== 'string' || part === null || part === undefined) return false;
  const searched = toText(part, work);
  if (searched.length > RENDER_LIMITS.patternLength) {
    throw new RenderLimitError(
      `searches for a text longer than ${RENDER_LIMITS.patternLength} characters`,
    );
  }
  work.use(whole.length);
  return whole.includes(searched);
}

export const operators = {
  ...defaultOperators,
  '==': comparison('==', isSame),
  '!=': comparison('!=', (left, right, work) => !isSame(left, right, work)),
  '<': ordering('<', (left, right) => left < right),
  '<=': ordering('<=', (left, right) => left <= right),
  '>': ordering('>', (left, right) => left > right),
  '>=': ordering('>=', (left, right) => left >= right),
  contains: comparison('contains', contains),
} as unknown as typeof defaultOperators;
