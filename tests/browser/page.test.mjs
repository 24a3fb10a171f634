// The page in a real browser against answers made up for the purpose.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { readFile, readdir } from 'node:fs/promises';
import { DESKTOP, PHONE, launch, open } from './browser.mjs';
import { cardsMatch, dialogCloses, dialogShows, drawn, eventually, fits, live, nothingClipped, plain, tabTo, text } from './checks.mjs';
import { description, differences } from './contract.mjs';
import { serve } from './fixture-server.mjs';
import { scenario } from './fixtures.mjs';

const ASSETS = new URL('../../threads/http/assets/', import.meta.url);
const HOSTILE = '<img src=x onerror=alert(1)>';
/** More than the page's own pause between questions. */
const NEXT_POLL_MS = 5100;

let browser;
let server;
let page;
let complaints;

before(async () => {
  browser = await launch();
});
after(() => browser?.close());
beforeEach(async () => {
  server = await serve(scenario('busy'));
});
afterEach(async () => {
  await page?.close();
  await server.close();
});

/** Opens the page with `answers`; its clock can be put forward. */
async function visit(answers = server.answers, { viewport = DESKTOP, path = '' } = {}) {
  server.answers = answers;
  ({ page, complaints } = await open(browser.context, server.url + path, async blank => {
    await blank.setViewportSize(viewport);
    await blank.clock.install();
  }));
  if (answers !== null) await live(page);
  return server.answers;
}

/** Lets the page ask again, and waits until it has shown the answer. */
async function nextPoll() {
  const asked = page.waitForEvent('requestfinished', request => request.url().includes('/api/blocks'));
  await page.clock.fastForward(NEXT_POLL_MS);
  await asked;
}

describe('the made-up answers', () => {
  it('are such as the description of the API promises', async () => {
    const root = await description();
    const against = (name, value) => differences(root.components.schemas[name], value, root, name);
    for (const state of ['busy', 'empty']) {
      const answers = scenario(state);
      const shares = answers.status.tree_shares.map(({ hash }) => answers.share(hash));
      const histories = ['1h', '1d', '7d', '30d'].map(answers.history);
      assert.deepEqual([
        ...against('Status', answers.status), ...against('Blocks', answers.blocks),
        ...shares.flatMap(share => against('Share', share)), ...histories.flatMap(history => against('History', history)),
      ], [], state);
    }
    const broken = { ...scenario('busy').status, share_count: '1', tip_hash: 'ab', uptime_secs: -1 };
    delete broken.peers;
    assert.deepEqual(against('Status', broken).sort(), [
      "Status lacks 'peers'", 'Status.share_count is "1", not integer', 'Status.tip_hash is shorter than 64', 'Status.uptime_secs is -1, below 0',
    ]);
  });
});

describe('figures', () => {
  it('cards show what the node says', async () => {
    const { status } = await visit();
    await cardsMatch(page, status);
    assert.equal(await text(page, '#card-pool'), '7.31 TH/s');
    assert.equal(await text(page, '#card-local'), '1.24 TH/s');
    assert.equal(await text(page, '#card-shares'), '1 236');
    assert.equal(await text(page, '#card-eta'), '2 h 35 min');
    assert.equal(await text(page, '#card-payout'), `0.${String(status.payout_entries[3].amount).padStart(8, '0')} BTC`);
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
      difficulties: ['0', '4.66 × 10⁻¹⁰', '0.0012', '0.25', '1', '131', '2.05 k', '842 M', '–'],
      amounts: ['0.00000000 BTC', '0.00000001 BTC', '0.00000546 BTC', '1.00000000 BTC', '3.12500000 BTC', '21 000 000.00000000 BTC', '–'],
      durations: ['0 s', '< 1 s', '59 s', '1 min', '59 min 59 s', '1 h', '2 h 15 min', '1 d 1 h', '100 d', '13 years', '31.7 million years', '–'],
      percents: ['0 %', '< 0.01 %', '1.23 %', '12.3 %', '100 %', '100 %'],
      ages: ['just now', '50 s ago', '1 h ago', 'just now'],
      counts: ['0', '999', '1 000', '1 234 567'],
    });
  });

  it('shares have whole hashes, and blocks among them stand out by a word', async () => {
    const { status } = await visit();
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
    assert.match(await text(page, '#payouts-why'), /^You did 6\.0\d % of the work of the last 1 236 shares/);
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
    assert.match(rows.find(row => row.startsWith('garage.bitaxe-2')), /1\.21 TH\/s 2\.05 k 6 014 7 \(0\.12 %\) 11 too easy, 2 duplicate 2\.10 G \d+ s ago 1 d 2 h/);
    assert.match(rows.find(row => row.startsWith('attic.s19')), /coinbase of 1 832 bytes is larger than this firmware/);
    assert.equal(await page.locator('#miners-body .warn:visible').count(), 1);
    const peers = (await page.locator('#peers-list li').allInnerTexts()).map(plain);
    assert.deepEqual(peers.map(peer => /(412 µs|18 ms|231 ms|–)/.exec(peer)?.[1]), ['412 µs', '18 ms', '231 ms', '–']);
    assert.match(peers[0], /p2pool\/0\.1\.0, it called this node 1 h ago/);
    assert.deepEqual((await page.locator('#blocks-list .status').allTextContents()).map(plain), ['… submitted', '✓ 15 confirmations', '✕ rejected: bad-cb-amount', '✕ orphaned']);
    assert.equal(await page.locator('#blocks-list li').nth(2).locator('a[href]').count(), 0, 'a block that is no share has no share to look at');
  });

  it('a new node says honestly that there is nothing yet', async () => {
    await visit(scenario('empty'));
    const words = plain(await page.locator('body').innerText());
    for (const sentence of [
      'bitcoind is still syncing: 43 % of the chain. Since ', 'Mining begins by itself when it is done',
      'No other node is connected.', 'Mining alone: no other node can be reached. Check -bootnodes.', 'No miner is connected.', 'The sharechain is empty', 'No shares yet', 'No blocks found yet',
      'No miners are connected. Point one at stratum+tcp://127.0.0.1:3333', 'no work from bitcoind yet', 'The first points come within a minute',
    ]) assert.ok(words.includes(sentence), `'${sentence}' is not in: ${words}`);
    assert.ok(!words.includes('All is well'));
    assert.ok(!/NaN|undefined|null|Infinity/.test(words), words);
    assert.deepEqual(complaints, []);
  });

  it('a clock that is off is noticed', async () => {
    const answers = scenario('busy');
    answers.status.time += 300;
    await visit(answers);
    assert.match(await text(page, '#problems'), /node's clock is (5 min|4 min 59 s|5 min 1 s) ahead of this computer's/);
  });
});

describe('graphs', () => {
  it('are drawn, and of the range that was chosen', async () => {
    await visit();
    for (const name of ['pool', 'local', 'shares']) {
      const picture = await drawn(page, `#graph-${name} canvas`);
      assert.ok(picture.part > 0.05, `${name}: ${picture.pixels} pixels`);
      assert.match(await page.getAttribute(`#graph-${name} canvas`, 'aria-label'), /now /);
    }
    const before = await drawn(page, '#graph-pool canvas');
    let last = before.sum;
    for (const [label, window] of [['1 hour', '1h'], ['1 day', '1d'], ['7 days', '7d'], ['30 days', '30d']]) {
      const answer = page.waitForResponse(response => response.url().endsWith(`/api/history?window=${window}`));
      await page.getByText(label, { exact: true }).click();
      await answer;
      await eventually(async () => assert.notEqual((await drawn(page, '#graph-pool canvas')).sum, last, window));
      last = (await drawn(page, '#graph-pool canvas')).sum;
    }
    await page.getByText('live', { exact: true }).last().click();
    assert.equal((await drawn(page, '#graph-pool canvas')).sum, before.sum);
  });

  it('are empty without points, and say so', async () => {
    await visit(scenario('empty'));
    assert.equal((await drawn(page, '#graph-pool canvas')).pixels, 0);
    assert.equal(await text(page, '#graph-pool .note'), 'The first points come within a minute or two.');
  });

  it('draw no line where the node was off', async () => {
    const answers = scenario('busy');
    answers.status.history = answers.status.history.filter((_, index) => index < 20 || index >= 40).map(point => ({ ...point, ph: 5e12 }));
    await visit(answers);
    // Just above the level of the line only the line itself has colour; its middle is the gap.
    const columns = await page.evaluate(() => {
      const canvas = document.querySelector('#graph-pool canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const isLine = (x, y) => data[(y * canvas.width + x) * 4 + 3] === 255 && data[(y * canvas.width + x) * 4 + 2] > 240 && data[(y * canvas.width + x) * 4] < 120;
      const has = x => Array.from({ length: canvas.height }, (_, y) => y).some(y => isLine(x, y));
      const at = part => Math.round(62 + (canvas.width - 72) * part);
      return [0.1, 0.25, 0.45, 0.55, 0.75, 0.9].map(part => has(at(part)));
    });
    assert.deepEqual(columns, [true, true, false, false, true, true]);
  });

  it('tell the value under the pointer', async () => {
    const { status } = await visit();
    const box = await page.locator('#graph-pool canvas').boundingBox();
    await page.mouse.move(box.x + 62, box.y + 50);
    const first = await page.evaluate(async value => (await import(new URL('format.js', location.href))).hashrate(value), status.history[0].ph);
    assert.ok((await text(page, '#graph-pool .readout')).startsWith(`${plain(first)} at `));
  });
});

describe('the share dialog', () => {
  it('opens, shows every field and leads to parent and uncles', async () => {
    const answers = await visit();
    const nephew = answers.status.tree_shares.find(share => share.uncles.length > 0 && share.share_height === 1232);
    await page.click(`#shares-list a[href="#share=${nephew.hash}"]`);
    await page.waitForSelector('dialog[open] table');
    assert.equal(await text(page, '#share-title'), 'Share 1 232');
    await dialogShows(page, answers.share(nephew.hash));

    await page.click(`dialog[open] a[href="#share=${nephew.uncles[0]}"]`);
    await page.getByText('Uncle of').waitFor();
    await dialogShows(page, answers.share(nephew.uncles[0]));
    assert.equal(await text(page, '#share-badges'), 'uncle');

    await page.goBack();
    await page.waitForFunction(() => document.querySelector('#share-title').textContent.includes('232'));
    await page.click(`dialog[open] dd a[href="#share=${nephew.prev_share_hash}"]`);
    await page.waitForFunction(() => document.querySelector('#share-title').textContent.includes('231'));

    await page.click('#share-close');
    await dialogCloses(page);
    assert.deepEqual(complaints, []);
  });

  it('opens from an address, and says when a share is not held', async () => {
    const answers = scenario('busy');
    const hash = answers.status.tip_hash;
    await visit(answers, { path: `#share=${hash}` });
    await page.waitForSelector('dialog[open] table');
    await dialogShows(page, answers.share(hash));
    await page.evaluate(() => { location.hash = `#share=${'ab'.repeat(32)}`; });
    await page.getByText('This node does not hold that share').waitFor();
  });

  it('works by keyboard: Tab, Enter, Esc, and the focus returns', async () => {
    const { status } = await visit();
    await tabTo(page, '#shares-list a');
    await page.keyboard.press('Tab');
    const second = await page.evaluate(() => document.activeElement.textContent);
    assert.equal(second, status.recent_shares[1].hash);
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog[open] table');
    // While it is open, Tab stays within it.
    await tabTo(page, 'dialog a[href^="#share="]');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelector('#share-title') === document.activeElement);
    await page.keyboard.press('Escape');
    await dialogCloses(page);
    assert.equal(await page.evaluate(() => document.activeElement.textContent), second);
  });

  it('fits a phone', async () => {
    const answers = scenario('busy');
    await visit(answers, { viewport: PHONE, path: `#share=${answers.status.tip_hash}` });
    await page.waitForSelector('dialog[open] table');
    await fits(page);
    await nothingClipped(page);
    const { overflow } = await page.evaluate(() => {
      const body = document.querySelector('.dialog-body');
      return { overflow: body.scrollWidth - body.clientWidth };
    });
    assert.equal(overflow, 0);
  });
});

describe('the sharechain', () => {
  it('is drawn with its forks and uncles, and listed', async () => {
    const { status } = await visit();
    const marks = kind => page.locator(`#tree .node .mark.n-${kind}`).count();
    const main = status.tree_shares.filter(share => share.main_chain);
    assert.equal(await marks('block'), main.filter(share => share.is_block).length);
    assert.equal(await marks('main'), main.filter(share => !share.is_block).length);
    assert.equal(await marks('uncle'), 5);
    assert.equal(await marks('fork'), 3);
    assert.equal(await page.locator('#tree .e-uncle').count(), 5);
    assert.equal(await page.locator('#tree .e-fork').count(), 8);
    await page.click('#tree-details summary');
    await page.waitForSelector('#tree-list li');
    assert.equal(await page.locator('#tree-list li').count(), status.tree_shares.length);
    assert.equal(await page.locator('#tree-list li', { hasText: 'not on the chain' }).count(), 3);
    assert.equal(await page.locator('#tree-list li', { hasText: ', named by ' }).count(), 5);
  });

  it('puts no two shares on one spot, and branches not across each other', async () => {
    const { status } = await visit();
    const places = await page.evaluate(async shares => {
      const { layOut } = await import(new URL('tree.js', location.href));
      return [...layOut(shares).values()].map(({ height, lane, main_chain: main }) => ({ height, lane, main }));
    }, status.tree_shares);
    assert.equal(new Set(places.map(({ height, lane }) => `${height} ${lane}`)).size, places.length);
    assert.ok(places.every(({ lane, main }) => main === (lane === 0)));
    assert.equal(Math.max(...places.map(({ lane }) => lane)), 3);
  });

  it('is walked by arrow keys', async () => {
    const { status } = await visit();
    const focused = () => page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? '');
    await tabTo(page, '#tree .node');
    assert.match(plain(await focused()), /^Share 1 235, main chain/);
    for (let i = 0; i < 4; i += 1) await page.keyboard.press('ArrowLeft');
    assert.match(plain(await focused()), /^Share 1 231, main chain/);
    await page.keyboard.press('ArrowDown');
    assert.match(plain(await focused()), /^Share 1 231, uncle/);
    assert.match(await text(page, '#tree-readout'), /Share 1 231, uncle/);
    await page.keyboard.press('Enter');
    await page.getByText('Uncle of').waitFor();
    assert.equal(await text(page, '#share-body .whole'), status.tree_shares.find(share => share.share_height === 1231 && !share.main_chain).hash);
  });

  it('shows the newest, and stays where one looks', async () => {
    await visit(undefined, { viewport: PHONE });
    const place = () => page.evaluate(() => {
      const box = document.querySelector('#tree');
      return { left: box.scrollLeft, end: box.scrollWidth - box.clientWidth };
    });
    const { left, end } = await place();
    assert.ok(end > 300 && Math.abs(left - end) < 2);
    // The oldest share goes, so everything moves by one step; what one looks at stays.
    await page.evaluate(() => { document.querySelector('#tree').scrollLeft = 200; });
    const oldest = Math.min(...server.answers.status.tree_shares.map(share => share.share_height));
    server.answers.status.tree_shares = server.answers.status.tree_shares.filter(share => share.share_height > oldest);
    const nodes = await page.locator('#tree .node').count();
    await nextPoll();
    await page.waitForFunction(before => document.querySelectorAll('#tree .node').length === before - 1, nodes);
    assert.equal((await place()).left, 200 - 24);
  });
});

describe('strangers’ text', () => {
  it('a worker named like markup stays text', async () => {
    await visit();
    assert.equal(await page.locator('.worker', { hasText: HOSTILE }).count(), 1);
    assert.equal(await page.locator('.agent', { hasText: '<script>alert(2)</script>' }).count(), 1);
    assert.equal(await page.locator('img').count(), 1, 'the page has one image: its own');
    assert.deepEqual(complaints, []);
  });

  it('whatever text the node sends stays text', async () => {
    const hostile = value => {
      if (typeof value === 'string') return /^[0-9a-f]{64}$/.test(value) ? value : `${HOSTILE}${value}`;
      if (Array.isArray(value)) return value.map(hostile);
      if (value === null || typeof value !== 'object') return value;
      return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, hostile(inner)]));
    };
    const good = scenario('busy');
    good.status.problems = [{ code: 'x', level: 'error', text: 'something', advice: 'do something', since: null }];
    const answers = { status: hostile(good.status), blocks: hostile(good.blocks), history: good.history, share: hash => hostile(good.share(hash)) };
    await visit(answers);
    await page.click('#payouts-more');
    await page.click('#tree-details summary');
    await page.click('#shares-list a');
    await page.waitForSelector('dialog[open] table');
    assert.equal(await page.locator('img').count(), 1);
    assert.ok((await page.locator('body').textContent()).includes(HOSTILE));
    assert.deepEqual(complaints, []);
  });
});

describe('refreshing', () => {
  it('keeps elements, focus, selection and scroll', async () => {
    const { status } = await visit();
    await page.evaluate(() => {
      const list = document.querySelector('#shares-list');
      list.scrollTop = 30;
      window.rows = [...list.children];
      window.payout = document.querySelector('#card-payout').firstChild;
      window.changes = [];
      new MutationObserver(found => window.changes.push(...found)).observe(document.querySelector('main'), { childList: true, characterData: true, attributes: true, subtree: true });
      list.children[3].querySelector('a').focus({ preventScroll: true });
      getSelection().selectAllChildren(document.querySelector('#card-payout'));
    });
    const fresh = { ...status.recent_shares[0], hash: `00000${'c'.repeat(59)}`, share_height: 1236, timestamp: status.time };
    status.recent_shares = [fresh, ...status.recent_shares.slice(0, -1)];
    status.tip_hash = fresh.hash;
    status.share_count = 1237;
    await nextPoll();
    await page.waitForFunction(() => document.querySelector('#card-shares').textContent.endsWith('237'));
    const after = await page.evaluate(() => ({
      kept: window.rows.slice(0, -1).every((row, index) => document.querySelector('#shares-list').children[index + 1] === row),
      gone: !window.rows.at(-1).isConnected,
      focused: document.activeElement === window.rows[3].querySelector('a'),
      selected: getSelection().toString(),
      sameText: document.querySelector('#card-payout').firstChild === window.payout,
      scrolled: document.querySelector('#shares-list').scrollTop > 0,
      rebuilt: window.changes.filter(change => change.type === 'childList').map(change => change.target.id || change.target.className),
    }));
    assert.equal(plain(after.selected), await text(page, '#card-payout'));
    delete after.selected;
    // Only the list of shares gained and lost an element.
    assert.deepEqual(after, { kept: true, gone: true, focused: true, sameText: true, scrolled: true, rebuilt: ['shares-list', 'shares-list'] });
  });

  it('touches nothing when nothing changed but ages', async () => {
    const { status } = await visit();
    await page.evaluate(() => {
      window.changes = [];
      new MutationObserver(found => window.changes.push(...found)).observe(document.body, { childList: true, subtree: true });
    });
    status.time += 5;
    await nextPoll();
    await page.waitForFunction(() => /the last (19|20)\b/.test(document.querySelector('#card-shares-note').textContent));
    assert.equal(await page.evaluate(() => window.changes.length), 0);
  });

  it('shows when the node is gone, and when it is back', async () => {
    const answers = await visit();
    server.answers = null;
    await page.clock.fastForward(NEXT_POLL_MS);
    await page.waitForSelector('#connection[data-state="offline"]');
    assert.match(await text(page, '#connection'), /^offline since \d/);
    assert.match(await text(page, '#problems'), /The node has not answered since .* The figures below are of that time\. Check that p2pool runs/);
    assert.equal(await page.title(), '✕ p2pool testnet4');
    assert.match(await text(page, '#announcement'), /^The node has not answered since/);
    assert.equal(await text(page, '#card-pool'), '7.31 TH/s');
    server.answers = answers;
    await page.clock.fastForward(NEXT_POLL_MS);
    await live(page);
    assert.match(await text(page, '#problems'), /All is well/);
    assert.equal(await page.title(), 'p2pool testnet4');
    assert.equal(await page.getAttribute('body', 'data-offline'), null);
  });

  it('says so when the node refuses', async () => {
    server.answers.status = null;
    await page?.close();
    ({ page, complaints } = await open(browser.context, server.url));
    await page.waitForSelector('#connection[data-state="offline"]');
    assert.match(await text(page, '#problems'), /The node refuses to give its figures: not found\./);
  });

  it('asks nothing but its own figures', async () => {
    await visit();
    await nextPoll();
    const asked = new Set(server.requests.filter(path => path.startsWith('/api/')));
    assert.deepEqual([...asked].sort(), ['/api/blocks', '/api/status']);
    assert.deepEqual(complaints, []);
  });
});

describe('looks', () => {
  for (const [name, viewport] of [['desktop', DESKTOP], ['phone', PHONE], ['tablet', { width: 768, height: 1024 }], ['window', { width: 1024, height: 768 }], ['small phone', { width: 340, height: 640 }]]) {
    for (const state of ['busy', 'empty']) {
      it(`nothing overflows or is cut off: ${name}, ${state}`, async () => {
        await visit(scenario(state), { viewport });
        if (state === 'busy') await page.click('#payouts-more');
        await fits(page);
        await nothingClipped(page);
      });
    }
  }

  it('colours contrast enough to be read', async () => {
    await visit();
    const ratios = await page.evaluate(() => {
      const style = getComputedStyle(document.documentElement);
      const luminance = name => {
        const parts = style.getPropertyValue(name).trim().slice(1).match(/../g).map(part => parseInt(part, 16) / 255);
        const [r, g, b] = parts.map(part => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const names = ['--text', '--muted', '--blue', '--green', '--purple', '--gold', '--red'];
      return names.map(name => [name, (luminance(name) + 0.05) / (luminance('--panel') + 0.05)]);
    });
    // WCAG 2.2, level AA.
    for (const [name, ratio] of ratios) assert.ok(ratio >= 4.5, `${name} on a panel: ${ratio.toFixed(2)}`);
  });

  it('every heading, list and control has a name, and no id is twice', async () => {
    await visit();
    const found = await page.evaluate(() => {
      const ids = [...document.querySelectorAll('[id]')].map(node => node.id);
      return {
        twice: ids.filter((id, index) => ids.indexOf(id) !== index),
        nameless: [...document.querySelectorAll('button, a, canvas, section, dialog')]
          .filter(node => !node.textContent.trim() && !node.getAttribute('aria-label') && !node.getAttribute('aria-labelledby') && !node.hidden)
          .map(node => node.outerHTML.slice(0, 80)),
        dangling: [...document.querySelectorAll('[aria-labelledby], [aria-controls]')]
          .flatMap(node => [node.getAttribute('aria-labelledby'), node.getAttribute('aria-controls')])
          .filter(id => id && !document.getElementById(id)),
      };
    });
    assert.deepEqual(found, { twice: [], nameless: [], dangling: [] });
  });
});

describe('assets', () => {
  it('are small and refer to nothing elsewhere', async () => {
    let total = 0;
    for (const name of await readdir(ASSETS)) {
      const content = await readFile(new URL(name, ASSETS), 'utf8');
      total += Buffer.byteLength(content);
      const elsewhere = (content.match(/https?:\/\/[^\s"'`]+/g) ?? []).filter(url => !url.startsWith('http://www.w3.org/'));
      assert.deepEqual(elsewhere, [], name);
      assert.ok(!/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(/.test(content), `${name} makes markup of text`);
    }
    assert.ok(total < 150_000, `${total} bytes`);
  });
});
