// What happens while the page stays open: new answers, wrong ones, none.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { live, plain, text } from './checks.mjs';
import { NEXT_POLL_MS, complaints, nextPoll, page, server, visit, withPage } from './visit.mjs';

withPage();

describe('refreshing', () => {
  it('keeps elements, focus, selection and scroll', async () => {
    const { status } = await visit();
    await page.evaluate(() => {
      const list = document.querySelector('#shares-list');
      scrollTo(0, 300);
      window.rows = [...list.children];
      window.payout = document.querySelector('#card-payout').firstChild;
      window.changes = [];
      new MutationObserver(found => window.changes.push(...found)).observe(document.querySelector('main'), { childList: true, characterData: true, attributes: true, subtree: true });
      list.children[3].querySelector('a').focus({ preventScroll: true });
      getSelection().selectAllChildren(document.querySelector('#card-payout'));
    });
    const fresh = { ...status.recent_shares[0], hash: `00000${'c'.repeat(59)}`, share_height: 1236, timestamp: status.time };
    status.recent_shares = [fresh, ...status.recent_shares];
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
      scrolled: scrollY,
      rebuilt: window.changes.filter(change => change.type === 'childList').map(change => change.target.id || change.target.className),
    }));
    assert.equal(plain(after.selected), await text(page, '#card-payout'));
    delete after.selected;
    // Only the list of shares gained and lost an element.
    assert.deepEqual(after, { kept: true, gone: true, focused: true, sameText: true, scrolled: 300, rebuilt: ['shares-list', 'shares-list'] });
  });

  it('is every five seconds, counted from the answer', async () => {
    await visit(undefined, { prepare: blank => blank.addInitScript(() => {
      window.asked = 0;
      const { fetch } = window;
      window.fetch = path => {
        window.asked += path === '/api/status';
        return fetch(path);
      };
    }) });
    const asked = () => page.evaluate(() => window.asked);
    // Every answer tells which one it is, so that one sees when the page has it, and with it the time of the next.
    const { status } = server.answers;
    const number = () => server.requests.filter(path => path === '/api/status').length;
    Object.defineProperty(server.answers, 'status', { get: () => ({ ...status, share_count: 2000 + number() }) });
    const answered = () => page.waitForFunction(() => Number(document.querySelector('#card-shares').textContent.replace(/\D/g, '')) === 2000 + window.asked, undefined, { polling: 20 });
    // From here on only this test moves the clock.
    await page.clock.pauseAt(await page.evaluate(() => Date.now() + 60000));
    await page.clock.runFor(NEXT_POLL_MS);
    await answered();
    const before = await asked();
    while (await asked() === before) await page.clock.runFor(100);
    await answered();
    await page.clock.runFor(4850);
    assert.equal(await asked(), before + 1, 'it asks too soon');
    await page.clock.runFor(250);
    assert.equal(await asked(), before + 2, 'it asks too late');
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

  it('shows what it can of an answer that it does not understand, says so, and goes on', async () => {
    const { status } = await visit();
    const { peers } = status;
    delete status.peers;
    status.share_count = 1237;
    await nextPoll();
    await page.waitForSelector('#connection[data-state="broken"]');
    assert.match(await text(page, '#problems'), /Some of what the node answered cannot be shown: .+ Reload this page/);
    assert.equal(await text(page, '#connection'), 'not all is shown');
    assert.equal(await page.title(), '✕ p2pool testnet4');
    // All but that part is new, and nothing else is said to be well or wrong.
    assert.equal(await page.locator('#problems li').count(), 1);
    assert.equal(await text(page, '#card-shares'), '1 237');
    assert.equal(await page.locator('#peers-list li').count(), 4);

    for (const broken of [{}, { ...status, problems: null, miners: 7 }, [], 'text', 3]) {
      server.answers = { ...server.answers, status: broken };
      await nextPoll();
      await page.waitForSelector('#connection[data-state="broken"]');
    }
    // What the node itself says is wrong is shown as well.
    const problem = { code: 'disk_full', level: 'warning', text: 'The disk is full.', advice: '', since: null };
    server.answers = { ...server.answers, status: { ...status, problems: [problem], peers: null } };
    await nextPoll();
    await page.locator('#problems', { hasText: 'The disk is full.' }).waitFor();
    assert.match(await text(page, '#problems'), /cannot be shown: .* The disk is full\./);
    server.answers = { ...server.answers, status: { ...status, peers: peers.slice(1), share_count: 1238 } };
    await nextPoll();
    await live(page);
    assert.equal(await text(page, '#card-shares'), '1 238');
    assert.equal(await page.locator('#peers-list li').count(), 3);
    assert.match(await text(page, '#problems'), /All is well/);
    assert.equal(await page.getAttribute('body', 'data-offline'), null);
  });

  it('loads itself anew when the node was upgraded', async () => {
    const { status } = await visit();
    await page.evaluate(() => { window.isOld = true; });
    await nextPoll();
    assert.equal(await page.evaluate(() => window.isOld), true);
    status.version = '9.9.9';
    const loaded = page.waitForEvent('load');
    await page.clock.fastForward(NEXT_POLL_MS);
    await loaded;
    await live(page);
    assert.equal(await page.evaluate(() => window.isOld), undefined);
    assert.match(await text(page, '#footer-node'), /p2pool 9\.9\.9/);
  });

  it('says so when the node refuses', async () => {
    await visit({ ...server.answers, status: null }, { until: page => page.waitForSelector('#connection[data-state="offline"]') });
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
