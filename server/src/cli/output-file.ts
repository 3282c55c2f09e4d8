/**
 * Where records are written: standard output, or a file that appears under its name only when it is
 * whole. Such files hold personal data, so only their owner may read them.
 */
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import type { Context } from './context.ts';
import { CommandFailure, EXIT } from './exit.ts';

export interface Output extends AsyncDisposable {
  write(text: string): Promise<void>;
  /** Makes the file appear. Without it nothing stays. */
  finish(): Promise<void>;
}

/** @param path undefined or `-` is standard output */
export async function openOutput({ terminal }: Context, path: string | undefined): Promise<Output> {
  if (path === undefined || path === '-') {
    return {
      write: (text) => terminal.write(text),
      async finish() {},
      async [Symbol.asyncDispose]() {},
    };
  }
  const part = `${path}.part`;
  let file: FileHandle | undefined = await attempt(path, () => open(part, 'w', 0o600));
  return {
    write: (text) => attempt(path, async () => void (await file?.appendFile(text))),
    async finish() {
      await attempt(path, async () => {
        await file?.sync();
        await file?.close();
        file = undefined;
        await rename(part, path);
      });
    },
    async [Symbol.asyncDispose]() {
      if (file === undefined) return;
      await file.close();
      await rm(part, { force: true });
    },
  };
}

async function attempt<Value>(path: string, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (error) {
    throw new CommandFailure(EXIT.failed, `${path} cannot be written: ${(error as Error).message}`);
  }
}
