/** The books: everything that was accepted has become one of a few things, or is pending. */
import type { Ledger } from '@tidings/contracts/notification';
import type { Context } from './context.ts';
import type { Report } from './doctor-check.ts';
import type { Installation } from './doctor-installation.ts';
import type { RunningService } from './doctor-service.ts';
import { CommandFailure } from './exit.ts';
import { isBalanced, LEDGER_PARTS } from './ledger.ts';

const NAME = 'ledger';

/** From the service when a key is given, else from the files. */
export async function checkLedger(
  context: Context,
  { installation, service }: { installation: Installation; service: RunningService },
  report: Report,
): Promise<Ledger | undefined> {
  const source = service.keyWorks ? service.url : installation.dataDir;
  try {
    if (!service.keyWorks && !installation.hasData) {
      await report({
        name: NAME,
        status: 'fail',
        message: `there is nothing to count: no API key that works, and no data in ${installation.dataDir}`,
        advice: 'Set TIDINGS_API_KEY, or name the folder with --data-dir.',
      });
      return undefined;
    }
    const ledger = await read(context, { installation, service });
    const sum = LEDGER_PARTS.map((name) => `${ledger[name]} ${name}`).join(' + ');
    const balanced = isBalanced(ledger);
    await report({
      name: NAME,
      status: balanced ? 'ok' : 'fail',
      message: `${ledger.accepted} accepted ${balanced ? '=' : '≠'} ${sum} (${source})`,
      ...(balanced
        ? {}
        : {
            advice:
              'Messages are missing or counted twice: keep a copy of the data folder and report it.',
          }),
    });
    return ledger;
  } catch (error) {
    const message =
      error instanceof CommandFailure ? error.message : `${source}: ${(error as Error).message}`;
    await report({ name: NAME, status: 'fail', message: `cannot be read: ${message}` });
    return undefined;
  }
}

async function read(
  context: Context,
  { installation, service }: { installation: Installation; service: RunningService },
): Promise<Ledger> {
  if (service.keyWorks) {
    return (await context.api({ url: service.url, retries: 0 }).get<Ledger>('/v1/ledger')).body;
  }
  const { readLedger } = await import('../assemble/inspection.ts');
  return readLedger(installation.dataDir);
}
