/** The language: what liquidjs makes of it without our bounds, and where we differ on purpose. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Liquid } from 'liquidjs';
import { FILTERS } from './filter.ts';
import { parseTemplate, renderTemplate, TAGS } from './liquid.ts';
import { RenderState } from './render-state.ts';

const stock = new Liquid({ ownPropertyOnly: true, strictFilters: true });
const stockHtml = new Liquid({
  ownPropertyOnly: true,
  strictFilters: true,
  outputEscape: 'escape',
});

function render(source: string, data: unknown, html = false): string {
  const state = new RenderState(data, { now: 0 });
  return renderTemplate(parseTemplate(source, { html }), { html }, state);
}

/** Plain data, as liquidjs would like it. */
interface PlainData {
  text: string;
  count: number;
  flag: boolean;
  list: (string | number)[];
  rows: { name: string; price: number; tags: string[] }[];
  prices: Record<string, number>;
}

const word = fc.string({ unit: 'grapheme', maxLength: 12 });
const data: fc.Arbitrary<PlainData> = fc.record({
  text: fc.oneof(word, fc.constantFrom('a b  c', '<b>', '12', 'a,b,c', ' x ')),
  count: fc.oneof(fc.integer({ min: -5, max: 12 }), fc.double({ noNaN: true })),
  flag: fc.boolean(),
  list: fc.array(fc.oneof(word, fc.integer({ min: 0, max: 5 })), { maxLength: 5 }),
  rows: fc.array(
    fc.record({
      name: word,
      price: fc.integer({ min: 0, max: 100 }),
      tags: fc.array(fc.constantFrom('a', 'b'), { maxLength: 3 }),
    }),
    { maxLength: 4 },
  ),
  prices: fc.dictionary(fc.constantFrom('eur', 'usd', 'cny'), fc.integer(), {
    noNullPrototype: true,
  }),
});

/** Single values only: what they print as, and compare as, is the same everywhere. */
const variable = fc.constantFrom(
  ...['text', 'count', 'flag', 'made', 'missing', 'rows[0].name', 'rows.last.price'],
  ...['list.first', 'list[-1]', 'list.size', 'prices.eur', 'prices["usd"]', 'prices[text]'],
  ...['forloop.index', 'forloop.rindex0', 'forloop.last', 'forloop.length', 'rows[count].name'],
  ...['entry', 'row.name', 'row.price', 'row.tags.size', 'pair[0]', 'pair[1]', 'i'],
);
const literal = fc.constantFrom('1', '-2.5', '"a"', "'b c'", 'true', 'false', 'nil', '12');
const value = fc.oneof({ weight: 3, arbitrary: variable }, { weight: 1, arbitrary: literal });
const textFilter = fc.constantFrom(
  ...['upcase', 'downcase', 'capitalize', 'strip', 'lstrip', 'rstrip', 'squish', 'escape'],
  ...['append: "x"', 'prepend: text', 'remove: "a"', 'remove_first: "a"', 'remove_last: "a"'],
  ...['replace: "a", "é"', 'replace_first: "a", "b"', 'replace_last: "a", "b"', 'strip_html'],
  ...['truncate: 4', 'truncate: 3, "…"', 'truncatewords: 1', 'default: "none"', 'escape_once'],
  ...['default: count', 'default: "x", allow_false: true', 'slice: 1', 'slice: -2, 2', 'size'],
  ...['newline_to_br', 'strip_newlines', 'number_of_words', 'slugify', 'split: "," | join: "-"'],
  ...['plus: 1', 'minus: count', 'times: 2', 'divided_by: 3', 'modulo: 3', 'round: 1', 'abs'],
  ...['ceil', 'floor', 'at_least: 2', 'at_most: 3', 'xml_escape'],
);
/** What a list comes to when it is printed: liquidjs prints lists in a way of its own. */
const list = fc.constantFrom(
  ...['list | join', 'list | join: ", "', 'list | sort_natural | join: "|"', 'list | first'],
  ...['list | reverse | last', 'list | uniq | size', 'list | concat: list | size'],
  ...['rows | map: "name" | join: ";"', 'rows | sort: "price" | map: "name" | first'],
  ...['rows | where: "price", 3 | size', 'rows | where: "name" | size', 'rows | sum: "price"'],
  ...['rows | reject: "price", count | size', 'rows | group_by: "price" | size'],
  ...['rows | has: "name", text', 'rows | find: "price", 3 | map: "name" | first'],
  ...['list | array_to_sentence_string', 'rows | map: "tags" | compact | size', '(1..4) | join'],
  ...['list | slice: 1, 2 | join', 'rows | group_by: "price" | map: "items" | size'],
);
const output = fc
  .oneof(
    {
      weight: 2,
      arbitrary: fc
        .tuple(value, fc.array(textFilter, { maxLength: 2 }))
        .map(([a, f]) => [a, ...f].join(' | ')),
    },
    { weight: 1, arbitrary: list },
  )
  .map((expression) => `{{ ${expression} }}`);

const condition = fc
  .tuple(
    value,
    fc.constantFrom('==', '!=', '<', '<=', '>', '>=', 'contains', ''),
    fc.oneof(value, fc.constantFrom('empty', 'blank', 'list')),
    fc.constantFrom('', ' and flag', ' or count > 3', ' and list contains "a"'),
  )
  // Whether a list comes before a text is one of our differences.
  .filter(([, operator, right]) => right !== 'list' || !/[<>]|contains/.test(operator))
  .map(([left, operator, right, more]) => left + (operator ? ` ${operator} ${right}` : '') + more);

const { body } = fc.letrec<{ body: string; node: string }>((tie) => ({
  body: fc.array(tie('node'), { maxLength: 4 }).map((nodes) => nodes.join('')),
  node: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(' ', 'text', '\n', '<br>', '{% break %}', '{% continue %}', '{%- # note -%}'),
    output,
    fc.constantFrom(
      '{% cycle "a", text %}',
      '{% cycle 1: flag, "b" %}',
      '{% echo text | upcase %}',
    ),
    value.map((a) => `{% assign made = ${a} %}`),
    tie('body').map((inner) => `{% capture made %}${inner}{% endcapture %}`),
    fc
      .tuple(condition, tie('body'), tie('body'))
      .map(([c, a, b]) => `{% if ${c} %}${a}{% else %}${b}{% endif %}`),
    fc
      .tuple(condition, tie('body'))
      .map(([c, a]) => `{% unless ${c} %}${a}{%- elsif flag -%}x{% endunless %}`),
    fc
      .tuple(value, value, tie('body'))
      .map(
        ([a, b, x]) =>
          `{% case ${a} %}{% when ${b}, "b" %}${x}{% when 1 or 12 %}y{% else %}z{% endcase %}`,
      ),
    fc
      .tuple(
        fc.constantFrom(
          ...[
            'entry in list',
            'entry in row.tags',
            'entry in text',
            'row in rows',
            'pair in prices',
          ],
          ...['i in (1..3)', 'i in (rows.size..4)', 'i in missing'],
        ),
        fc.constantFrom(
          '',
          ' reversed',
          ' limit: 2',
          ' offset: 1',
          ' limit: count offset: list.size',
        ),
        tie('body'),
      )
      .map(([over, how, x]) => `{% for ${over}${how} %}${x}{% else %}none{% endfor %}`),
  ),
}));

describe('the language is that of liquidjs', () => {
  test('for templates of all kinds', () => {
    let compared = 0;
    fc.assert(
      fc.property(body, data, fc.boolean(), (source, values, html) => {
        // There, a value that an author has escaped is escaped once more.
        if (html && source.includes('escape')) return;
        let expected: string;
        try {
          expected = (html ? stockHtml : stock).parseAndRenderSync(source, structuredClone(values));
        } catch {
          assert.throws(() => render(source, values, html));
          return;
        }
        compared += 1;
        assert.equal(render(source, values, html), expected);
      }),
      { numRuns: 4000 },
    );
    assert.ok(compared > 2000, `only ${compared} templates were compared`);
  });

  test('for a loop that goes on where another ended', () => {
    const source = `{% for i in list limit: 2 %}{{ i }}{% endfor %}|
      {%- for i in list limit: 1 offset: continue %}{{ i }}{% endfor %}|
      {%- for i in list offset: continue %}{{ i }}{% endfor %}`;
    assert.equal(render(source, { list: [1, 2, 3, 4, 5] }), '12|3|45');
  });

  test('but for what is left out', () => {
    const left = (names: Iterable<string>, all: object) => {
      const kept = new Set(names);
      return Object.keys(all)
        .filter((name) => !kept.has(name))
        .sort();
    };
    assert.deepEqual(left(TAGS, stock.tags), [
      ...['block', 'decrement', 'include', 'increment', 'layout', 'liquid', 'render', 'tablerow'],
    ]);
    assert.deepEqual(left(FILTERS.keys(), stock.filters), [
      ...['base64_decode', 'base64_encode', 'cgi_escape', 'date_to_long_string', 'date_to_rfc822'],
      ...['date_to_string', 'date_to_xmlschema', 'find_exp', 'find_index', 'find_index_exp'],
      ...['group_by_exp', 'has_exp', 'hmac_sha256', 'inspect', 'jsonify', 'pop', 'push'],
      ...[
        'reject_exp',
        'sample',
        'sha256',
        'shift',
        'to_integer',
        'unshift',
        'uri_escape',
        'where_exp',
      ],
    ]);
    for (const name of left(TAGS, stock.tags)) {
      assert.throws(() => render(`{% ${name} "x" %}{% end${name} %}`, {}), /not found/, name);
    }
    for (const name of left(FILTERS.keys(), stock.filters)) {
      assert.throws(() => render(`{{ "x" | ${name}: "x", "y" }}`, {}), /undefined filter/, name);
    }
    assert.throws(
      () => render('{% if false %}{% cycle "a" | push: 1 %}{% endif %}', {}),
      /undefined filter/,
    );
  });

  test('but for null, which comes neither before nor after anything', () => {
    for (const comparison of ['null < 5', 'null <= 0', '0 >= null', 'null > -1', 'list < 5']) {
      const values = { null: null, list: [] };
      const source = `{% assign x = "no" %}{% if ${comparison.replace('null', 'a')} %}yes{% endif %}`;
      assert.equal(render(source, { ...values, a: null }), '', comparison);
    }
  });

  test('but for groups of a cycle, which must be written out', () => {
    assert.equal(
      render('{% cycle "g": 1, 2 %}{% cycle "g": 1, 2 %}{% cycle 7: 1, 2 %}', {}),
      '121',
    );
    for (const group of ['a', '(1..2)', 'a.b']) {
      assert.throws(() => render(`{% cycle ${group}: 1, 2 %}`, {}), /group of a cycle/, group);
    }
  });

  test('but for ranges, which go from one whole number to another', () => {
    const print = (range: string) =>
      render(`{% for i in ${range} %}{{ i }},{% endfor %}`, { a: 1.9, b: '3', c: [9], d: null });
    assert.equal(print('(a..b)'), '1,2,3,');
    for (const empty of ['(3..1)', '(c..b)', '(1..c)', '(d..b)', '(1..missing)']) {
      assert.equal(print(empty), '', empty);
    }
  });
});
