/** `tidings tail`: shows messages as they come and as their status changes. */
import { setTimeout as delay } from 'node:timers/promises';
import { MESSAGE_STATUSES, PRIORITIES } from '@tidings/contracts/common';
import type { MessageSummary } from '@tidings/contracts/notification';
import type { Command } from 'commander';
import type { ApiClient } from './api-client.ts';
import { ApiFailure } from './api-failure.ts';
import type { Context } from './context.ts';
import { type Define, examples, integerOf } from './define.ts';
import { CommandFailure, EXIT, type ExitCode, usage } from './exit.ts';
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
    const shown = await showEarlier(api, { query, lines, seen, show });
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
    options.since && parsePast(options.since.replace(/ ago$/, ''), '--since', Date.now());
  return { status, channel, user, group, template, category, batch, priority, application, from };
}

interface Showing {
  query: Query;
  seen: MessageWindow;
  show: (message: MessageSummary) => Promise<void>;
}

/** The last messages from before, oldest first. Everything on the pages read counts as seen. */
async function showEarlier(
  api: ApiClient,
  { query, lines, seen, show }: Showing & { lines: number },
): Promise<number> {
  const earlier: MessageSummary[] = [];
  const path = '/v1/notifications';
  for await (const { items } of api.pages<MessageSummary>(path, {
    query,
    limit: Math.max(200, lines),
  })) {
    earlier.push(...items);
  }
  for (const message of earlier) seen.add(message);
  const shown = earlier.slice(0, lines).reverse();
  for (const message of shown) await show(message);
  return shown.length;
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
  for (;;) {
    const pauseMs = Math.min(LONGEST_PAUSE_MS, intervalMs * 2 ** Math.min(failures, 10));
    await delay(failures === 0 ? intervalMs : Math.max(intervalMs, pauseMs), undefined, { signal });
    let page: { found: MessageSummary[]; gap: boolean };
    try {
      page = await unseen(api, query, seen);
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

/** Pages read at most between two looks. */
const MOST_PAGES = 25;

/**
 * What is new or has another status, newest first. Looks through the newest page, and on through
 * further pages as long as they hold nothing that was seen before.
 */
async function unseen(
  api: ApiClient,
  query: Query,
  seen: MessageWindow,
): Promise<{ found: MessageSummary[]; gap: boolean }> {
  const found: MessageSummary[] = [];
  let pages = 0;
  const options = { query, pageSize: 200 };
  for await (const { items } of api.pages<MessageSummary>('/v1/notifications', options)) {
    const known = items.some(({ id }) => seen.has(id));
    found.push(...items.filter((message) => seen.add(message)));
    if (known) return { found, gap: false };
    if (++pages === MOST_PAGES) return { found, gap: true };
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
