/**
 * Filters over messages and the ledger, as the store asks for them: read by a thread of its own, because
 * a search that finds little goes through many rows, and whoever accepts messages must not wait for it.
 * The thread is started for the first list and ended when nobody has asked for a while.
 */
import { Worker } from 'node:worker_threads';
import type { Ledger } from '@tidings/contracts/notification';
import type { Clock, Timer } from '../../clock.ts';
import { ServiceError } from '../../errors.ts';
import type {
  FoundMessage,
  FoundPage,
  RedriveSelection,
  SearchFilter,
} from '../../notification/notification-store.ts';
import { isDamaged, translateError } from './connection.ts';
import type { LedgerFilter } from './message-search-ledger.ts';
import type { JobName, Jobs, SearchFiles } from './message-search-reader.ts';

/** null ends the thread. */
export type Question = { id: number; name: JobName; argument: never } | null;
/** Errors cross as what SQLite said: what follows from it is decided on this side. */
export type Answer =
  | { id: number; value: unknown }
  | { id: number; failure: { message: string; errcode: unknown } };

/** Its memory is given back behind this silence; a start takes some 50 ms. */
const IDLE_MS = 30_000;
/** What waits takes memory, and the last of so many would wait for seconds. */
const MOST_WAITING = 500;

type Run = <Name extends JobName>(
  name: Name,
  argument: Jobs[Name]['argument'],
) => Promise<Jobs[Name]['answer']>;

export interface Reading {
  run: Run;
  close(): void;
}

/** What stands behind the hot file, and may have damage. */
export interface Followed {
  /** Resolves when it shows what was committed before the call, or after a bound. */
  caughtUp(): Promise<void>;
  /** Why nothing can be read from it; undefined when it can. */
  failure?(): ServiceError | undefined;
  /** Somebody has met damage. Returns what to answer. */
  damaged?(cause: unknown): ServiceError;
}

export class MessageSearch {
  readonly #reading: Reading;
  readonly #followed: Followed;
  /** Counts that are under way, since each takes long and answers everybody alike. */
  readonly #counting = new Map<string, Promise<Ledger>>();

  constructor(reading: Reading, followed: Followed) {
    this.#reading = reading;
    this.#followed = followed;
  }

  /** As much as is found in bounded time. */
  async page(filter: SearchFilter): Promise<FoundPage> {
    await this.#ready();
    return this.#run('page', filter);
  }

  /** As much as was asked for, if there is as much, however long it takes. */
  async find(filter: SearchFilter): Promise<FoundMessage[]> {
    await this.#ready();
    const found: FoundMessage[] = [];
    let before = filter.before;
    do {
      const limit = filter.limit - found.length;
      const page: FoundPage = await this.#run('page', { ...filter, limit, before });
      found.push(...page.found);
      before = page.next;
    } while (before !== null && found.length < filter.limit);
    return found;
  }

  /** Ids of failed messages, newest first, below `before`. */
  async failed(
    selection: RedriveSelection,
    before: number | null,
    limit: number,
  ): Promise<number[]> {
    const { applicationId, messageIds, channel, from, to } = selection;
    if (messageIds) {
      const ids = messageIds
        .filter((id) => before === null || id < before)
        .sort((a, b) => b - a)
        .slice(0, limit);
      if (applicationId === null) return ids;
      await this.#ready();
      return this.#run('owned', { applicationId, ids });
    }
    const filter = { applicationId, channel, from, to, status: 'failed', limit, before } as const;
    return (await this.find(filter)).map(({ key }) => key);
  }

  async ledger(filter: LedgerFilter): Promise<Ledger> {
    // Which messages are test keys' is the projection's to say.
    if (filter.kind !== undefined) await this.#ready();
    const key = `${filter.applicationId}/${filter.kind}`;
    let counting = this.#counting.get(key);
    if (!counting) {
      counting = this.#run('ledger', filter).finally(() => this.#counting.delete(key));
      this.#counting.set(key, counting);
    }
    return { ...(await counting) };
  }

  close(): void {
    this.#reading.close();
  }

  async #ready(): Promise<void> {
    await this.#followed.caughtUp();
    const failure = this.#followed.failure?.();
    if (failure) throw failure;
  }

  async #run<Name extends JobName>(
    name: Name,
    argument: Jobs[Name]['argument'],
  ): Promise<Jobs[Name]['answer']> {
    try {
      return await this.#reading.run(name, argument);
    } catch (error) {
      // The count of everything reads the hot file alone, whose damage is not mended here.
      const isProjection = name !== 'ledger' || (argument as LedgerFilter).kind !== undefined;
      if (isDamaged(error) && isProjection && this.#followed.damaged)
        throw this.#followed.damaged(error);
      throw translateError(error);
    }
  }
}

interface Waiting {
  resolve(value: never): void;
  reject(error: unknown): void;
}

/** Read by a thread that is there while it is needed. */
export class ThreadReading implements Reading {
  readonly #files: SearchFiles;
  readonly #clock: Clock;
  readonly #idleMs: number;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #idle: Timer | undefined;
  #last = 0;
  #closed = false;

  constructor(files: SearchFiles, { clock, idleMs = IDLE_MS }: { clock: Clock; idleMs?: number }) {
    this.#files = files;
    this.#clock = clock;
    this.#idleMs = idleMs;
  }

  run: Run = (name, argument) => {
    if (this.#closed) return Promise.reject(new ServiceError('shutting_down'));
    if (this.#waiting.size >= MOST_WAITING) return Promise.reject(tooMany());
    this.#idle?.cancel();
    return new Promise((resolve, reject) => {
      const id = ++this.#last;
      this.#waiting.set(id, { resolve, reject });
      this.#worker ??= this.#start();
      this.#worker.postMessage({ id, name, argument: argument as never } satisfies Question);
    });
  };

  close(): void {
    this.#closed = true;
    this.#idle?.cancel();
    this.#end();
  }

  /** Whether the thread is there. */
  get running(): boolean {
    return this.#worker !== undefined;
  }

  #start(): Worker {
    const worker = new Worker(new URL('./message-search-thread.ts', import.meta.url), {
      name: 'lists',
      workerData: this.#files,
    });
    worker.unref();
    worker.on('message', (answer: Answer) => this.#receive(answer));
    let cause: unknown = new Error('the thread that reads lists ended');
    worker.on('error', (error) => {
      cause = error;
    });
    worker.on('exit', () => {
      if (this.#worker !== worker) return;
      // The next list starts another one.
      this.#worker = undefined;
      this.#refuseAll(cause);
    });
    return worker;
  }

  #receive(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if ('value' in answer) waiting?.resolve(answer.value as never);
    else waiting?.reject(Object.assign(new Error(answer.failure.message), answer.failure));
    if (this.#waiting.size === 0 && !this.#closed)
      this.#idle = this.#clock.after(this.#idleMs, () => this.#end());
  }

  #end(): void {
    const worker = this.#worker;
    this.#worker = undefined;
    worker?.postMessage(null satisfies Question);
    this.#refuseAll(undefined);
  }

  #refuseAll(cause: unknown): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(cutShort(cause));
  }
}

function tooMany(): ServiceError {
  return new ServiceError('overloaded', {
    detail: 'Too many lists are being read.',
    hint: 'Ask again in a moment.',
    retryAfterMs: 1000,
  });
}

function cutShort(cause: unknown): ServiceError {
  return new ServiceError('store_unavailable', {
    detail: 'The list was not read to its end.',
    hint: 'Ask again.',
    retryAfterMs: 1000,
    cause,
  });
}
