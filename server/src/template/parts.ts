/**
 * The short way to render: a string of nothing but text and outputs becomes an array of parts
 * that one loop puts together, some twenty-five times faster than liquidjs.
 *
 * liquidjs has parsed the string, so whitespace control, quoting and the like are its own;
 * values and filters go through the functions that it is given too (value.ts, filter.ts). What
 * remains here is so little that a property test can hold both ways equal.
 */
import {
  CommentTag,
  InlineCommentTag,
  Output,
  type PropertyAccessToken,
  type Template,
  type Token,
  TypeGuards,
} from 'liquidjs';
import { applyFilter, FILTERS, type TemplateFilter, TOLERANT_FILTER } from './filter.ts';
import type { RenderState } from './render-state.ts';
import { escapeHtml, plainCopy, readPath, toText, withoutDrop } from './value.ts';

export type VariablePath = readonly (string | number)[];

/** A variable, or a value written in the template. */
type Operand = { path: VariablePath; value?: undefined } | { path: undefined; value: unknown };

interface PartOutput {
  source: Operand;
  filters: { filter: TemplateFilter; args: Operand[] }[];
  escape: boolean;
  /** It has the filter `default`: that a variable is missing is provided for. */
  tolerant: boolean;
}

export interface Parts {
  /** One more than outputs: the text before each, and after the last. */
  texts: string[];
  outputs: PartOutput[];
}

const WORD = '[A-Za-z_](?:[\\w-]*\\w)?';
const PLAIN_OUTPUT = new RegExp(
  `\\{\\{[ \\t\\r\\n]*(${WORD}(?:\\.${WORD})*)[ \\t\\r\\n]*\\}\\}`,
  'y',
);
/** Words that begin something other than a variable. */
const NOT_ROOTS = new Set([
  ...['true', 'false', 'nil', 'null', 'empty', 'blank'],
  ...['contains', 'and', 'or', 'not'],
]);

/**
 * The parts of text with plain variables, `{{ user.name }}`, found without liquidjs; undefined
 * for anything more. Content that a request brings along is compiled for that one message: this
 * takes 2 µs, the parser 15.
 */
export function plainPartsOf(source: string, html: boolean): Parts | undefined {
  if (source.includes('{%')) return undefined;
  const parts: Parts = { texts: [], outputs: [] };
  let from = 0;
  for (let at = source.indexOf('{{'); at !== -1; at = source.indexOf('{{', from)) {
    PLAIN_OUTPUT.lastIndex = at;
    const path = PLAIN_OUTPUT.exec(source)?.[1]?.split('.');
    if (path === undefined || NOT_ROOTS.has(path[0] as string)) return undefined;
    parts.texts.push(source.slice(from, at));
    parts.outputs.push({ source: { path }, filters: [], escape: html, tolerant: false });
    from = PLAIN_OUTPUT.lastIndex;
  }
  parts.texts.push(source.slice(from));
  return parts;
}

/** The parts of a parsed template; undefined when it needs liquidjs. */
export function partsOf(templates: readonly Template[]): Parts | undefined {
  const parts: Parts = { texts: [''], outputs: [] };
  for (const template of templates) {
    if (template instanceof Output) {
      const output = outputOf(template);
      if (output === undefined) return undefined;
      parts.outputs.push(output);
      parts.texts.push('');
    } else if (TypeGuards.isHTMLToken(template.token)) {
      parts.texts[parts.texts.length - 1] += template.token.getContent();
    } else if (!(template instanceof CommentTag || template instanceof InlineCommentTag)) {
      return undefined;
    }
  }
  return parts;
}

function outputOf({ value: { initial, filters } }: Output): PartOutput | undefined {
  const source = initial.postfix.length === 1 ? operandOf(initial.postfix[0]) : undefined;
  if (source === undefined) return undefined;
  const output: PartOutput = { source, filters: [], escape: false, tolerant: false };
  for (const { name, args } of filters) {
    const filter = FILTERS.get(name);
    if (name === TOLERANT_FILTER) output.tolerant = true;
    if (filter === undefined) {
      // Not one of an author, who could not name it: liquidjs has added its outputEscape.
      output.escape = true;
      continue;
    }
    const operands: Operand[] = [];
    for (const arg of args) {
      const operand = Array.isArray(arg) ? undefined : operandOf(arg);
      if (operand === undefined) return undefined;
      operands.push(operand);
    }
    output.filters.push({ filter, args: operands });
  }
  return output;
}

function operandOf(token: Token | undefined): Operand | undefined {
  if (isLiteral(token)) return { path: undefined, value: withoutDrop(token.content) };
  if (!TypeGuards.isPropertyAccessToken(token)) return undefined;
  const { variable, props } = token as PropertyAccessToken;
  if (variable !== undefined) return undefined;
  const path: (string | number)[] = [];
  for (const prop of props) {
    if (!TypeGuards.isWordToken(prop) && !isKey(prop)) return undefined;
    path.push(prop.content);
  }
  return { path };
}

function isKey(token: Token | undefined) {
  return TypeGuards.isQuotedToken(token) || TypeGuards.isNumberToken(token);
}

function isLiteral(token: Token | undefined) {
  return isKey(token) || TypeGuards.isLiteralToken(token);
}

/** Throws RenderLimitError, and whatever a filter of liquidjs throws. */
export function renderParts({ texts, outputs }: Parts, state: RenderState): string {
  let text = texts[0] as string;
  for (let i = 0; i < outputs.length; i++) {
    const output = outputs[i] as PartOutput;
    const value = evaluate(output, state);
    const printed = typeof value === 'string' ? value : toText(value, state.work);
    text += output.escape ? escapeHtml(printed, state.work) : printed;
    text += texts[i + 1];
    state.work.use(printed.length);
  }
  return text;
}

function evaluate({ source, filters, tolerant }: PartOutput, state: RenderState): unknown {
  let value = read(source, tolerant, state);
  for (let i = 0; i < filters.length; i++) {
    const { filter, args } = filters[i] as PartOutput['filters'][number];
    const values = args.map((operand) => read(operand, tolerant, state));
    value = applyFilter(filter, state, value, values);
  }
  return value;
}

function read({ path, value }: Operand, tolerant: boolean, state: RenderState): unknown {
  if (path === undefined) return value;
  const found = readPath(state.data, path, state.work);
  if (typeof found === 'string') return found;
  const copy = plainCopy(found, state.work);
  if (copy === undefined && !tolerant) state.miss(path);
  return copy;
}

/** The variables the parts read, in their order. */
export function partVariables({ outputs }: Parts): VariablePath[] {
  return outputs
    .flatMap(({ source, filters }) => [source, ...filters.flatMap(({ args }) => args)])
    .flatMap(({ path }) => (path === undefined ? [] : [path]));
}
