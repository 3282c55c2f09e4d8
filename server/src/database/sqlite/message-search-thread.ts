/** Entry of the thread that reads lists and counts for another one, which keeps its own turns short. */
import { platform, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import type { Answer, Question } from './message-search.ts';
import { type SearchFiles, SearchReader } from './message-search-reader.ts';

/** Of twenty steps that a thread can give way by: whoever sends a message goes before who looks at them. */
const NICENESS = 10;

const port = parentPort;
if (!port) throw new Error('this file is the entry of a worker thread');
// Linux alone has priorities of threads; elsewhere this would be the whole process.
if (platform() === 'linux') setPriority(NICENESS);

const reader = new SearchReader(workerData as SearchFiles);

port.on('message', (question: Question) => {
  if (question === null) {
    reader.close();
    port.close();
    return;
  }
  const { id, name, argument } = question;
  reader.run(name, argument).then(
    (value) => port.postMessage({ id, value } satisfies Answer),
    (error: unknown) => {
      // Of a translated one, what SQLite said.
      const said = (error as Error).cause ?? error;
      const { message, errcode } = said as { message: string; errcode?: unknown };
      port.postMessage({ id, failure: { message, errcode } } satisfies Answer);
    },
  );
});
