// Tests of the page's files, of the fixtures, and of untrusted text.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readFile, readdir } from 'node:fs/promises';
import { description, differences } from './contract.mjs';
import { NAMES, scenario } from './fixtures.mjs';
import { violations, page, server, visit, withPage } from './visit.mjs';

const ASSETS = new URL('../../threads/http/assets/', import.meta.url);
/** Sources of the notices' texts. */
const NOTICES = new URL('../../threads/http/src/api/notice/', import.meta.url);
const BITCOIND_ERRORS = new URL('../../src/status/bitcoind.rs', import.meta.url);
const HOSTILE = '<img src=x onerror=alert(1)>';
withPage();

describe('fixtures', () => {
  it('match the OpenAPI description', async () => {
    const root = await description();
    const errors = (name, value) => differences(root.components.schemas[name], value, root, name);
    for (const state of NAMES) {
      const responses = scenario(state);
      const shares = responses.status.tree_shares.map(({ hash }) => responses.share(hash));
      const histories = ['1h', '1d', '7d', '30d'].map(responses.history);
      assert.deepEqual([
        ...errors('Status', responses.status), ...errors('Blocks', responses.blocks),
        ...shares.flatMap(share => errors('Share', share)), ...histories.flatMap(history => errors('History', history)),
      ], [], state);
    }
    const broken = { ...scenario('busy').status, share_count: '1', tip_hash: 'ab', uptime_secs: -1 };
    delete broken.peers;
    assert.deepEqual(errors('Status', broken).sort(), [
      "Status lacks 'peers'", 'Status.share_count is "1", not integer', 'Status.tip_hash is shorter than 64', 'Status.uptime_secs is -1, below 0',
    ]);
  });

  it('have the texts of the node’s notices', async () => {
    const names = (await readdir(NOTICES)).filter(name => name !== 'tests.rs').map(name => `notice/${name}`);
    const files = [BITCOIND_ERRORS, ...['notice.rs', ...names].map(name => new URL(`../${name}`, NOTICES))];
    const sources = await Promise.all(files.map(file => readFile(file, 'utf8')));
    // String literals, which a backslash continues in the next line, with placeholders in braces.
    const texts = [...sources.join('\n').matchAll(/"((?:[^"\\]|\\[\s\S])*)"/g)].map(([, string]) => string.replace(/\\\n\s*/g, ''));
    const sentences = texts.filter(string => string.replace(/\{[^}]*\}/g, '').length >= 15).map(string => new RegExp(string.split(/\{[^}]*\}/).map(part => part.replace(/[.*+?^$()[\]|\\]/g, '\\$&')).join('.+'), 'i'));
    for (const state of NAMES) {
      const { status } = scenario(state);
      for (const { text, advice } of [status.state, ...status.problems]) {
        assert.ok(sentences.some(sentence => sentence.test(text)), text);
        assert.ok(texts.includes(advice), advice);
      }
    }
    assert.ok(!sentences.some(sentence => sentence.test('bitcoind is on holiday.')));
  });
});

describe('untrusted text', () => {
  it('in a worker name is not interpreted as markup', async () => {
    await visit();
    assert.equal(await page.locator('.worker', { hasText: HOSTILE }).count(), 1);
    assert.equal(await page.locator('.agent', { hasText: '<script>alert(2)</script>' }).count(), 1);
    assert.equal(await page.locator('img').count(), 1, 'the page has only its own image');
    assert.deepEqual(violations, []);
  });

  it('in any field is not interpreted as markup', async () => {
    const hostile = value => {
      if (typeof value === 'string') return /^[0-9a-f]{64}$/.test(value) ? value : `${HOSTILE}${value}`;
      if (Array.isArray(value)) return value.map(hostile);
      if (value === null || typeof value !== 'object') return value;
      return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, hostile(inner)]));
    };
    const good = scenario('busy');
    good.status.problems = [{ code: 'x', level: 'error', text: 'something', advice: 'do something', since: null }];
    const responses = { status: hostile(good.status), blocks: hostile(good.blocks), history: good.history, share: hash => hostile(good.share(hash)) };
    await visit(responses);
    await page.click('#payouts-more');
    await page.click('#tree-details summary');
    await page.click('#shares-list a');
    await page.waitForSelector('dialog[open] table');
    assert.equal(await page.locator('img').count(), 1);
    assert.ok((await page.locator('body').textContent()).includes(HOSTILE));
    assert.deepEqual(violations, []);
  });
});

describe('assets', () => {
  it('are tested under the node’s content security policy', async () => {
    await visit();
    const policy = (await fetch(server.url)).headers.get('content-security-policy');
    assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self'; .*frame-ancestors 'none'$/);
    // An inline script is blocked.
    const ran = await page.evaluate(() => {
      const script = document.createElement('script');
      script.textContent = 'window.ran = true';
      document.head.append(script);
      return window.ran ?? false;
    });
    assert.equal(ran, false);
    assert.match(violations.join(), /script-src 'self'/);
  });

  it('are small and refer to no other origin', async () => {
    let total = 0;
    for (const name of await readdir(ASSETS)) {
      const content = await readFile(new URL(name, ASSETS), 'utf8');
      total += Buffer.byteLength(content);
      const external = (content.match(/https?:\/\/[^\s"'`]+/g) ?? []).filter(url => !url.startsWith('http://www.w3.org/'));
      assert.deepEqual(external, [], name);
      assert.ok(!/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(/.test(content), `${name} parses text as markup`);
    }
    assert.ok(total < 150_000, `${total} bytes`);
  });
});
