//! What this node's next share is built on (rules, sections 5 to 7).

use super::difficulty;
use super::rules;
use super::tree::{LinkedShare, Tree};
use crate::params::{UNCLES_MAX, UNCLE_DEPTH_MAX};
use crate::share::{CoinbaseTag, PayoutScript, ShareId};
use crate::units::{BlockHeight, ShareHeight, UnixTime, Work};
use crate::work::NextShare;

/// Returns the facts of a share on the tip whose header time will be `time` or later.
pub fn next_share(tree: &Tree, time: UnixTime, payout_script: PayoutScript, coinbase_tag: &CoinbaseTag) -> NextShare {
    next_share_on(tree, tree.tip(), time, payout_script, coinbase_tag)
}

/// Returns the least block height that a share on the tip may have. A lower block template cannot make a share.
pub fn next_block_height_min(tree: &Tree) -> BlockHeight {
    rules::block_height_min(tree, tree.tip())
}

/// Returns the facts of a share on `parent`, or of a genesis share without one.
pub(super) fn next_share_on(
    tree: &Tree,
    parent: Option<&LinkedShare>,
    time: UnixTime,
    payout_script: PayoutScript,
    coinbase_tag: &CoinbaseTag,
) -> NextShare {
    let params = tree.params();
    let genesis = NextShare {
        parent: ShareId::ZERO,
        uncles: Vec::new(),
        share_height: ShareHeight(0),
        parent_work: Work::ZERO,
        share_bits: difficulty::easiest_target(params).to_bits(),
        payout_script,
        coinbase_tag: coinbase_tag.clone(),
        min_time: UnixTime(0),
    };
    let Some(parent) = parent else { return genesis };
    // Far more history than a retarget window is kept below a tip.
    let samples = tree.retarget_samples(&parent.id).unwrap_or_default();
    let base = difficulty::base_target(params, &samples);
    let earliest = rules::time_min(tree, Some(parent));
    let easings = difficulty::easings_allowed(params, time.max(earliest).since(parent.time()));
    // An eased target is valid only from this time on, so miners must not roll the time below it.
    let eased_from = parent.time().plus(easings.saturating_mul(params.easing_interval_s()));
    NextShare {
        parent: parent.id,
        uncles: uncles(tree, parent),
        share_height: ShareHeight(parent.info().share_height.0.saturating_add(1)),
        parent_work: parent.info().chain_work,
        share_bits: difficulty::eased_bits(params, base, easings),
        min_time: if easings > 0 { earliest.max(eased_from) } else { earliest },
        ..genesis
    }
}

/// Returns the uncles that a child of `parent` names, ascending. Of more than fit it takes the oldest, which will soon
/// be too old, and then those with the lowest ids.
fn uncles(tree: &Tree, parent: &LinkedShare) -> Vec<ShareId> {
    let height = parent.info().share_height.0.saturating_add(1);
    // Back to the parents of the oldest possible uncles.
    let ancestors: Vec<&LinkedShare> = tree.ancestry(&parent.id).take(UNCLE_DEPTH_MAX as usize + 1).collect();
    let is_taken = |id: &ShareId| ancestors.iter().any(|share| share.id == *id || share.info().uncles.contains(id));
    let mut found: Vec<(ShareHeight, ShareId)> = ancestors
        .iter()
        .flat_map(|ancestor| tree.children(&ancestor.id))
        .filter(|uncle| !is_taken(&uncle.id))
        .map(|uncle| (uncle.info().share_height, uncle.id))
        .filter(|(uncle, _)| uncle.0 < height && height - uncle.0 <= UNCLE_DEPTH_MAX)
        .collect();
    found.sort_unstable();
    let mut uncles: Vec<ShareId> = found.into_iter().take(UNCLES_MAX as usize).map(|(_, id)| id).collect();
    uncles.sort_unstable();
    uncles
}
