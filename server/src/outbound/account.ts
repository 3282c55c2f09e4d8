/**
 * A provider account at work: how many attempts may be under way, how many may start per second,
 * and which destinations are left alone for a while.
 */
import type { AccountDefinition } from '../adapters/account.ts';
import type { Delivery, Outcome, ProviderAccount, ProviderServices } from '../adapters/provider.ts';
import type { Clock } from '../clock.ts';
import { Breaker } from './breaker.ts';
import { createSecretMask } from './secret-mask.ts';

/** Tokens that may pile up: a fifth of a second's worth, so that a burst stays near the limit. */
const BURST_SECONDS = 0.2;
/** Destinations remembered; healthy ones are forgotten first. */
const DESTINATION_LIMIT = 10_000;

export class Account {
  readonly definition: AccountDefinition;
  readonly #clock: Clock;
  readonly #provider: ProviderAccount;
  readonly #breakers = new Map<string, Breaker>();
  /** Takes the account's secrets out of an outcome. */
  readonly mask: (outcome: Outcome) => Outcome;
  #underWay = 0;
  #tokens: number;
  #refilledAt: number;

  constructor(definition: AccountDefinition, services: ProviderServices, clock: Clock) {
    this.definition = definition;
    this.#clock = clock;
    this.mask = createSecretMask(definition);
    this.#provider = definition.provider.create({
      accountId: definition.id,
      config: definition.config,
      services,
      clock,
    });
    this.#tokens = this.#burst();
    this.#refilledAt = clock.monotonic();
  }

  get receipts(): boolean {
    return this.definition.provider.capabilities.receipts;
  }

  get underWay(): number {
    return this.#underWay;
  }

  /** State of the breaker of the whole account, or `closed` where each destination has its own. */
  get state(): 'closed' | 'open' | 'half_open' {
    return this.#breakers.get('')?.state ?? 'closed';
  }

  get openDestinations(): number {
    let open = 0;
    for (const breaker of this.#breakers.values()) if (breaker.state !== 'closed') open++;
    return open;
  }

  /** How many attempts may start now, as far as it can be told without knowing the destination. */
  capacity(): number {
    // One after another is looked at all the same: it may have another channel to go on to.
    if (this.#breakers.get('')?.state === 'open') return 1;
    const free = this.definition.limits.concurrency - this.#underWay;
    const halfOpen = this.#breakers.get('')?.state === 'half_open';
    return Math.min(halfOpen ? 1 : free, free, Math.floor(this.#refill()));
  }

  /** 0 when the attempt has begun (it must end in `finish`), else ms after which to ask again. */
  begin(delivery: Delivery): number {
    if (this.#underWay >= this.definition.limits.concurrency) return 50;
    const rate = this.definition.limits.ratePerSecond;
    if (rate !== null && this.#refill() < 1) return Math.ceil((1 - this.#tokens) * (1000 / rate));
    const wait = this.#breakers.get(this.#destination(delivery))?.tryStart() ?? 0;
    if (wait > 0) return wait;
    if (rate !== null) this.#tokens--;
    this.#underWay++;
    return 0;
  }

  /** ms that the destination still has to be left alone for. */
  heldMs(delivery: Delivery): number {
    return this.#breakers.get(this.#destination(delivery))?.openMs ?? 0;
  }

  finish(delivery: Delivery, outcome: Outcome): void {
    this.#underWay--;
    const destination = this.#destination(delivery);
    const known = this.#breakers.get(destination);
    if (outcome.kind === 'sent') return void known?.succeeded();
    const ofMessage =
      outcome.kind === 'retry' ? outcome.holds === 'message' : outcome.scope !== 'config';
    if (ofMessage) return void known?.undecided();
    const breaker = known ?? this.#remember(destination);
    breaker.failed(outcome.kind === 'retry' ? outcome.retryAfterMs : undefined);
  }

  send(delivery: Delivery, signal: AbortSignal): Promise<Outcome> {
    const destination = this.#destination(delivery);
    const isHeld = (): boolean => this.#breakers.get(destination)?.state === 'open';
    return this.#provider.send(delivery as Delivery<never>, signal, isHeld);
  }

  async close(): Promise<void> {
    await this.#provider.close?.();
  }

  #destination(delivery: Delivery): string {
    return this.definition.provider.destination?.(delivery as Delivery<never>) ?? '';
  }

  #remember(destination: string): Breaker {
    if (this.#breakers.size >= DESTINATION_LIMIT) {
      for (const [key, breaker] of this.#breakers) if (breaker.idle) this.#breakers.delete(key);
    }
    const breaker = new Breaker(this.#clock);
    this.#breakers.set(destination, breaker);
    return breaker;
  }

  #burst(): number {
    const rate = this.definition.limits.ratePerSecond;
    return rate === null ? Number.POSITIVE_INFINITY : Math.max(1, rate * BURST_SECONDS);
  }

  #refill(): number {
    const rate = this.definition.limits.ratePerSecond;
    if (rate === null) return Number.POSITIVE_INFINITY;
    const now = this.#clock.monotonic();
    this.#tokens = Math.min(this.#burst(), this.#tokens + ((now - this.#refilledAt) / 1000) * rate);
    this.#refilledAt = now;
    return this.#tokens;
  }
}
