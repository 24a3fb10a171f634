// Draws the newest part of the sharechain, oldest share left, side chains below the main chain; and lists it.

import { $, el, keyed, setAttr, setText, shareHref, show, svg } from './dom.js';
import { ago, count, plural, shorten } from './format.js';
import { whyNoShares } from './problems.js';

/** Distances in CSS pixels. The step between heights grows within these limits until the drawing fills its box. */
const STEP_MIN = 24;
const STEP_MAX = 36;
const LANE = 30;
const MARGIN_X = 30;
const MARGIN_Y = 20;
/** Height of the labels below. */
const FOOT = 22;
/** Distance between labelled heights. */
const HEIGHTS_LABELLED = 5;
/** Radius of the target for pointer and finger; the largest mark fits into it. */
const HIT_RADIUS = 12;

const KINDS = { main: 'main chain', uncle: 'uncle', fork: 'side chain' };

const edges = svg('g', { class: 'edges' });
const labels = svg('g', { class: 'heights', 'aria-hidden': 'true' });
const nodes = svg('g', { class: 'nodes' });
const drawing = svg('svg', { role: 'group', 'aria-label': 'Shares of the chain, oldest first. Arrow keys move, Enter opens.' }, edges, labels, nodes);
$('tree').append(drawing);

const byTouch = matchMedia('(hover: none)');

/** The current drawing: places by hash, and the lowest height. */
let drawn = { places: new Map(), base: null };
/** Hash of the share that Tab focuses; arrow keys lead from it to the others. */
let current = null;
let summary = '';
let list = { shares: [], context: null };

/** Shows the newest shares. */
export function showTree(status, now) {
  const context = { now, ours: status.our_address };
  const places = layOut(status.tree_shares);
  for (const id of ['tree', 'tree-legend', 'tree-readout', 'tree-details']) show($(id), places.size > 0);
  show($('tree-empty'), places.size === 0);
  const why = whyNoShares(status);
  setText($('tree-empty'), why ? `The sharechain is not known yet: ${why}.` : 'The sharechain is empty: it begins with the first share that a miner of the pool finds.');
  draw(places, context);
  summary = summarise([...places.values()]);
  if (!nodes.contains(document.activeElement) && !nodes.matches(':hover')) setText($('tree-readout'), summary);
  list = { shares: [...places.values()].sort((a, b) => b.height - a.height || a.lane - b.lane), context };
  if ($('tree-details').open) showList();
}

$('tree-details').addEventListener('toggle', () => {
  if ($('tree-details').open) showList();
});

/** Assigns a kind and a lane to each share. Returns a map from hash to `{...share, height, kind, nephews, lane}`. */
export function layOut(shares) {
  const places = new Map(shares.map(share => [share.hash, { ...share, height: share.share_height, kind: share.main_chain ? 'main' : 'fork', nephews: [], lane: 0 }]));
  const children = new Map();
  for (const place of places.values()) {
    for (const uncle of place.uncles) {
      const named = places.get(uncle);
      named?.nephews.push(place.hash);
      // An uncle is paid only if the main chain names it.
      if (named && place.main_chain && !named.main_chain) named.kind = 'uncle';
    }
    if (!place.main_chain) children.set(place.prev_share_hash, [...(children.get(place.prev_share_hash) ?? []), place]);
  }
  assignLanes(branches(places, children));
  return places;
}

/** Splits the shares of side chains into branches without forks, each in order of height. */
function branches(places, children) {
  const found = [];
  const begins = [...places.values()].filter(place => !place.main_chain && (places.get(place.prev_share_hash)?.main_chain ?? true));
  while (begins.length > 0) {
    const branch = [begins.shift()];
    for (let next = children.get(branch[0].hash); next?.length > 0; next = children.get(branch.at(-1).hash)) {
      branch.push(next[0]);
      begins.push(...next.slice(1));
    }
    found.push(branch);
  }
  return found.sort((a, b) => a[0].height - b[0].height);
}

/** Assigns to each branch the topmost lane that is free from the height before it. */
function assignLanes(found) {
  const usedTo = [Infinity];
  for (const branch of found) {
    let lane = usedTo.findIndex(height => height < branch[0].height - 1);
    if (lane < 0) lane = usedTo.length;
    usedTo[lane] = branch.at(-1).height;
    for (const place of branch) place.lane = lane;
  }
}

function draw(places, context) {
  const all = [...places.values()].sort((a, b) => a.height - b.height);
  if (all.length === 0) return;
  const base = all[0].height;
  const top = all.at(-1).height;
  const lanes = Math.max(...all.map(place => place.lane));
  const box = $('tree');
  const step = stepFor(box.clientWidth, top - base);
  const at = place => ({ x: MARGIN_X + (place.height - base) * step, y: MARGIN_Y + place.lane * LANE });
  const atEnd = box.scrollLeft >= box.scrollWidth - box.clientWidth - step;
  const before = drawn.base;
  setAttr(drawing, 'width', 2 * MARGIN_X + (top - base) * step);
  setAttr(drawing, 'height', 2 * MARGIN_Y + lanes * LANE + FOOT);
  drawn = { places, base };
  keyed(edges, lines(all, places), line => line.key, () => svg('path'), (path, line) => {
    setAttr(path, 'class', line.kind);
    setAttr(path, 'd', curve(line.from && at(line.from), at(line.to), step));
  });
  keyed(labels, labelled(base, top), height => height, () => svg('text', { 'text-anchor': 'middle' }), (text, height) => {
    setAttr(text, 'x', MARGIN_X + (height - base) * step);
    setAttr(text, 'y', 2 * MARGIN_Y + lanes * LANE + FOOT - 10);
    setText(text, `#${count(height)}`);
  });
  if (!places.has(current)) current = all.filter(place => place.main_chain).at(-1)?.hash ?? all.at(-1).hash;
  keyed(nodes, all, place => place.hash, createNode, (node, place) => updateNode(node, place, at(place), context));
  // A view of the newest shares follows them; a view of older shares stays in place.
  if (atEnd || before === null) box.scrollLeft = box.scrollWidth;
  else if (base !== before) box.scrollLeft -= (base - before) * step;
}

/** Returns the step that makes the heights fill the box, within its limits. */
function stepFor(width, heights) {
  const even = Math.floor((width - 2 * MARGIN_X) / Math.max(1, heights));
  return Math.max(STEP_MIN, Math.min(STEP_MAX, even));
}

function lines(all, places) {
  const parents = all.filter(place => place.height > 0).map(place => ({
    key: place.hash,
    kind: place.main_chain ? 'e-main' : 'e-fork',
    from: places.get(place.prev_share_hash),
    to: place,
  }));
  const uncles = all.flatMap(place => place.uncles.filter(uncle => places.has(uncle)).map(uncle => ({
    key: `${uncle}>${place.hash}`,
    kind: 'e-uncle',
    from: places.get(uncle),
    to: place,
  })));
  return [...parents, ...uncles];
}

function curve(from, to, step) {
  if (!from) return `M${to.x - step * 0.7} ${to.y}H${to.x}`;
  if (from.y === to.y) return `M${from.x} ${from.y}H${to.x}`;
  const half = (to.x - from.x) / 2;
  return `M${from.x} ${from.y}C${from.x + half} ${from.y} ${to.x - half} ${to.y} ${to.x} ${to.y}`;
}

function labelled(base, top) {
  const found = [];
  for (let height = Math.ceil(base / HEIGHTS_LABELLED) * HEIGHTS_LABELLED; height <= top; height += HEIGHTS_LABELLED) found.push(height);
  return found;
}

function createNode({ hash }) {
  const node = svg('a', { class: 'node', href: shareHref(hash), 'data-hash': hash },
    svg('circle', { class: 'hit', r: HIT_RADIUS }), svg('path', { class: 'mark' }), svg('circle', { class: 'n-ours', r: 2.5 }));
  node.addEventListener('focus', () => {
    current = hash;
    showReadout(hash);
  });
  node.addEventListener('pointerenter', () => showReadout(hash));
  node.addEventListener('pointerleave', () => setText($('tree-readout'), summary));
  node.addEventListener('blur', () => setText($('tree-readout'), summary));
  return node;
}

/** Marks differ by shape, not only by colour. */
const MARKS = {
  main: 'M-6 0A6 6 0 1 1 6 0 6 6 0 1 1 -6 0Z',
  uncle: 'M-5.5 0A5.5 5.5 0 1 1 5.5 0 5.5 5.5 0 1 1 -5.5 0Z',
  fork: 'M-5 -5 5 5M-5 5 5 -5',
  block: 'M0 -9 9 0 0 9 -9 0Z',
};

function updateNode(node, place, { x, y }, context) {
  const mark = place.is_block ? 'block' : place.kind;
  setAttr(node, 'transform', `translate(${x} ${y})`);
  setAttr(node, 'tabindex', place.hash === current ? 0 : -1);
  setAttr(node, 'aria-label', describe(place, context));
  setAttr(node.querySelector('.mark'), 'class', `mark n-${mark}`);
  setAttr(node.querySelector('.mark'), 'd', MARKS[mark]);
  setAttr(node.querySelector('.n-ours'), 'display', place.miner === context.ours && mark !== 'fork' ? null : 'none');
}

function describe(place, { now, ours }) {
  const parts = [`Share ${count(place.height)}`, KINDS[place.kind]];
  if (place.is_block) parts.push('found a block');
  const who = place.miner === ours ? 'you' : shorten(place.miner, 12, 8);
  return `${parts.join(', ')}, by ${who}, ${ago(place.timestamp, now)}`;
}

function showReadout(hash) {
  const place = drawn.places.get(hash);
  if (place) setText($('tree-readout'), `${describe(place, list.context)} · ${shorten(hash, 16, 8)}`);
}

function summarise(places) {
  const uncles = places.filter(place => place.kind === 'uncle').length;
  const forks = places.filter(place => place.kind === 'fork').length;
  return `The newest ${plural(places.length, 'share')}: ${plural(uncles, 'uncle')}, ${count(forks)} not paid. ${byTouch.matches ? 'Tap' : 'Point at'} one for details.`;
}

/** Left and right move along a lane, up and down to the nearest share in another lane. */
drawing.addEventListener('keydown', event => {
  const here = drawn.places.get(event.target.closest('.node')?.dataset.hash);
  const next = here && neighbour(here, event.key);
  if (!next) return;
  event.preventDefault();
  for (const node of nodes.children) {
    setAttr(node, 'tabindex', node.dataset.hash === next.hash ? 0 : -1);
    if (node.dataset.hash === next.hash) node.focus();
  }
});

function neighbour(here, key) {
  const others = [...drawn.places.values()].filter(place => place !== here);
  const nearest = fits => others.filter(fits).sort((a, b) => distance(a, here) - distance(b, here))[0];
  if (key === 'ArrowLeft') return nearest(place => place.height < here.height && place.lane <= here.lane);
  if (key === 'ArrowRight') return nearest(place => place.height > here.height && place.lane <= here.lane);
  if (key === 'ArrowUp') return nearest(place => place.lane < here.lane);
  if (key === 'ArrowDown') return nearest(place => place.lane > here.lane);
  if (key === 'Home') return others.sort((a, b) => a.height - b.height)[0];
  if (key === 'End') return others.sort((a, b) => b.height - a.height)[0];
  return undefined;
}

/** A change of lane weighs more, so moves stay in a lane if possible. */
const distance = (a, b) => Math.abs(a.height - b.height) + 2 * Math.abs(a.lane - b.lane);

function showList() {
  keyed($('tree-list'), list.shares, place => place.hash, createRow, (row, place) => {
    setText(row.querySelector('.what'), describe(place, list.context));
    setText(row.querySelector('.nephews'), place.nephews.length ? `, uncle of ${place.nephews.map(hash => shorten(hash)).join(', ')}` : '');
  });
}

function createRow({ hash }) {
  return el('li', {}, el('a', { class: 'mono', href: shareHref(hash) }, shorten(hash, 12, 8)), ' ', el('span', { class: 'what' }), el('span', { class: 'nephews' }));
}
