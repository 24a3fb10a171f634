// The problems of the node with advice, or a line that says that everything works.

import { $, el, keyed, setAttr, setText } from './dom.js';
import { duration, moment, plural } from './format.js';

/** Synchronised clocks differ by less than this. */
const SKEW_MAX_S = 60;

const SIGNS = { error: '✕', warning: '!', info: 'i', ok: '✓' };
const LABELS = { error: 'Error', warning: 'Warning', info: 'Note', ok: 'OK' };

/** Codes of the problems shown now. */
let shown = null;

/** The page cannot show the data it received: it has a bug, or the node has another version. */
export class ShowError extends Error {
  constructor(cause) {
    super(cause.message, { cause });
  }
}

/** Shows all problems, or one line that says that everything works. `localTime` is in Unix seconds. */
export function showProblems(state, localTime) {
  const items = state.failure === null ? [...state.problems] : [pollFailure(state, localTime)];
  if (state.failure instanceof ShowError) items.push(...state.problems);
  if (items.length === 0) items.push(everythingWorks(state));
  keyed($('problems'), items, item => item.code, create, update);
  // Announced to screen readers when a problem starts or ends, not whenever an age grows.
  const codes = items.map(item => item.code).join();
  if (shown !== null && shown !== codes) setText($('announcement'), items.map(item => item.text).join(' '));
  shown = codes;
}

function pollFailure({ failure, respondedAt }, localTime) {
  if (failure instanceof ShowError) {
    return {
      code: 'not-shown',
      level: 'error',
      text: `Part of the node’s response cannot be shown: ${failure.message}.`,
      advice: 'Values below may be old or missing. Reload this page; if that does not help, please report this as a bug in p2pool.',
    };
  }
  // The node responds with an error.
  if (failure.status !== undefined) {
    return {
      code: 'error-response',
      level: 'error',
      text: `The node returned an error: ${failure.message}.`,
      advice: 'This page retries every few seconds. See the log of p2pool for details.',
    };
  }
  const text = respondedAt === null
    ? 'The node does not respond.'
    : `The node has not responded since ${moment(respondedAt, localTime)}. The values below are from that time.`;
  return {
    code: 'offline',
    level: 'error',
    text,
    advice: 'Check that p2pool is running and reachable from this computer. This page retries every few seconds.',
  };
}

/** Returns the problems that the node reports, and the one that only this page can detect. */
export function problemsOf({ status, skew }, localTime) {
  const found = status.problems.map(problem => ({ ...problem, text: withSince(problem, localTime + skew), advice: advice(problem, status) }));
  if (Math.abs(skew) > SKEW_MAX_S && !found.some(problem => problem.code === 'clock_off')) {
    found.push({
      code: 'browser_clock',
      level: 'warning',
      text: `The node's clock is ${duration(Math.abs(skew))} ${skew > 0 ? 'ahead of' : 'behind'} this computer's.`,
      advice: 'One of the two is wrong. If it is the node’s, synchronise it with NTP: shares with a wrong time are rejected.',
    });
  }
  return found;
}

function everythingWorks({ status: { miner_count: miners, peer_count: peers } }) {
  return { code: 'ok', level: 'ok', text: `Everything works: ${plural(miners, 'miner')} and ${plural(peers, 'peer')} connected.`, advice: '' };
}

/** Completes the advice with the addresses of the node; only the page knows by which one this browser reaches it. */
function advice({ code, advice }, status) {
  if (code === 'no_miner') return `Point a miner at ${minerSettings(status)}.`;
  return code === 'unpaid_address' ? `${advice} Here: ${userName(status)}.` : advice;
}

function withSince({ text, since }, now) {
  return since ? `${text} Since ${moment(since, now)} (${duration(now - since)}).` : text;
}

/** Why there is no work for miners, in a few words: the problem itself is shown above. */
export function whyNoWork({ problems }) {
  for (const { code, level } of problems) {
    if (code === 'waiting_for_peers') return 'waiting for peers';
    if (code === 'syncing') return 'downloading the sharechain';
    if (code === 'bitcoind_syncing') return 'bitcoind is not synced yet';
    if (code.startsWith('bitcoind_') && level === 'error') return 'no block template from bitcoind';
  }
  return 'no work yet';
}

/** Why this node may lack shares that its peers have; null if there is no such reason. */
export function whyNoShares({ problems }) {
  const has = wanted => problems.some(({ code }) => code === wanted);
  if (has('waiting_for_peers')) return 'this node is still looking for peers';
  if (has('syncing')) return 'this node is downloading shares from its peers';
  return null;
}

/** The address for miners, with the host name by which this browser reaches the node. */
export function stratumAddress(status) {
  return `stratum+tcp://${location.hostname}:${status.stratum_port}`;
}

/** The settings of a miner. Firmware that looks for its user name in the coinbase finds the address there. */
export function minerSettings(status) {
  return `${stratumAddress(status)} with user name ${userName(status)} and any password`;
}

function userName({ our_address: address }) {
  return `${address}.name`;
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
  setText(node.querySelector('.only-read'), `${LABELS[known]}: `);
  setText(node.querySelector('strong'), text);
  setText(node.querySelector('.advice'), advice);
}
