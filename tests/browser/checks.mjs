// What must hold of the page, whatever the node behind it.

import assert from 'node:assert/strict';

/** Waits until the page has shown figures of the node. */
export async function live(page) {
  await page.waitForSelector('#connection[data-state="live"]');
}

/** Tries until the assertion holds; after some seconds it fails as the last time. */
export async function eventually(assertion, timeoutMs = 15000) {
  const end = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await assertion();
    } catch (error) {
      if (Date.now() > end) throw error;
    }
    await new Promise(resume => setTimeout(resume, 50));
  }
}

/** The text of an element, with all its spaces plain. */
export async function text(page, selector) {
  return plain(await page.locator(selector).first().textContent());
}

export const plain = string => string.replace(/[\u00a0\u202f]/g, ' ').replace(/\s+/g, ' ').trim();

/** How many pixels of a canvas have any colour, and a sum that differs for different pictures. */
export function drawn(page, selector) {
  return page.evaluate(canvasSelector => {
    const canvas = document.querySelector(canvasSelector);
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let pixels = 0;
    let sum = 0;
    for (let i = 0; i < data.length; i += 4) {
      if (data[i + 3] > 0) pixels += 1;
      sum = (sum * 31 + data[i] + data[i + 1] * 3 + data[i + 2] * 7 + data[i + 3]) % 1000000007;
    }
    return { pixels, part: pixels / (canvas.width * canvas.height), sum };
  }, selector);
}

/** No part of the page sticks out at the sides, but inside boxes that scroll. */
export async function fits(page) {
  const { width, wide, out } = await page.evaluate(() => {
    const visible = document.documentElement.clientWidth;
    const scrolls = node => {
      for (let parent = node; parent && parent !== document.body; parent = parent.parentElement) {
        if (['auto', 'scroll'].includes(getComputedStyle(parent).overflowX)) return true;
        if (parent.classList.contains('only-read') || parent.tagName === 'THEAD') return true;
      }
      return false;
    };
    const out = [...document.querySelectorAll('body *')]
      .filter(node => {
        const box = node.getBoundingClientRect();
        return box.width > 0 && (box.right > visible + 0.5 || box.left < -0.5) && !scrolls(node) && !node.parentElement.closest('svg');
      })
      .map(node => `${node.tagName}.${node.className} ${node.textContent.slice(0, 40)}`);
    return { width: visible, wide: document.documentElement.scrollWidth, out };
  });
  assert.ok(wide <= width, `the page is ${wide} wide on a screen of ${width}`);
  assert.deepEqual(out, []);
}

/** No text is cut off by its own box. */
export async function nothingClipped(page) {
  const clipped = await page.evaluate(() => [...document.querySelectorAll('main *, footer *, header *, dialog[open] *')]
    .filter(node => [...node.childNodes].some(child => child.nodeType === Node.TEXT_NODE && child.data.trim() !== ''))
    .filter(node => !node.closest('svg, .only-read, thead') && getComputedStyle(node).display !== 'inline')
    .filter(node => node.scrollWidth > node.clientWidth + 1)
    .map(node => `${node.tagName}.${node.className}: ${node.textContent.slice(0, 60)}`));
  assert.deepEqual(clipped, []);
}

/** Cards show what /api/status says, in the page's own format. */
export async function cardsMatch(page, status) {
  const wanted = await page.evaluate(async figures => {
    const format = await import(new URL('format.js', location.href));
    return {
      local: format.hashrate(figures.local_hashrate),
      pool: format.hashrate(figures.pool_hashrate),
      shares: format.count(figures.share_count),
      difficulty: format.difficulty(figures.difficulty),
      miners: format.count(figures.miner_count),
      peers: format.count(figures.peer_count),
      eta: format.duration(figures.est_time_to_block),
      payout: figures.coinbase_value === null ? format.NONE : format.btc(figures.our_payout_without_fee),
    };
  }, status);
  for (const [name, value] of Object.entries(wanted)) {
    assert.equal(await text(page, `#card-${name}`), plain(value), `card ${name}`);
  }
}

/** The open dialog shows every field of the share. */
export async function dialogShows(page, share) {
  const body = plain(await page.locator('dialog[open]').innerText());
  const { header, info } = share;
  const hex = number => (number >>> 0).toString(16).padStart(8, '0');
  const whole = [share.hash, share.miner, info.parent, ...info.uncles, ...share.children, share.named_by, header.raw, header.prev_block, header.merkle_root,
    hex(header.version), header.bits, hex(header.nonce), header.time, info.share_bits, info.coinbase_tag, info.payout_script, share.extranonce,
    info.witness_commitment, ...share.merkle_branch, ...(share.payouts ?? []).map(payout => payout.address)];
  for (const value of whole.filter(value => value !== null && value !== '')) {
    assert.ok(body.includes(String(value)), `the dialog lacks ${value}`);
  }
}

/** Waits until no share is shown, and the address says so: a browser tells of a closed dialog a moment later. */
export async function dialogCloses(page) {
  await page.waitForFunction(() => document.querySelector('dialog[open]') === null && location.hash === '');
}

/** Presses Tab until `selector` has the focus. */
export async function tabTo(page, selector, presses = 60) {
  for (let i = 0; i < presses; i += 1) {
    await page.keyboard.press('Tab');
    if (await page.evaluate(wanted => document.activeElement.matches(wanted), selector)) return;
  }
  assert.fail(`${selector} is not reached by ${presses} presses of Tab`);
}
