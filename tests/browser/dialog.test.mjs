// Tests of the share dialog.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PHONE } from './browser.mjs';
import { dialogCloses, dialogShows, fits, nothingClipped, tabTo, text } from './checks.mjs';
import { scenario } from './fixtures.mjs';
import { violations, page, visit, withPage } from './visit.mjs';

withPage();

describe('the share dialog', () => {
  it('shows every field and links to parent and uncles', async () => {
    const responses = await visit();
    const nephew = responses.status.tree_shares.find(share => share.uncles.length > 0 && share.share_height === 1232);
    await page.click(`#shares-list a[href="#share=${nephew.hash}"]`);
    await page.waitForSelector('dialog[open] table');
    assert.equal(await text(page, '#share-title'), 'Share 1 232');
    await dialogShows(page, responses.share(nephew.hash));

    await page.click(`dialog[open] a[href="#share=${nephew.uncles[0]}"]`);
    await page.getByText('Uncle of').waitFor();
    await dialogShows(page, responses.share(nephew.uncles[0]));
    assert.equal(await text(page, '#share-badges'), 'uncle');

    await page.goBack();
    await page.waitForFunction(() => document.querySelector('#share-title').textContent.includes('232'));
    await page.click(`dialog[open] dd a[href="#share=${nephew.prev_share_hash}"]`);
    await page.waitForFunction(() => document.querySelector('#share-title').textContent.includes('231'));

    await page.click('#share-close');
    await dialogCloses(page);
    assert.deepEqual(violations, []);
  });

  it('opens from a URL, and says if the node does not have the share', async () => {
    const responses = scenario('busy');
    const hash = responses.status.tip_hash;
    await visit(responses, { path: `#share=${hash}` });
    await page.waitForSelector('dialog[open] table');
    await dialogShows(page, responses.share(hash));
    await page.evaluate(() => { location.hash = `#share=${'ab'.repeat(32)}`; });
    await page.getByText('This node does not have that share').waitFor();
  });

  it('works by keyboard and returns the focus', async () => {
    const { status } = await visit();
    await tabTo(page, '#shares-list a');
    await page.keyboard.press('Tab');
    const second = await page.evaluate(() => document.activeElement.textContent);
    assert.equal(second, status.recent_shares[1].hash);
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog[open] table');
    // Tab stays within the open dialog.
    await tabTo(page, 'dialog a[href^="#share="]');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelector('#share-title') === document.activeElement);
    await page.keyboard.press('Escape');
    await dialogCloses(page);
    assert.equal(await page.evaluate(() => document.activeElement.textContent), second);
  });

  it('fits a phone', async () => {
    const responses = scenario('busy');
    await visit(responses, { viewport: PHONE, path: `#share=${responses.status.tip_hash}` });
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
