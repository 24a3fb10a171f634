// The table of this node's miners.

import { $, el, keyed, setAttr, setText, show } from './dom.js';
import { NONE, ago, count, difficulty, duration, fullTime, hashrate, plural } from './format.js';
import { shortened } from './more.js';
import { stratumAddress } from './problems.js';
import { silentFor } from './silence.js';

/** Reasons for a rejection; stale shares have their own column. */
const REASONS = {
  low_difficulty: 'low difficulty',
  duplicate: 'duplicate',
  malformed: 'malformed',
  busy: 'node busy',
  unauthorised: 'unauthorised',
};

const COLUMNS = [
  ['hashrate', 'Hash rate', 'num'],
  ['difficulty', 'Difficulty', 'num'],
  ['accepted', 'Accepted', 'num'],
  ['stale', 'Stale', 'num'],
  ['rejected', 'Rejected', 'text'],
  ['best', 'Best share', 'num'],
  ['last', 'Last share', 'num'],
  ['connected', 'Connected', 'num'],
];

/** Natural order: rig-2 before rig-10. */
const { compare } = new Intl.Collator(undefined, { numeric: true });

let last = null;
const firstOf = shortened('miners-more', { wide: 12, phone: 6 }, () => showMiners(...last));

/** Shows the sessions; those that need attention come first. */
export function showMiners(status, now) {
  last = [status, now];
  const { miners } = status;
  show($('miners-table'), miners.length > 0);
  show($('miners-empty'), miners.length === 0);
  setText($('miners-empty'), `No miner is connected. Point one at ${stratumAddress(status)} with any user name and password.`);
  const shown = miners.length < status.miner_count ? `the fastest ${count(miners.length)} of ` : '';
  const rows = miners.map(miner => ({ ...miner, silent_secs: silentFor(miner, status, now) }));
  const needsAttention = miner => miner.coinbase_too_large || miner.silent_secs !== null;
  const marked = rows.filter(needsAttention).length;
  const note = `${shown}${plural(status.miner_count, 'session')}, ${hashrate(status.local_hashrate)}`;
  setText($('miners-note'), miners.length ? `${note}${marked ? `; ⚠ ${count(marked)} need${marked === 1 ? 's' : ''} attention` : ''}` : '');
  // Sessions may share a name: the older one keeps its row.
  rows.sort((a, b) => needsAttention(b) - needsAttention(a) || compare(a.worker, b.worker) || b.connected_secs - a.connected_secs);
  keyed($('miners-body'), firstOf(rows, () => `Show all ${count(rows.length)}`, needsAttention), miner => miner.worker, create, (row, miner) => update(row, miner, status, now));
}

function create() {
  const row = el('tr', {}, el('th', { scope: 'row' }, el('span', { class: 'worker' }), el('span', { class: 'agent note' }), el('span', { class: 'warn', hidden: '' }), el('span', { class: 'warn silent', hidden: '' })));
  for (const [name, label, kind] of COLUMNS) row.append(el('td', { class: `${kind} c-${name}`, 'data-label': label }));
  return row;
}

function update(row, miner, status, now) {
  const rejected = miner.rejected_by_reason;
  setText(row.querySelector('.worker'), miner.worker || '(no name)');
  setText(row.querySelector('.agent'), miner.user_agent);
  const warn = row.querySelector('.warn');
  show(warn, miner.coinbase_too_large);
  const size = status.coinbase_bytes ? `of ${count(status.coinbase_bytes)} bytes ` : '';
  setText(warn, `⚠ The coinbase ${size}is larger than this firmware is known to support: its work may be wasted. Update the firmware.`);

  const silent = row.querySelector('.silent');
  show(silent, miner.silent_secs !== null);
  setText(silent, miner.silent_secs === null ? '' : `⚠ Silent for ${duration(miner.silent_secs, 1)}: connected, but no shares.`);

  const set = (name, text) => setText(row.querySelector(`.c-${name}`), text);
  set('hashrate', hashrate(miner.hashrate));
  set('difficulty', miner.difficulty ? difficulty(miner.difficulty) : NONE);
  set('accepted', count(miner.shares));
  set('stale', withPercent(rejected.stale, miner.shares + miner.rejected));
  set('rejected', rejections(rejected));
  set('best', miner.best_difficulty ? difficulty(miner.best_difficulty) : NONE);
  set('last', miner.last_share_time ? ago(miner.last_share_time, now) : 'none yet');
  set('connected', duration(miner.connected_secs));
  setAttr(row.querySelector('.c-last'), 'title', miner.last_share_time ? fullTime(miner.last_share_time) : null);
}

/** Formats stale shares with their percentage of all submitted shares: "3 (0.12 %)". */
function withPercent(stale, all) {
  if (stale === 0) return count(0);
  return `${count(stale)} (${((100 * stale) / all).toFixed(stale / all < 0.1 ? 2 : 0)}\u00a0%)`;
}

function rejections(rejected) {
  const parts = Object.entries(REASONS)
    .filter(([name]) => rejected[name] > 0)
    .map(([name, reason]) => `${count(rejected[name])} ${reason}`);
  return parts.join(', ') || '0';
}
