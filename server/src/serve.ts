/** Runs the service from a configuration until it is told to stop. */
import { join } from 'node:path';
import { pino } from 'pino';
import type { ApplicationService } from './application/service.ts';
import { type ChannelAccount, checkAccounts } from './assemble/check.ts';
import { releaseMemoryAfterStart } from './assemble/idle-memory.ts';
import { migrateDataFiles } from './assemble/migration.ts';
import { type Supervisor, startSupervisor } from './assemble/supervisor.ts';
import { systemClock } from './clock.ts';
import { type Config, ConfigError } from './config.ts';
import { lockFolder, masterKeyOf } from './data-folder.ts';

/** A person who means it presses the key again after this. */
const REPEATED_MS = 1000;

export async function serve(config: Config, startedAt: number): Promise<void> {
  const { log, startFailed, started } = startLog(config);
  if (process.env['TIDINGS_FAILPOINTS'])
    log.warn('failpoints are armed: this process will kill itself');
  const accounts = await checkAccounts(config);
  const lock = lockFolder(config.dataDir);
  let masterKey: string;
  try {
    masterKey = masterKeyOf(config.dataDir, config.masterKey);
    migrateDataFiles(config.dataDir);
  } catch (error) {
    // A lock that is given up leaves no file of its own behind.
    lock.release();
    throw error;
  }

  let supervisor: Supervisor | undefined;
  let hasStarted = false;
  let stopping = false;
  let stoppingSince = 0;
  async function stop(code: number): Promise<never> {
    stopping = true;
    stoppingSince = performance.now();
    supervisor?.api.drain();
    await supervisor?.stop();
    lock.release();
    process.exit(code);
  }
  let first: Bootstrap | undefined;
  const died = Promise.withResolvers<never>();
  const starting = startSupervisor({
    config,
    masterKey,
    log,
    async prepare(applications) {
      first = await applications.bootstrap(config.bootstrapKey);
    },
    fatal(error) {
      if (!hasStarted) return died.reject(error);
      log.fatal({ err: error }, 'the service cannot go on');
      process.exit(1);
    },
  });
  supervisor = await Promise.race([starting, died.promise]).catch((error: unknown) => {
    lock.release();
    return startFailed(error);
  });
  hasStarted = true;
  started();
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // A second signal means now; the same one may come twice, from the launcher and from its group.
      if (stopping && performance.now() - stoppingSince > REPEATED_MS) process.exit(1);
      if (stopping) return;
      stop(0).catch((error: unknown) => {
        log.error({ err: error }, 'the stop was not clean');
        process.exit(1);
      });
    });
  }
  releaseMemoryAfterStart(systemClock);
  const url = config.publicUrl ?? `http://${hostOf(config.host)}:${supervisor.api.address.port}`;
  await greet(supervisor.api.applications, first as Bootstrap, { url, startedAt, accounts });
}

/** Of the levels of the log. */
const ERROR = 50;

/** What ends a start is told once, by whoever ends it; what threads told of it waits until that is known. */
function startLog({ dataDir, log: { level } }: Config) {
  const held: (() => void)[] = [];
  let starting = true;
  function started(): void {
    starting = false;
    for (const tell of held) tell();
  }
  const log = pino({
    level,
    base: { thread: 'main' },
    hooks: {
      logMethod(line, method, severity) {
        const tell = () => method.apply(this, line);
        if (starting && severity >= ERROR) held.push(tell);
        else tell();
      },
    },
  });
  /** A thread that met damage is no help to people: which file it is in, is. */
  async function startFailed(error: unknown): Promise<never> {
    if (error instanceof ConfigError) throw error;
    const { checkIntegrity } = await import('./assemble/inspection.ts');
    for (const path of ['records.db', 'messages.db'].map((name) => join(dataDir, name))) {
      const [found] = checkIntegrity(path);
      if (found === undefined) continue;
      const what = found.replace(/^\*\*\* in database \w+ \*\*\*\s*/, '').split('\n')[0];
      const words = `it is damaged (${what}); put it back from a backup`;
      throw new ConfigError('dataDir', `has ${path}: ${words}`);
    }
    started();
    throw error;
  }
  return { log, started, startFailed };
}

type Bootstrap = Awaited<ReturnType<ApplicationService['bootstrap']>>;

function hostOf(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}

async function greet(
  applications: ApplicationService,
  bootstrap: Bootstrap,
  { url, startedAt, accounts }: { url: string; startedAt: number; accounts: ChannelAccount[] },
): Promise<void> {
  const { token } = await applications.createAdminLink();
  const shown = bootstrap.kind === 'generated' ? bootstrap.key : '$TIDINGS_API_KEY';
  const keyLine = {
    generated: `${shown}   (shown this once)`,
    configured: 'the one in TIDINGS_BOOTSTRAP_KEY',
    kept: 'the one shown at the first start',
    refused: 'the one in TIDINGS_BOOTSTRAP_KEY was revoked; choose another',
  }[bootstrap.kind];
  const channels = accounts.map(({ channel, account }) => `${channel} ${account ?? 'captured'}`);
  const isCaptured = accounts.some(({ channel, account }) => channel === 'email' && !account);
  const invitation = isCaptured
    ? 'Send a first message; without a mail server configured it is captured and shown, not sent:'
    : 'Send a first message; put an address of your own in, because it is sent:';
  process.stdout.write(`
Tidings is ready at ${url}  (${Math.round(performance.now() - startedAt)} ms)

  Admin link  ${url}/console#token=${token}   (once, within an hour)
  API key     ${keyLine}
  Reference   ${url}/docs
  Channels    ${channels.join(', ')}

  ${invitation}

  curl -sS '${url}/v1/notifications?wait=5s' \\
    -H "Authorization: Bearer ${shown}" \\
    -H 'Content-Type: application/json' \\
    -d '{"to":{"email":"ada@example.com"},"content":{"title":"Hello","text":"It works."}}'

`);
}
