/**
 * What the providers are measured against, in a process of its own: the libraries they use
 * (node:http, nodemailer), sending the same messages to the same server over as many connections,
 * with nothing around them.
 */
import { Agent, request } from 'node:http';
import { createTransport } from 'nodemailer';
import { serve } from './child.ts';

export interface BareJob {
  port: number;
  /** Messages under way at once. */
  concurrency: number;
  seconds: number;
}
export interface BareHttpJob extends BareJob {
  path: string;
  headers: Record<string, string>;
  body: string;
}
export interface BareSmtpJob extends BareJob {
  maxMessagesPerConnection: number;
  from: string;
  subject: string;
  text: string;
}

export interface BareResult {
  sent: number;
  seconds: number;
  cpuMicroseconds: number;
}

const warmupMs = 3000;

/** Sends until the time is over. What comes before is not counted: connections open, code is compiled. */
async function run({ concurrency, seconds }: BareJob, send: (n: number) => Promise<void>) {
  const beginMs = performance.now() + warmupMs;
  const endMs = beginMs + seconds * 1000;
  let [number, sent, startMs] = [0, 0, 0];
  let cpu = process.cpuUsage();
  const worker = async () => {
    while (performance.now() < endMs) {
      await send(number++);
      if (performance.now() < beginMs) continue;
      if (startMs === 0) {
        startMs = performance.now();
        cpu = process.cpuUsage();
      } else sent++;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  const { user, system } = process.cpuUsage(cpu);
  return {
    sent,
    seconds: (performance.now() - startMs) / 1000,
    cpuMicroseconds: (user + system) / sent,
  };
}

function post(job: BareHttpJob, agent: Agent): Promise<void> {
  const { port, path, headers, body } = job;
  return new Promise((resolve, reject) => {
    const sending = request({ host: '127.0.0.1', port, path, method: 'POST', headers, agent });
    sending.on('error', reject);
    sending.on('response', (response) => {
      response.on('error', reject);
      response.on('end', resolve);
      response.resume();
    });
    sending.end(body);
  });
}

const client = {
  async http(job: BareHttpJob): Promise<BareResult> {
    const agent = new Agent({ keepAlive: true, maxSockets: job.concurrency });
    try {
      return await run(job, () => post(job, agent));
    } finally {
      agent.destroy();
    }
  },

  async smtp(job: BareSmtpJob): Promise<BareResult> {
    const { port, concurrency, maxMessagesPerConnection, from, subject, text } = job;
    const pool = createTransport({
      pool: true,
      host: '127.0.0.1',
      port,
      maxConnections: concurrency,
      maxMessages: maxMessagesPerConnection,
    });
    try {
      return await run(job, async (n) => {
        const to = `user${String(n).padStart(8, '0')}@example.com`;
        const headers = { 'auto-submitted': 'auto-generated' };
        await pool.sendMail({ from, to, subject, text, headers });
      });
    } finally {
      pool.close();
    }
  },
};
export type BareClient = typeof client;

if (import.meta.main) serve(client);
