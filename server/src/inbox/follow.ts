/**
 * Reads for the hub of one thread what nobody tells it: what left inboxes, and how their counts are
 * after entries, marks and departures. It looks as often as the hub ticks, at what reads show anyway,
 * so that a stream is never a reason to hurry the store. It is no way for items: those come at once.
 */
import type { InboxStore } from '../adapters/in-app/inbox-store.ts';
import type { HubFollower, InboxHub } from './live.ts';

/** Departures read at once. */
const GROUP = 500;

export interface InboxFollowerOptions {
  inbox: InboxStore;
  hub: InboxHub;
  failed(error: unknown): void;
}

export class InboxFollower implements HubFollower {
  readonly #inbox: InboxStore;
  readonly #hub: InboxHub;
  readonly #failed: (error: unknown) => void;
  /** Resolves once it knows where to begin; undefined while nobody is connected. */
  #begun: Promise<void> | undefined;
  #position = 0;
  #looking = false;

  constructor({ inbox, hub, failed }: InboxFollowerOptions) {
    this.#inbox = inbox;
    this.#hub = hub;
    this.#failed = failed;
    hub.follow(this);
  }

  /** Every departure after what is shown when this resolves will be told. */
  begin(): Promise<void> {
    this.#begun ??= this.#begin();
    return this.#begun;
  }

  rest(): void {
    this.#begun = undefined;
  }

  look(): void {
    if (this.#looking || this.#begun === undefined) return;
    this.#looking = true;
    this.#look(this.#begun)
      .catch((error) => this.#failed(error))
      .finally(() => {
        this.#looking = false;
      });
  }

  async #begin(): Promise<void> {
    try {
      const { position } = await this.#inbox.follow(null, 0);
      this.#position = position;
      this.#hub.depart([], position);
    } catch (error) {
      this.#begun = undefined;
      throw error;
    }
  }

  async #look(begun: Promise<void>): Promise<void> {
    await begun;
    for (;;) {
      const { departures, position, complete } = await this.#inbox.follow(this.#position, GROUP);
      // Everybody had gone meanwhile, and perhaps it has begun anew.
      if (this.#begun !== begun) return;
      this.#position = position;
      this.#hub.depart(departures, position);
      if (!complete) this.#hub.lose();
      if (departures.length < GROUP) break;
    }
    await this.#count();
  }

  async #count(): Promise<void> {
    const stale = this.#hub.takeStale(this.#position);
    if (stale.length === 0) return;
    try {
      const counts = await this.#inbox.countsOf(stale);
      for (const [i, audience] of stale.entries()) this.#hub.tellCounts(audience, counts[i]);
    } catch (error) {
      for (const audience of stale) this.#hub.tellCounts(audience, undefined);
      throw error;
    }
  }
}
