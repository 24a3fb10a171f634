// The cards at the top of the page.

import { $, el, setAttr, setText, shareHref } from './dom.js';
import { NONE, ago, btc, count, difficulty, duration, fullTime, hashrate, percent, shorten } from './format.js';
import { whyNoWork } from './problems.js';

/** Updates all cards. */
export function showCards(status, blocks, now) {
  showPayout(status);
  card('local', hashrate(status.local_hashrate), partOfPool(status));
  card('pool', hashrate(status.pool_hashrate), 'estimated from shares and uncles');
  card('eta', duration(status.est_time_to_block), status.block_difficulty === null ? 'on average' : `on average, at difficulty ${difficulty(status.block_difficulty)}`);
  showLastBlock(status, blocks, now);
  card('shares', count(status.share_count), status.tip_time ? `newest ${ago(status.tip_time, now)}` : 'none yet');
  card('difficulty', difficulty(status.difficulty), `target: one every ${duration(status.share_target_time_secs)}`);
  card('miners', count(status.miner_count), status.miner_count ? 'connected to this node' : 'none connected');
  card('peers', count(status.peer_count), status.peer_count ? 'other nodes of the pool' : 'none connected');
}

function card(name, value, note) {
  setText($(`card-${name}`), value);
  setText($(`card-${name}-note`), note);
}

function showPayout(status) {
  const { coinbase_value: value, our_payout: whole, our_payout_without_fee: ours } = status;
  if (value === null) return card('payout', NONE, whyNoWork(status));
  const fee = whole > ours ? `; +\u00a0${btc(whole - ours)} if this node finds it` : '';
  const part = ours > 0 ? `${percent((100 * ours) / value)} of ${btc(value)}` : 'you have no shares in the payout window';
  card('payout', btc(ours), part + fee);
}

function partOfPool({ local_hashrate: local, pool_hashrate: pool }) {
  if (!local || !pool) return 'estimated from your miners’ shares';
  // Both are estimates: local may exceed pool.
  return `about ${percent(Math.min(100, (100 * local) / pool))} of the pool`;
}

function showLastBlock(status, blocks, now) {
  if (!status.last_block_found_time) return card('block', 'none yet', 'none known to this node');
  const note = $('card-block-note');
  setText($('card-block'), ago(status.last_block_found_time, now));
  setAttr($('card-block'), 'title', fullTime(status.last_block_found_time));
  const hash = status.last_block_found_hash;
  if (!hash) return setText(note, fullTime(status.last_block_found_time));
  let link = note.querySelector('a');
  if (link === null) {
    link = el('a');
    note.replaceChildren(link);
  }
  const { height, share_stored: isStored } = blocks.find(block => block.hash === hash) ?? {};
  setAttr(link, 'href', isStored ? shareHref(hash) : null);
  setText(link, height === undefined ? shorten(hash) : `height ${count(height)}`);
}
