// Tests of the drawing of the sharechain.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PHONE } from './browser.mjs';
import { plain, tabTo, text } from './checks.mjs';
import { nextPoll, page, server, visit, withPage } from './visit.mjs';

withPage();

describe('the sharechain', () => {
  it('is drawn with side chains and uncles, and listed', async () => {
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
    assert.equal(await page.locator('#tree-list li', { hasText: 'side chain' }).count(), 3);
    assert.equal(await page.locator('#tree-list li', { hasText: ', uncle of ' }).count(), 5);
  });

  it('has no overlapping shares or branches', async () => {
    const { status } = await visit();
    const places = await page.evaluate(async shares => {
      const { layOut } = await import(new URL('tree.js', location.href));
      return [...layOut(shares).values()].map(({ height, lane, main_chain: main }) => ({ height, lane, main }));
    }, status.tree_shares);
    assert.equal(new Set(places.map(({ height, lane }) => `${height} ${lane}`)).size, places.length);
    assert.ok(places.every(({ lane, main }) => main === (lane === 0)));
    assert.equal(Math.max(...places.map(({ lane }) => lane)), 3);
  });

  it('is navigable by arrow keys', async () => {
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

  it('shows the newest shares, or keeps the scroll position', async () => {
    await visit(undefined, { viewport: PHONE });
    const place = () => page.evaluate(() => {
      const box = document.querySelector('#tree');
      return { left: box.scrollLeft, end: box.scrollWidth - box.clientWidth };
    });
    const { left, end } = await place();
    assert.ok(end > 300 && Math.abs(left - end) < 2);
    // Without its oldest share the drawing shifts by one step, and so does the scroll position.
    await page.evaluate(() => { document.querySelector('#tree').scrollLeft = 200; });
    const oldest = Math.min(...server.responses.status.tree_shares.map(share => share.share_height));
    server.responses.status.tree_shares = server.responses.status.tree_shares.filter(share => share.share_height > oldest);
    const nodes = await page.locator('#tree .node').count();
    await nextPoll();
    await page.waitForFunction(before => document.querySelectorAll('#tree .node').length === before - 1, nodes);
    assert.equal((await place()).left, 200 - 24);
  });
});
