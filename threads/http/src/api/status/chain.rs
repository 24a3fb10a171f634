//! The sharechain in the status: its newest shares, and those near the tip as a tree.

use p2pool_core::share::ShareId;
use p2pool_core::sharechain::{LinkedShare, Tree};
use p2pool_core::units::ShareHeight;
use serde::Serialize;

use crate::view::{difficulty, is_block, View};

/// Newest shares listed.
const RECENT_SHARES: usize = 30;
/// Heights below the tip whose shares, forks and uncles included, are drawn as a tree.
const TREE_HEIGHTS: u32 = 40;
/// Shares of that tree at most: a flood of forks must not make the document large.
const TREE_SHARES_MAX: usize = 160;

/// The sharechain.
#[derive(Serialize)]
pub struct ChainPart {
    share_count: usize,
    sharechain_height: Option<u32>,
    uncle_count: usize,
    uncredited_count: usize,
    shares_waiting: usize,
    difficulty: f64,
    target_bits: String,
    tip_hash: Option<String>,
    tip_miner: Option<String>,
    tip_time: Option<u32>,
    recent_shares: Vec<RecentShare>,
    tree_shares: Vec<TreeShare>,
}

impl ChainPart {
    /// As it is published.
    pub fn of(view: &View) -> Self {
        let (tree, share_bits, (held, unverified)) = (view.tree(), view.share_bits(), view.chain.waiting);
        let (side, tip) = (SideShares::of(tree), tree.tip());
        Self {
            share_count: tree.len(),
            sharechain_height: tip.map(|tip| tip.share.info.share_height.0),
            uncle_count: side.uncles,
            uncredited_count: side.uncredited,
            shares_waiting: held.saturating_add(unverified),
            difficulty: difficulty(share_bits),
            target_bits: share_bits.to_string(),
            tip_hash: tip.map(|tip| tip.id.to_string()),
            tip_miner: tip.map(|tip| miner(tip, tree)),
            tip_time: tip.map(|tip| tip.share.header.time),
            recent_shares: recent_shares(tree),
            tree_shares: tree_shares(tree),
        }
    }
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
    pub uncredited: usize,
}

impl SideShares {
    /// Counts them. Only uncles that are held count.
    pub fn of(tree: &Tree) -> Self {
        let main = tree.main_chain().iter().filter_map(|id| tree.get(id));
        let uncles = main.flat_map(|node| &node.share.info.uncles).filter(|uncle| tree.contains(uncle)).count();
        let side = tree.len().saturating_sub(tree.main_chain().len());
        Self { uncles, uncredited: side.saturating_sub(uncles) }
    }
}

fn miner(node: &LinkedShare, tree: &Tree) -> String {
    node.share.info.payout_script.to_address(tree.params().network)
}

/// Newest first.
fn recent_shares(tree: &Tree) -> Vec<RecentShare> {
    let newest = tree.main_chain().iter().rev().take(RECENT_SHARES).filter_map(|id| tree.get(id));
    let share = |node: &LinkedShare| RecentShare {
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
    let mut nodes: Vec<&LinkedShare> = Vec::new();
    let mut roots: Vec<ShareId> = vec![below.unwrap_or(ShareId::ZERO)];
    if below.is_none() && lowest > 0 {
        // The share below is pruned: the oldest one that is held is the root.
        roots = tree.main_chain().first().into_iter().copied().collect();
        nodes.extend(roots.first().and_then(|root| tree.get(root)));
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

fn tree_share(node: &LinkedShare, tree: &Tree) -> TreeShare {
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
