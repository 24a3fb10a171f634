// Tests of the node's addresses.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { text } from './checks.mjs';
import { scenario } from './fixtures.mjs';
import { violations, page, visit, withPage } from './visit.mjs';

withPage({ permissions: ['clipboard-read', 'clipboard-write'] });

const wholeText = async id => page.locator(id).textContent();
const copied = () => page.evaluate(() => navigator.clipboard.readText());

describe('this node', () => {
  it('shows its addresses in full', async () => {
    const { status } = await visit();
    assert.equal(await wholeText('#node-address'), status.our_address);
    assert.equal(await wholeText('#node-id'), status.our_peer_id);
    assert.equal(await wholeText('#node-stratum'), 'stratum+tcp://127.0.0.1:3333');
    assert.equal(await wholeText('#node-boot'), `-bootnodes=/ip4/127.0.0.1/tcp/9333/p2p/${status.our_peer_id}`);
    assert.equal(await text(page, '#node-boot-note'), 'On another machine, replace 127.0.0.1 with the address of this one.');
  });

  it('shows the versions of the rules, and what part of the pool is ready for a later one', async () => {
    const responses = await visit();
    assert.equal(await text(page, '#node-rules'), 'Version 2. This node supports versions up to 3. 41.7 % of the pool’s work is ready for version 3.');
    responses.status.rules = { in_force: 2, known: 2, needed: 3, signals: [] };
    await visit(responses);
    assert.equal(await text(page, '#node-rules'), 'The pool follows version 3. This node supports versions up to 2.');
  });

  it('copies each of them', async () => {
    await visit();
    for (const id of ['#node-address', '#node-stratum', '#node-id', '#node-boot']) {
      await page.evaluate(() => navigator.clipboard.writeText('nothing yet'));
      await page.locator(`dd:has(${id}) .copy`).click();
      await page.getByText(`Copied: ${await wholeText(id)}`).waitFor();
      assert.equal(await copied(), await wholeText(id));
    }
    assert.deepEqual(violations, []);
  });

  it('copies without the Clipboard API, which needs HTTPS', async () => {
    await visit(undefined, { prepare: blank => blank.addInitScript(() => {
      window.kept = navigator.clipboard;
      Object.defineProperty(navigator, 'clipboard', { value: undefined });
    }) });
    await page.locator('dd:has(#node-id) .copy').click();
    await page.getByText('Copied: ').waitFor();
    assert.equal(await page.evaluate(() => window.kept.readText()), await wholeText('#node-id'));
  });

  it('selects the text if it cannot be copied', async () => {
    await visit(undefined, { prepare: blank => blank.addInitScript(() => {
      Object.defineProperty(navigator, 'clipboard', { value: undefined });
      document.execCommand = () => false;
    }) });
    await page.locator('dd:has(#node-address) .copy').click();
    await page.getByText('The browser does not allow copying').waitFor();
    assert.equal(await page.evaluate(() => getSelection().toString()), await wholeText('#node-address'));
  });

  it('has no peer id right after the start', async () => {
    await visit(scenario('empty'));
    assert.equal(await wholeText('#node-boot'), 'not yet known');
    assert.equal(await page.locator('#node .copy:visible').count(), 2);
  });

  it('formats multiaddresses', async () => {
    await visit();
    const written = await page.evaluate(async () => {
      const { multiaddress } = await import(new URL('identity.js', location.href));
      return ['192.168.1.5', '[2001:db8::7]', 'pool.example', 'localhost'].map(host => multiaddress(host, 9333));
    });
    assert.deepEqual(written, ['/ip4/192.168.1.5/tcp/9333', '/ip6/2001:db8::7/tcp/9333', '/dns/pool.example/tcp/9333', '/dns/localhost/tcp/9333']);
  });
});
