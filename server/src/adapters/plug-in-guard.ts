/**
 * Watches over the process of a plug-in from a thread of its own within it, which also runs while the
 * plug-in loops: ends the process when the engine is gone, by whatever means, and when the process needs
 * more memory than any plug-in should, buffers included. It is no wall: a plug-in that wants to can end it.
 *
 * The thread gets the text of one function, so that nothing is loaded in it: it costs 5 MB and not 40.
 */
import { flushCompileCache, syncBuiltinESMExports } from 'node:module';
import { Worker } from 'node:worker_threads';
import { LIFELINE, MARK_BYTES, MARKS_FILE, TOO_LARGE } from './plug-in-protocol.ts';

/** Often enough that a plug-in which fills buffers as fast as it can has not got a GB further. */
const LOOK_MS = 100;

/** @param memoryLimitBytes of all of the process */
export function startGuard(memoryLimitBytes: number): void {
  const position = TOO_LARGE * MARK_BYTES;
  const known = {
    memoryLimitBytes,
    lookMs: LOOK_MS,
    lifeline: LIFELINE,
    marks: MARKS_FILE,
    position,
  };
  new Worker(`(${guard})(require, ${JSON.stringify(known)})`, {
    eval: true,
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
  }).unref();
}

/** What was needed to get here and is not for the plug-in: threads, writing of compiled code, the environment, others' processes. */
export function forbid(): void {
  // For the next start: nothing can be written later, and most processes end by a signal.
  flushCompileCache();
  const { permission } = process as unknown as { permission?: { drop?(scope: string): void } };
  permission?.drop?.('worker');
  permission?.drop?.('fs.write');
  // Replaced and not emptied: without its variable the zone of local times would be another one.
  process.env = {};
  syncBuiltinESMExports();
  forbidSignals(process as unknown as Record<'kill' | '_kill', Kill>);
}

type Kill = (pid: number, signal?: string | number) => unknown;

function forbidSignals(own: Record<'kill' | '_kill', Kill>): void {
  // The second is what the first calls.
  for (const name of ['kill', '_kill'] as const) {
    const send = own[name];
    own[name] = (pid, signal) => {
      if (pid !== process.pid) throw new Error('a plug-in may not signal other processes');
      return send.call(process, pid, signal);
    };
  }
}

interface Known {
  memoryLimitBytes: number;
  lookMs: number;
  lifeline: number;
  marks: number;
  position: number;
}

/** Knows nothing of this file but what it is given. */
function guard(require: NodeJS.Require, known: Known): void {
  const { writeSync } = require('node:fs') as typeof import('node:fs');
  const { Socket } = require('node:net') as typeof import('node:net');
  const end = () => process.kill(process.pid, 'SIGKILL');
  new Socket({ fd: known.lifeline, readable: true, writable: false })
    .on('error', () => {})
    .on('close', end)
    .resume();
  setInterval(() => {
    if (process.memoryUsage.rss() <= known.memoryLimitBytes) return;
    writeSync(known.marks, new BigInt64Array([1n]), 0, 8, known.position);
    end();
  }, known.lookMs);
}
