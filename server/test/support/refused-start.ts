/** A start that must not succeed, and the folder it is tried in. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assertNothingOfTheInside } from './problem.ts';
import { type StartOptions, startAndEnd } from './start.ts';

/** A folder that is there until the test ends. */
export function scratch(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'tidings-start-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** For programs that root runs: the permissions of a file hold it up only without its capabilities. */
export const WITHOUT_PRIVILEGES: readonly string[] =
  process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--'] : [];

/** Ends with 2, says in one line what is wrong, and takes nobody to the inside. */
export async function refusedStart(
  options: Omit<StartOptions, 'dataDir'> & { dataDir?: string },
  ...words: (string | RegExp)[]
): Promise<void> {
  using folder = scratch();
  const dataDir = options.dataDir ?? join(folder.path, 'data');
  const { code, signal, output } = await startAndEnd({ ...options, dataDir });
  const note = `${JSON.stringify(options.env ?? {})}\n${output}`;
  assert.deepEqual([code, signal], [2, null], note);
  for (const word of words) {
    assert.ok(
      typeof word === 'string' ? output.includes(word) : word.test(output),
      `${word}: ${note}`,
    );
  }
  const lines = output.split('\n').filter((line) => line !== '');
  assert.equal(lines.length, 1, note);
  assert.match(lines[0] as string, /^tidings: /, note);
  assertNothingOfTheInside(output.replaceAll('ENOENT', ''));
}
