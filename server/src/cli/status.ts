/** `tidings status`: how the service is, or what became of one notification. */
import { KEY_KINDS, type KeyKind } from '@tidings/contracts/common';
import type { Ledger, Notification, TimelineEvent } from '@tidings/contracts/notification';
import type { Command } from 'commander';
import type { Context } from './context.ts';
import { type Define, examples } from './define.ts';
import { CommandFailure, EXIT, type ExitCode, usage } from './exit.ts';
import { isBalanced, kindOf, LEDGER_PARTS } from './ledger.ts';
import { type MetricSample, parseMetrics } from './metric-text.ts';
import { localTime, parseDuration } from './moment.ts';
import { exitOfOutcome, hasEnded, showMessages } from './outcome.ts';
import { type Ready, readReady } from './readiness.ts';
import { describeRecipient } from './recipient.ts';
import { printable } from './table.ts';
import type { Terminal } from './terminal.ts';

export function addStatus(program: Command, define: Define): void {
  const command = program
    .command('status')
    .description('Show how the service is, or what became of one notification.')
    .argument('[id]', 'id of a notification or of a message: ntf_…, msg_…')
    .option('--kind <kind>', `count only what ${KEY_KINDS.join(' or ')} keys have sent`)
    .option('--wait <duration>', 'wait until it has ended: exit 0 delivered, 1 not, 6 not in time')
    .addHelpText(
      'after',
      examples(
        'tidings status',
        'tidings status ntf_00h4p8s3t6v --wait 30s',
        'tidings status --kind test',
        'tidings status --json',
      ),
    );
  define<{ wait?: string; kind?: string }>(command, (context, { args: [id], options }) => {
    const { wait, kind } = options;
    if (id !== undefined) {
      if (kind !== undefined) throw usage('--kind and the id of a notification do not go together');
      return showNotification(context, id, wait);
    }
    if (wait !== undefined) throw usage('--wait needs the id of a notification');
    return showService(context, kindOf(kind));
  });
}

const ID = /^(?:ntf|msg)_[0-9a-hjkmnp-tv-z]{11}$/;
const POLL_MS = 500;

async function showNotification(
  context: Context,
  id: string,
  wait: string | undefined,
): Promise<ExitCode> {
  if (!ID.test(id)) {
    throw usage(
      `"${id}" is not the id of a notification`,
      'It looks like ntf_00h4p8s3t6v or msg_00h4p8s3t6v; "tidings tail" and "tidings send" print it.',
    );
  }
  const api = context.api();
  const path = `/v1/notifications/${id}`;
  const waitMs = wait === undefined ? 0 : parseDuration(wait, '--wait');
  const deadline = performance.now() + waitMs;
  let answer = await api.get<Notification>(path);
  while (
    !answer.body.messages.every(({ status }) => hasEnded(status)) &&
    performance.now() < deadline
  ) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    answer = await api.get<Notification>(path);
  }
  const timeline = await api.get<{ items: TimelineEvent[] }>(`${path}/timeline`);
  if (context.json) {
    await context.terminal.line(`{"notification":${answer.text},"timeline":${timeline.text}}`);
  } else {
    await describe(context.terminal, answer.body);
    await showTimeline(context.terminal, timeline.body.items);
  }
  return exitOfOutcome(answer.body, wait !== undefined);
}

async function describe(terminal: Terminal, notification: Notification): Promise<void> {
  const { template, content } = notification;
  const title =
    content &&
    ((content as Record<string, unknown>)['title'] ?? (content as Record<string, unknown>)['text']);
  const time = (text: string | null): string | null => (text === null ? null : localTime(text));
  await terminal.fields([
    ['id', notification.id],
    ['to', describeRecipient(notification.to)],
    ['template', template && `${template.key}@${template.version}`],
    ['title', typeof title === 'string' ? title.slice(0, 200) : null],
    ['priority', notification.priority],
    ['category', notification.category],
    ['accepted', localTime(notification.createdAt)],
    ['send at', time(notification.sendAt)],
    ['expires', time(notification.expiresAt)],
    ['resend of', notification.resendOf],
    ['batch', notification.batch],
    ['test key', notification.test ? 'yes: captured, never sent' : null],
  ]);
  await terminal.line();
  await showMessages(terminal, notification.messages);
}

async function showTimeline(terminal: Terminal, events: readonly TimelineEvent[]): Promise<void> {
  await terminal.line();
  for (const event of events) {
    const { at, type, messageId, channel, provider, attempt, durationMs, reason, response } = event;
    const words = [
      type,
      messageId,
      attempt !== undefined && `#${attempt}`,
      [channel, provider].filter(Boolean).join('/'),
      durationMs !== undefined && `${Math.round(durationMs)} ms`,
      reason,
    ].filter((word): word is string => typeof word === 'string' && word !== '');
    await terminal.line(`${terminal.colour('dim', localTime(at))}  ${printable(words.join('  '))}`);
    const below = [...(response ? [response] : []), ...changesOf(event)];
    for (const line of below) await terminal.line(`${' '.repeat(21)}${printable(line)}`);
  }
}

const LONGEST_VALUE = 60;

/** What an edit changed: `priority: medium → high`. */
function changesOf({ detail }: TimelineEvent): string[] {
  const changes = (detail?.['changes'] ?? {}) as Record<string, { from: unknown; to: unknown }>;
  return Object.entries(changes).map(
    ([field, { from, to }]) => `${field}: ${shownValue(from)} → ${shownValue(to)}`,
  );
}

function shownValue(value: unknown): string {
  if (value === null) return '–';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE)}…` : text;
}

async function showService(context: Context, kind: KeyKind | undefined): Promise<ExitCode> {
  const open = context.openApi({ retries: 1 });
  const ready = await readReady(open);
  const metrics = await open.get<string>('/metrics').then(
    ({ body }) => parseMetrics(String(body)),
    () => [],
  );
  const { key } = context;
  let ledger: { body: Ledger; text: string } | undefined;
  let refused: CommandFailure | undefined;
  try {
    if (key !== undefined)
      ledger = await context.api({ retries: 1 }).get<Ledger>('/v1/ledger', { query: { kind } });
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    refused = error;
  }
  if (context.json) {
    await context.terminal.line(
      JSON.stringify({
        url: context.url,
        ready,
        ledger: ledger?.body ?? null,
        metrics: metrics.filter(isShown),
      }),
    );
  } else {
    await showReadiness(context, ready, metrics);
    if (ledger) await showLedger(context.terminal, ledger.body);
    else if (key === undefined)
      context.terminal.note('Without an API key the ledger is not shown.');
  }
  if (refused) throw refused;
  const balanced = ledger === undefined || isBalanced(ledger.body);
  return ready.status === 'ready' && balanced ? EXIT.ok : EXIT.failed;
}

async function showReadiness(
  { terminal, url }: Context,
  { status, reasons = [], degraded = [] }: Ready,
  metrics: readonly MetricSample[],
): Promise<void> {
  const word =
    status === 'ready' ? terminal.colour('green', 'ready') : terminal.colour('red', status);
  await terminal.line(
    `${url}  ${word}${reasons.length > 0 ? `: ${printable(reasons.join(', '))}` : ''}`,
  );
  for (const limit of degraded) terminal.warn(printable(limit));
  if (metrics.length === 0) return;
  const sum = (name: string, labels: Record<string, string> = {}): number =>
    metrics
      .filter((sample) => sample.name === name)
      .filter((sample) =>
        Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
      )
      .reduce((total, sample) => total + sample.value, 0);
  await terminal.line();
  await terminal.table(
    ['LANE', 'WAITING', 'UNDER WAY'],
    ['high', 'medium', 'low'].map((lane) => [
      lane,
      String(sum('tidings_lane_waiting', { lane })),
      String(sum('tidings_deliveries_under_way', { lane })),
    ]),
  );
  await terminal.line();
  const remarks: [string, number][] = [
    ['writes waiting', sum('tidings_writes_waiting')],
    ['events not shown yet', sum('tidings_projection_lag_events')],
    ['open circuit breakers', sum('tidings_account_open_destinations')],
    ['events given up', sum('tidings_tracker_dropped_events')],
    ['store broken', sum('tidings_store_broken')],
  ];
  await terminal.fields(remarks.map(([name, value]) => [name, String(value)]));
}

const SHOWN = new Set([
  'tidings_lane_waiting',
  'tidings_deliveries_under_way',
  'tidings_writes_waiting',
  'tidings_projection_lag_events',
  'tidings_account_open_destinations',
  'tidings_account_under_way',
  'tidings_tracker_dropped_events',
  'tidings_store_broken',
]);

function isShown({ name }: MetricSample): boolean {
  return SHOWN.has(name);
}

async function showLedger(terminal: Terminal, ledger: Ledger): Promise<void> {
  await terminal.line();
  await terminal.fields([
    ['accepted', String(ledger.accepted)],
    ...LEDGER_PARTS.map((name) => [name, String(ledger[name])] as const),
  ]);
  if (!isBalanced(ledger))
    terminal.error('the ledger does not add up', ['Run "tidings doctor --ledger".']);
}
