/** Entry of a worker thread: starts the role it was given and obeys the supervisor. */
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../clock.ts';
import { releaseMemoryAfterStart } from './idle-memory.ts';
import type { RoleName, RoleOptions, RunningRole } from './role.ts';
import type { FromThread, ToThread } from './supervisor.ts';

/** How often a thread says that it is alive. */
const HEARTBEAT_MS = 250;

/** Each thread loads only what its role needs: everything takes an eighth of the memory budget. */
async function start(name: RoleName, options: RoleOptions): Promise<RunningRole> {
  switch (name) {
    case 'writer':
      return (await import('./writer.ts')).startWriter(options);
    case 'tracker':
      return (await import('./tracker.ts')).startTracker(options);
    case 'engine':
      return (await import('./engine.ts')).startEngine(options);
    case 'api':
      return (await import('./api.ts')).startApi(options, {
        otherMetrics: () => ask('metrics'),
        notReady: () => notReady,
      });
  }
}

const supervisor = parentPort;
if (!supervisor) throw new Error('this file is the entry of a worker thread');

let notReady: string[] = [];
const answers = new Map<number, (value: never) => void>();
let asked = 0;

function ask<Value>(what: 'metrics'): Promise<Value> {
  return new Promise((resolve) => {
    answers.set(++asked, resolve);
    say({ type: 'ask', id: asked, what });
  });
}

function say(message: FromThread): void {
  supervisor?.postMessage(message);
}

const { role: name, options } = workerData as { role: RoleName; options: RoleOptions };
const role = await start(name, options);
releaseMemoryAfterStart(systemClock);
setInterval(() => say({ type: 'alive' }), HEARTBEAT_MS);

supervisor.on('message', async (message: ToThread) => {
  switch (message.type) {
    case 'connect':
      role.connect(message.name, message.port);
      break;
    case 'metrics':
      say({ type: 'metrics', id: message.id, metrics: await role.metrics() });
      break;
    case 'answer':
      answers.get(message.id)?.(message.value as never);
      answers.delete(message.id);
      break;
    case 'state':
      notReady = message.notReady;
      break;
    case 'drain':
      role.drain();
      break;
    case 'stop':
      await role.stop();
      say({ type: 'stopped' });
      process.exit(0);
  }
});
say({ type: 'ready' });
