/** What comes out: values as text, escaping, bounds, and that nothing of the data ever runs. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ServiceError } from '../errors.ts';
import { compileContent } from './compile.ts';
import { renderContent } from './render.ts';
import { RENDER_LIMITS } from './work.ts';

const OPTIONS = { now: Date.UTC(2026, 10, 22) };

/** A template may go either way: this one needs liquidjs whatever stands before it. */
const NEEDS_LIQUID = '{% if false %}{% endif %}';

function render(template: string, data: unknown, field: 'text' | 'html' = 'text'): string {
  const compiled = compileContent({ [field]: template }, { htmlFields: ['html'] });
  const text = renderContent(compiled, data, OPTIONS)[field];
  assert.equal(typeof text, 'string');
  return text as string;
}

/** The text, which must be the same by parts and by liquidjs. */
function bothWays(template: string, data: unknown, field?: 'text' | 'html'): string {
  const text = render(template, data, field);
  assert.equal(render(template + NEEDS_LIQUID, data, field), text);
  return text;
}

function faultOf(call: () => unknown): { code: string; path: string; message: string } {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof ServiceError, String(error));
    const { path, message } = error.errors?.[0] ?? { path: '', message: '' };
    return { code: error.code, path, message };
  }
  return assert.fail('was not refused');
}

describe('content', () => {
  const content = {
    subject: 'Hi {{ name }}',
    actions: [{ label: '{{ label | upcase }}', url: 'https://example.com/{{ id }}' }],
    badge: 3,
    silent: true,
    nothing: null,
    plain: 'no {braces} here',
  };

  test('has its templates filled in at any depth, and all else as it was', () => {
    const compiled = compileContent(content, { htmlFields: [] });
    const rendered = renderContent(compiled, { name: 'Ada', label: 'go', id: 7 }, OPTIONS);
    assert.deepEqual(rendered, {
      ...content,
      subject: 'Hi Ada',
      actions: [{ label: 'GO', url: 'https://example.com/7' }],
    });
  });

  test('is new each time', () => {
    const compiled = compileContent(content, { htmlFields: [] });
    const first = renderContent(compiled, {}, OPTIONS);
    (first['actions'] as { label: string }[]).push({ label: 'changed' });
    first['subject'] = 'changed';
    assert.equal(renderContent(compiled, {}, OPTIONS)['subject'], 'Hi ');
    assert.deepEqual(renderContent(compiled, {}, OPTIONS)['actions'], [
      { label: '', url: 'https://example.com/' },
    ]);
  });

  test('names the field in which rendering fails', () => {
    const compiled = compileContent(
      { title: 'a', actions: [{ label: 'b' }, { label: 'x\n {{ c | url_decode }}' }] },
      { htmlFields: [] },
    );
    for (const suffix of ['', NEEDS_LIQUID]) {
      const faulty = { actions: [{ label: `x\n {{ c | url_decode }}${suffix}` }] };
      const again = compileContent(faulty, { htmlFields: [] });
      const fault = faultOf(() => renderContent(again, { c: '%' }, OPTIONS));
      assert.deepEqual([fault.code, fault.path], ['invalid_data', 'actions.0.label']);
      assert.match(fault.message, /URI malformed/);
      if (suffix) assert.match(fault.message, /\(line 2, column 2\)$/);
    }
    assert.equal(
      faultOf(() => renderContent(compiled, { c: '%' }, OPTIONS)).path,
      'actions.1.label',
    );
  });

  test('shares its bounds among its strings', () => {
    const text = 'x'.repeat(900_000);
    const one = compileContent({ a: '{{ text }}', b: '{{ text }}' }, { htmlFields: [] });
    assert.equal(String(renderContent(one, { text }, OPTIONS)['b']).length, 900_000);
    const many = compileContent(
      { a: '{{ text }}', b: ['{{ text }}', '{{ text }}'] },
      { htmlFields: [] },
    );
    const fault = faultOf(() => renderContent(many, { text }, OPTIONS));
    assert.deepEqual(fault, {
      ...{ code: 'invalid_data', path: 'b.1' },
      message: `makes the content longer than ${RENDER_LIMITS.totalLength} characters`,
    });
    const tooLong = { text: 'x'.repeat(RENDER_LIMITS.textLength) };
    assert.match(faultOf(() => render('{{ text }}!', tooLong)).message, /longer than 1000000/);
    assert.equal(render('{{ text }}', tooLong).length, RENDER_LIMITS.textLength);
  });
});

describe('values', () => {
  test('print as text', () => {
    const data = {
      ...{
        text: 'a b',
        empty: '',
        zero: 0,
        minus: -0,
        large: 1e21,
        part: 1.5,
        yes: true,
        no: false,
      },
      ...{ nothing: null, list: [1, 'a', null, [true]], object: { a: { b: '"' }, c: undefined } },
    };
    const printed: Record<string, string> = {
      ...{
        text: 'a b',
        empty: '',
        zero: '0',
        minus: '0',
        large: '1e+21',
        part: '1.5',
        yes: 'true',
      },
      ...{ no: 'false', nothing: '', missing: '', 'text.missing.more': '', 'list[9].a': '' },
      ...{ list: '[1,"a",null,[true]]', object: '{"a":{"b":"\\""}}', 'object.a': '{"b":"\\""}' },
      ...{ 'list.size': '4', 'object.size': '2', 'text.size': '3', size: '', first: '' },
      ...{ 'list.first': '1', 'list.last': '[true]', 'list[-1][0]': 'true', 'list.1': 'a' },
      ...{ 'object["a"].b': '"', 'object["a.b"]': '' },
    };
    for (const [variable, text] of Object.entries(printed)) {
      assert.equal(bothWays(`{{ ${variable} }}`, data), text, variable);
    }
  });

  test('print as nothing when they come from anything but an object', () => {
    for (const data of [undefined, null, 'text', 7, true, ['a'], () => 1]) {
      assert.equal(bothWays('{{ a }}{{ size }}{{ 0 }}!', data), '0!');
    }
  });

  test('own properties are the only ones', () => {
    const inherited = Object.assign(Object.create({ secret: 'x', inner: { secret: 'x' } }), {
      a: 1,
    });
    const data = { inherited, ...inherited };
    for (const name of ['secret', 'inherited.secret', 'inherited.inner.secret', 'toString']) {
      assert.equal(bothWays(`{{ ${name} }}`, data), '', name);
    }
    const own = JSON.parse('{"__proto__":"p","constructor":{"name":"c"},"size":"s","first":"f"}');
    const template =
      '{{ __proto__ }}{{ constructor.name }}{{ size }}{{ first }}{{ a.size }}{{ a }}';
    assert.equal(bothWays(template, { ...own, a: own }), `pcsfs${JSON.stringify(own)}`);
  });
});

describe('escaping', () => {
  const data = { name: `<b>"A" & 'B'</b>`, list: ['<'], object: { '<': '>' } };
  const ESCAPED = '&lt;b&gt;&#34;A&#34; &amp; &#39;B&#39;&lt;/b&gt;';

  test('is done in fields of HTML only', () => {
    assert.equal(bothWays('{{ name }}', data, 'html'), ESCAPED);
    assert.equal(bothWays('{{ name }}', data, 'text'), data.name);
    assert.equal(
      bothWays('{{ list }}{{ object }}', data, 'html'),
      '[&#34;&lt;&#34;]{&#34;&lt;&#34;:&#34;&gt;&#34;}',
    );
  });

  test('reaches everything below such a field, and nothing with its name elsewhere', () => {
    const compiled = compileContent(
      { html: { parts: ['{{ name }}'] }, other: { html: '{{ name }}' } },
      { htmlFields: ['html'] },
    );
    assert.deepEqual(renderContent(compiled, data, OPTIONS), {
      html: { parts: [ESCAPED] },
      other: { html: data.name },
    });
  });

  test('is done once, and not at all where the author says raw', () => {
    assert.equal(bothWays('{{ name | escape }}', data, 'html'), ESCAPED);
    assert.equal(bothWays('{{ name | escape_once }}', data, 'html'), ESCAPED);
    assert.equal(bothWays('{{ name | escape }}', data, 'text'), ESCAPED);
    assert.equal(bothWays('{{ name | raw }}', data, 'html'), data.name);
    assert.equal(bothWays('{{ name | raw | upcase }}', { name: '<b>' }, 'html'), '&lt;B&gt;');
  });

  test('is done by every tag that prints', () => {
    for (const template of [
      '{% echo name %}',
      '{% cycle name %}',
      '{% for x in list %}{{ x }}{% endfor %}',
      '{% assign x = name %}{{ x }}',
      '{% capture x %}{{ name }}{% endcapture %}{{ x }}',
    ]) {
      assert.doesNotMatch(render(template, data, 'html'), /[<>"']/, template);
    }
    assert.equal(
      render('{% capture x %}<i>{{ name }}</i>{% endcapture %}{{ x | raw }}', data, 'html'),
      `<i>${ESCAPED}</i>`,
    );
  });
});

describe('nothing runs', () => {
  /** Templates that read `a` in every way there is. */
  const readings = [
    ...['{{ a }}', '{{ a.x }}', '{{ a.get }}', '{{ a.size }}{{ a.first }}', '{{ a | json }}'],
    ...['{{ a | upcase }}', '{{ a | plus: 1 }}', '{{ 1 | plus: a }}', '{{ a | default: a }}'],
    ...['{{ a | join: a }}', '{{ a | sort | map: "x" | first }}', '{{ "x" | append: a }}'],
    ...['{{ a | where: "x", a | size }}', '{{ a | date: a }}', '{{ a | truncate: a }}'],
    ...['{{ a | uniq | concat: a | reverse | compact | group_by: "x" | size }}', '{{ b[a] }}'],
    ...[
      '{% for x in a %}{{ x }}{% endfor %}',
      '{% if a == a and a > 1 or a contains a %}{% endif %}',
    ],
    ...['{% case a %}{% when a %}x{% when 1 %}{% endcase %}', '{% for x in (a..a) %}{% endfor %}'],
    ...['{% for x in b limit: a offset: a %}{{ x }}{% endfor %}', '{% cycle a, a %}{% echo a %}'],
    ...['{% assign c = a %}{{ c.x }}{% capture d %}{{ a }}{% endcapture %}{{ d }}{{ [a] }}'],
  ];

  test('of hostile data', () => {
    const calls: string[] = [];
    const spy = (name: string) =>
      function called() {
        calls.push(name);
        return 'called';
      };
    const METHODS = [
      ...['toString', 'valueOf', 'toJSON', 'toLiquid', 'then', 'next', 'throw', 'return', 'call'],
      ...['equals', 'gt', 'lt', 'geq', 'leq', 'indexOf', 'liquidMethodMissing', 'x', 'size', 'map'],
    ];
    const SYMBOLS = [Symbol.toPrimitive, Symbol.iterator, Symbol.toStringTag, Symbol.species];
    const methods = Object.fromEntries(
      [...METHODS, ...SYMBOLS].map((key) => [key, spy(String(key))]),
    );
    const getters = Object.defineProperties(
      {},
      Object.fromEntries(
        ['get', ...METHODS].map((key) => [key, { get: spy(`get ${key}`), enumerable: true }]),
      ),
    );
    class Hostile {
      get x() {
        return spy('class x')();
      }
      toString = spy('class toString');
      [Symbol.toPrimitive] = spy('class toPrimitive');
    }
    const list = Object.assign([methods, getters, new Hostile()], methods);
    Object.defineProperty(list, 3, { get: spy('get 3'), enumerable: true });
    for (const a of [
      methods,
      getters,
      new Hostile(),
      list,
      spy('function'),
      [[methods]],
      new Map([[1, methods]]),
    ]) {
      for (const template of readings) {
        for (const field of ['text', 'html'] as const) {
          try {
            render(template, { a, b: [1] }, field);
          } catch (error) {
            assert.ok(error instanceof ServiceError, `${template}: ${error}`);
          }
        }
      }
      const root = Object.defineProperty({ b: 1 }, 'a', { get: spy('get a'), enumerable: true });
      assert.equal(bothWays('{{ a }}{{ a.b }}{{ b }}', root), '1');
    }
    assert.deepEqual(calls, []);
  });

  test('of what JavaScript has by every name', () => {
    for (const start of [
      '',
      'a.',
      'list.',
      'text.',
      'forloop.',
      '"text".',
      '(1..2).',
      'empty.',
      'nil.',
    ]) {
      for (const name of [
        'constructor',
        '__proto__',
        'prototype',
        'hasOwnProperty',
        'next',
        'valueOf',
      ]) {
        for (const end of ['', '.constructor', '.name', ' | json', '[0]', '["call"]']) {
          const template = `{% for i in list %}{{ ${start}${name}${end} }}{% endfor %}`;
          const text = render(template, { a: {}, list: [1], text: 'x' });
          assert.ok(text === '' || text === 'null', `${template}: ${text}`);
        }
      }
    }
    for (const call of ['constructor.constructor("return process")()', 'a.toString()']) {
      assert.equal(faultOf(() => render(`{{${call}}}`, { a: {} })).code, 'invalid_template', call);
    }
  });

  test('of names that an author gives', () => {
    const template = `{% assign __proto__ = a %}{% capture constructor %}x{% endcapture %}
      {%- for __proto__ in list %}{{ __proto__.b }}{% endfor %}
      {%- for x in list __proto__: 1 constructor: 2 limit: 1 %}{% endfor %}{{ constructor }}{{ polluted }}`;
    assert.equal(render(template, { a: { polluted: 1 }, list: [{ b: 'b', polluted: 1 }] }), 'bx');
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
  });
});

describe('variables that are missing', () => {
  const holesOf = (text: string, data: unknown = {}): string[] | undefined => {
    let told: string[] | undefined;
    const compiled = compileContent({ text }, { htmlFields: [] });
    renderContent(compiled, data, {
      ...OPTIONS,
      onMissing: (names) => {
        told = names;
      },
    });
    return told;
  };
  const NEEDS_LIQUID = '{% if true %}{% endif %}';

  test('are told once each, in the order in which they were met, by parts and by liquidjs', () => {
    const table: [text: string, names: string[] | undefined][] = [
      ['{{ name }} {{ user.name }} {{ name }}', ['name', 'user.name']],
      ['{{ here }}{{ none }}{{ empty_text }}{{ list[0] }}', undefined],
      ['{{ list[7] }}{{ here.x }}{{ a["b c"] }}', ['list.7', 'here.x', 'a["b c"]']],
      ['{{ here | append: other | append: "x" }}', ['other']],
      ['{{ name | default: "x" }}{{ name | upcase | default: y }}', undefined],
      ['{{ name | upcase }}', ['name']],
    ];
    const data = { here: 'x', none: null, empty_text: '', list: [1] };
    for (const [text, names] of table) {
      assert.deepEqual(holesOf(text, data), names, text);
      assert.deepEqual(holesOf(NEEDS_LIQUID + text, data), names, text);
    }
  });

  test('are not those that a template asks about or gives itself', () => {
    const asked = `{% if a %}{{ a }}{% elsif b.c == d %}{% endif %}{% unless e %}{% endunless %}
      {% case f %}{% when g, 1 %}{% endcase %}{% assign h = i | default: 1 %}{{ h }}
      {% capture j %}{% endcapture %}{{ j }}{% for k in l %}{{ k }}{{ forloop.index }}{% endfor %}`;
    assert.equal(holesOf(asked, { l: [1] }), undefined);
    assert.deepEqual(holesOf('{% assign a = b %}{{ a }}{{ a.c }}'), ['b']);
    assert.deepEqual(holesOf('{% for a in b %}{{ a.c }}{% endfor %}', { b: [{}, { c: 1 }, {}] }), [
      'a.c',
    ]);
    assert.deepEqual(holesOf('{% for a in b %}{% endfor %}{{ c[d] }}'), ['b', 'd']);
    assert.deepEqual(holesOf('{% if a %}{% endif %}{{ a }}'), ['a']);
  });

  test('are told in part when they are many or long', () => {
    const many = holesOf(Array.from({ length: 30 }, (_, i) => `{{ a${i} }}`).join('')) ?? [];
    assert.deepEqual([many.length, many[0], many[19]], [20, 'a0', 'a19']);
    const [long] = holesOf(`{{ ${'a'.repeat(5000)} }}`) ?? [];
    assert.equal(long, `${'a'.repeat(99)}…`);
    assert.equal(holesOf(`{{ a${'.b'.repeat(5000)} }}`)?.[0]?.length, 100);
  });
});
