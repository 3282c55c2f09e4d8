/**
 * A gauge in the form in which threads hand over their metrics, for threads that have too little to
 * tell to load a metrics library for it.
 */
import type { MetricObject } from 'prom-client';

export function gauge(name: string, help: string, value: number): MetricObject {
  return {
    name,
    help,
    type: 'gauge',
    values: [{ value, labels: {} }],
    aggregator: 'sum',
  } as unknown as MetricObject;
}
