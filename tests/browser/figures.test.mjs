// Tests of the page's values and texts, with fixtures.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cardsMatch, plain, text } from './checks.mjs';
import { scenario } from './fixtures.mjs';
import { violations, nextPoll, page, server, visit, withPage } from './visit.mjs';

withPage();

const percent = part => `${(100 * part).toFixed(2)} %`;

describe('values', () => {
  it('are shown on cards', async () => {
    const { status } = await visit();
    await cardsMatch(page, status);
    assert.equal(await text(page, '#card-pool'), '7.31 TH/s');
    assert.equal(await text(page, '#card-local'), '1.24 TH/s');
    assert.equal(await text(page, '#card-shares'), '1 236');
    assert.equal(await text(page, '#card-eta'), '2 h 35 min');
    // The finder's fee is 0.5 % of 312,847,193 satoshis: 0.01564235 BTC.
    const satoshis = status.payout_entries[3].amount - 1564235;
    assert.equal(await text(page, '#card-payout'), `0.${String(satoshis).padStart(8, '0')} BTC`);
    assert.equal(await text(page, '#card-payout-note'), `${(satoshis / 3128471.93).toFixed(2)} % of 3.12847193 BTC; + 0.01564235 BTC if this node finds it`);
    assert.equal(await text(page, '#card-block-note'), 'height 91 827');
    assert.equal(await text(page, '#network'), 'testnet4');
    assert.match(await text(page, '#problems'), /Everything works: 5 miners and 4 peers connected/);
    assert.deepEqual(violations, []);
  });

  it('are formatted for reading', async () => {
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

  it('of shares include full hashes and a label for blocks', async () => {
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

  it('of payouts are labelled bars, first twelve and then all', async () => {
    const { status } = await visit();
    assert.equal(await page.locator('#payouts-list li').count(), 12);
    assert.match(await text(page, '#payouts-list li[data-ours]'), /you/);
    await page.click('#payouts-more');
    assert.equal(await page.locator('#payouts-list li').count(), 48);
    const part = percent(status.our_weight_fraction);
    assert.equal(await text(page, '#payouts-why'), `You did ${part} of the work in the payout window (the last 1 236 shares). The finder of the block gets 0.01564235 BTC more (0.50 %, the finder’s fee). The list assumes that this node finds it.`);
    assert.equal(await text(page, '#payouts-limit'), 'A block pays at most 48 addresses. This node votes for 48: no more is known to work with unknown firmware (97.3 % of your miners’ work). Votes by work: 12.5 % for 48, 87.5 % for 146.');
    const amounts = await page.locator('#payouts-list .amount').allTextContents();
    const sum = amounts.reduce((total, amount) => total + Math.round(Number(amount.replace(/[^0-9.]/g, '')) * 1e8), 0);
    assert.equal(sum, status.coinbase_value);
    const widths = await page.locator('#payouts-list .bar > span').evaluateAll(bars => bars.map(bar => bar.getBoundingClientRect().width));
    assert.ok(widths[0] > widths[1] && widths[1] > widths[5] && widths[47] >= 2, `bars of ${widths}`);
    await page.click('#payouts-more');
    assert.equal(await page.locator('#payouts-list li').count(), 12);
  });

  it('of miners, peers and blocks are complete', async () => {
    await visit();
    const rows = (await page.locator('#miners-body tr').allInnerTexts()).map(plain);
    assert.equal(rows.length, 5);
    assert.match(rows.find(row => row.startsWith('garage.bitaxe-2')), /1\.21 TH\/s 2 048 6 014 7 \(0\.12 %\) 11 low difficulty, 2 duplicate 2\.10 G \d+ s ago 1 d 2 h/);
    assert.match(rows.find(row => row.startsWith('attic.s19')), /coinbase of 1 832 bytes is larger than this firmware/);
    assert.equal(await page.locator('#miners-body .warn:visible').count(), 1);
    const peers = (await page.locator('#peers-list li').allInnerTexts()).map(plain);
    assert.deepEqual(peers.map(peer => /(412 µs|18 ms|231 ms|–)/.exec(peer)?.[1]), ['412 µs', '18 ms', '231 ms', '–']);
    assert.match(peers[0], /p2pool\/0\.1\.0, inbound, connected for 1 h/);
    assert.match(await text(page, '#payouts-fit'), /^A payout window holds about 2 shares of your miners .* “-chain-name mini”/);
    assert.equal(plain(await page.locator('#bans-count').innerText()), '3 peers and addresses banned or graylisted');
    assert.equal(await page.locator('#bans-list li:visible').count(), 0);
    await page.click('#bans-count');
    const bans = (await page.locator('#bans-list li').allInnerTexts()).map(plain);
    assert.match(bans[1], /2001:db8:85a3::\/48 many banned addresses banned for 23 h/);
    assert.match(bans[2], /198\.51\.100\.7 ban score 60 graylisted for 5 min/);
    assert.deepEqual((await page.locator('#blocks-list .status').allTextContents()).map(plain), ['… submitted', '✓ 15 confirmations', '✕ rejected: bad-cb-amount', '✕ orphaned', '✕ not accepted yet: bitcoind does not respond: HTTP status 503: Work queue depth exceeded']);
  });

  it('are explained when missing, on a node without work', async () => {
    await visit(scenario('empty'));
    const words = plain(await page.locator('body').innerText());
    for (const sentence of [
      'No peer is connected.', `No miner is connected. Point a miner at stratum+tcp://127.0.0.1:3333 with user name ${scenario('busy').status.our_address}.name and any password.`, 'No shares yet', 'No blocks found yet',
      'No miner is connected. Point one at stratum+tcp://127.0.0.1:3333', 'The sharechain is empty: it begins with the first share', 'The first point appears within seconds',
      'bitcoind is not synced yet', 'No payouts yet: bitcoind is not synced yet.', 'The payout window is empty: the finder of a block now gets all of it.',
    ]) assert.ok(words.includes(sentence), `'${sentence}' is not in: ${words}`);
    const { problems } = server.responses.status;
    for (const problem of problems) assert.ok(words.includes(plain(problem.text)), problem.text);
    assert.ok(!words.includes('Everything works'));
    assert.ok(!/NaN|undefined|null|Infinity/.test(words), words);
    assert.deepEqual(violations, []);
  });

  it('name the cause of missing work also behind another error', async () => {
    const responses = scenario('empty');
    const { status } = responses;
    status.state = { code: 'block_not_accepted', level: 'error', text: 'Block 00 is not accepted by bitcoind: why.', advice: '', since: null };
    status.problems.unshift(status.state);
    await visit(responses);
    assert.equal(await text(page, '#card-payout-note'), 'bitcoind is not synced yet');
  });

  for (const [state, why] of [['waiting', 'this node is still looking for peers'], ['syncing', 'this node is downloading shares from its peers']]) {
    it(`of a ${state} node do not suggest an empty pool`, async () => {
      await visit(scenario(state));
      const words = plain(await page.locator('body').innerText());
      assert.ok(words.includes(plain(server.responses.status.state.text)), words);
      assert.ok(words.includes(`The sharechain is not known yet: ${why}.`), words);
      assert.ok(words.includes(`The payout window is not known yet: ${why}.`), words);
      assert.equal(await text(page, '#card-payout-note'), state === 'waiting' ? 'waiting for peers' : 'downloading the sharechain');
      assert.ok(!/the finder of a block|begins with the first share|when a miner of the pool|no block template|You did/.test(words), words);
      assert.ok(!/NaN|undefined|null|Infinity/.test(words), words);
    });
  }

  it('without work in the window are zero plus the finder’s fee', async () => {
    const { status } = server.responses;
    status.our_weight_fraction = 0;
    status.our_payout = 1564235;
    status.our_payout_without_fee = 0;
    await visit();
    assert.equal(await text(page, '#card-payout'), '0.00000000 BTC');
    assert.equal(await text(page, '#card-payout-note'), 'you have no shares in the payout window; + 0.01564235 BTC if this node finds it');
    assert.match(await text(page, '#payouts-why'), /^You did none of the work in the payout window \(the last 1 236 shares\)/);
  });

  it('of the smallest miner are not rounded to nothing', async () => {
    const { status } = server.responses;
    status.our_weight_fraction = 0.0000021;
    await visit();
    assert.match(await text(page, '#payouts-why'), /^You did < 0\.01 % of the work in the payout window/);
  });

  it('of blocks link only to stored shares', async () => {
    const { blocks, status } = server.responses;
    await visit();
    const link = index => page.locator('#blocks-list li').nth(index).locator('a').getAttribute('href');
    assert.equal(await link(0), `#share=${blocks.blocks[0].hash}`);
    assert.equal(await page.locator('#card-block-note a').getAttribute('href'), `#share=${status.last_block_found_hash}`);
    assert.deepEqual([await link(2), await link(3)], [null, null], 'one is not a share, the other is pruned');
    blocks.blocks[0].share_stored = false;
    await nextPoll();
    await page.waitForFunction(() => !document.querySelector('#blocks-list a').hasAttribute('href'));
    assert.equal(await page.locator('#card-block-note a').getAttribute('href'), null);
  });

  it('of confirmations end at 100', async () => {
    server.responses.blocks.blocks[1].confirmations = 99;
    await visit();
    const status = page.locator('#blocks-list .status').nth(1);
    assert.equal(plain(await status.textContent()), '✓ 99 confirmations');
    server.responses.blocks.blocks[1].confirmations = 100;
    await nextPoll();
    await page.waitForFunction(() => document.querySelectorAll('#blocks-list .status')[1].textContent.includes('100+'));
    assert.equal(plain(await status.textContent()), '✓ 100+ confirmations');
  });

  it('include a warning about a wrong clock', async () => {
    const responses = scenario('busy');
    responses.status.time += 300;
    await visit(responses);
    assert.match(await text(page, '#problems'), /node's clock is (5 min|4 min 59 s|5 min 1 s) ahead of this computer's/);
  });
});
