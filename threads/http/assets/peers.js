// The lists of connected and of banned peers.

import { $, el, keyed, setText, show } from './dom.js';
import { NONE, count, duration, plural, shorten } from './format.js';
import { shortened } from './more.js';

let last = null;
const firstOf = shortened('peers-more', { wide: 6, phone: 4 }, () => showPeers(last));

/** Shows the peers, lowest latency first. */
export function showPeers(status) {
  const peers = [...status.peers].sort((a, b) => (a.latency_us ?? Infinity) - (b.latency_us ?? Infinity));
  setText($('peers-note'), peers.length ? plural(peers.length, 'peer') : '');
  show($('peers-empty'), peers.length === 0);
  setText($('peers-empty'), 'No peer is connected.');
  setText($('peers-reach'), status.reach.advice);
  last = status;
  const shown = firstOf(peers, hidden => `Show ${count(hidden.length)} more`);
  keyed($('peers-list'), shown, peer => peer.id, create, (row, peer) => {
    setText(row.querySelector('.address'), peer.address || 'address unknown');
    setText(row.querySelector('.agent'), describe(peer));
    setText(row.querySelector('.latency'), latency(peer.latency_us));
  });
  showBans(status);
}

function showBans({ ban_count: all, bans }) {
  show($('bans'), all > 0);
  const listed = bans.length < all ? `, ${count(bans.length)} of them listed` : '';
  setText($('bans-count'), `${plural(all, 'peer or address', 'peers and addresses')} banned or graylisted${listed}`);
  keyed($('bans-list'), bans, ban => ban.subject, createBan, (row, ban) => {
    setText(row.querySelector('.address'), ban.reason);
    setText(row.querySelector('.agent'), `${ban.state} for ${duration(ban.remaining_secs, 1)}`);
  });
}

function createBan({ subject }) {
  return el('li', { class: 'peer' },
    el('span', { class: 'mono', title: subject }, shorten(subject, 12, 8)),
    el('span', { class: 'address note' }),
    el('span', { class: 'agent note' }));
}

function create({ id }) {
  return el('li', { class: 'peer' },
    el('span', { class: 'mono', title: id }, shorten(id, 12, 8)),
    el('span', { class: 'latency num' }),
    el('span', { class: 'address mono note' }),
    el('span', { class: 'agent note' }));
}

const ROUTES = { direct: '', relayed: ', relayed', punched: ', through both routers' };

function describe({ agent, direction, route, connected_secs: connected }) {
  return `${agent || 'unknown version'}, ${direction}${ROUTES[route] ?? ''}, connected for ${duration(connected, 1)}`;
}

function latency(us) {
  if (us === null || us === undefined) return NONE;
  return us < 1000 ? `${us}\u00a0µs` : `${(us / 1000).toFixed(us < 10000 ? 1 : 0)}\u00a0ms`;
}
