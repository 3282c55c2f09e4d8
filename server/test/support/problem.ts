/** What every refusal must look like, whatever it refuses: RFC 9457, and nothing of the inside. */
import assert from 'node:assert/strict';
import type { Problem } from '@tidings/contracts/problem';
import { ERROR_CODES } from '../../src/errors.ts';

/** Frames of a stack, files of the program, words of the engine underneath. */
const INSIDE =
  /\n\s+at |\bat (?:async )?[\w.<>]+ \(|file:\/\/|node:internal|node_modules|\.ts:\d|SQLITE_|SqliteError|\bENOENT\b/;

export function assertNothingOfTheInside(text: string): void {
  assert.doesNotMatch(text, INSIDE);
}

/** Checks an answer of an HTTP client or of a raw socket and returns its problem. */
export function assertProblem(
  answer: {
    status: number;
    headers: Readonly<Record<string, string | string[] | undefined>>;
    text?: string;
    body?: string;
  },
  status: number | readonly number[],
  note = '',
): Problem {
  const text = answer.text ?? answer.body ?? '';
  const shown = `${note} ${answer.status} ${text.slice(0, 600)}`;
  const allowed = [status].flat() as number[];
  assert.ok(allowed.includes(answer.status), `${shown}: expected ${allowed.join(' or ')}`);
  assert.match(String(answer.headers['content-type']), /^application\/problem\+json\b/, shown);
  assertNothingOfTheInside(text);
  const problem = JSON.parse(text) as Problem;
  assert.equal(problem.status, answer.status, shown);
  assert.ok(problem.code in ERROR_CODES, shown);
  assert.ok(problem.title.length > 0 && problem.request_id.length > 0, shown);
  assert.equal(problem.type, `/docs/errors#${problem.code}`, shown);
  // Relative only where the request has no host that could stand in a link.
  assert.match(problem.doc_url, /^(?:https?:\/\/[^/#?@]+)?\/docs\/errors#[a-z_]+$/, shown);
  assert.ok(problem.doc_url.endsWith(problem.type), shown);
  return problem;
}

/** The problem without what differs from request to request. */
export function shapeOf(problem: Problem): Omit<Problem, 'request_id'> {
  const { request_id: _, ...shape } = problem;
  return shape;
}
