/**
 * A projection file that cannot be used is made anew: everything in it is also in the hot file. Looked
 * for at each start, and asked for by a tracker that met damage while it ran.
 */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { isDamaged, openForReading, openForWriting } from './connection.ts';
import { type DataFiles, remakeProjection } from './files.ts';
import { Projection } from './projection.ts';

/** The answer to a table or a column that is not there, among others. */
const SQLITE_ERROR = 1;

function markOf({ projection }: DataFiles): string {
  return `${projection}.damaged-found`;
}

/** Has the next start make the file anew. */
export function askForRepair(files: DataFiles): void {
  writeFileSync(markOf(files), '', { mode: 0o600 });
}

/** Before anybody has the file open. True when it was made anew. */
export function repairProjection(files: DataFiles): boolean {
  if (!existsSync(markOf(files)) && isUsable(files)) return false;
  remakeProjection(files);
  rmSync(markOf(files), { force: true });
  return true;
}

/** Whether its tables are there and its position can be read; not whether each page is whole, which takes minutes. */
function isUsable(files: DataFiles): boolean {
  const messages = openForReading(files.messages);
  try {
    const projection = openForWriting(files.projection, { durability: 'normal' });
    try {
      new Projection({ messages, projection });
      return true;
    } finally {
      projection.close();
    }
  } catch (error) {
    const cause = (error as { cause?: unknown }).cause ?? error;
    if (isDamaged(cause) || (cause as { errcode?: number }).errcode === SQLITE_ERROR) return false;
    throw error;
  } finally {
    messages.close();
  }
}
