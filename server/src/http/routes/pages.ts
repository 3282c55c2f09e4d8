/** Pages for people: the console, the reference of the API, the lists of error codes and of reasons. No external asset. */
import { readFileSync } from 'node:fs';
import { EVENT_TYPES, REASON_GROUPS } from '@tidings/contracts/timeline';
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { ERROR_CODES, type ErrorCode } from '../../errors.ts';
import { statusOfCode, TRANSFER_STATUSES } from '../problem.ts';

const PAGES = new URL('../console/', import.meta.url);
const FILES: Record<string, { file: string; type: string }> = {
  '/console': { file: 'console.html', type: 'text/html; charset=utf-8' },
  '/console/console.js': { file: 'console.js', type: 'text/javascript; charset=utf-8' },
  '/console/activity.js': { file: 'activity.js', type: 'text/javascript; charset=utf-8' },
  '/console/client.js': { file: 'client.js', type: 'text/javascript; charset=utf-8' },
  '/console/element.js': { file: 'element.js', type: 'text/javascript; charset=utf-8' },
  '/console/text.js': { file: 'text.js', type: 'text/javascript; charset=utf-8' },
  '/console/console.css': { file: 'console.css', type: 'text/css; charset=utf-8' },
  '/docs/': { file: 'reference.html', type: 'text/html; charset=utf-8' },
  '/docs/reference.js': { file: 'reference.js', type: 'text/javascript; charset=utf-8' },
};

/** Nothing from elsewhere, nothing inline. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** The reference makes its styles by itself; still nothing from elsewhere, and no script inline. */
const REFERENCE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

let bundle: Promise<Buffer> | undefined;

/**
 * The program of the reference, which its package hands out only through a server. Loaded when
 * somebody first looks at it: it takes more memory than the rest of the process.
 */
async function loadBundle(): Promise<Buffer> {
  const { default: scalar } = await import('@scalar/fastify-api-reference');
  await using inner = Fastify();
  await inner.register(scalar, { routePrefix: '/docs', configuration: { url: '/openapi.json' } });
  const { statusCode, rawPayload } = await inner.inject({ url: '/docs/js/scalar.js' });
  if (statusCode !== 200) throw new Error(`the reference has no program (${statusCode})`);
  return rawPayload;
}

export function pageRoutes(): (app: FastifyInstance) => void {
  return (app) => {
    for (const [path, { file, type }] of Object.entries(FILES)) {
      const policy = path.startsWith('/docs/') ? REFERENCE_POLICY : POLICY;
      app.get(path, { schema: { hide: true } }, async (_request, reply) =>
        secured(reply, policy)
          .type(type)
          .send(readFileSync(new URL(file, PAGES))),
      );
    }
    app.get('/', { schema: { hide: true } }, async (_request, reply) => reply.redirect('/console'));
    app.get('/docs/errors', { schema: { hide: true } }, async (_request, reply) =>
      secured(reply).type('text/html; charset=utf-8').send(errorPage()),
    );
    app.get('/docs/reasons', { schema: { hide: true } }, async (_request, reply) =>
      secured(reply).type('text/html; charset=utf-8').send(reasonPage()),
    );
    app.get('/docs', { schema: { hide: true } }, async (_request, reply) =>
      reply.redirect('/docs/'),
    );
    app.get('/docs/scalar.js', { schema: { hide: true } }, async (_request, reply) => {
      bundle ??= loadBundle();
      return secured(reply)
        .header('cache-control', 'public, max-age=3600')
        .type('text/javascript; charset=utf-8')
        .send(await bundle);
    });
  };
}

function secured(reply: FastifyReply, policy = POLICY): FastifyReply {
  return reply.header('content-security-policy', policy).header('referrer-policy', 'no-referrer');
}

interface Entry {
  title: string;
  hint?: string;
}

/** Anchors are codes, which `doc_url` leads to, and statuses of how a request is sent. */
function errorPage(): string {
  const codes = (Object.keys(ERROR_CODES) as ErrorCode[]).map((code) =>
    row(code, `<code>${code}</code>`, String(statusOfCode(code)), ERROR_CODES[code]),
  );
  const statuses = Object.entries(TRANSFER_STATUSES).map(([status, entry]) =>
    row(status, '<code>invalid_request</code>', status, entry),
  );
  const table = (rows: string[]): string =>
    `<table><thead><tr><th>code</th><th>status</th><th>meaning</th><th>what to do</th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
  return page(
    'Errors',
    `<p>Every answer outside 2xx is <code>application/problem+json</code> (RFC 9457) with one of these codes.</p>${table(codes)}<h2>How a request is sent</h2><p>These are answered before anybody looks at what is asked.</p>${table(statuses)}`,
  );
}

/** The words of timelines. Anchors have a prefix: some words are an event and a reason. */
function reasonPage(): string {
  const events = wordTable('event', 'type', EVENT_TYPES);
  const reasons = REASON_GROUPS.map(
    ({ title, reasons }) => `<h3>${escaped(title)}</h3>${wordTable('reason', 'reason', reasons)}`,
  );
  return page(
    'Events and reasons',
    `<p>What timelines say of a message. Providers of the plug-in folder may have further reasons.</p><h2>Types of events</h2>${events}<h2>Reasons</h2>${reasons.join('')}`,
  );
}

function wordTable(prefix: string, head: string, words: Readonly<Record<string, string>>): string {
  const rows = Object.entries(words).map(
    ([word, meaning]) =>
      `<tr id="${prefix}-${escaped(word)}"><td><code>${escaped(word)}</code></td><td>${coded(meaning)}</td></tr>`,
  );
  return `<table><thead><tr><th>${head}</th><th>meaning</th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

/** The descriptions are Markdown for the reference; of it they use only code. */
function coded(text: string): string {
  return escaped(text).replaceAll(/`([^`]+)`/g, '<code>$1</code>');
}

function page(title: string, content: string): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${title} · Tidings</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/console/console.css"></head><body class="plain"><h1>${title}</h1>${content}</body></html>`;
}

function row(id: string, code: string, status: string, { title, hint = '' }: Entry): string {
  return `<tr id="${id}"><td>${code}</td><td>${status}</td><td>${escaped(title)}</td><td>${escaped(hint)}</td></tr>`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
