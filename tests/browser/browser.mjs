// A headless browser with a new profile and without background traffic.

import { createRequire } from 'node:module';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

// Installed outside this tree by run.sh.
const modules = process.env.P2POOL_BROWSER_MODULES;
if (!modules) throw new Error('P2POOL_BROWSER_MODULES is not set: run tests/browser/run.sh');
const { chromium } = createRequire(path.join(modules, 'package.json'))('playwright-core');

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** Timeout for anything on a local page. */
const TIMEOUT_MS = 15000;

export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };

/** Starts a browser; `close` also removes its profile. */
export async function launch(viewport = DESKTOP, options = {}) {
  const profile = await mkdtemp(path.join(tmpdir(), 'p2pool-browser-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.P2POOL_CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: FLAGS,
    viewport,
    ...options,
  });
  return {
    context,
    close: async () => {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}

/**
 * Opens a page and records what must not happen: errors, blocked content, dialogs, requests to other origins.
 * `prepare(page)` runs before the page is loaded.
 */
export async function open(context, url, prepare = async () => {}) {
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  await prepare(page);
  const violations = [];
  page.on('pageerror', error => violations.push(`error: ${error.message}`));
  page.on('console', message => {
    // Blocked content is reported here, but so are HTTP errors, which some tests expect.
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) violations.push(`console: ${message.text()}`);
  });
  page.on('dialog', dialog => {
    violations.push(`a script opened a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', request => {
    if (!request.url().startsWith(new URL(url).origin)) violations.push(`request to another origin: ${request.url()}`);
  });
  await page.goto(url);
  return { page, violations };
}
