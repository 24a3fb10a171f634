//! Validity rules 1, 2 and 4 to 7 (rules, section 5), cheapest first. Rule 3 is the pools', rule 8 in `verify`.

use super::anchor::Anchor;
use super::difficulty;
use super::failure::{require, Failure, Need, Rule};
use super::tree::{LinkedShare, Tree};
use crate::params::{ChainParams, Network, UNCLE_DEPTH_MAX};
use crate::share::{Share, ShareId, HEADER_VERSION_MIN};
use crate::units::{BlockHeight, Target, UnixTime, Work};

/// Ancestors whose median time a share must exceed.
const MEDIAN_SHARES: usize = 11;
/// A share is at most this much older than its parent.
const BEFORE_PARENT_MAX_S: u32 = 600;
/// A share further ahead of our clock waits until it is due.
pub const AHEAD_MAX_S: u32 = 120;
/// Bitcoin blocks that a share may lag behind its chain's most advanced recent share, on mainnet.
const BLOCK_LAG_MAX: u32 = 2;

/// Rules 1 and 2, which need nothing but the share. Gives its work.
///
/// # Errors
/// [`Rule::Form`] or [`Rule::ProofOfWork`] broken.
pub fn check_alone(params: &ChainParams, share: &Share, id: &ShareId) -> Result<Work, Failure> {
    require(share.header.version.to_consensus() >= HEADER_VERSION_MIN, Rule::Form, "header version below 4")?;
    require(*id != ShareId::ZERO, Rule::Form, "a share cannot have the id that means no parent")?;
    let target =
        share.info.share_bits.target().map_err(|_| Failure::broken(Rule::Form, "share bits are not canonical"))?;
    let work = target.work().ok_or(Failure::broken(Rule::Form, "share bits claim more work than there is"))?;
    require(
        target <= difficulty::easiest_target(params),
        Rule::ProofOfWork,
        "share target easier than the chain's easiest",
    )?;
    require(target.is_met_by(&id.0), Rule::ProofOfWork, "header hash above the share target")?;
    Ok(work)
}

/// Rule 4: height, chain work and target follow from the parent.
///
/// `base` says that the share belongs to pruned history, where the target is checked only as far as the
/// shares held can tell.
pub(super) fn check_lineage(
    tree: &Tree,
    share: &Share,
    work: Work,
    parent: Option<&LinkedShare>,
    base: bool,
) -> Result<(), Failure> {
    let info = &share.info;
    let Some(parent) = parent else {
        // Only a genesis share has no parent; the root of pruned history is taken as it is.
        if base && !info.is_genesis() {
            return Ok(());
        }
        require(info.share_height.0 == 0, Rule::Lineage, "a genesis share has height 0")?;
        require(info.chain_work == work, Rule::Lineage, "a genesis share's chain work is its own")?;
        return check_bits(tree, share, difficulty::easiest_target(tree.params()), 0);
    };
    let parent_info = &parent.share.info;
    require(
        parent_info.share_height.0.checked_add(1) == Some(info.share_height.0),
        Rule::Lineage,
        "share height is not the parent's and one",
    )?;
    require(
        parent_info.chain_work.checked_add(work) == Some(info.chain_work),
        Rule::Lineage,
        "chain work is not the parent's and the share's own",
    )?;
    let Some(retarget_samples) = tree.retarget_samples(&parent.id) else {
        return if base { Ok(()) } else { Err(Failure::Unverifiable) };
    };
    let base_target = difficulty::base_target(tree.params(), &retarget_samples);
    check_bits(tree, share, base_target, share.time().since(parent.share.time()))
}

fn check_bits(tree: &Tree, share: &Share, base: Target, elapsed_s: u32) -> Result<(), Failure> {
    require(
        difficulty::is_allowed(tree.params(), base, share.info.share_bits, elapsed_s),
        Rule::Lineage,
        "share bits are not what the parent's chain asks for",
    )
}

/// The earliest time a share with this parent may have (rule 5).
pub(super) fn time_min(tree: &Tree, parent: Option<&LinkedShare>) -> UnixTime {
    let Some(parent) = parent else { return UnixTime(0) };
    let not_long_before = parent.share.time().minus(BEFORE_PARENT_MAX_S);
    let mut times: Vec<UnixTime> =
        tree.ancestry(&parent.id).take(MEDIAN_SHARES).map(|node| node.share.time()).collect();
    let all = parent.share.info.share_height.0.saturating_add(1);
    if times.len() < MEDIAN_SHARES && u32::try_from(times.len()).is_ok_and(|held| held < all) {
        // At the base of pruned history the median cannot be told.
        return not_long_before;
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    median.plus(1).max(not_long_before)
}

/// Rule 5, the part that does not depend on our clock.
pub(super) fn check_time(tree: &Tree, share: &Share, parent: Option<&LinkedShare>) -> Result<(), Failure> {
    require(
        share.time() >= time_min(tree, parent),
        Rule::Time,
        "time is not after the median of its ancestors, or far before its parent",
    )
}

/// Rule 5, the part that depends on our clock: a share from the future waits.
pub(super) fn check_due(share: &Share, anchor: &Anchor, now: UnixTime) -> Result<(), Failure> {
    let due = now.plus(AHEAD_MAX_S).max(anchor.median_time_past.plus(1));
    if share.time() > due {
        return Err(Failure::Early(share.time().minus(AHEAD_MAX_S)));
    }
    Ok(())
}

/// Rule 6: the Bitcoin block it is built on, which must be known to be judged.
pub(super) fn check_anchor<'a>(
    tree: &'a Tree,
    share: &Share,
    parent: Option<&LinkedShare>,
) -> Result<&'a Anchor, Failure> {
    let prev_block = share.header.prev_blockhash;
    let anchor = tree.anchor(&prev_block).ok_or(Failure::Missing(Need::Anchor(prev_block)))?;
    let height = share.info.block_height;
    require(
        anchor.height.0.checked_add(1) == Some(height.0),
        Rule::Anchor,
        "block height is not the anchor's and one",
    )?;
    let bits = anchor.required_bits(share.time());
    require(share.header.bits.to_consensus() == bits.0, Rule::Anchor, "header bits are not what Bitcoin asks for")?;
    require(share.time() > anchor.median_time_past, Rule::Anchor, "time is not after Bitcoin's median time past")?;
    require(height >= block_height_min(tree, parent), Rule::Anchor, "built on a Bitcoin block that is too old")?;
    Ok(anchor)
}

/// The least block height a share with this parent may have (rule 6): only mainnet has one.
pub(super) fn block_height_min(tree: &Tree, parent: Option<&LinkedShare>) -> BlockHeight {
    let Some(parent) = parent.filter(|_| tree.params().network == Network::Mainnet) else { return BlockHeight(0) };
    let recent = tree.ancestry(&parent.id).take(tree.params().retarget_window as usize);
    let newest = recent.map(|node| node.share.info.block_height.0).max().unwrap_or(0);
    BlockHeight(newest.saturating_sub(BLOCK_LAG_MAX))
}

/// Rule 7: uncles.
pub(super) fn check_uncles(tree: &Tree, share: &Share) -> Result<(), Failure> {
    for id in &share.info.uncles {
        let uncle = tree.get(id).ok_or(Failure::Missing(Need::Share(*id)))?;
        check_uncle(tree, share, uncle)?;
    }
    Ok(())
}

fn check_uncle(tree: &Tree, share: &Share, uncle: &LinkedShare) -> Result<(), Failure> {
    let (height, uncle_height) = (share.info.share_height.0, uncle.share.info.share_height.0);
    require(!uncle.share.info.is_genesis(), Rule::Uncles, "a genesis share is no uncle")?;
    let in_range = uncle_height < height && height - uncle_height <= UNCLE_DEPTH_MAX;
    require(in_range, Rule::Uncles, "uncle is not one to three heights below")?;
    let mut uncle_parent_seen = false;
    // Only ancestors from the uncle's parent upwards can be it, its parent, or have named it.
    for ancestor in tree
        .ancestry(&share.info.parent)
        .take_while(|node| node.share.info.share_height.0.saturating_add(1) >= uncle_height)
    {
        require(ancestor.id != uncle.id, Rule::Uncles, "uncle is an ancestor")?;
        require(!ancestor.share.info.uncles.contains(&uncle.id), Rule::Uncles, "uncle was named before")?;
        uncle_parent_seen |= ancestor.id == uncle.share.info.parent;
    }
    require(uncle_parent_seen, Rule::Uncles, "uncle's parent is not an ancestor")
}
