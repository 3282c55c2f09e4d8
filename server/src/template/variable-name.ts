/** How a variable of a template is called in previews and timelines: `user.name`, `items.0["unit price"]`. */

/** The segments of a variable's path; one in brackets is a path of its own. */
export type Segment = string | number | Segment[];

export function variableName(path: readonly Segment[]): string {
  return path
    .map((segment, i) => {
      if (Array.isArray(segment)) return `[${variableName(segment)}]`;
      if (!/^[\w-]+$/u.test(String(segment))) return `[${JSON.stringify(segment)}]`;
      return i === 0 ? String(segment) : `.${segment}`;
    })
    .join('');
}
