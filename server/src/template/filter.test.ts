/** What filters make of values that have no text; liquid.test.ts holds the rest to liquidjs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyFilter, FILTERS, type TemplateFilter } from './filter.ts';
import { plainCopy } from './value.ts';
import { Work } from './work.ts';

function apply(name: string, value: unknown, ...args: unknown[]): unknown {
  const scope = { work: new Work(), options: { now: 0 } };
  const [given, ...rest] = [value, ...args].map((any) => plainCopy(any, scope.work));
  return applyFilter(FILTERS.get(name) as TemplateFilter, scope, given, rest);
}

test('lists and objects are JSON to filters of text, and no number to those of numbers', () => {
  const list = ['a', { b: 1 }];
  assert.equal(apply('upcase', list), '["A",{"B":1}]');
  assert.equal(apply('append', 'x', list), 'x["a",{"b":1}]');
  assert.equal(apply('truncate', 'abcdefgh', 5, []), 'abc[]');
  assert.equal(apply('url_encode', { a: 'é' }), '%7B%22a%22%3A%22%C3%A9%22%7D');
  assert.equal(apply('plus', [5], 1), 1);
  assert.equal(apply('times', 2, { valueOf: 3 }), 0);
  assert.equal(apply('round', { a: 1 }), 0);
  assert.equal(Array.isArray(apply('date', list, '%Y')), true);
});

test('elements of a list become text one by one', () => {
  const list = ['a', null, 1, ['b', ['c']], { d: true }];
  assert.equal(apply('join', list, '|'), 'a||1|["b",["c"]]|{"d":true}');
  assert.equal(apply('join', list), 'a  1 ["b",["c"]] {"d":true}');
  assert.equal(apply('join', 'text', '|'), 'text');
  assert.equal(apply('array_to_sentence_string', [1, { a: 2 }, 'c'], 'or'), '1, {"a":2}, or c');
});

test('what has no order goes to the end', () => {
  const list = [{ k: null, i: 0 }, { k: 2, i: 1 }, { k: ['a'], i: 2 }, { i: 3 }, { k: 1, i: 4 }];
  const order = (sorted: unknown) => (sorted as { i: number }[]).map(({ i }) => i);
  assert.deepEqual(order(apply('sort', list, 'k')), [4, 1, 0, 2, 3]);
  assert.deepEqual(order(apply('sort_natural', list, 'k')), [4, 1, 0, 2, 3]);
  assert.deepEqual(apply('sort_natural', ['b', 'A', 10, 9]), [10, 9, 'A', 'b']);
});

test('properties are reached by a dotted name, and are own ones', () => {
  const list = [
    { a: { b: 1 } },
    { a: null },
    'text',
    null,
    JSON.parse('{"a":{"b":2,"__proto__":3}}'),
  ];
  assert.deepEqual(apply('map', list, 'a.b'), [1, undefined, undefined, undefined, 2]);
  assert.deepEqual(apply('map', list, 'a.__proto__'), [
    undefined,
    undefined,
    undefined,
    undefined,
    3,
  ]);
  assert.equal(String(apply('map', list, 'constructor')), ',,,,');
  assert.equal(apply('sum', list, 'a.b'), 3);
  assert.equal((apply('where', list, 'a.b', 2) as unknown[]).length, 1);
  assert.equal((apply('where', list, 'a') as unknown[]).length, 2);
  assert.equal((apply('reject', list, 'a') as unknown[]).length, 3);
  assert.equal(apply('has', list, 'a.b', 5), false);
  assert.equal(
    (apply('where', [{ a: [1, [2]] }, { a: [1] }], 'a', [1, [2]]) as unknown[]).length,
    1,
  );
});

test('size is that of texts, lists and objects', () => {
  assert.deepEqual(
    ['abc', [1, 2], { a: 1 }, { size: 9 }, 5, null, true].map((value) => apply('size', value)),
    [3, 2, 1, 9, 0, 0, 0],
  );
});

test('groups have a name and items, and nothing else', () => {
  const groups = apply('group_by', [{ k: 1 }, { k: '1' }, { k: 1, x: 1 }, {}], 'k') as object[];
  assert.deepEqual(
    groups.map((group) => ({ ...group, items: (group as { items: object[] }).items.length })),
    [
      { name: 1, items: 2 },
      { name: '1', items: 1 },
      { name: undefined, items: 1 },
    ],
  );
  assert.equal(Object.getPrototypeOf(groups[0]), null);
});

test('json prints what data can hold', () => {
  assert.equal(apply('json', [1, 'a"', null, undefined, Number.NaN]), '[1,"a\\"",null,null,null]');
  assert.equal(apply('json', undefined), 'null');
  assert.equal(
    apply('json', () => 1),
    'null',
  );
});
