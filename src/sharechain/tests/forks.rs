//! Fork choice, order of arrival, restart and pruning.

use std::sync::Arc;

use super::kit::{anchor, params, script, Kit, BITS};
use crate::share::Share;
use crate::sharechain::{Depth, Sharechain, Tree, Verdict};
use crate::units::{Sats, ShareHeight};

/// All shares of a node, oldest first.
fn shares(kit: &Kit) -> Vec<Share> {
    let mut all: Vec<Share> = kit.chain.tree().shares().map(|node| (*node.share).clone()).collect();
    all.sort_by_key(|share| (share.info.share_height, share.id()));
    all
}

/// A chain of `len` where every third height has two shares.
fn forked(len: u32) -> Kit {
    let mut kit = Kit::new();
    for height in 0..len {
        kit.now = kit.now.plus(30);
        let parent = kit.tip();
        let twins = if height % 3 == 2 { 2 } else { 1 };
        for twin in 0..twins {
            kit.miner = script(1 + twin);
            let share = kit.on(&parent);
            assert_eq!(kit.give(&share), Verdict::Accepted);
        }
    }
    kit
}

#[test]
fn equal_work_is_decided_by_the_lowest_id_whatever_came_first() {
    for order in [[0, 1], [1, 0]] {
        let mut kit = Kit::with_chain(5);
        let parent = kit.tip();
        let mut twins = vec![kit.on(&parent)];
        kit.miner = script(2);
        twins.push(kit.on(&parent));
        for at in order {
            kit.give(&twins[at]);
        }
        assert_eq!(kit.tip(), twins.iter().map(Share::id).min().unwrap());
    }
}

#[test]
fn any_order_of_arrival_gives_one_tip() {
    let source = forked(40);
    let all = shares(&source);
    let mut seed = 1u64;
    for _ in 0..10 {
        let mut order: Vec<usize> = (0..all.len()).collect();
        for at in (1..order.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            order.swap(at, (seed >> 33) as usize % (at + 1));
        }
        let mut kit = Kit::new();
        kit.now = source.now;
        // A second genesis waits for more work; the true one starts the chain.
        kit.give(&all[0]);
        for at in order {
            kit.give(&all[at]);
        }
        assert_eq!(kit.tip(), source.tip());
        assert_eq!(kit.chain.tree().len(), all.len());
        assert_eq!(kit.chain.waiting().0, 0);
    }
}

#[test]
fn a_longer_branch_wins_and_the_shorter_gives_uncles() {
    let mut kit = Kit::with_chain(10);
    let fork = kit.tip();
    let common = shares(&kit);
    kit.extend(2);
    let mut other = Kit::new();
    common.iter().for_each(|share| assert_eq!(other.give_at(share), Verdict::Accepted));
    other.miner = script(2);
    other.now = kit.now;
    other.extend(3);
    assert_eq!(other.chain.tree().get(&fork).map(|node| other.chain.tree().is_main(node)), Some(true));
    let branch: Vec<Share> = shares(&other).into_iter().skip(10).collect();
    kit.now = other.now;
    assert_eq!(kit.give(&branch[0]), Verdict::Accepted, "a sibling near the tip is checked at once");
    // Its child claims as much as the tip: it is looked at if the tie is decided for it.
    let wins_tie = branch[1].id() < kit.tip();
    assert_eq!(kit.give(&branch[1]), if wins_tie { Verdict::Accepted } else { Verdict::Unverified });
    assert_eq!(kit.give(&branch[2]), Verdict::Accepted);
    assert_eq!(kit.tip(), other.tip());
    assert_eq!(kit.chain.waiting(), (0, 0));
    assert_eq!(kit.chain.tree().main_chain(), other.chain.tree().main_chain());
    // Of the two lost shares the first descends from an ancestor of the next: an uncle.
    let next = kit.next();
    assert_eq!(next.info.uncles.len(), 1);
    assert_eq!(kit.give(&next), Verdict::Accepted);
}

/// Branches that part two shares below their ends: the tip does not depend on which came first.
#[test]
fn of_branches_with_as_much_work_the_one_with_the_lower_id_wins() {
    let common = shares(&Kit::with_chain(10));
    let branch = |miner: u8| {
        let mut kit = Kit::new();
        common.iter().for_each(|share| assert_eq!(kit.give_at(share), Verdict::Accepted));
        kit.miner = script(miner);
        kit.extend(2);
        shares(&kit).into_iter().skip(10).collect::<Vec<Share>>()
    };
    for miners in [(2, 3), (3, 2), (4, 5), (5, 4)] {
        let (first, second) = (branch(miners.0), branch(miners.1));
        assert_eq!(first[1].info.chain_work, second[1].info.chain_work);
        let mut kit = Kit::new();
        for share in common.iter().chain(&first).chain(&second) {
            kit.give_at(share);
        }
        assert_eq!(kit.tip(), first[1].id().min(second[1].id()), "{miners:?}");
    }
}

#[test]
fn a_share_put_in_the_tree_twice_is_there_once() {
    let mut kit = Kit::with_chain(5);
    let parent = kit.tip();
    for miner in [2, 3] {
        kit.miner = script(miner);
        let share = kit.on(&parent);
        assert_eq!(kit.give(&share), Verdict::Accepted);
        let work = share.info.share_bits.target().unwrap().work().unwrap();
        assert_eq!(kit.chain.tree_mut().link(Arc::new(share), work, kit.now, Depth::Full), Ok(false));
    }
    assert_eq!(kit.chain.tree().children(&parent).count(), 2);
    assert_eq!(kit.next().info.uncles.len(), 1);
}

#[test]
fn a_restart_gives_back_tip_window_and_uncles() {
    let mut before = forked(70);
    before.chain.tree_mut().prune();
    let mut tree = Tree::new(Arc::new(params()));
    for share in shares(&before) {
        tree.restore(Arc::new(share), true);
    }
    tree.add_anchor(anchor(100));
    let mut after = Kit { chain: Sharechain::new(tree), now: before.now, anchor: anchor(100), miner: script(1) };
    assert_eq!(after.chain.tree().main_chain(), before.chain.tree().main_chain());
    let tip = before.tip();
    let payouts = |kit: &mut Kit| kit.chain.tree_mut().payouts(tip, BITS, Sats(5_000_000_000), script(1)).unwrap();
    assert_eq!(payouts(&mut after), payouts(&mut before));
    before.miner = script(1);
    assert_eq!(after.next(), before.next());
    after.extend(30);
}

#[test]
fn pruning_keeps_what_windows_need_and_forgets_the_rest() {
    // Kept: two windows of 20, a retarget window of 8 and 16.
    let mut kit = forked(150);
    let (pruned, _) = kit.chain.tree_mut().prune();
    let tree = kit.chain.tree();
    assert_eq!(tree.main_chain().len(), 2 * 20 + 8 + 16);
    assert!(pruned.len() > 60 && pruned.iter().all(|id| !tree.contains(id)));
    let oldest = tree.shares().map(|node| node.share.info.share_height).min().unwrap();
    assert_eq!(tree.main_at(oldest), tree.main_chain().first());
    assert_eq!(tree.main_at(ShareHeight(oldest.0 - 1)), None);
    kit.extend(100);
    kit.chain.tree_mut().prune();
    assert_eq!(kit.chain.tree().len(), 64, "the last twins are out of the window too");
}

#[test]
fn an_anchor_no_share_is_built_on_is_forgotten_with_them() {
    let mut kit = Kit::with_chain(5);
    (101..=103).for_each(|height| kit.chain.tree_mut().add_anchor(anchor(height)));
    kit.anchor = anchor(103);
    kit.extend(70);
    let (_, anchors) = kit.chain.tree_mut().prune();
    let hash = |height| anchor(height).header.block_hash();
    assert_eq!(anchors.len(), 3);
    assert!(kit.chain.tree().anchor(&hash(100)).is_none() && kit.chain.tree().anchor(&hash(103)).is_some());
}

#[test]
fn a_share_on_pruned_history_is_neither_accepted_nor_refused() {
    let mut kit = forked(150);
    let old = *kit.chain.tree().main_chain().get(50).unwrap();
    let late = kit.on(&old);
    kit.chain.tree_mut().prune();
    assert!(matches!(kit.give(&late), Verdict::Deferred), "its parent is gone");
    let edge = *kit.chain.tree().main_chain().first().unwrap();
    let on_edge = kit.on(&edge);
    assert_eq!(kit.give(&on_edge), Verdict::Unverified, "its target cannot be told, and nobody asks");
}
