// Whom a block found now would pay, as bars that are labelled and so need no colour.

import { $, el, keyed, setAttr, setText, show } from './dom.js';
import { btc, count, percent, plural, shorten } from './format.js';
import { shortened } from './more.js';
import { whyNoShares, whyNoWork } from './problems.js';

let last = null;
const firstOf = shortened('payouts-more', { wide: 12, phone: 8 }, () => showPayouts(last));

/** Shows the payouts of the present job. */
export function showPayouts(status) {
  last = status;
  const entries = status.payout_entries;
  const ours = status.our_address;
  setText($('payouts-note'), entries.length ? `${btc(status.coinbase_value)} to ${plural(entries.length, 'address', 'addresses')}` : '');
  setText($('payouts-why'), why(status));
  show($('payouts-empty'), entries.length === 0);
  setText($('payouts-empty'), `Nothing to pay out yet: ${whyNoWork(status)}.`);

  const partOf = hidden => percent(hidden.reduce((sum, entry) => sum + entry.pct, 0));
  // Our own line is always among those shown.
  const shown = firstOf(entries, hidden => `Show ${count(hidden.length)} more, ${partOf(hidden)} in all`, entry => entry.address === ours);
  const greatest = entries.length ? entries[0].pct : 100;
  keyed($('payouts-list'), shown, entry => entry.address, create, (row, entry) => update(row, entry, greatest, ours));
}

/** What our line follows from. */
function why(status) {
  const { our_weight_fraction: weight, window_shares: shares, coinbase_value: value, our_payout: whole, our_payout_without_fee: paid } = status;
  if (shares === null) return `This node does not hold the shares that a block pays for: ${whyNoShares(status) ?? 'they are not all here yet'}.`;
  if (shares === 0) return 'Nobody has work in the payout window yet: whoever finds a block now gets all of it.';
  const part = weight > 0 ? `You did ${percent(100 * weight)}` : 'You did none';
  const done = `${part} of the work of the last ${plural(shares, 'share')}, which a block pays for.`;
  if (value === null || whole <= paid) return done;
  return `${done} Whoever finds it gets ${btc(whole - paid)} more (${percent((100 * (whole - paid)) / value)}, the finder’s fee): below, as if this node does.`;
}

function create({ address }) {
  return el('li', { class: 'payout' },
    el('span', { class: 'who' }, el('span', { class: 'mono', title: address }, shorten(address, 12, 8)), el('span', { class: 'tag', hidden: '' }, 'you')),
    el('span', { class: 'pct num' }),
    el('span', { class: 'bar', 'aria-hidden': 'true' }, el('span')),
    el('span', { class: 'amount num' }));
}

function update(row, { address, amount, pct }, greatest, ours) {
  setAttr(row, 'data-ours', address === ours ? '' : null);
  show(row.querySelector('.tag'), address === ours);
  setText(row.querySelector('.pct'), percent(pct));
  setText(row.querySelector('.amount'), btc(amount));
  row.querySelector('.bar > span').style.width = `${greatest > 0 ? (100 * pct) / greatest : 0}%`;
}
