// One share in full.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PHONE } from './browser.mjs';
import { dialogCloses, dialogShows, fits, nothingClipped, tabTo, text } from './checks.mjs';
import { scenario } from './fixtures.mjs';
import { complaints, page, visit, withPage } from './visit.mjs';

withPage();

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
