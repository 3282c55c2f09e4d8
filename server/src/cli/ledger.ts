/** The books of the service: everything accepted has become one of a few things. */
import { KEY_KINDS, type KeyKind } from '@tidings/contracts/common';
import type { Ledger } from '@tidings/contracts/notification';
import { usage } from './exit.ts';

export const LEDGER_PARTS = [
  'delivered',
  'failed',
  'expired',
  'suppressed',
  'cancelled',
  'pending',
] as const satisfies readonly (keyof Ledger)[];

/** Added up here, not taken from the one whose books they are. */
export function isBalanced(ledger: Ledger): boolean {
  return ledger.accepted === LEDGER_PARTS.reduce((sum, name) => sum + ledger[name], 0);
}

/** The option `--kind`: whose messages are listed or counted. */
export function kindOf(text: string | undefined): KeyKind | undefined {
  if (text === undefined || (KEY_KINDS as readonly string[]).includes(text))
    return text as KeyKind | undefined;
  throw usage(`--kind: must be one of ${KEY_KINDS.join(', ')}`);
}
