// Tests of the graphs, with fixtures.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { drawn, eventually, plain, tabTo, text } from './checks.mjs';
import { scenario } from './fixtures.mjs';
import { nextPoll, page, visit, withPage } from './visit.mjs';

withPage();

describe('graphs', () => {
  it('are drawn for the chosen time range', async () => {
    await visit();
    for (const name of ['pool', 'local', 'shares']) {
      const picture = await drawn(page, `#graph-${name} canvas`);
      assert.ok(picture.part > 0.05, `${name}: ${picture.pixels} pixels`);
      assert.match(await page.getAttribute(`#graph-${name} canvas`, 'aria-label'), /now /);
    }
    const before = await drawn(page, '#graph-pool canvas');
    let last = before.sum;
    for (const [label, window] of [['1 hour', '1h'], ['1 day', '1d'], ['7 days', '7d'], ['30 days', '30d']]) {
      const response = page.waitForResponse(received => received.url().endsWith(`/api/v1/history?window=${window}`));
      await page.getByText(label, { exact: true }).click();
      await response;
      await eventually(async () => assert.notEqual((await drawn(page, '#graph-pool canvas')).sum, last, window));
      last = (await drawn(page, '#graph-pool canvas')).sum;
    }
    await page.getByText('live', { exact: true }).last().click();
    assert.equal((await drawn(page, '#graph-pool canvas')).sum, before.sum);
  });

  it('without points are empty and say so', async () => {
    await visit(scenario('empty'));
    assert.equal((await drawn(page, '#graph-pool canvas')).pixels, 0);
    assert.equal(await text(page, '#graph-pool .note'), 'The first point appears within seconds.');
  });

  it('have gaps where the node was off', async () => {
    const responses = scenario('busy');
    responses.status.history = responses.status.history.filter((_, index) => index < 20 || index >= 40).map(point => ({ ...point, ph: 5e12 }));
    await visit(responses);
    // Only the line has this colour; the gap is in the middle.
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

  it('show the value at the pointer', async () => {
    const { status } = await visit();
    const box = await page.locator('#graph-pool canvas').boundingBox();
    await page.mouse.move(box.x + 62, box.y + 50);
    const first = await page.evaluate(async value => (await import(new URL('format.js', location.href))).hashrate(value), status.history[0].ph);
    assert.ok((await text(page, '#graph-pool .readout')).startsWith(`${plain(first)} at `));
  });

  /** Returns the first and last column in which the line or a dot is drawn, as fractions of the plot's width. */
  const inked = name => page.evaluate(id => {
    const canvas = document.querySelector(`#graph-${id} canvas`);
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const [left, right, bottom] = [62, canvas.width - 10, canvas.height - 22];
    // Grid lines are dimmer than the line and its mark.
    const isInk = (x, y) => data[(y * canvas.width + x) * 4 + 3] > 200 && Math.max(...data.slice((y * canvas.width + x) * 4, (y * canvas.width + x) * 4 + 3)) > 150;
    const columns = [];
    for (let x = left; x < canvas.width; x += 1) {
      if (Array.from({ length: bottom }, (_, y) => y).some(y => isInk(x, y))) columns.push((x - left) / (right - left));
    }
    return { first: columns[0], last: columns.at(-1) };
  }, name);

  it('place points at their time within the range', async () => {
    const responses = scenario('busy');
    const { time } = responses.status;
    const point = (age, ph) => ({ t: time - age, ph, lh: 1e9, shares: 7, miners: 1, peers: 1 });
    // Two points, ten minutes apart, at the end of a day.
    responses.history = window => ({ window, step_secs: 600, points: [point(600, 4e11), point(0, 6e11)] });
    await visit(responses);
    await page.getByText('1 day', { exact: true }).click();
    await eventually(async () => {
      const { first, last } = await inked('pool');
      assert.ok(first > 0.96 && first < 0.995 && last > 0.99, `from ${first} to ${last}`);
    });
    assert.equal(await text(page, '#graph-pool .note'), 'min 400 GH/s · mean 500 GH/s · max 600 GH/s');
  });

  it('draw a single point as a dot', async () => {
    const responses = scenario('busy');
    const { time } = responses.status;
    responses.history = window => ({ window, step_secs: 14400, points: [{ t: time - 1296000, ph: 238e3, lh: 0, shares: 7, miners: 1, peers: 1 }] });
    await visit(responses);
    await page.getByText('30 days', { exact: true }).click();
    await eventually(async () => {
      const { first, last } = await inked('pool');
      assert.ok(first > 0.47 && last < 0.53, `from ${first} to ${last}`);
    });
    assert.equal(await text(page, '#graph-pool .readout'), '238 kH/s');
    assert.match(await text(page, '#graph-pool .note'), /^one point so far, at /);
    assert.ok(!/No data/.test(await text(page, '.graphs')));
    responses.history = window => ({ window, step_secs: 3600, points: [] });
    await page.getByText('7 days', { exact: true }).click();
    await eventually(async () => assert.equal(await text(page, '#graph-pool .note'), 'No data for this time range yet.'));
    assert.equal((await drawn(page, '#graph-pool canvas')).pixels, 0);
    assert.equal(await text(page, '#graph-pool .readout'), '');
  });

  it('have one unit per axis', async () => {
    await visit();
    const axes = await page.evaluate(async () => {
      const [{ hashrateAxis }, { niceTicks }] = await Promise.all(['format.js', 'graphs.js'].map(name => import(new URL(name, location.href))));
      return [[0, 1.5e12], [0, 1e5], [0, 9.4e5], [0, 7e12], [0, 2.5e3], [0, 3]].map(([low, high]) => {
        const ticks = niceTicks(low, high, false);
        return ticks.map(hashrateAxis(ticks.at(-1), ticks[1] - ticks[0])).join(' ');
      });
    });
    assert.deepEqual(axes.map(plain), [
      '0 TH/s 0.5 TH/s 1.0 TH/s 1.5 TH/s', '0 kH/s 25 kH/s 50 kH/s 75 kH/s 100 kH/s', '0 MH/s 0.25 MH/s 0.50 MH/s 0.75 MH/s 1.00 MH/s', '0 TH/s 2 TH/s 4 TH/s 6 TH/s 8 TH/s',
      '0 kH/s 1 kH/s 2 kH/s 3 kH/s', '0 H/s 1 H/s 2 H/s 3 H/s',
    ]);
  });

  it('show values by arrow keys', async () => {
    const { status } = await visit();
    await tabTo(page, '#graph-pool canvas');
    const rate = value => page.evaluate(async number => (await import(new URL('format.js', location.href))).hashrate(number), value).then(plain);
    const canvas = page.locator('#graph-pool canvas');
    await page.keyboard.press('ArrowLeft');
    assert.ok((await text(page, '#graph-pool .readout')).startsWith(`${await rate(status.history[58].ph)} at `));
    assert.equal(await canvas.getAttribute('aria-valuenow'), '59');
    await page.keyboard.press('Home');
    assert.ok(plain(await canvas.getAttribute('aria-valuetext')).startsWith(`${await rate(status.history[0].ph)} at `));
    // The selection survives a poll.
    await nextPoll();
    assert.equal(await canvas.getAttribute('aria-valuenow'), '1');
    await page.keyboard.press('Tab');
    assert.equal(await text(page, '#graph-pool .readout'), await rate(status.history[59].ph));
  });
});
