/**
 * Loads the files of the plug-in folder once in a process of their own before the service loads them: one
 * that loops, waits for ever or ends its process when it is loaded would take the service with it, which
 * could not even say which file it was. One that throws says so itself, to whoever loads it next.
 */
import { once } from 'node:events';
import { spawnTrial } from './plug-in-spawn.ts';

/** For all files together, with all that they import. */
const LIMIT_MS = 10_000;

/**
 * @param folder the plug-in folder that the files are in
 * @throws Error that names the file
 */
export async function tryLoading(
  folder: string,
  files: readonly string[],
  limitMs = LIMIT_MS,
): Promise<void> {
  if (files.length === 0) return;
  const trial = spawnTrial(folder, files);
  let said = '';
  trial.stdout?.setEncoding('utf8').on('data', (text: string) => {
    // A plug-in may print as well; what counts is the last number.
    said = (said + text).slice(-1000);
  });
  let late = false;
  const limit = setTimeout(() => {
    late = true;
    trial.kill('SIGKILL');
  }, limitMs);
  const [code, signal] = (await once(trial, 'close')) as [number | null, NodeJS.Signals | null];
  clearTimeout(limit);
  const reached = Number(/.*#(\d+)\n/s.exec(said)?.[1]);
  // Who ends it with the code of success has not let it come to its end.
  if (code === 0 && reached === files.length) return;
  const file = files[reached] ?? folder;
  const what = late ? `it is not loaded within ${limitMs / 1000} s` : endOf(code, signal);
  throw new Error(`${file}: ${what}`);
}

function endOf(code: number | null, signal: NodeJS.Signals | null): string {
  if (code === UNSETTLED) return 'it waits for something that never comes when it is loaded';
  return `it ends its process when it is loaded (${signal ?? code})`;
}

/** How Node ends when a top-level await can come to no end. */
const UNSETTLED = 13;
