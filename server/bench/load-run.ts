/**
 * One run of the load generator.
 *
 * Open loop: request k is due at start + k / rate, whatever the server does. It is sent by the
 * first turn behind that time on a free connection, or waits for one; its latency counts from when
 * it was due. So a server that stalls for 200 ms is charged with every request that fell into the
 * stall, not only with those in flight (coordinated omission). The line of waiting requests is a
 * counter, since the schedule says when each of them was due: memory does not grow.
 *
 * A turn reads what has been answered, sends what is due, and sleeps `pollMs`. Sleeping first and
 * reading many answers at once costs half of being woken for each; the core it does not use is
 * the server's.
 */
import { createHistogram, performance, type RecordableHistogram } from 'node:perf_hooks';
import type { LoadJob, LoadListener, LoadResult, Percentiles } from './load.ts';
import { isLoopback } from './load.ts';
import { Connection, type ConnectionEvents } from './load-connection.ts';
import { requestFactory } from './load-request.ts';

/** How long all connections may take to be open. */
const connectDeadlineMs = 10_000;
/** How often time-outs are looked for and connections that have rested long are given a turn. */
const careMs = 250;
/** Every connection is used within this time, below the shortest usual keep-alive limit (5 s). */
const restMs = 3000;

function newHistogram(): RecordableHistogram {
  // Nanoseconds up to ten minutes with three significant digits; recording costs 40 ns.
  return createHistogram({ lowest: 1, highest: 600_000_000_000, figures: 3 });
}

function record(histogram: RecordableHistogram, ms: number): void {
  histogram.record(ms > 0 ? Math.floor(ms * 1e6) + 1 : 1);
}

export function percentilesOf(histogram: RecordableHistogram): Percentiles {
  const count = histogram.count;
  const ms = (nanoseconds: number) => (count === 0 ? 0 : Math.round(nanoseconds / 1e3) / 1e3);
  return {
    count,
    meanMs: ms(histogram.mean),
    p50Ms: ms(histogram.percentile(50)),
    p90Ms: ms(histogram.percentile(90)),
    p99Ms: ms(histogram.percentile(99)),
    p999Ms: ms(histogram.percentile(99.9)),
    p9999Ms: ms(histogram.percentile(99.99)),
    maxMs: ms(histogram.max),
  };
}

export async function runLoad(job: LoadJob, listener: LoadListener = {}): Promise<LoadResult> {
  if (!isLoopback(job.host)) throw new Error(`the load goes to loopback only, not to ${job.host}`);
  const isOpen = job.mode === 'open';
  const rate = job.ratePerSecond ?? 0;
  if (isOpen && !(rate > 0)) throw new Error('an open loop needs a rate');
  const intervalMs = 1000 / rate;
  const planned = isOpen
    ? Math.floor(rate * (job.warmupSeconds + job.seconds))
    : Number.MAX_SAFE_INTEGER;
  const total = Math.min(planned, job.maxRequests ?? planned);

  const latency = newHistogram();
  const lateness = newHistogram();
  const statuses = new Array<number>(600).fill(0);
  const failures = { connect: 0, closed: 0, timeout: 0, protocol: 0, unanswered: 0 };
  const inWindow = { answered: 0, accepted: 0 };
  let [sent, accepted, inFlight, idleCloses] = [0, 0, 0, 0];
  /** Requests up to this one have been late for want of a connection. */
  let queuedUpTo = 0;
  let queued = 0;
  // Before the start all of them lie in the future, so that nothing is sent or counted.
  let [startMs, measureMs, endMs] = [Infinity, Infinity, Infinity];

  // The last used goes first. A few warm connections cost half of what all of them in turn do, in
  // the kernel as in both processes; how many are warm follows from the latency.
  const free: Connection[] = [];
  function release(connection: Connection): void {
    if (connection.isListed) return;
    connection.isListed = true;
    free.push(connection);
  }
  function takeFree(): Connection | undefined {
    for (;;) {
      const connection = free.pop();
      if (connection === undefined) return undefined;
      connection.isListed = false;
      if (connection.state === 'idle') return connection;
    }
  }

  function sendDue(nowMs: number): void {
    while (sent < total) {
      const dueMs = isOpen ? startMs + sent * intervalMs : nowMs;
      if (dueMs > nowMs || dueMs >= endMs) return;
      const connection = takeFree();
      if (connection === undefined) {
        if (isOpen) countQueued(nowMs);
        return;
      }
      if (sent >= queuedUpTo && dueMs >= measureMs) record(lateness, nowMs - dueMs);
      connection.dueMs = dueMs;
      connection.sentMs = nowMs;
      inFlight++;
      connection.send(job.firstNumber + sent++);
    }
  }

  function countQueued(nowMs: number): void {
    const due = Math.min(total, Math.floor((nowMs - startMs) / intervalMs) + 1);
    if (nowMs >= measureMs) queued += Math.max(0, due - Math.max(sent, queuedUpTo));
    queuedUpTo = Math.max(queuedUpTo, due);
  }

  const events: ConnectionEvents = {
    opened: release,
    answered(connection, status) {
      inFlight--;
      const nowMs = performance.now();
      const isAccepted = status >= 200 && status < 300;
      if (isAccepted) accepted++;
      if (nowMs >= measureMs && nowMs < endMs) {
        inWindow.answered++;
        if (isAccepted) inWindow.accepted++;
      }
      if (connection.dueMs >= measureMs) {
        statuses[status] = (statuses[status] as number) + 1;
        if (isAccepted) record(latency, nowMs - connection.dueMs);
      }
      if (connection.state === 'idle') release(connection);
    },
    failed(connection, kind, isLost) {
      if (isLost) {
        inFlight--;
        if (connection.dueMs < measureMs) return;
        failures[kind]++;
        record(latency, performance.now() - connection.dueMs);
      } else if (kind === 'closed') idleCloses++;
      else if (startMs !== Infinity) failures[kind]++;
    },
  };

  const build = requestFactory(job.requests, `${job.host}:${job.port}`, job.users);
  const connections = Array.from(
    { length: job.connections },
    () => new Connection({ host: job.host, port: job.port }, build(), events),
  );

  function care(nowMs: number): void {
    for (const connection of connections) {
      const isLate = connection.state === 'busy' && nowMs - connection.sentMs > job.timeoutMs;
      if (isLate) connection.fail('timeout');
    }
    const share = Math.ceil((connections.length * careMs) / restMs);
    for (const rested of free.splice(0, share)) free.push(rested);
  }

  let usageAtMeasure: { cpu: NodeJS.CpuUsage; ms: number } | undefined;
  let generator: LoadResult['generator'] | undefined;

  function readUsage(nowMs: number): LoadResult['generator'] {
    const { user, system } = process.cpuUsage(usageAtMeasure?.cpu);
    const elapsedMs = nowMs - (usageAtMeasure?.ms ?? startMs);
    return {
      userMicroseconds: user,
      systemMicroseconds: system,
      cpuMicrosecondsPerRequest: (user + system) / Math.max(1, inWindow.answered),
      coreShare: (user + system) / 1000 / Math.max(1, elapsedMs),
    };
  }

  function close(): void {
    for (const connection of connections) connection.close();
  }

  /** What is still out counts with the time it has waited: leaving it out would be a lie. */
  function countUnanswered(nowMs: number): void {
    const add = (dueMs: number) => {
      if (dueMs < measureMs) return;
      failures.unanswered++;
      record(latency, nowMs - dueMs);
    };
    for (const { state, dueMs } of connections) if (state === 'busy') add(dueMs);
    for (let k = sent; isOpen && k < total; k++) add(startMs + k * intervalMs);
  }

  const waitMs = performance.now();
  while (free.length < connections.length) {
    if (performance.now() - waitMs > connectDeadlineMs) {
      close();
      throw new Error(`not all connections to ${job.host}:${job.port} could be opened`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  startMs = performance.now();
  measureMs = startMs + job.warmupSeconds * 1000;
  endMs = measureMs + job.seconds * 1000;

  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  let careAtMs = startMs + careMs;
  const doneMs = await new Promise<number>((resolve) => {
    function turn(): void {
      const nowMs = performance.now();
      if (usageAtMeasure === undefined && nowMs >= measureMs) {
        usageAtMeasure = { cpu: process.cpuUsage(), ms: nowMs };
        listener.onMeasure?.();
      }
      sendDue(nowMs);
      if (nowMs >= careAtMs) {
        care(nowMs);
        careAtMs = nowMs + careMs;
      }
      if (generator === undefined && nowMs >= endMs) {
        generator = readUsage(nowMs);
        listener.onEnd?.();
      }
      // An open loop lasts as long as its schedule even if the last answer is early.
      const isSent = nowMs >= endMs ? sent >= total || !isOpen : sent >= total && total < planned;
      if ((isSent && inFlight === 0) || nowMs >= endMs + job.graceSeconds * 1000) resolve(nowMs);
      else {
        // The loop reads the sockets between two turns; with an immediate pending it never blocks.
        setImmediate(turn);
        if (job.pollMs > 0) Atomics.wait(sleeper, 0, 0, job.pollMs);
      }
    }
    turn();
  });

  countUnanswered(doneMs);
  close();
  const seconds = Math.max(0, Math.min(doneMs, endMs) - measureMs) / 1000;
  return {
    mode: job.mode,
    ratePerSecond: isOpen ? rate : null,
    connections: job.connections,
    pollMs: job.pollMs,
    seconds,
    acceptedPerSecond: seconds > 0 ? inWindow.accepted / seconds : 0,
    answered: inWindow.answered,
    sent,
    accepted,
    statuses: Object.fromEntries(Object.entries(statuses).filter(([, count]) => count > 0)),
    failures,
    idleCloses,
    latency: percentilesOf(latency),
    lateness: percentilesOf(lateness),
    queued,
    generator: generator ?? readUsage(doneMs),
  };
}
