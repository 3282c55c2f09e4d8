/**
 * What the command writes and asks. Data goes to stdout; progress, notes and errors go to stderr.
 * Colours and progress bars appear on a terminal only, and colours not with NO_COLOR.
 */
import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import type { Readable, Writable } from 'node:stream';
import { styleText } from 'node:util';
import { formatTable, printable } from './table.ts';

type MaybeTerminal = { isTTY?: boolean; columns?: number };

export interface Streams {
  stdin: Readable & MaybeTerminal;
  stdout: Writable & MaybeTerminal;
  stderr: Writable & MaybeTerminal;
  environment: Readonly<Record<string, string | undefined>>;
}

export type Colour = 'red' | 'green' | 'yellow' | 'dim' | 'bold';

export interface TerminalOptions {
  quiet: boolean;
  /** May people be asked? */
  interactive: boolean;
}

export class Terminal {
  readonly streams: Streams;
  readonly quiet: boolean;
  readonly #interactive: boolean;
  readonly #outColours: boolean;
  readonly #errorColours: boolean;
  /** Writes lines above the progress bar, while there is one. */
  #above: ((write: () => void) => void) | undefined;

  constructor(streams: Streams, { quiet, interactive }: TerminalOptions) {
    this.streams = streams;
    this.quiet = quiet;
    this.#interactive = interactive;
    const allowed = !streams.environment['NO_COLOR'] && streams.environment['TERM'] !== 'dumb';
    this.#outColours = allowed && streams.stdout.isTTY === true;
    this.#errorColours = allowed && streams.stderr.isTTY === true;
  }

  /** Whether progress is shown. */
  get showsProgress(): boolean {
    return !this.quiet && this.streams.stderr.isTTY === true;
  }

  /** Whether a person can be asked. */
  get canAsk(): boolean {
    return (
      this.#interactive && this.streams.stdin.isTTY === true && this.streams.stderr.isTTY === true
    );
  }

  /** Data, as it is. Resolves when more may be written, so that a slow reader holds the writer back. */
  async write(text: string): Promise<void> {
    const { stdout } = this.streams;
    let free = true;
    const write = (): void => {
      free = stdout.write(text);
    };
    if (stdout.isTTY && this.#above) this.#above(write);
    else write();
    if (!free) await once(stdout, 'drain');
  }

  /** @param above how to write while a progress bar stands in the last line */
  attach(above: ((write: () => void) => void) | undefined): void {
    this.#above = above;
  }

  #remark(text: string): void {
    const write = (): void => void this.streams.stderr.write(text);
    if (this.#above) this.#above(write);
    else write();
  }

  line(text = ''): Promise<void> {
    return this.write(`${text}\n`);
  }

  /**
   * Rows under headings; the cells may come from anywhere and are made harmless.
   * @param options status: the column that holds a status, which gets its colour
   */
  table(
    headings: readonly string[],
    rows: readonly (readonly string[])[],
    { status }: { status?: number } = {},
  ): Promise<void> {
    const { isTTY, columns } = this.streams.stdout;
    return this.write(
      formatTable(headings, rows, {
        width: (isTTY && columns) || undefined,
        heading: (text) => this.colour('bold', text),
        cell: (text, column) => (column === status ? this.colour(statusColour(text), text) : text),
      }),
    );
  }

  /** `name  value` per line; null values are left out. */
  async fields(pairs: readonly (readonly [string, string | null | undefined])[]): Promise<void> {
    const shown = pairs.filter(([, value]) => value !== null && value !== undefined);
    const width = Math.max(0, ...shown.map(([name]) => name.length));
    for (const [name, value] of shown) {
      await this.line(`${this.colour('dim', name.padEnd(width))}  ${printable(value as string)}`);
    }
  }

  /** A remark for people. */
  note(text: string): void {
    if (!this.quiet) this.#remark(`${printable(text)}\n`);
  }

  warn(text: string): void {
    this.#remark(`${this.errorColour('yellow', 'warning:')} ${printable(text)}\n`);
  }

  error(message: string, notes: readonly string[] = []): void {
    const lines = [`${this.errorColour('red', 'tidings:')} ${printable(message)}`];
    for (const note of notes) lines.push(`  ${printable(note)}`);
    this.#remark(`${lines.join('\n')}\n`);
  }

  colour(colour: Colour, text: string): string {
    return this.#outColours ? styleText(colour, text, { validateStream: false }) : text;
  }

  errorColour(colour: Colour, text: string): string {
    return this.#errorColours ? styleText(colour, text, { validateStream: false }) : text;
  }

  /** True for yes. Only where `canAsk`. */
  async confirm(question: string): Promise<boolean> {
    const lines = createInterface({ input: this.streams.stdin, output: this.streams.stderr });
    try {
      const answer = await lines.question(`${printable(question)} [y/N] `);
      return /^y(es)?$/i.test(answer.trim());
    } finally {
      lines.close();
    }
  }
}

/** `delivered` green, what failed red, what goes on yellow. */
export function statusColour(status: string): Colour {
  if (status === 'delivered' || status === 'sent') return 'green';
  if (status === 'failed' || status === 'expired') return 'red';
  return status === 'suppressed' || status === 'cancelled' ? 'dim' : 'yellow';
}
