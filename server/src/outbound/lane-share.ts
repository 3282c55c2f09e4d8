/**
 * How lanes share what a process can do at once. High priority may always use the reserved part;
 * medium and low each keep a guaranteed part. Two limits say the same twice: by deliveries under
 * way (when vendors are slow) and by entries per claim (when they are fast).
 */
import type { Lane } from '../notification/notification.ts';

export interface LaneShares {
  concurrency: number;
  /** Shares of the whole, between 0 and 1. */
  reservedHigh: number;
  guaranteedMedium: number;
  guaranteedLow: number;
}

/** How many more deliveries a lane may begin, given what is under way per lane. */
export function freeSlots(
  lane: Lane,
  underWay: readonly [number, number, number],
  shares: LaneShares,
): number {
  const { concurrency } = shares;
  const kept = [shares.reservedHigh, shares.guaranteedMedium, shares.guaranteedLow];
  let free = concurrency - underWay[0] - underWay[1] - underWay[2];
  for (const other of [0, 1, 2] as const) {
    if (other === lane) continue;
    // What another lane has not used of its part stays free for it.
    free -= Math.max(0, Math.floor(concurrency * (kept[other] ?? 0)) - underWay[other]);
  }
  return Math.max(0, free);
}

/** How the places of one claim are divided: high first, the others' parts kept when they have work. */
export function divide(
  places: number,
  waiting: readonly [number, number, number],
  shares: LaneShares,
): [number, number, number] {
  const keepMedium = Math.min(waiting[1], Math.ceil(places * shares.guaranteedMedium));
  const keepLow = Math.min(waiting[2], Math.ceil(places * shares.guaranteedLow));
  const high = Math.min(waiting[0], places - keepMedium - keepLow);
  const medium = Math.min(waiting[1], places - high - keepLow);
  const low = Math.min(waiting[2], places - high - medium);
  return [high, medium, low];
}
