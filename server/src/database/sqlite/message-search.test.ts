/** Which index answers which list: over millions of messages any other way takes seconds. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openProjectionFile } from '../../../test/support/projection.ts';
import type { SearchFilter } from '../../notification/notification-store.ts';
import { query } from './message-search.ts';

const CASES: [Partial<SearchFilter>, ofOne: RegExp, ofAll: RegExp][] = [
  [{}, /message_index_application/, /^SCAN message_index$/],
  [{ before: 5 }, /message_index_application/, /PRIMARY KEY/],
  [{ userId: 'ada' }, /message_index_user/, /message_index_user/],
  [{ userId: 'ada', status: 'failed' }, /message_index_user/, /message_index_user/],
  [{ batch: 'b', status: 'failed' }, /message_index_batch/, /message_index_batch/],
  [{ template: 'welcome' }, /message_index_template/, /./],
  [{ status: 'failed' }, /message_index_status/, /message_index_any_status/],
  [{ status: 'accepted' }, /message_index_status/, /message_index_any_status/],
  [{ channel: 'email' }, /message_index_channel/, /./],
  [{ category: 'news' }, /message_index_category/, /./],
];

test('every list has its index', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-search-'));
  try {
    const file = openProjectionFile(folder);
    for (const [filter, ofOne, ofAll] of CASES) {
      for (const [applicationId, expected] of [
        [1, ofOne],
        [null, ofAll],
      ] as const) {
        const { sql, values } = query({ applicationId, before: null, limit: 10, ...filter });
        const plan = file.connection.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...values);
        const [first] = plan.map(({ detail }) => String(detail));
        assert.match(String(first), expected, `${JSON.stringify(filter)} of ${applicationId}`);
      }
    }
    file.close();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
