//! What this node's next share is built on (rules, sections 5 to 7).

use super::difficulty;
use super::rules;
use super::tree::{LinkedShare, Tree};
use crate::params::{UNCLES_MAX, UNCLE_DEPTH_MAX};
use crate::share::{CoinbaseTag, PayoutScript, ShareId};
use crate::units::{BlockHeight, ShareHeight, UnixTime, Work};
use crate::work::NextShare;

/// The facts of a share on the tip whose header's time will be `time` or later.
pub fn next_share(tree: &Tree, time: UnixTime, payout_script: PayoutScript, coinbase_tag: &CoinbaseTag) -> NextShare {
    next_share_on(tree, tree.tip(), time, payout_script, coinbase_tag)
}

/// The least block height that a share on the tip may have: a template below it makes no shares.
pub fn next_block_height_min(tree: &Tree) -> BlockHeight {
    rules::block_height_min(tree, tree.tip())
}

/// The facts of a share on any parent, or of a genesis share.
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
    // A tip's own history is complete: more than its windows is kept.
    let retarget_samples = tree.retarget_samples(&parent.id).unwrap_or_default();
    let base = difficulty::base_target(params, &retarget_samples);
    let earliest = rules::time_min(tree, Some(parent));
    let easings = difficulty::easings_allowed(params, time.max(earliest).since(parent.share.time()));
    // An eased target holds only from the moment that allows it: miners must not roll the time below.
    let eased_from = parent.share.time().plus(easings.saturating_mul(params.easing_interval_s()));
    NextShare {
        parent: parent.id,
        uncles: uncles(tree, parent),
        share_height: ShareHeight(parent.share.info.share_height.0.saturating_add(1)),
        parent_work: parent.share.info.chain_work,
        share_bits: difficulty::eased_bits(params, base, easings),
        min_time: if easings > 0 { earliest.max(eased_from) } else { earliest },
        ..genesis
    }
}

/// Uncles a child of this share may name: those first that will soon be too old, then by id.
fn uncles(tree: &Tree, parent: &LinkedShare) -> Vec<ShareId> {
    let height = parent.share.info.share_height.0.saturating_add(1);
    // From the parents of the oldest possible uncles upwards.
    let ancestors: Vec<&LinkedShare> = tree.ancestry(&parent.id).take(UNCLE_DEPTH_MAX as usize + 1).collect();
    let is_taken = |id: &ShareId| ancestors.iter().any(|node| node.id == *id || node.share.info.uncles.contains(id));
    let mut found: Vec<(ShareHeight, ShareId)> = ancestors
        .iter()
        .flat_map(|ancestor| tree.children(&ancestor.id))
        .filter(|uncle| !is_taken(&uncle.id))
        .map(|uncle| (uncle.share.info.share_height, uncle.id))
        .filter(|(uncle, _)| uncle.0 < height && height - uncle.0 <= UNCLE_DEPTH_MAX)
        .collect();
    found.sort_unstable();
    let mut uncles: Vec<ShareId> = found.into_iter().take(UNCLES_MAX as usize).map(|(_, id)| id).collect();
    uncles.sort_unstable();
    uncles
}
