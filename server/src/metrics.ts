/**
 * What is measured, in Prometheus' terms; the answer to /metrics joins what all threads have.
 * Names end in their unit. Nothing here is labelled with anything a caller can invent.
 */
import { createRequire } from 'node:module';
import { counter, histogram, type Metric, readGauge, type ThreadMetrics } from './metric.ts';

/** From half a millisecond to half a minute. */
const SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

const require = createRequire(import.meta.url);

function readAll(metrics: readonly Metric[]): ThreadMetrics {
  return metrics.map((metric) => metric.read());
}

/** Text of the metrics of several threads, added up. */
export function joinMetrics(threads: ThreadMetrics[]): Promise<string> {
  // Loaded when somebody asks, and this part alone: the library's entry also loads its default
  // metrics, and with them OpenTelemetry's API.
  const AggregatorRegistry: typeof import('prom-client').AggregatorRegistry = require('prom-client/lib/cluster.js');
  return AggregatorRegistry.aggregate(threads).metrics();
}

export function apiMetrics(read: { delayMs(): number; waiting(): number; lag(): number }) {
  const requests = counter('tidings_http_requests_total', 'Answered HTTP requests', [
    'route',
    'method',
    'status',
  ]);
  const duration = histogram(
    'tidings_http_request_seconds',
    'Time from request to answer',
    ['route'],
    SECONDS,
  );
  const metrics = [
    requests,
    duration,
    readGauge(
      'tidings_event_loop_delay_seconds',
      'Delay of the event loop of an HTTP thread',
      () => read.delayMs() / 1000,
    ),
    readGauge('tidings_writes_waiting', 'Writes waiting for their commit', read.waiting),
    readGauge(
      'tidings_projection_lag_events',
      'Events not yet shown by lists and inboxes',
      read.lag,
    ),
    readGauge('tidings_resident_memory_bytes', 'Resident memory of the process', () =>
      process.memoryUsage.rss(),
    ),
  ];
  return {
    read: () => readAll(metrics),
    measure(route: string, method: string, status: number, seconds: number): void {
      requests.of(route, method, status).value++;
      duration.of(route).observe(seconds);
    },
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

function byLane(counts: readonly number[]) {
  return counts.map((value, i) => ({ labels: { lane: LANE_NAMES[i] as string }, value }));
}

export function engineMetrics(read: EngineReading) {
  const attempts = counter('tidings_attempts_total', 'Attempts by what came of them', [
    'channel',
    'provider',
    'outcome',
  ]);
  const ended = counter('tidings_messages_ended_total', 'Messages that ended, by status', [
    'status',
  ]);
  const duration = histogram(
    'tidings_attempt_seconds',
    'Time of an attempt at the provider',
    ['channel', 'provider'],
    SECONDS,
  );
  const dwell = histogram(
    'tidings_accept_to_attempt_seconds',
    'Time from acceptance (or the time it was scheduled for) to the first attempt',
    ['lane'],
    SECONDS,
  );
  const perAccount = (count: (account: { underWay: number; open: number }) => number) => () =>
    read.accounts().map((account) => ({ labels: { account: account.id }, value: count(account) }));
  const metrics = [
    attempts,
    ended,
    duration,
    dwell,
    readGauge('tidings_lane_waiting', 'Messages held in memory per lane', () =>
      byLane(read.waiting()),
    ),
    readGauge('tidings_deliveries_under_way', 'Deliveries under way per lane', () =>
      byLane(read.underWay()),
    ),
    readGauge(
      'tidings_account_under_way',
      'Attempts under way per provider account',
      perAccount(({ underWay }) => underWay),
    ),
    readGauge(
      'tidings_account_open_destinations',
      'Destinations left alone by their circuit breaker',
      perAccount(({ open }) => open),
    ),
    readGauge(
      'tidings_tracker_waiting_events',
      'Events waiting for the event store',
      read.trackerWaiting,
    ),
    readGauge(
      'tidings_tracker_dropped_events',
      'Events given up because too many waited',
      read.trackerDropped,
    ),
  ];
  return {
    read: () => readAll(metrics),
    began: (lane: 0 | 1 | 2, waitedMs: number) =>
      dwell.of(LANE_NAMES[lane]).observe(Math.max(0, waitedMs) / 1000),
    ended: (status: string) => {
      ended.of(status).value++;
    },
    attempted(channel: string, provider: string, outcome: string, seconds: number) {
      attempts.of(channel, provider, outcome).value++;
      duration.of(channel, provider).observe(seconds);
    },
  };
}
