/** What went wrong in a template, in words for its author. */
import { LiquidError } from 'liquidjs';
import { WorkLimitError } from './work.ts';

const MESSAGE_LENGTH = 300;

/** The message of an error of parsing or rendering, with its place in the string where known. */
export function describeFault(error: unknown): string {
  const cause = causeOf(error);
  let message = String(cause instanceof Error ? cause.message : cause);
  // liquidjs adds the place in a form of its own.
  message = message.replace(/, line:\d+, col:\d+$/, '');
  if (cause instanceof RangeError) message = 'is nested too deeply or becomes too long';
  if (message.length > MESSAGE_LENGTH) message = `${message.slice(0, MESSAGE_LENGTH)}…`;
  if (!LiquidError.is(error) || error.token === undefined) return message;
  const [line, column] = error.token.getPosition();
  return `${message} (line ${line}, column ${column})`;
}

function causeOf(error: unknown): unknown {
  let cause = error;
  while (LiquidError.is(cause) && cause.originalError !== undefined) cause = cause.originalError;
  return cause;
}

/** Whether a rendering was given up because its units of work had run out. */
export function isOutOfWork(error: unknown): boolean {
  return causeOf(error) instanceof WorkLimitError;
}
