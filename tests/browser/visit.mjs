// A browser and a fixture server for the tests of one file, and a new page for each test.

import { after, afterEach, before, beforeEach } from 'node:test';
import { DESKTOP, launch, open } from './browser.mjs';
import { live } from './checks.mjs';
import { serve } from './fixture-server.mjs';
import { scenario } from './fixtures.mjs';

/** Slightly longer than the interval at which the page polls. */
export const NEXT_POLL_MS = 5100;

let browser;
/** The server of the current test. */
export let server;
/** The page of the current test, once visited. */
export let page;
/** Errors and forbidden actions of the page. */
export let violations;

/** Sets up the tests of a file; `options` are the browser's. */
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

/** Opens the page with these API responses and a fake clock. Waits for live data, unless `until` waits for something else. */
export async function visit(responses = server.responses, { viewport = DESKTOP, path = '', prepare = async () => {}, until = live } = {}) {
  server.responses = responses;
  ({ page, violations } = await open(browser.context, server.url + path, async blank => {
    await blank.setViewportSize(viewport);
    await blank.clock.install();
    await prepare(blank);
  }));
  await until(page);
  return server.responses;
}

/** Lets the page poll again, and waits for the response. */
export async function nextPoll() {
  const polled = page.waitForEvent('requestfinished', request => request.url().includes('/api/v1/blocks'));
  await page.clock.fastForward(NEXT_POLL_MS);
  await polled;
}
