/**
 * A helper process of a benchmark that is asked one thing after another: `startHelper` forks it,
 * `serve` is its other end. It ends with its parent.
 */
import { fork } from 'node:child_process';
import { stop } from './server.ts';

/** What a helper can be asked for, by name. */
export type Helper = Record<string, (argument: never) => unknown>;

export interface HelperProcess<H extends Helper> extends AsyncDisposable {
  ask<Name extends keyof H & string>(
    name: Name,
    argument: Parameters<H[Name]>[0],
  ): Promise<Awaited<ReturnType<H[Name]>>>;
}

interface Question {
  id: number;
  name: string;
  argument: unknown;
}
type Answer = { id: number; value: unknown } | { id: number; error: string };

/** @param file of the helper, which calls `serve` */
export function startHelper<H extends Helper>(file: string): HelperProcess<H> {
  const child = fork(file, { execArgv: [] });
  const waiting = new Map<number, { resolve(value: never): void; reject(error: Error): void }>();
  let last = 0;
  child.on('message', (answer: Answer) => {
    const asked = waiting.get(answer.id);
    waiting.delete(answer.id);
    if ('error' in answer) asked?.reject(new Error(answer.error));
    else asked?.resolve(answer.value as never);
  });
  child.on('exit', (code, signal) => {
    for (const { reject } of waiting.values())
      reject(new Error(`${file} ended early (${signal ?? code})`));
  });
  return {
    ask: (name, argument) =>
      new Promise((resolve, reject) => {
        waiting.set(++last, { resolve, reject });
        child.send({ id: last, name, argument } satisfies Question);
      }),
    [Symbol.asyncDispose]: () => stop(child),
  };
}

export function serve(helper: Helper): void {
  const answer = (message: Answer): void => void process.send?.(message);
  process.once('disconnect', () => process.exit(0));
  process.on('message', async ({ id, name, argument }: Question) => {
    try {
      answer({ id, value: await helper[name]?.(argument as never) });
    } catch (error) {
      answer({ id, error: error instanceof Error ? error.message : String(error) });
    }
  });
}
