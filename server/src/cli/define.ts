/** How a command is declared: its place in the help, and the function that runs it. */
import type { Command } from 'commander';
import type { Context } from './context.ts';
import { type ExitCode, usage } from './exit.ts';

export interface Invocation<Options> {
  args: string[];
  options: Options;
}

/** Makes a function the action of a command; what it resolves with is the exit code. */
export type Define = <Options>(
  command: Command,
  action: (context: Context, invocation: Invocation<Options>) => Promise<ExitCode>,
) => void;

/** Of an option that may be given several times. */
export function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}

export function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}`;
}

/** A whole number within bounds. @throws CommandFailure that names the option */
export function integerOf(
  text: string,
  name: string,
  { min, max }: { min: number; max: number },
): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max) {
    throw usage(`${name}: must be a whole number from ${min} to ${max}, not "${text}"`);
  }
  return value;
}

/** Several at once keep the service busy; more than this only queue up in it. */
export const DEFAULT_CONCURRENCY = '16';
export const CONCURRENCY = { min: 1, max: 256 };
