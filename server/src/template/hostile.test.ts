/**
 * Templates and data made to run code, to take for ever or to fill the memory. They are rendered
 * in a worker with little memory, one after the other; each must come to its own end, with a
 * text or with `invalid_data`. Nothing here is measured in time: the work is counted, so an
 * attack that ends today ends everywhere, and one that does not is killed by the test runner.
 */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import type { PlainError } from '../errors.ts';
import { ServiceError } from '../errors.ts';
import { compileContent } from './compile.ts';
import { renderContent } from './render.ts';

interface Attack {
  template: string;
  /** Made in the worker: some of it is large. */
  data?: () => Record<string, unknown>;
  /** A part of the message with which rendering is given up. */
  fault: string;
  /** `text` unless it says otherwise. */
  field?: 'html';
}

const TOO_MUCH_WORK = 'takes too much work';
const TOO_LONG = 'makes a text longer than 1000000 characters';

/** A template that does something over and over: five million times if it were let. */
function forEver(body: string): string {
  return `{% for a in (1..100000) %}{% for b in (1..50) %}${body}{% endfor %}{% endfor %}`;
}

function nested(levels: number, inner: unknown): unknown {
  let value = inner;
  for (let i = 0; i < levels; i++) value = [value];
  return value;
}

const longText = () => 'a'.repeat(900_000);
const words = () => Array.from({ length: 100_000 }, (_, i) => `w${(i * 7919) % 100_003}`);
const numbers = () => Array.from({ length: 600_000 }, (_, i) => i);
const rows = () =>
  Array.from({ length: 20_000 }, (_, i) => ({ k: i % 7, v: `v${i}`, d: { e: { f: i } } }));
const manyKeys = () => Object.fromEntries(words().map((word) => [word, 1]));
/** 30 times: join the list with itself and wrap it up, so that it holds itself 2^30 times. */
const SELF_NESTING = `{% assign a = "x,y" | split: "," %}{% for i in (1..30) %}
  {% assign a = a | concat: a | group_by: "k" | map: "items" %}{% endfor %}`;

const LOOPS: Record<string, Attack> = {
  'empty for': { template: forEver(''), fault: TOO_MUCH_WORK },
  'ten million turns': {
    template: '{% for i in (1..10000000) %}{% endfor %}',
    fault: TOO_MUCH_WORK,
  },
  'output in a loop': { template: forEver('{{ a }}'), fault: TOO_MUCH_WORK },
  'text in a loop': { template: forEver('x'.repeat(100)), fault: TOO_LONG },
  'loops over data': {
    template: `${'{% for x in r %}'.repeat(6)}x${'{% endfor %}'.repeat(6)}`,
    data: () => ({ r: Array.from({ length: 100 }, (_, i) => i) }),
    fault: TOO_MUCH_WORK,
  },
  'a range beyond counting': {
    template: '{% for i in (9007199254740992..9007199254740994) %}{% endfor %}',
    fault: 'numbers too large',
  },
  'a range of data beyond counting': {
    template: '{{ (a..b) | size }}{% for i in (a..b) %}{% endfor %}',
    data: () => ({ a: -1e300, b: '-1e300' }),
    fault: 'numbers too large',
  },
  'a range without end': {
    template: '{{ (1..b) | size }}',
    data: () => ({ b: 'Infinity' }),
    fault: 'numbers too large',
  },
  'a range in an index': { template: '{{ a[(1..1000000000).size] }}', fault: TOO_MUCH_WORK },
  'a long condition': {
    template: forEver(`{% if true${' and true'.repeat(5000)} %}{% endif %}`),
    fault: TOO_MUCH_WORK,
  },
  'a long list of literals': {
    template: forEver(`{% assign x = ${'1 '.repeat(20_000)} %}`),
    fault: TOO_MUCH_WORK,
  },
  'a long case': {
    template: forEver(`{% case a %}${'{% when "x", "y" %}'.repeat(1000)}{% endcase %}`),
    fault: TOO_MUCH_WORK,
  },
  'a long cycle': {
    template: forEver(`{% cycle ${'"abcdefghij",'.repeat(3000)}1 %}`),
    fault: TOO_MUCH_WORK,
  },
  'the first of many keys': {
    template: forEver('{% for x in o limit: 1 %}{% endfor %}'),
    data: () => ({ o: manyKeys() }),
    fault: TOO_MUCH_WORK,
  },
  'the number of many keys': {
    template: forEver('{{ o.size }}'),
    data: () => ({ o: manyKeys() }),
    fault: TOO_MUCH_WORK,
  },
  'the number of many keys, in parts': {
    template: '{{ o.size }}'.repeat(2000),
    data: () => ({ o: manyKeys() }),
    fault: TOO_MUCH_WORK,
  },
  'a list as the limit': {
    template: forEver('{% for x in l limit: n %}{% endfor %}'),
    data: () => ({ l: [1], n: [words()] }),
    fault: TOO_MUCH_WORK,
  },
  'a list as a key': {
    template: forEver('{{ o[k] }}'),
    data: () => ({ o: {}, k: [words()] }),
    fault: TOO_MUCH_WORK,
  },
};

const COMPARISONS: Record<string, Attack> = {
  'equal nested lists': {
    template: forEver('{% if a == a %}{% endif %}'),
    data: () => ({ a: nested(5, numbers()) }),
    fault: TOO_MUCH_WORK,
  },
  'a case of nested lists': {
    template: forEver('{% case a %}{% when a %}{% endcase %}'),
    data: () => ({ a: nested(5, numbers()) }),
    fault: TOO_MUCH_WORK,
  },
  'a word among many': {
    template: forEver('{% if a contains "none" %}{% endif %}'),
    data: () => ({ a: words() }),
    fault: TOO_MUCH_WORK,
  },
  'a needle made for the slow search': {
    template: forEver('{% if a contains b %}{% endif %}'),
    data: () => ({ a: longText(), b: `b${'a'.repeat(999)}` }),
    fault: TOO_MUCH_WORK,
  },
  'a needle as large as the haystack': {
    template: '{% if a contains b %}{% endif %}',
    data: () => ({ a: longText(), b: `b${'a'.repeat(500_000)}` }),
    fault: 'searches for a text longer than',
  },
  'the order of long texts': {
    template: forEver('{% if a < b %}{% endif %}'),
    data: () => ({ a: longText(), b: `${longText()}b` }),
    fault: TOO_MUCH_WORK,
  },
  'the order of lists': {
    template: forEver('{% if a < b %}{% endif %}x'),
    data: () => ({ a: [words()], b: [words()] }),
    fault: TOO_MUCH_WORK,
  },
  'blank made of many blanks': {
    template: forEver('{% if a == blank %}{% endif %}'),
    data: () => ({ a: `${' '.repeat(1_000_000)}x` }),
    fault: TOO_MUCH_WORK,
  },
  'lists within themselves': {
    template: `${SELF_NESTING}{% if a == a %}x{% endif %}`,
    fault: TOO_MUCH_WORK,
  },
};

const GROWTH: Record<string, Attack> = {
  'parts that are escaped': {
    field: 'html',
    template: '{{ a }}'.repeat(2000),
    data: () => ({ a: '<'.repeat(100_000) }),
    fault: TOO_MUCH_WORK,
  },
  'outputs that are escaped': {
    field: 'html',
    template: forEver('{% assign x = a %}{% capture y %}{{ x }}{% endcapture %}'),
    data: () => ({ a: '<'.repeat(100_000) }),
    fault: TOO_MUCH_WORK,
  },
  'doubling by append': {
    template:
      '{% assign a = "x" %}{% for i in (1..40) %}{% assign a = a | append: a %}{% endfor %}',
    fault: TOO_LONG,
  },
  'doubling by capture': {
    template: `{% assign a = "x" %}{% for i in (1..40) %}
      {%- capture a %}{{ a }}{{ a }}{% endcapture %}{% endfor %}`,
    fault: TOO_LONG,
  },
  'doubling by concat': {
    template: `{% assign a = "x,y" | split: "," %}${forEver('{% assign a = a | concat: a %}')}`,
    fault: TOO_MUCH_WORK,
  },
  'replacing nothing by everything': {
    template: '{{ a | replace: "", a | replace: "", a }}',
    data: () => ({ a: 'x'.repeat(5000) }),
    fault: TOO_MUCH_WORK,
  },
  'lists within themselves, printed': { template: `${SELF_NESTING}{{ a }}`, fault: TOO_MUCH_WORK },
  'lists within themselves, as JSON': {
    template: `${SELF_NESTING}{{ a | json | size }}`,
    fault: TOO_MUCH_WORK,
  },
  'a list in a list in a list': {
    template: `{% assign a = "x,y" | split: "," %}{% for i in (1..9000) %}{% assign a = a | group_by: "k" | map: "items" %}{% endfor %}{{ a }}`,
    // Which of the two comes first depends on the stack of the process.
    fault: `nested too deeply|${TOO_MUCH_WORK}`,
  },
  'a long text, often': {
    template: '{{ a }}{{ a }}',
    data: () => ({ a: 'x'.repeat(600_000) }),
    fault: TOO_LONG,
  },
  'a long text, escaped': {
    template: '{{ a | escape }}',
    data: () => ({ a: '&'.repeat(300_000) }),
    fault: TOO_LONG,
  },
  'letters of a long text': {
    template: forEver('{% assign x = a | split: "" %}'),
    data: () => ({ a: longText() }),
    fault: TOO_MUCH_WORK,
  },
  'parts that come to nothing': {
    template: '{{ a | upcase | truncate: 3 }}'.repeat(2000),
    data: () => ({ a: longText() }),
    fault: TOO_MUCH_WORK,
  },
  'parts that count rows': {
    template: '{{ a | size }}'.repeat(2000),
    data: () => ({ a: rows() }),
    fault: TOO_MUCH_WORK,
  },
  'data nested too deeply': {
    template: '{{ a }}',
    data: () => ({ a: nested(10_000, 1) }),
    fault: 'nested deeper than 64',
  },
  'data that holds itself': {
    template: '{{ a }}',
    data: () => {
      const a: unknown[] = [];
      a.push(a, a);
      return { a };
    },
    fault: 'nested deeper than 64',
  },
  'a list that is nothing but long': {
    template: '{{ a }}',
    data: () => ({ a: new Array(4_000_000_000) }),
    fault: TOO_MUCH_WORK,
  },
};

/** Each filter at its slowest, over and over. */
const FILTER_LOOPS: [filter: string, data: () => unknown][] = [
  ...[
    ...['upcase', 'capitalize', 'strip: "a"', 'strip_html', 'squish', 'truncate: 999999'],
    ...['replace: "a", "b"', 'remove: "a"', 'remove_last: "baaaaaaaaaa"', 'slice: 5, 999999'],
    ...['truncatewords: 5', 'prepend: "x"', 'times: 3', 'date: "%Y"', 'json', 'url_encode'],
  ].map((filter): [string, () => unknown] => [filter, longText]),
  ['escape', () => '&'.repeat(100_000)],
  ['escape_once', () => '&amp;'.repeat(100_000)],
  ['strip_html', () => '<script'.repeat(100_000)],
  ['strip_html', () => '<a>'.repeat(100_000)],
  ['squish', () => ' a'.repeat(300_000)],
  ['newline_to_br', () => '\r\n'.repeat(100_000)],
  ['url_encode', () => 'é'.repeat(100_000)],
  ['url_decode', () => '%41'.repeat(100_000)],
  ['cgi_escape', () => '!'.repeat(100_000)],
  ['slugify: "latin"', () => 'é '.repeat(100_000)],
  ['number_of_words: "auto"', () => '中a '.repeat(100_000)],
  ['round: 9999', () => '9'.repeat(100_000)],
  ...[
    ...['sort', 'sort_natural', 'reverse', 'uniq', 'compact', 'join', 'size', 'json'],
    ...['array_to_sentence_string', 'concat: v', 'map: "x.y.z"', 'default: v'],
  ].map((filter): [string, () => unknown] => [filter, words]),
  ...[
    ...['where: "d.e.f", 3', 'reject: "d.e.f"', 'find: "v", "none"', 'has: "v", "none"'],
    ...['sort: "d.e.f"', 'map: "d.e.f"', 'sum: "d.e.f"', 'group_by: "v"', 'join', 'uniq'],
  ].map((filter): [string, () => unknown] => [filter, rows]),
  ['date: "%c%c%c%c%c%c%c%c%c%c%A%B"', () => 0],
  ['date: "%B", "Asia/Shanghai"', () => '2026-01-01T00:00:00Z'],
];

const FILTERS: Record<string, Attack> = {
  ...Object.fromEntries(
    FILTER_LOOPS.map(([filter, value], i): [string, Attack] => [
      `${i}: ${filter}`,
      {
        template: forEver(`{% assign x = v | ${filter} %}`),
        data: () => ({ v: value() }),
        fault: TOO_MUCH_WORK,
      },
    ]),
  ),
  'sort of long texts': {
    template: `{% for i in (1..11) %}{% assign v = v | concat: v %}{% endfor %}{{ v | sort | size }}`,
    data: () => ({ v: ['b', 'c'].map((end) => 'a'.repeat(90_000) + end) }),
    fault: TOO_MUCH_WORK,
  },
  'a wide date': { template: '{{ 0 | date: "%5000000d" }}', fault: 'wider than 30' },
  'a wide fraction': { template: '{{ 0 | date: "%5000000N" }}', fault: 'wider than 30' },
  'a long date format': {
    template: '{{ 0 | date: f }}',
    data: () => ({ f: '%c'.repeat(5000) }),
    fault: 'date format longer than',
  },
  'a pattern as long as the text': {
    template: '{{ a | replace: b, "" }}',
    data: () => ({ a: longText(), b: `b${'a'.repeat(500_000)}` }),
    fault: 'searches for a text longer than',
  },
  'a property with a long name': {
    template: '{{ a | map: b }}',
    data: () => ({ a: [1], b: 'a.'.repeat(100_000) }),
    fault: 'more than 200 characters',
  },
};

const ATTACKS = { loops: LOOPS, comparisons: COMPARISONS, growth: GROWTH, filters: FILTERS };

interface Report {
  name: string;
  text?: string;
  error?: PlainError;
}

function carryOut({ template, data, ...attack }: Attack): Omit<Report, 'name'> {
  const field = attack.field ?? 'text';
  const compiled = compileContent({ [field]: template }, { htmlFields: ['html'] });
  try {
    return { text: String(renderContent(compiled, data?.() ?? {}, { now: 0 })[field]) };
  } catch (error) {
    if (error instanceof ServiceError) return { error: error.toPlain() };
    throw error;
  }
}

/** A hundred times what one rendering may take: nothing that ends by itself comes near it. */
const KILL_LIMIT_MS = 10_000;

/** Carries out all attacks in a worker; how the last one ended when the worker did not. */
async function attackAll(reports: Map<string, Report>): Promise<string> {
  // A tenth of what a machine has: nothing here may need more.
  const worker = new Worker(new URL(import.meta.url), {
    resourceLimits: { maxOldGenerationSizeMb: 160, maxYoungGenerationSizeMb: 32 },
  });
  let underWay = '';
  let ending = '';
  let killer: NodeJS.Timeout | undefined;
  worker.on('message', (report: Report | { begins: string }) => {
    clearTimeout(killer);
    if (!('begins' in report)) {
      reports.set(report.name, report);
      return;
    }
    underWay = report.begins;
    killer = setTimeout(() => {
      ending = `was killed during: ${underWay}`;
      worker.terminate();
    }, KILL_LIMIT_MS);
  });
  worker.on('error', (error) => {
    ending = `died during: ${underWay} (${String(error)})`;
  });
  await new Promise((resolve) => worker.on('exit', resolve));
  clearTimeout(killer);
  return ending;
}

if (isMainThread) {
  describe('a rendering ends by itself, in little memory', () => {
    const reports = new Map<string, Report>();
    let ending = '';

    before(async () => {
      ending = await attackAll(reports);
    });

    for (const [group, attacks] of Object.entries(ATTACKS)) {
      for (const [name, { fault, field }] of Object.entries<Attack>(attacks)) {
        test(`${group}: ${name}`, () => {
          const report = reports.get(`${group} ${name}`);
          assert.ok(report, `was not rendered; the worker ${ending}`);
          assert.ok(report.error, `gave a text of ${report.text?.length} characters`);
          assert.equal(report.error.code, 'invalid_data');
          assert.equal(report.error.errors?.[0]?.path, field ?? 'text');
          assert.match(String(report.error.errors?.[0]?.message), new RegExp(fault));
        });
      }
    }
  });
} else {
  for (const [group, attacks] of Object.entries(ATTACKS)) {
    for (const [name, attack] of Object.entries(attacks)) {
      parentPort?.postMessage({ begins: `${group} ${name}` });
      parentPort?.postMessage({ name: `${group} ${name}`, ...carryOut(attack) });
    }
  }
}
