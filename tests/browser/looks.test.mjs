// Tests of layout and accessibility on screens of all sizes.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DESKTOP, PHONE } from './browser.mjs';
import { contrasts, eventually, fits, nothingClipped } from './checks.mjs';
import { NAMES, scenario } from './fixtures.mjs';
import { NEXT_POLL_MS, page, server, visit, withPage } from './visit.mjs';

withPage();

const SCREENS = [['desktop', DESKTOP], ['phone', PHONE], ['tablet', { width: 768, height: 1024 }], ['window', { width: 1024, height: 768 }], ['small phone', { width: 340, height: 640 }]];

describe('looks', () => {
  for (const [name, viewport] of SCREENS) {
    for (const state of NAMES) {
      it(`nothing overflows or is clipped: ${name}, ${state}`, async () => {
        await visit(scenario(state), { viewport });
        if (state === 'busy') for (const list of ['payouts', 'shares']) await page.click(`#${list}-more`);
        await fits(page);
        await nothingClipped(page);
        const lines = await page.locator('.cards-main .value').evaluateAll(nodes => nodes.map(node => Math.round(node.clientHeight / parseFloat(getComputedStyle(node).lineHeight))));
        assert.deepEqual(lines, [1, 1, 1], 'the main values fit in one line');
      });
    }
  }

  // WCAG 2.2, level AA.
  const readable = list => assert.ok(list.length > 100 && list[0].ratio >= 4.5, `${list.length} texts; ${list[0].ratio.toFixed(2)}: ${list[0].text}`);

  it('text has enough contrast, also when outdated', async () => {
    await visit();
    readable(await contrasts(page));
    server.responses = null;
    await page.clock.fastForward(NEXT_POLL_MS);
    await page.waitForSelector('#connection[data-state="offline"]');
    readable(await contrasts(page));
    // Outdated values look different.
    assert.notEqual(await page.evaluate(() => getComputedStyle(document.querySelector('#overview')).filter), 'none');
  });

  for (const [name, viewport] of [['desktop', DESKTOP], ['phone', PHONE]]) {
    it(`targets are large enough: ${name}`, async () => {
      await visit(scenario('busy'), { viewport });
      await page.click('#tree-details summary');
      const small = scope => page.evaluate(within => [...document.querySelectorAll(`${within} :is(a, button, summary, label, [tabindex="0"])`)]
        .filter(node => node.checkVisibility() && !node.matches('.skip'))
        .map(node => ({ box: (node.querySelector('.hit') ?? node).getBoundingClientRect(), name: node.outerHTML.slice(0, 80) }))
        // WCAG 2.2, 2.5.8.
        .filter(({ box }) => Math.min(box.width, box.height) < 23.99)
        .map(({ box, name }) => `${box.width} × ${box.height}: ${name}`), scope);
      assert.deepEqual(await small('body'), []);
      await page.click('#shares-list a');
      await page.waitForSelector('dialog[open] table');
      assert.deepEqual(await small('dialog[open]'), []);
    });

    it(`no box scrolls vertically within the page: ${name}`, async () => {
      await visit(scenario('busy'), { viewport });
      await page.click('#shares-more');
      const boxes = await page.evaluate(() => [...document.querySelectorAll('main *')]
        .filter(node => ['auto', 'scroll'].includes(getComputedStyle(node).overflowY) && node.scrollHeight > node.clientHeight + 1)
        .map(node => node.id || node.className));
      assert.deepEqual(boxes, []);
    });
  }

  for (const [name, viewport] of SCREENS) {
    it(`section links stay visible in one line and do not cover their targets: ${name}`, async () => {
      await visit(scenario('busy'), { viewport });
      const links = page.locator('nav a:visible');
      assert.deepEqual((await links.allTextContents()).slice(-6), ['Chain', 'Miners', 'Payouts', 'Blocks', 'Shares', 'Peers']);
      await links.filter({ hasText: 'Payouts' }).click();
      await eventually(async () => {
        const { tops, left, right, bar, title } = await page.evaluate(() => {
          const boxes = [...document.querySelectorAll('nav a')].filter(node => node.checkVisibility()).map(node => node.getBoundingClientRect());
          const bottom = selector => document.querySelector(selector).getBoundingClientRect();
          return { tops: boxes.map(box => box.top), left: boxes[0].left, right: boxes.at(-1).right, bar: bottom('.top').bottom, title: bottom('#payouts-title').top };
        });
        assert.equal(new Set(tops).size, 1, `lines at ${tops}`);
        assert.ok(tops[0] >= 0 && left >= 0 && right <= viewport.width, `links at ${tops[0]}, from ${left} to ${right}`);
        assert.ok(title >= bar && title < bar + 60, `the heading is at ${title}, the links end at ${bar}`);
      });
    });
  }

  it('the page has one first-level heading, and no skipped levels', async () => {
    await visit();
    const levels = await page.evaluate(() => [...document.querySelectorAll('h1, h2, h3')].filter(node => !node.closest('dialog')).map(node => Number(node.tagName[1])));
    assert.deepEqual(levels.filter(level => level === 1), [1]);
    assert.equal(levels[0], 1);
    levels.slice(1).forEach((level, index) => assert.ok(level <= levels[index] + 1, `${levels}`));
  });

  it('every control has a name, and ids are unique', async () => {
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
