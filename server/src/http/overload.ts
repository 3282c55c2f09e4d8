/**
 * Whether new work is taken. A service that is past its capacity answers 503 at once and keeps what
 * it accepted fast, rather than letting every request wait.
 */
import type { Clock, Timer } from '../clock.ts';
import { ServiceError } from '../errors.ts';
import type { Service } from '../lifecycle.ts';

const TICK_MS = 20;
/**
 * Writes that may wait for their commit however late the event loop is. Refusals alone can keep it
 * late: without these a crowd that comes back at once would be refused for ever, all of it.
 */
const ALWAYS_TAKEN = 500;

export interface OverloadOptions {
  clock: Clock;
  /** Longest delay of the event loop, in ms. */
  maxDelayMs: number;
  /** Most writes of this thread that may wait for their commit. */
  maxWaiting: number;
  waiting(): number;
  /** Why the store takes no writes. */
  failure(): ServiceError | undefined;
}

export interface Overload extends Service {
  /** Why a write is refused now; undefined when it is taken. */
  refusal(): ServiceError | undefined;
  /** From now on every write is refused. */
  close(): void;
  /** Delay of the event loop as last measured, in ms. */
  readonly delayMs: number;
}

export function createOverload(options: OverloadOptions): Overload {
  const { clock } = options;
  // Made once: making an error costs more than refusing a request.
  const overloaded = new ServiceError('overloaded', { retryAfterMs: 1000 });
  const shuttingDown = new ServiceError('shutting_down', { retryAfterMs: 1000 });
  let timer: Timer | undefined;
  let closed = false;
  let delayMs = 0;
  let before = 0;
  let expected = 0;
  return {
    name: 'overload',
    get delayMs() {
      return delayMs;
    },
    refusal() {
      if (closed) return shuttingDown;
      const failure = options.failure();
      if (failure) return failure;
      const waiting = options.waiting();
      const late = delayMs > options.maxDelayMs && waiting >= ALWAYS_TAKEN;
      return late || waiting > options.maxWaiting ? overloaded : undefined;
    },
    close() {
      closed = true;
    },
    async start() {
      expected = clock.monotonic() + TICK_MS;
      timer = clock.every(TICK_MS, () => {
        const now = clock.monotonic();
        const late = Math.max(0, now - expected);
        // One late turn is a garbage collection or a first use; two in a row are too much work.
        delayMs = Math.min(late, before);
        before = late;
        expected = now + TICK_MS;
      });
    },
    async stop() {
      timer?.cancel();
    },
  };
}
