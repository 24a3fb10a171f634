// Whether all of it can be seen, read and reached, on screens of all sizes.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DESKTOP, PHONE } from './browser.mjs';
import { fits, nothingClipped } from './checks.mjs';
import { scenario } from './fixtures.mjs';
import { page, visit, withPage } from './visit.mjs';

withPage();

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
