import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { IdempotencyIndex } from './idempotency-index.ts';

const digest = (i: number): string => hash('sha256', `key ${i}`, 'base64url').slice(0, 22);
const has = (index: IdempotencyIndex, i: number): boolean =>
  index.candidates(digest(i)).includes(i);

function fill(index: IdempotencyIndex, from: number, to: number): void {
  for (let i = from; i <= to; i++) index.add(digest(i), i, i);
  index.committed();
}

function folder(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'tidings-index-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

describe('idempotency index', () => {
  it('finds every key over many segments, and hardly any other', () => {
    const index = new IdempotencyIndex(undefined);
    fill(index, 1, 300_000);
    for (let i = 1; i <= 300_000; i += 97) assert.ok(has(index, i), `key ${i}`);
    let candidates = 0;
    for (let i = 1_000_000; i < 1_010_000; i++) candidates += index.candidates(digest(i)).length;
    assert.ok(candidates < 50, `${candidates} false candidates in 10,000 look-ups`);
  });

  it('forgets what was rolled back, and nothing else', () => {
    const index = new IdempotencyIndex(undefined);
    fill(index, 1, 1000);
    for (let i = 1001; i <= 1100; i++) index.add(digest(i), i, i);
    index.rolledBack();
    for (let i = 1; i <= 1000; i++) assert.ok(has(index, i));
    for (let i = 1001; i <= 1100; i++) assert.ok(!has(index, i));
    fill(index, 1001, 1100);
    assert.ok(has(index, 1050));
  });

  it('drops the oldest when they have outlived the retention', () => {
    const index = new IdempotencyIndex(undefined);
    fill(index, 1, 100_000);
    index.expire(50_000, 1e9);
    assert.ok(!has(index, 1));
    assert.ok(has(index, 60_000));
    index.expire(1e12, 1e12);
    assert.ok(has(index, 100_000), 'the segment in use is kept');
  });

  it('is not kept from it by a clock that was wrong', () => {
    const index = new IdempotencyIndex(undefined);
    for (let i = 1; i <= 400_000; i++) index.add(digest(i), i, i < 1000 ? 1e12 : i);
    index.committed();
    index.expire(300_000, 1e9);
    assert.ok(!has(index, 1) && !has(index, 20_000) && !has(index, 60_000));
    assert.ok(has(index, 390_000));
  });

  it('goes on over more segments than one filter has bits, and forgets whole filters', () => {
    const index = new IdempotencyIndex(undefined);
    // Of 2^14, 2^16 and then 2^18 slots, 0.7 of each: 40 of them.
    const keys = 7_000_000;
    for (let i = 1; i <= keys; i++) {
      index.add(digest(i), i, i);
      if (i % 1000 === 0) index.committed();
    }
    for (let i = 1; i <= keys; i += 9973) assert.ok(has(index, i), `key ${i}`);
    index.expire(6_500_000, 1e9);
    assert.ok(!has(index, 1) && !has(index, 6_000_000));
    for (let i = 6_500_000; i <= keys; i += 997) assert.ok(has(index, i), `key ${i}`);
    fill(index, keys + 1, keys + 300_000);
    assert.ok(has(index, keys + 1) && has(index, keys + 300_000));
  });

  it('comes back from its files, and says which rows it still needs', () => {
    using place = folder();
    const index = new IdempotencyIndex(place.path);
    fill(index, 1, 100_000);
    index.save();
    const again = new IdempotencyIndex(place.path);
    const covered = again.load(1, 1_000_000);
    assert.ok(covered > 0 && covered < 100_000);
    fill(again, covered + 1, 100_000);
    for (let i = 1; i <= 100_000; i += 31) assert.ok(has(again, i), `key ${i}`);
  });

  it('does without a folder that cannot be written', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tidings-index-'));
    try {
      writeFileSync(join(folder, 'file'), '');
      const index = new IdempotencyIndex(join(folder, 'file', 'idempotency'));
      index.save();
      assert.deepEqual(readdirSync(folder), ['file']);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('does without a file that is damaged or missing', () => {
    using place = folder();
    const index = new IdempotencyIndex(place.path);
    fill(index, 1, 600_000);
    index.save();
    const names = readdirSync(place.path).sort();
    assert.ok(names.length >= 3);
    writeFileSync(join(place.path, names[1] as string), 'damaged');
    const again = new IdempotencyIndex(place.path);
    const covered = again.load(1, 1_000_000);
    assert.ok(covered > 0);
    fill(again, covered + 1, 600_000);
    for (let i = 1; i <= 600_000; i += 997) assert.ok(has(again, i), `key ${i}`);
  });

  it('removes the files of rows that are gone', () => {
    using place = folder();
    const index = new IdempotencyIndex(place.path);
    fill(index, 1, 100_000);
    index.save();
    const before = readdirSync(place.path).length;
    new IdempotencyIndex(place.path).load(90_000, 1_000_000);
    assert.ok(readdirSync(place.path).length < before);
  });
});
