/**
 * Where a client is in the order of its inbox: what it has of the items, and what it has of the
 * departures. Two numbers, because an item is told when it is durable and a departure when reads show
 * it, which may be a moment later than newer items.
 */
export interface InboxPosition {
  item: number;
  departure: number;
}

/** As clients hand it back: `1042-1040`. */
export function writePosition({ item, departure }: InboxPosition): string {
  return `${item}-${departure}`;
}

/** @param text fits POSITION_PATTERN of the contract */
export function readPosition(text: string): InboxPosition {
  const [item, departure = 0] = text.split('-').map(Number);
  return { item: item as number, departure };
}
