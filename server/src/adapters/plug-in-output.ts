/**
 * What the process of a plug-in writes to its standard output and error, as lines of the service's log:
 * bounded in length and rate, without the secrets of its accounts. It is read slowly when there is too
 * much of it: a plug-in that writes without end waits for itself.
 */
import type { Readable } from 'node:stream';
import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock.ts';
import { withoutSecrets } from '../secret-text.ts';

const LONGEST_LINE = 2000;
/** Per second; what is more is counted and left out. */
const LINES_PER_SECOND = 50;
const BYTES_PER_SECOND = 1024 * 1024;
const SECOND_MS = 1000;

export type PlugInLog = Pick<Logger, 'error' | 'warn' | 'info'>;

export interface PlugInOutputOptions {
  name: string;
  log: PlugInLog | undefined;
  clock: Clock;
  /** Asked at every line: accounts come and go. */
  secrets(): readonly string[];
}

export class PlugInOutput {
  readonly #options: PlugInOutputOptions;
  readonly #streams: Readable[] = [];
  #bytes = 0;
  #lines = 0;
  #leftOut = 0;
  #second: Timer | undefined;
  #outOfMemory = false;

  constructor(options: PlugInOutputOptions) {
    this.#options = options;
  }

  /** V8 has said that the heap is full: it ends the process right after. */
  get outOfMemory(): boolean {
    return this.#outOfMemory;
  }

  read(stream: Readable, level: 'info' | 'warn'): void {
    let started = '';
    this.#streams.push(stream);
    stream.setEncoding('utf8');
    stream.on('error', () => {});
    stream.on('data', (text: string) => {
      this.#count(text.length);
      if (text.includes('heap out of memory')) this.#outOfMemory = true;
      const lines = (started + text).split('\n');
      started = (lines.pop() as string).slice(0, LONGEST_LINE);
      for (const line of lines) this.#line(level, line);
    });
    stream.on('end', () => this.#line(level, started));
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#second ??= this.#options.clock.after(SECOND_MS, () => this.#nextSecond());
    if (this.#bytes > BYTES_PER_SECOND) for (const stream of this.#streams) stream.pause();
  }

  #nextSecond(): void {
    const { name, log } = this.#options;
    if (this.#leftOut > 0)
      log?.warn({ plugIn: name, lines: this.#leftOut }, 'a plug-in writes more than is logged');
    this.#second = undefined;
    this.#bytes = this.#lines = this.#leftOut = 0;
    for (const stream of this.#streams) stream.resume();
  }

  #line(level: 'info' | 'warn', line: string): void {
    if (line.trim() === '') return;
    if (++this.#lines > LINES_PER_SECOND) {
      this.#leftOut++;
      return;
    }
    const { name, log, secrets } = this.#options;
    log?.[level]({ plugIn: name }, withoutSecrets(line, secrets()).slice(0, LONGEST_LINE));
  }
}
