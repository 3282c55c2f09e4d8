/**
 * Shows what was measured: a table for the terminal, and for `results/` the same as Markdown
 * beside a JSON with everything.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Benchmark, Context, Row } from './context.ts';
import type { Environment } from './environment.ts';

export interface Report {
  name: string;
  summary: string;
  environment: Environment;
  seconds: number;
  rows: Row[];
  /** The echo's saturation in the same run, in the order measured. */
  echoes: Row[];
  notes: string[];
}

const results = join(import.meta.dirname, 'results');

interface Column {
  title: string;
  cell(row: Row): string;
}

function show(value: number | null | undefined, digits: number, factor = 1): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return (value * factor).toLocaleString('en-US', options);
}

function showExtra(value: number | string | undefined): string {
  if (typeof value !== 'number') return value ?? '–';
  return show(value, Number.isInteger(value) || value >= 1000 ? 0 : 2);
}

/** The number and what they were: statuses, or how requests got lost. */
function showErrors({ errors, load }: Row): string {
  if (errors === 0 || load === null) return show(errors, 0);
  const statuses = Object.keys(load.statuses).filter((status) => !status.startsWith('2'));
  const lost = Object.entries(load.failures).filter(([, count]) => count > 0);
  return `${show(errors, 0)} (${[...statuses, ...lost.map(([kind]) => kind)].join(', ')})`;
}

function columnsOf(rows: Row[]): Column[] {
  const names = new Set(rows.flatMap((row) => Object.keys(row.extra)));
  const has = (pick: (row: Row) => unknown) => rows.some((row) => pick(row) !== null);
  const columns: (Column | false)[] = [
    { title: 'run', cell: (row) => row.label },
    { title: 'per s', cell: (row) => show(row.perSecond, 0) },
    { title: '÷ echo', cell: (row) => show(row.shareOfEcho, 2) },
    has((row) => row.latency) && { title: 'p50 ms', cell: (row) => show(row.latency?.p50Ms, 2) },
    has((row) => row.latency) && { title: 'p99 ms', cell: (row) => show(row.latency?.p99Ms, 2) },
    has((row) => row.latency) && { title: 'p99.9 ms', cell: (row) => show(row.latency?.p999Ms, 2) },
    has((row) => row.latency) && { title: 'max ms', cell: (row) => show(row.latency?.maxMs, 1) },
    { title: 'errors', cell: showErrors },
    ...[...names].map((name) => ({ title: name, cell: (row: Row) => showExtra(row.extra[name]) })),
    { title: 'CPU µs', cell: (row) => show(row.serverMicroseconds, 1) },
    { title: 'cores', cell: (row) => show(row.serverCores, 2) },
    { title: 'RSS MB', cell: (row) => show(row.rssPeakBytes, 0, 1e-6) },
    has((row) => row.generatorMicroseconds) && {
      title: 'gen µs',
      cell: (row) => show(row.generatorMicroseconds, 1),
    },
    { title: 'stolen %', cell: (row) => show(row.stolenShare, 1, 100) },
    { title: 'others %', cell: (row) => show(row.otherShare, 1, 100) },
    has((row) => row.discarded) && {
      title: 'discarded',
      cell: (row) => row.discarded ?? '',
    },
  ];
  return columns.filter((column) => column !== false);
}

function table(rows: Row[], separator: string, rule: (widths: number[]) => string): string {
  const columns = columnsOf(rows);
  const cells = rows.map((row) => columns.map((column) => column.cell(row)));
  const widths = columns.map(({ title }, k) =>
    Math.max(title.length, ...cells.map((line) => (line[k] as string).length)),
  );
  const align = (line: string[]) =>
    line.map((text, k) =>
      k === 0 ? text.padEnd(widths[k] as number) : text.padStart(widths[k] as number),
    );
  const lines = [columns.map(({ title }) => title), ...cells].map((line) =>
    align(line).join(separator),
  );
  return [lines[0], rule(widths), ...lines.slice(1)].join('\n');
}

export function toText({ name, summary, rows, echoes, notes }: Report): string {
  const rule = (widths: number[]) => widths.map((width) => '─'.repeat(width)).join('  ');
  return [
    '',
    `${name}: ${summary}`,
    '',
    table(rows, '  ', rule),
    '',
    `echo at saturation: ${describeEchoes(echoes)}`,
    ...notes.map((note) => `• ${note}`),
    '',
  ].join('\n');
}

function describeEchoes(echoes: Row[]): string {
  const each = echoes.map(({ perSecond, discarded }) => {
    return `${show(perSecond, 0)}${discarded === null ? '' : ` (${discarded})`}`;
  });
  return `${each.join(' · ')} per s`;
}

export function toMarkdown({ name, summary, environment, seconds, ...report }: Report): string {
  const rule = (widths: number[]) => widths.map((width, k) => dashes(width, k === 0)).join('|');
  const body = table(report.rows, ' | ', rule).replace(/^/gm, '| ').replace(/$/gm, ' |');
  const e = environment;
  return `# ${name}

${summary}

${body}

Echo at saturation, before, between and after: ${describeEchoes(report.echoes)}.

${report.notes.map((note) => `- ${note}\n`).join('')}
## Measured

| | |
|---|---|
| when | ${e.date} |
| commit | ${e.commit}${e.isDirty ? ' and uncommitted changes' : ''} |
| machine | ${e.cpu}, ${e.cores} cores, ${e.memoryGigabytes} GB, ${e.platform} ${e.kernel} |
| versions | Node ${e.node}, SQLite ${e.sqlite} |
| data directory | ${e.filesystem}, 4 KiB + fdatasync ${e.fdatasyncMicroseconds} µs (median) |
| each run | ${seconds} s measured after a warm-up |

Generator, echo and server share the machine's cores. What these figures are not is said in
[the README](../README.md#what-a-figure-is-not).
`;
}

function dashes(width: number, isLeft: boolean): string {
  return isLeft ? `${'-'.repeat(width)} ` : ` ${'-'.repeat(width)}:`;
}

export function makeReport(
  { name, summary }: Benchmark,
  environment: Environment,
  { rows, echoes, notes, options }: Context,
): Report {
  return { name, summary, environment, seconds: options.seconds, rows, echoes, notes };
}

/** Writes `<date>-<name>.json` and `.md`; the same day's earlier result of that name is replaced. */
export function writeReport(report: Report): string {
  mkdirSync(results, { recursive: true });
  const base = `${report.environment.date.slice(0, 10)}-${report.name}`;
  writeFileSync(join(results, `${base}.json`), `${JSON.stringify(report, null, 2)}\n`);
  writeFileSync(join(results, `${base}.md`), toMarkdown(report));
  return `results/${base}.md`;
}
