/** Pages for people, as a browser asks for them: what they need is there. How they look is not tested here. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTidings, type Tidings } from '../support/start.ts';

let tidings: Tidings;
before(async () => {
  tidings = await startTidings();
});
after(async () => {
  await tidings[Symbol.asyncDispose]();
});

const found = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].map(([, name = '']) => name);

/** What a page loads, and what its modules load in turn: paths with their text. */
async function loadedBy(page: string): Promise<Map<string, string>> {
  const loaded = new Map<string, string>();
  const wanted = [page];
  for (let path = wanted.pop(); path !== undefined; path = wanted.pop()) {
    if (loaded.has(path)) continue;
    const { status, text } = await tidings.call(path);
    assert.equal(status, 200, `${page} needs ${path}`);
    loaded.set(path, text);
    if (path === page) {
      wanted.push(...found(text, /<script[^>]* src="([^"]+)"/g));
      wanted.push(...found(text, /<link rel="stylesheet" href="([^"]+)"/g));
    } else if (path.startsWith('/console/'))
      wanted.push(...found(text, /^import .* from '(.+)'/gm));
  }
  return loaded;
}

describe('pages for people', () => {
  // Without one a browser asks for /favicon.ico, which there is not.
  it('each names its icon, and each fits a narrow screen', async () => {
    for (const path of ['/console', '/docs/', '/docs/errors', '/docs/reasons']) {
      const { text } = await tidings.call(path);
      assert.match(text, /<link rel="icon" href="data:,"/, path);
      assert.match(text, /<meta name="viewport" content="width=device-width/, path);
    }
  });

  it('all they load is served, with the type a browser insists on', async () => {
    const files = await loadedBy('/console');
    assert.ok(files.has('/console/activity.js'), [...files.keys()].join());
    for (const path of [...files.keys(), ...(await loadedBy('/docs/')).keys()]) {
      const type = /\.(css|js)$/.exec(path)?.[1]?.replace('js', 'javascript') ?? 'html';
      const { headers } = await tidings.call(path);
      assert.equal(headers['content-type'], `text/${type}; charset=utf-8`, path);
    }
  });

  it('the console says everything in English and in Chinese', async () => {
    const files = await loadedBy('/console');
    const [, english = '', chinese = ''] = (files.get('/console/text.js') ?? '').split(
      /^ {2}(?:en|zh): \{$/m,
    );
    const words = (text: string): string[] =>
      found(text.split(/^ {2}\}/m)[0] ?? '', /^ {4}(\w+):/gm);
    assert.ok(words(english).length > 50);
    assert.deepEqual(words(chinese), words(english));
    const said = [...files.values()].flatMap((text) => [
      ...found(text, /\btext\('(\w+)'\)/g),
      ...found(text, /\b(?:field|choice|labelled)\(\s*'(\w+)'/g),
      ...found(text, /data-text="(\w+)"/g),
    ]);
    assert.ok(said.length > 50);
    assert.deepEqual(
      said.filter((name) => !words(english).includes(name)),
      [],
    );
  });
});
