/**
 * The tracker's thread in embedded mode: keeps the projection up with the hot file and moves the
 * hot file's log into it, both off the hot path. Readers in other threads ask it to tell them when
 * the projection shows what they have seen committed.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { MessagePort } from 'node:worker_threads';
import type { Clock, Timer } from '../../clock.ts';
import type { Service } from '../../lifecycle.ts';
import type { Projection, ProjectionPosition } from './projection.ts';

/**
 * How often new rows are looked for when nobody asks. A message that has come to its end by then is
 * written once instead of once per change, which is most of what following costs.
 */
const LOOK_MS = 250;
/** How often the log is moved into the file; the writer only steps in when this does not suffice. */
const CHECKPOINT_MS = 100;
/** A reader waits no longer than this for the projection; it then sees what is there. */
const LONGEST_WAIT_MS = 2000;

type Ask = { id: number; target: ProjectionPosition };
type Told = { id: number };

export interface ProjectionLoopOptions {
  projection: Projection;
  /** Connections whose log is moved: each a writing connection of its own to a file that another thread writes. */
  checkpoints: DatabaseSync[];
  clock: Clock;
  failed(error: unknown): void;
}

export class ProjectionLoop implements Service {
  readonly name = 'projection';
  readonly #options: ProjectionLoopOptions;
  readonly #timers: Timer[] = [];
  #waiting: { port: MessagePort; id: number; target: ProjectionPosition }[] = [];
  #scheduled = false;
  #stopped = false;

  constructor(options: ProjectionLoopOptions) {
    this.#options = options;
  }

  connect(port: MessagePort): void {
    port.on('message', ({ id, target }: Ask) => {
      this.#waiting.push({ port, id, target });
      this.#schedule();
    });
  }

  async start(): Promise<void> {
    const { clock } = this.#options;
    this.#timers.push(
      clock.every(LOOK_MS, () => this.#schedule()),
      clock.every(CHECKPOINT_MS, () => this.#checkpoint()),
    );
    this.#schedule();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers) timer.cancel();
    this.#checkpoint();
  }

  #schedule(): void {
    if (this.#scheduled || this.#stopped) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (!this.#stopped) this.#step();
    });
  }

  #step(): void {
    try {
      const more = this.#options.projection.step();
      this.#tell();
      if (more) this.#schedule();
    } catch (error) {
      // Whatever it was (a full disk), the position has not moved: the next look tries again.
      this.#options.failed(error);
    }
  }

  #tell(): void {
    const { position } = this.#options.projection;
    this.#waiting = this.#waiting.filter(({ port, id, target }) => {
      if (!reached(position, target)) return true;
      port.postMessage({ id } satisfies Told);
      return false;
    });
  }

  #checkpoint(): void {
    for (const database of this.#options.checkpoints) {
      try {
        // Only its own file: another one may be attached to be read.
        database.exec('PRAGMA main.wal_checkpoint(PASSIVE)');
      } catch (error) {
        this.#options.failed(error);
      }
    }
  }
}

function reached(position: ProjectionPosition, target: ProjectionPosition): boolean {
  return (
    position.notification >= target.notification &&
    position.event >= target.event &&
    position.inbox >= target.inbox
  );
}

/** A reader's end: knows what is committed from the hot file, and waits for the projection. */
export class ProjectionClient {
  #port!: MessagePort;
  readonly #target: () => ProjectionPosition;
  readonly #position: () => ProjectionPosition;
  readonly #clock: Clock;
  readonly #waiting = new Map<number, () => void>();
  #last = 0;

  constructor(options: {
    port: MessagePort;
    messages: DatabaseSync;
    projection: DatabaseSync;
    clock: Clock;
  }) {
    const { port, messages, projection, clock } = options;
    this.#clock = clock;
    const target = messages.prepare(
      `SELECT (SELECT coalesce(max(id), 0) FROM notification) AS notification,
              (SELECT coalesce(max(seq), 0) FROM event) AS event,
              (SELECT coalesce(max(seq), 0) FROM inbox_log) AS inbox`,
    );
    const position = projection.prepare('SELECT name, value FROM position');
    this.#target = () => ({ ...(target.get() as unknown as ProjectionPosition) });
    this.#position = () => ({
      notification: 0,
      event: 0,
      inbox: 0,
      ...Object.fromEntries(position.all().map((row) => [row['name'], row['value']])),
    });
    this.#listen(port);
  }

  /** Resolves when the projection shows everything committed before the call, or after a bound. */
  caughtUp = (): Promise<void> => {
    const target = this.#target();
    if (reached(this.#position(), target)) return Promise.resolve();
    return new Promise((resolve) => {
      const id = ++this.#last;
      const done = (): void => {
        timer.cancel();
        this.#waiting.delete(id);
        resolve();
      };
      const timer = this.#clock.after(LONGEST_WAIT_MS, done);
      this.#waiting.set(id, done);
      this.#port.postMessage({ id, target } satisfies Ask);
    });
  };

  /** Goes on with a tracker that has been started anew. */
  connect(port: MessagePort): void {
    this.#port.close();
    this.#listen(port);
  }

  close(): void {
    this.#port.close();
  }

  #listen(port: MessagePort): void {
    this.#port = port;
    port.on('message', ({ id }: Told) => this.#waiting.get(id)?.());
    port.unref();
  }

  /** How many events the projection is behind. */
  lag(): number {
    return Math.max(0, this.#target().event - this.#position().event);
  }
}
