// The list of recent shares.

import { $, el, keyed, setAttr, setText, shareHref, show } from './dom.js';
import { ago, count, fullTime, moment, plural, shorten } from './format.js';
import { shortened } from './more.js';
import { whyNoShares } from './problems.js';

let last = null;
const firstOf = shortened('shares-more', { wide: 10, phone: 5 }, () => showShares(...last));

/** Shows the recent shares, newest first. */
export function showShares(status, now) {
  const shares = status.recent_shares;
  const { share_count: all, uncle_count: uncles, uncredited_count: uncredited } = status;
  setText($('shares-note'), all ? `${count(all)} stored, ${plural(uncles, 'uncle')}, ${count(uncredited)} not paid` : '');
  show($('shares-empty'), shares.length === 0);
  setText($('shares-empty'), whyNoShares(status) ? 'No shares stored yet.' : 'No shares yet. The first one appears when a miner of the pool finds it.');
  last = [status, now];
  const shown = firstOf(shares, hidden => `Show ${count(hidden.length)} more`);
  keyed($('shares-list'), shown, share => share.hash, create, (row, share) => update(row, share, status, now));
}

function create({ hash, timestamp }) {
  return el('li', { class: 'share' },
    el('a', { class: 'hash', href: shareHref(hash) }, hash),
    el('p', { class: 'note' },
      el('span', { class: 'tag tag-block', hidden: '' }, '◆ block'),
      el('span', { class: 'tag', hidden: '' }, 'you'),
      el('span', { class: 'by' }),
      el('time', { datetime: new Date(timestamp * 1000).toISOString(), title: fullTime(timestamp) })));
}

function update(row, { miner, share_height: height, timestamp, is_block: isBlock }, status, now) {
  setAttr(row, 'data-block', isBlock ? '' : null);
  const [block, you] = row.querySelectorAll('.tag');
  show(block, isBlock);
  show(you, miner === status.our_address);
  const by = row.querySelector('.by');
  setText(by, `#${count(height)} by ${shorten(miner, 12, 8)}`);
  setAttr(by, 'title', miner);
  setText(row.querySelector('time'), `${moment(timestamp, now)}, ${ago(timestamp, now)}`);
}
