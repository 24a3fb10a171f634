// Bitcoin blocks that the pool found, and their status.

import { $, el, keyed, setAttr, setText, shareHref, show } from './dom.js';
import { ago, btc, count, fullTime, plural, shorten } from './format.js';
import { shortened } from './more.js';

/** The node counts no further: the coinbase of such a block is mature. */
const CONFIRMATIONS_MAX = 100;

const SIGNS = { submitted: '…', not_accepted: '✕', confirmed: '✓', rejected: '✕', orphaned: '✕' };

let last = null;
const firstOf = shortened('blocks-more', { wide: 5, phone: 3 }, () => showBlocks(...last));

/** Shows the found blocks, newest first. */
export function showBlocks(found, now) {
  const { count: all, submissions, blocks } = found;
  const parts = [
    all > blocks.length ? `the newest ${count(blocks.length)} of ${plural(all, 'block')}` : plural(all, 'block'),
    submissions.rejected > 0 ? `${count(submissions.rejected)} rejected by bitcoind` : '',
    submissions.failed > 0 ? `${plural(submissions.failed, 'failed submission')}` : '',
  ];
  setText($('blocks-note'), blocks.length ? parts.filter(Boolean).join(', ') : '');
  show($('blocks-empty'), blocks.length === 0);
  setText($('blocks-empty'), 'No blocks found yet. The average time to a block is shown above.');
  last = [found, now];
  const shown = firstOf(blocks, hidden => `Show ${count(hidden.length)} more`);
  keyed($('blocks-list'), shown, block => block.hash, create, (row, block) => update(row, block, now));
}

function create({ hash, time }) {
  return el('li', { class: 'block' },
    el('p', { class: 'block-line' }, el('span', { class: 'height' }), el('span', { class: 'status' })),
    el('a', { class: 'hash' }, hash),
    el('p', { class: 'note' }, el('span', { class: 'by' }), el('time', { datetime: new Date(time * 1000).toISOString() })));
}

function update(row, block, now) {
  setText(row.querySelector('.height'), `◆ ${count(block.height)}`);
  const status = row.querySelector('.status');
  setAttr(status, 'data-status', block.status);
  setText(status, `${SIGNS[block.status]} ${describe(block)}`);
  // A block from a stale job, or with a hash above the share target, is not a share; old shares are pruned.
  setAttr(row.querySelector('a'), 'href', block.share_stored ? shareHref(block.hash) : null);
  setText(row.querySelector('.by'), `${btc(block.value)}, by ${block.ours ? 'you' : shorten(block.miner, 12, 8)}`);
  setText(row.querySelector('time'), `${fullTime(block.time)}, ${ago(block.time, now)}`);
}

function describe({ status, confirmations, reason }) {
  if (status === 'rejected') return `rejected: ${reason}`;
  if (status === 'not_accepted') return `not accepted yet: ${reason}`;
  if (status === 'confirmed') return confirmations >= CONFIRMATIONS_MAX ? `${CONFIRMATIONS_MAX}+\u00a0confirmations` : plural(confirmations, 'confirmation');
  return status;
}
