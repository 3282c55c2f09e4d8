/**
 * The yardstick: a bare Fastify on one thread that parses a JSON body and answers 202. It stores nothing, checks
 * nothing and logs nothing, so it is what the HTTP layer alone allows on this machine at this minute.
 *
 * Started with `fork`; tells its port to the parent. `POST /stall {"ms":200}` blocks its only thread, with which the
 * generator is shown to be honest about waiting.
 */
import fastify from 'fastify';

const app = fastify({ logger: false });
let answered = 0;

app.post('/echo', (_request, reply) => {
  answered++;
  reply.code(202).send({ id: `msg_${answered}`, status: 'accepted' });
});

app.post<{ Body: { ms: number } }>('/stall', (request, reply) => {
  const nobodyNotifies = new Int32Array(new SharedArrayBuffer(4));
  Atomics.wait(nobodyNotifies, 0, 0, request.body.ms);
  reply.code(202).send({ stalledMs: request.body.ms });
});

app.listen({ port: 0, host: '127.0.0.1' }, (error) => {
  if (error) throw error;
  const address = app.server.address();
  if (address === null || typeof address === 'string') throw new Error('the echo has no port');
  process.send?.({ port: address.port });
});
process.on('disconnect', () => process.exit(0));
