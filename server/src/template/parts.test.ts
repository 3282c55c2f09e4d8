/** The short way to render gives what liquidjs gives, whatever the template and the data. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { describeFault } from './fault.ts';
import { FILTERS } from './filter.ts';
import { parseTemplate, renderTemplate } from './liquid.ts';
import { partsOf, plainPartsOf, renderParts } from './parts.ts';
import { RenderState } from './render-state.ts';

/** Names of which some mean something to JavaScript or to Liquid. */
const NAMES = [
  ...['name', 'user', 'items', 'a-b', '名字', 'ünïcode', 'x1', 'truer', 'nothing', 'order'],
  ...['size', 'first', 'last', 'length', 'index', 'forloop', 'empty', 'contains', 'not'],
  ...['constructor', '__proto__', 'prototype', 'toString', 'valueOf', 'toLiquid', 'then', 'next'],
];
const name = fc.constantFrom(...NAMES);

const scalar = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: 'grapheme', maxLength: 20 }) },
  fc.constantFrom('', ' ', '<b>"&\'', '\ud800', '2026-03-08', '12', '-1.5', 'NaN', '{{ x }}'),
  fc.integer(),
  fc.double(),
  fc.constantFrom(0, -0, 1e21, Number.NaN, Number.POSITIVE_INFINITY, true, false, null, undefined),
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
);

const { value: anyValue } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalar,
    fc.array(tie('value'), { maxLength: 4 }),
    record(tie('value')),
  ),
}));

/** Keys become own properties, `__proto__` too. */
function record(value: fc.Arbitrary<unknown>): fc.Arbitrary<Record<string, unknown>> {
  return fc
    .array(fc.tuple(name, value), { maxLength: 6 })
    .map((entries) => Object.fromEntries(entries));
}

const path = fc
  .tuple(
    name,
    fc.array(
      fc.oneof(
        name.map((key) => `.${key}`),
        name.map((key) => `["${key}"]`),
        fc.integer({ min: -3, max: 3 }).map((index) => `[${index}]`),
        fc.integer({ min: 0, max: 3 }).map((index) => `.${index}`),
      ),
      { maxLength: 3 },
    ),
  )
  .map(([root, rest]) => root + rest.join(''));

const literal = fc.oneof(
  fc.constantFrom("'text'", '"a,b c"', "''", "'%Y-%m-%d %A'", "'\\'\\n'", "'é'", "' '"),
  fc.constantFrom('0', '3', '-2', '1.5', 'true', 'false', 'nil', 'empty', 'blank'),
);
const operand = fc.oneof({ weight: 3, arbitrary: path }, { weight: 1, arbitrary: literal });
const filter = fc
  .tuple(fc.constantFrom(...FILTERS.keys()), fc.array(operand, { maxLength: 2 }))
  .map(([filterName, args]) => `${filterName}${args.length > 0 ? ': ' : ''}${args.join(', ')}`);

const output = fc
  .tuple(
    fc.constantFrom('{{ ', '{{', '{{- ', '{{\n\t'),
    operand,
    fc.array(filter, { maxLength: 3 }),
    fc.constantFrom(' }}', '}}', ' -}}', '\r\n}}'),
  )
  .map(([open, source, filters, close]) => open + [source, ...filters].join(' | ') + close);

const text = fc.oneof(
  fc.constantFrom(' ', '\n\n', '{ ', '}', '}}', '%}', '{ {', '<p class="x">', '价格：', '\u00a0'),
  fc.string({ unit: 'binary', maxLength: 10 }).map((any) => any.replaceAll('{', '(')),
);
const comment = fc.constantFrom('{% comment %}{{ x }}{% endcomment %}', '{%- # x -%}');
const template = fc
  .array(
    fc.oneof(
      { weight: 4, arbitrary: output },
      { weight: 3, arbitrary: text },
      { weight: 1, arbitrary: comment },
    ),
    { minLength: 1, maxLength: 6 },
  )
  .map((pieces) => pieces.join(''));

const OPTIONS = { now: Date.UTC(2026, 2, 8, 6, 30), timezone: 'America/New_York', locale: 'de' };

interface Rendered {
  text: string;
  missing: string[] | undefined;
}

/** The text and what it has holes for, or what is wrong without its place in the template, which the parts do not know. */
function outcomeOf(render: (state: RenderState) => string, data: unknown): Rendered | string {
  const state = new RenderState(data, OPTIONS);
  try {
    return { text: render(state), missing: state.missing };
  } catch (error) {
    return `fault: ${describeFault(error).replace(/ \(line \d+, column \d+\)$/, '')}`;
  }
}

/** Nothing when it is not a template: `{{ not }}`. */
function parsed(source: string, html: boolean) {
  try {
    return parseTemplate(source, { html });
  } catch {
    return [];
  }
}

test('parts render what liquidjs renders', () => {
  let compared = 0;
  let withHoles = 0;
  fc.assert(
    fc.property(template, record(anyValue), fc.boolean(), (source, data, html) => {
      const templates = parsed(source, html);
      const parts = partsOf(templates);
      if (templates.length === 0 || parts === undefined) return;
      compared += 1;
      const byParts = outcomeOf((state) => renderParts(parts, state), data);
      if (typeof byParts === 'object' && byParts.missing !== undefined) withHoles += 1;
      assert.deepEqual(
        byParts,
        outcomeOf((state) => renderTemplate(templates, { html }, state), data),
      );
    }),
    { numRuns: 3000 },
  );
  assert.ok(compared > 1500, `only ${compared} templates became parts`);
  assert.ok(withHoles > 500, `only ${withHoles} had holes`);
});

test('plain parts are those that liquidjs would have found', () => {
  const plainOutput = fc
    .tuple(
      fc.constantFrom('{{ ', '{{', '{{- ', '{{\n', '{{{ '),
      fc.oneof(
        path,
        literal,
        fc.constantFrom('a.b.c', 'a-', 'a.-b', '_a', '1a', 'a..b', 'not', 'and'),
      ),
      fc.constantFrom(' }}', '}}', ' -}}', '-}}', ' }', '\n}}', ' | upcase }}'),
    )
    .map((pieces) => pieces.join(''));
  const source = fc
    .array(fc.oneof(plainOutput, text), { minLength: 1, maxLength: 4 })
    .map((pieces) => pieces.join(''));
  let found = 0;
  fc.assert(
    fc.property(source, fc.boolean(), (plain, html) => {
      const parts = plainPartsOf(plain, html);
      if (parts === undefined) return;
      found += 1;
      assert.deepEqual(parts, partsOf(parsed(plain, html)));
    }),
    { numRuns: 5000 },
  );
  assert.ok(found > 800, `only ${found} templates were plain`);
});

test('text, outputs and comments are all it takes to become parts', () => {
  const becomesParts = (source: string) =>
    partsOf(parseTemplate(source, { html: true })) !== undefined;
  for (const source of ['a {{ b }} c', '{{ a.b[0]["c"] | upcase | default: d.e }}', '{% # a %}b']) {
    assert.equal(becomesParts(source), true, source);
  }
  for (const source of [
    ...['{% if a %}b{% endif %}', '{{ a[b] }}', '{{ (1..3) }}', '{{ a == b }}'],
    ...['{{ a | default: "b", allow_false: true }}', '{{ "a".size }}', '{% raw %}a{% endraw %}'],
  ]) {
    assert.equal(becomesParts(source), false, source);
  }
});
