//! What the next share of this node will be built on (rules, sections 5 to 7).

use super::difficulty;
use super::rules;
use super::tree::{Node, Tree};
use crate::params::{UNCLES_MAX, UNCLE_DEPTH_MAX};
use crate::share::ShareId;
use crate::units::{Bits, ShareHeight, UnixTime, Work};

/// The part of a share's facts that the sharechain decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextLink {
    /// The tip, or zero.
    pub parent: ShareId,
    /// Stale siblings of its ancestors that nobody named yet, ascending.
    pub uncles: Vec<ShareId>,
    /// One more than the tip's.
    pub share_height: ShareHeight,
    /// The tip's chain work.
    pub parent_work: Work,
    /// The target asked for at the time given.
    pub share_bits: Bits,
    /// The header's time may not be earlier, or the target would be another.
    pub min_time: UnixTime,
}

/// What to build on the tip if the header's time is `time` or later.
pub fn next_link(tree: &Tree, time: UnixTime) -> NextLink {
    let Some(tip) = tree.tip() else {
        return NextLink {
            parent: ShareId::ZERO,
            uncles: Vec::new(),
            share_height: ShareHeight(0),
            parent_work: Work::ZERO,
            share_bits: difficulty::easiest_target(tree.params()).to_bits(),
            min_time: UnixTime(0),
        };
    };
    // The tip's own history is complete: it was verified, and more than its window is kept.
    let paces = tree.paces(&tip.id).unwrap_or_default();
    let base = difficulty::base_target(tree.params(), &paces);
    let earliest = rules::time_min(tree, Some(tip));
    let easings = difficulty::easings_allowed(tree.params(), time.max(earliest).since(tip.share.time()));
    let eased_from = tip.share.time().plus(easings.saturating_mul(tree.params().easing_interval_s()));
    NextLink {
        parent: tip.id,
        uncles: uncles(tree, tip),
        share_height: ShareHeight(tip.share.info.share_height.0.saturating_add(1)),
        parent_work: tip.share.info.chain_work,
        share_bits: difficulty::eased_bits(tree.params(), base, easings),
        min_time: if easings > 0 { earliest.max(eased_from) } else { earliest },
    }
}

/// Uncles a child of the tip may name: those first that will soon be too old, then by id.
fn uncles(tree: &Tree, tip: &Node) -> Vec<ShareId> {
    let height = tip.share.info.share_height.0.saturating_add(1);
    // From the parents of the oldest possible uncles upwards.
    let ancestors: Vec<&Node> = tree.ancestry(&tip.id).take(UNCLE_DEPTH_MAX as usize + 1).collect();
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
