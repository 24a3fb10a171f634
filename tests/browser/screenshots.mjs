// Takes the screenshots of the README, of a pool of three nodes with real shares: `run.sh --screenshots FOLDER [SECONDS]`.
// More seconds give longer graphs. `pngquant` reduces the files to a third.

import path from 'node:path';
import { launch, open } from './browser.mjs';
import { live } from './checks.mjs';
import { RealNode, waitFor } from './real-node.mjs';

/** Viewports; the README shows the pictures at half a page's width, so they need no more pixels. */
const PICTURES = [
  { name: 'desktop', viewport: { width: 1280, height: 1500 }, scale: 1 },
  { name: 'phone', viewport: { width: 390, height: 844 }, scale: 1.5 },
];
/** Minimum number of the 60 live points. */
const POINTS_MIN = 40;
/** Maximum age of the tip in share periods: a working pool rarely needs more. */
const TIP_AGE_AIMS_MAX = 3;
/** Timeout for a fresh tip. */
const FRESH_TIP_MS = 60000;
/** Miners of each of the three nodes: worker name, user agent, and hashes per second. */
const MINERS = [
  [['garage.bitaxe-1', 'bitaxe/BM1370/v2.9.0', 90000], ['garage.bitaxe-2', 'bitaxe/BM1370/v2.9.0', 70000], ['attic.s9', 'bmminer/2.0.0', 40000]],
  [['one', 'p2pool-miner', 150000]],
  [['two', 'p2pool-miner', 60000]],
];

const [folder, seconds = '600'] = process.argv.slice(2);
if (!folder) throw new Error('usage: run.sh --screenshots FOLDER [SECONDS]');
const { P2POOL_BITCOIND: bitcoind, P2POOL_EXE: p2pool, P2POOL_MINER: miner } = process.env;

/** Throws if the pool has only just started, or is stalled. */
async function checkPool(node) {
  const { history } = await node.status();
  if (history.length < POINTS_MIN) throw new Error(`only ${history.length} of ${POINTS_MIN} live points: give more seconds`);
  await freshTip(node);
}

function freshTip(node) {
  return waitFor('a fresh tip', async () => {
    const { time, tip_time: tip, share_target_time_secs: aim } = await node.status();
    return tip !== null && time - tip <= TIP_AGE_AIMS_MAX * aim;
  }, { timeoutMs: FRESH_TIP_MS });
}

const nodes = [];
try {
  for (const miners of MINERS) {
    const node = await RealNode.start({ bitcoind, p2pool, miner }, ...nodes);
    nodes.push(node);
    for (const [worker, agent, rate] of miners) await node.startMiner(worker, agent, rate);
  }
  await waitFor('all nodes', async () => (await nodes[0].status()).peer_count === nodes.length - 1);
  await new Promise(resume => setTimeout(resume, Number(seconds) * 1000));
  await checkPool(nodes[0]);
  for (const { name, viewport, scale } of PICTURES) {
    await freshTip(nodes[0]);
    const browser = await launch(viewport, { deviceScaleFactor: scale });
    const { page } = await open(browser.context, nodes[0].url);
    await live(page);
    await page.screenshot({ path: path.join(folder, `${name}.png`) });
    await browser.close();
  }
} catch (error) {
  console.error((await Promise.all(nodes.map(node => node.logs()))).join('\n'));
  throw error;
} finally {
  for (const node of nodes.reverse()) await node.close();
}
