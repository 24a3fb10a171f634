//! The sharechain in the status: its newest shares, and the shares near the tip as a tree.

use std::cmp::Reverse;

use p2pool_core::share::ShareId;
use p2pool_core::sharechain::{LinkedShare, Tree};
use p2pool_core::units::ShareHeight;
use serde::Serialize;

use crate::snapshot::{difficulty, is_block, Snapshot};

/// Number of newest shares listed.
const RECENT_SHARES: usize = 30;
/// Number of heights below the tip whose shares are listed as a tree, side chains included.
const TREE_HEIGHTS: u32 = 40;
/// Most shares of that tree outside of the main chain: a flood of side chains must not make the document large.
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
    /// Makes the part from the published sharechain.
    pub fn new(snapshot: &Snapshot) -> Self {
        let (tree, share_bits) = (snapshot.tree(), snapshot.share_bits());
        let (side, tip) = (SideShares::count(tree), tree.tip());
        Self {
            share_count: tree.len(),
            sharechain_height: tip.map(|tip| tip.share.info.share_height.0),
            uncle_count: side.uncles,
            uncredited_count: side.uncredited,
            shares_waiting: snapshot.chain.deferred.saturating_add(snapshot.chain.unverified),
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

/// What both lists show of a share.
#[derive(Serialize)]
struct ShareSummary {
    hash: String,
    miner: String,
    timestamp: u32,
    is_block: bool,
    share_height: u32,
}

/// A share of the main chain.
#[derive(Serialize)]
struct RecentShare {
    #[serde(flatten)]
    summary: ShareSummary,
    uncles: usize,
}

/// A share near the tip, in the main chain or a side chain.
#[derive(Serialize)]
struct TreeShare {
    #[serde(flatten)]
    summary: ShareSummary,
    prev_share_hash: String,
    main_chain: bool,
    uncles: Vec<String>,
}

/// Numbers of stored shares in side chains.
pub struct SideShares {
    /// Named as uncles by the main chain, so partly paid.
    pub uncles: usize,
    /// Not named, so not paid.
    pub uncredited: usize,
}

impl SideShares {
    /// Counts the shares.
    pub fn count(tree: &Tree) -> Self {
        let uncles = tree
            .main_chain()
            .iter()
            .flat_map(|node| &node.share.info.uncles)
            .filter(|uncle| tree.contains(uncle))
            .count();
        let side = tree.len().saturating_sub(tree.main_chain().len());
        Self { uncles, uncredited: side.saturating_sub(uncles) }
    }
}

fn miner(node: &LinkedShare, tree: &Tree) -> String {
    node.share.info.payout_script.to_address(tree.params().network)
}

fn summary(node: &LinkedShare, tree: &Tree) -> ShareSummary {
    ShareSummary {
        hash: node.id.to_string(),
        miner: miner(node, tree),
        timestamp: node.share.header.time,
        is_block: is_block(node),
        share_height: node.share.info.share_height.0,
    }
}

/// Lists the newest shares of the main chain, newest first.
fn recent_shares(tree: &Tree) -> Vec<RecentShare> {
    let newest = tree.main_chain().iter().rev().take(RECENT_SHARES);
    newest.map(|node| RecentShare { summary: summary(node, tree), uncles: node.share.info.uncles.len() }).collect()
}

/// Lists the shares near the tip: highest first, and at each height the main chain's share first.
fn tree_shares(tree: &Tree) -> Vec<TreeShare> {
    let Some(tip) = tree.tip() else { return Vec::new() };
    let lowest = tip.share.info.share_height.0.saturating_sub(TREE_HEIGHTS - 1);
    // All descendants of the main-chain share below the lowest height. Side chains that forked off earlier are left out.
    let below = lowest.checked_sub(1).and_then(|height| tree.main_at(ShareHeight(height))).map(|node| node.id);
    let mut nodes: Vec<&LinkedShare> = Vec::new();
    let mut roots: Vec<ShareId> = vec![below.unwrap_or(ShareId::ZERO)];
    if below.is_none() && lowest > 0 {
        // That share is pruned: the oldest stored share is the root.
        let oldest = &tree.main_chain()[0];
        roots = vec![oldest.id];
        nodes.push(oldest);
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
    nodes.sort_by_key(|node| (Reverse(node.share.info.share_height), !tree.is_main(node), node.id));
    let tree_share = |node: &LinkedShare| TreeShare {
        summary: summary(node, tree),
        prev_share_hash: node.share.info.parent.to_string(),
        main_chain: tree.is_main(node),
        uncles: node.share.info.uncles.iter().map(ShareId::to_string).collect(),
    };
    nodes.into_iter().map(tree_share).collect()
}
