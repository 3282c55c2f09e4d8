/** Compiled content and data become the content of one message. Synchronous and without side effects. */
import type { ChannelContent } from '@tidings/contracts/content';
import { invalid } from '../errors.ts';
import type { CompiledContent, CompiledNode, CompiledText } from './compile.ts';
import type { DateOptions } from './date.ts';
import { describeFault } from './fault.ts';
import { renderTemplate } from './liquid.ts';
import { renderParts } from './parts.ts';
import { RenderState } from './render-state.ts';
import { Work } from './work.ts';

export interface RenderOptions extends DateOptions {
  /** Told which variables the text has holes for, if there are any: at most 20 names of 100 characters. */
  onMissing?: (names: string[]) => void;
  /** Units of work; RENDER_LIMITS.work when left out. */
  work?: number;
}

/**
 * The content with every template replaced by its text; the structure is new, so the caller may
 * change it. Variables that are missing leave nothing behind; `onMissing` is told of those that were
 * read, unless in a condition (`if`, `unless`, `case`) or in a value with the filter `default`.
 *
 * Throws only `invalid_data`, whose error names the field: when rendering takes more work or
 * makes more text than RENDER_LIMITS allow (a fault of the template as often as of the data,
 * but found with this data), and when a filter refuses its value.
 */
export function renderContent(
  compiled: CompiledContent,
  data: unknown,
  options: RenderOptions,
): ChannelContent {
  const state = new RenderState(data, options, new Work(options.work));
  const content = renderNode(compiled.root, state) as ChannelContent;
  const { missing } = state;
  if (missing !== undefined) options.onMissing?.(missing);
  return content;
}

function renderNode(node: CompiledNode, state: RenderState): unknown {
  switch (node.kind) {
    case 'constant':
      return node.value;
    case 'object': {
      const object: Record<string, unknown> = {};
      for (const [key, member] of node.entries) object[key] = renderNode(member, state);
      return object;
    }
    case 'array':
      return node.items.map((item) => renderNode(item, state));
    default:
      return renderText(node, state);
  }
}

function renderText(node: CompiledText, state: RenderState): string {
  try {
    const text =
      node.kind === 'parts'
        ? renderParts(node.parts, state)
        : renderTemplate(node.templates, node, state);
    state.addText(text.length);
    return text;
  } catch (error) {
    const fault = invalid('invalid_data', [{ path: node.path, message: describeFault(error) }]);
    fault.cause = error;
    throw fault;
  }
}
