/**
 * The whole way of a message: accept, render, deliver to a channel that does nothing, complete,
 * event. The store is filled first through the API itself, so that it has whatever shape the
 * service gives it. The backlog is read from the service's own counters once a second.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { judge } from './accept.bench.ts';
import { type Benchmark, type Context, saturation, type Watch } from './context.ts';
import { type Counters, noopDelivery, type Service, startService } from './server.ts';

const rates = [5000, 10_000, 15_000, 20_000];
const quickRates = [2000];
/** A backlog that is not gone by then counts as unbounded. */
const drainLimitMs = 300_000;

async function drain(service: Service): Promise<{ seconds: number; backlog: number }> {
  const startMs = performance.now();
  for (;;) {
    const { accepted, completed } = await service.readCounters();
    const elapsedMs = performance.now() - startMs;
    const backlog = accepted - completed;
    if (backlog <= 0 || elapsedMs > drainLimitMs) return { seconds: elapsedMs / 1000, backlog };
    await sleep(100);
  }
}

/**
 * Samples the backlog while a load runs, then waits until it is gone. `missing` is how many requests
 * the generator holds a 2xx for without the service having brought them to an end: anything above
 * 0 is a broken promise. (Below 0: answers that did not reach the generator.)
 */
async function watchBacklog(service: Service): Promise<Watch> {
  const before = await service.readCounters();
  const backlogs: number[] = [];
  // A sample that fails under load is left out; the readings before and after must not fail.
  const sample = () => service.readCounters().catch(() => undefined);
  let timer: NodeJS.Timeout | undefined;
  let atMeasure: Promise<Counters | undefined> | undefined;
  let atEnd: Promise<Counters | undefined> | undefined;
  let measuredMs = 0;
  return {
    onMeasure() {
      measuredMs = performance.now();
      atMeasure = sample();
      timer = setInterval(async () => {
        const counters = await sample();
        if (counters !== undefined) backlogs.push(counters.accepted - counters.completed);
      }, 1000);
    },
    onEnd() {
      clearInterval(timer);
      measuredMs = performance.now() - measuredMs;
      atEnd = sample();
    },
    async finish(result) {
      const [first, last] = [await atMeasure, await atEnd];
      const { seconds, backlog } = await drain(service);
      const after = await service.readCounters();
      const completed = (last?.completed ?? 0) - (first?.completed ?? 0);
      return {
        'completed/s': Math.round(completed / (measuredMs / 1000)),
        'backlog max': Math.max(0, ...backlogs),
        'backlog end': (last?.accepted ?? 0) - (last?.completed ?? 0),
        'drained s': backlog > 0 ? `${backlog} left` : seconds,
        missing: result.accepted - (after.completed - before.completed),
      };
    },
  };
}

async function fill(service: Service, { load, say, options }: Context): Promise<number> {
  const startMs = performance.now();
  // A day is no limit: the number of requests is.
  const plan = { ...saturation, warmupSeconds: 0, seconds: 86_400, maxRequests: options.rows };
  if (options.rows > 0) {
    say(`filling the store with ${options.rows} messages …`);
    await load(service, plan);
    await drain(service);
  }
  return Math.round((performance.now() - startMs) / 1000);
}

export default {
  name: 'pipeline',
  summary:
    'Accept, render, deliver to a no-op channel, complete and event, in one store filled beforehand: open loop at rising rates, then closed loop at saturation. per s and latency are those of accepting.',
  rows: 3_000_000,
  async run(context) {
    const { measure, options, notes } = context;
    await using service = await startService(options, noopDelivery);
    const seconds = await fill(service, context);
    notes.push(`filled through the API with ${options.rows} messages in ${seconds} s`);
    const watch = () => watchBacklog(service);
    for (const ratePerSecond of options.isQuick ? quickRates : rates) {
      const plan = { mode: 'open', ratePerSecond } as const;
      const row = await measure(`${ratePerSecond}/s`, service, plan, watch);
      row.extra.held = judge(row, ratePerSecond);
    }
    for (const round of [1, 2]) {
      const row = await measure(`saturation ${round}`, service, saturation, watch);
      row.extra.held = '';
    }
  },
} satisfies Benchmark;
