// The dialog that shows one share with all fields, and links to its parent and uncles.

import { ApiError, fetchJson } from './api.js';
import { $, el, setText, shareHref } from './dom.js';
import { ago, btc, count, difficulty, fullTime, hashes, percent } from './format.js';

const dialog = $('share');
/** Hash of the share that is shown or loading; responses for others are dropped. */
let requested = null;

$('share-close').addEventListener('click', () => dialog.close());
// A click on the backdrop has the dialog itself as its target.
dialog.addEventListener('click', event => {
  if (event.target === dialog) dialog.close();
});
dialog.addEventListener('close', () => {
  requested = null;
  // Replaces the history entry, else "back" would open the share again.
  if (location.hash.startsWith('#share=')) history.replaceState(null, '', location.pathname + location.search);
});

/** Opens the share with this hash, or closes the dialog if it is null. `context()` returns `{now, ourAddress}`. */
export async function openDialog(hash, context) {
  if (hash === null) {
    if (dialog.open) dialog.close();
    return;
  }
  requested = hash;
  setText($('share-title'), 'Share');
  $('share-badges').replaceChildren();
  $('share-body').replaceChildren(el('p', { class: 'hash whole' }, hash), el('p', { class: 'empty' }, 'Loading …'));
  if (!dialog.open) dialog.showModal();
  try {
    const share = await fetchJson(`/api/v1/share/${hash}`);
    if (requested === hash) showShare(share, context());
  } catch (error) {
    if (requested === hash) showFailure(hash, error);
  }
  // The focused link may be gone after following it.
  if (requested === hash) $('share-title').focus();
}

function showFailure(hash, error) {
  const text = error instanceof ApiError
    ? error.status === 404 ? 'This node does not have that share: it is unknown or was pruned.' : `The node returned an error: ${error.message}`
    : 'The node does not respond. Try again later.';
  $('share-body').replaceChildren(el('p', { class: 'hash whole' }, hash), el('p', { class: 'empty' }, text));
}

function showShare(share, { now, ourAddress }) {
  setText($('share-title'), `Share ${count(share.info.share_height)}`);
  $('share-badges').replaceChildren(...badges(share, ourAddress));
  const body = $('share-body');
  body.replaceChildren(
    el('p', { class: 'hash whole' }, share.hash),
    section('Share', shareRows(share, now, ourAddress)),
    section('Bitcoin header', headerRows(share)),
    section('Coinbase', coinbaseRows(share)),
    payouts(share, ourAddress));
  body.scrollTop = 0;
}

function badges(share, ourAddress) {
  const found = [];
  if (share.is_block) found.push(el('span', { class: 'tag tag-block' }, '◆ block'));
  const place = share.main_chain ? 'main chain' : share.named_by ? 'uncle' : 'side chain';
  found.push(el('span', { class: 'tag' }, place));
  if (share.miner === ourAddress) found.push(el('span', { class: 'tag' }, 'you'));
  return found;
}

function section(title, rows) {
  const list = el('dl');
  for (const [name, ...values] of rows) list.append(el('div', {}, el('dt', {}, name), el('dd', {}, ...values)));
  return el('section', {}, el('h3', {}, title), list);
}

const hash = text => el('span', { class: 'hash' }, text);
const link = id => el('a', { class: 'hash', href: shareHref(id) }, id);

function links(ids, none) {
  return ids.length ? ids.map(link) : [none];
}

function shareRows(share, now, ourAddress) {
  const { info } = share;
  return [
    ['Miner', hash(share.miner), share.miner === ourAddress ? ' (you)' : ''],
    ['Time', `${fullTime(share.timestamp)}, ${ago(share.timestamp, now)}`],
    ['Parent', ...links(info.parent ? [info.parent] : [], 'none (genesis share)')],
    ['Uncles', ...links(info.uncles, 'none')],
    ...(share.named_by ? [['Uncle of', link(share.named_by)]] : []),
    ['Children', ...links(share.children, 'none yet')],
    ...(share.confirmations === null ? [] : [['Confirmations', count(share.confirmations)]]),
    ['Difficulty', `${difficulty(share.share_difficulty)}, target `, hash(info.share_bits)],
    ['Hash difficulty', `${difficulty(share.hash_difficulty)}; a block needs ${difficulty(share.block_difficulty)}`],
    ['Work', hashes(share.work)],
    ['Chain work', hashes(info.chain_work)],
    ...(share.verified ? [] : [['Payouts', 'not verified: this node does not have their whole payout window']]),
  ];
}

const hex32 = number => `0x${(number >>> 0).toString(16).padStart(8, '0')}`;

function headerRows({ header }) {
  return [
    ['Version', hash(hex32(header.version))],
    ['Previous block', hash(header.prev_block)],
    ['Merkle root', hash(header.merkle_root)],
    ['Time', `${header.time}, ${fullTime(header.time)}`],
    ['Bits', hash(header.bits)],
    ['Nonce', hash(hex32(header.nonce))],
    ['Raw header', hash(header.raw)],
  ];
}

function coinbaseRows({ info, extranonce, merkle_branch: branch }) {
  return [
    ['Block height', count(info.block_height)],
    ['Value', btc(info.coinbase_value)],
    ['Tag', info.coinbase_tag || 'none'],
    ['Payout script', hash(info.payout_script)],
    ['Extranonce', hash(extranonce)],
    ['Witness commitment', hash(info.witness_commitment)],
    ['Merkle branch', ...(branch.length ? branch.map(hash) : ['empty: the coinbase is the only transaction'])],
  ];
}

function payouts(share, ourAddress) {
  const box = el('section', {}, el('h3', {}, share.is_block ? 'Payouts of this block' : 'Payouts if it had been a block'));
  if (!share.payouts) {
    box.append(el('p', { class: 'empty' }, 'Unknown: this node does not have its whole payout window.'));
    return box;
  }
  const body = el('tbody');
  for (const { address, amount, pct } of share.payouts) {
    const who = el('th', { scope: 'row', class: 'hash' }, address);
    if (address === ourAddress) who.append(' ', el('span', { class: 'tag' }, 'you'));
    body.append(el('tr', {}, who, el('td', { class: 'num' }, btc(amount)), el('td', { class: 'num' }, percent(pct))));
  }
  const head = el('tr', {}, el('th', { scope: 'col' }, 'Address'), el('th', { scope: 'col', class: 'num' }, 'Amount'), el('th', { scope: 'col', class: 'num' }, 'Percent'));
  box.append(el('table', { class: 'payout-table' }, el('thead', {}, head), body));
  return box;
}
