// Takes the pictures that the README shows, of a node that is started for it together with two others, with real shares:
// `run.sh --screenshots FOLDER [SECONDS]`. More seconds make longer graphs; `pngquant` makes the files a third as large.

import path from 'node:path';
import { launch, open } from './browser.mjs';
import { live } from './checks.mjs';
import { RealNode, waitFor } from './real-node.mjs';

/** What one sees first; on the desktop's with some of what is below it. Half a page wide, they need no more pixels. */
const PICTURES = [
  { name: 'desktop', viewport: { width: 1280, height: 1500 }, scale: 1 },
  { name: 'phone', viewport: { width: 390, height: 844 }, scale: 1.5 },
];
/** Of the 60 live points so many make a graph. */
const POINTS_MIN = 40;
/** A pool at work: chance alone seldom keeps it waiting for so many of its aims. */
const TIP_AGE_AIMS_MAX = 3;
/** By then a pool at work has had many shares. */
const FRESH_TIP_MS = 60000;
/** Names, what their firmware calls itself, and hashes per second: of the first node's, the second's and the third's. */
const MINERS = [
  [['garage.bitaxe-1', 'bitaxe/BM1370/v2.9.0', 90000], ['garage.bitaxe-2', 'bitaxe/BM1370/v2.9.0', 70000], ['attic.s9', 'bmminer/2.0.0', 40000]],
  [['one', 'p2pool-miner', 150000]],
  [['two', 'p2pool-miner', 60000]],
];

const [folder, seconds = '600'] = process.argv.slice(2);
if (!folder) throw new Error('usage: run.sh --screenshots FOLDER [SECONDS]');
const { P2POOL_BITCOIND: bitcoind, P2POOL_EXE: p2pool, P2POOL_MINER: miner } = process.env;

/** Refuses to take pictures of a pool that has only begun, or stands still. */
async function worthAPicture(node) {
  const { history } = await node.status();
  if (history.length < POINTS_MIN) throw new Error(`there are ${history.length} live points, and a picture needs ${POINTS_MIN}: give more seconds`);
  await freshTip(node);
}

function freshTip(node) {
  return waitFor('a tip as fresh as that of a pool at work', async () => {
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
  await worthAPicture(nodes[0]);
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
