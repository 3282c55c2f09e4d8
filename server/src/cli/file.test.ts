/** Files of records, and what is done with streams of them. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { forEachConcurrent } from './concurrent.ts';
import { CsvReader, csvLine } from './csv.ts';
import { CommandFailure, EXIT } from './exit.ts';
import { type Format, openRecords, type SourceRecord } from './record-file.ts';
import { readAll } from './standard-input.ts';
import { userCsvHeading, userCsvLine, userRequest } from './user-row.ts';

function rowsOf(text: string, pieces = [text.length]): { line: number; cells: string[] }[] {
  const reader = new CsvReader({ longest: 10_000 });
  const rows = [];
  let at = 0;
  for (const piece of pieces) {
    rows.push(...reader.push(text.slice(at, at + piece)));
    at += piece;
  }
  rows.push(...reader.push(text.slice(at)), ...reader.end());
  return rows;
}

describe('CSV', () => {
  test('quotes, line breaks within them, and lines of every kind', () => {
    assert.deepEqual(rowsOf('a,"b ""x""",\r\n\n"1\r\n2",,3\rlast,"",x'), [
      { line: 1, cells: ['a', 'b "x"', ''] },
      { line: 3, cells: ['1\r\n2', '', '3'] },
      { line: 5, cells: ['last', '', 'x'] },
    ]);
  });

  test('a row that is nothing but a quoted empty cell is a row', () => {
    assert.deepEqual(rowsOf('""\n'), [{ line: 1, cells: [''] }]);
  });

  test('what cannot be read names its line', () => {
    assert.throws(() => rowsOf('a\n"b'), /^RangeError: 2: the row has a quote that is not closed/);
    assert.throws(
      () => rowsOf('a\n"b"c'),
      /^RangeError: 2: the row has text after a closing quote/,
    );
    assert.throws(() => rowsOf('x'.repeat(10_001)), /^RangeError: 1: the row is longer/);
  });

  test('no cell is a formula to a spreadsheet, and each comes back as it was', () => {
    for (const cell of ['=cmd|x', '+49170', '-1', '@x', '\tx', "'=x", "''+1"]) {
      const line = csvLine([cell, 'plain']);
      assert.doesNotMatch(line, /^"?[=+\-@\t]/);
      assert.deepEqual(rowsOf(line)[0]?.cells, [cell, 'plain']);
    }
  });

  test('any cells come back, however the text is cut into pieces', () => {
    const cell = fc.string({
      unit: fc.constantFrom('a', ',', '"', '\r', '\n', "'", '=', '李', ' '),
    });
    const row = fc.array(cell, { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(row, { maxLength: 5 }), fc.array(fc.nat(7)), (rows, pieces) => {
        // A single empty cell is an empty line, which is passed over.
        const written = rows.filter((cells) => cells.length > 1 || cells[0] !== '');
        const text = written.map(csvLine).join('');
        assert.deepEqual(
          rowsOf(text, pieces).map(({ cells }) => cells),
          written,
        );
      }),
    );
  });
});

async function read(
  content: string | Buffer,
  { name = 'x.ndjson', format, needed }: { name?: string; format?: Format; needed?: string } = {},
): Promise<SourceRecord[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-cli-'));
  try {
    const path = join(folder, name);
    writeFileSync(path, content);
    const records: SourceRecord[] = [];
    const file = openRecords(path, format, Readable.from([]), { needed });
    for await (const record of file) records.push(record);
    assert.equal(file.position, file.size);
    return records;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function failure(exitCode: number, pattern: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof CommandFailure, String(error));
    assert.equal(error.exitCode, exitCode);
    assert.match([error.message, ...error.notes].join('\n'), pattern);
    return true;
  };
}

describe('files of records', () => {
  test('NDJSON: a line that is no JSON is a fault of its own', async () => {
    const [first, second, third, ...rest] = await read('\ufeff{"a":1}\n\nnonsense\n"x"');
    assert.deepEqual(first, { line: 1, value: { a: 1 } });
    assert.equal(second?.line, 3);
    assert.match((second as { fault: string }).fault, /is not JSON/);
    assert.deepEqual(third, { line: 4, value: 'x' });
    assert.deepEqual(rest, []);
  });

  test('CSV: rows as objects by heading, empty cells left out, a wrong number of cells a fault', async () => {
    assert.deepEqual(await read('\ufeffid, email\r\n1,a@b.c\r\n2,\r\n3\r\n', { name: 'x.csv' }), [
      { line: 2, value: { id: '1', email: 'a@b.c' } },
      { line: 3, value: { id: '2' } },
      { line: 4, fault: 'has 1 cells under 2 headings' },
    ]);
  });

  test('what is wrong with the file as a whole ends it', async () => {
    await assert.rejects(
      read('a,a\n', { name: 'x.csv' }),
      failure(EXIT.failed, /two columns are named "a"/),
    );
    await assert.rejects(
      read('a,\n', { name: 'x.csv' }),
      failure(EXIT.failed, /a column has no name/),
    );
    await assert.rejects(
      read('name,email\nAda,a@b.c\nBob,b@b.c\n', { name: 'x.csv', needed: 'id' }),
      failure(EXIT.failed, /x\.csv: there is no column id; columns: name, email$/),
    );
    await assert.rejects(read('', { name: 'x.csv' }), failure(EXIT.nothing, /is empty/));
    await assert.rejects(
      read('a\n"b', { name: 'x.csv' }),
      failure(EXIT.failed, /x\.csv:2: the row has a quote/),
    );
    await assert.rejects(read(Buffer.from([0xc3, 0x28, 0x0a])), failure(EXIT.failed, /not UTF-8/));
    await assert.rejects(read(Buffer.from([0x22, 0xe6, 0x9d])), failure(EXIT.failed, /not UTF-8/));
    await assert.rejects(
      read(`"${'x'.repeat(5_000_000)}"`),
      failure(EXIT.failed, /line 1 is longer/),
    );
    await assert.rejects(read('', { name: 'x.txt' }), failure(EXIT.usage, /--format/));
    assert.deepEqual(await read('{"a":1}', { name: 'x.txt', format: 'ndjson' }), [
      { line: 1, value: { a: 1 } },
    ]);
  });

  test('a file that is not there, and a folder', () => {
    const stdin = Readable.from([]);
    assert.throws(
      () => openRecords('/does/not/exist.csv', undefined, stdin),
      failure(EXIT.usage, /cannot be read/),
    );
    const folder = join(mkdtempSync(join(tmpdir(), 'tidings-cli-')), 'a.csv');
    mkdirSync(folder);
    assert.throws(
      () => openRecords(folder, undefined, stdin),
      failure(EXIT.usage, /it is a folder/),
    );
    rmSync(folder, { recursive: true });
  });

  test('standard input is read as it comes', async () => {
    const records = [];
    const stdin = Readable.from([Buffer.from('{"a":'), Buffer.from('"李'), Buffer.from('"}\n')]);
    for await (const record of openRecords('-', undefined, stdin)) records.push(record);
    assert.deepEqual(records, [{ line: 1, value: { a: '李' } }]);
  });

  test('standard input as one text has a limit', async () => {
    assert.equal(await readAll(Readable.from([Buffer.from('ab')]), 2), 'ab');
    await assert.rejects(
      readAll(Readable.from([Buffer.from('abc')]), 2),
      failure(EXIT.usage, /longer than/),
    );
  });
});

describe('users as lines', () => {
  const user = {
    id: 'u,1',
    name: '=Ada',
    locale: null,
    timezone: 'Asia/Shanghai',
    addresses: [{ channel: 'email', address: 'a@b.c' }],
    groups: ['staff', 'ops'],
    attributes: { plan: { name: 'pro' } },
    preferences: { channels: { sms: false } },
    createdAt: '2026-11-22T08:00:00Z',
    updatedAt: '2026-11-22T08:00:00Z',
  };
  const { id, createdAt, updatedAt, locale, ...body } = user;

  test('an exported user comes back, from NDJSON and from CSV', () => {
    assert.deepEqual(userRequest(user), { id, body });
    const [heading, row] = rowsOf(userCsvHeading + userCsvLine(user));
    const filled = heading?.cells
      .map((name, i) => [name, row?.cells[i]])
      .filter(([, cell]) => cell !== '');
    assert.deepEqual(userRequest(Object.fromEntries(filled ?? [])), { id, body });
  });

  test('columns of people: channels, groups in one cell, attributes by name', () => {
    const row = {
      id: '1',
      email: 'a@b.c',
      in_app: 'x',
      groups: 'a; b,c',
      'attributes.plan.name': 'pro',
      'attributes.n': '1',
    };
    assert.deepEqual(userRequest(row), {
      id: '1',
      body: {
        groups: ['a', 'b', 'c'],
        attributes: { plan: { name: 'pro' }, n: '1' },
        addresses: [
          { channel: 'email', address: 'a@b.c' },
          { channel: 'in_app', address: 'x' },
        ],
      },
    });
  });

  test('what is no user says what it lacks', () => {
    assert.throws(() => userRequest(7), /is not a user/);
    assert.throws(() => userRequest({ id: 7 }), /id: must be a text/);
    assert.throws(() => userRequest({ id: '1', addresses: '[' }), /addresses: is not JSON/);
    assert.throws(
      () => userRequest({ id: '1', attributes: '{"a":"x"}', 'attributes.a.b': '1' }),
      /a\.b lies within a/,
    );
  });
});

describe('several at a time', () => {
  async function* numbers(count: number, taken: number[] = []): AsyncGenerator<number> {
    for (let i = 0; i < count; i++) {
      taken.push(i);
      yield i;
    }
  }

  test('never more than asked for, and all of them', async () => {
    let underWay = 0;
    let most = 0;
    const done: number[] = [];
    await forEachConcurrent(numbers(20), 3, async (n) => {
      most = Math.max(most, ++underWay);
      await new Promise((resolve) => setImmediate(resolve));
      underWay--;
      done.push(n);
    });
    assert.equal(most, 3);
    assert.deepEqual(
      done.sort((a, b) => a - b),
      [...Array(20).keys()],
    );
  });

  test('the first error ends it: what is under way ends, nothing more is taken', async () => {
    const taken: number[] = [];
    const ended: number[] = [];
    const work = forEachConcurrent(numbers(1000, taken), 4, async (n) => {
      await new Promise((resolve) => setImmediate(resolve));
      if (n === 5) throw new Error('five');
      ended.push(n);
    });
    await assert.rejects(work, /five/);
    assert.ok(taken.length < 20, `${taken.length} were taken`);
    assert.equal(ended.length, taken.length - 1);
  });

  test('an error of the source is thrown as well', async () => {
    async function* broken(): AsyncGenerator<number> {
      yield 1;
      throw new Error('source');
    }
    await assert.rejects(
      forEachConcurrent(broken(), 2, async () => {}),
      /source/,
    );
  });
});
