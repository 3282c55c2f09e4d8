/**
 * Limits that turn a hang into a failure with a name. They are generous: no test asserts how long
 * something took. What another process does can only be asked for, so `until` asks again and again.
 */

/** @param seconds after which the wait is given up with an error that names `what` */
export function within<Value>(
  seconds: number,
  what: string,
  promise: Promise<Value>,
): Promise<Value> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`${what} did not happen within ${seconds} s`)),
      seconds * 1000,
    );
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The first value of `probe` that is neither undefined nor false; what it throws counts as not yet. */
export async function until<Value>(
  what: string,
  probe: () => Value | undefined | false | Promise<Value | undefined | false>,
  { seconds = 60, everyMs = 20 }: { seconds?: number; everyMs?: number } = {},
): Promise<Value> {
  const end = performance.now() + seconds * 1000;
  let fault: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
      fault = undefined;
    } catch (error) {
      fault = error;
    }
    if (performance.now() > end) {
      throw new Error(`${what}: not within ${seconds} s`, { cause: fault });
    }
    await delay(everyMs);
  }
}
