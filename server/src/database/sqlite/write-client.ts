/**
 * The writing side of a store in any thread: turns calls into batches for the writer.
 *
 * A batch is what one turn of the event loop called for; the writer puts batches that arrive during
 * a commit into the next one. A long turn sends several, so that the first is being committed while
 * the last is still being read.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { MessagePort } from 'node:worker_threads';
import { type PlainError, ServiceError } from '../../errors.ts';
import { type PackedCalls, packCalls } from './call-codec.ts';
import { whenDamaged } from './connection.ts';
import type { Answers, Call, GroupWriter } from './group-writer.ts';

export interface WriteClient {
  /** Resolves after the commit that contains the call. */
  call<Result>(operation: string, argument: unknown): Promise<Result>;
  /** Why writes are refused at present; undefined when they are taken. */
  readonly failure: ServiceError | undefined;
  /** A write did not fit on the disk, and there is still no space; writes are tried all the same. */
  readonly full: boolean;
  /** Calls that wait for their commit. */
  readonly waiting: number;
}

/** Whoever reads a damaged page has the writer stop: the file may be damaged where it writes, too. */
export function reportDamage(database: DatabaseSync, writer: WriteClient): void {
  whenDamaged(database, (error) => {
    if (writer.failure) return;
    // Refused like all that is written now, which is what it is for.
    writer.call('damageFound', (error as Error).message).catch(() => {});
  });
}

interface Waiter {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** What a client posts to the writer's thread and what comes back. */
export interface WriteRequest {
  calls: PackedCalls;
  /** The calls may wait a moment for the commit of others, which then costs nothing more. */
  patient: boolean;
}
export interface WriteResponse {
  /** Of each call, in order; missing when only the state changed. */
  values?: unknown[];
  /** Of the calls that failed: their values say nothing. */
  errors?: [index: number, error: PlainError][];
  /** Why writes are refused from now on; null when they are taken again. */
  failure?: PlainError | null;
  full?: boolean;
}

/** So many calls are worth a batch of their own before their turn of the event loop has ended. */
const LARGE_BATCH = 64;

abstract class BatchingClient implements WriteClient {
  #calls: Call[] = [];
  #waiters: Waiter[] = [];
  /** Of each batch that the writer has, oldest first. */
  #underWay: Waiter[][] = [];
  #scheduled = false;
  #failure: ServiceError | undefined;
  /** Only the writer's thread looks at its disk. */
  full = false;

  get failure(): ServiceError | undefined {
    return this.#failure;
  }

  get waiting(): number {
    return this.#underWay.reduce((sum, { length }) => sum + length, this.#calls.length);
  }

  call<Result>(operation: string, argument: unknown): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#calls.push([operation, argument]);
      this.#waiters.push({ resolve: resolve as (value: unknown) => void, reject });
      if (this.#calls.length >= LARGE_BATCH) return this.#send();
      if (this.#scheduled) return;
      this.#scheduled = true;
      // After the requests of this turn of the event loop, so that they share the commit.
      setImmediate(() => {
        this.#scheduled = false;
        this.#send();
      });
    });
  }

  protected abstract send(calls: Call[]): void;

  protected setFailure(failure: ServiceError | undefined): void {
    this.#failure = failure;
  }

  protected receive({ values, errors }: Answers): void {
    const waiters = this.#underWay.shift() ?? [];
    // A promise takes its first word only, so what failed is said before all else.
    for (const [i, error] of errors) waiters[i]?.reject(ServiceError.fromPlain(error));
    for (let i = 0; i < waiters.length; i++) waiters[i]?.resolve(values[i]);
  }

  /** The writer is gone: everything under way or waiting is refused, outcome unknown. */
  protected abandonAll(): void {
    const waiters = [...this.#underWay.flat(), ...this.#waiters];
    this.#underWay = [];
    this.#calls = [];
    this.#waiters = [];
    for (const waiter of waiters)
      waiter.reject(new ServiceError('store_unavailable', { retryAfterMs: 1000 }));
  }

  #send(): void {
    if (this.#calls.length === 0) return;
    const calls = this.#calls;
    this.#underWay.push(this.#waiters);
    this.#calls = [];
    this.#waiters = [];
    this.send(calls);
  }
}

/** Writes through the writer's thread. */
export class ThreadWriteClient extends BatchingClient {
  readonly #port: MessagePort;
  readonly #patient: boolean;

  constructor(port: MessagePort, { patient = false }: { patient?: boolean } = {}) {
    super();
    this.#port = port;
    this.#patient = patient;
    port.on('message', (response: WriteResponse) => {
      if (response.failure !== undefined) {
        this.setFailure(
          response.failure === null ? undefined : ServiceError.fromPlain(response.failure),
        );
      }
      if (response.full !== undefined) this.full = response.full;
      const { values, errors = [] } = response;
      if (values) this.receive({ values, errors });
    });
    port.on('close', () => {
      this.setFailure(new ServiceError('shutting_down'));
      this.abandonAll();
    });
    port.unref();
  }

  protected override send(calls: Call[]): void {
    // The reply must arrive even when nothing else keeps the thread alive.
    this.#port.ref();
    const request: WriteRequest = { calls: packCalls(calls), patient: this.#patient };
    this.#port.postMessage(request);
  }

  protected override receive(answers: Answers): void {
    super.receive(answers);
    if (this.waiting === 0) this.#port.unref();
  }

  close(): void {
    this.#port.close();
  }
}

/** Writes in the same thread: for tests, the command line and the simulation. */
export class LocalWriteClient extends BatchingClient {
  readonly #writer: GroupWriter;

  constructor(writer: GroupWriter) {
    super();
    this.#writer = writer;
  }

  protected override send(calls: Call[]): void {
    const answers = this.#writer.run(calls);
    this.setFailure(this.#writer.failure);
    if (this.#writer.failure) this.#writer.repair();
    queueMicrotask(() => this.receive(answers));
  }
}
