/** What a departure is to those who follow the inbox: the event, its data. A cleared inbox ends its connections instead. */
import type { InboxMarked, InboxRemoved } from '@tidings/contracts/inbox';
import type { InboxDeparture } from '../adapters/in-app/inbox-store.ts';
import { SharedFrame } from './frame.ts';

export function departureFrame(
  departure: Exclude<InboxDeparture, { kind: 'cleared' }>,
): SharedFrame {
  const at = new Date(departure.at).toISOString();
  const { items } = departure;
  if (departure.kind === 'removed') {
    return new SharedFrame('removed', { items, at } satisfies InboxRemoved);
  }
  return new SharedFrame('marked', {
    action: 'archive',
    items,
    category: null,
    at,
    replacedBy: departure.by,
  } satisfies InboxMarked);
}
