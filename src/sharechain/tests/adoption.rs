//! Chains that do not join ours: what a newcomer takes, and what nobody takes (rules, section 6).

use std::sync::Arc;

use super::kit::{anchor, anchor_at, assert_breaks, params, script, verdict_on, Kit, BITS, PEER};
use crate::params::ChainParams;
use crate::payouts::Window;
use crate::share::Share;
use crate::sharechain::adoption::window_work;
use crate::sharechain::{adopts, CandidateId, Depth, Failure, Rule, Tree, Verdict};
use crate::units::{Bits, BlockHeight};

/// A chain of `len` with a Bitcoin block before each share; shares get harder if they come faster than asked for.
fn chain(len: u32, miner: u8, period_s: u32) -> Kit {
    let mut kit = Kit::new();
    kit.miner = script(miner);
    for at in 0..len {
        kit.now = kit.now.plus(period_s);
        kit.anchor = anchor_at(101 + at, kit.now);
        kit.chain.tree_mut().add_anchor(kit.anchor.clone());
        let share = kit.next();
        assert_eq!(kit.give(&share), Verdict::Accepted);
    }
    kit
}

fn main_shares(kit: &Kit) -> Vec<Arc<Share>> {
    kit.chain.tree().main_chain().iter().map(|id| Arc::clone(&kit.chain.tree().get(id).unwrap().share)).collect()
}

/// A tree built from the newest `kept` shares of a chain only.
fn from_pruned(kit: &Kit, kept: usize) -> Tree {
    let mut tree = Tree::new(Arc::clone(kit.chain.tree().params()));
    kit.chain.tree().anchors().for_each(|anchor| tree.add_anchor(anchor.clone()));
    let all = main_shares(kit);
    for share in &all[all.len() - kept..] {
        let work = share.info.share_bits.target().unwrap().work().unwrap();
        tree.link(Arc::clone(share), work, kit.now, Depth::Base).unwrap();
    }
    tree
}

fn empty() -> Kit {
    Kit::new()
}

#[test]
fn a_newcomer_takes_a_pruned_chain_with_a_whole_verified_window() {
    let theirs = chain(150, 1, 30);
    let kept = theirs.chain.tree().params().shares_kept() as usize;
    let tree = from_pruned(&theirs, kept);
    assert_eq!(tree.tip().unwrap().id, theirs.tip());
    let verified = tree.shares().filter(|node| node.verified).count();
    assert!(verified >= 20 && verified < kept, "{verified} of {kept}");
    assert!(adopts(empty().chain.tree(), &tree, BlockHeight(100)), "whatever its age");
    // Window and window again are needed: with less nothing is proven.
    assert!(!adopts(empty().chain.tree(), &from_pruned(&theirs, 39), BlockHeight(100)));
    assert!(adopts(empty().chain.tree(), &from_pruned(&theirs, 41), BlockHeight(100)));
}

/// What says in advance that a window is not held says what walking through it says, on both kinds of chain.
#[test]
fn windows_that_are_not_held_are_known_without_walking() {
    let counted = chain(150, 1, 30);
    let mut by_work = Kit::with(ChainParams { work_cut_blocks: 2, ..params() });
    by_work.extend(40);
    for (theirs, kept) in [(counted, 60), (by_work, 12)] {
        let mut tree = from_pruned(&theirs, kept);
        let mut held = 0;
        for id in tree.main_chain().to_vec() {
            for bits in [BITS, Bits(0x1f7f_ffff), Bits(0)] {
                let window = Window::new(tree.params());
                let expected = tree.get(&id).unwrap().may_hold_window(&window, bits);
                let mut walked = window;
                let is_held = walked.move_to(id, bits, &tree).is_ok();
                assert_eq!(is_held, expected, "{id} {bits:?}");
                held += usize::from(is_held);
            }
        }
        assert!(held > kept / 2 && held < 3 * kept, "{held}");
        tree.prune();
    }
}

/// Times need not ascend: the median that bounds the first shares above the base lies in history that is not held.
#[test]
fn a_base_may_begin_with_a_share_that_is_later_than_those_after_it() {
    let mut theirs = Kit::with_chain(50);
    theirs.now = theirs.now.plus(500);
    theirs.extend(1);
    theirs.now = theirs.now.minus(500);
    theirs.extend(70);
    let tree = from_pruned(&theirs, 71);
    assert_eq!(tree.tip().unwrap().id, theirs.tip());
}

#[test]
fn a_false_share_above_the_base_is_found_out() {
    let theirs = chain(150, 1, 30);
    let mut tree = from_pruned(&theirs, 60);
    let mut liar = chain(150, 1, 30);
    let tip = liar.tip();
    liar.now = liar.now.plus(30);
    let greedy = liar.paying(&tip, |_| (), |payouts| payouts[0].amount.0 -= 1);
    let work = greedy.info.share_bits.target().unwrap().work().unwrap();
    let refused = tree.link(Arc::new(greedy), work, liar.now, Depth::Base);
    assert!(matches!(refused, Err(Failure::Broken { rule: Rule::Payouts, .. } | Failure::Missing(_))));
}

#[test]
fn only_more_work_in_the_last_window_moves_a_node() {
    let ours = chain(40, 1, 30);
    let stronger = chain(40, 2, 20);
    let weaker = chain(70, 3, 30);
    let height = stronger.chain.tree().tip().unwrap().share.info.block_height;
    assert!(adopts(ours.chain.tree(), stronger.chain.tree(), height));
    assert!(!adopts(stronger.chain.tree(), ours.chain.tree(), height));
    assert!(!adopts(ours.chain.tree(), weaker.chain.tree(), height), "length is not work");
}

#[test]
fn a_stale_or_rushed_history_moves_nobody_with_a_full_window() {
    let ours = chain(40, 1, 30);
    let stronger = chain(40, 2, 20);
    let height = stronger.chain.tree().tip().unwrap().share.info.block_height;
    assert!(!adopts(ours.chain.tree(), stronger.chain.tree(), BlockHeight(height.0 + 11)), "its newest anchor is old");
    // Mined on one Bitcoin block: the window's span is none of Bitcoin's.
    let mut rushed = Kit::new();
    rushed.miner = script(9);
    for _ in 0..40 {
        rushed.now = rushed.now.plus(20);
        let share = rushed.next();
        assert_eq!(rushed.give(&share), Verdict::Accepted);
    }
    assert!(!adopts(ours.chain.tree(), rushed.chain.tree(), BlockHeight(101)));
    // Nor does a short one that outweighs the window: it may be as short as its miner is strong.
    let mut strong = Kit::new();
    strong.miner = script(8);
    for _ in 0..19 {
        strong.now = strong.now.plus(1);
        let share = strong.next();
        assert_eq!(strong.give(&share), Verdict::Accepted);
    }
    assert!(window_work(strong.chain.tree()) > window_work(ours.chain.tree()));
    assert!(!adopts(ours.chain.tree(), strong.chain.tree(), BlockHeight(101)));
    // But a node without a full window has no such history to defend.
    assert!(adopts(Kit::with_chain(3).chain.tree(), rushed.chain.tree(), BlockHeight(101)));
}

#[test]
fn a_node_that_was_away_for_two_windows_is_as_one_that_is_new() {
    let ours = chain(40, 1, 20);
    let weaker = chain(40, 2, 30);
    let height = ours.chain.tree().tip().unwrap().share.info.block_height;
    assert!(!adopts(ours.chain.tree(), weaker.chain.tree(), BlockHeight(height.0 + 864)));
    assert!(adopts(ours.chain.tree(), weaker.chain.tree(), BlockHeight(height.0 + 865)));
}

#[test]
fn a_branch_waits_for_the_bitcoin_blocks_it_is_built_on() {
    let mut ours = Kit::with_chain(3);
    let mut theirs = Kit::new();
    theirs.chain.tree_mut().add_anchor(anchor(101));
    theirs.miner = script(2);
    for at in 0..10 {
        theirs.anchor = anchor(100 + at / 9);
        theirs.now = theirs.now.plus(3);
        let share = theirs.next();
        assert_eq!(theirs.give(&share), Verdict::Accepted);
    }
    ours.now = ours.now.max(theirs.now);
    for share in main_shares(&theirs) {
        assert!(!matches!(ours.give(&share), Verdict::Rejected { .. }));
    }
    assert_ne!(ours.tip(), theirs.tip());
    let last = main_shares(&theirs)[9].clone();
    let effects = ours.chain.anchor_known(anchor(101), ours.now);
    assert_eq!(verdict_on(&effects, &last), Verdict::Accepted);
    assert_eq!(ours.tip(), theirs.tip());
}

#[test]
fn a_separate_chain_with_a_bad_share_is_taken_only_up_to_it() {
    let mut ours = Kit::with_chain(2);
    let mut theirs = Kit::new();
    theirs.miner = script(2);
    theirs.extend(6);
    let tip = theirs.tip();
    let good = main_shares(&theirs);
    theirs.now = theirs.now.plus(30);
    let bad = theirs.paying(&tip, |_| (), |payouts| payouts[0].amount.0 -= 1);
    ours.now = theirs.now;
    for share in &good {
        ours.give(share);
    }
    assert_breaks(&ours.give(&bad), Rule::Payouts);
}

#[test]
fn a_newcomer_offered_two_siblings_takes_the_one_that_everybody_takes() {
    let mut theirs = Kit::with_chain(2);
    let parent = theirs.tip();
    let siblings: Vec<Share> = (1..=2)
        .map(|miner| {
            theirs.miner = script(miner);
            theirs.on(&parent)
        })
        .collect();
    let lowest = siblings.iter().map(Share::id).min().unwrap();
    for order in [[0, 1], [1, 0]] {
        let mut newcomer = empty();
        newcomer.now = theirs.now;
        for (number, tip) in (1..).zip(order) {
            let candidate = CandidateId(number);
            newcomer.chain.open_candidate(candidate, false, newcomer.now);
            for share in main_shares(&theirs).into_iter().chain([Arc::new(siblings[tip].clone())]) {
                newcomer.chain.receive_candidate(candidate, share, PEER, newcomer.now);
            }
            newcomer.chain.finish_candidate(candidate, newcomer.now);
        }
        newcomer.chain.tick(newcomer.now);
        assert_eq!(newcomer.tip(), lowest);
    }
}

#[test]
fn young_chains_of_the_easiest_shares_become_one() {
    let (shorter, longer) = (chain(6, 1, 30), chain(9, 2, 30));
    let height = BlockHeight(100);
    assert!(adopts(shorter.chain.tree(), longer.chain.tree(), height));
    assert!(!adopts(longer.chain.tree(), shorter.chain.tree(), height));
    let (one, other) = (chain(6, 1, 30), chain(6, 2, 30));
    let moves = |ours: &Kit, theirs: &Kit| adopts(ours.chain.tree(), theirs.chain.tree(), height);
    assert!(moves(&one, &other) != moves(&other, &one), "one of them, by its id");
    assert!(!moves(&one, &one));
    // With full windows on both sides length is not work.
    assert!(!moves(&chain(25, 1, 30), &chain(30, 2, 30)));
}

/// A few shares of a strong miner are no reason to leave a window of all the others' work.
#[test]
fn a_short_burst_does_not_take_over_a_full_window() {
    let work = |kit: &Kit, shares: usize| -> u128 {
        kit.chain.tree().ancestry(&kit.tip()).take(shares).map(|node| node.work.0).sum()
    };
    let (ours, burst) = (chain(40, 1, 30), chain(9, 2, 10));
    assert!(work(&burst, 9) > work(&ours, 9) && work(&burst, 9) < work(&ours, 20));
    let height = burst.chain.tree().tip().unwrap().share.info.block_height;
    assert!(!adopts(ours.chain.tree(), burst.chain.tree(), height));
    assert!(adopts(burst.chain.tree(), ours.chain.tree(), height), "they come to us");
    // With more work than the whole window it is taken.
    let long = chain(19, 2, 10);
    assert!(work(&long, 19) > work(&ours, 20));
    let height = long.chain.tree().tip().unwrap().share.info.block_height;
    assert!(adopts(ours.chain.tree(), long.chain.tree(), height));
}
