/** Entry of the process of plug-in-trial.ts: loads the files it is given, one after the other. */
import { writeSync } from 'node:fs';
import { loadDefinition } from './catalog.ts';
import { forbid, startGuard } from './plug-in-guard.ts';
import { MEMORY_LIMIT_MB } from './plug-in-spawn.ts';

const STANDARD_OUTPUT = 1;

startGuard(MEMORY_LIMIT_MB * 1024 * 1024);
forbid();

for (const [number, file] of process.argv.slice(2).entries()) {
  // At once: the next thing that happens may be the end.
  writeSync(STANDARD_OUTPUT, `\n#${number}\n`);
  try {
    await loadDefinition(file);
  } catch {
    // The service is told the same when it loads it.
  }
}
writeSync(STANDARD_OUTPUT, `\n#${process.argv.length - 2}\n`);
// What they have left open is no reason to stay.
process.exit(0);
