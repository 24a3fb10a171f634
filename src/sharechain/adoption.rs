//! Whether to leave our chain for a separate one, which shares no history with it (rules, section 6).

use std::cmp::{Ordering, Reverse};

use super::tree::{LinkedShare, Tree};
use crate::share::ShareId;
use crate::units::{BlockHeight, ShareHeight, UnixTime, Work, U256};

/// Number of Bitcoin blocks that the newest anchor of a separate chain may be away from our bitcoind's tip.
const ANCHOR_LAG_MAX_BLOCKS: u32 = 10;
/// Number of Bitcoin blocks behind which our chain is outlived: two payout windows of 8,640 shares of 30 s. The shares that
/// peers hold do not reach down to its tip any more.
const OUTLIVED_BLOCKS: u32 = 864;

/// Returns whether a node that follows `ours` changes to `theirs`, all of whose shares it has checked.
///
/// `bitcoin_height` is the height of our bitcoind's tip.
pub fn adopts(ours: &Tree, theirs: &Tree, bitcoin_height: BlockHeight) -> bool {
    let window = ours.params().payout_window;
    let Some(their_tip) = theirs.tip().filter(|_| is_verified(theirs, window)) else { return false };
    let Some(our_tip) = ours.tip().filter(|tip| !is_outlived(tip, bitcoin_height)) else { return true };
    let has_full_window = |tip: &LinkedShare| tip.info().share_height >= ShareHeight(window.saturating_sub(1));
    let (ours_full, theirs_full) = (has_full_window(our_tip), has_full_window(their_tip));
    match window_work(theirs).cmp(&window_work(ours)) {
        Ordering::Less => false,
        // While all shares have the easiest target, young chains differ only in length.
        Ordering::Equal => !(ours_full && theirs_full) && their_tip.is_better_than(our_tip),
        Ordering::Greater => {
            !ours_full || (is_fresh(their_tip, bitcoin_height) && is_in_step_with_bitcoin(theirs, their_tip, window))
        }
    }
}

/// Whether a whole window is verified, or everything from the genesis share on.
fn is_verified(tree: &Tree, window: u32) -> bool {
    let newest = newest_first(tree).take(window as usize);
    let verified: Vec<&LinkedShare> = newest.take_while(|linked| linked.verified).collect();
    verified.len() == window as usize || verified.last().is_some_and(|oldest| oldest.info().is_genesis())
}

fn newest_first(tree: &Tree) -> impl Iterator<Item = &LinkedShare> {
    tree.main_chain().iter().rev().map(AsRef::as_ref)
}

/// Returns the work verified in a chain's last window, or in all of a shorter chain.
pub(super) fn window_work(tree: &Tree) -> U256 {
    newest_first(tree)
        .take(tree.params().payout_window as usize)
        .filter(|linked| linked.verified)
        .fold(U256::ZERO, |sum, linked| sum.saturating_add(U256::from(linked.work.0)))
}

/// What a node without a chain chooses by: the work verified in the last window, then fork choice.
pub(super) fn first_chain_rank(tree: &Tree) -> (U256, Option<(Work, Reverse<ShareId>)>) {
    (window_work(tree), tree.tip().map(|tip| (tip.info().chain_work, Reverse(tip.id))))
}

/// Whether Bitcoin has gone on so long without a share of ours that our chain proves nothing any more.
fn is_outlived(our_tip: &LinkedShare, bitcoin_height: BlockHeight) -> bool {
    bitcoin_height.0.saturating_sub(our_tip.info().block_height.0) > OUTLIVED_BLOCKS
}

fn is_fresh(their_tip: &LinkedShare, bitcoin_height: BlockHeight) -> bool {
    their_tip.info().block_height.0.abs_diff(bitcoin_height.0) <= ANCHOR_LAG_MAX_BLOCKS
}

/// Whether the window spans 2/3 to 4/3 of the time that its anchors span, so that a history mined in an afternoon does
/// not pass for three days.
fn is_in_step_with_bitcoin(theirs: &Tree, newest: &LinkedShare, window: u32) -> bool {
    let oldest = newest_first(theirs).take(window as usize).last().expect("a chain with a tip has shares");
    let anchor_time = |linked: &LinkedShare| {
        let anchor = theirs.anchor(&linked.share.header.prev_blockhash).expect("a linked share's anchor is known");
        UnixTime(anchor.header.time)
    };
    let bitcoin_s = u64::from(anchor_time(newest).since(anchor_time(oldest)));
    let window_s = u64::from(newest.time().since(oldest.time()));
    window_s * 3 >= bitcoin_s * 2 && window_s * 3 <= bitcoin_s * 4
}
