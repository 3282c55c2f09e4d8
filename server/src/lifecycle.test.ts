import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createTracker } from './analytics/tracker.ts';
import { systemClock } from './clock.ts';
import { createOverload } from './http/overload.ts';
import { runLifecycleConformance } from './lifecycle.conformance.ts';
import { type Service, ServiceGroup } from './lifecycle.ts';
import { createAttempts } from './outbound/attempt.ts';
import { MemoryQueue } from './queue/memory.ts';

runLifecycleConformance('attempts', () => createAttempts(systemClock));
runLifecycleConformance('queue', () => new MemoryQueue({ channels: [], claimMs: 1000 }));
runLifecycleConformance('tracker', () =>
  createTracker({
    clock: systemClock,
    events: { append: async () => {}, timeline: async () => [] },
  }),
);
runLifecycleConformance('overload', () =>
  createOverload({
    clock: systemClock,
    maxDelayMs: 1,
    maxWaiting: 1,
    waiting: () => 0,
    failure: () => undefined,
  }),
);
runLifecycleConformance('group', () => new ServiceGroup('group', [createAttempts(systemClock)]));

function part(name: string, log: string[], failing?: 'start' | 'stop'): Service {
  return {
    name,
    async start() {
      log.push(`start ${name}`);
      if (failing === 'start') throw new Error(`${name} fails`);
    },
    async stop() {
      log.push(`stop ${name}`);
      if (failing === 'stop') throw new Error(`${name} fails to stop`);
    },
  };
}

describe('service group', () => {
  it('starts in order and stops in reverse', async () => {
    const log: string[] = [];
    const group = new ServiceGroup('g', [part('a', log), part('b', log)]);
    await group.start();
    await group.stop();
    assert.deepEqual(log, ['start a', 'start b', 'stop b', 'stop a']);
  });

  it('stops what had started when one fails, and says why', async () => {
    const log: string[] = [];
    const group = new ServiceGroup('g', [part('a', log), part('b', log, 'start'), part('c', log)]);
    await assert.rejects(group.start(), /b fails/);
    assert.deepEqual(log, ['start a', 'start b', 'stop b', 'stop a']);
  });

  it('stops all, also when one fails to stop', async () => {
    const log: string[] = [];
    const group = new ServiceGroup('g', [part('a', log), part('b', log, 'stop')]);
    await group.start();
    await assert.rejects(group.stop(), /b fails to stop/);
    assert.ok(log.includes('stop a'));
  });
});
