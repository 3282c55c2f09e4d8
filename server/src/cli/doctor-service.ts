/** Checks of the running service, over HTTP. */
import type { Whoami } from '@tidings/contracts/application';
import type { ApiClient } from './api-client.ts';
import { ConnectionFailure } from './api-failure.ts';
import { type Context, urlOfListener } from './context.ts';
import type { Report } from './doctor-check.ts';
import type { Installation } from './doctor-installation.ts';
import { CommandFailure } from './exit.ts';
import { readReady } from './readiness.ts';

export interface RunningService {
  url: string;
  reachable: boolean;
  /** Whether there is an API key and the service takes it. */
  keyWorks: boolean;
}

/** A probe that waits longer than this tells as much by not answering. */
const PROBE_MS = 5_000;
/** Signatures of webhooks and tokens of inboxes are good for minutes only. */
const SKEW_WARN_MS = 5_000;
const SKEW_FAIL_MS = 60_000;

export async function checkService(
  context: Context,
  installation: Installation,
  report: Report,
): Promise<RunningService> {
  const url = context.namedUrl ?? urlOf(installation) ?? context.url;
  const timeoutMs = Math.min(PROBE_MS, context.timeoutMs);
  const open = context.openApi({ url, retries: 0, timeoutMs });
  const service = { url, reachable: false, keyWorks: false };
  service.reachable = await checkReady(open, installation, context.namedUrl !== undefined, report);
  if (!service.reachable) return service;
  await checkClock(open, report);
  const { key } = context;
  if (key === undefined) {
    await report({
      name: 'API key',
      status: 'ok',
      message: 'none given; what needs one is not checked',
    });
  } else {
    service.keyWorks = await checkKey(context.api({ url, retries: 0, timeoutMs }), report);
  }
  return service;
}

/** Where the configuration says it listens. */
function urlOf({ config }: Installation): string | undefined {
  if (config === undefined) return undefined;
  return urlOfListener(config.host, config.port);
}

async function checkReady(
  api: ApiClient,
  { inUse }: Installation,
  isNamed: boolean,
  report: Report,
): Promise<boolean> {
  const name = 'service';
  try {
    const { status, reasons = [] } = await readReady(api);
    const ready = status === 'ready';
    await report({
      name,
      status: ready ? 'ok' : 'fail',
      message: ready ? `${api.url} is ready` : `${api.url} is not ready: ${reasons.join(', ')}`,
      ...(ready ? {} : { advice: 'Wait a moment; if it stays so, read the log of the server.' }),
    });
    return true;
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    // Nothing holds the folder and nobody named an address: it may simply not be meant to run.
    const expected = inUse || isNamed || !(error instanceof ConnectionFailure);
    await report({
      name,
      status: expected ? 'fail' : 'warn',
      message: inUse ? `a server holds the data folder, but ${error.message}` : error.message,
      advice: inUse
        ? 'Is this its address? Name it with --url; otherwise read the log of the server.'
        : 'Start it: npm start. Another address is named with --url.',
    });
    return false;
  }
}

async function checkClock(api: ApiClient, report: Report): Promise<void> {
  const before = Date.now();
  const { headers } = await api.get('/health/live', { retries: 0 });
  const after = Date.now();
  const told = Date.parse(headers.get('date') ?? '');
  if (Number.isNaN(told)) {
    await report({
      name: 'clock',
      status: 'warn',
      message: 'the service does not say what time it has',
    });
    return;
  }
  // The header has whole seconds: any time within its second agrees.
  const skew = told > after ? told - after : Math.max(0, before - (told + 999));
  const status = skew > SKEW_FAIL_MS ? 'fail' : skew > SKEW_WARN_MS ? 'warn' : 'ok';
  await report({
    name: 'clock',
    status,
    message:
      status === 'ok'
        ? 'agrees with the service'
        : `differs from the service by ${Math.round(skew / 1000)} s`,
    ...(status === 'ok' ? {} : { advice: 'Let both machines take their time from NTP.' }),
  });
}

async function checkKey(api: ApiClient, report: Report): Promise<boolean> {
  const name = 'API key';
  try {
    const { body } = await api.get<Whoami>('/v1/whoami');
    await report({
      name,
      status: 'ok',
      message: `${body.kind} key of ${body.application} with ${body.scopes.join(', ')}`,
    });
    return true;
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    await report({
      name,
      status: 'fail',
      message: [error.message, ...error.notes].join('; '),
      advice: 'Make a new one with a key that works: tidings keys create.',
    });
    return false;
  }
}
