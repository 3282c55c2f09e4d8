/** The yardstick against itself: what HTTP alone allows here, and how steady this machine is. */
import { type Benchmark, saturation } from './context.ts';

export default {
  name: 'echo',
  summary:
    'A bare Fastify on one thread that parses the request of the accept benchmark and answers 202. Its share of itself shows how far two figures of this machine differ by chance.',
  async run({ measure, echo, options }) {
    const rates = options.isQuick ? [5000] : [2000, 10_000, 20_000, 24_000];
    for (const ratePerSecond of rates) {
      await measure(`${ratePerSecond}/s`, echo, { mode: 'open', ratePerSecond });
    }
    for (const round of [1, 2]) await measure(`saturation ${round}`, echo, saturation);
  },
} satisfies Benchmark;
