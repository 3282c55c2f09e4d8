/** What every `list` command has in common. */
import type { Command } from 'commander';
import type { ApiRequest } from './api-client.ts';
import type { Context } from './context.ts';
import { integerOf } from './define.ts';
import { EXIT, type ExitCode, usage } from './exit.ts';

export interface ListOptions {
  limit: string;
  all?: boolean;
  cursor?: string;
}

export function withListOptions(command: Command): Command {
  return command
    .option('--limit <n>', 'at most so many', '100')
    .option('--all', 'all of them')
    .option('--cursor <cursor>', 'go on after an earlier list: its "next"');
}

export interface ListView<Item> {
  path: string;
  query?: ApiRequest['query'];
  /** What the items are called: `users`. */
  plural: string;
  headings: readonly string[];
  row: (item: Item) => string[];
  status?: number;
}

/** Page by page, so that a long list needs no more memory than a short one. */
export async function showList<Item>(
  context: Context,
  options: ListOptions,
  { path, query = {}, plural, headings, row, status }: ListView<Item>,
): Promise<ExitCode> {
  if (options.all && options.cursor !== undefined)
    throw usage('--all and --cursor cannot be given together');
  const limit = options.all
    ? Number.POSITIVE_INFINITY
    : integerOf(options.limit, '--limit', { min: 1, max: 1_000_000 });
  const { terminal, json } = context;
  let count = 0;
  let next: string | null = null;
  if (json) await terminal.write('{"items":[');
  const pages = context.api().pages<Item>(path, { query, limit, from: options.cursor });
  for await (const page of pages) {
    if (json) {
      const items = page.items.map((item) => JSON.stringify(item)).join(',');
      await terminal.write(count > 0 && items !== '' ? `,${items}` : items);
    } else if (page.items.length > 0) {
      await terminal.table(count === 0 ? headings : headings.map(() => ''), page.items.map(row), {
        status,
      });
    }
    count += page.items.length;
    next = page.next;
  }
  if (json) await terminal.line(`],"next":${JSON.stringify(next)}}`);
  else if (count === 0) terminal.note(`There are no ${plural}.`);
  else if (next !== null) terminal.note(`There are more: --all, or --cursor ${next}`);
  const isNarrowed = Object.values(query).some((value) => value !== undefined);
  return count === 0 && isNarrowed ? EXIT.nothing : EXIT.ok;
}
