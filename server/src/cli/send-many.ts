/** One notification for each recipient of a list, several requests at a time. */
import type { Recipient } from '@tidings/contracts/notification';
import type { ApiClient } from './api-client.ts';
import { ApiFailure } from './api-failure.ts';
import { faultText, isOwnFault } from './bulk.ts';
import { forEachConcurrent } from './concurrent.ts';
import type { Context } from './context.ts';
import { CONCURRENCY, integerOf } from './define.ts';
import { withSubject } from './email-subject.ts';
import { CommandFailure, EXIT, type ExitCode, exitOf } from './exit.ts';
import { exitOfOutcome } from './outcome.ts';
import { post } from './post-notification.ts';
import { type Progress, startProgress } from './progress.ts';
import { describeRecipient } from './recipient.ts';
import { rowRequest } from './recipient-row.ts';
import { type Format, openRecords, type RecordFile } from './record-file.ts';
import type { BaseRequest } from './send-request.ts';

export interface ManyRecipients {
  to: Recipient[];
  recipients: string | undefined;
  format: Format | undefined;
  channel: string | undefined;
  base: BaseRequest;
  /** The beginning of each line's idempotency key. */
  key: string;
  waitMs: number;
  concurrency: string;
}

interface Job {
  /** Where it stands: `people.csv:17`. */
  at: string;
  line: number;
  key: string;
  body: BaseRequest;
}
type Unreadable = { at: string; line: number; fault: string };

export async function dryRunMany(
  context: Context,
  many: ManyRecipients,
  print: (context: Context, body: BaseRequest, key: string) => Promise<ExitCode>,
): Promise<ExitCode> {
  const counts = { succeeded: 0, failed: 0 };
  for await (const job of jobs(many, openList(context, many))) {
    if ('fault' in job) {
      counts.failed++;
      context.terminal.error(`${job.at}: ${job.fault}`);
    } else {
      counts.succeeded++;
      await print(context, job.body, job.key);
    }
  }
  return exitOf(counts);
}

export async function sendMany(
  context: Context,
  api: ApiClient,
  many: ManyRecipients,
): Promise<ExitCode> {
  const { terminal } = context;
  const concurrency = integerOf(many.concurrency, '--concurrency', CONCURRENCY);
  const list = openList(context, many);
  if (list) terminal.note(`Idempotency key of this run: ${many.key}`);
  const run = new Run(
    context,
    api,
    many.waitMs,
    startProgress(terminal, 'sending', totalOf(list, many)),
  );
  let stopped: CommandFailure | undefined;
  try {
    await forEachConcurrent(jobs(many, list), concurrency, async (job) => {
      await run.take(job);
      run.progress.update(list?.size === undefined ? run.done : list.position, run.done);
    });
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    stopped = error;
  } finally {
    run.progress.stop();
  }
  return run.conclude(stopped, many.key);
}

function openList(
  context: Context,
  { recipients, format }: ManyRecipients,
): RecordFile | undefined {
  if (recipients === undefined) return undefined;
  return openRecords(recipients, format, context.terminal.streams.stdin);
}

function totalOf(list: RecordFile | undefined, { to }: ManyRecipients): number | undefined {
  return list === undefined ? to.length : list.size;
}

async function* jobs(
  { to, channel, base, key }: ManyRecipients,
  list: RecordFile | undefined,
): AsyncGenerator<Job | Unreadable> {
  for (const [i, recipient] of to.entries()) {
    const line = i + 1;
    yield {
      at: describeRecipient(recipient),
      line,
      key: `${key}-to-${line}`,
      body: withSubject({ to: recipient, ...base }),
    };
  }
  for await (const record of list ?? []) {
    const { line } = record;
    const at = `${list?.name}:${line}`;
    if ('fault' in record) {
      yield { at, line, fault: record.fault };
      continue;
    }
    try {
      const { body, idempotencyKey } = rowRequest(record.value, base, channel);
      yield { at, line, key: idempotencyKey ?? `${key}-${line}`, body: withSubject(body) };
    } catch (error) {
      if (!(error instanceof CommandFailure)) throw error;
      yield { at, line, fault: error.message };
    }
  }
}

class Run {
  readonly progress: Progress;
  readonly #context: Context;
  readonly #api: ApiClient;
  readonly #waitMs: number;
  #succeeded = 0;
  #failed = 0;
  #unfinished = 0;

  constructor(context: Context, api: ApiClient, waitMs: number, progress: Progress) {
    this.#context = context;
    this.#api = api;
    this.#waitMs = waitMs;
    this.progress = progress;
  }

  get done(): number {
    return this.#succeeded + this.#failed + this.#unfinished;
  }

  /** @throws CommandFailure when nothing more can be sent */
  async take(job: Job | Unreadable): Promise<void> {
    if ('fault' in job) return this.#refuse(job, job.fault);
    try {
      const { status, body, text } = await post(this.#api, job.body, job.key, this.#waitMs);
      const exit = exitOfOutcome(body, this.#waitMs > 0);
      if (exit === EXIT.ok) this.#succeeded++;
      else if (exit === EXIT.timeout) this.#unfinished++;
      else this.#failed++;
      const statuses = [...new Set(body.messages.map((message) => message.status))].join(',');
      await this.#print(
        `${body.id}\t${describeRecipient(job.body['to'])}\t${statuses}`,
        `{"line":${job.line},"status":${status},"body":${text}}`,
      );
    } catch (error) {
      if (!(error instanceof ApiFailure) || !isOwnFault(error)) throw error;
      const problem = JSON.stringify(error.problem ?? null);
      await this.#refuse(job, faultText(error), `"status":${error.status},"body":${problem}`);
    }
  }

  async #refuse(
    { at, line }: { at: string; line: number },
    why: string,
    json?: string,
  ): Promise<void> {
    this.#failed++;
    this.#context.terminal.error(`${at}: ${why}`);
    if (this.#context.json) {
      await this.#context.terminal.line(
        `{"line":${line},${json ?? `"error":${JSON.stringify(why)}`}}`,
      );
    }
  }

  async #print(text: string, json: string): Promise<void> {
    const { terminal, json: asJson } = this.#context;
    await terminal.line(asJson ? json : text);
  }

  conclude(stopped: CommandFailure | undefined, key: string): ExitCode {
    const { terminal } = this.#context;
    const parts = [
      `${this.#succeeded} ${this.#waitMs > 0 ? 'delivered' : 'accepted'}`,
      this.#failed > 0 && `${this.#failed} failed`,
      this.#unfinished > 0 && `${this.#unfinished} not finished in time`,
    ].filter(Boolean);
    terminal.note(parts.join(', '));
    if (stopped) {
      terminal.error(`stopped: ${stopped.message}`, [
        ...stopped.notes,
        `Repeat the command with --idempotency-key ${key}: nothing is sent twice.`,
      ]);
      if (stopped.exitCode === EXIT.unauthorized || this.done === 0) return stopped.exitCode;
      return this.#succeeded > 0 ? EXIT.partial : stopped.exitCode;
    }
    if (this.#failed === 0 && this.#unfinished > 0) return EXIT.timeout;
    return exitOf({ succeeded: this.#succeeded, failed: this.#failed + this.#unfinished });
  }
}
