/** Pages of messages, as lists and dead letters show them. */
import type { MessageSummary } from '@tidings/contracts/notification';
import type { ApplicationStore } from '../application/application-store.ts';
import type { FoundMessage } from '../notification/notification-store.ts';
import { summaryView } from '../notification/view.ts';
import { pageOf } from './page.ts';

/** @param found one more than `limit` when there are more */
export async function messagePage(
  found: readonly FoundMessage[],
  limit: number,
  applications: ApplicationStore,
): Promise<{ items: MessageSummary[]; next: string | null }> {
  const names = new Map<number, string>();
  for (const { applicationId: id } of found) {
    if (!names.has(id)) names.set(id, (await applications.byId(id))?.key ?? '');
  }
  return pageOf(found, limit, {
    id: ({ key }) => key,
    item: (row) => summaryView(row, names.get(row.applicationId) ?? ''),
  });
}
