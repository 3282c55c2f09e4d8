/** `tidings doctor`: looks whether this installation and its service are in order. Changes nothing. */
import type { Ledger } from '@tidings/contracts/notification';
import type { Command } from 'commander';
import type { Context } from './context.ts';
import { type Define, examples } from './define.ts';
import type { Check, CheckStatus } from './doctor-check.ts';
import { checkInstallation } from './doctor-installation.ts';
import { checkLedger } from './doctor-ledger.ts';
import { checkService } from './doctor-service.ts';
import { EXIT, type ExitCode } from './exit.ts';
import { LEDGER_PARTS } from './ledger.ts';
import { printable } from './table.ts';
import type { Terminal } from './terminal.ts';

interface DoctorOptions {
  config?: string;
  dataDir?: string;
  ledger?: boolean;
  integrity: boolean;
}

export function addDoctor(program: Command, define: Define): void {
  const command = program
    .command('doctor')
    .description('Check configuration, data folder, files and the running service; change nothing.')
    .option('--config <file>', 'configuration file: TIDINGS_CONFIG')
    .option('--data-dir <folder>', 'data folder: TIDINGS_DATA_DIR, or what the configuration says')
    .option(
      '--ledger',
      'add up what became of everything that was accepted; exit 1 unless it is right',
    )
    .option(
      '--no-integrity',
      'do not read through the data files, which takes time when they are large',
    )
    .addHelpText(
      'after',
      examples(
        'tidings doctor',
        'tidings doctor --ledger',
        'tidings doctor --json | jq \'.checks[] | select(.status != "ok")\'',
      ),
    );
  define<DoctorOptions>(command, (context, { options }) => examine(context, options));
}

async function examine(context: Context, options: DoctorOptions): Promise<ExitCode> {
  const { terminal, json } = context;
  const checks: Check[] = [];
  const report = async (check: Check): Promise<void> => {
    checks.push(check);
    if (!json) await show(terminal, check);
  };
  const installation = await checkInstallation(context, options, report);
  const service = await checkService(context, installation, report);
  const ledger = options.ledger
    ? await checkLedger(context, { installation, service }, report)
    : undefined;
  const failed = checks.filter(({ status }) => status === 'fail').length;
  const warned = checks.filter(({ status }) => status === 'warn').length;
  if (json) {
    await terminal.line(
      JSON.stringify({ ok: failed === 0, checks, ...(ledger ? { ledger } : {}) }),
    );
  } else {
    if (ledger) await showLedger(terminal, ledger);
    terminal.note(
      failed === 0 && warned === 0
        ? `${checks.length} checks, all in order.`
        : `${checks.length} checks: ${failed} failed, ${warned} to look at.`,
    );
  }
  return failed === 0 ? EXIT.ok : EXIT.failed;
}

const WORDS: Record<CheckStatus, [string, 'green' | 'yellow' | 'red']> = {
  ok: ['ok  ', 'green'],
  warn: ['warn', 'yellow'],
  fail: ['fail', 'red'],
};

async function show(terminal: Terminal, { name, status, message, advice }: Check): Promise<void> {
  const [word, colour] = WORDS[status];
  await terminal.line(
    `${terminal.colour(colour, word)}  ${printable(name)}: ${printable(message)}`,
  );
  if (advice !== undefined) await terminal.line(`      → ${printable(advice)}`);
}

async function showLedger(terminal: Terminal, ledger: Ledger): Promise<void> {
  await terminal.line();
  for (const name of ['accepted', ...LEDGER_PARTS] as const) {
    await terminal.line(`${name.padEnd(12)}${String(ledger[name]).padStart(12)}`);
  }
}
