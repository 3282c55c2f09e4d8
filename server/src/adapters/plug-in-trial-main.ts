/**
 * Entry of the process of plug-in-trial.ts: loads the files it is given, one after the other, and says
 * the number of each before it does, and why it could not. Each line begins with a word that the service
 * has given it and no plug-in knows: what a plug-in writes, wherever it writes it, is not taken for it.
 */
import { readSync, writeSync } from 'node:fs';
import { loadDefinition } from './catalog.ts';
import { faultTextOf } from './plug-in-fault.ts';
import { forbid, startGuard } from './plug-in-guard.ts';
import { FROM_ENGINE, TO_ENGINE, TRIAL_WORD_LENGTH } from './plug-in-protocol.ts';
import { MEMORY_LIMIT_MB } from './plug-in-spawn.ts';

startGuard(MEMORY_LIMIT_MB * 1024 * 1024);
forbid();

const word = Buffer.alloc(TRIAL_WORD_LENGTH);
readSync(FROM_ENGINE, word);
// A plug-in may replace what others import of Node.
const write = writeSync;
const { exit } = process;
const files = process.argv.slice(2);

for (const [number, file] of files.entries()) {
  say(`${number}`);
  try {
    await loadDefinition(file);
  } catch (error) {
    say(`${number} ${faultTextOf(error).replace(/\s+/g, ' ')}`);
  }
}
say(`${files.length}`);
// What they have left open is no reason to stay.
exit(0);

/** At once: the next thing that happens may be the end. */
function say(what: string): void {
  write(TO_ENGINE, `\n${word} ${what}\n`);
}
