// Runs one child process in the launcher's place: same terminal, same signals, same exit code.

import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { isatty } from 'node:tty';

const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP'];
// Enough for the error lines npm ends with.
const tailLength = 16_384;

/**
 * Resolves when the child has ended, with
 *   exitCode     its code, or 128 + signal number when a signal ended it
 *   interrupted  the signal that asked the launcher to stop meanwhile, if one did
 *   error        set instead of an exit code when the child could not be started
 *   tail         the last part of its output, with `toStderr` only
 *
 * `toStderr` sends all output to stderr (stdin is closed); otherwise the child shares our stdio.
 * `killAfterMs` ends a child that is still there so long after a signal; without it, the child
 * takes the time it needs. `onStart` is called with its process id.
 */
export function runChild(file, args, options = {}) {
  const { cwd, env = process.env, shell = false, toStderr = false, killAfterMs } = options;
  return new Promise((resolve) => {
    const child = spawn(file, args, {
      cwd,
      env,
      shell,
      stdio: toStderr ? ['ignore', 'pipe', 'pipe'] : 'inherit',
    });
    let tail = '';
    if (toStderr) {
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (chunk) => {
          process.stderr.write(chunk);
          tail = (tail + chunk).slice(-tailLength);
        });
      }
    }
    const signals = forwardSignals(child, { killAfterMs });
    const end = (result) => {
      signals.stop();
      resolve({ ...result, interrupted: signals.first(), tail });
    };
    child.once('spawn', () => options.onStart?.(child.pid));
    child.once('error', (error) => {
      // With a process id it is a signal that failed; the child itself still runs.
      if (child.pid === undefined) end({ error });
    });
    // `close` comes after the last output, `exit` may come before it.
    child.once('close', (code, signal) => end({ exitCode: code ?? exitCodeOf(signal) }));
  });
}

/** What a shell answers for a program that a signal ended. */
export function exitCodeOf(signal) {
  return 128 + constants.signals[signal];
}

/** Passes each kind of signal on once: npm and the shell above us repeat them. */
function forwardSignals(child, { killAfterMs }) {
  const passed = [];
  let killing;
  const pass = (signal) => {
    if (passed.includes(signal)) return;
    passed.push(signal);
    if (!reachesChildByItself(signal)) child.kill(signal);
    if (killAfterMs !== undefined) {
      killing ??= setTimeout(() => child.kill('SIGKILL'), killAfterMs);
    }
  };
  for (const signal of forwarded) process.on(signal, pass);
  const watch = watchShellOfNpm(() => {
    // After a Ctrl-C the shell has ended of the same signal that the child is working on.
    if (passed.length === 0) pass('SIGTERM');
  });
  return {
    first: () => passed[0],
    stop: () => {
      clearInterval(watch);
      clearTimeout(killing);
      for (const signal of forwarded) process.off(signal, pass);
    },
  };
}

/**
 * npm hands a SIGTERM to the shell it started us with, and some shells die of it without a word to
 * us; the server would live on, holding its port. So the end of that shell is a request to stop.
 */
function watchShellOfNpm(onEnd) {
  if (process.platform === 'win32' || !process.env.npm_lifecycle_event) return undefined;
  const shell = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid !== shell) onEnd();
  }, 250);
  return timer.unref();
}

/**
 * A terminal sends Ctrl-C and hang-up to every process in it, so the child has it already; a second
 * one would read as "stop at once". On Windows that is the only kind there is, and kill() would end
 * the child without a word.
 */
function reachesChildByItself(signal) {
  if (process.platform === 'win32') return true;
  return signal !== 'SIGTERM' && (isatty(0) || isatty(1) || isatty(2));
}
