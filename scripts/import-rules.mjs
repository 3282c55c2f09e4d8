// Who may import whom: design section "Rooms", as data. check-imports.mjs reads it and holds no
// rule of its own about a room.
//
// Paths are relative to the checkout. `*` is one name, `**` any number of folders, `{a,b}` either,
// and `:name` one name that means the same folder again in `may` of that rule.

const src = 'server/src';
const contracts = 'contracts/src/**';
/** The only files that name both ports and engines. */
const assembly = [`${src}/assemble/**`];

/** Files at the root of the server that every room may use; they import no room. */
const base = [
  contracts,
  `${src}/{errors,clock,id,failpoint,json-schema,lifecycle,log-line,secret-box,secret-text}.ts`,
];

/** Tests, benchmarks and conformance suites: free to import, never imported by the program. */
export const testFiles = [
  '**/*.test.{ts,mjs}',
  '**/*conformance*',
  '**/conformance/**',
  'server/test/**',
  'server/bench/**',
];

/** The one file (rarely more) through which other rooms use a room; record and ports come on top. */
const publicFiles = {
  // The store is all there is to an application: keys, quotas, who calls.
  application: ['application-store.ts', 'service.ts'],
  template: ['service.ts'],
  // Beside the service, pure rules that a delivery asks: may it go out, and over which channels.
  user: ['service.ts', 'preference.ts', 'route.ts'],
  dispatch: ['dispatcher.ts'],
  notification: ['service.ts', 'view.ts'],
  outbound: ['processor.ts'],
  receipt: ['service.ts'],
  analytics: ['tracker.ts'],
  queue: ['queue.ts'],
  cache: ['cache.ts', 'hints.ts'],
  inbox: ['service.ts', 'live.ts', 'token.ts', 'web-socket.ts', 'event-stream.ts'],
  adapters: ['adapter.ts', 'provider.ts', 'catalog.ts', 'account.ts', 'capture.ts'],
};

/**
 * The shared vocabulary: ports, which engines implement and services are written against, and the
 * records they speak of (a room's record has the room's name). It lies below all services, so
 * importing it does not count as a cycle between rooms.
 */
export const ports = [
  `${src}/application/application.ts`,
  `${src}/template/template.ts`,
  `${src}/user/user.ts`,
  `${src}/notification/notification.ts`,
  `${src}/{application,template,user,dispatch,notification,outbound,receipt,analytics}/*-store.ts`,
  `${src}/adapters/*/*-store.ts`,
  `${src}/queue/queue.ts`,
  `${src}/cache/{cache,hints}.ts`,
  `${src}/adapters/{adapter,provider}.ts`,
];

const notificationPort = [
  `${src}/notification/notification.ts`,
  `${src}/notification/notification-store.ts`,
];

const publicOf = (...rooms) =>
  rooms.flatMap((room) =>
    [...publicFiles[room], `${room}.ts`, '*-store.ts'].map((file) => `${src}/${room}/${file}`),
  );

/** A domain room: its own files, the rooms it is told, and single ports of others. */
const domain = (room, otherRooms, namedPorts = []) => ({
  from: `${src}/${room}/**`,
  may: [...base, `${src}/${room}/**`, ...publicOf(...otherRooms), ...namedPorts],
  instead: `Use the public file of another room (${src}/<room>/service.ts or its like), one way only, or have assemble.ts pass in what is needed.`,
});

const engineAdvice =
  'An engine implements a port and knows nothing else: import the port, errors.ts, clock.ts or a file of its own folder; what it needs of a service belongs into the call of the port.';

/** A room whose port has its engines beside it; the other files are what the engines share. */
const engines = (room, engineFiles) => ({
  from: `${src}/${room}/**`,
  may: [...base, ...ports, `${src}/${room}/**`, `!${src}/${room}/${engineFiles}`],
  lazy: true,
  instead: engineAdvice,
});

const providerAdvice =
  'A provider is one file that knows provider.ts, its channel and its vendor: move what channels share to a file in adapters/, and take what it needs from the context it is created with.';
const httpAdvice = 'Only HTTP leads to the server; the types of what crosses it are in contracts.';

/**
 * The first rule with a `from` that fits a file decides. A file without a rule is an error, so a
 * new room begins with a line here.
 *   from      a pattern, or several
 *   may       what it may import of ours (`!` in front takes back)
 *   packages  which npm packages and whether Node's modules (`node:`) may be imported; all when unset
 *   lazy      npm packages are loaded by `await import()` on first use (types at any time)
 */
export const rules = [
  {
    from: contracts,
    may: [contracts],
    packages: ['typebox'],
    instead: 'Contracts are TypeBox schemas only: they must load in a browser and in every client.',
  },

  {
    from: ports,
    may: [...base, ...ports],
    instead:
      'A port or record knows other ports and records only: what it needs of a service belongs into the service.',
  },

  // Domain rooms.
  domain('application', ['cache']),
  domain('template', ['cache']),
  domain('user', ['cache']),
  domain('analytics', ['cache']),
  domain('dispatch', ['queue'], notificationPort),
  // Validation asks the channel for the shape of its content, the timeline is read from the events.
  domain(
    'notification',
    ['application', 'user', 'template', 'dispatch', 'cache'],
    [`${src}/adapters/adapter.ts`, `${src}/analytics/event-store.ts`],
  ),
  domain(
    'outbound',
    ['template', 'user', 'analytics', 'adapters', 'queue', 'cache'],
    notificationPort,
  ),
  // The live side of in-app inboxes; what is stored of them is the channel's port.
  domain('inbox', ['cache'], [`${src}/adapters/in-app/inbox-store.ts`]),
  domain('receipt', ['analytics', 'adapters', 'cache'], notificationPort),

  // Engines.
  engines('queue', '{memory,rocketmq}.ts'),
  engines('cache', '{memory,redis}.ts'),
  {
    from: `${src}/database/:engine/**`,
    may: [...base, ...ports, `${src}/database/:engine/**`, `${src}/database/*.ts`],
    lazy: true,
    instead: engineAdvice,
  },
  { from: `${src}/database/*.ts`, may: [...base, `${src}/database/*.ts`], instead: engineAdvice },

  // Channels.
  {
    from: `${src}/adapters/:channel/providers/*.ts`,
    may: [
      ...base,
      `${src}/adapters/*.ts`,
      `!${src}/adapters/catalog.ts`,
      `${src}/adapters/:channel/*.ts`,
    ],
    lazy: true,
    instead: providerAdvice,
  },
  {
    from: `${src}/adapters/:channel/**`,
    may: [
      ...base,
      `${src}/adapters/*.ts`,
      `!${src}/adapters/catalog.ts`,
      `${src}/adapters/:channel/**`,
      `!${src}/adapters/:channel/providers/**`,
    ],
    instead:
      'A channel knows neither other channels nor its vendors; providers are found by the catalogue.',
  },
  // The catalogue finds adapters and providers by scanning; it names none. Accounts are read from
  // the configuration, so that providers need not know it.
  {
    from: `${src}/adapters/*.ts`,
    may: [
      ...base,
      `${src}/{config,settings}.ts`,
      `${src}/adapters/*.ts`,
      `${src}/adapters/*/*-store.ts`,
    ],
    instead: 'Nothing in adapters/ names a channel or provider: the catalogue scans for them.',
  },

  // The outside.
  {
    from: `${src}/http/**`,
    may: [
      ...base,
      `${src}/metrics.ts`,
      `${src}/http/**`,
      ...publicOf(
        'application',
        'template',
        'user',
        'dispatch',
        'notification',
        'receipt',
        'analytics',
        'inbox',
      ),
    ],
    instead:
      'A route calls a service: take services from what assemble.ts passes in; http never sees database, queue or adapters.',
  },
  {
    from: `${src}/cli/**`,
    may: [
      ...base,
      ...ports,
      ...assembly,
      `${src}/{config,settings,data-folder}.ts`,
      `${src}/cli/**`,
    ],
    instead:
      'The command line speaks to a running service over HTTP; main.ts passes in what starts one.',
  },

  // The frame.
  {
    from: `${src}/{errors,clock,id,failpoint,json-schema,lifecycle,log-line,secret-box,secret-text}.ts`,
    may: base,
    instead: 'The base files are below every room.',
  },
  {
    from: `${src}/{config,settings,metric,metrics}.ts`,
    may: [...base, `${src}/{metric,settings}.ts`],
    instead: 'Settings and metrics are plain data; a room gets its part from assemble.ts.',
  },
  {
    from: assembly,
    may: [
      `${src}/**`,
      contracts,
      `!${src}/main.ts`,
      `!${src}/cli/**`,
      `!${src}/adapters/*/providers/**`,
    ],
    instead: 'assemble.ts joins ports and engines; it neither starts itself nor names a provider.',
  },
  {
    from: `${src}/{main,serve}.ts`,
    may: [
      ...base,
      ...assembly,
      `${src}/{config,settings,serve,data-folder}.ts`,
      `${src}/application/service.ts`,
      `${src}/cli/**`,
    ],
    instead:
      'main.ts and serve.ts are config, assemble, start, signals; everything else is joined in assemble/.',
  },
  {
    from: `${src}/{data-folder,gauge}.ts`,
    may: [...base, `${src}/config.ts`],
    instead: 'The data folder is known before any room.',
  },

  // Before anything is installed there is only Node.
  {
    from: 'scripts/{run,tidings,launch,launch-error,provision,install-lock,child,reporter}.mjs',
    may: ['scripts/*.mjs', '!scripts/{check-*,read-imports,import-rules}.mjs'],
    packages: ['node:'],
    instead: 'The launcher runs before anything is installed: use what Node itself has.',
  },
  {
    from: 'scripts/*.mjs',
    may: ['scripts/*.mjs'],
    packages: ['node:', 'typescript'],
    instead: 'Scripts stand beside the program and use no part of it.',
  },

  // Programs of their own: they reach the service over HTTP.
  { from: 'dashboard/**', may: ['dashboard/**', contracts], instead: httpAdvice },
  { from: 'inbox/**', may: ['inbox/**', contracts], instead: httpAdvice },
  { from: 'clients/:language/**', may: ['clients/:language/**', contracts], instead: httpAdvice },
];

/** Packages that belong to some rooms only, wherever the rules above allow packages. */
export const packageHomes = [
  {
    packages: ['node:sqlite'],
    // An open SQLite transaction is also the lock of the data folder: it ends with its process.
    may: [`${src}/database/sqlite/**`, `${src}/data-folder.ts`],
    instead: 'Rows are behind the store ports.',
  },
  {
    packages: ['mysql2', 'cassandra-driver', 'ioredis', 'rocketmq-client-nodejs'],
    may: [`${src}/{database,queue,cache}/**`],
    instead: 'Engines are behind ports.',
  },
  {
    packages: ['fastify', '@fastify/*', '@scalar/*'],
    may: [`${src}/http/**`, ...assembly],
    instead: 'Only http knows that the API is served by Fastify.',
  },
  {
    packages: ['commander', 'cli-progress'],
    may: [`${src}/cli/**`, `${src}/main.ts`],
    instead: 'Only cli speaks to a terminal.',
  },
  {
    packages: ['nodemailer'],
    may: [`${src}/adapters/email/**`],
    instead: 'Only the email channel speaks SMTP.',
  },
];

/** Small packages a `lazy` file may import at its top: schemas are needed before the first use. */
export const eagerPackages = ['typebox', 'ipaddr.js'];

/** Files that may load a path made at run time; anywhere else that would hide who imports whom. */
export const computedImports = [`${src}/adapters/catalog.ts`];
