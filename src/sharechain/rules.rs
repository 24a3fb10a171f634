//! Validity rules 1, 2 and 4 to 8 (rules, section 5). Rule 3, an unknown parent, is for the deferred pool.

use bitcoin::hashes::Hash as _;

use super::anchor::Anchor;
use super::difficulty;
use super::failure::{require, Failure, Need, Rule};
use super::tree::{LinkedShare, Tree};
use super::votes;
use crate::params::{ChainId, ChainParams, Network, RULES_VERSION_TEST, TEST_UNCLES_MAX, UNCLES_MAX, UNCLE_DEPTH_MAX};
use crate::payouts::{Ballot, Window};
use crate::share::coinbase::{fold_merkle_branch, Coinbase};
use crate::share::{Share, ShareId, HEADER_VERSION_MIN};
use crate::units::{Bits, BlockHeight, Sats, UnixTime, Work, MAX_MONEY};

/// Number of ancestors whose median time a share must exceed.
const MEDIAN_SHARES: usize = 11;
/// Seconds that a share may be older than its parent.
const BEFORE_PARENT_MAX_S: u32 = 600;
/// Seconds that a share may be ahead of the node's clock. A later one is deferred until it is due.
pub const AHEAD_MAX_S: u32 = 120;
/// Number of Bitcoin blocks that a share may lag behind the median of its recent ancestors.
const BLOCK_LAG_MAX: u32 = 2;
/// Subsidy before the first halving.
const FIRST_SUBSIDY: Sats = Sats(50 * 100_000_000);

/// Checks rules 1 and 2, which need only the share. Returns the share's work.
///
/// # Errors
/// [`Rule::Form`] or [`Rule::ProofOfWork`] is broken.
pub fn check_alone(params: &ChainParams, share: &Share, id: &ShareId) -> Result<Work, Failure> {
    require(share.header.version.to_consensus() >= HEADER_VERSION_MIN, Rule::Form, "header version below 4")?;
    require(*id != ShareId::ZERO, Rule::Form, "share id zero, which means no parent")?;
    let target = share.info.share_bits.target();
    let target = target.map_err(|_| Failure::broken(Rule::Form, "share bits are not canonical"))?;
    let work = target.work().ok_or(Failure::broken(Rule::Form, "work of the share bits is 2^108 or more"))?;
    require(
        target <= difficulty::easiest_target(params),
        Rule::ProofOfWork,
        "share target easier than the chain's easiest",
    )?;
    require(target.is_met_by(&id.0), Rule::ProofOfWork, "header hash above the share target")?;
    // What comes before is the same in all versions. Otherwise shares without work would cost nothing, not even the ban score.
    if share.info.rules_version > params.rules_version_known {
        return Err(Failure::NewerRules(share.info.rules_version));
    }
    require(
        share.info.base_bits.work().is_some(),
        Rule::Form,
        "base bits are no canonical target with work below 2^108",
    )?;
    Ok(work)
}

/// Checks rule 4: height, chain work and target follow from the parent.
///
/// In a base (`is_base`) the target is checked only where the shares held allow it.
pub(super) fn check_lineage(
    tree: &Tree,
    share: &Share,
    work: Work,
    parent: Option<&LinkedShare>,
    is_base: bool,
) -> Result<(), Failure> {
    let info = &share.info;
    let Some(parent) = parent else {
        // Without a parent a share is a genesis share, or the first of a base, of which nothing can be checked.
        if is_base && !info.is_genesis() {
            return Ok(());
        }
        require(info.share_height.0 == 0, Rule::Lineage, "share height of a genesis share is not 0")?;
        require(info.chain_work == work, Rule::Lineage, "chain work of a genesis share is not its own work")?;
        return check_bits(tree, share, tree.params().easiest_bits, 0);
    };
    require(
        parent.info().share_height.0.checked_add(1) == Some(info.share_height.0),
        Rule::Lineage,
        "share height is not the parent's plus one",
    )?;
    require(
        parent.info().chain_work.checked_add(work) == Some(info.chain_work),
        Rule::Lineage,
        "chain work is not the parent's plus the share's own",
    )?;
    let Some(samples) = tree.retarget_samples(&parent.id) else {
        return if is_base { Ok(()) } else { Err(Failure::Unverifiable) };
    };
    let base = difficulty::base_bits(tree.params(), &samples);
    check_bits(tree, share, base, share.time().since(parent.time()))
}

fn check_bits(tree: &Tree, share: &Share, base: Bits, elapsed_s: u32) -> Result<(), Failure> {
    let info = &share.info;
    require(info.base_bits == base, Rule::Lineage, "base bits are not the target after the parent")?;
    require(
        difficulty::is_allowed(tree.params(), base, info.share_bits, elapsed_s),
        Rule::Lineage,
        "share bits are not the target after the parent, nor an eased one",
    )
}

/// Returns the earliest header time of a share with this parent (rule 5).
pub(super) fn time_min(tree: &Tree, parent: Option<&LinkedShare>) -> UnixTime {
    let Some(parent) = parent else { return UnixTime(0) };
    let not_long_before = parent.time().minus(BEFORE_PARENT_MAX_S);
    let ancestors = (parent.info().share_height.0 as usize).saturating_add(1);
    let mut times: Vec<UnixTime> =
        tree.ancestry(&parent.id).take(MEDIAN_SHARES).map(|ancestor| ancestor.time()).collect();
    if times.len() < MEDIAN_SHARES.min(ancestors) {
        // Near the start of a base the median is unknown.
        return not_long_before;
    }
    times.sort_unstable();
    times[times.len() / 2].plus(1).max(not_long_before)
}

/// Checks the part of rule 5 that does not depend on the node's clock.
pub(super) fn check_time(tree: &Tree, share: &Share, parent: Option<&LinkedShare>) -> Result<(), Failure> {
    require(
        share.time() >= time_min(tree, parent),
        Rule::Time,
        "time is not after the median of the ancestors, or more than 600 s before the parent",
    )
}

/// Checks the part of rule 5 that depends on the node's clock: a share from the future is deferred.
pub(super) fn check_due(share: &Share, anchor: &Anchor, now: UnixTime) -> Result<(), Failure> {
    let latest = now.plus(AHEAD_MAX_S).max(anchor.median_time_past.plus(1));
    if share.time() > latest {
        return Err(Failure::Early(share.time().minus(AHEAD_MAX_S)));
    }
    Ok(())
}

/// Returns the share's anchor, for which it waits if it is unknown.
pub(super) fn known_anchor<'a>(tree: &'a Tree, share: &Share) -> Result<&'a Anchor, Failure> {
    let prev_block = share.header.prev_blockhash;
    tree.anchor(&prev_block).ok_or(Failure::Missing(Need::Anchor(prev_block)))
}

/// Checks rule 6 and returns the anchor, which must be known.
pub(super) fn check_anchor<'a>(
    tree: &'a Tree,
    share: &Share,
    parent: Option<&LinkedShare>,
) -> Result<&'a Anchor, Failure> {
    let anchor = known_anchor(tree, share)?;
    let height = share.info.block_height;
    require(
        anchor.height.0.checked_add(1) == Some(height.0),
        Rule::Anchor,
        "block height is not the anchor's plus one",
    )?;
    let bits = anchor.required_bits(share.time());
    require(share.header.bits.to_consensus() == bits.0, Rule::Anchor, "header bits are not those of the next block")?;
    require(share.time() > anchor.median_time_past, Rule::Anchor, "time is not after Bitcoin's median time past")?;
    require(height >= block_height_min(tree, parent), Rule::Anchor, "anchor too old")?;
    Ok(anchor)
}

/// Returns the least block height of a share with this parent (rule 6). Regtest has none.
///
/// It is taken from the median of the last shares, because the greatest could be lifted by one share. Near the start of a base
/// the median is unknown.
pub(super) fn block_height_min(tree: &Tree, parent: Option<&LinkedShare>) -> BlockHeight {
    let Some(parent) = parent.filter(|_| tree.params().network != Network::Regtest) else { return BlockHeight(0) };
    let ancestors = parent.info().share_height.0.saturating_add(1);
    let len = tree.params().retarget_window.min(ancestors) as usize;
    let mut heights: Vec<u32> = tree.ancestry(&parent.id).take(len).map(|share| share.info().block_height.0).collect();
    if heights.len() < len {
        return BlockHeight(0);
    }
    heights.sort_unstable();
    BlockHeight(heights.get(len / 2).copied().unwrap_or(0).saturating_sub(BLOCK_LAG_MAX))
}

/// Checks rule 7.
pub(super) fn check_uncles(tree: &Tree, share: &Share) -> Result<(), Failure> {
    let uncles_max = uncles_max(share.info.rules_version);
    require(share.info.uncles.len() <= uncles_max, Rule::Uncles, "more uncles than the rules version allows")?;
    for id in &share.info.uncles {
        let uncle = tree.get(id).ok_or(Failure::Missing(Need::Share(*id)))?;
        check_uncle(tree, share, uncle)?;
    }
    Ok(())
}

/// Returns how many uncles a share of this version may name.
pub(super) const fn uncles_max(rules_version: u8) -> usize {
    match rules_version {
        RULES_VERSION_TEST => TEST_UNCLES_MAX,
        _ => UNCLES_MAX as usize,
    }
}

fn check_uncle(tree: &Tree, share: &Share, uncle: &LinkedShare) -> Result<(), Failure> {
    let (height, uncle_height) = (share.info.share_height.0, uncle.info().share_height.0);
    require(!uncle.info().is_genesis(), Rule::Uncles, "uncle is a genesis share")?;
    let is_known = uncle.info().rules_version <= share.info.rules_version;
    require(is_known, Rule::Uncles, "uncle has a newer rules version than its nephew")?;
    let in_range = uncle_height < height && height - uncle_height <= UNCLE_DEPTH_MAX;
    require(in_range, Rule::Uncles, "uncle is not one to three heights below")?;
    // Older ancestors can be neither an uncle nor where its branch leaves, nor name it.
    let ancestors = recent_ancestors(tree, &share.info.parent);
    require(ancestors.iter().all(|ancestor| ancestor.id != uncle.id), Rule::Uncles, "uncle is an ancestor")?;
    require(!is_named(&ancestors, &uncle.id), Rule::Uncles, "uncle is named by an ancestor")?;
    require(
        may_have_uncles(tree, &ancestors, &share.info.uncles, uncle.info().parent),
        Rule::Uncles,
        "uncle's parent is neither a recent ancestor nor an uncle of the share or of an ancestor",
    )?;
    require(
        are_uncles_named(tree, &share.info.parent, &share.info.uncles, uncle),
        Rule::Uncles,
        "uncle names an uncle that neither the share nor an ancestor names",
    )
}

/// Whether each uncle that an uncle names is an ancestor of the nephew, or an uncle that the nephew or an ancestor names.
///
/// So a node that has the main chain and its uncles has all that these name in turn. Otherwise an uncle could make every node
/// follow it through uncles of uncles, down to shares so old that they cost next to nothing.
pub(super) fn are_uncles_named(tree: &Tree, parent: &ShareId, uncles: &[ShareId], uncle: &LinkedShare) -> bool {
    let ancestors: Vec<&LinkedShare> = tree.ancestry(parent).take(2 * UNCLE_DEPTH_MAX as usize).collect();
    // Near the start of a base they are unknown.
    let is_whole = ancestors.len() == 2 * UNCLE_DEPTH_MAX as usize
        || ancestors.last().is_some_and(|oldest| oldest.info().is_genesis());
    let is_known = |id: &ShareId| {
        uncles.contains(id) || is_named(&ancestors, id) || ancestors.iter().any(|ancestor| ancestor.id == *id)
    };
    !is_whole || uncle.info().uncles.iter().all(is_known)
}

fn is_named(ancestors: &[&LinkedShare], uncle: &ShareId) -> bool {
    ancestors.iter().any(|ancestor| ancestor.info().uncles.contains(uncle))
}

/// Whether a child of this share may be an uncle: it is one of the recent ancestors, or an uncle that the nephew or one of
/// these ancestors names and that is built on such a share.
///
/// So a branch of uncles leaves the ancestors where the oldest single uncle does. Otherwise a branch of any length could be
/// named while it grows, and who does not hold its first share could not verify any of the nephews.
pub(super) fn may_have_uncles(tree: &Tree, ancestors: &[&LinkedShare], uncles: &[ShareId], id: ShareId) -> bool {
    let mut below = Some(id);
    while let Some(id) = below {
        if ancestors.iter().any(|ancestor| ancestor.id == id) {
            return true;
        }
        let is_uncle = uncles.contains(&id) || is_named(ancestors, &id);
        below = tree.get(&id).filter(|_| is_uncle).map(|share| share.info().parent);
    }
    false
}

/// The ancestors of a child of `parent` that its uncles depend on, newest first.
pub(super) fn recent_ancestors<'a>(tree: &'a Tree, parent: &ShareId) -> Vec<&'a LinkedShare> {
    tree.ancestry(parent).take(UNCLE_DEPTH_MAX as usize + 1).collect()
}

/// Checks that votes in the payout window at the parent may decide for the rules version and the class of payout outputs that
/// a share states.
pub(super) fn check_possible_votes(
    params: &ChainParams,
    share: &Share,
    parent: Option<&LinkedShare>,
) -> Result<(), Failure> {
    let (info, parent) = (&share.info, parent.map(LinkedShare::info));
    let (without_votes, unanimous) = (Ballot::default(), Ballot::unanimous());
    let version = |ballot| votes::rules_version(params, parent, info.block_height, ballot);
    let (least, most) = (version(&without_votes), version(&unanimous));
    require(info.rules_version >= least, Rule::Version, "rules version is no longer in force")?;
    require(info.rules_version <= most, Rule::Lineage, "rules version cannot be in force yet")?;
    let class = |ballot| votes::outputs_class(params, parent, ballot);
    let classes = class(&without_votes)..=class(&unanimous);
    require(classes.contains(&info.outputs_class), Rule::Lineage, "class of payout outputs cannot be in force")
}

/// Checks the part of rule 4 that the payout window at the parent decides: the rules version (section 10) and the class of
/// payout outputs (section 7).
pub(super) fn check_votes(
    params: &ChainParams,
    share: &Share,
    parent: Option<&LinkedShare>,
    window: &Window,
) -> Result<(), Failure> {
    let (info, parent) = (&share.info, parent.map(LinkedShare::info));
    let version = votes::rules_version(params, parent, info.block_height, window.ballot());
    require(info.rules_version >= version, Rule::Version, "rules version is no longer in force")?;
    require(info.rules_version == version, Rule::Lineage, "rules version is not in force yet")?;
    let class = votes::outputs_class(params, parent, window.ballot());
    require(info.outputs_class == class, Rule::Lineage, "class of payout outputs is not the one in force")
}

/// Checks rule 8: the proof of work covers exactly the coinbase that the rules derive. `window` ends at the parent.
pub(super) fn check_payouts(
    network: Network,
    chain_id: &ChainId,
    share: &Share,
    window: &Window,
) -> Result<(), Failure> {
    let info = &share.info;
    require(
        info.coinbase_value >= subsidy(network, info.block_height) && info.coinbase_value <= MAX_MONEY,
        Rule::Payouts,
        "coinbase value below the subsidy or above 21 million BTC",
    )?;
    debug_assert_eq!(window.newest().unwrap_or(ShareId::ZERO), info.parent, "the window ends at the parent");
    let payouts = window.payouts(info.coinbase_value, info.payout_script, info.outputs_class);
    let coinbase = Coinbase::new(chain_id, info, &payouts);
    let root = fold_merkle_branch(coinbase.txid(&share.extranonce), &share.merkle_branch);
    require(
        root == share.header.merkle_root.to_byte_array(),
        Rule::Payouts,
        "merkle root does not commit to the coinbase that the rules require",
    )
}

/// Returns the Bitcoin subsidy of a block at this height.
pub fn subsidy(network: Network, height: BlockHeight) -> Sats {
    let halvings = height.0.checked_div(network.halving_interval_blocks()).unwrap_or(0);
    Sats(FIRST_SUBSIDY.0.checked_shr(halvings).unwrap_or(0))
}
