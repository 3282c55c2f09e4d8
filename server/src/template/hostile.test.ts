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
  /** A part of the message with which rendering is given up. */
  fault: string;
  /** Made in the worker: some of it is large. */
  data?: (() => Record<string, unknown>) | undefined;
  field?: 'text' | 'html';
}

type Attacks = Record<string, Attack>;

const WORK = 'takes too much work';
const LONG = 'makes a text longer than 1000000 characters';

function attack(template: string, fault: string, data?: Attack['data']): Attack {
  return { template, fault, data };
}

/**
 * A template that does something so often that it must be given up. Where what it does costs
 * much each time, the turns are few enough that only what it does can be too much work.
 */
function times(turns: number, body: string): string {
  return `{% for turn in (1..${turns}) %}${body}{% endfor %}`;
}

/** Five million times, if it were let. */
function forEver(body: string): string {
  return times(100_000, `{% for b in (1..50) %}${body}{% endfor %}`);
}

function nested(levels: number, inner: unknown): unknown {
  let value = inner;
  for (let i = 0; i < levels; i++) value = [value];
  return value;
}

const longText = () => 'a'.repeat(900_000);
const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
const words = () => numbers(20_000).map((i) => `w${(i * 7919) % 20_011}`);
const rows = () => numbers(5000).map((i) => ({ k: i % 7, v: `v${i}`, d: { e: { f: i } } }));
const manyKeys = () => Object.fromEntries(words().map((word) => [word, 1]));
/** 30 times: join the list with itself and wrap it up, so that it holds itself 2^30 times. */
const SELF_NESTING = `{% assign a = "x,y" | split: "," %}
  ${times(30, '{% assign a = a | concat: a | group_by: "k" | map: "items" %}')}`;

const LOOPS: Attacks = {
  'empty for': attack(forEver(''), WORK),
  'ten million turns': attack('{% for i in (1..10000000) %}{% endfor %}', WORK),
  'output in a loop': attack(forEver('{{ a }}'), WORK),
  'text in a loop': attack(forEver('x'.repeat(100)), LONG),
  'loops over data': attack(
    `${'{% for x in r %}'.repeat(6)}x${'{% endfor %}'.repeat(6)}`,
    WORK,
    () => ({
      r: numbers(100),
    }),
  ),
  'a range beyond counting': attack(
    '{% for i in (9007199254740992..9007199254740994) %}{% endfor %}',
    'numbers too large',
  ),
  'a range of data beyond counting': attack(
    '{{ (a..b) | size }}{% for i in (a..b) %}{% endfor %}',
    'numbers too large',
    () => ({ a: -1e300, b: '-1e300' }),
  ),
  'a range without end': attack('{{ (1..b) | size }}', 'numbers too large', () => ({
    b: 'Infinity',
  })),
  'a range in an index': attack('{{ a[(1..1000000000).size] }}', WORK),
  'a range, often': attack(times(200, '{% assign x = (1..10000) %}'), WORK),
  'a long condition': attack(
    times(200, `{% if true${' and true'.repeat(5000)} %}{% endif %}`),
    WORK,
  ),
  'a long list of literals': attack(times(200, `{% assign x = ${'1 '.repeat(15_000)} %}`), WORK),
  'a long case': attack(
    times(200, `{% case a %}${'{% when "x", "y" %}'.repeat(1000)}{% endcase %}`),
    WORK,
  ),
  'a long cycle': attack(times(200, `{% cycle "${'a'.repeat(90_000)}", 1 %}`), WORK),
  'the first of many keys': attack(
    times(20, '{% for x in o limit: 1 %}{% endfor %}'),
    WORK,
    () => ({ o: manyKeys() }),
  ),
  'the first of a long list': attack(
    times(400, '{% for x in l reversed %}{% break %}{% endfor %}'),
    WORK,
    () => ({ l: words() }),
  ),
  'the number of many keys': attack(times(20, '{{ o.size }}'), WORK, () => ({ o: manyKeys() })),
  'the number of many keys, in parts': attack('{{ o.size }}'.repeat(20), WORK, () => ({
    o: manyKeys(),
  })),
  'a list as the limit': attack(forEver('{% for x in l limit: n %}{% endfor %}'), WORK, () => ({
    ...{ l: [1], n: [numbers(200_000)] },
  })),
  'a list as a key': attack(forEver('{{ o[k] }}'), WORK, () => ({
    ...{ o: {}, k: [numbers(200_000)] },
  })),
};

const COMPARISONS: Attacks = {
  'equal nested lists': attack(times(200, '{% if a == a %}{% endif %}'), WORK, () => ({
    a: nested(5, numbers(10_000)),
  })),
  'a case of nested lists': attack(
    times(200, '{% case a %}{% when a %}{% endcase %}'),
    WORK,
    () => ({
      a: nested(5, numbers(10_000)),
    }),
  ),
  'a word among many': attack(times(100, '{% if a contains "none" %}{% endif %}'), WORK, () => ({
    a: words(),
  })),
  'equal long texts': attack(times(20, '{% if a == b %}{% endif %}'), WORK, () => ({
    ...{ a: longText(), b: longText() },
  })),
  'a needle made for the slow search': attack(
    times(20, '{% if a contains b %}{% endif %}'),
    WORK,
    () => ({ a: longText(), b: `b${'a'.repeat(999)}` }),
  ),
  'a needle as large as the haystack': attack(
    '{% if a contains b %}{% endif %}',
    'searches for a text longer than',
    () => ({ a: longText(), b: `b${'a'.repeat(500_000)}` }),
  ),
  'the order of long texts': attack(times(20, '{% if a < b %}{% endif %}'), WORK, () => ({
    ...{ a: longText(), b: `${longText()}b` },
  })),
  'the order of lists': attack(forEver('{% if a < b %}{% endif %}'), WORK, () => ({
    ...{ a: [numbers(100_000)], b: [numbers(100_000)] },
  })),
  'blank made of many blanks': attack(times(20, '{% if a == blank %}{% endif %}'), WORK, () => ({
    a: `${' '.repeat(900_000)}x`,
  })),
  'many keys that are not empty': attack(times(20, '{% if o == empty %}{% endif %}'), WORK, () => ({
    o: manyKeys(),
  })),
  'lists within themselves': attack(`${SELF_NESTING}{% if a == a %}x{% endif %}`, WORK),
};

const GROWTH: Attacks = {
  'doubling by append': attack(
    `{% assign a = "x" %}${times(40, '{% assign a = a | append: a %}')}`,
    LONG,
  ),
  'doubling by capture': attack(
    `{% assign a = "x" %}${times(40, '{% capture a %}{{ a }}{{ a }}{% endcapture %}')}`,
    LONG,
  ),
  'doubling by concat': attack(
    `{% assign a = "x,y" | split: "," %}${times(40, '{% assign a = a | concat: a %}')}`,
    WORK,
  ),
  'replacing nothing by everything': attack(
    '{{ a | replace: "", a | replace: "", a }}',
    WORK,
    () => ({ a: 'x'.repeat(5000) }),
  ),
  'lists within themselves, printed': attack(`${SELF_NESTING}{{ a }}`, WORK),
  'lists within themselves, as JSON': attack(`${SELF_NESTING}{{ a | json | size }}`, WORK),
  'a list in a list in a list': attack(
    `{% assign a = "x,y" | split: "," %}${times(9000, '{% assign a = a | group_by: "k" | map: "items" %}')}{{ a }}`,
    // Which of the two comes first depends on the stack of the process.
    `nested too deeply|${WORK}`,
  ),
  'a long text, often': attack('{{ a }}{{ a }}', LONG, () => ({ a: 'x'.repeat(600_000) })),
  'a long text, escaped': attack('{{ a | escape }}', LONG, () => ({ a: '&'.repeat(300_000) })),
  'parts that come to nothing': attack('{{ a | upcase | truncate: 3 }}'.repeat(20), WORK, () => ({
    a: longText(),
  })),
  'parts that count rows': attack('{{ a | size }}'.repeat(20), WORK, () => ({ a: rows() })),
  'parts that are escaped': {
    ...attack('{{ a }}'.repeat(15), WORK, () => ({ a: '<'.repeat(100_000) })),
    field: 'html',
  },
  'outputs that are escaped': {
    ...attack(times(15, '{% capture y %}{{ a }}{% endcapture %}'), WORK, () => ({
      a: '<'.repeat(100_000),
    })),
    field: 'html',
  },
  'data nested too deeply': attack('{{ a }}', 'nested deeper than 64', () => ({
    a: nested(10_000, 1),
  })),
  'data that holds itself': attack('{{ a }}', 'nested deeper than 64', () => {
    const a: unknown[] = [];
    a.push(a, a);
    return { a };
  }),
  'a list that is nothing but long': attack('{{ a }}', WORK, () => ({ a: new Array(4e9) })),
};

/** Filters at their slowest, with as many turns as are too many. */
const SLOWEST: [turns: number, value: () => unknown, filters: string[]][] = [
  [
    10,
    longText,
    [
      ...['upcase', 'capitalize', 'strip: "a"', 'strip_html', 'squish', 'truncate: 900000'],
      ...['replace: "a", "b"', 'remove: "a"', 'remove_last: "baaaaaaaaaa"', 'slice: 5, 900000'],
      ...['truncatewords: 5', 'prepend: "x"', 'times: 3', 'date: "%Y"', 'json', 'split: ""'],
    ],
  ],
  [20, () => '&'.repeat(100_000), ['escape', 'escape_once', 'url_encode']],
  [40, () => '<script'.repeat(100_000), ['strip_html']],
  [40, () => '<a>'.repeat(100_000), ['strip_html']],
  [20, () => ' a'.repeat(300_000), ['squish', 'truncatewords: 5', 'normalize_whitespace']],
  [20, () => '\r\n'.repeat(100_000), ['newline_to_br', 'strip_newlines']],
  [10, () => 'é'.repeat(100_000), ['url_encode']],
  [40, () => 'é '.repeat(100_000), ['slugify: "latin"']],
  [40, () => '%41'.repeat(100_000), ['url_decode']],
  [40, () => '中a '.repeat(100_000), ['number_of_words: "auto"']],
  [80, () => '9'.repeat(100_000), ['round: 9999', 'plus: 1']],
  [
    30,
    words,
    [
      ...['sort', 'sort_natural', 'reverse', 'uniq', 'compact', 'join', 'json', 'concat: v'],
      ...['array_to_sentence_string', 'map: "x.y.z"', 'default: v'],
    ],
  ],
  [60, words, ['size', 'first', 'last']],
  [
    10,
    rows,
    [
      ...['where: "d.e.f", 3', 'reject: "d.e.f"', 'find: "d.e.f", "none"', 'has: "v", "none"'],
      ...['sort: "d.e.f"', 'map: "d.e.f"', 'sum: "d.e.f"', 'group_by: "d.e.f"', 'join'],
    ],
  ],
  [5000, () => 0, ['date: "%c%c%c%c%c%c%c%c%c%c%A%B"', 'date: "%B", "Asia/Shanghai"']],
];

const FILTERS: Attacks = {
  ...Object.fromEntries(
    SLOWEST.flatMap(([turns, value, filters], i) =>
      filters.map((filter): [string, Attack] => [
        `${i}: ${filter}`,
        attack(times(turns, `{% assign x = v | ${filter} %}`), WORK, () => ({ v: value() })),
      ]),
    ),
  ),
  'sort of long texts': attack('{{ v | concat: v | concat: v | sort | size }}', WORK, () => ({
    v: numbers(50).map((i) => `${'a'.repeat(50_000)}${i}`),
  })),
  'a wide date': attack('{{ 0 | date: "%5000000d" }}', 'wider than 30'),
  'a wide fraction': attack('{{ 0 | date: "%5000000N" }}', 'wider than 30'),
  'a long date format': attack('{{ 0 | date: f }}', 'date format longer than', () => ({
    f: '%c'.repeat(5000),
  })),
  'a pattern as long as the text': attack(
    '{{ a | replace: b, "" }}',
    'searches for a text longer than',
    () => ({ a: longText(), b: `b${'a'.repeat(500_000)}` }),
  ),
  'a property with a long name': attack('{{ a | map: b }}', 'more than 200 characters', () => ({
    ...{ a: [1], b: 'a.'.repeat(100_000) },
  })),
};

const ATTACKS = { loops: LOOPS, comparisons: COMPARISONS, growth: GROWTH, filters: FILTERS };

interface Report {
  name: string;
  text?: string;
  error?: PlainError;
}

function carryOut({ template, data, field = 'text' }: Attack): Omit<Report, 'name'> {
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
      for (const [name, { fault, field }] of Object.entries(attacks)) {
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
    for (const [name, one] of Object.entries(attacks)) {
      parentPort?.postMessage({ begins: `${group} ${name}` });
      parentPort?.postMessage({ name: `${group} ${name}`, ...carryOut(one) });
    }
  }
}
