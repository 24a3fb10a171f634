// The owner's own miners: who needs to be looked at is seen first, however many there are.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DESKTOP, PHONE } from './browser.mjs';
import { fits, nothingClipped, plain, text } from './checks.mjs';
import { scenario } from './fixtures.mjs';
import { complaints, nextPoll, page, server, visit, withPage } from './visit.mjs';

withPage();

/** A pool with so many equal miners, each changed by `change(miner, number)`. */
function withMiners(count, change = () => ({})) {
  const answers = scenario('busy');
  const [model] = answers.status.miners;
  answers.status.miners = Array.from({ length: count }, (_, index) => ({ ...model, worker: `rig-${index + 1}`, ...change(model, index + 1) }));
  answers.status.miner_count = count;
  return answers;
}

const workers = () => page.locator('#miners-body .worker').allTextContents();
const silent = () => page.locator('#miners-body tr:has(.silent:visible) .worker').allTextContents();

describe('miners', () => {
  it('stand as people count, and all are shown when asked for', async () => {
    await visit(withMiners(25));
    assert.deepEqual(await workers(), Array.from({ length: 12 }, (_, index) => `rig-${index + 1}`));
    assert.equal(plain(await page.locator('#miners-more').textContent()), 'Show all 25');
    await page.click('#miners-more');
    assert.deepEqual(await workers(), Array.from({ length: 25 }, (_, index) => `rig-${index + 1}`));
    // They stay when new figures come.
    await nextPoll();
    assert.equal((await workers()).length, 25);
    assert.equal(await page.locator('#miners-more').getAttribute('aria-expanded'), 'true');
    await page.click('#miners-more');
    assert.equal((await workers()).length, 12);
    assert.deepEqual(complaints, []);
  });

  it('that need a look come first, marked by words', async () => {
    const { time } = scenario('busy').status;
    await visit(withMiners(25, (_, number) => ({ 20: { last_share_time: time - 4000 }, 23: { coinbase_too_large: true } })[number]));
    assert.deepEqual((await workers()).slice(0, 3), ['rig-20', 'rig-23', 'rig-1']);
    assert.deepEqual(await silent(), ['rig-20']);
    assert.match(await text(page, '#miners-body .silent:visible'), /^⚠ Silent for 1 h/);
    assert.match(await text(page, '#miners-note'), /^25 sessions, 1\.24 TH\/s; ⚠ 2 to look at$/);
    assert.match(await text(page, '#problems'), /1 miner connected, but silent: rig-20\./);
    assert.ok(!(await text(page, '#problems')).includes('All is well'));
  });

  it('are silent only when chance does not explain it', async () => {
    await visit();
    const { time } = server.answers.status;
    // A mean pause of 15 s by what was found, and of 15 s by difficulty and hash rate.
    const usual = { shares: 1000, connected_secs: 15000, hashrate: 2 ** 32, difficulty: 15, last_share_time: time - 5 };
    const cases = [
      [usual, null],
      [{ ...usual, last_share_time: time - 170 }, null],
      [{ ...usual, last_share_time: time - 300 }, 300],
      // A weaker one, whose pauses are long.
      [{ ...usual, shares: 100, last_share_time: time - 300 }, null],
      [{ ...usual, shares: 100, last_share_time: time - 2400 }, 2400],
      // The estimate of its rate has fallen to nothing meanwhile.
      [{ ...usual, hashrate: 0, last_share_time: time - 3000 }, 3000],
      // It never found one: told when it is connected for long enough.
      [{ ...usual, shares: 0, hashrate: 0, last_share_time: null, connected_secs: 170 }, null],
      [{ ...usual, shares: 0, hashrate: 0, last_share_time: null, connected_secs: 400 }, 400],
      // A session that is new answers for itself alone.
      [{ ...usual, shares: 0, connected_secs: 20, last_share_time: time - 3000 }, null],
    ];
    const found = await page.evaluate(async ([miners, now]) => {
      const { silentFor } = await import(new URL('silence.js', location.href));
      return { with: miners.map(miner => silentFor(miner, { coinbase_value: 1 }, now)), without: miners.map(miner => silentFor(miner, { coinbase_value: null }, now)) };
    }, [cases.map(([miner]) => miner), time]);
    assert.deepEqual(found.with, cases.map(([, wanted]) => wanted));
    assert.deepEqual(found.without, cases.map(() => null), 'without work nobody is to blame');
  });

  it('without a name are called so', async () => {
    await visit(withMiners(2, (_, number) => (number === 1 ? { worker: '' } : {})));
    assert.deepEqual(await workers(), ['(no name)', 'rig-2']);
  });

  for (const [name, viewport, screens] of [['desktop', DESKTOP, 1.2], ['phone', PHONE, 2]]) {
    it(`do not bury the page when there are many: ${name}`, async () => {
      await visit(withMiners(25), { viewport });
      const { height } = await page.locator('#miners').boundingBox();
      assert.ok(height < screens * viewport.height, `${height} pixels high`);
      await page.click('#miners-more');
      await fits(page);
      await nothingClipped(page);
    });
  }
});
