/**
 * Starts the roles of embedded mode as threads, joins them, and watches over them. The engine and
 * the tracker are started anew when they crash or hang: what they held is in the store. Without the
 * writer nothing can be kept, so its end is the end of the process.
 */
import { MessageChannel, type MessagePort, type Transferable, Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import { type Clock, systemClock } from '../clock.ts';
import type { Config } from '../config.ts';
import type { ThreadMetrics } from '../metric.ts';
import { type ApiRole, startApi } from './api.ts';
import type { PortName, Ports, RoleName, RoleOptions } from './role.ts';

export type FromThread =
  | { type: 'ready' }
  | { type: 'alive' }
  | { type: 'stopped' }
  | { type: 'metrics'; id: number; metrics: ThreadMetrics }
  | { type: 'ask'; id: number; what: 'metrics' };

export type ToThread =
  | { type: 'connect'; name: PortName; port: MessagePort }
  | { type: 'metrics'; id: number }
  | { type: 'answer'; id: number; value: unknown }
  | { type: 'state'; notReady: string[] }
  | { type: 'drain' }
  | { type: 'stop' };

/** A thread that has been silent for this long hangs, and is ended. */
const SILENCE_MS = 4000;
const LOOK_MS = 500;
/** Between an end and the new start, doubling up to the longest while it keeps ending. */
const FIRST_RESTART_MS = 50;
const LONGEST_RESTART_MS = 1000;
const FORGIVEN_AFTER_MS = 20_000;
const METRICS_WAIT_MS = 1000;

interface Thread {
  role: RoleName;
  index: number;
  worker: Worker;
  ready: boolean;
  ended: boolean;
  aliveAt: number;
  restartMs: number;
}

export interface Supervisor {
  api: ApiRole;
  stop(): Promise<void>;
}

export interface SupervisorOptions {
  config: Config;
  masterKey: string;
  log: Logger;
  /** What has to be stored before the service is ready: the first key. */
  prepare(applications: ApiRole['applications']): Promise<void>;
  /** The process cannot go on; called at most once. */
  fatal(error: Error): void;
  clock?: Clock;
}

export async function startSupervisor({
  config,
  masterKey,
  log,
  prepare,
  fatal,
  clock = systemClock,
}: SupervisorOptions): Promise<Supervisor> {
  const threads = new Map<string, Thread>();
  const metricsAsked = new Map<number, (metrics: ThreadMetrics) => void>();
  let asked = 0;
  let stopping = false;
  let prepared = false;
  let api: ApiRole | undefined;

  const nameOf = (role: RoleName, index: number): string => `${role}${index}`;
  const apiNames = Array.from({ length: config.http.threads }, (_, i) => nameOf('api', i));

  /** Gives one end to a thread (or to this one) and returns the other. */
  function join(to: string, name: PortName): MessagePort {
    const { port1, port2 } = new MessageChannel();
    if (to === 'api0') api?.connect(name, port2);
    else post(to, { type: 'connect', name, port: port2 }, [port2]);
    return port1;
  }

  function post(to: string, message: ToThread, transfer: Transferable[] = []): void {
    threads.get(to)?.worker.postMessage(message, transfer);
  }

  /** The connections of a role to the writer and, for readers, to the tracker. */
  function storePorts(): Ports {
    return {
      messagesWriter: join('writer0', 'messagesWriter'),
      recordsWriter: join('writer0', 'recordsWriter'),
      projection: join('tracker0', 'projection'),
    };
  }

  function launch(
    role: RoleName,
    index: number,
    ports: Ports,
    restartMs = FIRST_RESTART_MS,
  ): Promise<void> {
    const name = nameOf(role, index);
    // With port 0 the first thread has taken one; the others share it.
    const port = api?.address.port ?? config.port;
    const options: RoleOptions = { config: { ...config, port }, masterKey, ports, index };
    const transfer = Object.values(ports) as Transferable[];
    const worker = new Worker(new URL('./thread.ts', import.meta.url), {
      name,
      workerData: { role, options },
      transferList: transfer,
    });
    const thread: Thread = {
      role,
      index,
      worker,
      ready: false,
      ended: false,
      aliveAt: clock.monotonic(),
      restartMs,
    };
    threads.set(name, thread);
    return new Promise((resolve, reject) => {
      worker.on('message', (message: FromThread) => {
        thread.aliveAt = clock.monotonic();
        if (message.type === 'ready') {
          thread.ready = true;
          resolve();
          tellState();
        }
        receive(thread, message);
      });
      worker.on('error', (error) => log.error({ err: error, thread: name }, 'a thread crashed'));
      worker.on('exit', (code) => {
        thread.ended = true;
        if (!thread.ready) reject(new Error(`the ${role} did not start (its log says why)`));
        if (threads.get(name) === thread) ended(thread, code);
      });
    });
  }

  function receive(thread: Thread, message: FromThread): void {
    if (message.type === 'metrics') {
      metricsAsked.get(message.id)?.(message.metrics);
      metricsAsked.delete(message.id);
    } else if (message.type === 'ask') {
      void allMetrics(nameOf(thread.role, thread.index)).then((value) =>
        post(nameOf(thread.role, thread.index), { type: 'answer', id: message.id, value }),
      );
    }
  }

  function ended(thread: Thread, code: number): void {
    if (stopping) return;
    if (thread.role === 'writer' || thread.role === 'api') {
      fatal(new Error(`the ${thread.role} thread ended (code ${code})`));
      return;
    }
    thread.ready = false;
    tellState();
    log.error(
      { thread: thread.role, code, restartMs: thread.restartMs },
      'a thread ended and is started anew',
    );
    clock.after(thread.restartMs, () => {
      if (stopping) return;
      const next = Math.min(thread.restartMs * 2, LONGEST_RESTART_MS);
      const restart = thread.role === 'engine' ? launchEngine(next) : launchTracker(next);
      restart.then(
        () => clock.after(FORGIVEN_AFTER_MS, () => forgive(thread.role)),
        (error: unknown) =>
          log.error({ err: error, thread: thread.role }, 'a thread did not start'),
      );
    });
  }

  /** A thread that has run for a while starts anew quickly the next time. */
  function forgive(role: RoleName): void {
    const thread = threads.get(nameOf(role, 0));
    if (thread?.ready) thread.restartMs = FIRST_RESTART_MS;
  }

  async function launchTracker(restartMs?: number): Promise<void> {
    await launch('tracker', 0, {}, restartMs);
    for (const name of [...apiNames, 'engine0']) {
      if (name === 'api0' ? api : threads.get(name)?.ready) {
        const port = join(name, 'projection');
        post('tracker0', { type: 'connect', name: 'projection', port }, [port]);
      }
    }
  }

  async function launchEngine(restartMs?: number): Promise<void> {
    await launch('engine', 0, storePorts(), restartMs);
    for (const name of apiNames) {
      if (name === 'api0' ? !api : !threads.get(name)?.ready) continue;
      for (const kind of ['queue', 'hints'] as const) {
        const port = join(name, kind);
        post('engine0', { type: 'connect', name: kind, port }, [port]);
      }
    }
  }

  /** Ports of an HTTP thread: to the stores, and to the engine. */
  function apiPorts(): Ports {
    return { ...storePorts(), queue: join('engine0', 'queue'), hints: join('engine0', 'hints') };
  }

  function notReady(): string[] {
    const starting = [...threads.values()].filter((thread) => !thread.ready);
    return [
      ...starting.map((thread) => `the ${thread.role} is starting`),
      ...(prepared ? [] : ['the first key is being stored']),
    ];
  }

  function tellState(): void {
    for (const [name, thread] of threads) {
      if (thread.role === 'api') post(name, { type: 'state', notReady: notReady() });
    }
  }

  async function metricsOf(name: string): Promise<ThreadMetrics> {
    return new Promise((resolve) => {
      const id = ++asked;
      const timer = clock.after(METRICS_WAIT_MS, () => {
        metricsAsked.delete(id);
        resolve([]);
      });
      metricsAsked.set(id, (metrics) => {
        timer.cancel();
        resolve(metrics);
      });
      post(name, { type: 'metrics', id });
    });
  }

  /** Metrics of every thread but the one that asks. */
  async function allMetrics(except: string): Promise<ThreadMetrics[]> {
    const others = [...threads]
      .filter(([name, thread]) => name !== except && thread.ready)
      .map(([name]) => metricsOf(name));
    if (except !== 'api0' && api) others.push(api.metrics());
    return Promise.all(others);
  }

  let lookedAt = clock.monotonic();
  const watch = clock.every(LOOK_MS, () => {
    const now = clock.monotonic();
    // When this thread itself was held up, the others' signs of life are still waiting to be read.
    const heldUp = now - lookedAt > 2 * LOOK_MS;
    lookedAt = now;
    for (const thread of threads.values()) {
      if (heldUp) thread.aliveAt = now;
      const restartable = thread.role === 'engine' || thread.role === 'tracker';
      if (!restartable || !thread.ready || now - thread.aliveAt < SILENCE_MS) continue;
      log.error({ thread: thread.role }, 'a thread hangs and is ended');
      void thread.worker.terminate();
    }
  });

  async function stopThread(name: string): Promise<void> {
    const thread = threads.get(name);
    if (!thread || thread.ended) return;
    const exited = new Promise<void>((resolve) => thread.worker.once('exit', () => resolve()));
    post(name, { type: 'stop' });
    await Promise.race([
      exited,
      new Promise<void>((resolve) => clock.after(config.shutdown.graceMs, resolve)),
    ]);
    await thread.worker.terminate();
  }

  async function stop(): Promise<void> {
    stopping = true;
    watch.cancel();
    await Promise.all([api?.stop(), ...apiNames.slice(1).map(stopThread)]);
    for (const name of ['engine0', 'tracker0', 'writer0']) await stopThread(name);
  }

  try {
    await launch('writer', 0, {});
    await launchTracker();
    await launchEngine();
    api = await startApi(
      { config, masterKey, ports: apiPorts(), index: 0 },
      { otherMetrics: () => allMetrics('api0'), notReady },
      clock,
    );
    await Promise.all(apiNames.slice(1).map((_, i) => launch('api', i + 1, apiPorts())));
    await prepare(api.applications);
    prepared = true;
    tellState();
    return { api, stop };
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
}
