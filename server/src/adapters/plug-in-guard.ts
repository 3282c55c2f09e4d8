/**
 * Watches over the process of a plug-in from a thread of its own within it, which also runs while the
 * plug-in loops: ends the process when the engine is gone, by whatever means, and when the process needs
 * more memory than any plug-in should, buffers included. It is no wall: a plug-in that wants to can end it.
 */
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { workerData } from 'node:worker_threads';
import { LIFELINE, MARK_BYTES, MARKS_FILE, TOO_LARGE } from './plug-in-protocol.ts';

/** Often enough that a plug-in which fills buffers as fast as it can has not got a GB further. */
const LOOK_MS = 100;

const { memoryLimitBytes } = workerData as { memoryLimitBytes: number };

new Socket({ fd: LIFELINE, readable: true, writable: false })
  .on('error', () => {})
  .on('close', end)
  .resume();

setInterval(() => {
  if (process.memoryUsage.rss() <= memoryLimitBytes) return;
  writeSync(MARKS_FILE, new BigInt64Array([1n]), 0, MARK_BYTES, TOO_LARGE * MARK_BYTES);
  end();
}, LOOK_MS);

function end(): void {
  process.kill(process.pid, 'SIGKILL');
}
