/**
 * The generator itself: whether it may be believed, and what it costs.
 *
 * In a closed loop it must find the same saturation as autocannon. In an open loop a single stall
 * of 200 ms must show in p99.9 of a run of twenty seconds, as a closed loop will not.
 */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { type Benchmark, emptyRow, meteredPart, type Row, saturation } from './context.ts';
import { readCpuSeconds, startMeter } from './environment.ts';
import { requestFactory } from './load-request.ts';
import type { MeasuredServer } from './server.ts';

const stallMs = 200;
const warmupSeconds = 3;
const closedConnections = 64;

interface AutocannonResult {
  '2xx': number;
  non2xx: number;
  errors: number;
  duration: number;
  latency: { p50: number; p99: number; p99_9: number; max: number; average: number };
}

/** autocannon as a process of its own, one fixed body: it has no cheap way to vary it. */
async function runAutocannon(server: MeasuredServer, seconds: number): Promise<Row> {
  const [spec] = server.requests;
  const build = requestFactory([spec as NonNullable<typeof spec>], 'x', 1)();
  const body = build(1).toString().split('\r\n\r\n')[1] as string;
  const program = createRequire(import.meta.url).resolve('autocannon');
  const limits = ['-c', String(closedConnections), '-d', String(seconds), '-W', '[', '-c'];
  const warmup = [String(closedConnections), '-d', String(warmupSeconds), ']'];
  const headers = ['content-type=application/json', 'authorization=Bearer x'];
  const request = ['-m', 'POST', '-b', body, ...headers.flatMap((header) => ['-H', header])];
  const url = `http://127.0.0.1:${server.port}${spec?.path}`;
  const options = ['--json', '--no-progress', ...limits, ...warmup, ...request, url];
  const child = spawn(process.execPath, [program, ...options], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  // Its CPU time cannot be read once it is gone; the last sample is at most 100 ms old.
  let meter = startMeter(server.pid);
  let [cpuAtWarm, cpuSeconds] = [0, 0];
  const sampler = setInterval(() => {
    cpuSeconds = readCpuSeconds(child.pid as number) ?? cpuSeconds;
  }, 100);
  const warm = setTimeout(() => {
    meter.stop();
    meter = startMeter(server.pid);
    cpuAtWarm = cpuSeconds;
  }, warmupSeconds * 1000);
  let text = '';
  for await (const chunk of child.stdout) text += chunk;
  const reading = meter.stop();
  clearInterval(sampler);
  clearTimeout(warm);
  // The warm-up has a line of its own before the result.
  const result: AutocannonResult = JSON.parse(text.trim().split('\n').at(-1) as string);
  const generatorSeconds = cpuSeconds - cpuAtWarm;
  const { latency } = result;
  return {
    ...emptyRow('autocannon, closed, 64', result['2xx'] / result.duration),
    errors: result.non2xx + result.errors,
    // It gives whole milliseconds only.
    latency: {
      count: result['2xx'],
      meanMs: latency.average,
      p50Ms: latency.p50,
      p90Ms: 0,
      p99Ms: latency.p99,
      p999Ms: latency.p99_9,
      p9999Ms: 0,
      maxMs: latency.max,
    },
    ...meteredPart(reading, result['2xx']),
    generatorMicroseconds: (generatorSeconds / result['2xx']) * 1e6,
  };
}

/** Lets the echo stall in the middle of the measured time. */
function stallOnce(server: MeasuredServer, seconds: number) {
  return () => ({
    onMeasure() {
      setTimeout(async () => {
        const response = await fetch(`http://127.0.0.1:${server.port}/stall`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ ms: stallMs }),
        });
        await response.arrayBuffer();
      }, seconds * 500);
    },
  });
}

export default {
  name: 'generator',
  summary:
    'The load generator against the echo: the same saturation as autocannon at less CPU, and a stall of 200 ms that the open loop shows and the closed loop hides.',
  async run({ measure, bracket, echo, options, notes, say }) {
    const seconds = options.isQuick ? options.seconds : Math.min(20, options.seconds);
    const closed = { ...saturation, connections: closedConnections, seconds, warmupSeconds };
    for (const round of [1, 2]) {
      say(`autocannon, closed, 64 (${round}) …`);
      await bracket(() => runAutocannon(echo, seconds));
      await measure('ours, closed, 64', echo, closed);
    }
    await measure('ours, closed, 64, a wake per answer', echo, { ...closed, pollMs: 0 });
    for (const ratePerSecond of [5000, 20_000]) {
      const plan = { mode: 'open', ratePerSecond, seconds } as const;
      const row = await measure(`ours, open, ${ratePerSecond}/s`, echo, plan);
      row.extra['late p99 ms'] = row.load?.lateness.p99Ms ?? 0;
    }
    const open = { mode: 'open', ratePerSecond: 5000, seconds } as const;
    const stalled = await measure('open, stalled', echo, open, stallOnce(echo, seconds));
    const hidden = await measure('closed, stalled', echo, closed, stallOnce(echo, seconds));
    const of = (row: Row) => `${row.latency?.p999Ms} ms (max ${row.latency?.maxMs})`;
    notes.push(`one stall of ${stallMs} ms: p99.9 open ${of(stalled)}, closed ${of(hidden)}`);
  },
} satisfies Benchmark;
