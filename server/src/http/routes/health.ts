/** For load balancers, orchestrators and Prometheus: open, cheap, and without secrets. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

export interface HealthRoutesOptions {
  /** Empty when the service takes and delivers messages; otherwise what is missing. */
  notReady(): string[];
  /** What does not work though messages are taken and delivered. */
  degraded(): string[];
  /** Metrics of all threads in the text format. */
  metrics(): Promise<string>;
}

export function healthRoutes({
  notReady,
  degraded,
  metrics,
}: HealthRoutesOptions): (app: FastifyInstance) => void {
  return (app) => {
    // Load balancers ask with HEAD too.
    const method = ['GET', 'HEAD'];
    const schema = { hide: true };
    app.route({ method, url: '/health/live', schema, handler: async () => ({ status: 'live' }) });
    app.route({ method, url: '/health/ready', schema, handler: ready });
    app.route({ method, url: '/metrics', schema, handler: text });
  };

  async function text(_request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    return reply.type('text/plain; version=0.0.4; charset=utf-8').send(await metrics());
  }

  async function ready(_request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const reasons = notReady();
    const limits = degraded();
    const detail = limits.length === 0 ? {} : { degraded: limits };
    if (reasons.length === 0) return { status: 'ready', ...detail };
    return reply
      .code(503)
      .header('retry-after', '1')
      .send({ status: 'not_ready', reasons, ...detail });
  }
}
