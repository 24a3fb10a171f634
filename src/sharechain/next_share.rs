//! What this node's next share is built on (rules, sections 5 to 7).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::tree::{LinkedShare, Tree};
use super::{difficulty, rules, votes};
use crate::params::UNCLE_DEPTH_MAX;
use crate::share::ShareId;
use crate::units::{BlockHeight, ShareHeight, UnixTime};
use crate::work::{Finder, NextBlock, NextShare};

/// Returns the facts of a share on the tip, on this block and with a header time of `time` or later.
pub fn next_share(tree: &mut Tree, block: NextBlock, time: UnixTime, finder: &Finder) -> NextShare {
    let tip = tree.tip().map_or(ShareId::ZERO, |tip| tip.id);
    next_share_on(tree, &tip, block, time, finder)
}

/// Returns the least block height that a share on the tip may have. A lower block template cannot make a share.
pub fn next_block_height_min(tree: &Tree) -> BlockHeight {
    rules::block_height_min(tree, tree.tip())
}

/// Returns the facts of a share on `parent`, or of a genesis share if that is not held.
pub(super) fn next_share_on(
    tree: &mut Tree,
    parent: &ShareId,
    block: NextBlock,
    time: UnixTime,
    finder: &Finder,
) -> NextShare {
    let params = Arc::clone(tree.params());
    // Without the window no payouts can be derived either, so what it would decide does not matter.
    let ballot = tree.window(*parent, block.bits).map(|window| window.ballot().clone()).unwrap_or_default();
    let tree = &*tree;
    let parent = tree.get(parent);
    let rules_version = votes::rules_version(&params, parent.map(LinkedShare::info), block.height, &ballot);
    let genesis = NextShare { rules_version, ..NextShare::genesis(params.easiest_bits, finder.clone()) };
    let Some(parent) = parent else { return genesis };
    // Far more history than a retarget window is kept below a tip.
    let samples = tree.retarget_samples(&parent.id).unwrap_or_default();
    let base_bits = difficulty::base_bits(&params, &samples);
    let earliest = rules::time_min(tree, Some(parent));
    let easings = difficulty::easings_allowed(&params, time.max(earliest).since(parent.time()));
    // An eased target is valid only from this time on, so miners must not roll the time below it.
    let eased_from = parent.time().plus(easings.saturating_mul(params.easing_interval_s()));
    NextShare {
        parent: parent.id,
        uncles: uncles(tree, parent, rules_version),
        share_height: ShareHeight(parent.info().share_height.0.saturating_add(1)),
        parent_work: parent.info().chain_work,
        share_bits: difficulty::eased_bits(&params, base_bits, easings),
        base_bits,
        outputs_class: votes::outputs_class(&params, Some(parent.info()), &ballot),
        min_time: if easings > 0 { earliest.max(eased_from) } else { earliest },
        ..genesis
    }
}

/// Returns the uncles that a child of `parent` names, ascending. Of more than fit it takes the oldest, which will soon
/// be too old, and then those with the lowest ids. An uncle may be built on another one.
fn uncles(tree: &Tree, parent: &LinkedShare, rules_version: u8) -> Vec<ShareId> {
    let height = parent.info().share_height.0.saturating_add(1);
    let ancestors = rules::recent_ancestors(tree, &parent.id);
    let named: Vec<ShareId> = ancestors.iter().flat_map(|share| share.info().uncles.iter().copied()).collect();
    let is_taken = |id: &ShareId| named.contains(id) || ancestors.iter().any(|share| share.id == *id);
    let children = |id: &ShareId| {
        let children: Vec<(ShareHeight, ShareId)> = tree
            .children(id)
            .filter(|uncle| !is_taken(&uncle.id) && uncle.info().rules_version <= rules_version)
            .map(|uncle| (uncle.info().share_height, uncle.id))
            .filter(|(uncle, _)| uncle.0 < height && height - uncle.0 <= UNCLE_DEPTH_MAX)
            .collect();
        children
    };
    let mut found: BTreeSet<(ShareHeight, ShareId)> =
        ancestors.iter().map(|share| &share.id).chain(&named).flat_map(children).collect();
    let mut uncles: Vec<ShareId> = Vec::new();
    while let Some((_, id)) = found.pop_first().filter(|_| uncles.len() < rules::uncles_max(rules_version)) {
        let Some(uncle) = tree.get(&id) else { continue };
        if rules::may_have_uncles(tree, &ancestors, &uncles, uncle.info().parent)
            && rules::are_uncles_named(tree, &parent.id, &uncles, uncle)
        {
            uncles.push(id);
            found.extend(children(&id));
        }
    }
    uncles.sort_unstable();
    uncles
}
