/** `tidings tail`: shows messages as they come and as their status changes. */
import { setTimeout as delay } from 'node:timers/promises';
import { KEY_KINDS, MESSAGE_STATUSES, PRIORITIES } from '@tidings/contracts/common';
import type { MessageSummary } from '@tidings/contracts/notification';
import type { Command } from 'commander';
import type { ApiClient, Page } from './api-client.ts';
import { ApiFailure } from './api-failure.ts';
import type { Context } from './context.ts';
import { type Define, examples, integerOf } from './define.ts';
import { CommandFailure, EXIT, type ExitCode, usage } from './exit.ts';
import { kindOf } from './ledger.ts';
import { MessageWindow } from './message-window.ts';
import { localTime, parseDuration, parsePast } from './moment.ts';
import { printable } from './table.ts';
import { statusColour, type Terminal } from './terminal.ts';

interface TailOptions {
  lines: string;
  interval: string;
  follow: boolean;
  since?: string;
  status?: string;
  channel?: string;
  user?: string;
  group?: string;
  template?: string;
  category?: string;
  batch?: string;
  priority?: string;
  application?: string;
  kind?: string;
}

const LONGEST_PAUSE_MS = 10_000;

export function addTail(program: Command, define: Define): void {
  const command = program
    .command('tail')
    .description('Show new messages, and each change of their status, until Ctrl-C.')
    .option('-n, --lines <n>', 'begin with so many messages from before', '10')
    .option('--no-follow', 'show those and end')
    .option('--interval <duration>', 'how often to look', '1s')
    .option('--since <time>', 'only messages after this time: 2h ago, or an RFC 3339 time')
    .option('--status <status>', MESSAGE_STATUSES.join(', '))
    .option('--channel <channel>')
    .option('--user <id>')
    .option('--group <key>')
    .option('--template <key>')
    .option('--category <key>')
    .option('--batch <id>')
    .option('--priority <priority>', PRIORITIES.join(', '))
    .option('--application <key>', 'needs the admin scope')
    .option('--kind <kind>', `sent by ${KEY_KINDS.join(' or ')} keys`)
    .addHelpText(
      'after',
      examples(
        'tidings tail',
        'tidings tail --status failed --channel email',
        'tidings tail --user 42 --json | jq -r .id',
        'tidings tail --since 1h --lines 1000 --no-follow',
      ),
    );
  define<TailOptions>(command, (context, { options }) => tail(context, options));
}

async function tail(context: Context, options: TailOptions): Promise<ExitCode> {
  const lines = integerOf(options.lines, '--lines', { min: 0, max: 100_000 });
  const intervalMs = Math.max(50, parseDuration(options.interval, '--interval'));
  const query = filterOf(options);
  using stop = stopSignal();
  const api = context.api({ signal: stop.signal });
  const show = shower(context);
  const seen = new MessageWindow();
  try {
    const mostPages = options.follow ? MOST_PAGES : Number.POSITIVE_INFINITY;
    const earlier = await showEarlier(api, { query, lines, seen, show, mostPages });
    if (earlier.more) context.terminal.note('older messages were not looked for any further');
    const { shown } = earlier;
    if (!options.follow) return shown === 0 ? EXIT.nothing : EXIT.ok;
    await follow(context, { api, query, intervalMs, seen, show, signal: stop.signal });
    return EXIT.ok;
  } catch (error) {
    // Ctrl-C is how it ends.
    if (stop.signal.aborted) return EXIT.ok;
    throw error;
  }
}

type Query = Record<string, string | undefined>;

function filterOf(options: TailOptions): Query {
  const { status, channel, user, group, template, category, batch, priority, application } =
    options;
  if (status !== undefined && !(MESSAGE_STATUSES as readonly string[]).includes(status)) {
    throw usage(`--status: must be one of ${MESSAGE_STATUSES.join(', ')}`);
  }
  if (priority !== undefined && !(PRIORITIES as readonly string[]).includes(priority)) {
    throw usage(`--priority: must be one of ${PRIORITIES.join(', ')}`);
  }
  const from =
    options.since === undefined ? undefined : parsePast(options.since, '--since', Date.now());
  const kind = kindOf(options.kind);
  return {
    status,
    channel,
    user,
    group,
    template,
    category,
    batch,
    priority,
    application,
    kind,
    from,
  };
}

interface Showing {
  query: Query;
  seen: MessageWindow;
  show: (message: MessageSummary) => Promise<void>;
}

/**
 * The last messages from before, oldest first. Everything on the pages read counts as seen. What is
 * rare makes many short pages: whoever follows is not kept waiting for all of them.
 */
async function showEarlier(
  api: ApiClient,
  { query, lines, seen, show, mostPages }: Showing & { lines: number; mostPages: number },
): Promise<{ shown: number; more: boolean }> {
  const earlier: MessageSummary[] = [];
  const limit = Math.max(200, lines);
  let pages = 0;
  let more = false;
  for await (const { items, next } of api.pages<MessageSummary>(PATH, { query, limit })) {
    earlier.push(...items);
    more = ++pages >= mostPages && next !== null && earlier.length < lines;
    if (pages >= mostPages) break;
  }
  for (const message of earlier) seen.add(message);
  const shown = earlier.slice(0, lines).reverse();
  for (const message of shown) await show(message);
  return { shown: shown.length, more };
}

async function follow(
  context: Context,
  {
    api,
    query,
    intervalMs,
    seen,
    show,
    signal,
  }: Showing & { api: ApiClient; intervalMs: number; signal: AbortSignal },
): Promise<void> {
  let failures = 0;
  let lookedAt = Date.now();
  for (;;) {
    const pauseMs = Math.min(LONGEST_PAUSE_MS, intervalMs * 2 ** Math.min(failures, 10));
    await delay(failures === 0 ? intervalMs : Math.max(intervalMs, pauseMs), undefined, { signal });
    let page: { found: MessageSummary[]; gap: boolean };
    try {
      const from = new Date(lookedAt - OVERLAP_MS).toISOString();
      const lookingAt = Date.now();
      page = await unseen(api, { query, seen, from });
      lookedAt = lookingAt;
    } catch (error) {
      if (signal.aborted || !isPassing(error)) throw error;
      if (failures++ === 0) context.terminal.note(`${(error as Error).message}; trying again`);
      continue;
    }
    if (failures > 0) context.terminal.note('connected again');
    failures = 0;
    if (page.gap) context.terminal.warn('more messages came than can be shown; some are left out');
    for (const message of page.found.reverse()) await show(message);
  }
}

const PATH = '/v1/notifications';
const PAGE = 200;
/** Pages read at most between two looks. */
const MOST_PAGES = 25;
/** Looked through again at each look: clocks differ. */
const OVERLAP_MS = 300_000;

/**
 * What is new or has another status, newest first. Looks through the newest page, and on through
 * further pages as long as they hold nothing that was seen before; these only from about the last look
 * on, because of what is rare there may be nothing to be seen in millions of messages.
 */
async function unseen(
  api: ApiClient,
  { query, seen, from }: { query: Query; seen: MessageWindow; from: string },
): Promise<{ found: MessageSummary[]; gap: boolean }> {
  const found: MessageSummary[] = [];
  const take = (items: MessageSummary[]): boolean => {
    const known = items.some(({ id }) => seen.has(id));
    found.push(...items.filter((message) => seen.add(message)));
    return known;
  };
  const newest = { query: { ...query, limit: PAGE } };
  const { items, next } = (await api.get<Page<MessageSummary>>(PATH, newest)).body;
  if (take(items) || next === null) return { found, gap: false };
  const later = {
    ...query,
    from: query['from'] !== undefined && query['from'] > from ? query['from'] : from,
  };
  let pages = 1;
  for await (const page of api.pages<MessageSummary>(PATH, {
    query: later,
    pageSize: PAGE,
    from: next,
  })) {
    if (take(page.items)) break;
    if (++pages === MOST_PAGES) return { found, gap: page.next !== null };
  }
  return { found, gap: false };
}

/** Whether looking again may help. */
function isPassing(error: unknown): boolean {
  if (error instanceof ApiFailure) return error.status === 429 || error.status >= 500;
  return error instanceof CommandFailure;
}

function shower({ terminal, json }: Context): (message: MessageSummary) => Promise<void> {
  if (json) return (message) => terminal.line(JSON.stringify(message));
  return (message) => terminal.line(lineOf(terminal, message));
}

function lineOf(terminal: Terminal, message: MessageSummary): string {
  const { updatedAt, status, notificationId, channel, recipient, user, template, reason } = message;
  const who = recipient ?? (user === null ? '' : `user:${user}`);
  const words = [channel ?? '-', who, template, reason]
    .filter(Boolean)
    .map((word) => printable(word as string));
  return [
    terminal.colour('dim', localTime(updatedAt)),
    terminal.colour(statusColour(status), status.padEnd(10)),
    notificationId,
    ...words,
  ].join('  ');
}

/** Aborts at Ctrl-C or a request to stop; a second one ends the process as usual. */
function stopSignal(): { signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const stop = (): void => controller.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      process.off('SIGINT', stop).off('SIGTERM', stop);
    },
  };
}
