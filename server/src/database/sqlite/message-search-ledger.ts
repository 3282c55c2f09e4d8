/**
 * The ledger, counted from the hot file in one snapshot, in slices, because ten million rows take
 * seconds. Which messages test keys have sent is known from the projection only; what became of them is
 * still read from the hot file, so that their books are no less exact.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { KeyKind } from '@tidings/contracts/common';
import type { Ledger } from '@tidings/contracts/notification';
import { statusName } from './message-row.ts';

/** Messages of one slice: some milliseconds. */
const SLICE_ROWS = 20_000;

export interface LedgerFilter {
  /** null is every application. */
  applicationId: number | null;
  kind?: KeyKind | undefined;
}

/** Counts by status, and under ACCEPTED what notifications say they have. */
type Counts = Map<number, number>;
const ACCEPTED = -1;
/** Past every id. */
const END = Number.MAX_SAFE_INTEGER;

const OWN = '(?3 IS NULL OR application_id = ?3)';
const ALL = {
  last: 'SELECT id FROM message WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?',
  parts: `SELECT status, count(*) AS messages FROM message WHERE id > ?1 AND id <= ?2 AND ${OWN} GROUP BY status`,
  accepted: `SELECT ${ACCEPTED} AS status, coalesce(sum(message_count), 0) AS messages FROM notification
    WHERE id > ?1 AND id <= ?2 AND ${OWN}`,
};
const SHOWN = `shown.message_index AS i INDEXED BY message_index_test
  CROSS JOIN`;
const TEST = {
  last: `SELECT id FROM shown.message_index INDEXED BY message_index_test
    WHERE test = 1 AND id > ? ORDER BY id LIMIT 1 OFFSET ?`,
  parts: `SELECT m.status, count(*) AS messages FROM ${SHOWN} message AS m ON m.id = i.id
    WHERE i.test = 1 AND i.id > ?1 AND i.id <= ?2 AND (?3 IS NULL OR m.application_id = ?3) GROUP BY m.status`,
  // Each notification once: with its first message.
  accepted: `SELECT ${ACCEPTED} AS status, coalesce(sum(n.message_count), 0) AS messages
    FROM ${SHOWN} notification AS n ON n.id = i.id - 1
    WHERE i.test = 1 AND i.id > ?1 AND i.id <= ?2 AND (?3 IS NULL OR n.application_id = ?3)`,
};

/**
 * @param database read-only connection to the hot file, for nothing else meanwhile, with the projection
 * attached as `shown`
 */
export function* countLedger(
  database: DatabaseSync,
  { applicationId, kind }: LedgerFilter,
): Generator<undefined, Ledger, boolean> {
  database.exec('BEGIN');
  try {
    const counts: Counts = new Map();
    if (kind !== 'test') yield* count(database, { ...ALL, applicationId, counts, sign: 1 });
    if (kind !== undefined) {
      const sign = kind === 'test' ? 1 : -1;
      yield* count(database, { ...TEST, applicationId, counts, sign });
    }
    return ledgerOf(counts);
  } finally {
    database.exec('ROLLBACK');
  }
}

interface Counting {
  /** The message that ends a slice. */
  last: string;
  parts: string;
  accepted: string;
  applicationId: number | null;
  counts: Counts;
  sign: 1 | -1;
}

function* count(
  database: DatabaseSync,
  { last, parts, accepted, applicationId, counts, sign }: Counting,
): Generator<undefined, void, boolean> {
  const lastOf = database.prepare(last);
  const statement = database.prepare(`${parts} UNION ALL ${accepted}`);
  for (let above = -1; above < END; ) {
    const upTo = (lastOf.get(above, SLICE_ROWS - 1)?.['id'] as number | undefined) ?? END;
    for (const row of statement.all(above, upTo, applicationId)) {
      const { status, messages } = row as { status: number; messages: number };
      counts.set(status, (counts.get(status) ?? 0) + sign * messages);
    }
    above = upTo;
    yield;
  }
}

function ledgerOf(counts: Counts): Ledger {
  const ledger = {
    accepted: 0,
    delivered: 0,
    failed: 0,
    expired: 0,
    suppressed: 0,
    cancelled: 0,
    pending: 0,
    balanced: false,
  };
  for (const [code, messages] of counts) {
    const status = code === ACCEPTED ? 'accepted' : statusName(code);
    if (code === ACCEPTED) ledger.accepted += messages;
    else if (isEnded(status)) ledger[status] += messages;
    else ledger.pending += messages;
  }
  const { accepted, delivered, failed, expired, suppressed, cancelled, pending } = ledger;
  ledger.balanced = accepted === delivered + failed + expired + suppressed + cancelled + pending;
  return ledger;
}

function isEnded(
  status: string,
): status is 'delivered' | 'failed' | 'expired' | 'suppressed' | 'cancelled' {
  return (
    status === 'delivered' ||
    status === 'failed' ||
    status === 'expired' ||
    status === 'suppressed' ||
    status === 'cancelled'
  );
}
