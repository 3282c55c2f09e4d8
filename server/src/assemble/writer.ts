/** The writer's thread: the write connections of the hot file and of the records. */
import { type Clock, systemClock } from '../clock.ts';
import { dataFiles, messagesWriter, recordsWriter } from '../database/sqlite/files.ts';
import { WriterLoop } from '../database/sqlite/writer-loop.ts';
import { gauge } from '../metric.ts';
import type { RoleOptions, RunningRole } from './role.ts';

/** How often old idempotency keys are forgotten and full segments of the index are kept as files. */
const HOUSEKEEPING_MS = 60_000;

export async function startWriter(
  { config, ports }: RoleOptions,
  clock: Clock = systemClock,
): Promise<RunningRole> {
  const files = dataFiles(config.dataDir);
  const { retentionMs } = config.idempotency;
  const { writer, index } = messagesWriter(files, { clock, idempotencyRetentionMs: retentionMs });
  const messages = new WriterLoop({ writer, path: files.messages, clock });
  const records = new WriterLoop({
    writer: recordsWriter(files, { clock }),
    path: files.records,
    clock,
  });
  const housekeeping = clock.every(HOUSEKEEPING_MS, () => {
    index().expire(clock.now() - retentionMs, clock.now() + retentionMs);
    index().save();
  });
  const role: RunningRole = {
    connect(name, port) {
      if (name === 'messagesWriter') messages.connect(port);
      else if (name === 'recordsWriter') records.connect(port);
      else throw new Error(`the writer has no connection ${name}`);
    },
    metrics: async () => [
      gauge(
        'tidings_store_broken',
        '1 while the store takes no writes',
        messages.broken || records.broken ? 1 : 0,
      ),
    ],
    drain() {},
    async stop() {
      housekeeping.cancel();
      messages.stop();
      records.stop();
      index().save();
    },
  };
  for (const name of ['messagesWriter', 'recordsWriter'] as const) {
    const port = ports[name];
    if (port) role.connect(name, port);
  }
  return role;
}
