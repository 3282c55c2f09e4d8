/** Pages of messages, as lists and dead letters show them. */
import type { MessageSummary } from '@tidings/contracts/notification';
import type { ApplicationStore } from '../application/application-store.ts';
import type { FoundPage } from '../notification/notification-store.ts';
import { summaryView } from '../notification/view.ts';
import { writeCursor } from './page.ts';

export async function messagePage(
  { found, next }: FoundPage,
  applications: ApplicationStore,
): Promise<{ items: MessageSummary[]; next: string | null }> {
  const names = new Map<number, string>();
  for (const { applicationId: id } of found) {
    if (!names.has(id)) names.set(id, (await applications.byId(id))?.key ?? '');
  }
  return {
    items: found.map((row) => summaryView(row, names.get(row.applicationId) ?? '')),
    next: next === null ? null : writeCursor(next),
  };
}
