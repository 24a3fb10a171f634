// Tests of polling: new, invalid and missing responses.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { live, plain, text } from './checks.mjs';
import { NEXT_POLL_MS, violations, nextPoll, page, server, visit, withPage } from './visit.mjs';

withPage();

describe('polling', () => {
  it('keeps elements, focus, selection and scroll position', async () => {
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
    // Only the list of shares has changed: one element added and one removed.
    assert.deepEqual(after, { kept: true, gone: true, focused: true, sameText: true, scrolled: 300, rebuilt: ['shares-list', 'shares-list'] });
  });

  it('happens five seconds after the last response', async () => {
    await visit(undefined, { prepare: blank => blank.addInitScript(() => {
      window.polls = 0;
      const { fetch } = window;
      window.fetch = path => {
        window.polls += path === '/api/v1/status';
        return fetch(path);
      };
    }) });
    const polls = () => page.evaluate(() => window.polls);
    // Each response has a number, which shows when the page has received it.
    const { status } = server.responses;
    const number = () => server.requests.filter(path => path === '/api/v1/status').length;
    Object.defineProperty(server.responses, 'status', { get: () => ({ ...status, share_count: 2000 + number() }) });
    const received = () => page.waitForFunction(() => Number(document.querySelector('#card-shares').textContent.replace(/\D/g, '')) === 2000 + window.polls, undefined, { polling: 20 });
    // From here on, only this test advances the clock.
    await page.clock.pauseAt(await page.evaluate(() => Date.now() + 60000));
    await page.clock.runFor(NEXT_POLL_MS);
    await received();
    const before = await polls();
    while (await polls() === before) await page.clock.runFor(100);
    await received();
    await page.clock.runFor(4850);
    assert.equal(await polls(), before + 1, 'it polls too early');
    await page.clock.runFor(250);
    assert.equal(await polls(), before + 2, 'it polls too late');
  });

  it('changes no elements if only ages have changed', async () => {
    const { status } = await visit();
    await page.evaluate(() => {
      window.changes = [];
      new MutationObserver(found => window.changes.push(...found)).observe(document.body, { childList: true, subtree: true });
    });
    status.time += 5;
    await nextPoll();
    await page.waitForFunction(() => /newest (19|20)\b/.test(document.querySelector('#card-shares-note').textContent));
    assert.equal(await page.evaluate(() => window.changes.length), 0);
  });

  it('shows when the node goes offline and returns', async () => {
    const responses = await visit();
    server.responses = null;
    await page.clock.fastForward(NEXT_POLL_MS);
    await page.waitForSelector('#connection[data-state="offline"]');
    assert.match(await text(page, '#connection'), /^offline since \d/);
    assert.match(await text(page, '#problems'), /The node has not responded since .* The values below are from that time\. Check that p2pool is running/);
    assert.equal(await page.title(), '✕ p2pool testnet4');
    assert.match(await text(page, '#announcement'), /^The node has not responded since/);
    assert.equal(await text(page, '#card-pool'), '7.31 TH/s');
    server.responses = responses;
    await page.clock.fastForward(NEXT_POLL_MS);
    await live(page);
    assert.match(await text(page, '#problems'), /Everything works/);
    assert.equal(await page.title(), 'p2pool testnet4');
    assert.equal(await page.getAttribute('body', 'data-offline'), null);
  });

  it('shows the valid parts of an invalid response and reports the error', async () => {
    const { status } = await visit();
    const { peers } = status;
    delete status.peers;
    status.share_count = 1237;
    await nextPoll();
    await page.waitForSelector('#connection[data-state="broken"]');
    assert.match(await text(page, '#problems'), /Part of the node’s response cannot be shown: .+ Reload this page/);
    assert.equal(await text(page, '#connection'), 'display error');
    assert.equal(await page.title(), '✕ p2pool testnet4');
    // All other parts are up to date, and there is no other notice.
    assert.equal(await page.locator('#problems li').count(), 1);
    assert.equal(await text(page, '#card-shares'), '1 237');
    assert.equal(await page.locator('#peers-list li').count(), 4);

    for (const broken of [{}, { ...status, problems: null, miners: 7 }, [], 'text', 3]) {
      server.responses = { ...server.responses, status: broken };
      await nextPoll();
      await page.waitForSelector('#connection[data-state="broken"]');
    }
    // Problems reported by the node are still shown.
    const problem = { code: 'disk_full', level: 'warning', text: 'The disk is full.', advice: '', since: null };
    server.responses = { ...server.responses, status: { ...status, problems: [problem], peers: null } };
    await nextPoll();
    await page.locator('#problems', { hasText: 'The disk is full.' }).waitFor();
    assert.match(await text(page, '#problems'), /cannot be shown: .* The disk is full\./);
    server.responses = { ...server.responses, status: { ...status, peers: peers.slice(1), share_count: 1238 } };
    await nextPoll();
    await live(page);
    assert.equal(await text(page, '#card-shares'), '1 238');
    assert.equal(await page.locator('#peers-list li').count(), 3);
    assert.match(await text(page, '#problems'), /Everything works/);
    assert.equal(await page.getAttribute('body', 'data-offline'), null);
  });

  it('reloads the page after an upgrade of the node', async () => {
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

  it('shows an error response', async () => {
    await visit({ ...server.responses, status: null }, { until: page => page.waitForSelector('#connection[data-state="offline"]') });
    assert.match(await text(page, '#problems'), /The node returned an error: not found\./);
  });

  it('requests only the status and blocks', async () => {
    await visit();
    await nextPoll();
    const requested = new Set(server.requests.filter(path => path.startsWith('/api/')));
    assert.deepEqual([...requested].sort(), ['/api/v1/blocks', '/api/v1/status']);
    assert.deepEqual(violations, []);
  });
});
