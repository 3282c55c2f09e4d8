/**
 * Deliveries of the webhook and the SMTP provider to a local server, counted there, beside a bare
 * client that sends the same to the same server. Many messages are accepted at once; what counts is
 * how fast they arrive: from the first to the last, and once nothing more is being accepted.
 */
import type { BareClient, BareResult } from './bare-client.ts';
import { type HelperProcess, startHelper } from './child.ts';
import {
  type Benchmark,
  type Context,
  countErrors,
  emptyRow,
  meteredPart,
  type Row,
  saturation,
} from './context.ts';
import { startMeter } from './environment.ts';
import type { RequestSpec } from './load-request.ts';
import type { Protocol, Receiver, Sample } from './receiver.ts';
import { authorization, type Service, startService } from './server.ts';

/** What the providers have by default. */
const webhookConnections = 50;
const smtp = { concurrency: 5, maxMessagesPerConnection: 100 };
const sender = 'orders@shop.example';
const title = 'Hello';
const rounds = 2;
/** Of what a bare client sends in the time: enough for the backlog to be most of it. */
const shareOfBare = 0.8;
const warmupMessages = 2000;
const quickWarmupMessages = 200;
const deliveryLimitMs = 300_000;

interface Delivering {
  protocol: Protocol;
  service: Service;
  requests: RequestSpec[];
  receiver: HelperProcess<Receiver>;
  bare(seconds: number): Promise<BareResult>;
}

function requestTo(to: Record<string, string>): RequestSpec[] {
  const content = { title, text: 'Your order <<n>> has shipped' };
  const body = JSON.stringify({ to, content });
  return [{ method: 'POST', path: '/v1/notifications', headers: { authorization }, body }];
}

/** Has so many messages accepted. */
function accept({ load }: Context, { service, requests }: Delivering, maxRequests: number) {
  // A day is no limit: the number of requests is.
  const plan = { ...saturation, warmupSeconds: 0, seconds: 86_400, maxRequests };
  return load({ ...service, requests }, plan);
}

async function measureBare(label: string, { bare, protocol }: Delivering, { options }: Context) {
  const meter = startMeter(process.pid);
  const { sent, seconds, cpuMicroseconds } = await bare(options.seconds);
  const { stolenShare, otherShare } = meter.stop();
  return {
    ...emptyRow(`${protocol}: bare ${label}`, sent / seconds),
    generatorMicroseconds: cpuMicroseconds,
    stolenShare,
    otherShare,
  };
}

async function measureService(
  label: string,
  delivering: Delivering,
  context: Context,
  count: number,
): Promise<Row> {
  const { service, receiver, protocol } = delivering;
  const before = await receiver.ask('count', null);
  const meter = startMeter(service.pid);
  const first = receiver.ask('until', { count: before.count + 1, timeoutMs: deliveryLimitMs });
  const result = await accept(context, delivering, count);
  const { atMs: firstAtMs } = await first;
  const atAccepted = await receiver.ask('count', null);
  const expected = before.count + result.accepted;
  const last = await receiver.ask('until', { count: expected, timeoutMs: deliveryLimitMs });
  const reading = meter.stop();
  const perSecond = (from: typeof last) =>
    ((last.count - from.count) / (last.atMs - from.atMs)) * 1000;
  return {
    ...emptyRow(`${protocol}: service ${label}`, perSecond({ ...before, atMs: firstAtMs })),
    ...meteredPart(reading, last.count - before.count),
    errors: countErrors(result),
    extra: {
      messages: result.accepted,
      missing: expected - last.count,
      'backlog when accepted': expected - atAccepted.count,
      'then per s': Math.round(perSecond(atAccepted)),
    },
  };
}

/** Bare, service, bare, service, bare; each of ours is divided by the mean of the two around it. */
async function measureBoth(delivering: Delivering, context: Context): Promise<void> {
  const { bracket, options, say } = context;
  await accept(context, delivering, options.isQuick ? quickWarmupMessages : warmupMessages);
  const bareRow = (round: number) => bracket(() => measureBare(`${round}`, delivering, context));
  say(`${delivering.protocol} …`);
  let before = await bareRow(1);
  for (let round = 1; round <= (options.isQuick ? 1 : rounds); round++) {
    const count = Math.ceil(before.perSecond * options.seconds * shareOfBare);
    const row = await bracket(() => measureService(`${round}`, delivering, context, count));
    const after = await bareRow(round + 1);
    const perSecond = (before.perSecond + after.perSecond) / 2;
    row.extra['÷ bare'] = row.perSecond / perSecond;
    row.extra['then ÷ bare'] = (row.extra['then per s'] as number) / perSecond;
    before = after;
  }
}

function helpers() {
  const at = (file: string) => new URL(file, import.meta.url).pathname;
  return {
    receiver: startHelper<Receiver>(at('./receiver.ts')),
    client: startHelper<BareClient>(at('./bare-client.ts')),
  };
}

async function measureWebhooks(context: Context): Promise<void> {
  const { receiver, client } = helpers();
  await using _receiver = receiver;
  await using _client = client;
  const port = await receiver.ask('listen', 'webhook');
  await using service = await startService(context.options, {
    TIDINGS_WEBHOOK_HTTP_ALLOWED_NETWORKS: '127.0.0.0/8',
  });
  const path = '/hook';
  const to = { webhook: `http://127.0.0.1:${port}${path}` };
  await service.call('/v1/notifications?wait=10s', { to, content: { title, text: title } });
  const { headers, body } = (await receiver.ask('sample', null)) as Sample;
  const job = {
    port,
    path,
    // Its own connection decides about these.
    headers: { ...(headers as Record<string, string>), connection: 'keep-alive' },
    body,
    concurrency: webhookConnections,
  };
  const bare = (seconds: number) => client.ask('http', { ...job, seconds });
  const delivering = {
    protocol: 'webhook',
    service,
    requests: requestTo(to),
    receiver,
    bare,
  } as const;
  await measureBoth(delivering, context);
}

async function measureMail(context: Context): Promise<void> {
  const { receiver, client } = helpers();
  await using _receiver = receiver;
  await using _client = client;
  const port = await receiver.ask('listen', 'smtp');
  await using service = await startService(context.options, {
    TIDINGS_EMAIL_SMTP_HOST: '127.0.0.1',
    TIDINGS_EMAIL_SMTP_PORT: String(port),
    TIDINGS_EMAIL_SMTP_FROM_ADDRESS: sender,
  });
  const requests = requestTo({ email: 'user<<user>>@example.com' });
  const mail = { from: sender, subject: title, text: 'Your order 0000000000 has shipped' };
  const bare = (seconds: number) => client.ask('smtp', { ...smtp, ...mail, port, seconds });
  await measureBoth({ protocol: 'smtp', service, requests, receiver, bare }, context);
}

export default {
  name: 'providers',
  summary:
    'Messages a second that arrive at a local server: by webhook (50 connections) and by SMTP (5), sent by the service and by a bare client of the same library. per s is from the first arrival to the last, "then per s" from the last acceptance on; ÷ bare divides by the bare client before and after.',
  async run(context) {
    await measureWebhooks(context);
    await measureMail(context);
  },
} satisfies Benchmark;
