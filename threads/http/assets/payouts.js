// The payouts of a block found now, as labelled bars that do not depend on colour.

import { $, el, keyed, setAttr, setText, show } from './dom.js';
import { btc, count, percent, plural, shorten } from './format.js';
import { shortened } from './more.js';
import { whyNoShares, whyNoWork } from './problems.js';

let last = null;
const firstOf = shortened('payouts-more', { wide: 12, phone: 8 }, () => showPayouts(last));

/** Shows the payouts of the current job. */
export function showPayouts(status) {
  last = status;
  const entries = status.payout_entries;
  const ours = status.our_address;
  setText($('payouts-note'), entries.length ? `${btc(status.coinbase_value)} to ${plural(entries.length, 'address', 'addresses')}` : '');
  setText($('payouts-why'), explain(status));
  show($('payouts-fit'), status.chain_fit.advice !== null);
  setText($('payouts-fit'), status.chain_fit.advice ?? '');
  setText($('payouts-limit'), explainLimit(status.payout_outputs));
  show($('payouts-empty'), entries.length === 0);
  setText($('payouts-empty'), `No payouts yet: ${whyNoWork(status)}.`);

  const total = hidden => percent(hidden.reduce((sum, entry) => sum + entry.pct, 0));
  // This node's own row is always shown.
  const shown = firstOf(entries, hidden => `Show ${count(hidden.length)} more (${total(hidden)} in total)`, entry => entry.address === ours);
  const largest = entries.length ? entries[0].pct : 100;
  keyed($('payouts-list'), shown, entry => entry.address, create, (row, entry) => update(row, entry, largest, ours));
}

/** Explains what this node's payout follows from. */
function explain(status) {
  const { our_weight_fraction: weight, window_shares: shares, coinbase_value: value, our_payout: whole, our_payout_without_fee: paid } = status;
  if (shares === null) return `The payout window is not known yet: ${whyNoShares(status) ?? 'this node does not have all of its shares'}.`;
  if (shares === 0) return 'The payout window is empty: the finder of a block now gets all of it.';
  const part = weight > 0 ? `You did ${percent(100 * weight)}` : 'You did none';
  const work = `${part} of the work in the payout window (the last ${plural(shares, 'share')}).`;
  if (value === null || whole <= paid) return work;
  return `${work} The finder of the block gets ${btc(whole - paid)} more (${percent((100 * (whole - paid)) / value)}, the finder’s fee). The list assumes that this node finds it.`;
}

/** Explains how many payouts a block may have, and what this node votes for and why. */
function explainLimit({ max, vote, vote_is_fixed: isFixed, firmware, votes }) {
  const least = firmware.filter(part => part.counts && part.outputs === vote).map(part => `${part.name} (${percent(part.work_pct)} of your miners’ work)`);
  const why = isFixed ? ', as set with -coinbase-outputs' : least.length ? `: no more is known to work with ${list(least)}` : ' until its miners have done some work';
  const parts = votes.filter(part => part.work_pct > 0).map(part => `${percent(part.work_pct)} for ${count(part.outputs)}`);
  const stand = parts.length ? ` Votes by work: ${parts.join(', ')}.` : '';
  return `A block pays at most ${count(max)} addresses. This node votes for ${count(vote)}${why}.${stand}`;
}

/** "a", "a and b", "a, b and c" */
const list = words => (words.length > 1 ? `${words.slice(0, -1).join(', ')} and ${words.at(-1)}` : words[0]);

function create({ address }) {
  return el('li', { class: 'payout' },
    el('span', { class: 'who' }, el('span', { class: 'mono', title: address }, shorten(address, 12, 8)), el('span', { class: 'tag', hidden: '' }, 'you')),
    el('span', { class: 'pct num' }),
    el('span', { class: 'bar', 'aria-hidden': 'true' }, el('span')),
    el('span', { class: 'amount num' }));
}

function update(row, { address, amount, pct }, largest, ours) {
  setAttr(row, 'data-ours', address === ours ? '' : null);
  show(row.querySelector('.tag'), address === ours);
  setText(row.querySelector('.pct'), percent(pct));
  setText(row.querySelector('.amount'), btc(amount));
  row.querySelector('.bar > span').style.width = `${largest > 0 ? (100 * pct) / largest : 0}%`;
}
