/**
 * The tool of F1 must be able to fail: against a program that acknowledges before its write is
 * durable it has to find losses, and none against one that does it right.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import {
  type Acknowledged,
  type CutResult,
  chooseCuts,
  type Inspection,
  replay,
} from '../support/cut.ts';
import { HttpClient } from '../support/http-client.ts';
import { Disk } from '../support/power-loss.ts';
import { answersOf, type Call, readSyscallLog, type Step, strace } from '../support/syscall-log.ts';
import { within } from '../support/within.ts';

const WRITER = join(import.meta.dirname, '../support/programs/durable-writer.ts');
const ROWS = 120;
const CUTS = 150;
const SEED = 7;

test('the power-loss tool finds what synchronous=OFF loses', async (t) => {
  const found = await cutTheWriter('OFF');
  t.diagnostic(describe(found));
  assert.ok(found.withLosses > CUTS / 2, describe(found));
  assert.ok(found.mostLost > 10, describe(found));
});

test('the power-loss tool finds what synchronous=NORMAL loses', async (t) => {
  const found = await cutTheWriter('NORMAL');
  t.diagnostic(describe(found));
  assert.ok(found.withLosses > CUTS / 2, describe(found));
  assert.ok(found.mostLost > 5, describe(found));
});

test('the power-loss tool finds nothing to blame in synchronous=FULL', async (t) => {
  const found = await cutTheWriter('FULL');
  t.diagnostic(describe(found));
  assert.deepEqual({ losses: found.withLosses, faults: found.faults }, { losses: 0, faults: [] });
});

function describe({ images, withLosses, mostLost, withFaults }: CutResult): string {
  return `${images} images, ${withLosses} with losses (up to ${mostLost}), ${withFaults} with faults`;
}

async function cutTheWriter(synchronous: string): Promise<CutResult> {
  const scratch = mkdtempSync(join(tmpdir(), 'tidings-f1-'));
  try {
    const folder = join(scratch, 'data');
    const log = join(scratch, 'syscalls');
    mkdirSync(folder);
    await runWriter(folder, synchronous, log);
    const steps = readSyscallLog(log, Disk.follows(folder));
    const acknowledged = answersOf(steps)
      .filter(({ status }) => status === 202)
      .map(({ step, body }): Acknowledged => ({ step, id: JSON.parse(body).id }));
    assert.equal(acknowledged.length, ROWS, 'the log holds every answer');
    const cuts = chooseCuts(steps, acknowledged, { count: CUTS, seed: SEED });
    return replay({ steps, folder, acknowledged, cuts, seed: SEED, inspect });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function runWriter(folder: string, synchronous: string, log: string): Promise<void> {
  const [command, ...prefix] = strace({ log }) as [string, ...string[]];
  const child = spawn(command, [...prefix, process.execPath, WRITER, folder, synchronous], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: process.env['PATH'], UV_USE_IO_URING: '0' },
  });
  const exited = once(child, 'exit');
  using client = new HttpClient(4);
  let url = '';
  try {
    const [line] = (await within(30, 'the start', once(child.stdout, 'data'))) as [Buffer];
    const { port } = JSON.parse(String(line)) as { port: number };
    url = `http://127.0.0.1:${port}/`;
    const work = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) await client.call(url, { body: {} });
    };
    await Promise.all([1, 2, 3, 4].map(() => work(ROWS / 4)));
  } finally {
    // strace ends with the program, and has then written its log to the end.
    await client.call(url).catch(() => {});
    await within(30, 'the end', exited);
  }
}

function inspect(image: string): Inspection {
  const path = join(image, 'rows.db');
  const ids = new Set<string>();
  if (!existsSync(path)) return { faults: [], ids };
  const database = new DatabaseSync(path);
  try {
    const check = database.prepare('PRAGMA integrity_check').get() as { integrity_check: string };
    const table = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'row'").get();
    for (const { id } of table ? database.prepare('SELECT id FROM row').all() : [])
      ids.add(`row-${id}`);
    return { faults: check.integrity_check === 'ok' ? [] : [check.integrity_check], ids };
  } catch (error) {
    return { faults: [String(error)], ids };
  } finally {
    database.close();
  }
}

test('pages that a failed sync has given up come back with the next write to them, once', () => {
  const disk = new Disk('/d');
  const path = '/d/a';
  const page = (letter: string): Buffer => Buffer.alloc(4096, letter);
  const write = (data: Buffer, offset: number): void => {
    const call: Call = { kind: 'write', fd: 5, path, offset, data, written: data.length };
    for (const phase of ['begin', 'end'] as const) disk.apply({ phase, thread: 1, call });
  };
  const sync = (failed: boolean): void => {
    const call: Call = { kind: 'sync', fd: 5, path, failed };
    for (const phase of ['begin', 'end'] as const) disk.apply({ phase, thread: 1, call });
  };
  const open: Call = { kind: 'open', path, create: true, truncate: false, append: false, fd: 5 };
  disk.apply({ phase: 'end', thread: 1, call: open });
  const scratch = mkdtempSync(join(tmpdir(), 'tidings-f1-'));
  const certain = (): string => {
    const image = mkdtempSync(join(scratch, 'image-'));
    disk.writeImage(image);
    const content = readFileSync(join(image, 'a'), 'latin1');
    return content.replace(
      /(.)\1+/gs,
      (run, letter) => `${letter === '\0' ? '-' : letter}${run.length}`,
    );
  };
  try {
    write(Buffer.concat([page('a'), page('b'), page('c')]), 0);
    sync(true);
    write(Buffer.from('BB'), 4096);
    sync(false);
    assert.equal(
      certain(),
      '-4096B2b4094',
      'the page that was written again, as the program sees it',
    );
    write(Buffer.from('XX'), 4098);
    sync(false);
    assert.equal(certain(), '-4096B2X2b4092', 'and nothing older over it');
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});

const THREADS_LOG = `100  openat(AT_FDCWD</x>, "${hex('/d/a')}", O_RDWR|O_CREAT|O_CLOEXEC, 0644 <unfinished ...>
101  close(9</y>) = 0
100  <... openat resumed>)             = 5<${hex('/d/a')}>
100  pwrite64(5<${hex('/d/a')}>, "${hex('one')}", 3, 0) = 3
101  pwrite64(5<${hex('/d/a')}>, "${hex('two')}", 3, 3 <unfinished ...>
100  fsync(5<${hex('/d/a')}> <unfinished ...>
101  <... pwrite64 resumed>)            = 3
100  <... fsync resumed>)               = 0
102  writev(7<${hex('socket:[1]')}>, [{iov_base="${hex('HTTP/1.1 202 A\r\ncontent-length: 3\r\n\r\n')}", iov_len=9}, {iov_base="${hex('id1')}", iov_len=3}], 2) = 40
100  fsync(5<${hex('/d/a')}>) = -1 EIO (Input/output error) (INJECTED)
100  fsync(5<${hex('/d/a')}>) = 0
100  +++ exited with 0 +++
`;

function hex(text: string): string {
  return Buffer.from(text).toString('hex').replace(/../g, '\\x$&');
}

test('calls of several threads are taken apart, and a failed sync is never made up for', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'tidings-f1-'));
  try {
    const log = join(scratch, 'syscalls');
    writeFileSync(log, THREADS_LOG);
    const steps = readSyscallLog(log, Disk.follows('/d'));
    const [answer] = answersOf(steps);
    assert.deepEqual({ status: answer?.status, body: answer?.body }, { status: 202, body: 'id1' });
    const certainAfter = (count: number): string | undefined =>
      certainContent(scratch, steps.slice(0, count));
    const ends = steps.flatMap(({ phase, call }, i) =>
      call.kind === 'sync' && phase === 'end' ? [i + 1] : [],
    );
    assert.equal(certainAfter(0), undefined, 'a file that was never synced is not there');
    assert.equal(
      certainAfter(ends[0] as number),
      'one',
      'a write that ends after the sync began is not covered',
    );
    assert.equal(certainAfter(ends[1] as number), 'one', 'a failed sync covers nothing');
    assert.equal(
      certainAfter(ends[2] as number),
      'one',
      'nor does the next one cover what it failed to write',
    );
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});

const DEATH_LOG = `100  openat(AT_FDCWD</x>, "${hex('/d/a')}", O_RDWR|O_CREAT|O_CLOEXEC, 0644) = 5<${hex('/d/a')}>
100  fsync(5<${hex('/d/a')}>)             = 0
101  write(7<${hex('socket:[1]')}>, "${hex('HTTP/1.1 202 A\r\ncontent-length: 3\r\n\r\nid1')}", 40 <unfinished ...>) = ?
102  write(8<${hex('socket:[2]')}>, "${hex('HTTP/1.1 202 A\r\ncontent-length: 3\r\n\r\nid2')}", 40 <unfinished ...>
100  pwrite64(5<${hex('/d/a')}>, "${hex('one')}", 3, 0 <unfinished ...>) = ?
102  <... write resumed>)               = ?
101  +++ killed by SIGKILL +++
102  +++ killed by SIGKILL +++
100  +++ killed by SIGKILL +++
`;

test('what the program was doing when it died may have happened, and is judged as if it had', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'tidings-f1-'));
  try {
    const log = join(scratch, 'syscalls');
    writeFileSync(log, DEATH_LOG);
    const steps = readSyscallLog(log, Disk.follows('/d'));
    assert.deepEqual(
      answersOf(steps).map(({ body }) => body),
      ['id1', 'id2'],
    );
    assert.equal(certainContent(scratch, steps), '', 'but none of it is certain');
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});

function certainContent(scratch: string, steps: readonly Step[]): string | undefined {
  const disk = new Disk('/d');
  for (const step of steps) disk.apply(step);
  const image = mkdtempSync(join(scratch, 'image-'));
  disk.writeImage(image);
  return existsSync(join(image, 'a')) ? readFileSync(join(image, 'a'), 'utf8') : undefined;
}
