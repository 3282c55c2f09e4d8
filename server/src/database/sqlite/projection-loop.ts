/**
 * The tracker's thread in embedded mode: keeps the projection up with the hot file and moves the
 * hot file's log into it, both off the hot path. Readers in other threads ask it to tell them when
 * the projection shows what they have seen committed.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { MessagePort } from 'node:worker_threads';
import type { Clock, Timer } from '../../clock.ts';
import { ServiceError } from '../../errors.ts';
import type { Service } from '../../lifecycle.ts';
import { isDamaged, translateError } from './connection.ts';
import { type Projection, type ProjectionPosition, REBUILDING } from './projection.ts';

/**
 * How often new rows are looked for when nobody asks. A message that has come to its end by then is
 * written once instead of once per change, which is most of what following costs.
 */
const LOOK_MS = 250;
/** How often the log is moved into the file; the writer only steps in when this does not suffice. */
const CHECKPOINT_MS = 100;
/** A reader waits no longer than this for the projection; it then sees what is there. */
const LONGEST_WAIT_MS = 2000;

/** After the file could not be made anew, it is tried again when damage is met this much later. */
const REMAKE_AGAIN_MS = 5000;
const OTHER_DAMAGED =
  'messages.db or records.db is damaged, and projection.db behind them is not: lists and inboxes show what they knew';

type Ask = { id: number; target: ProjectionPosition } | { damaged: true };
type Told = { id: number } | { remade: boolean };

export interface ProjectionLoopOptions {
  projection: Projection;
  /** Connections whose log is moved: each a writing connection of its own to a file that another thread writes. */
  checkpoints: DatabaseSync[];
  clock: Clock;
  failed(error: unknown): void;
  /** Somebody met damage, and the file was made anew, or could not be: then there is an error. */
  remade(error: unknown): void;
}

export class ProjectionLoop implements Service {
  readonly name = 'projection';
  readonly #options: ProjectionLoopOptions;
  readonly #timers: Timer[] = [];
  readonly #ports = new Set<MessagePort>();
  #waiting: { port: MessagePort; id: number; target: ProjectionPosition }[] = [];
  #remaking: Promise<void> | undefined;
  #remakeFrom = 0;
  #scheduled = false;
  #stopped = false;

  constructor(options: ProjectionLoopOptions) {
    this.#options = options;
  }

  connect(port: MessagePort): void {
    this.#ports.add(port);
    port.on('close', () => this.#ports.delete(port));
    port.on('message', (ask: Ask) => {
      if ('damaged' in ask) {
        this.#damaged();
        return;
      }
      this.#waiting.push({ port, ...ask });
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
    await this.#remaking;
    this.#checkpoint();
  }

  #schedule(): void {
    if (this.#scheduled || this.#stopped || this.#remaking !== undefined) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (!this.#stopped && this.#remaking === undefined) this.#step();
    });
  }

  #step(): void {
    try {
      const more = this.#options.projection.step();
      this.#tell();
      if (more) this.#schedule();
    } catch (error) {
      // Whatever it was (a full disk), the position has not moved: the next look tries again.
      if (isDamaged(error)) this.#damaged();
      else this.#options.failed(error);
    }
  }

  /**
   * Makes the file anew, once for however many have met the damage, and seldom. What was met may be of
   * a file that is read with it, which is not for this one to mend.
   */
  #damaged(): void {
    const { projection, clock } = this.#options;
    if (this.#remaking !== undefined || this.#stopped || clock.monotonic() < this.#remakeFrom)
      return;
    this.#remakeFrom = clock.monotonic() + REMAKE_AGAIN_MS;
    if (projection.isWhole()) {
      this.#options.failed(new Error(OTHER_DAMAGED));
      for (const port of this.#ports) port.postMessage({ remade: true } satisfies Told);
      return;
    }
    const ended = (error: unknown): void => {
      this.#remaking = undefined;
      this.#remakeFrom = clock.monotonic() + REMAKE_AGAIN_MS;
      this.#options.remade(error);
      for (const port of this.#ports)
        port.postMessage({ remade: error === undefined } satisfies Told);
      this.#schedule();
    };
    this.#remaking = projection.remake().then(() => ended(undefined), ended);
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
  readonly #position: () => ProjectionPosition & { [REBUILDING]: number };
  readonly #clock: Clock;
  readonly #waiting = new Map<number, () => void>();
  #last = 0;
  /** Damage that was met and is not mended yet. */
  #damage: unknown;
  #mendable = true;

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
      [REBUILDING]: 0,
      ...Object.fromEntries(position.all().map((row) => [row['name'], row['value']])),
    });
    this.#listen(port);
  }

  /**
   * Resolves when the projection shows everything committed before the call, or after a bound; at once
   * while it is being made anew, which takes longer than anybody waits.
   */
  caughtUp = async (): Promise<void> => {
    const target = this.#target();
    const position = this.#positionOrDamage();
    if (position === undefined || position[REBUILDING] || reached(position, target)) return;
    await new Promise<void>((resolve) => {
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

  /** Why lists cannot be answered; undefined when they can. */
  failure(): ServiceError | undefined {
    try {
      const position = this.#positionOrDamage();
      if (this.#damage !== undefined) return damageError(this.#damage, this.#mendable);
      return position?.[REBUILDING] ? rebuildingError() : undefined;
    } catch (error) {
      return translateError(error);
    }
  }

  /** Tells the tracker, which makes the file anew. Returns what to answer. */
  damaged(cause: unknown): ServiceError {
    this.#damage = cause;
    this.#port.postMessage({ damaged: true } satisfies Ask);
    return damageError(cause, this.#mendable);
  }

  /** Goes on with a tracker that has been started anew. */
  connect(port: MessagePort): void {
    this.#port.close();
    this.#listen(port);
    if (this.#damage !== undefined) port.postMessage({ damaged: true } satisfies Ask);
  }

  close(): void {
    this.#port.close();
  }

  /** How many events the projection is behind. */
  lag(): number {
    return Math.max(0, this.#target().event - (this.#positionOrDamage()?.event ?? 0));
  }

  #positionOrDamage() {
    try {
      return this.#position();
    } catch (error) {
      if (!isDamaged(error)) throw translateError(error);
      this.damaged(error);
      return undefined;
    }
  }

  #listen(port: MessagePort): void {
    this.#port = port;
    port.on('message', (told: Told) => {
      if ('id' in told) this.#waiting.get(told.id)?.();
      else if (told.remade) this.#damage = undefined;
      if ('remade' in told) this.#mendable = told.remade;
    });
    port.unref();
  }
}

const GOES_ON = 'Messages are accepted and delivered meanwhile.';

function rebuildingError(): ServiceError {
  return new ServiceError('store_unavailable', {
    detail: `The file behind lists and inboxes was damaged and is being made anew. ${GOES_ON}`,
    hint: 'Ask again later; a million messages take about half a minute.',
    retryAfterMs: 5000,
  });
}

function damageError(cause: unknown, mendable: boolean): ServiceError {
  return new ServiceError('store_unavailable', {
    detail: `The file behind lists and inboxes is damaged. ${GOES_ON}`,
    hint: mendable
      ? 'It is made anew at once; ask again later.'
      : 'It could not be made anew while it is in use; the next start of the service does it.',
    retryAfterMs: 5000,
    cause,
  });
}
