import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { FieldError } from '../errors.ts';
import { ServiceError } from '../errors.ts';
import { COMPILE_LIMITS, compileContent } from './compile.ts';
import { renderContent } from './render.ts';

function faultsOf(content: Record<string, unknown>): FieldError[] {
  try {
    compileContent(content, { htmlFields: ['html'] });
  } catch (error) {
    assert.ok(error instanceof ServiceError, String(error));
    assert.equal(error.code, 'invalid_template');
    return error.errors ?? [];
  }
  return [];
}

const kindsOf = (content: Record<string, unknown>) =>
  compileContent(content, { htmlFields: ['html'] }).texts.map(({ path, kind, html }) => [
    ...[path, kind, html],
  ]);

test('finds the templates of a content, and renders plain ones without liquidjs', () => {
  const content = {
    subject: 'Hi {{ name }}',
    html: '<p>{{ name | upcase }}</p>{% comment %}x{% endcomment %}',
    actions: [{ label: 'none here' }, { label: '{% if a %}b{% endif %}' }],
    count: 3,
  };
  assert.deepEqual(kindsOf(content), [
    ['subject', 'parts', false],
    ['html', 'parts', true],
    ['actions.1.label', 'liquid', false],
  ]);
  assert.deepEqual(kindsOf({ text: '{ } {a} }} %} 100 {' }), []);
});

describe('faults', () => {
  test('are told of every string that does not parse', () => {
    assert.deepEqual(
      faultsOf({
        subject: 'Hi {{ name',
        text: 'fine {{ name }}',
        html: 'a\nb {% if %}',
        actions: [{ label: '{{ a | shout }}' }, { label: 'fine' }],
        payload: { 'a.b': ['{% include "x" %}', '{% if a %}'] },
      }),
      [
        { path: 'subject', message: 'output "{{ name" not closed (line 1, column 4)' },
        { path: 'html', message: 'invalid value expression: "" (line 2, column 8)' },
        { path: 'actions.0.label', message: 'undefined filter: shout (line 1, column 1)' },
        { path: 'payload.a.b.0', message: 'tag "include" not found (line 1, column 1)' },
        { path: 'payload.a.b.1', message: 'tag {% if a %} not closed (line 1, column 1)' },
      ],
    );
  });

  test('have messages of bounded length', () => {
    const [fault] = faultsOf({ text: `{% for ${'x'.repeat(10_000)} %}` });
    assert.ok(fault !== undefined && fault.message.length < 350, String(fault?.message));
  });

  test('are told of names that JavaScript reserves', () => {
    const content = JSON.parse('{"text":"a","payload":{"__proto__":"{{ a }}"}}');
    assert.deepEqual(faultsOf(content), [
      { path: 'payload.__proto__', message: 'is no name for a field' },
    ]);
    const fine = compileContent(JSON.parse('{"constructor":"{{ a }}","toString":"b"}'), {
      htmlFields: [],
    });
    const rendered = renderContent(fine, { a: 1 }, { now: 0 });
    assert.equal(JSON.stringify(rendered), '{"constructor":"1","toString":"b"}');
  });
});

describe('limits', () => {
  const { sourceLength, totalLength, markup, depth, values } = COMPILE_LIMITS;
  const { count, length, terms } = markup;

  /** A content just within a limit, the same a little over it, and what is said then. */
  const cases: [name: string, within: object, over: object, path: string, message: RegExp][] = [
    [
      'characters of a template',
      { a: `{{ a }}${'x'.repeat(sourceLength - 7)}` },
      { a: `{{ a }}${'x'.repeat(sourceLength - 6)}` },
      ...(['a', /longer than 500000 characters/] as const),
    ],
    [
      'characters of all templates',
      { a: 'x'.repeat(totalLength), b: ['1', '2', '3'].map((n) => `{{ a }}${n.repeat(300_000)}`) },
      { b: ['1', '2', '3', '4'].map((n) => `{{ a }}${n.repeat(300_000)}`) },
      ...(['b.3', /together are longer/] as const),
    ],
    [
      'outputs and tags',
      { a: '{{ a }}'.repeat(count / 2), b: '{% # a %}'.repeat(count / 2) },
      { a: '{{ a }}'.repeat(count / 2), b: '{% # a %}'.repeat(count / 2 + 1) },
      ...(['b', /more than 2500 outputs and tags/] as const),
    ],
    [
      'characters of outputs and tags',
      { a: `{{ a${' '.repeat(length - 7)} }}${'x'.repeat(length)}` },
      { a: `{{ "}}" ${'1 '.repeat(length / 2)}}}` },
      ...(['a', /outputs and tags are longer/] as const),
    ],
    [
      'filters of one output',
      { a: `{{ a${'|upcase'.repeat(terms / 2 - 5)} }}` },
      { a: `{{ a${'|upcase'.repeat(terms / 2)} }}` },
      ...(['a', /more than 20000 names, values, filters and signs/] as const),
    ],
    [
      'values of one tag',
      { a: `{% cycle ${'1,'.repeat(terms / 2 - 5)}1 %}` },
      { a: `{% cycle ${'1,'.repeat(terms / 2)}1 %}` },
      ...(['a', /more than 20000 names, values, filters and signs/] as const),
    ],
    ['tags within tags', { a: blocks(16) }, { a: blocks(17) }, 'a', /tags are nested deeper/],
    [
      'tags within tags beyond the stack',
      {},
      { a: '{% if a %}'.repeat(2400) },
      ...(['a', /not closed|nested too deeply/] as const),
    ],
    [
      'variables within variables',
      { a: `{{ ${'a['.repeat(14)}b${']'.repeat(14)} }}` },
      { a: `{{ ${'a['.repeat(16)}b${']'.repeat(16)} }}` },
      ...(['a', /variables are nested deeper/] as const),
    ],
    [
      'variables within variables beyond the stack',
      {},
      { a: `{{ ${'a['.repeat(6000)}b${']'.repeat(6000)} }}` },
      ...(['a', /nested too deeply|variables are nested deeper/] as const),
    ],
    [
      'objects within objects',
      inner(depth),
      inner(depth + 1),
      'a'.repeat(depth + 1),
      /nested deeper/,
    ],
    [
      'values',
      { a: Array.from({ length: values - 2 }, () => 'x') },
      { a: Array.from({ length: values + 9 }, () => 'x') },
      ...([`a.${values - 2}`, /more than 5000 values/] as const),
    ],
  ];

  for (const [name, within, over, path, message] of cases) {
    test(name, () => {
      assert.deepEqual(faultsOf(within as Record<string, unknown>), []);
      const faults = faultsOf(over as Record<string, unknown>);
      assert.equal(faults.length, 1, JSON.stringify(faults.slice(0, 3)));
      assert.equal(faults[0]?.path.replaceAll('.a', 'a'), path);
      assert.match(String(faults[0]?.message), message);
    });
  }

  test('are no limits on text without markup', () => {
    const content = { a: 'x'.repeat(3_000_000), b: '{ '.repeat(500_000) };
    const compiled = compileContent(content, { htmlFields: [] });
    assert.deepEqual(renderContent(compiled, {}, { now: 0 }), content);
  });
});

function blocks(levels: number): string {
  return `${'{% for a in b %}'.repeat(levels)}x${'{% endfor %}'.repeat(levels)}`;
}

function inner(levels: number): Record<string, unknown> {
  return levels === 0 ? {} : { a: inner(levels - 1) };
}
