/** Runs the service from a configuration until it is told to stop. */
import { pino } from 'pino';
import type { ApplicationService } from './application/service.ts';
import { type ChannelAccount, checkAccounts } from './assemble/check.ts';
import { releaseMemoryAfterStart } from './assemble/idle-memory.ts';
import { migrateDataFiles } from './assemble/migration.ts';
import { type Supervisor, startSupervisor } from './assemble/supervisor.ts';
import { systemClock } from './clock.ts';
import type { Config } from './config.ts';
import { lockFolder, masterKeyOf } from './data-folder.ts';

/** A person who means it presses the key again after this. */
const REPEATED_MS = 1000;

export async function serve(config: Config, startedAt: number): Promise<void> {
  const log = pino({ level: config.log.level, base: { thread: 'main' } });
  if (process.env['TIDINGS_FAILPOINTS'])
    log.warn('failpoints are armed: this process will kill itself');
  const accounts = await checkAccounts(config);
  const lock = lockFolder(config.dataDir);
  const masterKey = masterKeyOf(config.dataDir, config.masterKey);
  migrateDataFiles(config.dataDir);

  let supervisor: Supervisor | undefined;
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
  supervisor = await startSupervisor({
    config,
    masterKey,
    log,
    async prepare(applications) {
      first = await applications.bootstrap(config.bootstrapKey);
    },
    fatal(error) {
      log.fatal({ err: error }, 'the service cannot go on');
      process.exit(1);
    },
  });
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
