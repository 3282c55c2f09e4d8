import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openForWriting } from './connection.ts';
import { framesInLog } from './write-ahead-log.ts';

test('the frames of a log are those that SQLite counts, and begin anew with it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-log-'));
  try {
    const path = join(folder, 'a.db');
    assert.equal(framesInLog(path), 0);
    const database = openForWriting(path, { durability: 'full' });
    database.exec('CREATE TABLE t (a)');
    const insert = database.prepare('INSERT INTO t VALUES (randomblob(3000))');
    for (let i = 0; i < 200; i++) insert.run();
    const frames = framesInLog(path);
    const counted = database.prepare('PRAGMA wal_checkpoint(PASSIVE)').get();
    assert.equal(frames, counted?.['log']);
    assert.ok(frames >= 200);
    insert.run();
    assert.ok(framesInLog(path) < 10, 'the next write begins the log anew');
    database.close();
    assert.equal(framesInLog(path), 0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
