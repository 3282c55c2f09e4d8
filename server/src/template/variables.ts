/** Which variables the templates of a content use, for previews and for authors. */
import { analyzeSync } from 'liquidjs';
import type { CompiledContent, CompiledText } from './compile.ts';
import { partVariables } from './parts.ts';
import { readPath } from './value.ts';
import { Work } from './work.ts';

/** The segments of a variable's path; one in brackets is a path of its own. */
type Segment = string | number | Segment[];

/**
 * The variables of the data that are read anywhere, each once, in the order of the content:
 * `user.name`, `items.0.price`, `prices[currency]`. Names that the template itself gives
 * (`assign`, `for`) are not among them, nor properties that a filter is given by name.
 */
export function variablesOf(compiled: CompiledContent): string[] {
  return [...pathsOf(compiled).keys()];
}

/**
 * Those of the variables that the data does not have; null counts as had. Of a path with
 * brackets only what is before them is looked for.
 */
export function missingVariables(compiled: CompiledContent, data: unknown): string[] {
  const missing: string[] = [];
  for (const [name, path] of pathsOf(compiled)) {
    const dynamic = path.findIndex((segment) => Array.isArray(segment));
    const known = (dynamic === -1 ? path : path.slice(0, dynamic)) as (string | number)[];
    if (readPath(data, known, new Work()) === undefined) missing.push(name);
  }
  return missing;
}

function pathsOf({ texts }: CompiledContent): Map<string, Segment[]> {
  const paths = new Map<string, Segment[]>();
  for (const text of texts) {
    for (const path of textPaths(text)) paths.set(nameOf(path), path);
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

function nameOf(path: readonly Segment[]): string {
  return path
    .map((segment, i) => {
      if (Array.isArray(segment)) return `[${nameOf(segment)}]`;
      if (!/^[\w-]+$/u.test(String(segment))) return `[${JSON.stringify(segment)}]`;
      return i === 0 ? String(segment) : `.${segment}`;
    })
    .join('');
}
