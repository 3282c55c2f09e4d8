import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compileContent } from './compile.ts';
import { missingVariables, variablesOf } from './variables.ts';

const compile = (...texts: string[]) => compileContent({ texts }, { htmlFields: [] });
const NEEDS_LIQUID = '{% if false %}{% endif %}';

test('variables are listed once, in order, the same by parts and by liquidjs', () => {
  const table: [template: string, variables: string[]][] = [
    ['{{ name }} {{ user.name }} {{ name }}', ['name', 'user.name']],
    [
      '{{ items[0].price }}{{ items.first }}{{ items.1 }}',
      ['items.0.price', 'items.first', 'items.1'],
    ],
    ['{{ a["b c"].d }}{{ ["x y"] }}{{ 名字 }}', ['a["b c"].d', '["x y"]', '["名字"]']],
    ['{{ "text" | append: a.b | default: c }}{{ 1 }}{{ nil }}', ['a.b', 'c']],
    ['{{ items | map: "name" | join: sep }}', ['items', 'sep']],
  ];
  for (const [template, variables] of table) {
    assert.deepEqual(variablesOf(compile(template)), variables);
    assert.deepEqual(variablesOf(compile(template + NEEDS_LIQUID)).sort(), variables.toSorted());
  }
});

test('names that a template gives are not variables of the data', () => {
  const template = `
    {% assign total = order.total | plus: fee %}{{ total }}
    {% for item in order.items limit: max %}{{ item.name }}{{ forloop.index }}{{ currency }}{% else %}{{ none }}{% endfor %}
    {% capture line %}{{ user.name }}{% endcapture %}{{ line }}
    {% case state %}{% when done, "x" %}{% endcase %}{% if a.b and c == d %}{% elsif e %}{% endif %}
    {% unless f %}{% endunless %}{% for i in (from..to) %}{{ prices[i].eur }}{% endfor %}{% cycle g, "h" %}{% echo j %}`;
  assert.deepEqual(variablesOf(compile(template)).sort(), [
    ...['a.b', 'c', 'currency', 'd', 'done', 'e', 'f', 'fee', 'from', 'g', 'j', 'max', 'none'],
    ...['order.items', 'order.total', 'prices[i].eur', 'state', 'to', 'user.name'],
  ]);
});

test('looking for missing variables is paid for like a rendering', () => {
  const data = { o: Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`k${i}`, 1])) };
  const counts = Array.from({ length: 100 }, (_, i) => `{{ o.size.a${i} }}`).join('');
  const missing = missingVariables(compile(`{{ first }}${counts}{{ last }}`), data);
  assert.deepEqual(missing, ['first', 'o.size.a0', 'o.size.a1', 'o.size.a2']);
});

test('missing variables are those that the data has not', () => {
  const compiled = compile(
    '{{ user.name }}{{ user.email }}{{ nothing }}{{ list[1] }}{{ list[2] }}{{ toString }}{{ list.size }}',
    '{% if user.vip %}{{ prices[currency].eur }}{{ rates[currency] }}{{ user.email.size }}{% endif %}',
  );
  const data = {
    user: { name: '' },
    nothing: null,
    list: [0, undefined],
    prices: {},
    currency: 'eur',
  };
  assert.deepEqual(missingVariables(compiled, data).sort(), [
    ...[
      'list.1',
      'list.2',
      'rates[currency]',
      'toString',
      'user.email',
      'user.email.size',
      'user.vip',
    ],
  ]);
  assert.deepEqual(missingVariables(compile('{{ a }}'), null), ['a']);
  assert.deepEqual(missingVariables(compile('none'), {}), []);
});

test('whatever the template, data made for its variables leaves none missing', () => {
  const segment = fc.constantFrom('a', 'b', 'c1', 'size', 'first', 'x-y');
  const path = fc.array(segment, { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(fc.array(path, { maxLength: 5 }), fc.boolean(), (paths, liquid) => {
      const texts = paths.map((all) => `{{ ${all.join('.')} }}${liquid ? NEEDS_LIQUID : ''}`);
      const compiled = compile(...texts);
      assert.deepEqual(variablesOf(compiled), [...new Set(paths.map((all) => all.join('.')))]);
      const data: Record<string, unknown> = {};
      for (const all of paths) {
        let object = data;
        for (const key of all) {
          object[key] ??= {};
          object = object[key] as Record<string, unknown>;
        }
      }
      assert.deepEqual(missingVariables(compiled, data), []);
    }),
  );
});
