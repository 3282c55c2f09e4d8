/**
 * liquidjs, set up for authors and data that mean harm: the tags and filters that are allowed,
 * and a bound on everything a template can make it do.
 *
 * liquidjs checks its own limits between the nodes of a template only, and calls methods of
 * values it trusts. So here it is given a context that reads values through value.ts alone
 * (liquid-context.ts), a counted account instead of its limits (work.ts), operators and filters
 * that pay (liquid-operators.ts, filter.ts), and a parsed template in which the few places that
 * would still work for free are replaced (liquid-bounds.ts).
 * It knows nothing of contents and fields; compile.ts does.
 */
import { type Context, Liquid, type Template, Tokenizer, toValueSync } from 'liquidjs';
import { applyFilter, FILTERS } from './filter.ts';
import { BoundedCase, costOf, secure } from './liquid-bounds.ts';
import { BoundedContext, BoundedEmitter, workOf } from './liquid-context.ts';
import { operators } from './liquid-operators.ts';
import { nextMarkup } from './markup.ts';
import type { RenderState } from './render-state.ts';
import { escapeHtml, toText } from './value.ts';

/**
 * Left out: `include`, `render`, `layout`, `block` (files), `increment`, `decrement` (write
 * into the data), `tablerow` (its own loop; `for` does it), `liquid` (tags within a tag).
 */
export const TAGS = [
  ...['assign', 'capture', 'case', 'comment', 'cycle', 'echo', 'for', 'if', 'raw', 'unless'],
  ...['break', 'continue', '#'],
] as const;

function createLiquid(outputEscape?: (this: { context: Context }, value: unknown) => string) {
  const liquid = new Liquid({
    ownPropertyOnly: true,
    strictFilters: true,
    operators,
    locale: 'en',
    templates: {},
    ...(outputEscape && { outputEscape: outputEscape as (value: unknown) => string }),
  });
  for (const name of Object.keys(liquid.tags)) {
    if (!(TAGS as readonly string[]).includes(name)) delete liquid.tags[name];
  }
  liquid.registerTag('case', BoundedCase);
  for (const name of Object.keys(liquid.filters)) liquid.unregisterFilter(name);
  for (const [name, filter] of FILTERS) {
    liquid.registerFilter(name, {
      raw: filter.escapes,
      handler(value: unknown, ...args: unknown[]) {
        return applyFilter(filter, (this.context as BoundedContext).state, value, args);
      },
    });
  }
  const { renderer } = liquid;
  const ofLibrary = renderer.renderTemplates;
  renderer.renderTemplates = (templates, context, emitter) => {
    const work = workOf(context);
    if (templates.length > 0) work.spend(costOf(templates));
    return ofLibrary.call(renderer, templates, context, emitter ?? new BoundedEmitter(work));
  };
  return liquid;
}

const textLiquid = createLiquid();
const htmlLiquid = createLiquid(escapeOutput);

function escapeOutput(this: { context: Context }, value: unknown): string {
  const work = workOf(this.context);
  return escapeHtml(toText(value, work), work);
}

/** Steps over the text between markup at once, where the library looks at each character in two ways. */
class TextTokenizer extends Tokenizer {
  override readHTMLToken(stopStrings: string[]) {
    const begin = this.p;
    const end = nextMarkup(this.input, begin);
    this.p = end === -1 ? this.N : end;
    const token = super.readHTMLToken(stopStrings);
    token.begin = begin;
    return token;
  }
}

/** Parses a string. Throws liquidjs's errors and plain ones, all meant for the author. */
export function parseTemplate(source: string, { html }: { html: boolean }): Template[] {
  const liquid = html ? htmlLiquid : textLiquid;
  const tokens = new TextTokenizer(source, operators).readTopLevelTokens(liquid.options);
  const templates = liquid.parser.parseTokens(tokens);
  secure(templates, liquid);
  return templates;
}

/** Renders what `parseTemplate` gave for the same `html`. Throws RenderLimitError, wrapped by liquidjs. */
export function renderTemplate(
  templates: Template[],
  { html }: { html: boolean },
  state: RenderState,
): string {
  const liquid = html ? htmlLiquid : textLiquid;
  const emitter = new BoundedEmitter(state.work);
  const context = new BoundedContext(liquid, state);
  toValueSync(liquid.renderer.renderTemplates(templates, context, emitter));
  return emitter.buffer;
}
