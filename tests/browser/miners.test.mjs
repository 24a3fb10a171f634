// Tests of the table of miners.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DESKTOP, PHONE } from './browser.mjs';
import { fits, nothingClipped, plain, text } from './checks.mjs';
import { scenario } from './fixtures.mjs';
import { violations, nextPoll, page, server, visit, withPage } from './visit.mjs';

withPage();

/** A scenario with `count` equal miners, each changed by `change(miner, number)`. */
function withMiners(count, change = () => ({})) {
  const responses = scenario('busy');
  const [model] = responses.status.miners;
  responses.status.miners = Array.from({ length: count }, (_, index) => ({ ...model, worker: `rig-${index + 1}`, ...change(model, index + 1) }));
  responses.status.miner_count = count;
  return responses;
}

const workers = () => page.locator('#miners-body .worker').allTextContents();
const silent = () => page.locator('#miners-body tr:has(.silent:visible) .worker').allTextContents();

describe('miners', () => {
  it('are in natural order, and all are shown on request', async () => {
    await visit(withMiners(25));
    assert.deepEqual(await workers(), Array.from({ length: 12 }, (_, index) => `rig-${index + 1}`));
    assert.equal(plain(await page.locator('#miners-more').textContent()), 'Show all 25');
    await page.click('#miners-more');
    assert.deepEqual(await workers(), Array.from({ length: 25 }, (_, index) => `rig-${index + 1}`));
    // They stay expanded after a poll.
    await nextPoll();
    assert.equal((await workers()).length, 25);
    assert.equal(await page.locator('#miners-more').getAttribute('aria-expanded'), 'true');
    await page.click('#miners-more');
    assert.equal((await workers()).length, 12);
    assert.deepEqual(violations, []);
  });

  it('that need attention come first, with a text', async () => {
    const { time } = scenario('busy').status;
    await visit(withMiners(25, (_, number) => ({ 20: { last_share_time: time - 4000 }, 23: { coinbase_too_large: true } })[number]));
    assert.deepEqual((await workers()).slice(0, 3), ['rig-20', 'rig-23', 'rig-1']);
    assert.deepEqual(await silent(), ['rig-20']);
    assert.match(await text(page, '#miners-body .silent:visible'), /^⚠ Silent for 1 h/);
    assert.match(await text(page, '#miners-note'), /^25 sessions, 1\.24 TH\/s; ⚠ 2 need attention$/);
    assert.match(await text(page, '#problems'), /1 miner is connected, but silent: rig-20\./);
    assert.ok(!(await text(page, '#problems')).includes('Everything works'));
  });

  it('are silent only if chance does not explain it', async () => {
    await visit();
    const { time } = server.responses.status;
    // The mean pause is 15 s, both by shares and by difficulty and hash rate.
    const usual = { shares: 1000, connected_secs: 15000, hashrate: 2 ** 32, difficulty: 15, last_share_time: time - 5 };
    const cases = [
      [usual, null],
      [{ ...usual, last_share_time: time - 170 }, null],
      [{ ...usual, last_share_time: time - 300 }, 300],
      // A slower miner with longer pauses.
      [{ ...usual, shares: 100, last_share_time: time - 300 }, null],
      [{ ...usual, shares: 100, last_share_time: time - 2400 }, 2400],
      // Its estimated hash rate has fallen to zero.
      [{ ...usual, hashrate: 0, last_share_time: time - 3000 }, 3000],
      // Without any share: silent after a while.
      [{ ...usual, shares: 0, hashrate: 0, last_share_time: null, connected_secs: 170 }, null],
      [{ ...usual, shares: 0, hashrate: 0, last_share_time: null, connected_secs: 400 }, 400],
      // A new session counts for itself.
      [{ ...usual, shares: 0, connected_secs: 20, last_share_time: time - 3000 }, null],
    ];
    const found = await page.evaluate(async ([miners, now]) => {
      const { silentFor } = await import(new URL('silence.js', location.href));
      return { with: miners.map(miner => silentFor(miner, { coinbase_value: 1 }, now)), without: miners.map(miner => silentFor(miner, { coinbase_value: null }, now)) };
    }, [cases.map(([miner]) => miner), time]);
    assert.deepEqual(found.with, cases.map(([, wanted]) => wanted));
    assert.deepEqual(found.without, cases.map(() => null), 'without work no miner is silent');
  });

  it('without a name are labelled so', async () => {
    await visit(withMiners(2, (_, number) => (number === 1 ? { worker: '' } : {})));
    assert.deepEqual(await workers(), ['(no name)', 'rig-2']);
  });

  for (const [name, viewport, screens] of [['desktop', DESKTOP, 1.2], ['phone', PHONE, 2]]) {
    it(`take limited space when there are many: ${name}`, async () => {
      await visit(withMiners(25), { viewport });
      const { height } = await page.locator('#miners').boundingBox();
      assert.ok(height < screens * viewport.height, `${height} pixels high`);
      await page.click('#miners-more');
      await fits(page);
      await nothingClipped(page);
    });
  }
});
