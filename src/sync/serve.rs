//! Responds to peers' requests from our own tree.

use std::sync::Arc;

use crate::share::{Share, ShareId};
use crate::sharechain::{LinkedShare, Tree};
use crate::units::{ShareHeight, UnixTime};
use crate::wire::limits::{INVENTORY_MAX, LOCATOR_MAX};
use crate::wire::{Agent, List, Locator, PeerStatus, Response};

/// The newest ids of a locator are consecutive, up to this many; then the steps double.
const LOCATOR_DENSE: usize = 10;

/// Returns this node's status.
pub fn status(tree: &Tree, clock: UnixTime, agent: Agent) -> PeerStatus {
    let tip = tree.tip();
    let height_of = |share: Option<&LinkedShare>| share.map(|share| share.info().share_height).unwrap_or_default();
    PeerStatus {
        chain_id: *tree.chain_id(),
        tip: tip.map(|tip| tip.id).unwrap_or_default(),
        share_height: height_of(tip),
        chain_work: tip.map(|tip| tip.share.info.chain_work).unwrap_or_default(),
        oldest_height: height_of(tree.main_chain().first().map(Arc::as_ref)),
        clock,
        agent,
    }
}

/// Returns ids of a chain by which another node finds the newest share it has in common: newest first, ten consecutive
/// ones, then in doubling steps, then the oldest.
pub fn locator_of<T>(chain: &[T], id: impl Fn(&T) -> ShareId) -> Vec<ShareId> {
    let mut back = 0usize;
    let mut step = 1usize;
    let mut ids = Vec::new();
    while let Some(share) = chain.iter().rev().nth(back) {
        ids.push(id(share));
        if ids.len() >= LOCATOR_DENSE {
            step = step.saturating_mul(2);
        }
        back = back.saturating_add(step);
    }
    let oldest = chain.first().map(id);
    if ids.last().copied() != oldest {
        ids.extend(oldest);
    }
    ids.truncate(LOCATOR_MAX);
    ids
}

/// Returns what follows on our main chain after the first share of a locator that is on it: each share after the uncles it
/// names, on the same page. A chain without such a share is listed from its start.
pub fn inventory(tree: &Tree, locator: &Locator) -> Response {
    let common = locator.iter().filter_map(|id| tree.get(id)).find(|node| tree.is_main(node));
    let chain = tree.main_chain();
    let oldest = chain.first().map_or(0, |share| share.info().share_height.0);
    let start = common.map_or(oldest, |node| node.share.info.share_height.0.saturating_add(1));
    let mut ids = Vec::new();
    let mut more = false;
    for share in chain.iter().skip((start - oldest) as usize) {
        let before = ids.len();
        ids.extend(linkable_uncles(tree, share).into_iter().chain([share.id]));
        if ids.len() > INVENTORY_MAX {
            ids.truncate(before);
            more = true;
            break;
        }
    }
    Response::Inventory {
        after: common.map(|node| node.id).unwrap_or_default(),
        start_height: ShareHeight(start),
        ids: List::first_of(ids),
        more,
    }
}

/// Returns the uncles that a share names, each after the one it may be built on, except those that a node which starts with our
/// oldest share cannot link.
fn linkable_uncles(tree: &Tree, node: &LinkedShare) -> Vec<ShareId> {
    let is_linkable = |uncle: &&LinkedShare| tree.ancestry(&uncle.id).any(|share| tree.is_main(share));
    let uncles = node.share.info.uncles.iter().filter_map(|id| tree.get(id)).filter(is_linkable);
    let mut uncles: Vec<&LinkedShare> = uncles.collect();
    uncles.sort_by_key(|uncle| uncle.share.info.share_height);
    uncles.into_iter().map(|uncle| uncle.id).collect()
}

/// Returns the requested shares that we have, in the order requested.
pub fn shares(tree: &Tree, ids: &[ShareId]) -> Response {
    let found = ids.iter().filter_map(|id| tree.get(id)).map(|node| Arc::clone(&node.share));
    Response::Shares(List::<Arc<Share>, _>::first_of(found))
}
