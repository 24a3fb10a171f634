// Asks the node every few seconds and hands its figures to the parts of the page.

import { ask } from './api.js';
import { $, setAttr, setText, show } from './dom.js';
import { duration, moment } from './format.js';
import { showBlocks } from './blocks.js';
import { showCards } from './cards.js';
import { openDialog } from './dialog.js';
import { Graphs } from './graphs.js';
import { showNode } from './identity.js';
import { showMiners } from './miners.js';
import { showPayouts } from './payouts.js';
import { showPeers } from './peers.js';
import { ShowError, problemsOf, showProblems } from './problems.js';
import { showShares } from './shares.js';
import { showTree } from './tree.js';

/** The node makes new figures every two seconds; five are often enough for eyes. */
const POLL_MS = 5000;
/** Stored history changes by a point a minute at most. */
const HISTORY_MS = 60000;

/** What is known of the node. */
const state = {
  status: null,
  blocks: null,
  /** Unix seconds of this computer's clock when the node last answered. */
  answered: null,
  /** Why the last figures did not come or cannot be shown; null while all is well with them. */
  failure: null,
  /** What there is to know of the node, by its last figures. */
  problems: [],
  /** Node's clock less this computer's, in seconds. */
  skew: 0,
};

const graphs = new Graphs();
// A page that is loaded anew may keep what was chosen.
let range = document.querySelector('#ranges input:checked').value;
let historyAsked = 0;
/** Of the node that this page came from. */
let version = null;

const here = () => Date.now() / 1000;
/** The node's time, by which ages are told. */
const nodeTime = () => here() + state.skew;

async function poll() {
  try {
    const [status, blocks] = await Promise.all([ask('/api/status'), ask('/api/blocks')]);
    followVersion(status);
    state.status = status;
    state.blocks = blocks;
    state.answered = here();
    state.skew = status.time - state.answered;
    state.failure = showFigures();
  } catch (error) {
    state.failure = error;
  }
  showConnection();
  showProblems(state, here());
  if (state.failure === null && range !== 'live' && here() - historyAsked > HISTORY_MS / 1000) await askHistory();
}

/** After an upgrade of the node its new page understands its new answers. */
function followVersion({ version: now }) {
  if (typeof now !== 'string') return;
  version ??= now;
  if (now !== version) location.reload();
}

/** Shows all that can be shown, and gathers problems; gives the first error of those parts that cannot. */
function showFigures() {
  const { status, blocks } = state;
  const now = nodeTime();
  state.problems = [];
  const parts = [
    () => showNetwork(status),
    () => { state.problems = problemsOf(state, here()); },
    () => showCards(status, blocks.blocks, now),
    () => showTree(status, now),
    () => showShares(status, now),
    () => showPayouts(status),
    () => showMiners(status, now),
    () => showBlocks(blocks, now),
    () => showPeers(status),
    () => showNode(status),
    () => showFooter(status),
    () => range === 'live' && graphs.show(status.history, 'live', status.time),
  ];
  let failure = null;
  for (const part of parts) {
    try {
      part();
    } catch (error) {
      console.error(error);
      failure ??= new ShowError(error);
    }
  }
  return failure;
}

function showNetwork(status) {
  show($('network'), true);
  setText($('network'), networkName(status));
}

/** A private pool names itself beside Bitcoin's network. */
function networkName({ network, chain_name: chain }) {
  return chain === 'main' ? network : `${network}, pool ${chain}`;
}

/** Tells tabs apart: which node, and whether it earns. */
function title(offline) {
  if (state.status === null) return offline ? '✕ p2pool' : 'p2pool';
  const isEarning = !offline && !state.status.problems.some(problem => problem.level === 'error');
  return `${isEarning ? '' : '✕ '}p2pool ${networkName(state.status)}`;
}

function showFooter(status) {
  setText($('footer-node'), `p2pool ${status.version} · up for ${duration(status.uptime_secs)} · miners on port ${status.stratum_port} · nodes on port ${status.p2p_port}`);
}

function showConnection() {
  const { failure, answered } = state;
  const kind = failure === null ? 'live' : failure instanceof ShowError ? 'broken' : 'offline';
  document.title = title(failure !== null);
  setAttr($('connection'), 'data-state', kind);
  setAttr(document.body, 'data-offline', failure === null ? null : '');
  const words = { live: 'live', broken: 'not all is shown', offline: answered === null ? 'offline' : `offline since ${moment(answered, here())}` };
  setText($('connection-text'), words[kind]);
}

async function askHistory() {
  const wanted = range;
  try {
    const { points, step_secs: step } = await ask(`/api/history?window=${wanted}`);
    // Another window may have been chosen meanwhile.
    if (range !== wanted) return;
    historyAsked = here();
    graphs.show(points, wanted, nodeTime(), step);
  } catch (error) {
    if (range === wanted) graphs.fail(error.message);
  }
}

$('ranges').addEventListener('change', event => {
  range = event.target.value;
  historyAsked = 0;
  if (range !== 'live') askHistory();
  else if (state.status !== null) graphs.show(state.status.history, 'live', state.status.time);
});

/** The address says which share is open, so that back and forward work and a share can be linked to. */
function followAddress() {
  const match = /^#share=([0-9a-f]+)$/.exec(location.hash);
  openDialog(match ? match[1] : null, () => ({ now: nodeTime(), ourAddress: state.status?.our_address }));
}
window.addEventListener('hashchange', followAddress);

/** One question at a time, the next some seconds after its answer; none while nobody looks. Nothing ends it. */
async function loop() {
  for (;;) {
    if (document.hidden) await new Promise(resume => document.addEventListener('visibilitychange', resume, { once: true }));
    await poll().catch(console.error);
    await new Promise(resume => setTimeout(resume, POLL_MS));
  }
}

followAddress();
loop();
