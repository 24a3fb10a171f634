//! Fork choice, order of arrival, restart and pruning.

use std::sync::Arc;

use super::support::{anchor, best_chain, params, script, TestNode, BITS};
use crate::share::Share;
use crate::sharechain::{Checks, Tree, Verdict};
use crate::units::{Sats, ShareHeight};

/// All shares of a node, oldest first.
fn shares(node: &TestNode) -> Vec<Share> {
    let mut all: Vec<Share> = node.chain.tree().shares().map(|linked| (*linked.share).clone()).collect();
    all.sort_by_key(|share| (share.info.share_height, share.id()));
    all
}

/// A chain of `len` heights. Every third height has two shares.
fn forked(len: u32) -> TestNode {
    let mut node = TestNode::new();
    for height in 0..len {
        node.now = node.now.plus(30);
        let parent = node.tip();
        let twins = if height % 3 == 2 { 2 } else { 1 };
        for twin in 0..twins {
            node.miner = script(1 + twin);
            let share = node.on(&parent);
            assert_eq!(node.give(&share), Verdict::Accepted);
        }
    }
    node
}

#[test]
fn of_equal_work_the_lowest_id_wins_in_any_order() {
    for order in [[0, 1], [1, 0]] {
        let mut node = TestNode::with_chain(5);
        let parent = node.tip();
        let mut twins = vec![node.on(&parent)];
        node.miner = script(2);
        twins.push(node.on(&parent));
        for at in order {
            node.give(&twins[at]);
        }
        assert_eq!(node.tip(), twins.iter().map(Share::id).min().unwrap());
    }
}

#[test]
fn the_tip_does_not_depend_on_the_order_of_arrival() {
    let source = forked(40);
    let all = shares(&source);
    let mut seed = 1u64;
    for _ in 0..10 {
        let mut order: Vec<usize> = (0..all.len()).collect();
        for at in (1..order.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            order.swap(at, (seed >> 33) as usize % (at + 1));
        }
        let mut node = TestNode::new();
        node.now = source.now;
        // The true genesis share starts the chain. A second one would wait for more work.
        node.give(&all[0]);
        for at in order {
            node.give(&all[at]);
        }
        assert_eq!(node.tip(), source.tip());
        assert_eq!(node.chain.tree().len(), all.len());
        assert_eq!(node.chain.waiting().0, 0);
    }
}

#[test]
fn a_longer_branch_wins_and_the_shorter_one_provides_uncles() {
    let mut node = TestNode::with_chain(10);
    let fork = node.tip();
    let common = shares(&node);
    node.extend(2);
    let mut other = TestNode::new();
    common.iter().for_each(|share| assert_eq!(other.give_at(share), Verdict::Accepted));
    other.miner = script(2);
    other.now = node.now;
    other.extend(3);
    assert!(other.main_ids().contains(&fork));
    let branch: Vec<Share> = shares(&other).into_iter().skip(10).collect();
    node.now = other.now;
    assert_eq!(node.give(&branch[0]), Verdict::Accepted, "a sibling near the tip is checked at once");
    assert_eq!(node.give(&branch[1]), Verdict::Accepted, "and so is its child, which may become an uncle with it");
    assert_eq!(node.give(&branch[2]), Verdict::Accepted);
    assert_eq!(node.tip(), other.tip());
    assert_eq!(node.chain.waiting(), (0, 0));
    assert_eq!(node.main_ids(), other.main_ids());
    let next = node.next();
    assert_eq!(next.info.uncles.len(), 2, "both stale shares, the second of which is built on the first");
    assert_eq!(node.give(&next), Verdict::Accepted);
}

/// Two branches that fork two shares below their tips: the tip does not depend on which came first.
#[test]
fn of_branches_with_equal_work_the_lower_id_wins() {
    let common = shares(&TestNode::with_chain(10));
    let branch = |miner: u8| {
        let mut node = TestNode::new();
        common.iter().for_each(|share| assert_eq!(node.give_at(share), Verdict::Accepted));
        node.miner = script(miner);
        node.extend(2);
        shares(&node).into_iter().skip(10).collect::<Vec<Share>>()
    };
    for miners in [(2, 3), (3, 2), (4, 5), (5, 4)] {
        let (first, second) = (branch(miners.0), branch(miners.1));
        assert_eq!(first[1].info.chain_work, second[1].info.chain_work);
        let mut node = TestNode::new();
        for share in common.iter().chain(&first).chain(&second) {
            node.give_at(share);
        }
        assert_eq!(node.tip(), first[1].id().min(second[1].id()), "{miners:?}");
    }
}

#[test]
fn a_share_linked_twice_is_in_the_tree_once() {
    let mut node = TestNode::with_chain(5);
    let parent = node.tip();
    for miner in [2, 3] {
        node.miner = script(miner);
        let share = node.on(&parent);
        assert_eq!(node.give(&share), Verdict::Accepted);
        let work = share.info.share_bits.target().unwrap().work().unwrap();
        assert_eq!(node.chain.tree_mut().link(Arc::new(share), work, node.now, Checks::Full), Ok(false));
    }
    assert_eq!(node.chain.tree().children(&parent).count(), 2);
    assert_eq!(node.next().info.uncles.len(), 1);
}

#[test]
fn a_restart_restores_tip_window_and_uncles() {
    let mut before = forked(70);
    before.chain.tree_mut().prune(std::iter::empty());
    let mut tree = Tree::new(Arc::new(params()));
    for share in shares(&before) {
        tree.restore(Arc::new(share), true);
    }
    tree.add_anchor(anchor(100));
    let mut after = TestNode::of(tree, before.now, anchor(100));
    assert_eq!(after.main_ids(), before.main_ids());
    let tip = before.tip();
    let payouts = |node: &mut TestNode| {
        node.chain.tree_mut().window(tip, BITS).unwrap().payouts(Sats(5_000_000_000), script(1), 0)
    };
    assert_eq!(payouts(&mut after), payouts(&mut before));
    before.miner = script(1);
    assert_eq!(after.next(), before.next());
    after.extend(30);
}

#[test]
fn pruning_keeps_the_shares_that_windows_need() {
    // Kept: two payout windows of 20, a retarget window of 8, and 16.
    let mut node = forked(150);
    let pruned = node.chain.tree_mut().prune(std::iter::empty());
    let tree = node.chain.tree();
    assert_eq!(tree.main_chain().len(), 2 * 20 + 8 + 16);
    assert!(pruned.len() > 60 && pruned.iter().all(|id| !tree.contains(id)));
    let oldest = tree.shares().map(|linked| linked.share.info.share_height).min().unwrap();
    assert_eq!(tree.main_at(oldest).unwrap().id, tree.main_chain()[0].id);
    assert!(tree.main_at(ShareHeight(oldest.0 - 1)).is_none());
    node.extend(100);
    node.chain.tree_mut().prune(std::iter::empty());
    assert_eq!(node.chain.tree().len(), 64, "the last stale twins are pruned too");
}

#[test]
fn pruning_removes_anchors_without_shares() {
    let mut node = TestNode::with_chain(5);
    (101..=103).for_each(|height| node.chain.tree_mut().add_anchor(anchor(height)));
    node.anchor = anchor(103);
    node.extend(70);
    node.chain.tree_mut().headers_mut().follow(best_chain(anchor(1_200)));
    node.chain.tree_mut().prune(std::iter::empty());
    let held: Vec<u32> = node.chain.tree().headers().iter().map(|anchor| anchor.height.0).collect();
    assert_eq!(held.len(), 2, "the shares' own and the best tip: {held:?}");
    assert!(held.contains(&103) && held.contains(&1_200), "{held:?}");
}

#[test]
fn a_share_on_pruned_history_is_neither_accepted_nor_rejected() {
    let mut node = forked(150);
    let old = node.main_ids()[50];
    let late = node.on(&old);
    node.chain.tree_mut().prune(std::iter::empty());
    assert!(matches!(node.give(&late), Verdict::Deferred), "its parent is gone");
    let edge = node.main_ids()[0];
    let on_edge = node.on(&edge);
    assert_eq!(
        node.give(&on_edge),
        Verdict::Unverified,
        "its target is unknown, and its branch does not claim enough work"
    );
}
