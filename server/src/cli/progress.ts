/** Progress of anything long: a bar on stderr, where stderr is a terminal; nothing anywhere else. */
import { SingleBar } from 'cli-progress';
import type { Streams, Terminal } from './terminal.ts';

export interface Progress {
  /**
   * @param done how much of the total
   * @param count what is counted, where the total is in another unit (bytes of a file)
   */
  update(done: number, count?: number): void;
  stop(): void;
}

const NONE: Progress = {
  update() {},
  stop() {},
};

/** @param total undefined when nobody knows it */
export function startProgress(terminal: Terminal, label: string, total?: number): Progress {
  if (!terminal.showsProgress) return NONE;
  const { stderr } = terminal.streams;
  const bar = new SingleBar({
    format:
      total === undefined
        ? '{label} {count}'
        : '{label} [{bar}] {percentage}% {count} {eta_formatted}',
    stream: withoutCursorMemory(stderr),
    barsize: 24,
    fps: 8,
    // Trims to the terminal's width, and leaves the terminal as it is when it is interrupted.
    linewrap: true,
    clearOnComplete: true,
    emptyOnZero: true,
  });
  bar.start(total ?? 0, 0, { label, count: 0 });
  terminal.attach((write) => {
    stderr.write('\r\u001b[K');
    write();
    bar.render();
  });
  return {
    update: (done, count = done) => bar.update(done, { count }),
    stop() {
      terminal.attach(undefined);
      bar.stop();
    },
  };
}

/**
 * The bar would save the place of the cursor at its start and go back there in the end, over every
 * line that was written above it meanwhile.
 */
function withoutCursorMemory(stderr: Streams['stderr']): NodeJS.WritableStream {
  const memory = new Set(['\u001b7', '\u001b8']);
  const stream = {
    isTTY: true,
    get columns() {
      return stderr.columns || undefined;
    },
    write: (text: string) => memory.has(text) || stderr.write(text),
  };
  return stream as unknown as NodeJS.WritableStream;
}
