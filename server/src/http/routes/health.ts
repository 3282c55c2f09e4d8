/** For load balancers, orchestrators and Prometheus: open, cheap, and without secrets. */
import type { FastifyInstance } from 'fastify';

export interface HealthRoutesOptions {
  /** Empty when the service takes and delivers messages; otherwise what is missing. */
  notReady(): string[];
  /** Metrics of all threads in the text format. */
  metrics(): Promise<string>;
}

export function healthRoutes({
  notReady,
  metrics,
}: HealthRoutesOptions): (app: FastifyInstance) => void {
  return (app) => {
    app.get('/health/live', { schema: { hide: true } }, async () => ({ status: 'live' }));
    app.get('/health/ready', { schema: { hide: true } }, async (_request, reply) => {
      const reasons = notReady();
      if (reasons.length === 0) return { status: 'ready' };
      return reply.code(503).header('retry-after', '1').send({ status: 'not_ready', reasons });
    });
    app.get('/metrics', { schema: { hide: true } }, async (_request, reply) =>
      reply.type('text/plain; version=0.0.4; charset=utf-8').send(await metrics()),
    );
  };
}
