/** Which variables the templates of a content use, for previews and for authors. */
import { analyzeSync } from 'liquidjs';
import type { CompiledContent, CompiledText } from './compile.ts';
import { partVariables } from './parts.ts';
import { readPath } from './value.ts';
import { type Segment, variableName } from './variable-name.ts';
import { RenderLimitError, Work } from './work.ts';

/**
 * The variables of the data that are read anywhere, each once, in the order of the content:
 * `user.name`, `items.0.price`, `prices[currency]`. Names that the template itself gives
 * (`assign`, `for`) are not among them, nor properties that a filter is given by name.
 */
export function variablesOf(compiled: CompiledContent): string[] {
  return [...pathsOf(compiled).keys()];
}

/**
 * Those of the variables that the data does not have, wherever they are read (a rendering tells only
 * those whose absence it met); null counts as had. Of a path with brackets only what is before them is
 * looked for. The list ends where looking takes more work than a rendering may.
 */
export function missingVariables(compiled: CompiledContent, data: unknown): string[] {
  const missing: string[] = [];
  const work = new Work();
  for (const [name, path] of pathsOf(compiled)) {
    const dynamic = path.findIndex((segment) => Array.isArray(segment));
    const known = (dynamic === -1 ? path : path.slice(0, dynamic)) as (string | number)[];
    try {
      if (readPath(data, known, work) === undefined) missing.push(name);
    } catch (error) {
      if (error instanceof RenderLimitError) break;
      throw error;
    }
  }
  return missing;
}

/** Whether a variable that begins with this name is read. For contents of parts only: others would be walked. */
export function readsRoot({ texts }: CompiledContent, root: string): boolean {
  return texts.some(
    (text) => text.kind === 'parts' && partVariables(text.parts).some(([first]) => first === root),
  );
}

function pathsOf({ texts }: CompiledContent): Map<string, Segment[]> {
  const paths = new Map<string, Segment[]>();
  for (const text of texts) {
    for (const path of textPaths(text)) paths.set(variableName(path), path);
  }
  return paths;
}

function textPaths(text: CompiledText): Segment[][] {
  if (text.kind === 'parts') return partVariables(text.parts).map((path) => [...path]);
  const { globals } = analyzeSync(text.templates, { partials: false });
  return Object.values(globals).flatMap((variables) =>
    variables.map((variable) => variable.toArray() as Segment[]),
  );
}
