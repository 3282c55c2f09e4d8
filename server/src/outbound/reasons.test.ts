/**
 * The words of timelines that the source writes are those that the contracts explain. It reads the
 * source, because words come from some fifteen places of which most need a vendor's fault to be reached.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { FINAL_STATUSES } from '@tidings/contracts/common';
import { EVENT_TYPES, REASON_GROUPS } from '@tidings/contracts/timeline';
import { ERROR_CODES } from '../errors.ts';

const SOURCE = new URL('../', import.meta.url);
const reasons = new Set(REASON_GROUPS.flatMap((group) => Object.keys(group.reasons)));

function textsIn(folder: string): string[] {
  return readdirSync(new URL(folder, SOURCE), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !/\.test\.ts$|conformance/.test(name))
    .map((name) => textOf(`${folder}/${name}`));
}

function textOf(name: string): string {
  return readFileSync(new URL(name, SOURCE), 'utf8');
}

function* found(texts: readonly string[], ...patterns: RegExp[]): Generator<string> {
  for (const text of texts) {
    for (const pattern of patterns) {
      for (const match of text.matchAll(pattern)) yield match[1] as string;
    }
  }
}

test('every reason has a meaning', () => {
  const texts = [...textsIn('outbound'), ...textsIn('adapters'), ...textsIn('user')];
  const smtp = [textOf('adapters/email/smtp-reply.ts'), textOf('adapters/email/providers/smtp.ts')];
  const http = [textOf('adapters/webhook/failure-reason.ts')];
  const mail = [textOf('adapters/email/message.ts')];
  const written = new Set([
    ...found(mail, /\breturn '(invalid_\w+)'/g),
    ...found(texts, /\breason: '(\w+)'/g, /\bend\('\w+', '(\w+)'\)/g),
    ...found(texts, /'TimeoutError' \? '(\w+)'/g, /'TimeoutError' \? '\w+' : '(\w+)'/g),
    ...found(smtp, /\b(?:retry|later|recipient|content|config|unanswered)\('(\w+)'/g),
    ...found(http, /^ {2}E\w+: '(\w+)'/gm, /\['\w+', '(\w+)'\]/g, /^ +(?:return )?'(\w+)';?$/gm),
  ]);
  assert.ok(written.size > 50, `${written.size}`);
  const unexplained = [...written].filter((word) => !reasons.has(word));
  assert.deepEqual(unexplained, []);
});

test('what cannot be rendered has the code of the error as its reason', () => {
  for (const code of ['invalid_content', 'invalid_template', 'invalid_data'] as const) {
    assert.ok(code in ERROR_CODES && reasons.has(code), code);
  }
});

test('every type of event has a meaning', () => {
  const texts = [...textsIn('outbound'), ...textsIn('notification'), ...textsIn('database')];
  const written = new Set(
    found(
      texts,
      /\bnote\(\w+, '(\w+)'/g,
      /\bhappened\(\w+, \w+, '(\w+)'/g,
      /\btype: '(\w+)',\n\s+detail/g,
      /\btype: body\.sendAt .* \? '(\w+)' : '\w+',/g,
    ),
  );
  // An end without an attempt is an event of its own status.
  for (const status of FINAL_STATUSES) if (status !== 'delivered') written.add(status);
  const notes = found(textsIn('adapters'), /\bnote: \{ type: '(\w+)'/g);
  for (const type of notes) assert.ok(type in EVENT_TYPES, type);
  // What a provider notes is the provider's.
  const own = Object.keys(EVENT_TYPES).filter((type) => type !== 'endpoint_disabled');
  assert.deepEqual([...written, 'accepted'].sort(), own.sort());
});
