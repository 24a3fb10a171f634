// Takes the pictures that the README shows, of a running node:
//
//   P2POOL_BROWSER_MODULES=... node tests/browser/screenshots.mjs URL FOLDER

import path from 'node:path';
import { launch, open } from './browser.mjs';
import { live } from './checks.mjs';

/** What one sees first; on the desktop's with some of what is below it. */
const PICTURES = [
  { name: 'desktop', viewport: { width: 1280, height: 1400 }, scale: 1 },
  { name: 'phone', viewport: { width: 390, height: 844 }, scale: 2 },
];

const [url, folder] = process.argv.slice(2);
if (!url || !folder) throw new Error('usage: screenshots.mjs URL FOLDER');
for (const { name, viewport, scale } of PICTURES) {
  const browser = await launch(viewport, { deviceScaleFactor: scale });
  try {
    const { page } = await open(browser.context, url);
    await live(page);
    await page.screenshot({ path: path.join(folder, `${name}.png`) });
  } finally {
    await browser.close();
  }
}
