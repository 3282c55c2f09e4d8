/**
 * The raw store in a process of its own: node:sqlite, WAL, synchronous=FULL, groups of rows, one
 * COMMIT each, nothing else. Checkpoints are made as the service makes them: a thread runs PASSIVE
 * every 100 ms, and past 16,000 frames the writer runs one between two groups so that the WAL can
 * start over.
 */
import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { createHistogram } from 'node:perf_hooks';
import { DatabaseSync } from 'node:sqlite';
import { setImmediate as yieldToLoop } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Percentiles } from './load.ts';
import { percentilesOf } from './load-run.ts';

export interface StoreJob {
  directory: string;
  groupRows: number;
  rowBytes: number;
  /** Adds an index on a column of random users, for what it costs. */
  hasUserIndex: boolean;
  seconds: number;
  warmupSeconds: number;
}

export interface StoreResult {
  rows: number;
  seconds: number;
  rowsPerSecond: number;
  /** Of a group: from BEGIN until COMMIT has returned. */
  latency: Percentiles;
  totalRows: number;
}

/** `end` comes before the store is closed, which checkpoints all that is left. */
export type StoreMessage =
  | { type: 'measure' }
  | { type: 'end' }
  | { type: 'result'; result: StoreResult };

export interface StoreListener {
  onMeasure(pid: number): void;
  onEnd(): void;
}

const framesBeforeInlineCheckpoint = 16_000;

const checkpointer = `
const { workerData } = require('node:worker_threads');
const { DatabaseSync } = require('node:sqlite');
const database = new DatabaseSync(workerData.path);
const checkpoint = database.prepare('PRAGMA wal_checkpoint(PASSIVE)');
setInterval(() => Atomics.store(workerData.frames, 0, checkpoint.get().log), 100);
`;

export function startStore(job: StoreJob, listener: StoreListener): Promise<StoreResult> {
  const child = fork(import.meta.filename, { execArgv: [] });
  return new Promise((resolve, reject) => {
    child.on('message', (message: StoreMessage) => {
      if (message.type === 'measure') listener.onMeasure(child.pid as number);
      else if (message.type === 'end') listener.onEnd();
      else resolve(message.result);
    });
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`the store process ended early (${code})`)));
    child.send(job);
  });
}

async function runStore(
  job: StoreJob,
  tell: (message: StoreMessage) => void,
): Promise<StoreResult> {
  const path = join(job.directory, 'store.db');
  const database = new DatabaseSync(path);
  database.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 0;
    CREATE TABLE message (
      id INTEGER PRIMARY KEY, user INTEGER NOT NULL, state INTEGER NOT NULL,
      created_at INTEGER NOT NULL, content BLOB NOT NULL
    ) STRICT;
  `);
  if (job.hasUserIndex) database.exec('CREATE INDEX message_user ON message (user, id)');
  const frames = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(checkpointer, { eval: true, workerData: { path, frames } });

  const insert = database.prepare('INSERT INTO message VALUES (?, ?, 0, ?, ?)');
  const begin = database.prepare('BEGIN IMMEDIATE');
  const commit = database.prepare('COMMIT');
  const checkpoint = database.prepare('PRAGMA wal_checkpoint(PASSIVE)');
  const content = randomBytes(job.rowBytes);
  const histogram = createHistogram({ lowest: 1, highest: 600_000_000_000, figures: 3 });

  let id = 0;
  function writeGroup(): void {
    begin.run();
    for (let k = 0; k < job.groupRows; k++) {
      id++;
      insert.run(id, Math.imul(id, 0x9e3779b1) >>> 0, id, content);
    }
    commit.run();
    if (Atomics.load(frames, 0) > framesBeforeInlineCheckpoint) {
      checkpoint.get();
      Atomics.store(frames, 0, 0);
    }
  }
  async function writeFor(seconds: number, observe: (ms: number) => void): Promise<number> {
    const startMs = performance.now();
    let nowMs = startMs;
    for (let groups = 1; nowMs - startMs < seconds * 1000; groups++) {
      writeGroup();
      const doneMs = performance.now();
      observe(doneMs - nowMs);
      nowMs = doneMs;
      // Messages of the parent are read now and then, so that it can end this process.
      if (groups % 256 === 0) {
        await yieldToLoop();
        nowMs = performance.now();
      }
    }
    return (performance.now() - startMs) / 1000;
  }

  await writeFor(job.warmupSeconds, () => {});
  const firstId = id;
  tell({ type: 'measure' });
  const seconds = await writeFor(job.seconds, (ms) => histogram.record(Math.ceil(ms * 1e6)));
  const rows = id - firstId;
  tell({ type: 'end' });
  await worker.terminate();
  database.close();
  const latency = percentilesOf(histogram);
  return { rows, seconds, rowsPerSecond: rows / seconds, latency, totalRows: id };
}

if (import.meta.main && process.send !== undefined) {
  process.once('disconnect', () => process.exit(1));
  process.once('message', async (job: StoreJob) => {
    const result = await runStore(job, (message) => process.send?.(message));
    process.send?.({ type: 'result', result });
    process.removeAllListeners('disconnect');
    process.disconnect?.();
  });
}
