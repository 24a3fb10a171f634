//! The state of everything, in one document for the page: one request shows one moment.

use std::collections::BTreeMap;

use p2pool_core::payouts::Window;
use p2pool_core::share::ShareId;
use p2pool_core::sharechain::{Node, Tree};
use p2pool_core::units::ShareHeight;
use serde::Serialize;

use super::miners::Miner;
use super::payouts::{amount_for, amount_without_fee, Weights};
use super::peers::Peer;
use super::state::{states, State};
use super::PayoutEntry;
use crate::found::Found;
use crate::history::{History, Point};
use crate::view::{difficulty, difficulty_of, is_block, View};
use crate::HttpConfig;

/// Newest shares listed.
const RECENT_SHARES: usize = 30;
/// Heights below the tip whose shares, forks and uncles included, are drawn as a tree.
const TREE_HEIGHTS: u32 = 40;
/// Shares of that tree at most: a flood of forks must not make the document large.
const TREE_SHARES_MAX: usize = 160;
/// Miners listed here; all are in `/api/miners`.
const MINERS_MAX: usize = 100;

/// The document.
#[derive(Serialize)]
pub struct StatusDocument {
    time: u32,
    version: &'static str,
    state: State,
    problems: Vec<State>,

    share_count: usize,
    sharechain_height: Option<u32>,
    uncle_count: usize,
    orphan_count: usize,
    shares_waiting: usize,
    difficulty: f64,
    target_bits: String,
    tip_hash: Option<String>,
    tip_miner: Option<String>,
    tip_time: Option<u32>,
    recent_shares: Vec<RecentShare>,
    tree_shares: Vec<TreeShare>,

    network: &'static str,
    chain_name: String,
    stratum_port: u16,
    p2p_port: u16,
    share_target_time_secs: u32,
    pplns_window_size: u32,
    uptime_secs: u64,
    template_age_secs: Option<u32>,

    pool_hashrate: f64,
    local_hashrate: f64,
    history: Vec<Point>,

    block_height: Option<u32>,
    block_difficulty: Option<f64>,
    est_time_to_block: Option<f64>,
    last_block_found_time: Option<u32>,
    last_block_found_hash: Option<String>,
    blocks_found: u64,

    our_address: String,
    /// What a block found by this node now would pay our address.
    our_payout: u64,
    /// What one found by another node would.
    our_payout_without_fee: u64,
    our_weight_fraction: Option<f64>,
    coinbase_value: Option<u64>,
    coinbase_bytes: Option<usize>,
    payout_entries: Vec<PayoutEntry>,
    /// Parts of the payout window, all together 1 unless some are left out.
    miner_weights: BTreeMap<String, f64>,
    miner_weights_omitted: usize,
    /// None while it is not known.
    window_shares: Option<usize>,

    miner_count: usize,
    miners: Vec<Miner>,
    shares_accepted: u64,
    shares_rejected: u64,

    our_peer_id: String,
    peer_count: usize,
    peers: Vec<Peer>,
}

/// A share of the main chain.
#[derive(Serialize)]
struct RecentShare {
    hash: String,
    miner: String,
    timestamp: u32,
    is_block: bool,
    share_height: u32,
    uncles: usize,
}

/// A share near the tip, in the main chain or not.
#[derive(Serialize)]
struct TreeShare {
    hash: String,
    prev_share_hash: String,
    miner: String,
    timestamp: u32,
    is_block: bool,
    main_chain: bool,
    share_height: u32,
    uncles: Vec<String>,
}

/// Shares that are not in the main chain.
pub struct SideShares {
    /// Named by the main chain: they are paid for.
    pub uncles: usize,
    /// Not named: they are not.
    pub orphans: usize,
}

impl SideShares {
    /// Counts them. Only uncles that are held count.
    pub fn of(tree: &Tree) -> Self {
        let main = tree.main_chain().iter().filter_map(|id| tree.node(id));
        let uncles = main.flat_map(|node| &node.share.info.uncles).filter(|uncle| tree.node(uncle).is_some()).count();
        let side = tree.len().saturating_sub(tree.main_chain().len());
        Self { uncles, orphans: side.saturating_sub(uncles) }
    }
}

/// Everything a status is made of beside the view.
pub struct StatusSources<'a> {
    /// Settings.
    pub config: &'a HttpConfig,
    /// Samples.
    pub history: &'a History,
    /// Blocks.
    pub found: &'a Found,
    /// The window that payouts come from, kept between requests.
    pub window: &'a mut Window,
    /// How long the node runs.
    pub uptime_secs: u64,
}

impl StatusDocument {
    /// Of now.
    pub fn of(view: &View, sources: StatusSources<'_>) -> Self {
        let StatusSources { config, history, found, window, uptime_secs } = sources;
        let (tree, job, params) = (view.tree(), view.job(), view.tree().params());
        let weights = Weights::of(view, window, &config.payout_script);
        let mut problems = states(view);
        let state = problems.first().cloned().unwrap_or_else(State::ok);
        problems.retain(|state| *state != State::ok());
        let side = SideShares::of(tree);
        let tip = tree.tip();
        let share_bits = view.share_bits();
        let last_block = found.newest();
        let counters = &view.counters;
        Self {
            time: view.now.0,
            version: env!("CARGO_PKG_VERSION"),
            state,
            problems,
            share_count: tree.len(),
            sharechain_height: tip.map(|tip| tip.share.info.share_height.0),
            uncle_count: side.uncles,
            orphan_count: side.orphans,
            shares_waiting: view.chain.waiting.0.saturating_add(view.chain.waiting.1),
            difficulty: difficulty(share_bits),
            target_bits: share_bits.to_string(),
            tip_hash: tip.map(|tip| tip.id.to_string()),
            tip_miner: tip.map(|tip| miner(tip, tree)),
            tip_time: tip.map(|tip| tip.share.header.time),
            recent_shares: recent_shares(tree),
            tree_shares: tree_shares(tree),
            network: params.network.name(),
            chain_name: params.chain_name.clone(),
            stratum_port: config.stratum_port,
            p2p_port: config.p2p_port,
            share_target_time_secs: params.share_period_s,
            pplns_window_size: params.payout_window,
            uptime_secs,
            template_age_secs: view.template_age_s(),
            pool_hashrate: view.pool_hashes_per_s(),
            local_hashrate: view.local_hashes_per_s(),
            history: history.live(),
            block_height: job.map(|job| job.block_height.0),
            block_difficulty: job.map(|job| difficulty_of(&job.block_target)),
            est_time_to_block: view.block_time_s(),
            last_block_found_time: last_block.map(|block| block.time),
            last_block_found_hash: last_block.map(|block| block.id.to_string()),
            blocks_found: counters.blocks_found.get(),
            our_address: config.payout_address.clone(),
            our_payout: amount_for(view, &config.payout_script),
            coinbase_value: job.map(|job| job.info.coinbase_value.0),
            coinbase_bytes: job.map(|job| job.coinbase.len_bytes()),
            payout_entries: job.map(|job| PayoutEntry::list(&job.payouts, params.network)).unwrap_or_default(),
            our_payout_without_fee: amount_without_fee(view, &config.payout_script),
            our_weight_fraction: weights.our_fraction,
            miner_weights: weights.list.into_iter().map(|weight| (weight.address, weight.pct / 100.0)).collect(),
            miner_weights_omitted: weights.omitted,
            window_shares: weights.shares,
            miner_count: view.miners.miners.len(),
            miners: Miner::strongest(view, MINERS_MAX),
            shares_accepted: counters.shares_accepted.get(),
            shares_rejected: counters.shares_rejected(),
            our_peer_id: view.peers.our_id.clone(),
            peer_count: view.peers.peers.len(),
            peers: Peer::list(&view.peers, view.now),
        }
    }
}

fn miner(node: &Node, tree: &Tree) -> String {
    node.share.info.payout_script.to_address(tree.params().network)
}

/// Newest first.
fn recent_shares(tree: &Tree) -> Vec<RecentShare> {
    let newest = tree.main_chain().iter().rev().take(RECENT_SHARES).filter_map(|id| tree.node(id));
    let share = |node: &Node| RecentShare {
        hash: node.id.to_string(),
        miner: miner(node, tree),
        timestamp: node.share.header.time,
        is_block: is_block(node),
        share_height: node.share.info.share_height.0,
        uncles: node.share.info.uncles.len(),
    };
    newest.map(share).collect()
}

/// By height, highest first, the main chain's before others of its height.
fn tree_shares(tree: &Tree) -> Vec<TreeShare> {
    let Some(tip) = tree.tip() else { return Vec::new() };
    let lowest = tip.share.info.share_height.0.saturating_sub(TREE_HEIGHTS - 1);
    // All that grows from the main chain's share below the lowest height: forks that left it earlier are not drawn.
    let below = lowest.checked_sub(1).and_then(|height| tree.main_at(ShareHeight(height))).copied();
    let mut nodes: Vec<&Node> = Vec::new();
    let mut roots: Vec<ShareId> = vec![below.unwrap_or(ShareId::ZERO)];
    if below.is_none() && lowest > 0 {
        // The share below is pruned: the oldest one that is held is the root.
        roots = tree.main_chain().first().into_iter().copied().collect();
        nodes.extend(roots.first().and_then(|root| tree.node(root)));
    }
    while let Some(parent) = roots.pop() {
        for child in tree.children(&parent) {
            if nodes.len() >= TREE_SHARES_MAX && !tree.is_main(child) {
                continue;
            }
            nodes.push(child);
            roots.push(child.id);
        }
    }
    nodes.sort_by_key(|node| (std::cmp::Reverse(node.share.info.share_height), !tree.is_main(node), node.id));
    nodes.into_iter().map(|node| tree_share(node, tree)).collect()
}

fn tree_share(node: &Node, tree: &Tree) -> TreeShare {
    TreeShare {
        hash: node.id.to_string(),
        prev_share_hash: node.share.info.parent.to_string(),
        miner: miner(node, tree),
        timestamp: node.share.header.time,
        is_block: is_block(node),
        main_chain: tree.is_main(node),
        share_height: node.share.info.share_height.0,
        uncles: node.share.info.uncles.iter().map(ShareId::to_string).collect(),
    }
}
