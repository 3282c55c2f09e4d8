/**
 * Files of records, read and written as streams: NDJSON (one JSON value per line) and CSV (RFC 4180,
 * with a heading line). A record that cannot be read is handed on as a fault with its line, so that
 * whoever reads goes on with the others; what is wrong with the file as a whole ends the reading.
 */
import { createReadStream, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { CsvReader } from './csv.ts';
import { CommandFailure, EXIT, usage } from './exit.ts';

export const FORMATS = ['ndjson', 'csv'] as const;
export type Format = (typeof FORMATS)[number];

/** One record of a file, or why it is none. */
export type SourceRecord<Value = unknown> =
  | { line: number; value: Value }
  | { line: number; fault: string };

/** Longest record: more than the service takes in one request. */
const LONGEST_RECORD = 4 * 1024 * 1024;

export interface RecordFile extends AsyncIterable<SourceRecord> {
  /** Path, or `standard input`. */
  readonly name: string;
  /** In bytes; undefined where it is not known. */
  readonly size: number | undefined;
  /** Bytes read so far. */
  readonly position: number;
}

/**
 * @param path `-` is standard input
 * @param format told by the name of the file unless given
 * @param options needed: a column without which no row of a CSV file can be read
 */
export function openRecords(
  path: string,
  format: Format | undefined,
  stdin: Readable,
  { needed }: { needed?: string } = {},
): RecordFile {
  const known = format ?? formatOf(path);
  let size: number | undefined;
  if (path !== '-') {
    try {
      const found = statSync(path);
      if (found.isDirectory()) throw new Error('it is a folder');
      if (found.isFile()) size = found.size;
    } catch (error) {
      throw usage(`${path} cannot be read: ${(error as Error).message}`);
    }
  }
  let position = 0;
  const name = path === '-' ? 'standard input' : path;
  async function* text(): AsyncGenerator<string> {
    const decoder = new TextDecoder('utf-8', { fatal: true });
    try {
      for await (const chunk of path === '-' ? stdin : createReadStream(path)) {
        position += (chunk as Buffer).length;
        yield decoder.decode(chunk as Buffer, { stream: true });
      }
      yield decoder.decode();
    } catch (error) {
      if (error instanceof TypeError) {
        throw new CommandFailure(EXIT.failed, `${name} is not UTF-8 text`, [
          'Save it as UTF-8; spreadsheets often write another encoding unless told.',
        ]);
      }
      throw new CommandFailure(EXIT.failed, `${name} cannot be read: ${(error as Error).message}`);
    }
  }
  return {
    name,
    size,
    get position() {
      return position;
    },
    [Symbol.asyncIterator]: () =>
      known === 'csv' ? csvRecords(text(), name, needed) : ndjsonRecords(text()),
  };
}

export function formatOf(path: string): Format {
  if (/\.csv$/i.test(path)) return 'csv';
  if (path === '-' || /\.(ndjson|jsonl|json)$/i.test(path)) return 'ndjson';
  throw usage(`${path}: its name does not tell its format`, 'Add --format csv or --format ndjson.');
}

async function* ndjsonRecords(text: AsyncIterable<string>): AsyncGenerator<SourceRecord> {
  let line = 0;
  let rest = '';
  for await (const chunk of text) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() as string;
    for (const each of lines) {
      line++;
      if (each.trim() !== '') yield parseLine(each, line);
    }
    if (rest.length > LONGEST_RECORD) throw tooLong(line + 1);
  }
  if (rest.trim() !== '') yield parseLine(rest, line + 1);
}

function parseLine(text: string, line: number): SourceRecord {
  try {
    return { line, value: JSON.parse(text) as unknown };
  } catch (error) {
    return { line, fault: `is not JSON: ${(error as Error).message}` };
  }
}

/** Rows as objects by heading; empty cells are left out. */
async function* csvRecords(
  text: AsyncIterable<string>,
  name: string,
  needed: string | undefined,
): AsyncGenerator<SourceRecord> {
  const reader = new CsvReader({ longest: LONGEST_RECORD });
  let headings: string[] | undefined;
  function* take(rows: Iterable<{ line: number; cells: string[] }>): Generator<SourceRecord> {
    for (const { line, cells } of rows) {
      if (headings === undefined) {
        headings = headingsOf(cells, name, needed);
      } else if (cells.length !== headings.length) {
        yield { line, fault: `has ${cells.length} cells under ${headings.length} headings` };
      } else {
        const filled = headings
          .map((heading, i) => [heading, cells[i]])
          .filter(([, cell]) => cell !== '');
        yield { line, value: Object.fromEntries(filled) as Record<string, string> };
      }
    }
  }
  try {
    for await (const chunk of text) yield* take(reader.push(chunk));
    yield* take(reader.end());
  } catch (error) {
    if (error instanceof RangeError)
      throw new CommandFailure(EXIT.failed, `${name}:${error.message}`);
    throw error;
  }
  if (headings === undefined) throw new CommandFailure(EXIT.nothing, `${name} is empty`);
}

function headingsOf(cells: readonly string[], name: string, needed: string | undefined): string[] {
  const headings = cells.map((cell) => cell.trim());
  const twice = headings.find((heading, i) => headings.indexOf(heading) !== i);
  if (twice !== undefined)
    throw new CommandFailure(EXIT.failed, `${name}:1: two columns are named "${twice}"`);
  if (headings.includes(''))
    throw new CommandFailure(EXIT.failed, `${name}:1: a column has no name`);
  if (needed !== undefined && !headings.includes(needed)) {
    throw new CommandFailure(
      EXIT.failed,
      `${name}: there is no column ${needed}; columns: ${headings.join(', ')}`,
    );
  }
  return headings;
}

function tooLong(line: number): CommandFailure {
  return new CommandFailure(
    EXIT.failed,
    `line ${line} is longer than ${LONGEST_RECORD} characters`,
  );
}
