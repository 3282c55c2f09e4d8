/** What people type, and how answers are laid out: pure functions. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parseData, parseList, parseTexts } from './assignment.ts';
import { CommandFailure, EXIT, exitOf } from './exit.ts';
import { isBalanced } from './ledger.ts';
import { MessageWindow } from './message-window.ts';
import { parseMetrics } from './metric-text.ts';
import { parseDuration, parseMoment, parsePast } from './moment.ts';
import { exitOfOutcome } from './outcome.ts';
import { describeRecipient, parseRecipient } from './recipient.ts';
import { rowRequest } from './recipient-row.ts';
import { templateReference } from './send-request.ts';
import { counted, displayWidth, formatTable, printable, truncate } from './table.ts';

function usageError(pattern: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof CommandFailure, String(error));
    assert.equal(error.exitCode, EXIT.usage);
    assert.match([error.message, ...error.notes].join('\n'), pattern);
    return true;
  };
}

describe('times', () => {
  test('durations, alone and put together', () => {
    assert.equal(parseDuration('250ms', '--wait'), 250);
    assert.equal(parseDuration('5s', '--wait'), 5000);
    assert.equal(parseDuration('1.5m', '--wait'), 90_000);
    assert.equal(parseDuration('1h30m', '--wait'), 5_400_000);
    assert.equal(parseDuration('2w1d', '--wait'), 15 * 86_400_000);
  });

  for (const text of ['', '5', 's', '5 s', '-5s', '5x', '1h30', 'soon', '1e9d', '99999999w']) {
    test(`"${text}" is no duration`, () => {
      assert.throws(() => parseDuration(text, '--wait'), usageError(/^--wait/));
    });
  }

  test('moments: RFC 3339 with a zone, or from now', () => {
    const now = Date.UTC(2026, 10, 22, 8);
    assert.equal(parseMoment('+10m', '--send-at', now), '2026-11-22T08:10:00.000Z');
    assert.equal(parseMoment('2026-12-24T08:00:00Z', '--send-at', now), '2026-12-24T08:00:00Z');
    assert.equal(
      parseMoment('2026-12-24 08:00:00.5+01:00', '--send-at', now),
      '2026-12-24T08:00:00.5+01:00',
    );
  });

  for (const text of [
    '2026-12-24T08:00:00',
    '2026-12-24',
    'tomorrow',
    '2026-02-30T00:00:00Z',
    '2026-12-24T25:00:00Z',
    '+',
    '+x',
  ]) {
    test(`"${text}" is no moment`, () => {
      assert.throws(() => parseMoment(text, '--send-at', 0), usageError(/^--send-at/));
    });
  }

  test('moments that have passed', () => {
    const now = Date.UTC(2026, 10, 22, 8);
    assert.equal(parsePast('2h', '--since', now), '2026-11-22T06:00:00.000Z');
    assert.equal(parsePast('-2h', '--since', now), '2026-11-22T06:00:00.000Z');
    assert.equal(parsePast('2h ago', '--since', now), '2026-11-22T06:00:00.000Z');
    assert.equal(parsePast('2026-11-01T00:00:00Z', '--since', now), '2026-11-01T00:00:00Z');
  });

  for (const text of ['', '2099', '2026-12-24', '2026-02-30T00:00:00Z', 'yesterday', '2 h']) {
    test(`"${text}" is no moment that has passed: both ways to write one are told`, () => {
      assert.throws(
        () => parsePast(text, '--since', 0),
        usageError(/^--since: .* neither a duration nor a time with a zone\n.* 2h .*T08:00:00Z/),
      );
    });
  }

  test('a duration that is too long is no moment that has passed', () => {
    assert.throws(
      () => parsePast('2099w', '--since', 0),
      usageError(/^--since: 2099w is too long/),
    );
  });
});

describe('--data and --metadata', () => {
  test('pairs, JSON values, levels, objects and files lie over each other', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tidings-cli-'));
    try {
      const file = join(folder, 'data.json');
      writeFileSync(file, '{"a":"file","b":2}');
      assert.deepEqual(
        parseData([`@${file}`, 'a=text=with equals', 'order.id=7', 'order.sum:=9.5', '{"c":[1]}']),
        { a: 'text=with equals', b: 2, order: { id: '7', sum: 9.5 }, c: [1] },
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('keys that mean something to JavaScript are plain keys', () => {
    const data = parseData(['__proto__.polluted=yes', 'constructor=x']);
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
    assert.deepEqual(Object.keys(data), ['__proto__', 'constructor']);
    assert.equal(JSON.stringify(data), '{"__proto__":{"polluted":"yes"},"constructor":"x"}');
  });

  for (const text of [
    'novalue',
    '=x',
    ':=1',
    'a:=nonsense',
    '{',
    '[1]',
    '@/does/not/exist',
    'a..b=1',
    '{"a":1} x',
  ]) {
    test(`"${text}" is refused`, () => {
      assert.throws(() => parseData([text]), usageError(/^--data/));
    });
  }

  test('a value within a text is refused', () => {
    assert.throws(() => parseData(['a=1', 'a.b=2']), usageError(/a\.b lies within a/));
  });

  test('labels are texts', () => {
    assert.deepEqual(parseTexts(['a=1', '{"b":"x"}'], '--metadata'), { a: '1', b: 'x' });
    assert.throws(
      () => parseTexts(['{"b":1}'], '--metadata'),
      usageError(/--metadata b: must be a text/),
    );
    assert.throws(() => parseTexts(['b'], '--metadata'), usageError(/not of the form key=value/));
    assert.deepEqual(parseList(' a, b,,'), ['a', 'b']);
  });
});

describe('--to', () => {
  const cases: [string, string | undefined, object][] = [
    ['ada@example.com', undefined, { email: 'ada@example.com' }],
    ['user:42', undefined, { userId: '42' }],
    ['user:a:b', undefined, { userId: 'a:b' }],
    ['user:42', 'email', { userId: '42' }],
    ['email:ada@example.com', undefined, { email: 'ada@example.com' }],
    ['mailto:ada@example.com', undefined, { email: 'ada@example.com' }],
    ['webhook:https://example.com/a', undefined, { webhook: 'https://example.com/a' }],
    ['https://example.com/a', undefined, { webhook: 'https://example.com/a' }],
    ['https://example.com/a', 'slack', { slack: 'https://example.com/a' }],
    ['whe_00h4p8s3t6v', undefined, { webhook: 'whe_00h4p8s3t6v' }],
    ['in_app:42', undefined, { in_app: '42' }],
    ['+491701234567', 'sms', { sms: '+491701234567' }],
    ['token:with:colons', 'push', { push: 'token:with:colons' }],
    ['push:token', 'push', { push: 'token' }],
    ['{"userId":"42","email":"a@b.c"}', undefined, { userId: '42', email: 'a@b.c' }],
  ];
  for (const [text, channel, expected] of cases) {
    test(`${text}${channel ? ` over ${channel}` : ''}`, () => {
      assert.deepEqual(parseRecipient(text, channel, '--to'), expected);
    });
  }

  for (const text of ['', '42', 'user:', 'email:', 'Bob', '{"a"']) {
    test(`"${text}" is refused`, () => {
      assert.throws(() => parseRecipient(text, undefined, '--to'), usageError(/^--to/));
    });
  }

  test('in words', () => {
    assert.equal(describeRecipient({ email: 'a@b.c', name: 'A' }), 'a@b.c');
    assert.equal(describeRecipient({ userId: '42', email: 'a@b.c' }), 'user:42');
    assert.equal(describeRecipient({ webhook: 'x' }), 'webhook:x');
    assert.equal(describeRecipient({}), '(nobody)');
  });
});

describe('lines of recipients', () => {
  const base = { template: 't', data: { a: 1, b: { c: 2 } }, metadata: { run: '1' } };

  test('a bare recipient, as text or as object', () => {
    assert.deepEqual(rowRequest('a@b.c', base, undefined).body, {
      to: { email: 'a@b.c' },
      ...base,
    });
    assert.deepEqual(rowRequest({ email: 'a@b.c', name: 'A' }, base, undefined).body['to'], {
      email: 'a@b.c',
      name: 'A',
    });
  });

  test('a row of a table: data and labels by column, over those of all', () => {
    const row = {
      email: 'a@b.c',
      'data.b.d': 'x',
      'data.b.e': 'y',
      'metadata.k': 'v',
      idempotencyKey: 'k1',
    };
    assert.deepEqual(rowRequest(row, base, undefined), {
      body: {
        to: { email: 'a@b.c' },
        template: 't',
        data: { a: 1, b: { d: 'x', e: 'y' } },
        metadata: { run: '1', k: 'v' },
      },
      idempotencyKey: 'k1',
    });
    assert.deepEqual(base.data, { a: 1, b: { c: 2 } });
  });

  test('with `to`, the rest belongs to the request', () => {
    const row = { to: 'user:42', name: 'A', priority: 'high', data: { z: 1 } };
    assert.deepEqual(rowRequest(row, base, undefined).body, {
      to: { userId: '42', name: 'A' },
      template: 't',
      data: { a: 1, b: { c: 2 }, z: 1 },
      metadata: { run: '1' },
      priority: 'high',
    });
  });

  for (const [row, pattern] of [
    [null, /neither/],
    [[1], /neither/],
    [7, /neither/],
    [{}, /names nobody/],
    [{ 'data.x': '1' }, /names nobody/],
    [{ to: 7 }, /to: is neither/],
    [{ to: 'Bob' }, /how it is reached/],
    [{ email: 'a@b.c', idempotencyKey: 'ä' }, /idempotencyKey/],
    [{ email: 'a@b.c', data: 'text' }, /data: is not an object/],
  ] as [unknown, RegExp][]) {
    test(`${JSON.stringify(row)} is refused`, () => {
      assert.throws(() => rowRequest(row, base, undefined), usageError(pattern));
    });
  }
});

test('a template may be named with its version', () => {
  assert.equal(templateReference('a.b'), 'a.b');
  assert.deepEqual(templateReference('a@3'), { key: 'a', version: 3 });
  for (const text of ['a@', '@3', 'a@0', 'a@x', 'a@1.5']) {
    assert.throws(() => templateReference(text), usageError(/key@version/));
  }
});

describe('exit codes', () => {
  const message = (status: string) => ({ id: 'msg_1', route: ['email'], status }) as never;
  const exit = (statuses: string[], waited = true) =>
    exitOfOutcome({ id: 'ntf_1', status: 'accepted', messages: statuses.map(message) }, waited);

  test('of outcomes', () => {
    assert.equal(exit(['accepted'], false), EXIT.ok);
    assert.equal(exit(['delivered', 'delivered']), EXIT.ok);
    assert.equal(exit(['delivered', 'sent']), EXIT.timeout);
    assert.equal(exit(['failed', 'accepted']), EXIT.timeout);
    assert.equal(exit(['delivered', 'failed']), EXIT.partial);
    for (const status of ['failed', 'expired', 'suppressed', 'cancelled']) {
      assert.equal(exit([status]), EXIT.failed);
    }
  });

  test('of many tries', () => {
    assert.equal(exitOf({ succeeded: 2, failed: 0 }), EXIT.ok);
    assert.equal(exitOf({ succeeded: 2, failed: 1 }), EXIT.partial);
    assert.equal(exitOf({ succeeded: 0, failed: 1 }), EXIT.failed);
    assert.equal(exitOf({ succeeded: 0, failed: 0 }), EXIT.nothing);
  });
});

describe('tables', () => {
  test('columns line up, Chinese text included, without spaces at the end', () => {
    assert.equal(
      formatTable(
        ['ID', 'NAME', 'X'],
        [
          ['1', '李小龙', ''],
          ['22', 'Ada', 'y'],
        ],
      ),
      'ID  NAME    X\n1   李小龙\n22  Ada     y\n',
    );
  });

  test('the widest column gives way to a narrow terminal', () => {
    const text = formatTable(['A', 'B'], [['x'.repeat(50), '0123456789']], { width: 30 });
    for (const line of text.trimEnd().split('\n')) assert.ok(displayWidth(line) <= 30, line);
    assert.match(text, /x…\s+0123456789/);
  });

  test('nothing that steers a terminal comes through', () => {
    const text = formatTable(['A'], [['a\u001b[31mred\u0007\n\u202ex\u009b']]);
    assert.equal(text, 'A\na\\x1b[31mred\\x07\\n\\u202ex\\x9b\n');
    assert.equal(printable('tab\t'), 'tab\\t');
  });

  test('width and cutting', () => {
    assert.equal(displayWidth('e\u0301'), 1);
    assert.equal(displayWidth('👍'), 2);
    assert.equal(displayWidth('\u001b[31mred\u001b[39m'), 3);
    assert.equal(truncate('李小龙', 4), '李…');
    assert.equal(truncate('abc', 3), 'abc');
  });
});

test('metrics are read with their labels; what is no sample is passed over', () => {
  const text = [
    '# HELP a Some help',
    '# TYPE a gauge',
    'a 1',
    'b{lane="high",x="q\\"u\\\\o\\n"} 2.5 1700000000',
    'c NaN',
    'd +Inf',
    'nonsense',
    '',
  ].join('\n');
  assert.deepEqual(parseMetrics(text), [
    { name: 'a', labels: {}, value: 1 },
    { name: 'b', labels: { lane: 'high', x: 'q"u\\o\n' }, value: 2.5 },
  ]);
});

test('a ledger is added up, whatever it says of itself', () => {
  const ledger = {
    accepted: 6,
    delivered: 1,
    failed: 1,
    expired: 1,
    suppressed: 1,
    cancelled: 1,
    pending: 1,
  };
  assert.equal(isBalanced({ ...ledger, balanced: false }), true);
  assert.equal(isBalanced({ ...ledger, accepted: 7, balanced: true }), false);
});

test('a tail knows what it has shown, and forgets the oldest first', () => {
  const seen = new MessageWindow(2);
  assert.equal(seen.add({ id: 'a', status: 'accepted' }), true);
  assert.equal(seen.add({ id: 'b', status: 'accepted' }), true);
  assert.equal(seen.add({ id: 'a', status: 'accepted' }), false);
  assert.equal(seen.add({ id: 'a', status: 'delivered' }), true);
  assert.equal(seen.add({ id: 'c', status: 'accepted' }), true);
  assert.equal(seen.has('b'), false);
  assert.equal(seen.has('a'), true);
});

test('what is counted is named in the singular or the plural', () => {
  const texts = [0, 1, 2].map((count) => counted(count, 'user'));
  assert.deepEqual(texts, ['0 users', '1 user', '2 users']);
});
