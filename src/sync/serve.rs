//! Answers to the questions of other nodes, from our own tree.

use std::sync::Arc;

use crate::share::{Share, ShareId};
use crate::sharechain::{LinkedShare, Tree};
use crate::units::{ShareHeight, UnixTime};
use crate::wire::limits::{INVENTORY_MAX, LOCATOR_MAX};
use crate::wire::{Agent, List, Locator, PeerStatus, Response};

/// Shares of a locator that come one by one before the steps double.
const LOCATOR_DENSE: usize = 10;

/// Where we are.
pub fn status(tree: &Tree, clock: UnixTime, agent: Agent) -> PeerStatus {
    let tip = tree.tip();
    let height_of = |id: Option<&ShareId>| {
        id.and_then(|id| tree.get(id)).map(|node| node.share.info.share_height).unwrap_or_default()
    };
    PeerStatus {
        chain_id: *tree.chain_id(),
        tip: tip.map(|tip| tip.id).unwrap_or_default(),
        share_height: height_of(tree.main_chain().last()),
        chain_work: tip.map(|tip| tip.share.info.chain_work).unwrap_or_default(),
        oldest_height: height_of(tree.main_chain().first()),
        clock,
        agent,
    }
}

/// Newest first: ten ids of a chain one by one, then in doubling steps, then its first.
pub fn locator_of(chain: &[ShareId]) -> Vec<ShareId> {
    let mut back = 0usize;
    let mut step = 1usize;
    let mut ids = Vec::new();
    while let Some(id) = chain.iter().rev().nth(back) {
        ids.push(*id);
        if ids.len() >= LOCATOR_DENSE {
            step = step.saturating_mul(2);
        }
        back = back.saturating_add(step);
    }
    if ids.last() != chain.first() {
        ids.extend(chain.first());
    }
    ids.truncate(LOCATOR_MAX);
    ids
}

/// Purpose comes on our chain after the first share of a locator that is on it.
pub fn inventory(tree: &Tree, locator: &Locator) -> Response {
    let common = locator.iter().filter_map(|id| tree.get(id)).find(|node| tree.is_main(node));
    let chain = tree.main_chain();
    let oldest = chain.first().and_then(|id| tree.get(id)).map(|node| node.share.info.share_height.0).unwrap_or(0);
    let start = common.map_or(oldest, |node| node.share.info.share_height.0.saturating_add(1));
    let mut ids = Vec::new();
    let mut more = false;
    for id in chain.iter().skip(start.saturating_sub(oldest) as usize) {
        let Some(node) = tree.get(id) else { break };
        let with_uncles = uncles_held(tree, node, oldest).chain([*id]);
        ids.extend(with_uncles);
        if ids.len() > INVENTORY_MAX {
            more = true;
            break;
        }
    }
    // A share goes on the same page as the uncles it names, or on the next.
    while ids.len() > INVENTORY_MAX {
        ids.pop();
        while ids.last().is_some_and(|id| tree.get(id).is_none_or(|node| !tree.is_main(node))) {
            ids.pop();
        }
    }
    Response::Inventory {
        after: common.map(|node| node.id).unwrap_or_default(),
        start_height: ShareHeight(start),
        ids: List::first_of(ids),
        more,
    }
}

/// The uncles that a share names, as far as whoever starts with our oldest share can link them.
fn uncles_held<'a>(tree: &'a Tree, node: &'a LinkedShare, oldest: u32) -> impl Iterator<Item = ShareId> + 'a {
    let links = move |uncle: &&LinkedShare| uncle.share.info.share_height.0 > oldest;
    node.share.info.uncles.iter().filter_map(|id| tree.get(id)).filter(links).map(|uncle| uncle.id)
}

/// Those of the shares asked for that we hold.
pub fn shares(tree: &Tree, ids: &[ShareId]) -> Response {
    let held = ids.iter().filter_map(|id| tree.get(id)).map(|node| Arc::clone(&node.share));
    Response::Shares(List::<Arc<Share>, _>::first_of(held))
}
