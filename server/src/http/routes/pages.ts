/** Pages for people: the console, the reference of the API, and the list of error codes. No external asset. */
import { readFileSync } from 'node:fs';
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { ERROR_CODES, type ErrorCode, notFound } from '../../errors.ts';
import { statusOfCode } from '../problem.ts';

const CONSOLE = new URL('../console/', import.meta.url);
const FILES: Record<string, { file: string; type: string }> = {
  '/console': { file: 'console.html', type: 'text/html; charset=utf-8' },
  '/console/console.js': { file: 'console.js', type: 'text/javascript; charset=utf-8' },
  '/console/text.js': { file: 'text.js', type: 'text/javascript; charset=utf-8' },
  '/console/console.css': { file: 'console.css', type: 'text/css; charset=utf-8' },
};

/** Nothing from elsewhere, nothing inline. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** The reference brings its styles inline; still nothing from elsewhere. */
const REFERENCE_POLICY =
  "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

let loaded: Promise<FastifyInstance> | undefined;

/** Loaded when somebody first looks at it: its bundle takes more memory than the rest of the process. */
function reference(): Promise<FastifyInstance> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<FastifyInstance> {
  const { default: scalar } = await import('@scalar/fastify-api-reference');
  const inner = Fastify();
  await inner.register(scalar, {
    routePrefix: '/docs',
    configuration: {
      url: '/openapi.json',
      pageTitle: 'Tidings API',
      withDefaultFonts: false,
      telemetry: false,
      hideClientButton: true,
      agent: { disabled: true },
      mcp: { disabled: true },
    },
  });
  return inner;
}

export function pageRoutes(): (app: FastifyInstance) => void {
  return (app) => {
    for (const [path, { file, type }] of Object.entries(FILES)) {
      app.get(path, { schema: { hide: true } }, async (_request, reply) =>
        secured(reply)
          .type(type)
          .send(readFileSync(new URL(file, CONSOLE))),
      );
    }
    app.get('/', { schema: { hide: true } }, async (_request, reply) => reply.redirect('/console'));
    app.get('/docs/errors', { schema: { hide: true } }, async (_request, reply) =>
      secured(reply).type('text/html; charset=utf-8').send(errorPage()),
    );
    for (const path of ['/docs', '/docs/*']) {
      app.get(path, { schema: { hide: true } }, async (request, reply) => {
        const page = await (await reference()).inject({ url: request.url.split('?')[0] as string });
        if (page.statusCode >= 400) throw notFound('page');
        return reply
          .code(page.statusCode)
          .headers({
            ...page.headers,
            'content-security-policy': REFERENCE_POLICY,
            'x-content-type-options': 'nosniff',
          })
          .send(page.rawPayload);
      });
    }
  };
}

function secured(reply: FastifyReply): FastifyReply {
  return reply
    .header('content-security-policy', POLICY)
    .header('x-content-type-options', 'nosniff')
    .header('referrer-policy', 'no-referrer');
}

function errorPage(): string {
  const rows = (Object.keys(ERROR_CODES) as ErrorCode[]).map((code) => {
    const entry: { title: string; hint?: string } = ERROR_CODES[code];
    return `<tr id="${code}"><td><code>${code}</code></td><td>${statusOfCode(code)}</td><td>${entry.title}</td><td>${entry.hint ?? ''}</td></tr>`;
  });
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Errors · Tidings</title><link rel="stylesheet" href="/console/console.css"></head><body class="plain"><h1>Errors</h1><p>Every answer outside 2xx is <code>application/problem+json</code> (RFC 9457) with one of these codes.</p><table><thead><tr><th>code</th><th>status</th><th>meaning</th><th>what to do</th></tr></thead><tbody>${rows.join('')}</tbody></table></body></html>`;
}
