/**
 * What a parsed template must have done to it before liquidjs may render it: the few places
 * where the library would still work for free, or for ever, are replaced or refused.
 */
import {
  CaseTag,
  type Context,
  CycleTag,
  type Emitter,
  Expression,
  evalToken,
  evalTokenValue,
  ForTag,
  IfTag,
  type Liquid,
  type PropertyAccessToken,
  type RangeToken,
  type Template,
  Token,
  TokenKind,
  TypeGuards,
  toValueSync,
  UnlessTag,
  Value,
} from 'liquidjs';
import { TOLERANT_FILTER } from './filter.ts';
import { type BoundedContext, workOf } from './liquid-context.ts';
import { operators } from './liquid-operators.ts';
import { withoutDrop } from './value.ts';
import { RenderLimitError } from './work.ts';

/** Tags within tags, and variables within the brackets of variables. */
const MAX_DEPTH = 16;

/** Evaluates what a template provides for the absence of: a variable that is missing is not told. */
function* tolerating(
  context: Context,
  evaluation: Iterator<unknown, unknown, unknown>,
): Generator<unknown, unknown, unknown> {
  const { state } = context as BoundedContext;
  state.tolerant += 1;
  try {
    return yield evaluation;
  } finally {
    state.tolerant -= 1;
  }
}

const valueOfLibrary = Value.prototype.value;

function tolerantValue(this: Value, context: Context, lenient?: boolean) {
  return tolerating(context, valueOfLibrary.call(this, context, lenient));
}

/** Whether a tag asks about its values rather than showing them. */
function isCondition(template: Template): boolean {
  return template instanceof IfTag || template instanceof UnlessTag || template instanceof CaseTag;
}

/** The library's `case` with the comparison above: its own compares nested arrays for free. */
export class BoundedCase extends CaseTag {
  override *render(context: Context, emitter: Emitter): Generator<unknown, void, unknown> {
    const { renderer } = this.liquid;
    const equals = operators['=='] as (...args: unknown[]) => unknown;
    const target = withoutDrop(yield this.value.value(context, false));
    let found = false;
    for (const { values, templates } of this.branches) {
      for (const token of values) {
        const value = yield tolerating(context, evalToken(token, context));
        if (!(yield equals(target, value, context))) continue;
        found = true;
        yield renderer.renderTemplates(templates, context, emitter);
        break;
      }
    }
    if (!found) yield renderer.renderTemplates(this.elseTemplates, context, emitter);
  }
}

/** An expression in the place of a token that liquidjs would evaluate in a way of its own. */
class ComputedToken extends Token {
  readonly initial: Expression;
  readonly filters: [] = [];

  constructor(initial: Expression, source: Token) {
    super(TokenKind.FilteredValue, source.input, source.begin, source.end, source.file);
    this.initial = initial;
  }
}

/** `(1..5)`. The library's loops for ever from 2^53 on, where adding one changes nothing. */
class BoundedRange extends Expression {
  override *evaluate(context: Context): Generator<unknown, unknown, unknown> {
    const [from, to] = this.postfix;
    const first = Math.trunc(toNumber(yield evalTokenValue(from, context)));
    const last = Math.trunc(toNumber(yield evalTokenValue(to, context)));
    if (!(last >= first)) return [];
    if (!Number.isSafeInteger(first) || !Number.isSafeInteger(last)) {
      throw new RenderLimitError('has a range of numbers too large to count');
    }
    workOf(context).visit(last - first + 1);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  }
}

/** `limit: n`, `offset: n`. The library lets an array here become text to become a number. */
class NumberExpression extends Expression {
  override *evaluate(context: Context): Generator<unknown, unknown, unknown> {
    const value = yield evalTokenValue(this.postfix[0], context);
    return value === undefined || value === null ? undefined : toNumber(value) || 0;
  }
}

function toNumber(value: unknown): number {
  return typeof value === 'object' || value === undefined ? Number.NaN : Number(value);
}

/**
 * Goes through a parsed template, replaces what liquidjs would do for free, and refuses what
 * cannot be bounded. Throws an Error whose message is meant for the author.
 */
export function secure(templates: readonly Template[], liquid: Liquid, depth = 0): void {
  if (depth > MAX_DEPTH) throw new Error(`tags are nested deeper than ${MAX_DEPTH}`);
  for (const template of templates) {
    if (template instanceof ForTag) secureFor(template);
    else if (template instanceof CycleTag) secureCycle(template, liquid);
    const { arguments: list, children }: Template = template;
    const asks = isCondition(template);
    for (const argument of list?.call(template) ?? []) {
      secureToken(argument, 0);
      if (!(argument instanceof Value)) continue;
      if (asks || argument.filters.some(({ name }) => name === TOLERANT_FILTER))
        argument.value = tolerantValue as typeof argument.value;
    }
    if (children !== undefined) {
      secure(toValueSync(children.call(template, false, true)) as Template[], liquid, depth + 1);
    }
  }
}

function secureFor(tag: ForTag): void {
  const { hash } = tag.hash as unknown as { hash: Record<string, Token | undefined> };
  for (const [name, token] of Object.entries(hash)) {
    if (token !== undefined) hash[name] = new ComputedToken(new NumberExpression([token]), token);
  }
}

/** The library makes a key of the group's text, and looks up the filters of a value only when it renders. */
function secureCycle(tag: CycleTag, liquid: Liquid): void {
  const { group, candidates } = tag as unknown as {
    group?: Token;
    candidates: ConstructorParameters<typeof Value>[0][];
  };
  const { isLiteralToken, isNumberToken, isQuotedToken } = TypeGuards;
  if (group && !isQuotedToken(group) && !isNumberToken(group) && !isLiteralToken(group)) {
    throw new Error('the group of a cycle must be a text or a number');
  }
  for (const candidate of candidates) new Value(candidate, liquid);
}

/** Takes a Value (an expression with its filters) or a token. */
function secureToken(token: unknown, depth: number): void {
  if (depth > MAX_DEPTH) throw new Error(`variables are nested deeper than ${MAX_DEPTH}`);
  if (TypeGuards.isRangeToken(token)) {
    const { lhs, rhs } = token as RangeToken;
    const initial = new BoundedRange([lhs, rhs]);
    Object.assign(token, { kind: TokenKind.FilteredValue, initial, filters: [] });
  }
  for (const inner of tokensOf(token)) secureToken(inner, depth + 1);
}

/** The tokens that a value, or a token, is made of. */
function tokensOf(argument: unknown): Token[] {
  if (argument instanceof Value || TypeGuards.isFilteredValueToken(argument)) {
    const { initial, filters } = argument as Value;
    const args = filters.flatMap((filter) => filter.args);
    return [...initial.postfix, ...args.map((arg) => (Array.isArray(arg) ? arg[1] : arg))].filter(
      (token) => token !== undefined,
    );
  }
  if (TypeGuards.isPropertyAccessToken(argument)) {
    const { variable, props } = argument as PropertyAccessToken;
    return variable === undefined ? props : [variable, ...props];
  }
  return [];
}

/** Operands that evaluating each of the nodes once can visit: what a node costs beside UNITS_PER_NODE. */
function countOperands(argument: unknown): number {
  let count = 1;
  for (const token of tokensOf(argument)) count += countOperands(token);
  return count;
}

/** Kept because `for` renders the same nodes at each turn. */
const costs = new WeakMap<readonly Template[], number>();

/** Units that the nodes of a template cost, beside what Work takes for each and what their filters do. */
export function costOf(templates: readonly Template[]): number {
  let cost = costs.get(templates);
  if (cost === undefined) {
    cost = 1;
    for (const template of templates) {
      for (const argument of template.arguments?.() ?? []) cost += countOperands(argument);
      if (template instanceof CycleTag) cost += template.token.size() / 8;
    }
    costs.set(templates, cost);
  }
  return cost;
}
