// The page's figures and words, against answers made up for the purpose.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cardsMatch, plain, text } from './checks.mjs';
import { scenario } from './fixtures.mjs';
import { complaints, nextPoll, page, server, visit, withPage } from './visit.mjs';

withPage();

const percent = part => `${(100 * part).toFixed(2)} %`;

describe('figures', () => {
  it('cards show what the node says', async () => {
    const { status } = await visit();
    await cardsMatch(page, status);
    assert.equal(await text(page, '#card-pool'), '7.31 TH/s');
    assert.equal(await text(page, '#card-local'), '1.24 TH/s');
    assert.equal(await text(page, '#card-shares'), '1 236');
    assert.equal(await text(page, '#card-eta'), '2 h 35 min');
    // 312,847,193 satoshis: what the finder gets beyond its part is 0.01564235 BTC of it, which are 0.5 %.
    const satoshis = status.payout_entries[3].amount - 1564235;
    assert.equal(await text(page, '#card-payout'), `0.${String(satoshis).padStart(8, '0')} BTC`);
    assert.equal(await text(page, '#card-payout-note'), `${(satoshis / 3128471.93).toFixed(2)} % of 3.12847193 BTC; + 0.01564235 BTC if this node finds it`);
    assert.equal(await text(page, '#card-block-note'), 'height 91 827');
    assert.equal(await text(page, '#network'), 'testnet4');
    assert.match(await text(page, '#problems'), /All is well: 5 miners at work, 4 peers connected/);
    assert.deepEqual(complaints, []);
  });

  it('numbers are written as people read them', async () => {
    await visit();
    const written = await page.evaluate(async () => {
      const f = await import(new URL('format.js', location.href));
      return {
        hashrates: [0, 1, 999.4, 999.6, 12345, 1.2345e12, 9.876e14, 1.5e21, null].map(f.hashrate),
        works: ['0', '1', '480000', '207153721200640', '243126001238912000000000000'].map(f.hashes),
        difficulties: [0, 4.6566e-10, 0.0012, 0.25, 1, 131.072, 2048, 8.42e8, undefined].map(f.difficulty),
        amounts: [0, 1, 546, 100000000, 312500000, 2100000000000000, null].map(f.btc),
        durations: [0, 0.2, 59, 60, 3599, 3600, 8100, 90061, 8640000, 4e8, 1e15, null].map(seconds => f.duration(seconds)),
        percents: [0, 0.001, 1.234, 12.34, 99.999, 100].map(f.percent),
        ages: [[100, 100], [50, 100], [100, 4000], [200, 100]].map(([time, now]) => f.ago(time, now)),
        counts: [0, 999, 1000, 1234567].map(f.count),
      };
    });
    const plainAll = Object.fromEntries(Object.entries(written).map(([name, list]) => [name, list.map(plain)]));
    assert.deepEqual(plainAll, {
      hashrates: ['0 H/s', '1.00 H/s', '999 H/s', '1.00 kH/s', '12.3 kH/s', '1.23 TH/s', '988 TH/s', '1.50 ZH/s', '–'],
      difficulties: ['0', '4.66 × 10⁻¹⁰', '0.0012', '0.25', '1', '131', '2 048', '842 M', '–'],
      works: ['0 hashes', '1 hash', '480 000 hashes', '2.07 × 10¹⁴ hashes', '2.43 × 10²⁶ hashes'],
      amounts: ['0.00000000 BTC', '0.00000001 BTC', '0.00000546 BTC', '1.00000000 BTC', '3.12500000 BTC', '21 000 000.00000000 BTC', '–'],
      durations: ['0 s', '< 1 s', '59 s', '1 min', '59 min 59 s', '1 h', '2 h 15 min', '1 d 1 h', '100 d', '13 years', '31.7 million years', '–'],
      percents: ['0 %', '< 0.01 %', '1.23 %', '12.3 %', '100 %', '100 %'],
      ages: ['just now', '50 s ago', '1 h ago', 'just now'],
      counts: ['0', '999', '1 000', '1 234 567'],
    });
  });

  it('shares have whole hashes, and blocks among them stand out by a word', async () => {
    const { status } = await visit();
    assert.equal(await page.locator('#shares-list li').count(), 10);
    await page.click('#shares-more');
    const hashes = await page.locator('#shares-list .hash').allTextContents();
    assert.deepEqual(hashes, status.recent_shares.map(share => share.hash));
    const marked = await page.locator('#shares-list li[data-block] .hash').allTextContents();
    assert.deepEqual(marked, status.recent_shares.filter(share => share.is_block).map(share => share.hash));
    assert.ok(marked.length > 0);
    for (const row of await page.locator('#shares-list li').all()) {
      const isBlock = (await row.getAttribute('data-block')) !== null;
      assert.equal(await row.getByText('block').isVisible(), isBlock);
    }
  });

  it('payouts are labelled bars, the first twelve and then all', async () => {
    const { status } = await visit();
    assert.equal(await page.locator('#payouts-list li').count(), 12);
    assert.match(await text(page, '#payouts-list li[data-ours]'), /you/);
    await page.click('#payouts-more');
    assert.equal(await page.locator('#payouts-list li').count(), 48);
    const part = percent(status.our_weight_fraction);
    assert.equal(await text(page, '#payouts-why'), `You did ${part} of the work of the last 1 236 shares, which a block pays for. Whoever finds it gets 0.01564235 BTC more (0.50 %, the finder’s fee): below, as if this node does.`);
    const amounts = await page.locator('#payouts-list .amount').allTextContents();
    const sum = amounts.reduce((total, amount) => total + Math.round(Number(amount.replace(/[^0-9.]/g, '')) * 1e8), 0);
    assert.equal(sum, status.coinbase_value);
    const widths = await page.locator('#payouts-list .bar > span').evaluateAll(bars => bars.map(bar => bar.getBoundingClientRect().width));
    assert.ok(widths[0] > widths[1] && widths[1] > widths[5] && widths[47] >= 2, `bars of ${widths}`);
    await page.click('#payouts-more');
    assert.equal(await page.locator('#payouts-list li').count(), 12);
  });

  it('miners, peers and blocks are all there', async () => {
    await visit();
    const rows = (await page.locator('#miners-body tr').allInnerTexts()).map(plain);
    assert.equal(rows.length, 5);
    assert.match(rows.find(row => row.startsWith('garage.bitaxe-2')), /1\.21 TH\/s 2 048 6 014 7 \(0\.12 %\) 11 too easy, 2 duplicate 2\.10 G \d+ s ago 1 d 2 h/);
    assert.match(rows.find(row => row.startsWith('attic.s19')), /coinbase of 1 832 bytes is larger than this firmware/);
    assert.equal(await page.locator('#miners-body .warn:visible').count(), 1);
    const peers = (await page.locator('#peers-list li').allInnerTexts()).map(plain);
    assert.deepEqual(peers.map(peer => /(412 µs|18 ms|231 ms|–)/.exec(peer)?.[1]), ['412 µs', '18 ms', '231 ms', '–']);
    assert.match(peers[0], /p2pool\/0\.1\.0, it called this node 1 h ago/);
    assert.deepEqual((await page.locator('#blocks-list .status').allTextContents()).map(plain), ['… submitted', '✓ 15 confirmations', '✕ rejected: bad-cb-amount', '✕ orphaned']);
  });

  it('a node whose bitcoind gives no work says honestly that there is nothing yet', async () => {
    await visit(scenario('empty'));
    const words = plain(await page.locator('body').innerText());
    for (const sentence of [
      'No other node is connected.', 'No miner is connected. Point a miner at stratum+tcp://127.0.0.1:3333, with any user name and password.', 'No shares yet', 'No blocks found yet',
      'No miners are connected. Point one at stratum+tcp://127.0.0.1:3333', 'The sharechain is empty: it begins with the first share', 'The first point comes within some seconds',
      'bitcoind is not synced yet', 'Nothing to pay out yet: bitcoind is not synced yet.', 'Nobody has work in the payout window yet: whoever finds a block now gets all of it.',
    ]) assert.ok(words.includes(sentence), `'${sentence}' is not in: ${words}`);
    const { problems } = server.answers.status;
    for (const problem of problems) assert.ok(words.includes(plain(problem.text)), problem.text);
    assert.ok(!words.includes('All is well'));
    assert.ok(!/NaN|undefined|null|Infinity/.test(words), words);
    assert.deepEqual(complaints, []);
  });

  for (const [state, why] of [['waiting', 'this node is still looking for another one that has them'], ['syncing', 'they are being fetched from other nodes']]) {
    it(`a node that is ${state} does not call the pool empty`, async () => {
      await visit(scenario(state));
      const words = plain(await page.locator('body').innerText());
      assert.ok(words.includes(plain(server.answers.status.state.text)), words);
      assert.ok(words.includes(`No shares of the sharechain are here yet: ${why}.`), words);
      assert.ok(words.includes(`This node does not hold the shares that a block pays for: ${why}.`), words);
      assert.equal(await text(page, '#card-payout-note'), state === 'waiting' ? 'waiting for another node' : 'the sharechain is being fetched');
      assert.ok(!/whoever finds|begins with the first share|as soon as a miner|no work from bitcoind|You did/.test(words), words);
      assert.ok(!/NaN|undefined|null|Infinity/.test(words), words);
    });
  }

  it('who has no work in the window earns nothing but the fee of a block of their own', async () => {
    const { status } = server.answers;
    status.our_weight_fraction = 0;
    status.our_payout = 1564235;
    status.our_payout_without_fee = 0;
    await visit();
    assert.equal(await text(page, '#card-payout'), '0.00000000 BTC');
    assert.equal(await text(page, '#card-payout-note'), 'no work of yours is in the payout window; + 0.01564235 BTC if this node finds it');
    assert.match(await text(page, '#payouts-why'), /^You did none of the work of the last 1 236 shares/);
  });

  it('the smallest miner of a big pool did some of the work', async () => {
    const { status } = server.answers;
    status.our_weight_fraction = 0.0000021;
    await visit();
    assert.match(await text(page, '#payouts-why'), /^You did < 0\.01 % of the work of the last 1 236 shares/);
  });

  it('only shares that are held can be looked at', async () => {
    const { blocks, status } = server.answers;
    await visit();
    const link = index => page.locator('#blocks-list li').nth(index).locator('a').getAttribute('href');
    assert.equal(await link(0), `#share=${blocks.blocks[0].hash}`);
    assert.equal(await page.locator('#card-block-note a').getAttribute('href'), `#share=${status.last_block_found_hash}`);
    assert.deepEqual([await link(2), await link(3)], [null, null], 'one is no share, the other was dropped');
    blocks.blocks[0].share_held = false;
    await nextPoll();
    await page.waitForFunction(() => !document.querySelector('#blocks-list a').hasAttribute('href'));
    assert.equal(await page.locator('#card-block-note a').getAttribute('href'), null);
  });

  it('a block that is deep enough is counted no further', async () => {
    server.answers.blocks.blocks[1].confirmations = 99;
    await visit();
    const status = page.locator('#blocks-list .status').nth(1);
    assert.equal(plain(await status.textContent()), '✓ 99 confirmations');
    server.answers.blocks.blocks[1].confirmations = 100;
    await nextPoll();
    await page.waitForFunction(() => document.querySelectorAll('#blocks-list .status')[1].textContent.includes('100+'));
    assert.equal(plain(await status.textContent()), '✓ 100+ confirmations');
  });

  it('a clock that is off is noticed', async () => {
    const answers = scenario('busy');
    answers.status.time += 300;
    await visit(answers);
    assert.match(await text(page, '#problems'), /node's clock is (5 min|4 min 59 s|5 min 1 s) ahead of this computer's/);
  });
});
