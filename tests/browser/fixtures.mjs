// Fixtures: API responses for states that are hard to reach with a real node. They come from a seeded generator, so each
// run sees the same.

import { createHash } from 'node:crypto';

const HOSTILE_NAME = '<img src=x onerror=alert(1)>';

const hex = text => createHash('sha256').update(text).digest('hex');
const shareHash = (scenario, name) => `00000${hex(`${scenario} ${name}`).slice(5)}`;
const BECH32 = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l';
const address = name => `tb1q${[...Buffer.from(hex(`address ${name}`) + hex(`more ${name}`), 'hex')].map(byte => BECH32[byte % 32]).join('')}`.slice(0, 42);
const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const peerId = name => `12D3KooW${[...Buffer.from(hex(`peer ${name}`) + hex(`id ${name}`), 'hex')].slice(0, 44).map(byte => BASE58[byte % 58]).join('')}`;

/** Returns a seeded pseudorandom generator of numbers from 0 to 1. */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const OURS = address('ours');
const NOW = () => Math.floor(Date.now() / 1000);
const DIFFICULTY = 48231.7;
/** The finder's fee: consensus.md, section 7. */
const finderFee = value => Math.floor((value * 5) / 1000);

/** Makes the shares of heights 1188 to 1235 with uncles, a side chain of three and blocks. */
function shares(scenario, now, payees) {
  const next = random(7);
  const all = [];
  const add = (name, share) => {
    all.push({ name, hash: shareHash(scenario, name), is_block: false, main_chain: true, uncles: [], ...share });
    return all.at(-1);
  };
  const times = [];
  for (let height = 1188; height <= 1235; height += 1) {
    times.push(height === 1188 ? 0 : times.at(-1) + 4 + Math.floor(next() * 52));
  }
  const last = times.at(-1);
  for (let height = 1188; height <= 1235; height += 1) {
    add(height, {
      share_height: height,
      prev_share_hash: shareHash(scenario, height - 1),
      timestamp: now - 14 - last + times[height - 1188],
      miner: next() < 0.3 ? OURS : payees[Math.floor(next() * next() * payees.length)],
      is_block: height === 1227 || height === 1201,
    });
  }
  const main = height => all.find(share => share.name === height);
  // Uncles: the parent is in the main chain, and a later share names the uncle.
  for (const height of [1196, 1210, 1222, 1231]) {
    const uncle = add(`${height} uncle`, { share_height: height, prev_share_hash: main(height - 1).hash, timestamp: main(height).timestamp + 1, miner: payees[height % payees.length], main_chain: false });
    main(height + (height === 1210 ? 2 : 1)).uncles.push(uncle.hash);
  }
  // A second uncle at one height, and a side chain of three shares that are not uncles.
  const second = add('1222 second', { share_height: 1222, prev_share_hash: main(1221).hash, timestamp: main(1222).timestamp + 2, miner: OURS, main_chain: false });
  main(1224).uncles.push(second.hash);
  let parent = main(1221).hash;
  for (const height of [1222, 1223, 1224]) {
    parent = add(`${height} fork`, { share_height: height, prev_share_hash: parent, timestamp: main(height).timestamp + 3, miner: payees[1], main_chain: false }).hash;
  }
  return all;
}

function payoutEntries(payees, value) {
  const weights = payees.map((_, index) => 1 / (index + 1.6) ** 1.1);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const amounts = weights.map(weight => Math.floor((value * weight) / total));
  amounts[0] += value - amounts.reduce((sum, amount) => sum + amount, 0);
  return payees.map((payee, index) => ({ address: payee, amount: amounts[index], pct: (100 * amounts[index]) / value }));
}

function points(now, count, step, shareCount) {
  const next = random(count);
  return Array.from({ length: count }, (_, index) => ({
    t: Math.floor(now - (count - 1 - index) * step),
    ph: 6.9e12 * (1 + 0.22 * Math.sin(index / 9) + 0.1 * next()),
    lh: 1.18e12 * (1 + 0.1 * Math.sin(index / 5) + 0.12 * next()),
    shares: Math.max(0, shareCount - Math.floor(((count - 1 - index) * step) / 30)),
    miners: 5,
    peers: 4,
  }));
}

function miner(worker, fields) {
  return {
    worker,
    user_agent: 'bitaxe/BM1370/v2.9.0',
    hashrate: 1.18e12,
    difficulty: 2048,
    shares: 5120,
    best_difficulty: 8.42e8,
    rejected: 0,
    rejected_by_reason: { malformed: 0, busy: 0, stale: 0, duplicate: 0, low_difficulty: 0, unauthorised: 0 },
    coinbase_too_large: false,
    needs_attention: false,
    silent_secs: null,
    named_address: 'none',
    last_share_time: NOW() - 6,
    connected_secs: 93784,
    ...fields,
  };
}

const MINERS = [
  miner('garage.bitaxe-1', {}),
  miner('garage.bitaxe-2', { hashrate: 1.21e12, shares: 6014, best_difficulty: 2.1e9, rejected: 20, rejected_by_reason: { malformed: 0, busy: 0, stale: 7, duplicate: 2, low_difficulty: 11, unauthorised: 0 } }),
  miner('attic.s19', { user_agent: 'bmminer/2.0.0', hashrate: 9.6e13, difficulty: 131072, shares: 812, coinbase_too_large: true, needs_attention: true, connected_secs: 3731 }),
  miner(HOSTILE_NAME, { user_agent: '<script>alert(2)</script>', hashrate: 2.1e5, difficulty: 0.0012, shares: 0, best_difficulty: 0, last_share_time: null, connected_secs: 12 }),
  miner('a-worker-whose-name-was-chosen-by-somebody-who-likes-long-names-without-any-space.and.some.more.of.it', { user_agent: 'cgminer/4.12.1 with a very long description of itself', connected_secs: 2 }),
];

/** A pool with 48 payees, side chains, uncles and unusual names. */
function busy(scenario = 'busy') {
  const now = NOW();
  const value = 312847193;
  const payees = Array.from({ length: 48 }, (_, index) => (index === 3 ? OURS : address(index)));
  const tree = shares(scenario, now, payees);
  const main = tree.filter(share => share.main_chain).sort((a, b) => b.share_height - a.share_height);
  const entries = payoutEntries(payees, value);
  const block = main.find(share => share.is_block);
  return {
    status: {
      time: now,
      version: '0.1.0',
      state: { code: 'ok', level: 'ok', text: 'Everything works.', advice: '', since: null },
      share_count: 1236,
      sharechain_height: 1235,
      uncle_count: 5,
      uncredited_count: 3,
      shares_waiting: 0,
      miner_count: MINERS.length,
      peer_count: 4,
      difficulty: DIFFICULTY,
      target_bits: '1b0165e5',
      tip_hash: main[0].hash,
      tip_miner: main[0].miner,
      tip_time: main[0].timestamp,
      recent_shares: main.slice(0, 20).map(({ hash, miner, timestamp, is_block, share_height, uncles }) => ({ hash, miner, timestamp, is_block, share_height, uncles: uncles.length })),
      miner_weights: Object.fromEntries(entries.map(({ address: payee, amount }) => [payee, (payee === OURS ? amount - finderFee(value) : amount) / (value - finderFee(value))])),
      our_weight_fraction: (entries[3].amount - finderFee(value)) / (value - finderFee(value)),
      miner_weights_omitted: 0,
      window_shares: 1236,
      shares_accepted: 17058,
      shares_rejected: 20,
      blocks_found: 1,
      network: 'testnet4',
      chain_name: 'main',
      stratum_port: 3333,
      p2p_port: 9333,
      share_target_time_secs: 30,
      pplns_window_size: 8640,
      uptime_secs: 187234,
      pool_hashrate: 7.31e12,
      local_hashrate: 1.24e12,
      last_block_found_time: block.timestamp,
      last_block_found_hash: block.hash,
      est_time_to_block: 9312,
      history: points(now, 60, 10, 1236),
      our_address: OURS,
      payout_entries: entries,
      coinbase_value: value,
      coinbase_bytes: 1832,
      rules: { in_force: 2, known: 3, needed: null, signals: [{ version: 3, work_pct: 41.7 }] },
      payout_outputs: {
        max: 48,
        vote: 48,
        vote_is_fixed: false,
        firmware: [
          { name: 'unknown firmware', outputs: 48, work_pct: 97.31, counts: true },
          { name: 'bitaxe', outputs: 146, work_pct: 2.69, counts: true },
        ],
        votes: [{ outputs: 48, work_pct: 12.5 }, { outputs: 146, work_pct: 87.5 }, { outputs: 366, work_pct: 0 }, { outputs: 1000, work_pct: 0 }],
      },
      our_payout: entries[3].amount,
      our_payout_without_fee: entries[3].amount - finderFee(value),
      block_height: 91828,
      block_difficulty: 1.58e7,
      template_age_secs: 7,
      tree_shares: tree.map(({ name, ...share }) => share),
      our_peer_id: peerId('ours'),
      reach: { state: 'relayed', advice: 'Behind a router: other nodes connect through 2 peers. To be reachable, forward TCP port 9333 of the router to this machine.', addresses: [], port_mapped: false, relays: 2, relayed_for: 0 },
      peers: [
        { id: peerId('a'), latency_us: 18342, address: '/ip4/203.0.113.7/tcp/9333', direction: 'outbound', route: 'direct', agent: 'p2pool/0.1.0', connected_secs: 86000 },
        { id: peerId('b'), latency_us: 412, address: '/ip4/192.168.1.20/tcp/9333', direction: 'inbound', route: 'direct', agent: 'p2pool/0.1.0', connected_secs: 3600 },
        { id: peerId('c'), latency_us: 231000, address: '/ip6/2001:db8:85a3:8d3:1319:8a2e:370:7348/tcp/9333/p2p/a-long-relay-name/p2p-circuit', direction: 'outbound', route: 'relayed', agent: 'p2pool/0.2.0-dev', connected_secs: 40 },
        { id: peerId('d'), latency_us: null, address: '', direction: 'inbound', route: 'direct', agent: '', connected_secs: 1 },
      ],
      chain_fit: { own_shares_per_window: 2.4, fits: 'mini', advice: 'A payout window holds about 2 shares of your miners at their present hash rate. Below 10, what a block pays you varies by more than a third: “-chain-name mini”, for small miners, fits better if others mine there, though its blocks are rarer.' },
      ban_count: 3,
      bans: [
        { subject: peerId('banned'), state: 'banned', reason: 'by the operator', until: NOW() + 604000, remaining_secs: 604000 },
        { subject: '2001:db8:85a3::/48', state: 'banned', reason: 'many banned addresses', until: NOW() + 86000, remaining_secs: 86000 },
        { subject: '198.51.100.7', state: 'graylisted', reason: 'ban score 60', until: NOW() + 330, remaining_secs: 330 },
      ],
      silent_count: 0,
      miners: MINERS,
      gone_count: 0,
      gone_miners: [],
      problems: [],
      no_work: null,
    },
    blocks: [
      { hash: block.hash, height: 91827, share_height: block.share_height, share_stored: true, time: block.timestamp, status: 'submitted', confirmations: null, reason: null, miner: block.miner, ours: false, value },
      { hash: main.at(-14).hash, height: 91812, share_height: 1201, share_stored: true, time: now - 1700, status: 'confirmed', confirmations: 15, reason: null, miner: OURS, ours: true, value: 312500000 },
      { hash: hex('rejected block'), height: 91500, share_height: null, share_stored: false, time: now - 40000, status: 'rejected', confirmations: null, reason: 'bad-cb-amount', miner: OURS, ours: true, value: 312500001 },
      { hash: hex('orphaned block'), height: 91002, share_height: 17, share_stored: false, time: now - 86400, status: 'orphaned', confirmations: null, reason: null, miner: payees[2], ours: false, value: 312500000 },
      { hash: hex('block not accepted'), height: 90950, share_height: null, share_stored: false, time: now - 90000, status: 'not_accepted', confirmations: null, reason: 'bitcoind does not respond: HTTP status 503: Work queue depth exceeded', miner: OURS, ours: true, value },
    ],
    tree,
    entries,
  };
}

/** A notice with the texts of `threads/http/src/api/notice`. */
const notice = (code, level, text, advice, since = null) => ({ code, level, text, advice, since });
const NO_MINER = () => notice('no_miner', 'info', 'No miner is connected.', 'Point a miner at stratum+tcp://, the name or address of this machine, and the port of this page.');

/** A node without shares, peers, miners and work, for the reasons in `problems`, most severe first. */
function nothing(problems, fields) {
  const { status } = busy();
  return {
    status: {
      ...status,
      state: problems[0],
      problems,
      sharechain_height: null, uncle_count: 0, uncredited_count: 0, miner_weights_omitted: 0, window_shares: null, shares_accepted: 0, shares_rejected: 0, blocks_found: 0,
      share_count: 0, miner_count: 0, peer_count: 0, tip_hash: null, tip_miner: null, tip_time: null, recent_shares: [], miner_weights: {}, our_weight_fraction: null,
      uptime_secs: 4, pool_hashrate: 0, local_hashrate: 0, last_block_found_time: null, last_block_found_hash: null, est_time_to_block: null,
      history: [], payout_entries: [], coinbase_value: null, our_peer_id: '', coinbase_bytes: null, payout_outputs: { ...status.payout_outputs, firmware: [], votes: [] }, rules: { in_force: null, known: 3, needed: null, signals: [] }, our_payout: 0, our_payout_without_fee: 0, block_height: null, block_difficulty: null, template_age_secs: null,
      tree_shares: [], peers: [], ban_count: 0, bans: [], chain_fit: { own_shares_per_window: null, fits: null, advice: null }, miners: [], difficulty: 0.00024414,
      ...fields,
    },
    blocks: [],
    tree: [],
    entries: [],
  };
}

/** A new node that mines solo, while bitcoind is in initial block download. */
const empty = () => nothing([
  notice('bitcoind_syncing', 'error', 'bitcoind is still downloading the block chain: 43\u00a0% done. There has been no block template yet.', 'Wait: mining begins by itself when it is done.', NOW() - 4),
  notice('solo', 'warning', 'No peer can be reached.', 'Check that the nodes in -bootnodes are running and reachable, and that -p2p-port of this machine is reachable from outside. Shares found meanwhile may earn less.', NOW() - 4),
  NO_MINER(),
], { window_shares: 0, our_weight_fraction: 0 });

/** The first seconds of a node: there is a block template, but no peer yet. */
const waiting = () => nothing([
  notice('waiting_for_peers', 'error', 'No peer yet: there is no work for miners until this node is synced with one.', 'Wait: miners get work when this node is synced with a peer, or after a minute without any.', NOW() - 4),
  NO_MINER(),
], { template_age_secs: 2 });

/** A node that downloads the sharechain from its peers. */
const syncing = () => nothing([
  notice('syncing', 'error', 'Downloading the sharechain: 12\u00a0% of 8\u202f640 shares.', 'Wait: miners get work when this is done.'),
  NO_MINER(),
], { template_age_secs: 2, peer_count: 4, peers: busy().status.peers });

const SCENARIOS = { busy, empty, waiting, syncing };

/** The names of all scenarios. */
export const NAMES = Object.keys(SCENARIOS);

/** Returns the API responses of a scenario. */
export function scenario(name) {
  if (!(name in SCENARIOS)) throw new Error(`unknown scenario '${name}'; known ones: ${NAMES.join(', ')}`);
  const made = SCENARIOS[name]();
  return {
    status: made.status,
    blocks: { count: made.blocks.length, found_since_start: 1, submissions: { success: 1, rejected: 0, failed: 0 }, blocks: made.blocks },
    history: window => {
      const span = { '1h': 3600, '1d': 86400, '7d': 604800, '30d': 2592000 }[window];
      // With a gap: the node was off for a while.
      return span && { window, step_secs: span / 180, points: made.status.history.length ? points(NOW(), 180, span / 180, 90000).filter((_, index) => index < 60 || index > 75) : [] };
    },
    share: hash => detail(made, hash),
  };
}

function detail({ tree, entries }, hash) {
  const share = tree.find(candidate => candidate.hash === hash);
  if (!share) return null;
  const named = tree.find(candidate => candidate.main_chain && candidate.uncles.includes(hash));
  return {
    hash,
    is_block: share.is_block,
    main_chain: share.main_chain,
    verified: true,
    confirmations: share.main_chain ? 1235 - share.share_height : null,
    miner: share.miner,
    timestamp: share.timestamp,
    header: {
      raw: hex(`header ${hash}`) + hex('more') + hex('rest').slice(32),
      version: 0x20000000,
      prev_block: `00000000${hex('block').slice(8)}`,
      merkle_root: hex(`root ${hash}`),
      time: share.timestamp,
      bits: '1903a30c',
      nonce: 0xa1b2c3d4,
    },
    info: {
      parent: share.prev_share_hash,
      uncles: share.uncles,
      share_height: share.share_height,
      chain_work: '243126001238912000',
      rules_version: 2,
      share_bits: '1b0165e5',
      base_bits: '1b0165e5',
      signal: 2,
      outputs_vote: 0,
      outputs_class: 0,
      block_height: 91827,
      coinbase_value: 312847193,
      payout_script: `0014${hex(share.miner).slice(0, 40)}`,
      payout_address: share.miner,
      witness_commitment: hex(`witness ${hash}`),
      coinbase_tag: 'garage pool',
    },
    extranonce: hex(`extranonce ${hash}`).slice(0, 24),
    merkle_branch: Array.from({ length: 5 }, (_, index) => hex(`branch ${index}`)),
    work: '207153721200640',
    share_difficulty: DIFFICULTY,
    block_difficulty: 1.58e7,
    hash_difficulty: share.is_block ? 2.2e7 : 61234,
    children: tree.filter(candidate => candidate.prev_share_hash === hash).map(candidate => candidate.hash),
    named_by: named?.hash ?? null,
    payouts: entries,
  };
}
