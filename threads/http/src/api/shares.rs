//! `/api/v1/shares`: the latest shares of the main chain, and those of this node's miners.

use std::cmp::Reverse;

use p2pool_core::share::PayoutScript;
use p2pool_core::sharechain::LinkedShare;
use serde::Serialize;

use super::share::named_by;
use crate::snapshot::{difficulty, is_block, Snapshot};

/// Most shares in each list.
const LISTED_MAX: usize = 50;

/// The latest shares.
#[derive(Serialize)]
pub struct SharesDocument {
    /// Stored shares, side chains included.
    count: usize,
    /// The latest of the main chain, newest first.
    shares: Vec<ListedShare>,
    /// Stored shares that pay this node's address.
    own_count: usize,
    /// The latest of them, side chains included, highest first.
    own: Vec<ListedShare>,
}

#[derive(Serialize)]
struct ListedShare {
    hash: String,
    share_height: u32,
    timestamp: u32,
    age_secs: u32,
    miner: String,
    ours: bool,
    work: String,
    share_difficulty: f64,
    is_block: bool,
    /// Whether it is in the main chain, named by that as an uncle, or neither.
    state: &'static str,
}

impl ListedShare {
    fn new(node: &LinkedShare, snapshot: &Snapshot, our_script: &PayoutScript) -> Self {
        let (tree, info) = (snapshot.tree(), node.info());
        Self {
            hash: node.id.to_string(),
            share_height: info.share_height.0,
            timestamp: node.share.header.time,
            age_secs: snapshot.now.since(node.time()),
            miner: info.payout_script.to_address(tree.params().network),
            ours: info.payout_script == *our_script,
            work: node.work.to_string(),
            share_difficulty: difficulty(info.share_bits),
            is_block: is_block(node),
            state: match () {
                () if tree.is_main(node) => "main",
                () if named_by(node, tree).is_some() => "uncle",
                () => "uncredited",
            },
        }
    }
}

impl SharesDocument {
    pub fn new(snapshot: &Snapshot, our_script: &PayoutScript) -> Self {
        let tree = snapshot.tree();
        let mut own: Vec<&LinkedShare> =
            tree.shares().filter(|node| node.info().payout_script == *our_script).collect();
        own.sort_unstable_by_key(|node| Reverse((node.info().share_height, node.share.header.time, node.id)));
        let list = |node| ListedShare::new(node, snapshot, our_script);
        Self {
            count: tree.len(),
            shares: tree.main_chain().iter().rev().take(LISTED_MAX).map(|node| list(node)).collect(),
            own_count: own.len(),
            own: own.into_iter().take(LISTED_MAX).map(list).collect(),
        }
    }
}
