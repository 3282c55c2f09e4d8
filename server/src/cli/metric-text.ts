/** Reads the Prometheus text format, as far as the service writes it. */

export interface MetricSample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

const LINE = /^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})? +(\S+)(?: +\d+)?$/;
const LABEL = /([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES: Record<string, string> = { '\\n': '\n', '\\"': '"', '\\\\': '\\' };

/** Lines that are no samples are passed over. */
export function parseMetrics(text: string): MetricSample[] {
  const samples: MetricSample[] = [];
  for (const line of text.split('\n')) {
    const match = line.startsWith('#') ? null : LINE.exec(line.trimEnd());
    if (!match) continue;
    const [, name = '', labelText = '', value = ''] = match;
    const labels = [...labelText.matchAll(LABEL)].map(
      ([, label = '', quoted = '']) =>
        [label, quoted.replace(/\\./g, (escaped) => ESCAPES[escaped] ?? escaped)] as const,
    );
    samples.push({ name, labels: Object.fromEntries(labels), value: Number(value) });
  }
  return samples.filter((sample) => !Number.isNaN(sample.value));
}
