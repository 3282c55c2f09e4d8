/** A disk that damages projection.db while the service runs: lists say so and come back, everything else goes on. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { startTidings } from '../support/start.ts';

const PAGE_BYTES = 4096;
const BODY = {
  to: { email: 'ada@simulate.invalid' },
  content: { title: 'Hello', text: 'It works.' },
};

interface Problem {
  code: string;
  title: string;
  detail: string;
}
interface Page {
  items: { notificationId: string }[];
}

for (const [what, first] of [
  ['every page but the first', 1],
  ['all of it, the header too', 0],
] as const) {
  it(`is made anew under way: ${what}`, async () => {
    await using tidings = await startTidings();
    const send = async (): Promise<string> => {
      const answer = await tidings.call('/v1/notifications?wait=20s', { body: BODY });
      assert.equal(answer.status, 200, answer.text);
      return answer.json<{ id: string }>().id;
    };
    const sent: string[] = [];
    for (let n = 0; n < 20; n++) sent.push(await send());
    // What is in the log is moved into the file at the stop.
    await tidings.stop();
    await tidings.restart();
    const path = join(tidings.dataDir, 'projection.db');
    const pages = Math.floor(statSync(path).size / PAGE_BYTES) - first;
    const written = spawnSync('dd', [
      ...['if=/dev/urandom', `of=${path}`, 'conv=notrunc'],
      ...[`bs=${PAGE_BYTES}`, `seek=${first}`, `count=${pages}`],
    ]);
    assert.equal(written.status, 0);
    const refused = await tidings.call('/v1/notifications');
    assert.equal(refused.status, 503, refused.text);
    const { code, title, detail } = refused.json<Problem>();
    assert.deepEqual([code, title], ['store_unavailable', 'The store cannot be used just now']);
    assert.match(detail, /lists and inboxes (is|was) damaged/);
    assert.ok(refused.headers['retry-after']);
    sent.push(await send());
    // A refusal says to ask again: until it is filled.
    let shown = await tidings.call('/v1/notifications');
    for (; shown.status === 503; shown = await tidings.call('/v1/notifications')) {
      const ready = (await tidings.call('/health/ready')).json<{ status: string }>();
      assert.equal(ready.status, 'ready', 'messages are taken');
    }
    assert.equal(shown.status, 200, shown.text);
    assert.deepEqual(
      shown.json<Page>().items.map(({ notificationId }) => notificationId),
      sent.toReversed(),
    );
    assert.deepEqual((await tidings.call('/health/ready')).json(), { status: 'ready' });
    const last = await send();
    const [newest] = (await tidings.call('/v1/notifications?limit=1')).json<Page>().items;
    assert.equal(newest?.notificationId, last, 'it is followed as before');
  });
}
