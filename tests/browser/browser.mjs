// A headless browser that keeps to itself, with a fresh profile.

import { createRequire } from 'node:module';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

// Installed outside this tree by run.sh.
const modules = process.env.P2POOL_BROWSER_MODULES;
if (!modules) throw new Error('P2POOL_BROWSER_MODULES is not set; start this by tests/browser/run.sh');
const { chromium } = createRequire(path.join(modules, 'package.json'))('playwright-core');

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** Nothing on a local page takes a tenth of this. */
const TIMEOUT_MS = 15000;

export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };

/** A browser; `close` also removes its profile. */
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
 * A page that remembers everything that should not happen: errors, refused scripts, dialogs, requests elsewhere.
 * `prepare(page)` comes before it is loaded.
 */
export async function open(context, url, prepare = async () => {}) {
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  await prepare(page);
  const complaints = [];
  page.on('pageerror', error => complaints.push(`error: ${error.message}`));
  page.on('console', message => {
    // A browser reports refused content, and also each answer that is no success; those are for tests to expect.
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) complaints.push(`console: ${message.text()}`);
  });
  page.on('dialog', dialog => {
    complaints.push(`a script opened a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', request => {
    if (!request.url().startsWith(new URL(url).origin)) complaints.push(`request elsewhere: ${request.url()}`);
  });
  await page.goto(url);
  return { page, complaints };
}
