/**
 * Metrics of one thread, in Prometheus' terms; the answer to /metrics joins those of all threads.
 * Names end in their unit. Nothing here is labelled with anything a caller can invent.
 */
import { createRequire } from 'node:module';
import type { MetricObject, Registry as MetricRegistry } from 'prom-client';

/**
 * The library part by part: its entry also loads its default metrics, and with them OpenTelemetry's
 * API, of which nothing is used here and which every thread would load again.
 */
type Library = typeof import('prom-client');
const require = createRequire(import.meta.url);
const Counter = require('prom-client/lib/counter.js') as Library['Counter'];
const Gauge = require('prom-client/lib/gauge.js') as Library['Gauge'];
const Histogram = require('prom-client/lib/histogram.js') as Library['Histogram'];
const Registry = require('prom-client/lib/registry.js') as Library['Registry'];
const AggregatorRegistry = require('prom-client/lib/cluster.js') as Library['AggregatorRegistry'];

/** From half a millisecond to half a minute. */
const SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

export type ThreadMetrics = MetricObject[];

export async function readMetrics(registry: MetricRegistry): Promise<ThreadMetrics> {
  return registry.getMetricsAsJSON();
}

/** Text of the metrics of several threads, gauges and counters added up. */
export function joinMetrics(threads: ThreadMetrics[]): Promise<string> {
  return AggregatorRegistry.aggregate(threads as unknown as MetricObject[]).metrics();
}

export function apiMetrics(read: { delayMs(): number; waiting(): number; lag(): number }) {
  const registry = new Registry();
  const registers = [registry];
  const requests = new Counter({
    name: 'tidings_http_requests_total',
    help: 'Answered HTTP requests',
    labelNames: ['route', 'method', 'status'],
    registers,
  });
  const duration = new Histogram({
    name: 'tidings_http_request_seconds',
    help: 'Time from request to answer',
    labelNames: ['route'],
    buckets: SECONDS,
    registers,
  });
  new Gauge({
    name: 'tidings_event_loop_delay_seconds',
    help: 'Delay of the event loop of an HTTP thread',
    registers,
    collect() {
      this.set(read.delayMs() / 1000);
    },
  });
  new Gauge({
    name: 'tidings_writes_waiting',
    help: 'Writes waiting for their commit',
    registers,
    collect() {
      this.set(read.waiting());
    },
  });
  new Gauge({
    name: 'tidings_projection_lag_events',
    help: 'Events not yet shown by lists and inboxes',
    registers,
    collect() {
      this.set(read.lag());
    },
  });
  new Gauge({
    name: 'tidings_resident_memory_bytes',
    help: 'Resident memory of the process',
    registers,
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  const counts = remembered((key: string) => requests.labels(...(key.split(' ') as [])));
  const times = remembered((route: string) => duration.labels(route));
  return {
    registry,
    measure(route: string, method: string, status: number, seconds: number): void {
      counts(`${route} ${method} ${status}`).inc();
      times(route).observe(seconds);
    },
  };
}

/** Labelled metrics by one text: the library's own look-up costs more than the rest. */
function remembered<Labelled>(make: (key: string) => Labelled): (key: string) => Labelled {
  const known = new Map<string, Labelled>();
  return (key) => {
    let labelled = known.get(key);
    if (labelled === undefined) {
      labelled = make(key);
      known.set(key, labelled);
    }
    return labelled;
  };
}

export interface EngineReading {
  waiting(): readonly number[];
  underWay(): readonly number[];
  accounts(): { id: string; underWay: number; open: number }[];
  trackerWaiting(): number;
  trackerDropped(): number;
}

const LANE_NAMES = ['high', 'medium', 'low'] as const;

export function engineMetrics(read: EngineReading) {
  const registry = new Registry();
  const registers = [registry];
  const attempts = new Counter({
    name: 'tidings_attempts_total',
    help: 'Attempts by what came of them',
    labelNames: ['channel', 'provider', 'outcome'],
    registers,
  });
  const ended = new Counter({
    name: 'tidings_messages_ended_total',
    help: 'Messages that ended, by status',
    labelNames: ['status'],
    registers,
  });
  const duration = new Histogram({
    name: 'tidings_attempt_seconds',
    help: 'Time of an attempt at the provider',
    labelNames: ['channel', 'provider'],
    buckets: SECONDS,
    registers,
  });
  const dwell = new Histogram({
    name: 'tidings_accept_to_attempt_seconds',
    help: 'Time from acceptance (or the time it was scheduled for) to the first attempt',
    labelNames: ['lane'],
    buckets: SECONDS,
    registers,
  });
  new Gauge({
    name: 'tidings_lane_waiting',
    help: 'Messages held in memory per lane',
    labelNames: ['lane'],
    registers,
    collect() {
      for (const [i, n] of read.waiting().entries()) this.set({ lane: LANE_NAMES[i] as string }, n);
    },
  });
  new Gauge({
    name: 'tidings_deliveries_under_way',
    help: 'Deliveries under way per lane',
    labelNames: ['lane'],
    registers,
    collect() {
      for (const [i, n] of read.underWay().entries())
        this.set({ lane: LANE_NAMES[i] as string }, n);
    },
  });
  new Gauge({
    name: 'tidings_account_under_way',
    help: 'Attempts under way per provider account',
    labelNames: ['account'],
    registers,
    collect() {
      for (const account of read.accounts()) this.set({ account: account.id }, account.underWay);
    },
  });
  new Gauge({
    name: 'tidings_account_open_destinations',
    help: 'Destinations left alone by their circuit breaker',
    labelNames: ['account'],
    registers,
    collect() {
      for (const account of read.accounts()) this.set({ account: account.id }, account.open);
    },
  });
  new Gauge({
    name: 'tidings_tracker_waiting_events',
    help: 'Events waiting for the event store',
    registers,
    collect() {
      this.set(read.trackerWaiting());
    },
  });
  new Gauge({
    name: 'tidings_tracker_dropped_events',
    help: 'Events given up because too many waited',
    registers,
    collect() {
      this.set(read.trackerDropped());
    },
  });
  const waits = remembered((lane: string) => dwell.labels(lane));
  const ends = remembered((status: string) => ended.labels(status));
  const counts = remembered((key: string) => attempts.labels(...(key.split(' ') as [])));
  const times = remembered((key: string) => duration.labels(...(key.split(' ') as [])));
  return {
    registry,
    began: (lane: 0 | 1 | 2, waitedMs: number) =>
      waits(LANE_NAMES[lane]).observe(Math.max(0, waitedMs) / 1000),
    ended: (status: string) => ends(status).inc(),
    attempted(channel: string, provider: string, outcome: string, seconds: number) {
      counts(`${channel} ${provider} ${outcome}`).inc();
      times(`${channel} ${provider}`).observe(seconds);
    },
  };
}
