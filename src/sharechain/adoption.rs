//! Whether to leave one's chain for one that does not join it (rules, section 6).

use std::cmp::{Ordering, Reverse};

use super::tree::{LinkedShare, Tree};
use crate::share::ShareId;
use crate::units::{BlockHeight, ShareHeight, Work, U256};

/// A full window's newest anchor is at most this many blocks from our bitcoind's tip.
const ANCHOR_LAG_MAX_BLOCKS: u32 = 10;

/// With a tip this many Bitcoin blocks behind, two payout windows of 8,640 shares of 30 s, a node is as one without a
/// chain: what its peers hold does not reach down to it any more, and its payouts look back on nothing.
const OUTLIVED_BLOCKS: u32 = 864;

/// Whether a node that follows `ours` changes to `theirs`, whose shares it has all checked.
///
/// `bitcoin_height` is that of our bitcoind's tip.
pub fn adopts(ours: &Tree, theirs: &Tree, bitcoin_height: BlockHeight) -> bool {
    let window = ours.params().payout_window;
    let Some(their_tip) = theirs.tip().filter(|_| is_whole(theirs, window)) else { return false };
    let Some(our_tip) = ours.tip().filter(|tip| !is_outlived(tip, bitcoin_height)) else { return true };
    let has_full_window = |tip: &LinkedShare| tip.share.info.share_height >= ShareHeight(window.saturating_sub(1));
    let (ours_full, theirs_full) = (has_full_window(our_tip), has_full_window(their_tip));
    match window_work(theirs).cmp(&window_work(ours)) {
        Ordering::Less => false,
        // As long as all shares have the easiest target, young chains differ in nothing but length.
        Ordering::Equal => {
            !(ours_full && theirs_full)
                && their_tip.share.info.is_better_than(&their_tip.id, &our_tip.share.info, &our_tip.id)
        }
        Ordering::Greater => {
            !ours_full || (is_fresh(theirs, bitcoin_height) && is_in_step_with_bitcoin(theirs, window))
        }
    }
}

/// Whether enough is verified: a whole window, or everything from the genesis share on.
fn is_whole(tree: &Tree, window: u32) -> bool {
    let verified = newest_first(tree).take(window as usize).take_while(|node| node.verified).count();
    let reaches_genesis =
        newest_first(tree).nth(verified.saturating_sub(1)).is_some_and(|node| node.share.info.is_genesis());
    verified == window as usize || reaches_genesis
}

fn newest_first(tree: &Tree) -> impl Iterator<Item = &LinkedShare> {
    tree.main_chain().iter().rev().filter_map(|id| tree.get(id))
}

/// The work verified in a chain's last window, or in all of a shorter chain.
pub(super) fn window_work(tree: &Tree) -> U256 {
    newest_first(tree)
        .take(tree.params().payout_window as usize)
        .filter(|node| node.verified)
        .fold(U256::ZERO, |sum, node| sum.saturating_add(U256::from(node.work.0)))
}

/// What a newcomer chooses by: the work verified in a chain's last window; equal ones are told candidate as everywhere.
pub(super) fn rank(tree: &Tree) -> (U256, Option<(Work, Reverse<ShareId>)>) {
    (window_work(tree), tree.tip().map(|tip| (tip.share.info.chain_work, Reverse(tip.id))))
}

/// Whether Bitcoin has gone on for so long without a share of ours that our chain says nothing any more.
fn is_outlived(our_tip: &LinkedShare, bitcoin_height: BlockHeight) -> bool {
    bitcoin_height.0.saturating_sub(our_tip.share.info.block_height.0) > OUTLIVED_BLOCKS
}

fn is_fresh(tree: &Tree, bitcoin_height: BlockHeight) -> bool {
    tree.tip().is_some_and(|tip| tip.share.info.block_height.0.abs_diff(bitcoin_height.0) <= ANCHOR_LAG_MAX_BLOCKS)
}

/// Whether the window took about as long as Bitcoin took meanwhile: 2/3 to 4/3, so that a history mined in
/// an afternoon does not pass for three days.
fn is_in_step_with_bitcoin(tree: &Tree, window: u32) -> bool {
    let newest = tree.tip();
    let oldest = newest_first(tree).take(window as usize).last();
    let (Some(newest), Some(oldest)) = (newest, oldest) else { return false };
    let anchor_time =
        |node: &LinkedShare| tree.anchor(&node.share.header.prev_blockhash).map(|anchor| u64::from(anchor.header.time));
    let (Some(to), Some(from)) = (anchor_time(newest), anchor_time(oldest)) else { return false };
    let bitcoin_s = to.saturating_sub(from);
    let window_s = u64::from(newest.share.time().since(oldest.share.time()));
    window_s * 3 >= bitcoin_s * 2 && window_s * 3 <= bitcoin_s * 4
}
