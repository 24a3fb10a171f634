// A browser and a server of made-up answers for the tests of one file, and a fresh page for each of them.

import { after, afterEach, before, beforeEach } from 'node:test';
import { DESKTOP, launch, open } from './browser.mjs';
import { live } from './checks.mjs';
import { serve } from './fixture-server.mjs';
import { scenario } from './fixtures.mjs';

/** More than the page's own pause between questions. */
export const NEXT_POLL_MS = 5100;

let browser;
/** What answers the page of this test. */
export let server;
/** The page of this test, once it is visited. */
export let page;
/** All that should not have happened on it. */
export let complaints;

/** Prepares every test of the file; `options` are the browser's. */
export function withPage(options = {}) {
  before(async () => {
    browser = await launch(DESKTOP, options);
  });
  after(() => browser?.close());
  beforeEach(async () => {
    server = await serve(scenario('busy'));
  });
  afterEach(async () => {
    await page?.close();
    await server.close();
  });
}

/** Opens the page with `answers`; its clock can be put forward. Waits for figures, unless `until` says for what. */
export async function visit(answers = server.answers, { viewport = DESKTOP, path = '', prepare = async () => {}, until = live } = {}) {
  server.answers = answers;
  ({ page, complaints } = await open(browser.context, server.url + path, async blank => {
    await blank.setViewportSize(viewport);
    await blank.clock.install();
    await prepare(blank);
  }));
  await until(page);
  return server.answers;
}

/** Lets the page ask again, and waits until it has the answer. */
export async function nextPoll() {
  const asked = page.waitForEvent('requestfinished', request => request.url().includes('/api/blocks'));
  await page.clock.fastForward(NEXT_POLL_MS);
  await asked;
}
