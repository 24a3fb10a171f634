// What is wrong with the node, in plain words, and what to do; or that nothing is.

import { $, el, keyed, setAttr, setText } from './dom.js';
import { duration, moment, plural } from './format.js';
import { silentFor } from './silence.js';

/** Clocks of two computers that are kept in time differ by less. */
const SKEW_MAX_S = 60;

const SIGNS = { error: '✕', warning: '!', info: 'i', ok: '✓' };
const WORDS = { error: 'Error', warning: 'Warning', info: 'Note', ok: 'In order' };

/** Codes of what is shown now. */
let shown = null;

/** Figures came, and this page cannot show them: an error in it, or an answer of another version. */
export class ShowError extends Error {
  constructor(cause) {
    super(cause.message, { cause });
  }
}

/** Shows all problems, or one line that says that all is well. */
export function showProblems(state, here) {
  const items = state.failure === null ? [...state.problems] : [noFigures(state, here)];
  if (state.failure instanceof ShowError) items.push(...state.problems);
  if (items.length === 0) items.push(allIsWell(state));
  keyed($('problems'), items, item => item.code, create, update);
  // Read out when something begins or ends, not whenever an age in it grows.
  const codes = items.map(item => item.code).join();
  if (shown !== null && shown !== codes) setText($('announcement'), items.map(item => item.text).join(' '));
  shown = codes;
}

function noFigures({ failure, answered }, here) {
  if (failure instanceof ShowError) {
    return {
      code: 'not-shown',
      level: 'error',
      text: `Some of what the node answered cannot be shown: ${failure.message}.`,
      advice: 'Figures below may be old or missing. Reload this page; if that does not help, this is an error in p2pool that wants to be reported.',
    };
  }
  // The node answers, but not with figures.
  if (failure.status !== undefined) {
    return {
      code: 'no-figures',
      level: 'error',
      text: `The node refuses to give its figures: ${failure.message}.`,
      advice: 'This page asks again every few seconds; if that does not help, the log of p2pool says more.',
    };
  }
  const text = answered === null
    ? 'The node does not answer.'
    : `The node has not answered since ${moment(answered, here)}. The figures below are of that time.`;
  return {
    code: 'offline',
    level: 'error',
    text,
    advice: 'Check that p2pool runs and that this computer reaches it; this page asks again every few seconds.',
  };
}

/** What the node says is wrong with it, and what this page sees besides. */
export function problemsOf({ status, skew }, here) {
  const found = status.problems.map(problem => ({ ...problem, text: withSince(problem, here + skew), advice: advice(problem, status) }));
  if (Math.abs(skew) > SKEW_MAX_S && !found.some(problem => problem.code === 'clock_off')) {
    found.push({
      code: 'browser_clock',
      level: 'warning',
      text: `The node's clock is ${duration(Math.abs(skew))} ${skew > 0 ? 'ahead of' : 'behind'} this computer's.`,
      advice: 'One of the two is wrong. If it is the node’s, set it by NTP: shares with a wrong time are refused.',
    });
  }
  const silent = status.miners.filter(miner => silentFor(miner, status, here + skew) !== null);
  if (silent.length > 0) {
    const names = silent.slice(0, 3).map(({ worker }) => worker || '(no name)').join(', ');
    found.push({
      code: 'miner_silent',
      level: 'warning',
      text: `${plural(silent.length, 'miner')} connected, but silent: ${names}${silent.length > 3 ? ', …' : ''}.`,
      advice: silent.length === 1 ? 'Look whether it hashes, and restart it if not.' : 'Look whether they hash, and restart those that do not.',
    });
  }
  return found;
}

function allIsWell({ status: { miner_count: miners, peer_count: peers } }) {
  return { code: 'ok', level: 'ok', text: `All is well: ${plural(miners, 'miner')} at work, ${plural(peers, 'peer')} connected.`, advice: '' };
}

/** The page knows what the node cannot: by which name it is reached. */
function advice({ code, advice }, status) {
  return code === 'no_miner' ? `Point a miner at ${stratumAddress(status)}, with any user name and password.` : advice;
}

function withSince({ text, since }, now) {
  return since ? `${text} Since ${moment(since, now)} (${duration(now - since)}).` : text;
}

/** Why there is no work for miners, for where the problem itself is told already. */
export function whyNoWork({ state: { code, level } }) {
  if (code === 'waiting_for_peers') return 'waiting for another node';
  if (code === 'syncing') return 'the sharechain is being fetched';
  if (code === 'bitcoind_syncing') return 'bitcoind is not synced yet';
  if (code.startsWith('bitcoind_') && level === 'error') return 'no work from bitcoind';
  return 'no work yet';
}

/** Why this node may not know of shares that others have; null if there is no reason to think so. */
export function whyNoShares({ problems }) {
  const is = wanted => problems.some(({ code }) => code === wanted);
  if (is('waiting_for_peers')) return 'this node is still looking for another one that has them';
  if (is('syncing')) return 'they are being fetched from other nodes';
  return null;
}

/** Where miners connect, as seen from this browser. */
export function stratumAddress(status) {
  return `stratum+tcp://${location.hostname}:${status.stratum_port}`;
}

function create() {
  return el('li', { class: 'problem' },
    el('span', { class: 'sign', 'aria-hidden': 'true' }),
    el('p', {}, el('span', { class: 'only-read' }), el('strong'), ' ', el('span', { class: 'advice' })));
}

function update(node, { level, text, advice }) {
  const known = level in SIGNS ? level : 'warning';
  setAttr(node, 'data-level', known);
  setText(node.querySelector('.sign'), SIGNS[known]);
  setText(node.querySelector('.only-read'), `${WORDS[known]}: `);
  setText(node.querySelector('strong'), text);
  setText(node.querySelector('.advice'), advice);
}
