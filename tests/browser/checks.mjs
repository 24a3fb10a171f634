// Checks that hold for the page of any node.

import assert from 'node:assert/strict';

/** Waits until the page shows live data. */
export async function live(page) {
  await page.waitForSelector('#connection[data-state="live"]');
}

/** Retries an assertion until it holds; after the timeout it throws the last error. */
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

/** Returns the text of an element with plain spaces. */
export async function text(page, selector) {
  return plain(await page.locator(selector).first().textContent());
}

export const plain = string => string.replace(/[\u00a0\u202f]/g, ' ').replace(/\s+/g, ' ').trim();

/** Returns how many pixels of a canvas are drawn, and a checksum of the picture. */
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

/** Checks that nothing overflows the page at the sides, except inside boxes that scroll. */
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

/** Checks that no text is clipped by its own box. */
export async function nothingClipped(page) {
  const clipped = await page.evaluate(() => [...document.querySelectorAll('main *, footer *, header *, dialog[open] *')]
    .filter(node => [...node.childNodes].some(child => child.nodeType === Node.TEXT_NODE && child.data.trim() !== ''))
    .filter(node => !node.closest('svg, .only-read, thead') && getComputedStyle(node).display !== 'inline')
    .filter(node => node.scrollWidth > node.clientWidth + 1)
    .map(node => `${node.tagName}.${node.className}: ${node.textContent.slice(0, 60)}`));
  assert.deepEqual(clipped, []);
}

/** Checks that the cards show the values of /api/v1/status, in the page's own format. */
export async function cardsMatch(page, status) {
  const expected = await page.evaluate(async status => {
    const format = await import(new URL('format.js', location.href));
    return {
      local: format.hashrate(status.local_hashrate),
      pool: format.hashrate(status.pool_hashrate),
      shares: format.count(status.share_count),
      difficulty: format.difficulty(status.difficulty),
      miners: format.count(status.miner_count),
      peers: format.count(status.peer_count),
      eta: format.duration(status.est_time_to_block),
      payout: status.coinbase_value === null ? format.NONE : format.btc(status.our_payout_without_fee),
    };
  }, status);
  for (const [name, value] of Object.entries(expected)) {
    assert.equal(await text(page, `#card-${name}`), plain(value), `card ${name}`);
  }
}

/** Checks that the open dialog shows all fields of the share, each in its row and in the page's own format. */
export async function dialogShows(page, share) {
  const expected = await page.evaluate(async ({ header, info, ...share }) => {
    const format = await import(new URL('format.js', location.href));
    const hex = number => `0x${(number >>> 0).toString(16).padStart(8, '0')}`;
    return {
      hash: share.hash,
      rows: {
        Miner: [share.miner],
        Parent: [info.parent ?? 'none (genesis share)'],
        Uncles: info.uncles.length ? info.uncles : ['none'],
        ...(share.named_by ? { 'Uncle of': [share.named_by] } : {}),
        Children: share.children.length ? share.children : ['none yet'],
        ...(share.confirmations === null ? {} : { Confirmations: [format.count(share.confirmations)] }),
        Difficulty: [format.difficulty(share.share_difficulty), info.share_bits],
        'Hash difficulty': [`${format.difficulty(share.hash_difficulty)}; a block needs ${format.difficulty(share.block_difficulty)}`],
        Work: [format.hashes(share.work)],
        'Chain work': [format.hashes(info.chain_work)],
        Version: [hex(header.version)],
        'Previous block': [header.prev_block],
        'Merkle root': [header.merkle_root],
        Bits: [header.bits],
        Nonce: [hex(header.nonce)],
        'Raw header': [header.raw],
        'Block height': [format.count(info.block_height)],
        Value: [format.btc(info.coinbase_value)],
        Tag: [info.coinbase_tag || 'none'],
        'Payout script': [info.payout_script],
        Extranonce: [share.extranonce],
        'Witness commitment': [info.witness_commitment],
        'Merkle branch': share.merkle_branch.length ? share.merkle_branch : ['empty'],
      },
      // The share's time and its header's, which are equal.
      times: [format.fullTime(share.timestamp), `${header.time}, ${format.fullTime(header.time)}`],
      payouts: (share.payouts ?? []).map(({ address, amount, pct }) => [address, format.btc(amount), format.percent(pct)]),
    };
  }, share);
  const shown = await page.evaluate(() => {
    const body = document.querySelector('dialog[open] .dialog-body');
    return {
      hash: body.querySelector('.whole').textContent,
      rows: [...body.querySelectorAll('dl > div')].map(row => [row.querySelector('dt').textContent, row.querySelector('dd').textContent]),
      payouts: [...body.querySelectorAll('tbody tr')].map(row => [row.querySelector('th').firstChild.data, ...[...row.querySelectorAll('td')].map(cell => cell.textContent)]),
    };
  });
  assert.equal(shown.hash, expected.hash);
  for (const [name, values] of Object.entries(expected.rows)) {
    const row = shown.rows.find(([label]) => label === name);
    assert.ok(row, `the dialog has no row '${name}'`);
    let rest = row[1];
    for (const value of values) {
      assert.ok(rest.includes(value), `row '${name}' lacks ${value}: ${row[1]}`);
      rest = rest.slice(rest.indexOf(value) + value.length);
    }
    // The row starts with the first value.
    assert.ok(row[1].startsWith(values[0]), `row '${name}' has another start: ${row[1]}`);
  }
  const times = shown.rows.filter(([label]) => label === 'Time').map(([, value]) => value);
  assert.equal(times.length, 2);
  times.forEach((time, index) => assert.ok(time.startsWith(expected.times[index]), `${time} is not ${expected.times[index]}`));
  assert.deepEqual(shown.payouts, expected.payouts);
}

/** Returns the contrast of all texts with their background, `{ratio, text}`, lowest first; respects translucent boxes. */
export function contrasts(page) {
  return page.evaluate(() => {
    const colour = text => {
      const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
      return { rgb: [r, g, b], a };
    };
    const blend = (over, under, part) => over.map((value, index) => value * part + under[index] * (1 - part));
    const luminance = rgb => {
      const [r, g, b] = rgb.map(value => value / 255).map(value => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    /** Returns the colours of the text and its background, from the box at `at` inwards. */
    const pixels = (boxes, at, behind) => {
      const style = getComputedStyle(boxes[at]);
      const background = colour(style.backgroundColor);
      const own = blend(background.rgb, behind, background.a);
      const inner = at + 1 < boxes.length ? pixels(boxes, at + 1, own) : { ground: own, ink: blend(colour(style.color).rgb, own, colour(style.color).a) };
      const part = Number(style.opacity);
      return { ground: blend(inner.ground, behind, part), ink: blend(inner.ink, behind, part) };
    };
    return [...document.querySelectorAll('body *')]
      .filter(node => [...node.childNodes].some(child => child.nodeType === Node.TEXT_NODE && child.data.trim() !== ''))
      .filter(node => !node.closest('svg, .only-read, .skip, noscript, thead') && node.checkVisibility())
      .map(node => {
        const boxes = [];
        for (let box = node; box; box = box.parentElement) boxes.unshift(box);
        const { ground, ink } = pixels(boxes, 0, [255, 255, 255]);
        const [dark, light] = [luminance(ground), luminance(ink)].sort((a, b) => a - b);
        return { ratio: (light + 0.05) / (dark + 0.05), text: node.textContent.slice(0, 40) };
      })
      .sort((a, b) => a.ratio - b.ratio);
  });
}

/** Waits until no share is shown and the URL has none: the close event comes a moment later. */
export async function dialogCloses(page) {
  await page.waitForFunction(() => document.querySelector('dialog[open]') === null && location.hash === '');
}

/** Presses Tab until `selector` has the focus. */
export async function tabTo(page, selector, presses = 60) {
  for (let i = 0; i < presses; i += 1) {
    await page.keyboard.press('Tab');
    if (await page.evaluate(target => document.activeElement.matches(target), selector)) return;
  }
  assert.fail(`${selector} is not reached within ${presses} presses of Tab`);
}
