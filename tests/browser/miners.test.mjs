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
    const attention = { needs_attention: true };
    await visit(withMiners(25, (_, number) => ({
      20: { ...attention, silent_secs: 4000 },
      22: { ...attention, named_address: 'mistyped' },
      23: { ...attention, coinbase_too_large: true },
    })[number]));
    assert.deepEqual((await workers()).slice(0, 4), ['rig-20', 'rig-22', 'rig-23', 'rig-1']);
    assert.deepEqual(await silent(), ['rig-20']);
    assert.match(await text(page, '#miners-body .silent:visible'), /^⚠ Silent for 1 h/);
    assert.match(await text(page, '#miners-body .address:visible'), /^⚠ The user name has a mistyped address\./);
    assert.match(await text(page, '#miners-note'), /^25 sessions, 1\.24 TH\/s; ⚠ 3 need attention$/);
  });

  it('are judged by the node alone', async () => {
    const { time } = scenario('busy').status;
    // The page has no opinion of its own on a share that is days old.
    await visit(withMiners(3, () => ({ last_share_time: time - 400000 })));
    assert.deepEqual(await silent(), []);
    assert.match(await text(page, '#problems'), /Everything works/);
  });

  it('that are gone are listed: those that need attention first, retired ones last', async () => {
    const responses = withMiners(2);
    const gone = (worker, secs, needs) => ({ worker, user_agent: 'bitaxe', hashrate: 1e12, last_share_time: responses.status.time - secs - 9, last_seen_time: responses.status.time - secs, gone_secs: secs, needs_attention: needs });
    responses.status.gone_miners = [gone('<b>dead</b>', 7300, true), gone('retired', 200000, false)];
    responses.status.gone_count = 1;
    responses.status.problems = [{ code: 'miners_gone', level: 'warning', text: 'No longer connected: <b>dead</b>.', advice: 'Check their power.', since: null }];
    await visit(responses);
    assert.deepEqual(await workers(), ['<b>dead</b>', 'rig-1', 'rig-2', 'retired']);
    const lines = await page.locator('#miners-body .gone:visible').allTextContents();
    assert.deepEqual(lines.map(plain), ['⚠ Gone for 2 h: not connected.', 'Gone for 2 d: not connected.']);
    assert.match(await text(page, '#miners-note'), /^2 sessions, 1\.24 TH\/s; 2 gone; ⚠ 1 needs attention$/);
    assert.ok(!(await text(page, '#problems')).includes('Everything works'));
    // It comes back.
    responses.status.gone_miners = [];
    await nextPoll();
    assert.deepEqual(await workers(), ['rig-1', 'rig-2']);
    assert.deepEqual(violations, []);
  });

  it('that are gone are listed even if no miner is connected', async () => {
    const responses = withMiners(0);
    responses.status.gone_miners = [{ worker: 'dead', user_agent: '', hashrate: 0, last_share_time: null, last_seen_time: 1, gone_secs: 400, needs_attention: true }];
    await visit(responses);
    assert.deepEqual(await workers(), ['dead']);
    assert.match(await text(page, '#miners-empty'), new RegExp(`with user name ${responses.status.our_address}\\.name and any password\\.$`));
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
