/**
 * Accounts of a provider that came from the operator's plug-in folder: they live in a process of their
 * own, one per plug-in file, so that a plug-in which throws where nobody catches it, crashes, loops for
 * ever or eats memory takes no other channel with it (docs/decisions/012).
 *
 * When the process ends, what it had begun comes to `crashed`, an attempt like any other; what it had not
 * begun goes on in the next one. The message that ended it, or each that may have, is a suspect: its
 * further attempts are made alone in a process, so that it ends its neighbours' only once.
 */
import type { Clock } from '../clock.ts';
import { secretsIn } from '../secret-text.ts';
import { PlugInFaults } from './plug-in-fault.ts';
import type { PlugInLog } from './plug-in-output.ts';
import type { Attempt, OpenAccount, PlugInEnd } from './plug-in-process.ts';
import { PlugInRunner } from './plug-in-runner.ts';
import type { PlugInFile } from './plug-in-spawn.ts';
import type { Outcome, ProviderAccount, ProviderContext, ProviderDefinition } from './provider.ts';

/** Suspects remembered; the oldest is forgotten first. */
const SUSPECT_LIMIT = 10_000;
/** Suspects tried at once, each alone: with two, the one that is to blame does not hold up all the others. */
const MOST_APART = 2;
const CLOSED: Outcome = { kind: 'retry', reason: 'closed' };

export interface PlugInSource extends PlugInFile {
  /** `channel/provider`, for operators. */
  name: string;
  log?: PlugInLog | undefined;
}

/** The same provider, with accounts in a process of its own. Nothing is started before `create`. */
export function inOwnProcess(
  definition: ProviderDefinition,
  source: PlugInSource,
): ProviderDefinition {
  let plugIn: PlugIn | undefined;
  return {
    ...definition,
    create(context) {
      plugIn ??= new PlugIn(source, definition.secrets, context.clock);
      return plugIn.open(context);
    },
  };
}

class PlugIn {
  readonly #source: PlugInSource;
  readonly #accounts = new Map<number, OpenAccount>();
  readonly #common: PlugInRunner;
  /** For one suspect each. */
  readonly #apart: PlugInRunner[];
  /** Ids of messages. */
  readonly #suspects = new Set<string>();
  readonly #underWayApart = new Map<Attempt, PlugInRunner>();
  /** Attempts with suspects that wait for their turn. */
  readonly #queue = new Set<Attempt>();
  #apartStopped: Promise<unknown> = Promise.resolve();
  #opened = 0;

  constructor(source: PlugInSource, secretNames: readonly string[], clock: Clock) {
    this.#source = source;
    const output = {
      name: source.name,
      clock,
      log: source.log,
      secrets: () =>
        [...this.#accounts.values()].flatMap(({ config }) => secretsIn(config, secretNames)),
    };
    const faults = new PlugInFaults(output);
    const shared = {
      ...output,
      file: source.file,
      files: source.files,
      accounts: this.#accounts,
      refused: (account: number, text: string, stack: unknown) =>
        faults.refused({ accountId: this.#accounts.get(account)?.accountId, text, stack }),
      threw: ({ account, delivery: { messageId } }: Attempt, text: string, stack: unknown) =>
        faults.threw({ accountId: this.#accounts.get(account)?.accountId, messageId, text, stack }),
      ended: (end: PlugInEnd) => this.#ended(end),
    };
    this.#common = new PlugInRunner({ ...shared, standing: true });
    this.#apart = Array.from(
      { length: MOST_APART },
      () => new PlugInRunner({ ...shared, standing: false }),
    );
  }

  /** @throws DataCloneError when the configuration is no plain data */
  open({ accountId, config }: ProviderContext<unknown>): ProviderAccount {
    const number = ++this.#opened;
    const account: OpenAccount = { number, accountId, config: structuredClone(config) };
    this.#accounts.set(number, account);
    this.#common.open(account);
    let closing: Promise<void> | undefined;
    return {
      send: async (delivery, signal, isHeld = () => false) => {
        if (closing !== undefined) return CLOSED;
        if (signal.aborted) return { kind: 'retry', reason: 'aborted' };
        return this.#send({ account: number, delivery, signal, isHeld });
      },
      close: () => {
        closing ??= this.#close(number);
        return closing;
      },
    };
  }

  #send(request: Pick<Attempt, 'account' | 'delivery' | 'signal' | 'isHeld'>): Promise<Outcome> {
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    const { messageId } = request.delivery;
    const onAbort = (): void => attempt.onAbort();
    const settle = (): void => {
      request.signal.removeEventListener('abort', onAbort);
      this.#leave(attempt);
    };
    const attempt: Attempt = {
      ...request,
      answer: (outcome) => {
        this.#suspects.delete(messageId);
        settle();
        resolve(outcome);
      },
      fail: (error) => {
        this.#suspects.delete(messageId);
        settle();
        reject(error);
      },
      end: (outcome) => {
        settle();
        resolve(outcome);
      },
      onAbort() {},
    };
    request.signal.addEventListener('abort', onAbort, { once: true });
    if (this.#suspects.has(messageId)) this.#enter(attempt);
    else this.#common.send(attempt);
    return promise;
  }

  #enter(attempt: Attempt): void {
    const taken = new Set(this.#underWayApart.values());
    const runner = this.#apart.find((one) => !taken.has(one));
    if (runner) return void this.#tryAlone(attempt, runner);
    this.#queue.add(attempt);
    attempt.onAbort = () =>
      attempt.end({
        kind: 'retry',
        reason: 'waiting_for_provider',
        holds: 'message',
        untried: true,
      });
  }

  #tryAlone(attempt: Attempt, runner: PlugInRunner): void {
    this.#underWayApart.set(attempt, runner);
    runner.send(attempt);
  }

  #leave(attempt: Attempt): void {
    this.#queue.delete(attempt);
    const runner = this.#underWayApart.get(attempt);
    if (!runner) return;
    this.#underWayApart.delete(attempt);
    const [next] = this.#queue;
    if (!next) {
      this.#apartStopped = Promise.all([this.#apartStopped, runner.stop()]);
      return;
    }
    this.#queue.delete(next);
    this.#tryAlone(next, runner);
  }

  #ended({ cause, atStart, begun, culprit }: PlugInEnd): void {
    const { name, log } = this.#source;
    const concerned =
      begun.length > 0 ? begun.map(({ account }) => account) : this.#accounts.keys();
    log?.error(
      {
        plugIn: name,
        accounts: [...new Set(concerned)].map((number) => this.#accounts.get(number)?.accountId),
        underWay: begun.length,
        messageId: culprit?.delivery.messageId,
        cause,
      },
      atStart ? 'a plug-in does not start' : 'the process of a plug-in ended and is started anew',
    );
    // One end is one failure towards the circuit breaker, however many were under way.
    const counted = culprit ?? begun[0];
    for (const attempt of begun) {
      const suspect = culprit === undefined || attempt === culprit;
      if (suspect) this.#suspect(attempt.delivery.messageId);
      attempt.end({
        kind: 'retry',
        reason: 'crashed',
        ambiguous: true,
        response: suspect ? cause : `${cause} (with another message)`,
        ...(attempt !== counted && { holds: 'message' as const }),
        ...(attempt !== culprit && { soon: true }),
      });
    }
  }

  #suspect(messageId: string): void {
    const [oldest] = this.#suspects;
    if (this.#suspects.size >= SUSPECT_LIMIT && oldest !== undefined) this.#suspects.delete(oldest);
    this.#suspects.add(messageId);
  }

  async #close(number: number): Promise<void> {
    for (const attempt of this.#queue) if (attempt.account === number) attempt.end(CLOSED);
    const runners = [this.#common, ...this.#apart];
    await Promise.all(runners.map((runner) => runner.close(number)));
    this.#accounts.delete(number);
    if (this.#accounts.size > 0) return;
    await Promise.all([...runners.map((runner) => runner.stop()), this.#apartStopped]);
  }
}
