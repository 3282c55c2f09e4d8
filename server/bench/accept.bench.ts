/**
 * Accepting: authentication, validation, preferences, the durable row, the answer. Whatever the
 * service does behind its answer goes on meanwhile and takes its share of the two cores.
 */
import { type Benchmark, type Row, saturation } from './context.ts';
import { startService } from './server.ts';

const rates = [2000, 5000, 10_000, 15_000, 20_000, 24_000];
const quickRates = [2000, 10_000];

/** What performance.md asks of a rate that counts as held. */
const limits = { p99Ms: 10, p999Ms: 50, shareOfRate: 0.995 };

/** Whether a fixed rate was held, and if not, why. */
export function judge(row: Row, ratePerSecond: number): string {
  if (row.errors > 0) return 'no: errors';
  if (row.perSecond < ratePerSecond * limits.shareOfRate) return 'no: too slow';
  if ((row.latency?.p99Ms ?? 0) >= limits.p99Ms) return `no: p99 ≥ ${limits.p99Ms}`;
  return (row.latency?.p999Ms ?? 0) >= limits.p999Ms ? `no: p99.9 ≥ ${limits.p999Ms}` : 'yes';
}

export default {
  name: 'accept',
  summary:
    'POST /v1/notifications on an empty store, answered when durable: open loop at rising rates, each on a fresh server, then closed loop at saturation. "held" is p99 < 10 ms, p99.9 < 50 ms and no error.',
  async run({ measure, options, notes }) {
    const starts: number[] = [];
    for (const ratePerSecond of options.isQuick ? quickRates : rates) {
      await using service = await startService(options);
      starts.push(service.startedInMs);
      const row = await measure(`${ratePerSecond}/s`, service, { mode: 'open', ratePerSecond });
      row.extra.held = judge(row, ratePerSecond);
    }
    for (const round of [1, 2]) {
      await using service = await startService(options);
      starts.push(service.startedInMs);
      const row = await measure(`saturation ${round}`, service, saturation);
      row.extra.held = '';
    }
    notes.push(`start to ready on an empty store: ${starts.map(Math.round).join(', ')} ms`);
  },
} satisfies Benchmark;
