/**
 * In-app live streams over Server-Sent Events: what an idle one costs in memory, and how many
 * events a second reach open ones, with as many users as streams and with 20 streams a user (the
 * most one user may have in a thread), where one notification is written 20 times.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type HelperProcess, startHelper } from './child.ts';
import { type Benchmark, type Context, emptyRow, saturation, type Watch } from './context.ts';
import { startMeter } from './environment.ts';
import type { RequestSpec } from './load-request.ts';
import { authorization, type Service, startService } from './server.ts';
import type { OpenJob, Seen, StreamClient } from './stream-client.ts';

const connections = 10_000;
const quickConnections = 500;
const streamsPerUser = 20;
/** Notifications a second; 1,500 × 20 streams is what performance.md asks for. */
const rates = { one: [1000, 3000], many: [500, 1500, 3000] };
const quickRates = { one: [500], many: [200] };
/** Past a heartbeat, which every connection gets every 15 s. */
const idleSeconds = 20;
const arrivalLimitMs = 30_000;
const mintingAtOnce = 32;

type Client = HelperProcess<StreamClient>;
const clientFile = new URL('./stream-client.ts', import.meta.url).pathname;

function userOf(number: number): string {
  return `stream-${String(number).padStart(8, '0')}`;
}

/** To one of the users that have streams. */
const requests: RequestSpec[] = [
  {
    method: 'POST',
    path: '/v1/notifications',
    headers: { authorization },
    body: JSON.stringify({
      to: { userId: 'stream-<<user>>' },
      channels: ['in_app'],
      content: { title: 'Hello', text: 'Your order <<n>> has shipped' },
    }),
  },
];

/** By an application's key, as a shop lets its users in. */
async function mintTokens(service: Service, users: number): Promise<string[]> {
  const tokens: string[] = [];
  let next = 0;
  const mint = async () => {
    while (next < users) {
      const body = { userId: userOf(next), expiresInSeconds: 86_400 };
      const at = next++;
      tokens[at] = (await service.call<{ token: string }>('/v1/inbox/tokens', body)).token;
    }
  };
  await Promise.all(Array.from({ length: mintingAtOnce }, mint));
  return tokens;
}

/** Resident memory now. */
function rssOf({ pid }: Service): number {
  return startMeter(pid).stop().rssPeakBytes ?? Number.NaN;
}

async function openAll(client: Client, service: Service, job: Omit<OpenJob, 'port'>) {
  return client.ask('open', { ...job, port: service.port });
}

async function measureIdle({ bracket, options, say }: Context, count: number): Promise<void> {
  say(`${count} idle connections …`);
  await bracket(async () => {
    await using service = await startService(options);
    await using client = startHelper<StreamClient>(clientFile);
    const tokens = await mintTokens(service, count);
    const before = rssOf(service);
    const meter = startMeter(service.pid);
    const { seconds } = await openAll(client, service, { tokens, streamsPerToken: 1 });
    const { cpuSeconds, rssPeakBytes, stolenShare, otherShare } = meter.stop();
    const opened = rssOf(service);
    await sleep(options.isQuick ? 1000 : idleSeconds * 1000);
    const after = rssOf(service);
    const { open } = await client.ask('count', null);
    return {
      ...emptyRow(`open ${count}, then idle`, count / seconds),
      serverMicroseconds: cpuSeconds === null ? null : (cpuSeconds / count) * 1e6,
      rssPeakBytes,
      stolenShare,
      otherShare,
      errors: count - open,
      extra: {
        'open at end': open,
        'RSS before MB': before / 1e6,
        'KB each, opened': (opened - before) / 1024 / count,
        'KB each, idle': (after - before) / 1024 / count,
      },
    };
  });
}

/** Counts at the client while a load runs, then waits until everything accepted has arrived. */
async function watchArrivals(client: Client, streams: number): Promise<Watch> {
  const before = await client.ask('count', null);
  let first: Promise<Seen> | undefined;
  let last: Promise<Seen> | undefined;
  return {
    onMeasure() {
      first = client.ask('count', null);
    },
    onEnd() {
      last = client.ask('count', null);
    },
    async finish({ accepted }) {
      const [from, to] = [await first, await last];
      const expected = before.items + accepted * streams;
      const { items, open } = await client.ask('until', {
        count: expected,
        timeoutMs: arrivalLimitMs,
      });
      const seconds = ((to?.atMs ?? 0) - (from?.atMs ?? 0)) / 1000;
      return {
        'events/s': Math.round(((to?.items ?? 0) - (from?.items ?? 0)) / seconds),
        missing: expected - items,
        'open at end': open,
      };
    },
  };
}

/** @param streams of each user */
async function measureArrivals(
  { measure, options }: Context,
  { users, streams, perSecond }: { users: number; streams: number; perSecond: number[] },
): Promise<void> {
  await using service = await startService(options);
  await using client = startHelper<StreamClient>(clientFile);
  await openAll(client, service, {
    tokens: await mintTokens(service, users),
    streamsPerToken: streams,
  });
  const server = { ...service, requests };
  const watch = () => watchArrivals(client, streams);
  const label = `${users} users × ${streams}`;
  for (const ratePerSecond of perSecond) {
    await measure(
      `${label}, ${ratePerSecond}/s`,
      server,
      { mode: 'open', ratePerSecond, users },
      watch,
    );
  }
  // Last, because it may cost connections: whoever reads too slowly is sent away.
  await measure(`${label}, saturation`, server, { ...saturation, users }, watch);
}

export default {
  name: 'streams',
  summary:
    'Server-Sent Events: memory of idle connections, and events that reach open ones. per s and latency are those of accepting the notifications, events/s is counted at the clients; missing and open at end say whether all arrived and all stayed.',
  async run(context) {
    const { isQuick } = context.options;
    const count = isQuick ? quickConnections : connections;
    const { one, many } = isQuick ? quickRates : rates;
    await measureIdle(context, count);
    await measureArrivals(context, { users: count, streams: 1, perSecond: one });
    const users = count / streamsPerUser;
    await measureArrivals(context, { users, streams: streamsPerUser, perSecond: many });
  },
} satisfies Benchmark;
