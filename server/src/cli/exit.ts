/**
 * How the command ends. Scripts depend on these numbers: they never change their meaning.
 */
export const EXIT = {
  ok: 0,
  /** It was tried and did not succeed. */
  failed: 1,
  /** The command line is not acceptable; nothing was tried. */
  usage: 2,
  /** What was named does not exist, or what was selected is empty. */
  nothing: 3,
  /** The API key is missing, not valid, or lacks a scope. */
  unauthorized: 4,
  /** Some of it succeeded. */
  partial: 5,
  /** It did not end in time; it may go on by itself. */
  timeout: 6,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** An end that is explained in words; whatever else is thrown is a defect of the command itself. */
export class CommandFailure extends Error {
  readonly exitCode: ExitCode;
  /** Lines below the message: details, what to do. */
  readonly notes: readonly string[];

  constructor(exitCode: ExitCode, message: string, notes: readonly string[] = []) {
    super(message);
    this.name = 'CommandFailure';
    this.exitCode = exitCode;
    this.notes = notes;
  }
}

export function usage(message: string, ...notes: string[]): CommandFailure {
  return new CommandFailure(EXIT.usage, message, notes);
}

/** What came of many tries, each of which succeeded or failed. */
export function exitOf({ succeeded, failed }: { succeeded: number; failed: number }): ExitCode {
  if (failed === 0) return succeeded === 0 ? EXIT.nothing : EXIT.ok;
  return succeeded === 0 ? EXIT.failed : EXIT.partial;
}
