/** The books of the service: everything accepted has become one of a few things. */
import type { Ledger } from '@tidings/contracts/notification';

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
