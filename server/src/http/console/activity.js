/** The console's first page: what was accepted and what became of it, filtered as its address says. */
import { api } from '/console/client.js';
import { el, field, refill, statusMark, table, testTag, time } from '/console/element.js';
import { language, text } from '/console/text.js';

const OPEN = ['scheduled', 'accepted', 'sending', 'sent'];
const ENDED = ['delivered', 'failed', 'expired', 'suppressed', 'cancelled'];
/** Stands in the filter for all of OPEN, as the ledger counts them. */
const PENDING = 'pending';
const KINDS = ['live', 'test'];
/** What the list is filtered by and the ledger does not know. */
const UNCOUNTED = ['channel', 'user', 'template', 'category'];
/** As in the style sheet: from here on the filter is always open. */
const WIDE = matchMedia('(min-width: 48.01rem)');

WIDE.addEventListener('change', () => {
  const filters = document.querySelector('.filters');
  if (filters && WIDE.matches) filters.open = true;
});

/** A page of messages; what is pending is the newest of each open status, since a list has one. */
async function messages(asked) {
  // A page that took its time is empty and says where to go on: a few of them are gone through here.
  const list = async (wanted) => {
    let page = await api(`/v1/notifications?limit=50&${new URLSearchParams(wanted)}`);
    for (let more = 0; page.items.length === 0 && page.next !== null && more < 20; more++) {
      const from = new URLSearchParams({ ...wanted, cursor: page.next });
      page = await api(`/v1/notifications?limit=50&${from}`);
    }
    return page;
  };
  const older = (wanted, { next }) =>
    next === null ? [] : [`#/activity?${new URLSearchParams({ ...wanted, cursor: next })}`];
  const filter = Object.fromEntries(asked);
  const filters =
    filter.status === PENDING ? OPEN.map((status) => ({ ...filter, status })) : [filter];
  const pages = await Promise.all(filters.map(list));
  return {
    items: pages.flatMap(({ items }) => items).sort((a, b) => (a.id < b.id ? 1 : -1)),
    older: filters.flatMap((wanted, i) =>
      older(wanted, pages[i]).map((href) => ({ href, status: wanted.status })),
    ),
  };
}

/** By kind, '' for both: the newest ledger there is, and the one that is asked for. */
const ledgers = new Map();
const ledgersAsked = new Map();
/** Names of channels, which change with a restart at most. */
let channelNames;

document.addEventListener('signed-out', () => {
  ledgers.clear();
  ledgersAsked.clear();
  channelNames = undefined;
});

/** The newest ledger there is: to count millions takes seconds, which no list should wait for. */
async function ledgerSoon(kind) {
  if (!ledgersAsked.has(kind)) {
    const asking = api(kind === '' ? '/v1/ledger' : `/v1/ledger?kind=${encodeURIComponent(kind)}`)
      .then((ledger) => {
        // Not of a session that has ended since.
        if (ledgersAsked.get(kind) === asking) ledgers.set(kind, ledger);
      })
      // What is wrong with the question, the list says as well.
      .catch(() => {})
      .finally(() => {
        if (ledgersAsked.get(kind) === asking) ledgersAsked.delete(kind);
      });
    ledgersAsked.set(kind, asking);
  }
  const patience = new Promise((resolve) => setTimeout(resolve, 500));
  await Promise.race([ledgersAsked.get(kind), patience]);
  return ledgers.get(kind);
}

/** Without them the filter still works: whoever may not see them may not see the list either. */
async function channelsKnown() {
  try {
    channelNames ??= (await api('/v1/channels')).items.map(({ channel }) => channel);
  } catch {}
  return channelNames ?? [];
}

const isSame = (a, b) => [...a].sort().join('&') === [...b].sort().join('&');

/** The ledger, each count with the list of what it counts. Everything was accepted: the whole list. */
function counts(ledger, asked) {
  const kind = asked.get('kind') ?? '';
  const links = ['accepted', PENDING, ...ENDED].map((name) => {
    const wanted = new URLSearchParams({
      ...(name === 'accepted' ? {} : { status: name }),
      ...(kind === '' ? {} : { kind }),
    });
    return el(
      'a',
      {
        href: wanted.size === 0 ? '#/activity' : `#/activity?${wanted}`,
        'aria-current': isSame(asked, wanted) && 'true',
      },
      el('b', {}, ledger[name].toLocaleString(language)),
      ' ',
      el('span', {}, text(name)),
    );
  });
  return [
    el('div', { class: 'counts' }, links),
    UNCOUNTED.some((name) => asked.has(name)) &&
      el('p', { class: 'faint' }, text(kind === '' ? 'countsAll' : 'countsKind'), ` ${kind}`),
  ].filter(Boolean);
}

function choice(name, asked, values) {
  const chosen = asked.get(name) ?? '';
  // What the address says stands in the form, even where it is none of them.
  const shown = chosen === '' || values.includes(chosen) ? values : [chosen, ...values];
  return field(
    name,
    el(
      'select',
      { name },
      el('option', { value: '' }, text('all')),
      shown.map((value) => el('option', { value, selected: value === chosen }, value)),
    ),
  );
}

/** On a narrow screen it is one line, which says what is filtered, until it is opened. */
function filters(asked, channels) {
  const form = el(
    'form',
    {
      onsubmit: (event) => {
        event.preventDefault();
        const wanted = new URLSearchParams(
          [...new FormData(event.target)]
            .map(([name, value]) => [name, value.trim()])
            .filter(([, value]) => value !== ''),
        );
        location.hash = wanted.size === 0 ? '#/activity' : `#/activity?${wanted}`;
      },
    },
    choice('status', asked, [PENDING, ...OPEN, ...ENDED]),
    choice('kind', asked, KINDS),
    choice('channel', asked, channels),
    ...['user', 'template', 'category'].map((name) =>
      field(name, el('input', { name, value: asked.get(name) ?? '', size: '12' })),
    ),
    el('button', { type: 'submit' }, text('filter')),
  );
  const set = [...asked].filter(([name]) => name !== 'cursor').map((pair) => pair.join(': '));
  return el(
    'details',
    { class: 'filters', open: WIDE.matches },
    el('summary', {}, [text('filter'), set.join(', ')].filter(Boolean).join(' · ')),
    form,
  );
}

function row(item) {
  return el(
    'tr',
    {},
    el('td', {}, time(item.createdAt)),
    el('td', {}, statusMark(item.status), ' ', testTag(item)),
    el('td', {}, item.channel ?? '–'),
    el('td', {}, item.user ?? item.recipient ?? '–'),
    el('td', {}, item.reason ?? ''),
    el('td', {}, el('a', { href: `#/notification/${item.notificationId}` }, item.id)),
  );
}

const HEADS = ['time', 'status', 'channel', 'recipient', 'reason', 'message'];

function list({ items, older }) {
  const heads = HEADS.map((name) => text(name));
  return [
    items.length > 0 ? table(text('activity'), heads, items.map(row)) : empty(),
    ...older.map(({ href, status }) =>
      el('p', {}, el('a', { href }, [text('older'), status].filter(Boolean).join(': '))),
    ),
  ];
}

function empty() {
  const line = `curl -sS '${location.origin}/v1/notifications' -H "Authorization: Bearer $TIDINGS_API_KEY" -H 'Content-Type: application/json' -d '{"to":{"email":"ada@example.com"},"content":{"title":"Hello","text":"It works."}}'`;
  return el(
    'div',
    { class: 'empty' },
    el('p', {}, text('nothing')),
    el('p', {}, el('a', { href: '#/send' }, text('sendFirst'))),
    el('pre', {}, line),
  );
}

/**
 * Shows the page and returns how to bring its counts and its list up to date: the form stays as
 * somebody fills it in. A filter that is refused is told beside the form.
 */
export async function activity(show) {
  const { hash } = location;
  const asked = new URLSearchParams(hash.split('?')[1] ?? '');
  const kind = asked.get('kind') ?? '';
  const [channels, ledger, page] = await Promise.all([
    channelsKnown(),
    ledgerSoon(kind),
    messages(asked).catch((error) => ({ refusal: error.message })),
  ]);
  // Somebody has gone on while this was asked for.
  const isLeft = () => location.hash !== hash;
  if (isLeft()) return undefined;
  const form = filters(asked, channels);
  const countBox = el('div', {}, ledger && counts(ledger, asked));
  const listBox = el('div', {});
  if (page.refusal) {
    form.open = true;
    listBox.append(el('p', { class: 'refusal', role: 'alert' }, page.refusal));
  } else listBox.append(...list(page));
  show(el('h1', {}, text('activity')), countBox, form, listBox);
  return async () => {
    const [ledger, page] = await Promise.all([ledgerSoon(kind), messages(asked)]);
    if (isLeft()) return;
    if (ledger) refill(countBox, ...counts(ledger, asked));
    refill(listBox, ...list(page));
  };
}
