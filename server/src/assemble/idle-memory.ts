/**
 * What a start leaves behind, given back once the thread has come to rest. Loading and preparing make
 * much that is soon dropped, and the heap keeps the room it took for it: V8 makes a heap smaller only
 * where nothing happens at all, and here every thread has its timers. A start also leaves compiled
 * code that Node would write to its cache only at a clean end.
 *
 * Not done again after a burst of work: what is collected then has to be made anew by the next one,
 * which costs a quarter more CPU time for its first seconds (docs/decisions/013).
 */
import { flushCompileCache } from 'node:module';
import { type EventLoopUtilization, performance } from 'node:perf_hooks';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from '../clock.ts';

const LOOK_MS = 1000;
/** Share of its time that an idle thread is at work. Timers and signs of life take less than a hundredth. */
const IDLE = 0.05;
/** So long a silence that the next request is hardly due within the collection. */
const IDLE_LOOKS = 3;
/** Collecting takes 3 ms per MB in use, during which the thread does nothing else. */
const LARGEST_HEAP_BYTES = 64 * 1024 * 1024;

export function releaseMemoryAfterStart(clock: Clock): void {
  whenIdle(clock, workOfThisThread(), releaseMemory);
}

/** Calls back once, after the first looks in a row that find no work. */
export function whenIdle(clock: Clock, work: () => number, callback: () => void): void {
  let idleLooks = 0;
  const looks = clock.every(LOOK_MS, () => {
    idleLooks = work() < IDLE ? idleLooks + 1 : 0;
    if (idleLooks < IDLE_LOOKS) return;
    looks.cancel();
    callback();
  });
}

/** Share of its time that this thread was at work since the look before. */
function workOfThisThread(): () => number {
  let before: EventLoopUtilization = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return utilization;
  };
}

export function releaseMemory(): void {
  flushCompileCache();
  if (getHeapStatistics().used_heap_size > LARGEST_HEAP_BYTES) return;
  // Other kinds leave the young generation as large as it is, which is most of what there is to get.
  collector()?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

type Collect = (options: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void;

/**
 * The function that V8 has behind a flag. The flag is set for this look alone: while it is, compiled
 * code does not fit, Node's own included, and a start that has it takes a tenth of a second more.
 * Flags are the process's: when another thread looks at this very moment, there may be none.
 */
function collector(): Collect | undefined {
  setFlagsFromString('--expose-gc');
  try {
    return runInNewContext('globalThis.gc');
  } finally {
    setFlagsFromString('--no-expose-gc');
  }
}
