import { MessageChannel } from 'node:worker_threads';
import { runHintsConformance } from './hints.conformance.ts';
import { MemoryHints } from './memory.ts';

runHintsConformance('memory', async () => {
  const { port1, port2 } = new MessageChannel();
  const [here, there] = [new MemoryHints(), new MemoryHints()];
  here.connect(port1);
  there.connect(port2);
  // The hub of a test waits for messages; in the service something else always keeps the thread alive.
  const alive = setInterval(() => {}, 1000);
  return {
    here,
    there,
    async [Symbol.asyncDispose]() {
      clearInterval(alive);
      here.close();
      there.close();
    },
  };
});
