/** The raw store beside the echo: the ceiling of everything that is durable on this machine. */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Benchmark, emptyRow, meteredPart, type Row } from './context.ts';
import { type MeterReading, startMeter } from './environment.ts';
import { type StoreJob, startStore } from './store-load.ts';

const variants: [label: string, changes: Partial<StoreJob>][] = [
  ['groups of 64', {}],
  ['groups of 64, again', {}],
  ['groups of 1', { groupRows: 1 }],
  ['groups of 512', { groupRows: 512 }],
  ['groups of 64, index on user', { hasUserIndex: true }],
];

async function measureStore(label: string, job: StoreJob): Promise<Row> {
  let meter: ReturnType<typeof startMeter> | undefined;
  let reading: MeterReading | undefined;
  const { rows, rowsPerSecond, latency, totalRows } = await startStore(job, {
    onMeasure(pid) {
      meter = startMeter(pid);
    },
    onEnd() {
      reading = meter?.stop();
    },
  });
  if (reading === undefined) throw new Error('the store did not say when it was measured');
  return {
    ...emptyRow(label, rowsPerSecond),
    ...meteredPart(reading, rows),
    latency,
    extra: { 'rows at end': totalRows },
  };
}

export default {
  name: 'store',
  summary:
    'node:sqlite alone, WAL with synchronous=FULL, rows of 600 bytes with a rising integer key, one COMMIT per group. Latency is that of a group; CPU is per row.',
  async run({ bracket, say, options }) {
    for (const [label, changes] of options.isQuick ? variants.slice(1, 3) : variants) {
      say(`${label} …`);
      await bracket(async () => {
        const directory = await mkdtemp(join(options.dataRoot, 'tidings-bench-'));
        const job = { directory, groupRows: 64, rowBytes: 600, hasUserIndex: false };
        const times = { seconds: options.seconds, warmupSeconds: options.isQuick ? 1 : 3 };
        try {
          return await measureStore(label, { ...job, ...times, ...changes });
        } finally {
          await rm(directory, { recursive: true, force: true });
        }
      });
    }
  },
} satisfies Benchmark;
