/**
 * The place of `tidings start` in the help. Running the service is main.ts's own work: it takes
 * `start` before the command line is read here.
 */
import type { Command } from 'commander';
import { type Define, examples } from './define.ts';
import { usage } from './exit.ts';

export function addStart(program: Command, settings: string, define: Define): void {
  const command = program
    .command('start')
    .description(
      'Run the service. Every setting is an option, a variable, and a key of the configuration file.',
    )
    .option('--config <file>', 'JSON file with settings: TIDINGS_CONFIG')
    .allowUnknownOption()
    .allowExcessArguments()
    .addHelpText('after', settings)
    .addHelpText(
      'after',
      examples(
        'tidings start',
        'tidings start --port 80 --host 0.0.0.0 --data-dir /var/lib/tidings',
      ),
    );
  define(command, () => {
    throw usage(
      'start comes first, and takes settings only',
      'Write it as: tidings start --port 8484',
    );
  });
}
