import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { analyzeSync } from 'liquidjs';
import { parseTemplate } from './liquid.ts';
import { measureMarkup } from './markup.ts';

const NO_LIMITS = { count: Infinity, length: Infinity, terms: Infinity };
const measure = (source: string) => measureMarkup(source, NO_LIMITS);

test('outputs and tags are counted with their characters and terms', () => {
  const table: [source: string, count: number, length: number, terms: number][] = [
    ['', 0, 0, 0],
    ['a { b } {', 0, 0, 0],
    ['{{ a }}', 1, 7, 3],
    ['x {{ a.b | size }} y } z', 1, 16, 7],
    ['{% if a == "b c" %}x{% endif %}', 2, 30, 13],
    ['{{ a_1 }} {{名 字}}', 2, 16, 7],
    ['{{ a }} | b | c {{ d', 2, 11, 4],
    ['{{ "}} | b" }} | c', 1, 14, 8],
    ['{{{{', 2, 4, 0],
  ];
  for (const [source, count, length, terms] of table) {
    assert.deepEqual(measure(source), { count, length, terms }, source);
  }
});

test('counting stops where there is too much', () => {
  const limits = { count: 2, length: 1000, terms: 1000 };
  assert.equal(measureMarkup('{{ a }}'.repeat(1_000_000), limits).count, 3);
  assert.equal(measureMarkup('{{ a b }}'.repeat(1_000_000), { ...NO_LIMITS, terms: 10 }).count, 3);
});

test('a template has no more filters, arguments and variables than were counted', () => {
  const piece = fc.constantFrom(
    ...[
      ' | upcase',
      '|append:"x"',
      '|append: b.c',
      '| default:1',
      ' | default:1,1',
      ':1-1',
      ',1',
      '.d',
    ],
    ...[
      ' ',
      '"x',
      "'",
      '"',
      '\\',
      '[1]',
      '\u00a0',
      '名',
      '-',
      ' == b',
      ' }}{{ a',
      ' }}x{% echo 1 %}{{ b',
    ],
  );
  let parsed = 0;
  fc.assert(
    fc.property(fc.array(piece, { minLength: 1, maxLength: 12 }), (pieces) => {
      const source = `{{ a${pieces.join('')} }}`;
      let parts = 0;
      try {
        const templates = parseTemplate(source, { html: false });
        for (const paths of Object.values(analyzeSync(templates, { partials: false }).variables))
          for (const path of paths) parts += path.toArray().length;
        parts += JSON.stringify(templates, ['value', 'filters', 'name']).split('"name"').length - 1;
      } catch {
        return;
      }
      parsed += 1;
      assert.ok(parts <= measure(source).terms, `${source}: ${parts}`);
    }),
    { numRuns: 5000 },
  );
  assert.ok(parsed > 500, `only ${parsed} were templates`);
});
