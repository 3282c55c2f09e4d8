// The test reporter: Node's own `spec` output, ended by the counts in the form of Node's TAP summary
// ("# tests 12"), and a stricter verdict. A run fails also when nothing ran, when a test or suite
// was skipped or marked todo, and when a test file holds no test: a check that did not happen must
// not look like one that passed.

import { Readable } from 'node:stream';
import { spec } from 'node:test/reporters';

// With a filter by name, a file in which no name fits is no fault.
const isFiltered = process.execArgv.some((option) =>
  /^--test-(name-|skip-)?(pattern|only)/.test(option),
);
const summaryLine = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) /;

export default async function* report(events) {
  const counts = [];
  const objections = [];
  let ran = 0;

  async function* watch() {
    for await (const event of events) {
      const { type, data } = event;
      if (type === 'test:pass' || type === 'test:fail') {
        const objection = objectionTo(type, data);
        if (objection) objections.push(objection);
        else if (data.details?.type !== 'suite') ran += 1;
      }
      // The counts are held back to be the last lines.
      if (
        type === 'test:diagnostic' &&
        data.nesting === 0 &&
        !data.file &&
        summaryLine.test(data.message)
      ) {
        counts.push(data.message);
      } else {
        yield event;
      }
    }
  }

  yield* Readable.from(watch()).pipe(new spec());

  if (ran === 0) objections.push('no test ran');
  if (objections.length > 0) {
    process.exitCode = 1;
    yield `\n${objections.map((objection) => `not accepted: ${objection}\n`).join('')}`;
  }
  yield '\n';
  for (const count of counts) yield `# ${count}\n`;
}

function objectionTo(type, data) {
  const where = `${data.file ?? ''}${data.line ? `:${data.line}` : ''}`;
  const reason = (value) => (typeof value === 'string' && value ? ` (${value})` : '');
  if (data.skip !== undefined && data.skip !== false)
    return `skipped: ${data.name}${reason(data.skip)} at ${where}`;
  if (data.todo !== undefined && data.todo !== false)
    return `todo: ${data.name}${reason(data.todo)} at ${where}`;
  // Node reports a file without tests as one passing test that has no entry file of its own.
  if (type === 'test:pass' && data.entryFile === undefined && data.nesting === 0) {
    return isFiltered ? undefined : `no test in ${data.file ?? data.name}`;
  }
  return undefined;
}
