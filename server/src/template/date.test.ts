import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Liquid } from 'liquidjs';
import { compileContent } from './compile.ts';
import { type DateOptions, formatDate } from './date.ts';
import { renderContent } from './render.ts';

const NOW = Date.UTC(2026, 10, 22, 17, 4, 5, 67);

function format(value: unknown, pattern?: string, options: Partial<DateOptions> = {}): unknown {
  return formatDate(value, pattern, undefined, { now: NOW, ...options });
}

describe('directives', () => {
  test('are those of liquidjs', () => {
    // It reads the fields of a Date in the zone of the process.
    process.env['TZ'] = 'UTC';
    const stock = new Liquid({ timezoneOffset: 0, locale: 'en' });
    const padded = fc
      .tuple(
        fc.constantFrom('', '-', '_', '0', '^', '#', '_^', '-#'),
        fc.constantFrom('', '1', '3', '6', '12'),
        fc.constantFrom(...'aAbBCdeHIjklLmMNpPsSuUwWyY'),
      )
      .map((pieces) => `%${pieces.join('')}`);
    const plain = fc.constantFrom(
      '%h',
      '%q',
      '%z',
      '%:z',
      '%n',
      '%t',
      '%%',
      '%',
      '%!',
      '%E',
      ' x ',
    );
    const pattern = fc.array(fc.oneof(padded, plain), { maxLength: 6 }).map((all) => all.join(''));
    const seconds = fc.oneof(
      fc.integer({ min: -62_135_596_800, max: 253_402_300_799 }),
      // Parts of seconds that are whole milliseconds: liquidjs cuts off, we round.
      fc.integer({ min: 0, max: 32e9 }).map((eighths) => eighths / 8),
    );
    fc.assert(
      fc.property(seconds, pattern, (value, directives) => {
        const expected = stock.parseAndRenderSync('{{ v | date: f }}', { v: value, f: directives });
        assert.equal(format(value, directives), expected);
      }),
      { numRuns: 2000 },
    );
    assert.equal(format(0), stock.parseAndRenderSync('{{ 0 | date }}'));
  });

  test('that liquidjs has not: ISO date, time and week', () => {
    assert.equal(
      format('2027-01-03T04:05:06Z', '%F %T %R %G-W%V'),
      '2027-01-03 04:05:06 04:05 2026-W53',
    );
    assert.equal(format('0033-04-03T00:00:00Z', '%Y %C %y'), '0033 00 33');
  });

  test('that nobody has stay as they are', () => {
    assert.equal(format(0, '%Q %K %^3J %'), '%Q %K %^3J %');
  });
});

describe('a value', () => {
  const FORMAT = '%F %T %:z';

  test('is an ISO date, or seconds since 1970', () => {
    const table: [value: unknown, text: string][] = [
      ['2026-03-08T06:30:00Z', '2026-03-08 06:30:00 +00:00'],
      ['2026-03-08T06:30:00.123+08:00', '2026-03-07 22:30:00 +00:00'],
      ['2026-03-08 06:30:00 -0500', '2026-03-08 11:30:00 +00:00'],
      ['2026-03-08 06:30', '2026-03-08 06:30:00 +00:00'],
      [' 2026-03-08t06:30z ', '2026-03-08 06:30:00 +00:00'],
      ['2024-02-29', '2024-02-29 00:00:00 +00:00'],
      ['1772951400', '2026-03-08 06:30:00 +00:00'],
      [1772951400.5, '2026-03-08 06:30:00 +00:00'],
      ['now', '2026-11-22 17:04:05 +00:00'],
      ['today', '2026-11-22 17:04:05 +00:00'],
    ];
    for (const [value, text] of table) assert.equal(format(value, FORMAT), text, String(value));
  });

  test('that is no date comes back as it is', () => {
    for (const value of [
      ...['', 'tomorrow', '2026-02-30', '2026-13-01', '2026-03-08T25:00', '8 March 2026', '1e9'],
      ...['9'.repeat(30), '9'.repeat(1000), '2026-03-08T06:30:00+99:00', 1e300, Number.NaN, null],
      ...[undefined, true, ['2026-03-08'], { year: 2026 }],
    ]) {
      assert.equal(format(value, FORMAT), value, String(value));
    }
  });

  test('with an offset is shown in the zone, one without as it is written', () => {
    const timezone = 'America/New_York';
    assert.equal(
      format('2026-03-08T06:59:59Z', FORMAT, { timezone }),
      '2026-03-08 01:59:59 -05:00',
    );
    assert.equal(
      format('2026-03-08T07:00:00Z', FORMAT, { timezone }),
      '2026-03-08 03:00:00 -04:00',
    );
    assert.equal(format('2026-12-24', FORMAT, { timezone }), '2026-12-24 00:00:00 -05:00');
    // An hour that the clocks skip is the one they skip to.
    assert.equal(format('2026-03-08T02:30', FORMAT, { timezone }), '2026-03-08 03:30:00 -04:00');
    assert.equal(format(0, '%F %Z', { timezone: '+08:00' }), '1970-01-01 +08:00');
  });
});

describe('the result', () => {
  const render = (template: string, options: DateOptions): unknown =>
    renderContent(compileContent({ text: template }, { htmlFields: [] }), {}, options)['text'];
  const template =
    '{{ "now" | date: "%A %-d %B %H:%M %Z %c" }} {{ 0 | date: "%R", "Asia/Kathmandu" }}';

  test('depends on the options alone, not on where or when the process runs', () => {
    const options = { now: NOW, timezone: 'Asia/Shanghai', locale: 'de-DE' };
    const texts = ['America/New_York', 'UTC', 'Pacific/Auckland'].map((zone) => {
      process.env['TZ'] = zone;
      return render(template, options);
    });
    assert.deepEqual(
      texts,
      texts.map(() => 'Montag 23 November 01:04 Asia/Shanghai 23.11.2026, 01:04:05 05:30'),
    );
    assert.equal(
      render(`${template}{% if true %}{% endif %}`, options),
      texts[0],
      'liquidjs has another clock',
    );
  });

  test('has English names where the locale is unknown, and fails where the zone is', () => {
    for (const locale of [undefined, 'en', 'zz-1', 'not a locale', '']) {
      assert.equal(format(0, '%A', { locale }), 'Thursday', String(locale));
    }
    assert.equal(format(0, '%A', { locale: 'zh-CN' }), '星期四');
    for (const timezone of ['Mars/Olympus', '', 'now']) {
      assert.throws(() => format(0, '%A', { timezone }), /unknown timezone/);
    }
    assert.throws(
      () => render('{{ 0 | date: "%A", "Mars/Olympus" }}', { now: 0 }),
      /unknown timezone/,
    );
  });

  test('has bounds', () => {
    assert.equal(String(format(0, '%30d')).length, 30);
    assert.throws(() => format(0, '%31d'), /wider than 30/);
    assert.throws(() => format(0, '%5000000d'), /wider than 30/);
    assert.throws(() => format(0, 'x'.repeat(201)), /longer than 200/);
  });
});
