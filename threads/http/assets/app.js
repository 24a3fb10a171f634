// Polls the node every few seconds and passes the data to the parts of the page.

import { fetchJson } from './api.js';
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

/** The node updates its status every two seconds; every five is often enough for a reader. */
const POLL_MS = 5000;
/** The stored history gains at most one point per minute. */
const HISTORY_MS = 60000;

/** What the page knows of the node. */
const state = {
  status: null,
  blocks: null,
  /** Time of the node's last response by this computer's clock, in Unix seconds. */
  respondedAt: null,
  /** Why the last poll failed or its data cannot be shown; null after a success. */
  failure: null,
  /** Problems found in the last data. */
  problems: [],
  /** The node's clock minus this computer's, in seconds. */
  skew: 0,
};

const graphs = new Graphs();
// A reloaded page may keep the chosen range.
let range = document.querySelector('#ranges input:checked').value;
/** Time of the last history request, in Unix seconds. */
let historyRequestedAt = 0;
/** Version of the node that served this page. */
let version = null;

/** Unix seconds by this computer's clock. */
const localTime = () => Date.now() / 1000;
/** Unix seconds by the node's clock; ages are relative to it. */
const nodeTime = () => localTime() + state.skew;

async function poll() {
  try {
    const [status, blocks] = await Promise.all([fetchJson('/api/v1/status'), fetchJson('/api/v1/blocks')]);
    reloadOnUpgrade(status);
    state.status = status;
    state.blocks = blocks;
    state.respondedAt = localTime();
    state.skew = status.time - state.respondedAt;
    state.failure = showAll();
  } catch (error) {
    state.failure = error;
  }
  showConnection();
  showProblems(state, localTime());
  if (state.failure === null && range !== 'live' && localTime() - historyRequestedAt > HISTORY_MS / 1000) await loadHistory();
}

/** Reloads the page after an upgrade of the node: only the new page knows the new API. */
function reloadOnUpgrade({ version: now }) {
  if (typeof now !== 'string') return;
  version ??= now;
  if (now !== version) location.reload();
}

/** Updates all parts of the page and returns the first error, or null. */
function showAll() {
  const { status, blocks } = state;
  const now = nodeTime();
  state.problems = [];
  const parts = [
    () => showNetwork(status),
    () => { state.problems = problemsOf(state, localTime()); },
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

/** The Bitcoin network, with the name of a private pool. */
function networkName({ network, chain_name: chain }) {
  return chain === 'main' ? network : `${network}, pool ${chain}`;
}

/** The title of the tab: the network, marked while the node earns nothing. */
function title(offline) {
  if (state.status === null) return offline ? '✕ p2pool' : 'p2pool';
  const isEarning = !offline && !state.status.problems.some(problem => problem.level === 'error');
  return `${isEarning ? '' : '✕ '}p2pool ${networkName(state.status)}`;
}

function showFooter(status) {
  setText($('footer-node'), `p2pool ${status.version} · up for ${duration(status.uptime_secs)} · Stratum port ${status.stratum_port} · P2P port ${status.p2p_port}`);
}

function showConnection() {
  const { failure, respondedAt } = state;
  const kind = failure === null ? 'live' : failure instanceof ShowError ? 'broken' : 'offline';
  document.title = title(failure !== null);
  setAttr($('connection'), 'data-state', kind);
  setAttr(document.body, 'data-offline', failure === null ? null : '');
  const texts = { live: 'live', broken: 'display error', offline: respondedAt === null ? 'offline' : `offline since ${moment(respondedAt, localTime())}` };
  setText($('connection-text'), texts[kind]);
}

async function loadHistory() {
  const requested = range;
  try {
    const { points, step_secs: step } = await fetchJson(`/api/v1/history?window=${requested}`);
    // The user may have chosen another range meanwhile.
    if (range !== requested) return;
    historyRequestedAt = localTime();
    graphs.show(points, requested, nodeTime(), step);
  } catch (error) {
    if (range === requested) graphs.fail(error.message);
  }
}

$('ranges').addEventListener('change', event => {
  range = event.target.value;
  historyRequestedAt = 0;
  if (range !== 'live') loadHistory();
  else if (state.status !== null) graphs.show(state.status.history, 'live', state.status.time);
});

/** Opens the share named in the URL: the back button works, and a share can be linked to. */
function openShareFromUrl() {
  const match = /^#share=([0-9a-f]+)$/.exec(location.hash);
  openDialog(match ? match[1] : null, () => ({ now: nodeTime(), ourAddress: state.status?.our_address }));
}
window.addEventListener('hashchange', openShareFromUrl);

/** Polls one request at a time with a pause after each response, and not while the page is hidden. Never ends. */
async function loop() {
  for (;;) {
    if (document.hidden) await new Promise(resume => document.addEventListener('visibilitychange', resume, { once: true }));
    await poll().catch(console.error);
    await new Promise(resume => setTimeout(resume, POLL_MS));
  }
}

openShareFromUrl();
loop();
