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
 *   interrupted  true when the launcher was asked to stop meanwhile
 *   error        set instead of an exit code when the child could not be started
 *   tail         the last part of its output, with `toStderr` only
 * `toStderr` sends all output to stderr (stdin is closed); otherwise the child shares our stdio.
 */
export function runChild(
  file,
  args,
  { cwd, env = process.env, shell = false, toStderr = false } = {},
) {
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
    const signals = forwardSignals(child);
    child.once('error', (error) => {
      if (child.pid !== undefined) return; // a failed kill; the child itself still runs
      signals.stop();
      resolve({ error, interrupted: signals.seen(), tail });
    });
    // `close` comes after the last output, `exit` may come before it.
    child.once('close', (code, signal) => {
      signals.stop();
      resolve({
        exitCode: code ?? 128 + constants.signals[signal],
        interrupted: signals.seen(),
        tail,
      });
    });
  });
}

/** Passes each kind of signal on once: npm and the shell above us repeat them. */
function forwardSignals(child) {
  const passed = new Set();
  const pass = (signal) => {
    if (passed.has(signal)) return;
    passed.add(signal);
    if (!reachesChildByItself(signal)) child.kill(signal);
  };
  for (const signal of forwarded) process.on(signal, pass);
  const watch = watchShellOfNpm(() => {
    // After a Ctrl-C the shell has ended of the same signal that the child is working on.
    if (passed.size === 0) pass('SIGTERM');
  });
  return {
    seen: () => passed.size > 0,
    stop: () => {
      clearInterval(watch);
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
