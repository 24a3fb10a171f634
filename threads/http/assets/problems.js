// What is wrong with the node, in plain words, and what to do; or that nothing is.

import { $, el, keyed, setAttr, setText } from './dom.js';
import { clock, duration, plural } from './format.js';

/** Clocks of two computers that are kept in time differ by less. */
const SKEW_MAX_S = 60;

const SIGNS = { error: '✕', warning: '!', info: 'i', ok: '✓' };
const WORDS = { error: 'Error', warning: 'Warning', info: 'Note', ok: 'In order' };

/** Codes of what is shown now. */
let shown = null;

/** Shows all problems, or one line that says that all is well. */
export function showProblems(state, here) {
  const items = state.failure !== null ? [unreachable(state)] : problems(state, here);
  keyed($('problems'), items, item => item.code, create, update);
  // Read out when something begins or ends, not whenever an age in it grows.
  const codes = items.map(item => item.code).join();
  if (shown !== null && shown !== codes) setText($('announcement'), items.map(item => item.text).join(' '));
  shown = codes;
}

function unreachable({ failure, answered }) {
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
    : `The node has not answered since ${clock(answered)}. The figures below are of that time.`;
  return {
    code: 'offline',
    level: 'error',
    text,
    advice: 'Check that p2pool runs and that this computer reaches it; this page asks again every few seconds.',
  };
}

function problems({ status, skew }, here) {
  const found = status.problems.map(problem => ({ ...problem, text: withSince(problem, here + skew) }));
  if (Math.abs(skew) > SKEW_MAX_S && !found.some(problem => problem.code === 'clock_off')) {
    found.push({
      code: 'browser_clock',
      level: 'warning',
      text: `The node's clock is ${duration(Math.abs(skew))} ${skew > 0 ? 'ahead of' : 'behind'} this computer's.`,
      advice: 'One of the two is wrong. If it is the node’s, set it by NTP: shares with a wrong time are refused.',
    });
  }
  if (found.length > 0) return found;
  return [{ code: 'ok', level: 'ok', text: `All is well: ${plural(status.miner_count, 'miner')} at work, ${plural(status.peer_count, 'peer')} connected.`, advice: '' }];
}

function withSince({ text, since }, now) {
  return since ? `${text} Since ${clock(since)} (${duration(now - since)}).` : text;
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
