/** What the service or the way to it refused, in words and with the exit code that belongs to it. */
import type { Problem } from '@tidings/contracts/problem';
import { CommandFailure, EXIT, type ExitCode } from './exit.ts';
import { printable } from './table.ts';

/** The service answered with an error. */
export class ApiFailure extends CommandFailure {
  readonly status: number;
  readonly problem: Problem | undefined;
  /** The body as JSON, when it is JSON. */
  readonly answer: unknown;

  constructor(status: number, text: string, url: string) {
    const answer = jsonOf(text);
    const problem = isProblem(answer) ? answer : undefined;
    const { message, notes } = problem ? explain(problem) : foreign(status, text, url);
    super(exitOfStatus(status), message, notes);
    this.name = 'ApiFailure';
    this.status = status;
    this.problem = problem;
    this.answer = answer;
  }
}

/** No answer: the service cannot be reached, or was cut off. */
export class ConnectionFailure extends CommandFailure {
  constructor(url: string, cause: unknown) {
    super(EXIT.failed, `${url} cannot be reached: ${reasonOf(cause)}`, [
      'Is Tidings running there? --url or TIDINGS_URL names another address; "tidings doctor" looks closer.',
    ]);
    this.name = 'ConnectionFailure';
  }
}

function exitOfStatus(status: number): ExitCode {
  if (status === 401 || status === 403) return EXIT.unauthorized;
  if (status === 404) return EXIT.nothing;
  return status === 408 || status === 504 ? EXIT.timeout : EXIT.failed;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Anything else was not said by Tidings, but by what stands before it. */
function isProblem(value: unknown): value is Problem {
  const { title, code } = (value ?? {}) as Partial<Problem>;
  return typeof title === 'string' && typeof code === 'string';
}

function explain(problem: Problem): { message: string; notes: string[] } {
  const { title, detail, errors = [], hint, request_id: requestId } = problem;
  const notes: string[] = [];
  // A detail that only joins the errors says nothing that their own lines do not say better.
  const joined = [': ', ' '].map((mark) =>
    errors.map(({ path, message }) => `${path}${mark}${message}`).join('; '),
  );
  if (detail !== undefined && !joined.includes(detail)) notes.push(detail);
  for (const { path, message } of errors) notes.push(`${path}: ${message}`);
  if (hint !== undefined) notes.push(`Hint: ${hint}`);
  notes.push(`Request: ${requestId} (${problem.status} ${problem.code})`);
  return { message: title, notes };
}

function foreign(status: number, text: string, url: string): { message: string; notes: string[] } {
  if (status >= 300 && status < 400) {
    return {
      message: `${url} leads elsewhere (HTTP ${status})`,
      notes: ['Name the final address with --url.'],
    };
  }
  const start = text.trim().slice(0, 200);
  return {
    message: `${url} answered HTTP ${status}, and not as Tidings does`,
    notes: start === '' ? [] : [`It said: ${printable(start)}`],
  };
}

const REASONS: Record<string, string> = {
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection was cut off',
  UND_ERR_SOCKET: 'the connection was cut off',
  ENOTFOUND: 'there is no such host',
  EAI_AGAIN: 'the host name cannot be looked up now',
  EHOSTUNREACH: 'there is no way to the host',
  ENETUNREACH: 'there is no way to its network',
  ETIMEDOUT: 'the connection timed out',
  UND_ERR_CONNECT_TIMEOUT: 'the connection timed out',
  EPIPE: 'the connection was cut off',
};

/** Code of the failure below what fetch throws. */
export function codeOf(error: unknown): string {
  const { cause } = error as { cause?: { code?: unknown; errors?: { code?: unknown }[] } };
  const code = cause?.code ?? cause?.errors?.[0]?.code;
  return typeof code === 'string' ? code : '';
}

function reasonOf(error: unknown): string {
  const { cause } = error as { cause?: Error };
  return REASONS[codeOf(error)] ?? cause?.message ?? (error as Error).message;
}
