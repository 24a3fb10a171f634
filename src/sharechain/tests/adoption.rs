//! Separate chains: which one a newcomer adopts, and which ones no node adopts (rules, section 6).

use std::sync::Arc;

use super::support::{
    anchor, anchor_at, assert_breaks, best_chain, params, script, verdict_on, TestNode, BITS, PEER, START,
};
use crate::params::ChainParams;
use crate::payouts::Window;
use crate::share::Share;
use crate::sharechain::{difficulty, CandidateId, Checks, Failure, Rule, Tree, Verdict};
use crate::units::{Bits, UnixTime};

/// A chain of `len` shares, each on a Bitcoin block of its own. Shares that come faster than the share period get harder.
fn chain(len: u32, miner: u8, period_s: u32) -> TestNode {
    let mut node = TestNode::new();
    node.miner = script(miner);
    for at in 0..len {
        node.now = node.now.plus(period_s);
        node.anchor = anchor_at(101 + at, node.now);
        node.chain.tree_mut().add_anchor(node.anchor.clone());
        let share = node.next();
        assert_eq!(node.give(&share), Verdict::Accepted);
    }
    node
}

/// Whether a node adopts a separate chain.
fn adopts(ours: &Tree, theirs: &Tree) -> bool {
    theirs.is_verified() && ours.loses_to(theirs)
}

/// A tree with only the newest `kept` shares of a chain.
fn from_pruned(node: &TestNode, kept: usize) -> Tree {
    let mut tree = Tree::new(Arc::clone(node.chain.tree().params()));
    node.chain.tree().headers().iter().for_each(|anchor| tree.add_anchor(anchor.clone()));
    let all = node.main_shares();
    for share in &all[all.len() - kept..] {
        let work = share.info.share_bits.target().unwrap().work().unwrap();
        tree.link(Arc::clone(share), work, node.now, Checks::Base).unwrap();
    }
    tree
}

#[test]
fn a_newcomer_adopts_a_pruned_chain_with_a_verified_window() {
    let theirs = chain(150, 1, 30);
    let kept = theirs.chain.tree().params().shares_kept() as usize;
    let tree = from_pruned(&theirs, kept);
    assert_eq!(tree.tip().unwrap().id, theirs.tip());
    let verified = tree.shares().filter(|linked| linked.verified).count();
    assert!(verified >= 20 && verified < kept, "{verified} of {kept}");
    assert!(adopts(TestNode::new().chain.tree(), &tree), "whatever its age");
    // Two windows are needed to verify one.
    assert!(!adopts(TestNode::new().chain.tree(), &from_pruned(&theirs, 39)));
    assert!(adopts(TestNode::new().chain.tree(), &from_pruned(&theirs, 41)));
}

/// The test whether a window may be held agrees with walking through it, with and without a work cut.
#[test]
fn may_hold_window_agrees_with_walking_through_the_window() {
    let counted = chain(150, 1, 30);
    let mut by_work = TestNode::with(ChainParams { work_cut_blocks: 2, ..params() });
    by_work.extend(40);
    for (theirs, kept) in [(counted, 60), (by_work, 12)] {
        let mut tree = from_pruned(&theirs, kept);
        let mut held = 0;
        for id in tree.main_chain().iter().map(|linked| linked.id).collect::<Vec<_>>() {
            for bits in [BITS, Bits(0x1f7f_ffff), Bits(0)] {
                let is_held = Window::new(tree.params()).move_to(id, bits, &tree).is_ok();
                assert_eq!(is_held, tree.may_hold_window(&id, bits), "{id} {bits:?}");
                held += usize::from(is_held);
            }
        }
        assert!(held > kept / 2 && held < 3 * kept, "{held}");
        tree.prune(std::iter::empty());
    }
}

/// Times need not ascend: the median that the first shares of a base must exceed depends on shares that are not held.
#[test]
fn a_base_may_start_with_a_share_that_is_later_than_those_after_it() {
    let mut theirs = TestNode::with_chain(50);
    theirs.now = theirs.now.plus(500);
    theirs.extend(1);
    theirs.now = theirs.now.minus(500);
    theirs.extend(70);
    let tree = from_pruned(&theirs, 71);
    assert_eq!(tree.tip().unwrap().id, theirs.tip());
}

#[test]
fn an_invalid_share_above_the_base_is_rejected() {
    let theirs = chain(150, 1, 30);
    let mut tree = from_pruned(&theirs, 60);
    let mut liar = chain(150, 1, 30);
    let tip = liar.tip();
    liar.now = liar.now.plus(30);
    let greedy = liar.paying(&tip, |_| (), |payouts| payouts[0].amount.0 -= 1);
    let work = greedy.info.share_bits.target().unwrap().work().unwrap();
    let refused = tree.link(Arc::new(greedy), work, liar.now, Checks::Base);
    assert!(matches!(refused, Err(Failure::Broken { rule: Rule::Payouts, .. } | Failure::Missing(_))));
}

#[test]
fn a_node_changes_only_to_a_chain_with_more_recent_work() {
    let ours = chain(40, 1, 30);
    let stronger = chain(40, 2, 20);
    let weaker = chain(39, 3, 30);
    assert!(adopts(ours.chain.tree(), stronger.chain.tree()));
    assert!(!adopts(stronger.chain.tree(), ours.chain.tree()));
    assert!(!adopts(ours.chain.tree(), weaker.chain.tree()));
    // A pruned copy has fewer verified shares, which is no reason to lose: only what both have verified counts.
    let (long, pruned) = (chain(80, 1, 30), from_pruned(&chain(90, 4, 28), 45));
    assert!(pruned.recent_work() < long.chain.tree().recent_work() && adopts(long.chain.tree(), &pruned));
}

/// Work done on old Bitcoin blocks counts little, whatever times the shares state.
#[test]
fn a_chain_mined_on_an_old_block_does_not_replace_a_fresh_one() {
    let mut ours = chain(40, 1, 30);
    let mut rushed = TestNode::new();
    rushed.miner = script(9);
    for _ in 0..40 {
        rushed.now = rushed.now.plus(20);
        let share = rushed.next();
        assert_eq!(rushed.give(&share), Verdict::Accepted);
    }
    assert!(adopts(ours.chain.tree(), rushed.chain.tree()), "as long as that block is new");
    // Two days later the pool has gone on, and the other chain has one fresh share.
    let later = anchor_at(400, ours.now.plus(172_800 + 3_600));
    for node in [&mut ours, &mut rushed] {
        node.chain.tree_mut().headers_mut().follow(best_chain(later.clone()));
        node.anchor = later.clone();
        node.now = UnixTime(later.header.time);
    }
    ours.extend(20);
    rushed.extend(1);
    assert!(!adopts(ours.chain.tree(), rushed.chain.tree()));
    assert!(adopts(rushed.chain.tree(), ours.chain.tree()));
}

/// A pool that slept keeps its credits against one easy share, but not for ever.
#[test]
fn a_sleeping_pool_is_not_replaced_by_one_easy_share() {
    let mut ours = chain(40, 1, 2);
    let mut other = TestNode::new();
    other.miner = script(2);
    let later = anchor_at(500, ours.now.plus(172_800));
    for node in [&mut ours, &mut other] {
        node.chain.tree_mut().headers_mut().follow(best_chain(later.clone()));
        node.anchor = later.clone();
        node.now = UnixTime(later.header.time);
    }
    other.extend(1);
    assert!(!adopts(ours.chain.tree(), other.chain.tree()));
    assert!(adopts(other.chain.tree(), ours.chain.tree()));
}

#[test]
fn a_branch_waits_for_its_anchors() {
    let mut ours = TestNode::with_chain(3);
    let mut theirs = TestNode::new();
    theirs.chain.tree_mut().add_anchor(anchor(101));
    theirs.miner = script(2);
    for at in 0..10 {
        theirs.anchor = anchor(100 + at / 9);
        theirs.now = theirs.now.plus(3);
        let share = theirs.next();
        assert_eq!(theirs.give(&share), Verdict::Accepted);
    }
    ours.now = ours.now.max(theirs.now);
    for share in theirs.main_shares() {
        assert!(!matches!(ours.give(&share), Verdict::Rejected { .. }));
    }
    assert_ne!(ours.tip(), theirs.tip());
    let last = theirs.main_shares()[9].clone();
    let effects = ours.chain.anchor_known(anchor(101), ours.now);
    assert_eq!(verdict_on(&effects, &last), Verdict::Accepted);
    assert_eq!(ours.tip(), theirs.tip());
}

#[test]
fn a_separate_chain_with_an_invalid_share_is_adopted_only_up_to_it() {
    let mut ours = TestNode::with_chain(2);
    let mut theirs = TestNode::new();
    theirs.miner = script(2);
    theirs.extend(6);
    let tip = theirs.tip();
    let good = theirs.main_shares();
    theirs.now = theirs.now.plus(30);
    let bad = theirs.paying(&tip, |_| (), |payouts| payouts[0].amount.0 -= 1);
    ours.now = theirs.now;
    for share in &good {
        ours.give(share);
    }
    assert_breaks(&ours.give(&bad), Rule::Payouts);
}

#[test]
fn a_newcomer_offered_two_siblings_adopts_the_one_with_the_lowest_id() {
    let mut theirs = TestNode::with_chain(2);
    let parent = theirs.tip();
    let siblings: Vec<Share> = (1..=2)
        .map(|miner| {
            theirs.miner = script(miner);
            theirs.on(&parent)
        })
        .collect();
    let lowest = siblings.iter().map(Share::id).min().unwrap();
    for order in [[0, 1], [1, 0]] {
        let mut newcomer = TestNode::new();
        newcomer.now = theirs.now;
        for (number, tip) in (1..).zip(order) {
            let candidate = CandidateId(number);
            newcomer.chain.open_candidate(candidate, false, newcomer.now);
            for share in theirs.main_shares().into_iter().chain([Arc::new(siblings[tip].clone())]) {
                newcomer.chain.receive_candidate(candidate, share, PEER, newcomer.now);
            }
            newcomer.chain.finish_candidate(candidate, newcomer.now);
        }
        newcomer.chain.tick(newcomer.now);
        assert_eq!(newcomer.tip(), lowest);
    }
}

#[test]
fn young_chains_of_the_easiest_shares_converge() {
    let (shorter, longer) = (chain(6, 1, 30), chain(9, 2, 30));
    let moves = |ours: &TestNode, theirs: &TestNode| adopts(ours.chain.tree(), theirs.chain.tree());
    assert!(moves(&shorter, &longer) && !moves(&longer, &shorter));
    let (one, mut other) = (chain(6, 1, 30), chain(6, 2, 30));
    assert!(moves(&one, &other) != moves(&other, &one), "one of them changes, by the lowest id");
    assert!(!moves(&one, &one));
    other.extend(1);
    assert!(moves(&one, &other) && !moves(&other, &one));
}

/// A few shares of a strong miner do not outweigh a window of everybody's work.
#[test]
fn a_short_burst_does_not_replace_a_full_window() {
    let work = |node: &TestNode, shares: usize| -> u128 {
        node.chain.tree().ancestry(&node.tip()).take(shares).map(|linked| linked.work.0).sum()
    };
    let (ours, burst) = (chain(40, 1, 30), chain(9, 2, 10));
    assert!(work(&burst, 9) > work(&ours, 9) && work(&burst, 9) < work(&ours, 20));
    assert!(!adopts(ours.chain.tree(), burst.chain.tree()));
    assert!(adopts(burst.chain.tree(), ours.chain.tree()), "they change to ours");
    // With more work than the whole window it is adopted.
    let long = chain(19, 2, 10);
    assert!(work(&long, 19) > work(&ours, 20));
    assert!(adopts(ours.chain.tree(), long.chain.tree()));
}

/// The work of the newest shares of a chain.
fn newest_work(node: &TestNode, shares: usize) -> u128 {
    node.main_ids().iter().rev().take(shares).filter_map(|id| node.chain.tree().get(id)).map(|share| share.work.0).sum()
}

/// Offers all shares of a chain as a separate candidate. Returns whether the node adopted it.
fn adopts_candidate(ours: &mut TestNode, theirs: &TestNode) -> bool {
    let (id, before) = (CandidateId(1), ours.tip());
    ours.chain.open_candidate(id, false, ours.now);
    theirs.main_shares().into_iter().for_each(|share| drop(ours.chain.receive_candidate(id, share, PEER, ours.now)));
    ours.chain.finish_candidate(id, ours.now);
    assert!(ours.tip() == before || ours.tip() == theirs.tip());
    ours.tip() != before
}

/// The last shares of a miner with a small part of the hash rate, whose clock is slow, have more work than the last window of
/// the pool. They once replaced it.
#[test]
fn a_slow_private_chain_does_not_replace_the_pool() {
    let mut ours = chain(600, 1, 30);
    let mut private = TestNode::new();
    private.miner = script(66);
    for _ in 0..25 {
        private.now = private.now.plus(20);
        let share = private.next();
        assert_eq!(private.give(&share), Verdict::Accepted);
    }
    (private.now, private.anchor) = (ours.now, ours.anchor.clone());
    private.chain.tree_mut().add_anchor(private.anchor.clone());
    let share = private.next();
    assert_eq!(private.give(&share), Verdict::Accepted);
    assert!(newest_work(&private, 20) > newest_work(&ours, 20));
    let (all, of_pool) = (newest_work(&private, 26), newest_work(&ours, 600));
    assert!(all * 5 < of_pool, "{all} hashes, the pool's {of_pool}");
    assert!(!adopts_candidate(&mut ours, &private));
    // Nor does it if Bitcoin's newest block is younger by days.
    let later = anchor_at(2_000, ours.now.plus(2 * 172_800));
    ours.chain.follow_best_chain(best_chain(later), ours.now);
    assert!(!adopts_candidate(&mut ours, &private));
}

/// A miner with a tenth of the hash rate mines a chain of its own, always on the newest Bitcoin block: meanwhile it loses
/// nothing, because each of its blocks pays it alone. Clusters of hard shares after an eased one once gave it a last window
/// that outweighed the pool's.
#[test]
fn a_tenth_of_the_hash_rate_does_not_replace_the_pool() {
    let params = ChainParams { payout_window: 200, ..ChainParams::standard(crate::params::Network::Regtest) };
    let block_at = |now: UnixTime| {
        let number = now.since(START) / 600;
        anchor_at(100 + number, START.plus(600 * number))
    };
    let mine = |node: &mut TestNode, edit: &dyn Fn(&mut Share), block_time: UnixTime| {
        node.anchor = block_at(block_time);
        node.chain.tree_mut().add_anchor(node.anchor.clone());
        let tip = node.tip();
        let share = node.edited(&tip, edit);
        assert_eq!(node.give(&share), Verdict::Accepted);
    };
    let mut pool = TestNode::with(params.clone());
    for at in 0..2_570 {
        pool.now = pool.now.plus(if at < 20 { 1 } else { 30 });
        let now = pool.now;
        mine(&mut pool, &|_| (), now);
    }
    let started = pool.chain.tree().main_chain()[270].time();
    let work = newest_work(&pool, 2_300) / 2_300;
    let s_per_hash = 30.0 / work as f64 * 9.0;
    let mut private = TestNode::with(params.clone());
    private.miner = script(66);
    let (mut real, mut heaviest) = (f64::from(started.0), 0);
    private.now = started.plus(8_000);
    while real < f64::from(pool.now.0) {
        let last = private.chain.tree().tip().map_or(0, |tip| tip.work.0);
        // A new cluster: its first share is later than the last one, and so eased to a sixth of a share of the pool.
        let mut easings = 0;
        if last > 6 * work || private.now.plus(3_000) < UnixTime(real as u32) {
            private.now = UnixTime(real as u32 + 8_000).max(private.now.plus(4_800));
            easings = (0..8).find(|easings| (last >> easings) * 6 < work).unwrap_or(8);
        }
        let ease = |share: &mut Share| {
            share.info.chain_work.0 -= share.info.share_bits.work().unwrap().0;
            share.info.share_bits = difficulty::eased_bits(&params, share.info.base_bits, easings);
            share.info.chain_work.0 += share.info.share_bits.work().unwrap().0;
        };
        mine(&mut private, &ease, UnixTime(real as u32));
        real += private.chain.tree().tip().unwrap().work.0 as f64 * s_per_hash;
        heaviest = heaviest.max(newest_work(&private, 200));
    }
    // Whatever its last window is worth, all that it did is a ninth of what the pool did meanwhile.
    let (all, of_pool) = (newest_work(&private, usize::MAX), newest_work(&pool, 2_300));
    assert!(all * 8 < of_pool && of_pool < all * 10, "{all} hashes, the pool's {of_pool}");
    println!("the pool's last window: {}, the heaviest private one: {heaviest}", newest_work(&pool, 200));
    pool.now = pool.now.max(private.now);
    assert!(!adopts_candidate(&mut pool, &private));
}
