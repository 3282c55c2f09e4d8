/**
 * A line of the log written by hand, in the form of the logging library: for threads that have a line
 * or two to tell and would load the library for them alone.
 */
const LEVELS = { warn: 40, error: 50 } as const;

export function logLine(
  level: keyof typeof LEVELS,
  thread: string,
  fields: Record<string, unknown> & { msg: string },
): void {
  process.stderr.write(
    `${JSON.stringify({ level: LEVELS[level], time: Date.now(), thread, ...fields })}\n`,
  );
}
