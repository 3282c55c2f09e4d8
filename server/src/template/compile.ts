/**
 * Content with templates in it, made ready to be rendered many times.
 *
 * Every string at any depth of a content is a Liquid template. A string without markup stays
 * as it is; one of text and outputs becomes parts (parts.ts); the rest is kept as liquidjs
 * parsed it (liquid.ts). Compiling costs milliseconds and keeps everything in memory: callers
 * cache by version.
 *
 * Rendering is render.ts; which templates exist and which version is current, the service.
 */
import type { ChannelContent } from '@tidings/contracts/content';
import type { Template } from 'liquidjs';
import { type FieldError, invalid } from '../errors.ts';
import { describeFault } from './fault.ts';
import { parseTemplate } from './liquid.ts';
import { excessMarkup, type Markup, measureMarkup, NO_MARKUP } from './markup.ts';
import { type Parts, partsOf, plainPartsOf } from './parts.ts';

export const COMPILE_LIMITS = {
  /** Characters of one template: the largest text field of the API. */
  sourceLength: 500_000,
  /** Characters of all templates of a content. Text without markup does not count. */
  totalLength: 1_000_000,
  /**
   * Of all templates of a content: outputs and tags (liquidjs takes 4 to 7 µs for one, and the square of
   * them when there are tens of thousands), characters within them, and names, values and signs
   * (up to 2 µs for one). 30 ms of the parser at the slowest.
   */
  markup: { count: 2500, length: 100_000, terms: 20_000 },
  /** Nested objects and arrays of a content. */
  depth: 16,
  /** Strings, numbers, objects … of a content. */
  values: 5000,
} as const;

type TemplateForm = { kind: 'parts'; parts: Parts } | { kind: 'liquid'; templates: Template[] };

/** A template string. `path` is where it is in the content: `actions.0.label`. */
export type CompiledText = { path: string; html: boolean } & TemplateForm;

export type CompiledNode =
  | { kind: 'constant'; value: unknown }
  | CompiledText
  | { kind: 'array'; items: CompiledNode[] }
  | { kind: 'object'; entries: [key: string, node: CompiledNode][] };

/** Content ready for `renderContent`. Opaque: made and read in this folder only. */
export interface CompiledContent {
  readonly root: CompiledNode;
  /** Every template string of the content, in its order. */
  readonly texts: readonly CompiledText[];
}

export interface CompileOptions {
  /** Top-level fields that hold HTML: values rendered into them are escaped. */
  htmlFields: readonly string[];
}

/**
 * Throws `invalid_template` with one error for every string that does not parse, and for
 * content over the limits.
 */
export function compileContent(content: ChannelContent, options: CompileOptions): CompiledContent {
  const compiler: Compiler = {
    htmlFields: new Set(options.htmlFields),
    texts: [],
    errors: [],
    length: 0,
    markup: { ...NO_MARKUP },
    values: 0,
  };
  const root = compileValue(content, [], compiler);
  if (compiler.errors.length > 0) throw invalid('invalid_template', compiler.errors);
  return { root, texts: compiler.texts };
}

interface Compiler {
  htmlFields: ReadonlySet<string>;
  texts: CompiledText[];
  errors: FieldError[];
  length: number;
  markup: Markup;
  values: number;
}

function compileValue(value: unknown, path: readonly string[], compiler: Compiler): CompiledNode {
  compiler.values += 1;
  if (compiler.values > COMPILE_LIMITS.values) {
    return refuse(path, `the content has more than ${COMPILE_LIMITS.values} values`, compiler);
  }
  if (typeof value === 'string') return compileString(value, path, compiler);
  if (typeof value !== 'object' || value === null) return { kind: 'constant', value };
  if (path.length > COMPILE_LIMITS.depth) {
    return refuse(path, `is nested deeper than ${COMPILE_LIMITS.depth}`, compiler);
  }
  if (Array.isArray(value)) {
    const items = value.map((item, i) => compileValue(item, [...path, String(i)], compiler));
    return { kind: 'array', items };
  }
  const entries: [string, CompiledNode][] = [];
  for (const [key, member] of Object.entries(value)) {
    const inner = [...path, key];
    if (key === '__proto__') refuse(inner, 'is no name for a field', compiler);
    else entries.push([key, compileValue(member, inner, compiler)]);
  }
  return { kind: 'object', entries };
}

const NOTHING: CompiledNode = { kind: 'constant', value: undefined };

function refuse(path: readonly string[], message: string, compiler: Compiler): CompiledNode {
  // One error says enough when every further value is one too many.
  const last = compiler.errors.at(-1);
  if (last?.message !== message) compiler.errors.push({ path: path.join('.'), message });
  return NOTHING;
}

function compileString(source: string, path: readonly string[], compiler: Compiler): CompiledNode {
  const { count, length, terms } = measureMarkup(source, COMPILE_LIMITS.markup);
  if (count === 0) return { kind: 'constant', value: source };
  compiler.length += source.length;
  compiler.markup.count += count;
  compiler.markup.length += length;
  compiler.markup.terms += terms;
  const excess = excessOf(source, compiler);
  if (excess !== undefined) return refuse(path, excess, compiler);
  const place = { path: path.join('.'), html: compiler.htmlFields.has(path[0] as string) };
  try {
    const text = { ...place, ...compileTemplate(source, place.html) };
    compiler.texts.push(text);
    return text;
  } catch (error) {
    compiler.errors.push({ path: place.path, message: describeFault(error) });
    return NOTHING;
  }
}

function compileTemplate(source: string, html: boolean): TemplateForm {
  const plain = plainPartsOf(source, html);
  if (plain !== undefined) return { kind: 'parts', parts: plain };
  const templates = parseTemplate(source, { html });
  const parts = partsOf(templates);
  return parts === undefined ? { kind: 'liquid', templates } : { kind: 'parts', parts };
}

function excessOf(source: string, { length, markup }: Compiler): string | undefined {
  const limits = COMPILE_LIMITS;
  if (source.length > limits.sourceLength) {
    return `is longer than ${limits.sourceLength} characters`;
  }
  if (length > limits.totalLength) {
    return `the templates together are longer than ${limits.totalLength} characters`;
  }
  return excessMarkup(markup, limits.markup);
}
