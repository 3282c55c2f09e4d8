// One installation of dependencies at a time: a lock file beside node_modules (npm empties
// node_modules itself, so the lock cannot live inside it).
//
// The owner touches the file while it works. A waiter takes the lock over when the owner is gone:
// at once when its processes no longer exist on this machine, otherwise when the file has stayed
// untouched for `staleMs` of the waiter's own waiting. Waiting is counted by the waiter, never read
// from two clocks, so a suspended laptop or a skewed clock does not make a live owner look dead.

import { randomUUID } from 'node:crypto';
import {
  closeSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { LaunchError } from './launch-error.mjs';

const pollMs = 200;
const touchMs = 5_000;
// Several missed touches: the owner's process is stopped or lives on a machine that is gone.
const staleMs = 60_000;
// An installation over a poor line takes minutes; longer than this something is wrong.
const giveUpMs = 30 * 60_000;

/**
 * Runs `work` while holding the lock, then releases it. `onWait` is called once when another
 * process holds it. Resolves with what `work` resolved with.
 *
 * `work` is given a function to name the process it works through: should we be killed, that one
 * may work on, and the lock stays taken until it has ended too.
 */
export async function withInstallLock(file, work, { onWait = () => {}, ...timing } = {}) {
  const lock = await acquire(file, { onWait, ...timing });
  try {
    return await work(lock.nameWorker);
  } finally {
    lock.release();
  }
}

async function acquire(file, options) {
  const wait = { staleMs, giveUpMs, pollMs, ...options };
  const mine = { pid: process.pid, host: thisHost(), nonce: randomUUID() };
  let told = false;
  let waitedMs = 0;
  let untouchedMs = 0;
  let lastSeen = '';
  for (;;) {
    if (createLock(file, mine)) return holdLock(file, mine);

    const seen = readLock(file);
    if (seen === undefined) continue; // released between the two calls

    untouchedMs = seen.mark === lastSeen ? untouchedMs + wait.pollMs : 0;
    lastSeen = seen.mark;
    if (isGone(seen.owner) || untouchedMs >= wait.staleMs) {
      if (takeOver(file, seen.owner, mine)) return holdLock(file, mine);
    }
    if (!told) {
      told = true;
      wait.onWait(seen.owner);
    }
    if (waitedMs >= wait.giveUpMs) {
      throw new LaunchError(
        `another process (pid ${seen.owner.pid ?? 'unknown'}) has been installing dependencies for too long. ` +
          `If nothing is installing here, delete ${file} and start again.`,
      );
    }
    await sleep(wait.pollMs);
    waitedMs += wait.pollMs;
  }
}

/** Creates the lock when nobody holds it; the exclusive flag makes the file system the referee. */
function createLock(file, owner) {
  let handle;
  try {
    handle = openSync(file, 'wx');
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
  writeFileSync(handle, JSON.stringify(owner));
  closeSync(handle);
  return true;
}

function readLock(file) {
  try {
    const text = readFileSync(file, 'utf8');
    const { mtimeMs } = statSync(file);
    return { owner: parseOwner(text), mark: `${text} ${mtimeMs}` };
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** An owner that died before it wrote its name leaves an empty file: only waiting tells then. */
function parseOwner(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/**
 * Replaces a dead owner's lock by ours. Two waiters may see the same dead owner; the exclusive
 * claim file lets one of them through, and the second look inside it sees what the first one did.
 */
function takeOver(file, deadOwner, mine) {
  const claim = `${file}.${deadOwner.nonce ?? 'unnamed'}`;
  if (!createLock(claim, mine)) return false;
  try {
    if (readLock(file)?.owner.nonce !== deadOwner.nonce) return false;
    replaceLock(file, mine);
    return true;
  } finally {
    unlinkSync(claim);
  }
}

/** In one step, so that no reader sees half a name. */
function replaceLock(file, owner) {
  const next = `${file}.${owner.nonce}`;
  writeFileSync(next, JSON.stringify(owner));
  renameSync(next, file);
}

function holdLock(file, mine) {
  const timer = setInterval(() => {
    try {
      utimesSync(file, new Date(), new Date());
    } catch {
      // The folder went away under us; the installation itself will say so.
    }
  }, touchMs);
  timer.unref();
  // Only our own lock: whoever took it over believed us dead and is working now.
  const isOurs = () => readLock(file)?.owner.nonce === mine.nonce;
  return {
    nameWorker: (pid) => {
      if (isOurs()) replaceLock(file, { ...mine, worker: pid });
    },
    release: () => {
      clearInterval(timer);
      if (isOurs()) unlinkSync(file);
    },
  };
}

function isGone(owner) {
  if (owner.host !== thisHost() || !Number.isInteger(owner.pid)) return false;
  return [owner.pid, owner.worker].every((pid) => !Number.isInteger(pid) || hasEnded(pid));
}

function hasEnded(pid) {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return error.code === 'ESRCH';
  }
}

/** A process id means something only within one host and, on Linux, one pid namespace (container). */
function thisHost() {
  try {
    return `${hostname()} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return hostname();
  }
}
