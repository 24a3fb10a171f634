// The table of this node's miners.

import { $, el, keyed, setAttr, setText, show } from './dom.js';
import { NONE, ago, count, difficulty, duration, fullTime, hashrate, plural } from './format.js';
import { shortened } from './more.js';
import { minerSettings } from './problems.js';

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

/** What is wrong with the address in a user name. */
const FAULTS = {
  other: 'another address than this node’s',
  other_network: 'an address of another Bitcoin network',
  mistyped: 'a mistyped address',
};

/** Shows the sessions and the workers that are gone; those that need attention come first. */
export function showMiners(status, now) {
  last = [status, now];
  const { miners, gone_miners: gone } = status;
  const rows = [...miners.map(miner => ({ ...miner, is_gone: false })), ...gone.map(worker => ({ ...worker, is_gone: true }))];
  show($('miners-table'), rows.length > 0);
  show($('miners-empty'), miners.length === 0);
  setText($('miners-empty'), `No miner is connected. Point one at ${minerSettings(status)}.`);
  setText($('miners-note'), rows.length > 0 ? note(status, rows.filter(row => row.needs_attention).length) : '');
  // Sessions may share a name: the older one keeps its row.
  const age = row => row.connected_secs ?? -row.gone_secs;
  rows.sort((a, b) => b.needs_attention - a.needs_attention || a.is_gone - b.is_gone || compare(a.worker, b.worker) || age(b) - age(a));
  keyed($('miners-body'), firstOf(rows, () => `Show all ${count(rows.length)}`, row => row.needs_attention), row => row.worker, create, (node, row) => update(node, row, status, now));
}

function note(status, marked) {
  const { miners, miner_count: sessions, gone_miners: gone, local_hashrate: local } = status;
  const parts = [`${miners.length < sessions ? `${count(miners.length)} of ` : ''}${plural(sessions, 'session')}, ${hashrate(local)}`];
  if (gone.length > 0) parts.push(`${count(gone.length)} gone`);
  if (marked > 0) parts.push(`⚠ ${count(marked)} need${marked === 1 ? 's' : ''} attention`);
  return parts.join('; ');
}

function create() {
  const row = el('tr', {}, el('th', { scope: 'row' }, el('span', { class: 'worker' }), el('span', { class: 'agent note' }), el('span', { class: 'warn firmware', hidden: '' }), el('span', { class: 'warn address', hidden: '' }), el('span', { class: 'warn silent', hidden: '' }), el('span', { class: 'warn gone', hidden: '' })));
  for (const [name, label, kind] of COLUMNS) row.append(el('td', { class: `${kind} c-${name}`, 'data-label': label }));
  return row;
}

function update(node, row, status, now) {
  setText(node.querySelector('.worker'), row.worker || '(no name)');
  setText(node.querySelector('.agent'), row.user_agent);
  setAttr(node, 'data-gone', row.is_gone ? '' : null);
  const warn = (name, text) => {
    const line = node.querySelector(`.${name}`);
    show(line, text !== null);
    setText(line, text ?? '');
  };
  const sign = row.needs_attention ? '⚠ ' : '';
  warn('gone', row.is_gone ? `${sign}Gone for ${duration(row.gone_secs, 1)}: not connected.` : null);
  warn('silent', row.is_gone || row.silent_secs === null ? null : `⚠ Silent for ${duration(row.silent_secs, 1)}: connected, but no shares.`);
  const size = status.coinbase_bytes ? `of ${count(status.coinbase_bytes)} bytes ` : '';
  warn('firmware', row.coinbase_too_large ? `⚠ The coinbase ${size}is larger than this firmware is known to support: its work may be wasted. Update the firmware.` : null);
  const fault = FAULTS[row.named_address];
  warn('address', fault ? `⚠ The user name has ${fault}. All work here pays the address of this node.` : null);

  const figures = row.is_gone ? {} : figuresOf(row);
  figures.last = row.last_share_time ? ago(row.last_share_time, now) : 'none yet';
  for (const [name] of COLUMNS) setText(node.querySelector(`.c-${name}`), figures[name] ?? NONE);
  setAttr(node.querySelector('.c-last'), 'title', row.last_share_time ? fullTime(row.last_share_time) : null);
}

function figuresOf(miner) {
  const rejected = miner.rejected_by_reason;
  return {
    hashrate: hashrate(miner.hashrate),
    difficulty: miner.difficulty ? difficulty(miner.difficulty) : NONE,
    accepted: count(miner.shares),
    stale: withPercent(rejected.stale, miner.shares + miner.rejected),
    rejected: rejections(rejected),
    best: miner.best_difficulty ? difficulty(miner.best_difficulty) : NONE,
    connected: duration(miner.connected_secs),
  };
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
