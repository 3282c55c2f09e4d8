/**
 * Counters, gauges and histograms of one thread, in the form in which threads hand them over
 * (`ThreadMetrics`). What is counted for each request and each attempt is a field of an object that
 * is found once; the metrics library, which joins the threads and writes the text, looks a name up by
 * all its labels every time, which costs as much as the rest of an answer's bookkeeping.
 */
import type { MetricObject } from 'prom-client';

export type ThreadMetrics = MetricObject[];

export interface Metric {
  read(): MetricObject;
}

interface Value {
  value: number;
  labels: Record<string, string | number>;
  metricName?: string;
}

function metricOf(name: string, help: string, type: string, values: Value[]): MetricObject {
  return { name, help, type, values, aggregator: 'sum' } as unknown as MetricObject;
}

/** A gauge without labels. */
export function gauge(name: string, help: string, value: number): MetricObject {
  return metricOf(name, help, 'gauge', [{ value, labels: {} }]);
}

/** Read when it is asked for; a number, or one for each value of its label. */
export function readGauge(
  name: string,
  help: string,
  read: () => number | { labels: Record<string, string>; value: number }[],
): Metric {
  return {
    read() {
      const now = read();
      return typeof now === 'number' ? gauge(name, help, now) : metricOf(name, help, 'gauge', now);
    },
  };
}

/** Objects by the values of their labels, made when they are first asked for. */
function byLabels<Series>(
  names: readonly string[],
  make: () => Series,
): {
  of(...values: (string | number)[]): Series;
  all(): { labels: Record<string, string | number>; series: Series }[];
} {
  type Node = Map<string | number, Node | Series>;
  const root: Node = new Map();
  const all: { labels: Record<string, string | number>; series: Series }[] = [];
  return {
    of(...values) {
      let node = root;
      const last = values.length - 1;
      for (let i = 0; i < last; i++) {
        const value = values[i] as string | number;
        let next = node.get(value) as Node | undefined;
        if (next === undefined) {
          next = new Map();
          node.set(value, next);
        }
        node = next;
      }
      let series = node.get(values[last] as string | number) as Series | undefined;
      if (series === undefined) {
        series = make();
        node.set(values[last] as string | number, series);
        const labels = Object.fromEntries(
          names.map((name, i) => [name, values[i] as string | number]),
        );
        all.push({ labels, series });
      }
      return series;
    },
    all: () => all,
  };
}

export interface Counter extends Metric {
  /** The count of these labels, in the order of their names. */
  of(...values: (string | number)[]): { value: number };
}

export function counter(name: string, help: string, labels: readonly string[]): Counter {
  const counts = byLabels(labels, () => ({ value: 0 }));
  return {
    of: counts.of,
    read: () =>
      metricOf(
        name,
        help,
        'counter',
        counts.all().map(({ labels, series: { value } }) => ({ value, labels })),
      ),
  };
}

export interface Series {
  observe(value: number): void;
}

export interface Histogram extends Metric {
  of(...values: (string | number)[]): Series;
}

/** @param bounds upper ends of the buckets, growing; the last one has none */
export function histogram(
  name: string,
  help: string,
  labels: readonly string[],
  bounds: readonly number[],
): Histogram {
  const distributions = byLabels(labels, () => new Distribution(bounds));
  return {
    of: distributions.of,
    read: () =>
      metricOf(
        name,
        help,
        'histogram',
        distributions.all().flatMap(({ labels, series }) => series.values(name, labels)),
      ),
  };
}

class Distribution implements Series {
  readonly #bounds: readonly number[];
  /** Of each bucket by itself. */
  readonly #counts: number[];
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket++;
    (this.#counts[bucket] as number)++;
    this.#sum += value;
  }

  values(name: string, labels: Value['labels']): Value[] {
    let count = 0;
    const buckets = this.#counts.map((own, i): Value => {
      count += own;
      const le = this.#bounds[i] ?? '+Inf';
      return { metricName: `${name}_bucket`, value: count, labels: { le, ...labels } };
    });
    return [
      ...buckets,
      { metricName: `${name}_sum`, value: this.#sum, labels },
      { metricName: `${name}_count`, value: count, labels },
    ];
  }
}
