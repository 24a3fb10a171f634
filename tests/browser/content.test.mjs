// What the page is made of, what it is given, and that neither can harm.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readFile, readdir } from 'node:fs/promises';
import { description, differences } from './contract.mjs';
import { NAMES, scenario } from './fixtures.mjs';
import { complaints, page, server, visit, withPage } from './visit.mjs';

const ASSETS = new URL('../../threads/http/assets/', import.meta.url);
/** What is wrong with a node, in words. */
const STATES = new URL('../../threads/http/src/api/state/', import.meta.url);
const HOSTILE = '<img src=x onerror=alert(1)>';
withPage();

describe('the made-up answers', () => {
  it('are such as the description of the API promises', async () => {
    const root = await description();
    const against = (name, value) => differences(root.components.schemas[name], value, root, name);
    for (const state of NAMES) {
      const answers = scenario(state);
      const shares = answers.status.tree_shares.map(({ hash }) => answers.share(hash));
      const histories = ['1h', '1d', '7d', '30d'].map(answers.history);
      assert.deepEqual([
        ...against('Status', answers.status), ...against('Blocks', answers.blocks),
        ...shares.flatMap(share => against('Share', share)), ...histories.flatMap(history => against('History', history)),
      ], [], state);
    }
    const broken = { ...scenario('busy').status, share_count: '1', tip_hash: 'ab', uptime_secs: -1 };
    delete broken.peers;
    assert.deepEqual(against('Status', broken).sort(), [
      "Status lacks 'peers'", 'Status.share_count is "1", not integer', 'Status.tip_hash is shorter than 64', 'Status.uptime_secs is -1, below 0',
    ]);
  });
});

describe('the made-up problems', () => {
  it('are in the words of the node', async () => {
    const names = (await readdir(STATES)).filter(name => name !== 'tests.rs').map(name => `state/${name}`);
    const sources = await Promise.all(['state.rs', ...names].map(name => readFile(new URL(`../${name}`, STATES), 'utf8')));
    // Strings that go on in the next line behind a backslash; what stands in braces is filled in.
    const words = [...sources.join('\n').matchAll(/"((?:[^"\\]|\\[\s\S])*)"/g)].map(([, string]) => string.replace(/\\\n\s*/g, ''));
    const sentences = words.filter(string => string.replace(/\{[^}]*\}/g, '').length >= 15).map(string => new RegExp(string.split(/\{[^}]*\}/).map(part => part.replace(/[.*+?^$()[\]|\\]/g, '\\$&')).join('.+'), 'i'));
    for (const state of NAMES) {
      const { status } = scenario(state);
      for (const { text, advice } of [status.state, ...status.problems]) {
        assert.ok(sentences.some(sentence => sentence.test(text)), text);
        assert.ok(words.includes(advice), advice);
      }
    }
    assert.ok(!sentences.some(sentence => sentence.test('bitcoind is on holiday.')));
  });
});

describe('strangers’ text', () => {
  it('a worker named like markup stays text', async () => {
    await visit();
    assert.equal(await page.locator('.worker', { hasText: HOSTILE }).count(), 1);
    assert.equal(await page.locator('.agent', { hasText: '<script>alert(2)</script>' }).count(), 1);
    assert.equal(await page.locator('img').count(), 1, 'the page has one image: its own');
    assert.deepEqual(complaints, []);
  });

  it('whatever text the node sends stays text', async () => {
    const hostile = value => {
      if (typeof value === 'string') return /^[0-9a-f]{64}$/.test(value) ? value : `${HOSTILE}${value}`;
      if (Array.isArray(value)) return value.map(hostile);
      if (value === null || typeof value !== 'object') return value;
      return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, hostile(inner)]));
    };
    const good = scenario('busy');
    good.status.problems = [{ code: 'x', level: 'error', text: 'something', advice: 'do something', since: null }];
    const answers = { status: hostile(good.status), blocks: hostile(good.blocks), history: good.history, share: hash => hostile(good.share(hash)) };
    await visit(answers);
    await page.click('#payouts-more');
    await page.click('#tree-details summary');
    await page.click('#shares-list a');
    await page.waitForSelector('dialog[open] table');
    assert.equal(await page.locator('img').count(), 1);
    assert.ok((await page.locator('body').textContent()).includes(HOSTILE));
    assert.deepEqual(complaints, []);
  });
});

describe('assets', () => {
  it('are tested under the policy of the node', async () => {
    await visit();
    const policy = (await fetch(server.url)).headers.get('content-security-policy');
    assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self'; .*frame-ancestors 'none'$/);
    // What it refuses, it refuses here as well.
    const ran = await page.evaluate(() => {
      const script = document.createElement('script');
      script.textContent = 'window.ran = true';
      document.head.append(script);
      return window.ran ?? false;
    });
    assert.equal(ran, false);
    assert.match(complaints.join(), /script-src 'self'/);
  });

  it('are small and refer to nothing elsewhere', async () => {
    let total = 0;
    for (const name of await readdir(ASSETS)) {
      const content = await readFile(new URL(name, ASSETS), 'utf8');
      total += Buffer.byteLength(content);
      const elsewhere = (content.match(/https?:\/\/[^\s"'`]+/g) ?? []).filter(url => !url.startsWith('http://www.w3.org/'));
      assert.deepEqual(elsewhere, [], name);
      assert.ok(!/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(/.test(content), `${name} makes markup of text`);
    }
    assert.ok(total < 150_000, `${total} bytes`);
  });
});
