/** Many records into the service, several at a time, each of which may be refused by itself. */
import { ApiFailure } from './api-failure.ts';
import { forEachConcurrent } from './concurrent.ts';
import type { Context } from './context.ts';
import { CommandFailure, EXIT, type ExitCode, exitOf } from './exit.ts';
import { startProgress } from './progress.ts';
import type { RecordFile } from './record-file.ts';
import { counted } from './table.ts';

/** A record that is not what it should be; the others may be. */
export class RecordFault extends CommandFailure {
  constructor(message: string) {
    super(EXIT.failed, message);
    this.name = 'RecordFault';
  }
}

/** Answers about one request; whatever else is answered would befall the next one as well. */
const OWN_FAULTS = new Set([400, 404, 409, 413, 422]);

export function isOwnFault(error: unknown): error is CommandFailure {
  if (error instanceof RecordFault) return true;
  return error instanceof ApiFailure && OWN_FAULTS.has(error.status);
}

/** In one line: what is wrong, and where in the record. */
export function faultText(error: CommandFailure): string {
  const errors = error instanceof ApiFailure ? error.problem?.errors : undefined;
  const notes = errors?.map(({ path, message }) => `${path}: ${message}`) ?? error.notes;
  return [error.message, ...notes].join('; ');
}

export interface BulkResult {
  succeeded: number;
  failed: number;
  /** Why it ended before all was tried. */
  stopped: CommandFailure | undefined;
}

export async function bulk(
  context: Context,
  list: RecordFile,
  { label, concurrency, work }: BulkOptions,
): Promise<BulkResult> {
  const { terminal } = context;
  const progress = startProgress(terminal, label, list.size);
  const result: BulkResult = { succeeded: 0, failed: 0, stopped: undefined };
  function refuse(line: number, why: string): void {
    result.failed++;
    terminal.error(`${list.name}:${line}: ${why}`);
  }
  try {
    await forEachConcurrent(list, concurrency, async (record) => {
      if ('fault' in record) {
        refuse(record.line, record.fault);
        return;
      }
      try {
        await work(record.value);
        result.succeeded++;
      } catch (error) {
        if (!isOwnFault(error)) throw error;
        refuse(record.line, faultText(error));
      }
      progress.update(list.position, result.succeeded + result.failed);
    });
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    result.stopped = error;
  } finally {
    progress.stop();
  }
  return result;
}

export interface BulkOptions {
  /** What is going on: `importing users`. */
  label: string;
  concurrency: number;
  /** @throws RecordFault or ApiFailure about this record; anything else ends it all */
  work: (value: unknown) => Promise<void>;
}

/** Says how it went. @param noun what one record is: `user` @param detail behind the number of those imported */
export function concludeBulk(
  context: Context,
  { succeeded, failed, stopped }: BulkResult,
  noun: string,
  detail = '',
): ExitCode {
  const { terminal } = context;
  const refused = failed > 0 ? `, ${failed} refused` : '';
  terminal.note(`${counted(succeeded, noun)} imported${detail}${refused}`);
  if (stopped === undefined) return exitOf({ succeeded, failed });
  terminal.error(`stopped: ${stopped.message}`, [
    ...stopped.notes,
    'Repeat the command to go on: what is there already stays as it is.',
  ]);
  return stopped.exitCode !== EXIT.unauthorized && succeeded > 0 ? EXIT.partial : stopped.exitCode;
}
