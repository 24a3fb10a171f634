// Bitcoin blocks that the pool found, and what became of them.

import { $, el, keyed, setAttr, setText, shareHref, show } from './dom.js';
import { ago, btc, count, fullTime, plural, shorten } from './format.js';

const SIGNS = { submitted: '…', confirmed: '✓', orphaned: '✕', rejected: '✕', failed: '!' };

/** Shows all found blocks, newest first. */
export function showBlocks(blocks, now) {
  setText($('blocks-note'), blocks.length ? plural(blocks.length, 'block') : '');
  show($('blocks-empty'), blocks.length === 0);
  setText($('blocks-empty'), 'No blocks found yet. The average time to one stands above; luck decides.');
  keyed($('blocks-list'), blocks, block => block.hash, create, (row, block) => update(row, block, now));
}

function create({ hash, time }) {
  return el('li', { class: 'block' },
    el('p', { class: 'block-line' }, el('span', { class: 'height' }), el('span', { class: 'status' })),
    el('a', { class: 'hash', href: shareHref(hash) }, hash),
    el('p', { class: 'note' }, el('span', { class: 'by' }), el('time', { datetime: new Date(time * 1000).toISOString() })));
}

function update(row, block, now) {
  setText(row.querySelector('.height'), `◆ ${count(block.height)}`);
  const status = row.querySelector('.status');
  setAttr(status, 'data-status', block.status);
  setText(status, `${SIGNS[block.status] ?? ''} ${words(block)}`.trim());
  setText(row.querySelector('.by'), [block.miner ? `by ${shorten(block.miner, 12, 8)}` : '', block.value ? btc(block.value) : ''].filter(Boolean).join(', '));
  setText(row.querySelector('time'), `${fullTime(block.time)}, ${ago(block.time, now)}`);
}

function words({ status, confirmations }) {
  if (status === 'confirmed') return confirmations ? plural(confirmations, 'confirmation') : 'confirmed';
  return status;
}
