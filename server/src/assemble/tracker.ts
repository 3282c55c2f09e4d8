/** The tracker's thread: fills the projection behind the hot file, and keeps the logs short. */

import { pino } from 'pino';
import { Gauge, Registry } from 'prom-client';
import { loadCatalog } from '../adapters/catalog.ts';
import { type Clock, systemClock } from '../clock.ts';
import { openForWriting } from '../database/sqlite/connection.ts';
import { dataFiles, openMessages } from '../database/sqlite/files.ts';
import { Projection } from '../database/sqlite/projection.ts';
import { ProjectionLoop } from '../database/sqlite/projection-loop.ts';
import { readMetrics } from '../metrics.ts';
import type { RoleOptions, RunningRole } from './role.ts';

export async function startTracker(
  { config, ports }: RoleOptions,
  clock: Clock = systemClock,
): Promise<RunningRole> {
  const files = dataFiles(config.dataDir);
  const catalog = await loadCatalog(config.plugins);
  const log = pino({ level: config.log.level, base: { thread: 'tracker' } });
  const messages = openMessages(files);
  const projectionFile = openForWriting(files.projection, { durability: 'normal' });
  const projection = new Projection({
    messages,
    projection: projectionFile,
    maskAddress: (channel, address) => catalog.adapter(channel)?.maskAddress(address) ?? '***',
  });
  // A connection that only checkpoints: passive, so it never keeps the writer waiting.
  const checkpoints = [files.messages, files.records].map((path) =>
    openForWriting(path, { durability: 'full', cacheKiB: 256 }),
  );
  const loop = new ProjectionLoop({
    projection,
    checkpoints: [...checkpoints, projectionFile],
    clock,
    failed: (error) =>
      log.warn({ err: error }, 'the projection could not be brought up to date; trying again'),
  });
  if (ports.projection) loop.connect(ports.projection);
  await loop.start();
  const registry = new Registry();
  new Gauge({
    name: 'tidings_projection_position_events',
    help: 'Number of the last event that lists and inboxes show',
    registers: [registry],
    collect() {
      this.set(projection.position.event);
    },
  });
  return {
    connect(name, port) {
      if (name !== 'projection') throw new Error(`the tracker has no connection ${name}`);
      loop.connect(port);
    },
    metrics: () => readMetrics(registry),
    drain() {},
    async stop() {
      await loop.stop();
      for (const database of [messages, projectionFile, ...checkpoints]) database.close();
    },
  };
}
