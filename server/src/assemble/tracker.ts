/** The tracker's thread: fills the projection behind the hot file, and keeps the logs short. */
import { platform, setPriority } from 'node:os';
import { type Clock, systemClock } from '../clock.ts';
import { openForWriting } from '../database/sqlite/connection.ts';
import { dataFiles, openMessages } from '../database/sqlite/files.ts';
import { Projection } from '../database/sqlite/projection.ts';
import { ProjectionLoop } from '../database/sqlite/projection-loop.ts';
import { askForRepair } from '../database/sqlite/projection-repair.ts';
import { logLine } from '../log-line.ts';
import { gauge } from '../metric.ts';
import type { RoleOptions, RunningRole } from './role.ts';

/** Of twenty steps that a thread can give way by. */
const NICENESS = 15;

/** What this thread does can wait; requests that share a core with it cannot. */
function yieldToOthers(): void {
  // Linux alone has priorities of threads; elsewhere this would be the whole process.
  if (platform() === 'linux') setPriority(NICENESS);
}

export async function startTracker(
  { config, ports }: RoleOptions,
  clock: Clock = systemClock,
): Promise<RunningRole> {
  yieldToOthers();
  const files = dataFiles(config.dataDir);
  const messages = openMessages(files);
  const projectionFile = openForWriting(files.projection, { durability: 'normal' });
  const projection = new Projection({ messages, projection: projectionFile });
  if (projection.ahead > 0) {
    const msg = `messages.db lacks ${projection.ahead} events that were there before: a backup was put back, or the end of its log (messages.db-wal) was lost, and with it what was accepted last. Lists and inboxes are filled anew.`;
    logLine('error', 'tracker', { msg });
  }
  // A connection that only checkpoints: passive, so it never keeps the writer waiting.
  const checkpoints = [files.messages, files.records].map((path) =>
    openForWriting(path, { durability: 'full', cacheKiB: 256 }),
  );
  let failures = 0;
  let lastFailure = '';
  const loop = new ProjectionLoop({
    projection,
    checkpoints: [...checkpoints, projectionFile],
    clock,
    failed(error) {
      failures++;
      // One line per cause.
      const message = String((error as Error)?.message ?? error);
      if (message !== lastFailure) logLine('warn', 'tracker', { msg: message });
      lastFailure = message;
    },
    remade(error) {
      if (error !== undefined) askForRepair(files);
      const msg =
        error === undefined
          ? 'projection.db was damaged and is filled anew; lists and inboxes wait for it'
          : `projection.db is damaged, so lists and inboxes stand still; the next start makes it anew: ${(error as Error)?.message ?? error}`;
      if (msg !== lastFailure || error === undefined) logLine('warn', 'tracker', { msg });
      lastFailure = msg;
    },
  });
  if (ports.projection) loop.connect(ports.projection);
  await loop.start();
  return {
    connect(name, port) {
      if (name !== 'projection') throw new Error(`the tracker has no connection ${name}`);
      loop.connect(port);
    },
    metrics: async () => [
      gauge(
        'tidings_projection_position_events',
        'Number of the last event that lists and inboxes show',
        projection.position.event,
      ),
      gauge(
        'tidings_projection_failures',
        'Groups that could not be written since the start',
        failures,
      ),
    ],
    drain() {},
    async stop() {
      await loop.stop();
      for (const database of [messages, projectionFile, ...checkpoints]) database.close();
    },
  };
}
