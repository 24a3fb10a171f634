// Tests of local times, in a time zone with an offset of five and a half hours.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { eventually, plain, text } from './checks.mjs';
import { scenario } from './fixtures.mjs';
import { NEXT_POLL_MS, nextPoll, page, server, visit, withPage } from './visit.mjs';

withPage({ timezoneId: 'Asia/Kolkata', locale: 'en-GB' });

/** 2023-11-14 22:13:20 UTC. */
const THEN = 1700000000;

describe('times', () => {
  it('are local, with a date unless it is today', async () => {
    await visit();
    const written = await page.evaluate(async then => {
      const { axisTime, clock, fullTime, moment } = await import(new URL('format.js', location.href));
      return [clock(then), fullTime(then), moment(then, then + 60), moment(then, then + 72000), moment(then, then + 80000), axisTime(then, 3600), axisTime(then, 30 * 86400)];
    }, THEN);
    assert.deepEqual(written.map(plain), ['03:43:20', '15 Nov 2023, 03:43:20', '03:43:20', '03:43:20', '15 Nov 2023, 03:43:20', '03:43', '15 Nov']);
  });

  it('of problems and shares include the date', async () => {
    const responses = scenario('empty');
    responses.status.problems[0].since = THEN;
    responses.status.recent_shares = [{ ...scenario('busy').status.recent_shares[0], timestamp: THEN }];
    await visit(responses);
    assert.match(await text(page, '#problems'), /Since 15 Nov 2023, 03:43:20 \(\d+ (d|years)/);
    assert.match(await text(page, '#shares-list time'), /^15 Nov 2023, 03:43:20, \d+ (d|years) ago$/);
  });

  it('of a node that is offline for days include the date', async () => {
    const { status } = await visit();
    await nextPoll();
    const respondedAt = await page.evaluate(() => Date.now() / 1000);
    server.responses = null;
    await page.clock.fastForward(NEXT_POLL_MS);
    await page.waitForSelector('#connection[data-state="offline"]');
    await page.clock.fastForward(72 * 3600 * 1000);
    const day = await page.evaluate(async then => (await import(new URL('format.js', location.href))).fullTime(then).split(',')[0], respondedAt);
    await eventually(async () => {
      assert.ok((await text(page, '#connection')).startsWith(`offline since ${plain(day)}, `), await text(page, '#connection'));
      assert.ok((await text(page, '#problems')).includes(`has not responded since ${plain(day)}, `));
    });
    assert.ok(status.time > THEN);
  });
});
