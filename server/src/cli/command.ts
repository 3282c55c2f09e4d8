/**
 * The `tidings` command: reads the command line, runs one command, and answers its exit code.
 * It speaks to a running service over HTTP like any other client; only `doctor` and `migrate` look
 * at files, and running the service is main.ts's own work.
 */
import { Command, CommanderError, Option } from 'commander';
import { Context, DEFAULT_URL, type GlobalOptions } from './context.ts';
import type { Define } from './define.ts';
import { addDoctor } from './doctor.ts';
import { CommandFailure, EXIT, type ExitCode } from './exit.ts';
import { addExport } from './export.ts';
import { addImport } from './import.ts';
import { addKeys } from './keys.ts';
import { addMigrate } from './migrate.ts';
import { addSend } from './send.ts';
import { addStart } from './start.ts';
import { addStatus } from './status.ts';
import { addTail } from './tail.ts';
import { addTemplates } from './templates.ts';
import { type Streams, Terminal } from './terminal.ts';
import { addUsers } from './users.ts';
import { version } from './version.ts';

const COMMANDS = [
  addSend,
  addStatus,
  addTail,
  addTemplates,
  addUsers,
  addKeys,
  addDoctor,
  addMigrate,
  addExport,
  addImport,
];

const EXIT_CODES = `
Exit codes:
  0 done   1 failed   2 wrong usage   3 nothing there   4 no or wrong API key
  5 partly done   6 not done in time

Examples:
  $ tidings send --to ada@example.com --title "Hello" "It works."
  $ df -h | tidings send --to user:ops --title "Disk space"
  $ tidings status ntf_00h4p8s3t6v
  $ tidings tail --status failed
  $ tidings doctor`;

/** @param argv without the program's name @returns the exit code */
export async function runCommand(
  argv: readonly string[],
  streams: Streams = ownStreams(),
): Promise<number> {
  let exitCode: ExitCode = EXIT.ok;
  let context: Context | undefined;
  const program = rootCommand(streams);
  const define: Define = (command, action) => {
    command.action(async (...given: unknown[]) => {
      // commander passes the arguments, then the options, then the command.
      const args = (given.slice(0, -2) as (string | string[] | undefined)[]).flat();
      context = new Context(streams, program.opts<GlobalOptions>());
      exitCode = await action(context, {
        args: args.filter((arg): arg is string => arg !== undefined),
        options: command.opts() as never,
      });
    });
  };
  addStart(program, await settingsHelp(argv), define);
  for (const add of COMMANDS) add(program, define);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    return reported(
      error,
      context?.terminal ?? new Terminal(streams, { quiet: false, interactive: false }),
    );
  }
}

/** Only the help of `start` needs the schema of all settings, which takes a while to load. */
async function settingsHelp(argv: readonly string[]): Promise<string> {
  if (!argv.includes('start')) return '';
  return (await import('./settings-help.ts')).settingsHelp();
}

function rootCommand(streams: Streams): Command {
  return new Command('tidings')
    .description('Send notifications with Tidings, and look after the service.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help of a command')
    .addOption(
      new Option(
        '--url <url>',
        `where Tidings is: TIDINGS_URL, else as TIDINGS_HOST and TIDINGS_PORT say, else ${DEFAULT_URL}`,
      ),
    )
    .addOption(
      new Option('--api-key <key>', 'API key: TIDINGS_API_KEY (other users can see arguments)'),
    )
    .option('--api-key-file <file>', 'file that holds the API key')
    .option('--json', 'print the JSON of the API')
    .option('-q, --quiet', 'print data and errors only')
    .option('--no-input', 'ask nothing, and read standard input only where "-" says so')
    .option('--timeout <duration>', 'time for one request with its retries', '30s')
    .addHelpText('after', EXIT_CODES)
    .showSuggestionAfterError()
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
    .configureOutput({
      writeOut: (text) => streams.stdout.write(text),
      writeErr: (text) => streams.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'tidings: ')),
      getOutHelpWidth: () => streams.stdout.columns || 80,
      getErrHelpWidth: () => streams.stderr.columns || 80,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
}

/** Says what went wrong, never how the program looks inside. */
function reported(error: unknown, terminal: Terminal): ExitCode {
  if (error instanceof CommandFailure) {
    terminal.error(error.message, error.notes);
    return error.exitCode;
  }
  if (error instanceof CommanderError) {
    // Help and version that were asked for are answers; everything else is a wrong command line.
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
  // A full disk, a missing permission: the system's own words name the file.
  if (error instanceof Error && 'syscall' in error) {
    terminal.error(error.message);
    return EXIT.failed;
  }
  terminal.error(`something unexpected happened: ${(error as Error)?.message ?? String(error)}`, [
    'This is a defect of the command; please report it together with what you typed.',
  ]);
  return EXIT.failed;
}

/** What a shell reports for a program whose reader went away: 128 + SIGPIPE. */
const READER_GONE = 141;

/** `tidings users export | head` ends without a word, as other programs do. */
function endWithReader(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(READER_GONE);
  process.stderr.write(`tidings: the output cannot be written: ${error.message}\n`);
  process.exit(EXIT.failed);
}

function ownStreams(): Streams {
  const { stdin, stdout, stderr, env } = process;
  // For good: what is still unwritten when the command is done may fail as well.
  stdout.on('error', endWithReader);
  stderr.on('error', () => process.exit(READER_GONE));
  return { stdin, stdout, stderr, environment: env };
}
