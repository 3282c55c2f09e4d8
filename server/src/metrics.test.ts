import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { counter, histogram, readGauge } from './metric.ts';
import { apiMetrics, joinMetrics } from './metrics.ts';

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('# HELP'));
}

describe('metrics', () => {
  it('of several threads are added up, label by label', async () => {
    const thread = (status: number) => {
      const requests = counter('requests_total', 'Requests', ['method', 'status']);
      requests.of('GET', status).value++;
      requests.of('POST', 200).value += 2;
      return [requests.read()];
    };
    assert.deepEqual(linesOf(await joinMetrics([thread(200), thread(404)])), [
      '# TYPE requests_total counter',
      'requests_total{method="GET",status="200"} 1',
      'requests_total{method="POST",status="200"} 4',
      'requests_total{method="GET",status="404"} 1',
    ]);
  });

  it('count what was observed into every bucket above it', async () => {
    const times = histogram('seconds', 'Times', ['route'], [1, 2]);
    for (const value of [0, 1, 1.5, 2, 7]) times.of('/a').observe(value);
    assert.deepEqual(linesOf(await joinMetrics([[times.read()], [times.read()]])), [
      '# TYPE seconds histogram',
      'seconds_bucket{le="1",route="/a"} 4',
      'seconds_bucket{le="2",route="/a"} 8',
      'seconds_bucket{le="+Inf",route="/a"} 10',
      'seconds_sum{route="/a"} 23',
      'seconds_count{route="/a"} 10',
    ]);
  });

  it('are named before there is anything to count', async () => {
    const none = counter('none_total', 'Nothing yet', ['a']);
    assert.deepEqual(linesOf(await joinMetrics([[none.read()]])), ['# TYPE none_total counter']);
  });

  it('escape labels, and read gauges when they are asked', async () => {
    let value = 1;
    const one = readGauge('one', 'One', () => value);
    const each = readGauge('each', 'Each', () => [{ labels: { account: 'a"b\\\n' }, value: 3 }]);
    value = 2;
    assert.deepEqual(linesOf(await joinMetrics([[one.read(), each.read()]])), [
      '# TYPE one gauge',
      'one 2',
      '# TYPE each gauge',
      'each{account="a\\"b\\\\\\n"} 3',
    ]);
  });

  it('of HTTP tell route, method, status and time', async () => {
    const { measure, read } = apiMetrics({ delayMs: () => 20, waiting: () => 3, lag: () => 4 });
    measure('/v1/notifications', 'POST', 202, 0.003);
    const text = await joinMetrics([read()]);
    assert.ok(
      text.includes(
        'tidings_http_requests_total{route="/v1/notifications",method="POST",status="202"} 1',
      ),
    );
    assert.ok(
      text.includes('tidings_http_request_seconds_bucket{le="0.005",route="/v1/notifications"} 1'),
    );
    assert.ok(text.includes('tidings_event_loop_delay_seconds 0.02'));
  });
});
