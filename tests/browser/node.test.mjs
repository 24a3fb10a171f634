// Tests of the page of a real node: the one at P2POOL_URL, or one started here.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { DESKTOP, PHONE, launch, open } from './browser.mjs';
import { cardsMatch, dialogCloses, dialogShows, drawn, eventually, fits, live, nothingClipped, plain, tabTo, text } from './checks.mjs';
import { description, differences } from './contract.mjs';
import { RealNode, waitFor } from './real-node.mjs';

const { P2POOL_URL: GIVEN_URL, P2POOL_BITCOIND: bitcoind, P2POOL_EXE: p2pool, P2POOL_MINER: miner } = process.env;
const HOSTILE = '<img src=x onerror=alert(1)>';
const SHARES_MIN = 8;
/** Graphs need two points; the node adds one every ten seconds. */
const POINTS_MS = 60000;

let node;
let url;
let browser;
let page;
let violations;
/** The last responses that the page received, by path. */
let received;

before(async () => {
  browser = await launch();
  if (GIVEN_URL) {
    url = GIVEN_URL;
    return;
  }
  node = await RealNode.start({ bitcoind, p2pool, miner });
  url = node.url;
  // About three shares per second at first, and a block every twenty shares; a core is twenty times faster.
  await node.startMiner('garage.bitaxe-1', 'bitaxe/BM1370/v2.9.0', 150000);
  await node.startMiner(HOSTILE, '<script>alert(2)</script>', 100000);
  await waitFor(`${SHARES_MIN} shares`, async () => (await node.status()).share_count >= SHARES_MIN);
});
after(async () => {
  await browser?.close();
  await node?.close();
});
beforeEach(() => {
  received = {};
});
afterEach(() => page?.close());

/** A test that prints the logs of all processes if it fails. */
function check(name, options, test = options) {
  it(name, options === test ? {} : options, async () => {
    try {
      await test();
    } catch (error) {
      if (node) console.error(await node.logs());
      throw error;
    }
  });
}

async function visit(viewport = DESKTOP) {
  ({ page, violations } = await open(browser.context, url, async blank => {
    await blank.setViewportSize(viewport);
    blank.on('response', async response => {
      const name = new URL(response.url()).pathname;
      if (!name.startsWith('/api/') || !response.ok()) return;
      // The response is gone if the page is being closed.
      const body = await response.json().catch(() => undefined);
      if (body !== undefined) received[name] = body;
    });
  }));
  await live(page);
}

describe('a real node', () => {
  check('serves the page under a strict policy', async () => {
    const response = await fetch(url);
    assert.equal(response.status, 200);
    const policy = response.headers.get('content-security-policy');
    assert.match(policy, /default-src '(self|none)'/);
    assert.ok(!/unsafe|\*|https?:/.test(policy), policy);
    await visit();
    assert.deepEqual(violations, []);
  });

  check('matches the OpenAPI description', async () => {
    const root = await description();
    await visit();
    assert.deepEqual(differences(root.components.schemas.Status, received['/api/v1/status'], root), []);
    assert.deepEqual(differences(root.components.schemas.Blocks, received['/api/v1/blocks'], root), []);
  });

  check('cards match /api/v1/status', async () => {
    await visit();
    // The page polls every few seconds, and shows the last response.
    await eventually(() => cardsMatch(page, received['/api/v1/status']));
    assert.ok(received['/api/v1/status'].share_count > 0);
    assert.equal(await text(page, '#network'), received['/api/v1/status'].network);
    assert.deepEqual(violations, []);
  });

  check('lists its shares, blocks, payouts and miners', async () => {
    await visit();
    await eventually(async () => {
      const status = received['/api/v1/status'];
      // Expand long lists.
      for (const list of ['shares', 'blocks']) {
        const more = page.locator(`#${list}-more[aria-expanded="false"]:visible`);
        if (await more.count() > 0) await more.click();
      }
      assert.deepEqual(await page.locator('#shares-list .hash').allTextContents(), status.recent_shares.map(share => share.hash));
      const blocks = status.recent_shares.filter(share => share.is_block).map(share => share.hash);
      assert.deepEqual(await page.locator('#shares-list li[data-block] .hash').allTextContents(), blocks);
      assert.equal(await page.locator('#tree .node').count(), status.tree_shares.length);
      assert.equal(await page.locator('#payouts-list li').count(), Math.min(12, status.payout_entries.length));
      assert.deepEqual((await page.locator('#miners-body .worker').allTextContents()).sort(), status.miners.map(one => one.worker).sort());
      assert.equal(await page.locator('#blocks-list li').count(), received['/api/v1/blocks'].blocks.length);
    });
  });

  check('draws graphs of its history', async () => {
    await waitFor('two points of history', async () => (await (await fetch(new URL('api/v1/status', url))).json()).history.length >= 2, { timeoutMs: POINTS_MS });
    await visit();
    for (const name of ['pool', 'local', 'shares']) {
      await eventually(async () => assert.ok((await drawn(page, `#graph-${name} canvas`)).part > 0.02, name));
    }
    const before = (await drawn(page, '#graph-pool canvas')).sum;
    await page.getByText('1 hour', { exact: true }).click();
    await eventually(() => assert.ok(received['/api/v1/history']));
    const root = await description();
    assert.deepEqual(differences(root.components.schemas.History, received['/api/v1/history'], root), []);
    await eventually(async () => assert.notEqual((await drawn(page, '#graph-pool canvas')).sum, before));
  });

  check('opens a share by keyboard, follows the link to its parent, and closes with Esc', async () => {
    await visit();
    await tabTo(page, '#shares-list a');
    const opened = await page.evaluate(() => document.activeElement.textContent);
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog[open] table');
    const share = received[`/api/v1/share/${opened}`];
    const root = await description();
    assert.deepEqual(differences(root.components.schemas.Share, share, root), []);
    await dialogShows(page, share);
    await page.click(`dialog[open] dd a[href="#share=${share.info.parent}"]`);
    await eventually(async () => assert.equal(await text(page, '#share-body .whole'), share.info.parent));
    await eventually(() => dialogShows(page, received[`/api/v1/share/${share.info.parent}`]));
    await page.keyboard.press('Escape');
    await dialogCloses(page);
    assert.deepEqual(violations, []);
  });

  check('says that it does not have an unknown share', async () => {
    await visit();
    await page.evaluate(hash => { location.hash = `#share=${hash}`; }, 'ab'.repeat(32));
    await page.getByText('This node does not have that share').waitFor();
  });

  check('fits a phone', async () => {
    await visit(PHONE);
    await fits(page);
    await nothingClipped(page);
    await page.click('#shares-list a');
    await page.waitForSelector('dialog[open] table');
    await fits(page);
    await nothingClipped(page);
  });

  check('shows a worker named like markup as text', { skip: GIVEN_URL ? 'the miners of that node are not ours' : false }, async () => {
    await visit();
    await page.locator('.worker', { hasText: HOSTILE }).waitFor();
    assert.equal(await page.locator('.agent', { hasText: '<script>alert(2)</script>' }).count(), 1);
    assert.equal(await page.locator('img').count(), 1, 'the page has only its own image');
    assert.deepEqual(violations, []);
  });

  check('shows the option with which another node joins, and then that peer', { skip: GIVEN_URL ? 'another node must not join that pool' : false }, async () => {
    await visit();
    const bootnodes = await page.locator('#node-boot').textContent();
    const other = await RealNode.start({ bitcoind, p2pool, miner, bootnodes }, node);
    try {
      const { our_peer_id: id } = await waitFor('the other node’s peer', async () => {
        const status = await other.status();
        return status.peer_count === 1 && status;
      });
      await page.locator(`#peers-list [title="${id}"]`).waitFor({ timeout: 30000 });
      assert.equal(await text(page, '#card-peers'), '1');
      assert.deepEqual(violations, []);
    } catch (error) {
      console.error(await other.logs());
      throw error;
    } finally {
      await other.close();
    }
  });

  check('that still looks for peers does not suggest an empty pool', { skip: GIVEN_URL ? 'that node has peers' : false }, async () => {
    // Nothing listens on port 1: the node looks for peers for a minute.
    const bootnodes = `-bootnodes=/ip4/127.0.0.1/tcp/1/p2p/${(await node.status()).our_peer_id}`;
    const isolated = await RealNode.start({ bitcoind, p2pool, miner, bootnodes }, node);
    try {
      ({ page, violations } = await open(browser.context, isolated.url));
      await live(page);
      await eventually(async () => {
        const words = plain(await page.locator('body').innerText());
        for (const sentence of ['No peer yet', 'this node is still looking for peers', 'No payouts yet: waiting for peers.']) assert.ok(words.includes(sentence), words);
        assert.ok(!/the finder of a block|begins with the first share|You did|no block template from bitcoind/.test(words), words);
      });
      assert.deepEqual(violations, []);
    } catch (error) {
      console.error(await isolated.logs());
      throw error;
    } finally {
      await isolated.close();
    }
  });

  check('shows that it is offline, and after a restart the same shares and history', { skip: GIVEN_URL ? 'that node must not be stopped' : false }, async () => {
    await visit();
    const before = received['/api/v1/status'];
    await node.end(node.pool);
    await page.waitForSelector('#connection[data-state="offline"]', { timeout: 30000 });
    assert.match(await text(page, '#problems'), /The node has not responded since/);
    await node.startPool();
    await page.waitForSelector('#connection[data-state="live"]', { timeout: 30000 });
    await eventually(() => assert.ok(received['/api/v1/status'].uptime_secs < before.uptime_secs));
    assert.ok(received['/api/v1/status'].share_count >= before.share_count);
    const { points } = await (await fetch(new URL('api/v1/history?window=1h', url))).json();
    assert.ok(points.some(point => point.t <= before.time), 'the history from before the restart is lost');
  });
});
