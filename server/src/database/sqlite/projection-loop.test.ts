import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openProjectionFile } from '../../../test/support/projection.ts';
import { openTestFile } from '../../../test/support/store.ts';
import { systemClock } from '../../clock.ts';
import { eventOperations } from './event-operations.ts';
import { Projection } from './projection.ts';
import { ProjectionLoop } from './projection-loop.ts';

test('the logs are moved without touching the hot file, which is only read', async () => {
  await using file = openTestFile('messages', (database) => eventOperations(database));
  const { connection, close } = openProjectionFile(file.folder);
  const failures: unknown[] = [];
  const loop = new ProjectionLoop({
    projection: new Projection({ messages: file.reader(), projection: connection }),
    checkpoints: [connection],
    clock: systemClock,
    failed: (error) => failures.push(error),
  });
  await loop.start();
  await file.writer.call('appendEvents', [[2, 1, 'attempt', null]]);
  await loop.stop();
  close();
  assert.deepEqual(failures, []);
});
