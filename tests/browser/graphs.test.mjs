// The graphs, against answers made up for the purpose.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { drawn, eventually, plain, text } from './checks.mjs';
import { scenario } from './fixtures.mjs';
import { page, visit, withPage } from './visit.mjs';

withPage();

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
