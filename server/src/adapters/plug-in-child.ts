/**
 * The child process that a plug-in runs in, with its pipes: frames go in and come out, and in the end
 * there is one cause of it. What the frames mean, and whether it hangs, is for plug-in-process.ts.
 */
import type { ChildProcess } from 'node:child_process';
import { closeSync, readSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { type Clock, delay } from '../clock.ts';
import { PlugInOutput, type PlugInOutputOptions } from './plug-in-output.ts';
import {
  FRAME_LIMIT,
  FROM_ENGINE,
  FrameReader,
  frameOf,
  MARKS,
  TO_ENGINE,
  TOO_LARGE,
  type ToPlugIn,
  textOf,
} from './plug-in-protocol.ts';
import { HEAP_LIMIT_MB, MEMORY_LIMIT_MB, type PlugInFile, spawnPlugIn } from './plug-in-spawn.ts';

/** For the last of what it said to be read once it is gone: its pipe ends with it unless others hold it. */
const LAST_WORDS_MS = 1000;

export interface PlugInChildOptions extends PlugInOutputOptions, PlugInFile {
  clock: Clock;
  /** @throws Error when it should not have said that: it is killed, and nothing more of it is heard */
  received(message: unknown): void;
  /** Called once, when it is gone and all that it said has been read. */
  ended(cause: string): void;
}

export class PlugInChild {
  /** Resolves after `ended`. */
  readonly exited: Promise<void>;
  /** What it said of its end, if it is one. */
  lastWord: string | undefined;
  readonly #options: PlugInChildOptions;
  readonly #child: ChildProcess;
  readonly #toPlugIn: Duplex;
  readonly #fromPlugIn: Duplex;
  readonly #output: PlugInOutput;
  readonly #marks = new BigInt64Array(MARKS);
  /** Undefined once the process is gone. */
  #marksFile: number | undefined;
  #unwritten: Buffer[] = [];
  #deaf = false;
  /** Why it was killed, or how it ended. */
  #cause: string | undefined;

  /** @throws Error when no process can be started */
  constructor(options: PlugInChildOptions) {
    const { child, marks } = spawnPlugIn(options);
    this.#options = options;
    this.#child = child;
    this.#marksFile = marks;
    this.#output = new PlugInOutput(options);
    if (child.stdout) this.#output.read(child.stdout, 'info');
    if (child.stderr) this.#output.read(child.stderr, 'warn');
    this.#toPlugIn = child.stdio[FROM_ENGINE] as Duplex;
    this.#fromPlugIn = child.stdio[TO_ENGINE] as unknown as Duplex;
    for (const pipe of child.stdio) {
      // Its end is seen by that of the process.
      pipe?.on('error', () => {});
      unref(pipe);
    }
    const frames = new FrameReader(FRAME_LIMIT);
    this.#fromPlugIn.on('data', (chunk: Buffer) => this.#read(frames, chunk));
    this.exited = this.#end();
  }

  /** Whether it is, or is about to be, gone. */
  get ending(): boolean {
    return this.#cause !== undefined;
  }

  /** Keeps the service alive, as it does from its start on. */
  ref(): void {
    this.#child.ref();
    (this.#fromPlugIn as Duplex & { ref(): void }).ref();
  }

  unref(): void {
    this.#child.unref();
    unref(this.#fromPlugIn);
  }

  /**
   * What is posted in one go is written in one go. What the process does not read waits here: no more than
   * the attempts under way, and a few words about them.
   * @throws DataCloneError when it is no plain data
   */
  post(message: ToPlugIn): void {
    if (this.#unwritten.push(frameOf(message)) > 1) return;
    setImmediate(() => {
      const frames = this.#unwritten;
      this.#unwritten = [];
      if (!this.#toPlugIn.destroyed) this.#toPlugIn.write(Buffer.concat(frames));
    });
  }

  /** What it last did; also when it is gone. */
  marks(): BigInt64Array {
    const { byteLength } = this.#marks;
    if (this.#marksFile !== undefined) readSync(this.#marksFile, this.#marks, 0, byteLength, 0);
    return this.#marks;
  }

  /** No code of it, native or not, can withstand that. What it has said by then still counts. */
  kill(cause: string): void {
    this.#cause ??= cause;
    this.#child.kill('SIGKILL');
  }

  #read(frames: FrameReader, chunk: Buffer): void {
    if (this.#deaf) return;
    try {
      for (const message of frames.read(chunk)) this.#options.received(message);
    } catch (error) {
      this.#deaf = true;
      this.kill(`the plug-in said what it should not: ${textOf(error)}`);
    }
  }

  async #end(): Promise<void> {
    const child = this.#child;
    const silent = new Promise<void>((resolve) => this.#fromPlugIn.once('close', resolve));
    await new Promise<void>((resolve) => {
      child.once('exit', (code, signal) => {
        this.#cause ??= this.#causeOf(code, signal);
        resolve();
      });
      child.once('error', (error) => {
        if (child.pid !== undefined) return;
        this.#cause ??= `the plug-in cannot be started: ${textOf(error)}`;
        resolve();
      });
    });
    await Promise.race([silent, delay(this.#options.clock, LAST_WORDS_MS)]);
    const marks = this.marks();
    closeSync(this.#marksFile as number);
    this.#marksFile = undefined;
    this.#toPlugIn.destroy();
    this.#fromPlugIn.destroy();
    this.#options.ended(
      marks[TOO_LARGE] === 0n
        ? String(this.#cause)
        : `the plug-in needed more than ${MEMORY_LIMIT_MB} MB of memory`,
    );
  }

  #causeOf(code: number | null, signal: NodeJS.Signals | null): string {
    if (this.#output.outOfMemory)
      return `the plug-in needed more than ${HEAP_LIMIT_MB} MB of memory`;
    if (this.lastWord !== undefined) return this.lastWord;
    if (signal === null) return `the plug-in ended its process (${code})`;
    return `the plug-in was ended by ${signal}`;
  }
}

function unref(pipe: unknown): void {
  (pipe as { unref?(): void } | null)?.unref?.();
}
