// Helpers for the page's elements. Data from the node is set as text, never as markup: it contains untrusted names.

const SVG = 'http://www.w3.org/2000/svg';

/** Returns the element with this id. */
export const $ = id => document.getElementById(id);

/** Sets an element's text, only if it differs: nothing flickers and selections stay. */
export function setText(node, text) {
  const only = node.firstChild;
  if (only !== null && only === node.lastChild && only.nodeType === Node.TEXT_NODE) {
    if (only.data !== text) only.data = text;
  } else {
    node.textContent = text;
  }
}

/** Sets an attribute, or removes it for null, only if it differs. */
export function setAttr(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

/** Shows or hides an element. */
export const show = (node, visible) => setAttr(node, 'hidden', visible ? null : '');

/** Creates an element. Children are elements or texts. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Creates an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) setAttr(node, name, value);
  node.append(...children);
  return node;
}

const rowsOf = new WeakMap();

/**
 * Makes `parent` show `items`: keeps elements whose key is still present (with their focus and selection), and adds
 * or removes the others. `create(item)` returns an element, `update(element, item, index)` sets what may change.
 */
export function keyed(parent, items, key, create, update) {
  const before = rowsOf.get(parent) ?? new Map();
  const rows = new Map();
  for (const item of items) {
    // Items with equal keys are distinguished by their order.
    let name = String(key(item));
    while (rows.has(name)) name += ' ';
    rows.set(name, { item, node: before.get(name) ?? create(item) });
  }
  for (const [name, node] of before) if (!rows.has(name)) node.remove();
  let next = parent.firstElementChild;
  let index = 0;
  for (const { item, node } of rows.values()) {
    update(node, item, index);
    // Elements already in place stay untouched: moving one would drop its focus.
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
    index += 1;
  }
  rowsOf.set(parent, new Map([...rows].map(([name, { node }]) => [name, node])));
}

/** Returns the link that opens a share on this page. */
export const shareHref = hash => `#share=${encodeURIComponent(hash)}`;
