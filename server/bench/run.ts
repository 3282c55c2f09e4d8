/**
 * npm run bench -- [name...] [--seconds N] [--rows N] [--data DIR] [--quick]
 *
 * Runs the benchmarks named, or all of them, one after the other.
 */
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type Benchmark, makeContext, type Options } from './context.ts';
import { describeEnvironment } from './environment.ts';
import { makeReport, toText, writeReport } from './report.ts';

const suffix = '.bench.ts';
const available = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith(suffix))
  .map((file) => file.slice(0, -suffix.length))
  .toSorted();

const usage = `usage: npm run bench -- [name...] [options]

  --seconds N   measured time of each run (60; quick: 3)
  --rows N      rows to fill the store with before 'pipeline' (3,000,000) and 'list' (10,000,000;
                quick: 20,000)
  --data DIR    where data directories are made: a real disk (the system's temporary directory)
  --main FILE   the service's main.ts, for instance that of another checkout (this one's)
  --quick       a smoke test: short, no repetition of disturbed runs, nothing is written

benchmarks: ${available.join(', ')}
`;

/** `rows` is undefined when a benchmark is to take its own number. */
type Given = Omit<Options, 'rows'> & { rows: number | undefined };

function readArguments(): { names: string[]; options: Given } | null {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: 'string' },
      rows: { type: 'string' },
      data: { type: 'string' },
      main: { type: 'string' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const number = (text: string | undefined, otherwise: number) => Number(text ?? otherwise);
  const options = {
    seconds: number(values.seconds, values.quick ? 3 : 60),
    rows: values.quick || values.rows !== undefined ? number(values.rows, 20_000) : undefined,
    dataRoot: values.data ?? tmpdir(),
    isQuick: values.quick,
    main: resolve(values.main ?? join(import.meta.dirname, '..', 'src', 'main.ts')),
  };
  const names = positionals.length > 0 ? positionals : available;
  const isValid = options.seconds > 0 && (options.rows ?? 0) >= 0;
  if (values.help || !isValid || names.some((name) => !available.includes(name))) return null;
  return { names, options };
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function runOne(name: string, given: Given): Promise<void> {
  const module: { default: Benchmark } = await import(`./${name}${suffix}`);
  const options = { ...given, rows: given.rows ?? module.default.rows ?? 0 };
  const environment = describeEnvironment(options.dataRoot, dirname(options.main));
  if (environment.filesystem === 'tmpfs') {
    say('the data directory is in memory (tmpfs): durable writes cost nothing there; see --data');
  }
  say(`\n${name}`);
  await using context = await makeContext(options, say);
  try {
    await module.default.run(context);
  } finally {
    // What was measured before a failure is still worth reading, but it is no result.
    if (context.rows.length > 0) say(toText(makeReport(module.default, environment, context)));
  }
  if (!options.isQuick) say(writeReport(makeReport(module.default, environment, context)));
}

// Ending through `exit` takes the servers along.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

const given = readArguments();
if (given === null) {
  process.stderr.write(usage);
  process.exitCode = 2;
} else {
  for (const name of given.names) {
    try {
      await runOne(name, given.options);
    } catch (error) {
      process.stderr.write(`${name}: ${error instanceof Error ? error.message : error}\n`);
      process.exitCode = 1;
    }
  }
}
