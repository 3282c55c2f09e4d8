import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compilePattern, PATTERN_STEPS } from './pattern.ts';

/** Characters of the longest text that a pattern may be matched against, by powers of two. */
function reach(source: string): number {
  const { stepsFor } = compilePattern(source);
  let length = 1;
  while (length < 2 ** 20 && stepsFor(length * 2) <= PATTERN_STEPS) length *= 2;
  return length;
}

test('patterns in daily use are accepted, and match texts as long as they need to', () => {
  const table: [pattern: string, atLeast: number, matches: string, misses: string][] = [
    ['^[A-Z]{3}-\\d+$', 100_000, 'ABC-12', 'AB-12'],
    ['^(foo|bar)$', 100_000, 'bar', 'baz'],
    ['https?://', 100_000, 'see http://x', 'ftp://x'],
    ['^\\+?[1-9]\\d{1,14}$', 100_000, '+4930123456', '030'],
    ['^(\\d{3}-){2}\\d{4}$', 100_000, '555-555-5555', '555-5555'],
    ['^(?<year>\\d{4})-(?:0[1-9]|1[0-2])$', 100_000, '2026-11', '2026-13'],
    ['^[^@\\s]+@[^@\\s]+$', 500, 'a@b', 'a@b@c'],
    ['^\\w+@\\w+\\.\\w+$', 64, 'ada@example.org', 'ada'],
    ['^\\p{Lu}\\p{L}*( \\p{Lu}\\p{L}*)?$', 64, 'Ada Lovelace', 'ada'],
    ['^[\\]\\[x]+[^]$', 500, '[]!', '!'],
    ['\\u{1F600}|\\x41\\cJ|\\u0042', 100_000, 'B', 'C'],
    ['', 100_000, '', ''],
  ];
  for (const [pattern, atLeast, matches, misses] of table) {
    assert.ok(reach(pattern) >= atLeast, `${pattern} reaches ${reach(pattern)}`);
    assert.equal(compilePattern(pattern).regExp.test(matches), true, pattern);
    if (misses !== matches)
      assert.equal(compilePattern(pattern).regExp.test(misses), false, pattern);
  }
});

test('patterns that can take for ever are refused', () => {
  for (const pattern of [
    ...[
      '(a+)+$',
      '^(a+)+$',
      '(a*)*',
      '^(a|a)*$',
      '(a|aa)+$',
      '(.*)*x',
      '^(\\w+\\s?)*$',
      '(a{1,9}){1,9}$',
    ],
    ...[
      '^(a?){30}a{30}$',
      '^(?:a|a){21}',
      `^${'a?'.repeat(30)}${'a'.repeat(30)}$`,
      '(?:a|b|ab)*c',
      '((a)+b?)+$',
    ],
    ...[
      '.*.*.*.*x',
      '^a*a*a*a*a*$',
      `^${'(a|a)'.repeat(30)}$`,
      '(?<x>a+)+',
      '([^]*)*!',
      '(\\]*[)])+)+'.slice(0, 6),
    ],
    ...[`${'[ab]*'.repeat(6)}c`],
  ]) {
    assert.throws(() => compilePattern(pattern), /can take too long|not valid/, pattern);
  }
});

test('what cannot be counted, or is not valid, is refused', () => {
  const table: [pattern: string, message: RegExp][] = [
    ['(a)\\1', /backreference/],
    ['(?<x>a)\\k<x>', /backreference/],
    ['(?=a)b', /lookaround/],
    ['a(?!b)', /lookaround/],
    ['(?<=a)b', /lookaround/],
    ['(?<!a)b', /lookaround/],
    ['(?i:a)', /flags/],
    ['(a', /not valid/],
    ['a**', /not valid/],
    ['\\p{Nope}', /not valid/],
    ['a'.repeat(501), /longer than 500/],
  ];
  for (const [pattern, message] of table) {
    assert.throws(() => compilePattern(pattern), message, pattern);
  }
});

/** A backtracking matcher that counts what it tries: the slowest that an engine can be. */
type Tree =
  | { kind: 'letter'; letter: string }
  | { kind: 'sequence' | 'choice'; parts: Tree[] }
  | { kind: 'repeat'; part: Tree; min: number; max: number };

const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 3, depthSize: 'small', withCrossShrink: true },
    fc.record({ kind: fc.constant('letter' as const), letter: fc.constantFrom('a', 'b') }),
    fc.record({
      kind: fc.constantFrom('sequence' as const, 'choice' as const),
      parts: fc.array(tie('tree'), { minLength: 1, maxLength: 3 }),
    }),
    fc
      .record({
        part: tie('tree'),
        min: fc.integer({ min: 0, max: 2 }),
        more: fc.constantFrom(0, 1, 2, Infinity),
      })
      .map(({ part, min, more }): Tree => ({ kind: 'repeat', part, min, max: min + more })),
  ),
}));

function sourceOf(node: Tree): string {
  switch (node.kind) {
    case 'letter':
      return node.letter;
    case 'sequence':
      return `(?:${node.parts.map(sourceOf).join('')})`;
    case 'choice':
      return `(?:${node.parts.map(sourceOf).join('|')})`;
    default:
      return `(?:${sourceOf(node.part)}){${node.min},${node.max === Infinity ? '' : node.max}}`;
  }
}

/** Matches at a place and hands every end on, until one is taken; counts the letters it looks at. */
function match(
  node: Tree,
  text: string,
  at: number,
  counter: { steps: number },
  next: (end: number) => boolean,
): boolean {
  switch (node.kind) {
    case 'letter':
      counter.steps += 1;
      return text[at] === node.letter && next(at + 1);
    case 'choice':
      return node.parts.some((part) => match(part, text, at, counter, next));
    case 'sequence': {
      const from = (i: number, place: number): boolean => {
        const part = node.parts[i];
        return part === undefined
          ? next(place)
          : match(part, text, place, counter, (end) => from(i + 1, end));
      };
      return from(0, at);
    }
    default: {
      const turn = (done: number, place: number): boolean => {
        const more =
          done < node.max &&
          match(node.part, text, place, counter, (end) =>
            // A turn that matches nothing is not followed by another one.
            end === place && done >= node.min ? false : turn(done + 1, end),
          );
        return more || (done >= node.min && next(place));
      };
      return turn(0, at);
    }
  }
}

test('the count is an upper limit of what a backtracking engine tries', () => {
  fc.assert(
    fc.property(
      tree,
      fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 7 }),
      (node, text) => {
        const source = `^${sourceOf(node)}$`;
        let safe: ReturnType<typeof compilePattern>;
        try {
          safe = compilePattern(source);
        } catch {
          return;
        }
        const counter = { steps: 0 };
        const found = match(node, text, 0, counter, (end) => end === text.length);
        assert.equal(safe.regExp.test(text), found, `${source} on ${text}`);
        assert.ok(
          counter.steps <= safe.stepsFor(text.length),
          `${source} on ${text}: ${counter.steps} > ${safe.stepsFor(text.length)}`,
        );
      },
    ),
    { numRuns: 3000 },
  );
});
