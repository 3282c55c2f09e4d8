/** What every command is given: the terminal, the API, and what the global options say. */
import { readFileSync } from 'node:fs';
import { ApiClient } from './api-client.ts';
import { CommandFailure, EXIT, usage } from './exit.ts';
import { parseDuration } from './moment.ts';
import { type Streams, Terminal } from './terminal.ts';

export const DEFAULT_URL = 'http://127.0.0.1:8484';

/** As commander hands them over. */
export interface GlobalOptions {
  url?: string;
  apiKey?: string;
  apiKeyFile?: string;
  json?: boolean;
  quiet?: boolean;
  input: boolean;
  timeout: string;
}

export class Context {
  readonly terminal: Terminal;
  readonly json: boolean;
  /** May people be asked, and standard input be waited for? */
  readonly interactive: boolean;
  readonly timeoutMs: number;
  readonly #options: GlobalOptions;
  readonly #environment: Streams['environment'];

  constructor(streams: Streams, options: GlobalOptions) {
    this.json = options.json === true;
    this.interactive = options.input;
    this.timeoutMs = Math.max(1, parseDuration(options.timeout, '--timeout'));
    this.terminal = new Terminal(streams, {
      quiet: options.quiet === true,
      interactive: options.input,
    });
    this.#options = options;
    this.#environment = streams.environment;
  }

  get environment(): Streams['environment'] {
    return this.#environment;
  }

  /** Where the service is, when the option or the environment says it. */
  get namedUrl(): string | undefined {
    const text = this.#options.url ?? (this.#environment['TIDINGS_URL'] || undefined);
    return text === undefined ? undefined : checkUrl(text);
  }

  /** Named, or as a service with the same settings in its environment listens. */
  get url(): string {
    const { TIDINGS_HOST: host, TIDINGS_PORT: port } = this.#environment;
    if (this.namedUrl !== undefined || (!host && !port)) return this.namedUrl ?? DEFAULT_URL;
    const { hostname, port: usual } = new URL(DEFAULT_URL);
    return checkUrl(urlOfListener(host || hostname, port || usual));
  }

  /** The API key, when there is one. @throws CommandFailure when it cannot be one */
  get key(): string | undefined {
    const { apiKey, apiKeyFile } = this.#options;
    if (apiKey !== undefined && apiKeyFile !== undefined) {
      throw usage('--api-key and --api-key-file cannot be given together');
    }
    if (apiKeyFile !== undefined) return checkKey(readKeyFile(apiKeyFile), '--api-key-file');
    if (apiKey !== undefined) return checkKey(apiKey, '--api-key');
    const text = this.#environment['TIDINGS_API_KEY'];
    return text ? checkKey(text, 'TIDINGS_API_KEY') : undefined;
  }

  /** For requests that need the API key. */
  api(
    options: { url?: string; retries?: number; signal?: AbortSignal; timeoutMs?: number } = {},
  ): ApiClient {
    const { key } = this;
    if (key === undefined) {
      throw new CommandFailure(EXIT.unauthorized, 'there is no API key', [
        'Set TIDINGS_API_KEY, or name a file that holds it with --api-key-file.',
        'The first start of Tidings prints one; "tidings keys create" makes more.',
      ]);
    }
    return new ApiClient({ url: this.url, key, timeoutMs: this.timeoutMs, ...options });
  }

  /** For what is open to everybody, such as health; the key is not sent. */
  openApi(options: { url?: string; retries?: number; timeoutMs?: number } = {}): ApiClient {
    return new ApiClient({ url: this.url, key: undefined, timeoutMs: this.timeoutMs, ...options });
  }

  /** @throws CommandFailure unless the option was given or a person says yes */
  async confirm(question: string, given: boolean | undefined): Promise<void> {
    if (given) return;
    if (!this.terminal.canAsk) throw usage(`${question}: nobody can be asked; add --yes`);
    if (!(await this.terminal.confirm(question))) {
      throw new CommandFailure(EXIT.failed, 'nothing was done');
    }
  }
}

/** Where somebody who listens there is reached from the same machine. */
export function urlOfListener(host: string, port: number | string): string {
  const any = host === '0.0.0.0' || host === '::';
  return `http://${any ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host}:${port}`;
}

function checkUrl(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw usage(`"${text}" is not a URL (--url, TIDINGS_URL)`, `Write it as ${DEFAULT_URL}.`);
  }
  if (!/^https?:$/.test(url.protocol)) throw usage('the URL must begin with http:// or https://');
  if (url.username !== '' || url.password !== '') {
    throw usage('the URL must not have a user name or password; the API key is the credential');
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

/** The key itself never appears in a message. */
function checkKey(text: string, name: string): string {
  const key = text.trim();
  if (!/^[\x21-\x7e]{1,500}$/.test(key)) {
    throw new CommandFailure(EXIT.unauthorized, `${name}: is not an API key`, [
      'A key is one word of visible ASCII characters.',
    ]);
  }
  return key;
}

function readKeyFile(path: string): string {
  try {
    return readFileSync(path, 'utf8').slice(0, 1000);
  } catch (error) {
    throw usage(`--api-key-file: ${path} cannot be read: ${(error as Error).message}`);
  }
}
