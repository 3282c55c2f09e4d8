/** Work on a stream of items, several at a time. */

/**
 * Takes the next item when one of the `concurrency` before it is done. The first error ends it: what
 * is under way is waited for, nothing more is taken, and the error is thrown.
 */
export async function forEachConcurrent<Item>(
  items: AsyncIterable<Item>,
  concurrency: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.asyncIterator]();
  let ended = false;
  let failure: { error: unknown } | undefined;
  async function lane(): Promise<void> {
    while (!ended) {
      try {
        const next = await iterator.next();
        if (next.done) {
          ended = true;
          return;
        }
        await work(next.value);
      } catch (error) {
        ended = true;
        failure ??= { error };
      }
    }
  }
  await Promise.all(Array.from({ length: concurrency }, lane));
  await iterator.return?.();
  if (failure) throw failure.error;
}
