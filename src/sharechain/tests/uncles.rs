//! Rule 7, and how uncles are credited.

use std::sync::Arc;

use super::support::{assert_breaks, script, TestNode};
use crate::share::{Share, ShareId};
use crate::sharechain::{Effect, Need, Rule, Verdict};
use crate::units::{Sats, Work};

/// A chain of ten shares and a stale sibling of its tip.
fn with_stale() -> (TestNode, Share) {
    let mut node = TestNode::with_chain(9);
    let parent = node.tip();
    let first = node.on(&parent);
    node.miner = script(2);
    let second = node.on(&parent);
    for share in [&first, &second] {
        assert_eq!(node.give(share), Verdict::Accepted);
    }
    let stale = if node.tip() == first.id() { second } else { first };
    (node, stale)
}

fn naming(node: &mut TestNode, parent: &ShareId, uncles: Vec<ShareId>) -> Share {
    node.edited(parent, |share| share.info.uncles = uncles)
}

#[test]
fn children_are_the_main_chains_first_then_by_ascending_id() {
    let mut node = TestNode::with_chain(9);
    let parent = node.tip();
    for number in 1..=8 {
        node.miner = script(number);
        let child = node.on(&parent);
        assert_eq!(node.give(&child), Verdict::Accepted);
    }
    let main = node.tip();
    // A child of the child with the highest id: that one is on the main chain now.
    let highest = node.chain.tree().children(&parent).map(|child| child.id).max().expect("there are children");
    node.now = node.now.plus(30);
    let next = node.edited(&highest, |share| share.info.uncles.clear());
    assert_eq!(node.give(&next), Verdict::Accepted);
    assert_eq!(node.tip(), next.id());
    let children: Vec<ShareId> = node.chain.tree().children(&parent).map(|child| child.id).collect();
    assert_eq!((children.len(), children[0], children[1]), (8, highest, main));
    assert!(children[1..].is_sorted(), "{children:?}");
}

#[test]
fn the_next_share_names_a_stale_sibling_once_and_pays_it() {
    let (mut node, stale) = with_stale();
    let nephew = node.next();
    assert_eq!(nephew.info.uncles, vec![stale.id()]);
    assert_eq!(node.give(&nephew), Verdict::Accepted);
    assert_eq!(node.next().info.uncles, vec![], "named once");
    let tip = node.chain.tree().tip().unwrap();
    assert_eq!(tip.share.info.chain_work, Work(2 * 11), "uncles add nothing to chain work");
    let (parent, bits) = (node.tip(), super::support::BITS);
    let window = node.chain.tree_mut().window(parent, bits).unwrap();
    // Eleven shares and an uncle of two hashes each. Nine tenths of two is one; the nephew gets the rest.
    assert_eq!(window.total_work(), Work(24));
    let payouts = node.chain.tree_mut().window(parent, bits).unwrap().payouts(Sats(5_000_000_000), script(9), 0);
    assert!(payouts.iter().any(|payout| payout.script == stale.info.payout_script));
}

#[test]
fn an_uncle_may_be_up_to_three_heights_below() {
    for (more, accepted) in [(0, true), (1, true), (2, true), (3, false)] {
        let (mut node, stale) = with_stale();
        for _ in 0..more {
            node.now = node.now.plus(30);
            let tip = node.tip();
            let share = naming(&mut node, &tip, vec![]);
            assert_eq!(node.give(&share), Verdict::Accepted);
        }
        node.now = node.now.plus(30);
        assert_eq!(node.next().info.uncles.is_empty(), !accepted);
        let tip = node.tip();
        let share = naming(&mut node, &tip, vec![stale.id()]);
        let verdict = node.give(&share);
        if accepted {
            assert_eq!(verdict, Verdict::Accepted);
        } else {
            assert_breaks(&verdict, Rule::Uncles);
        }
    }
}

#[test]
fn an_uncle_is_neither_ancestor_nor_sibling_and_is_named_once() {
    let (mut node, stale) = with_stale();
    let tip = node.tip();
    let grandparent = node.chain.tree().get(&tip).unwrap().share.info.parent;
    let share = naming(&mut node, &tip, vec![grandparent]);
    assert_breaks(&node.give(&share), Rule::Uncles);
    // A sibling as uncle would dominate honest mining.
    let share = naming(&mut node, &grandparent, vec![stale.id()]);
    assert_breaks(&node.give(&share), Rule::Uncles);
    let nephew = node.next();
    assert_eq!(node.give(&nephew), Verdict::Accepted);
    let tip = node.tip();
    let again = naming(&mut node, &tip, vec![stale.id()]);
    assert_breaks(&node.give(&again), Rule::Uncles);
}

/// A fork after ten shares: a node with `main` more, and a stale branch of `stale` shares that it does not have.
fn fork(main: u32, stale: u32, miner: u8) -> (TestNode, Vec<Arc<Share>>) {
    let mut node = TestNode::with_chain(10);
    let mut other = TestNode::following(&node, &node.main_shares());
    other.miner = script(miner);
    other.extend(stale);
    node.extend(main);
    node.now = node.now.max(other.now);
    (node, other.main_shares().split_off(10))
}

/// Mines a share that names these uncles.
fn extend_naming(node: &mut TestNode, uncles: &[&Arc<Share>]) -> Verdict {
    node.now = node.now.plus(30);
    let tip = node.tip();
    let mut ids: Vec<ShareId> = uncles.iter().map(|uncle| uncle.id()).collect();
    ids.sort_unstable();
    let share = naming(node, &tip, ids);
    node.give(&share)
}

#[test]
fn an_uncle_may_be_built_on_another_uncle_of_the_same_share() {
    let (mut node, stale) = fork(3, 2, 2);
    stale.iter().for_each(|share| assert_eq!(node.give(share), Verdict::Accepted));
    assert_breaks(&extend_naming(&mut node, &[&stale[1]]), Rule::Uncles);
    let next = node.next();
    let mut both = [stale[0].id(), stale[1].id()];
    both.sort_unstable();
    assert_eq!(next.info.uncles, both);
    assert_eq!(node.give(&next), Verdict::Accepted);
    let window = node.chain.tree_mut().window(next.id(), super::support::BITS).unwrap();
    assert_eq!(window.total_work(), Work(2 * 16), "fourteen shares and two uncles of two hashes each");
    assert!(node.next().info.uncles.is_empty(), "each is named once");
}

/// A fork of which a share two heights above the first stale one has named that one, and the second one is known.
fn fork_with_one_named() -> (TestNode, Vec<Arc<Share>>) {
    let (mut node, stale) = fork(2, 4, 2);
    assert_eq!(node.give(&stale[0]), Verdict::Accepted);
    assert_eq!(extend_naming(&mut node, &[&stale[0]]), Verdict::Accepted);
    assert_eq!(node.give(&stale[1]), Verdict::Accepted);
    (node, stale)
}

#[test]
fn an_uncle_may_be_built_on_an_uncle_of_an_ancestor() {
    let (mut node, stale) = fork_with_one_named();
    assert_eq!(node.next().info.uncles, [stale[1].id()]);
    assert_eq!(extend_naming(&mut node, &[&stale[1]]), Verdict::Accepted);
}

/// The branch leaves the ancestors where the oldest single uncle does.
#[test]
fn the_branch_of_an_uncle_leaves_at_most_four_heights_below() {
    let (mut node, stale) = fork_with_one_named();
    assert_eq!(extend_naming(&mut node, &[]), Verdict::Accepted);
    assert!(node.next().info.uncles.is_empty());
    // It is three heights below, but its branch leaves five below.
    assert_breaks(&extend_naming(&mut node, &[&stale[1]]), Rule::Uncles);
}

/// Otherwise a second chain of any length would be paid beside the main chain, and newcomers could verify neither.
#[test]
fn a_parallel_branch_is_not_named_share_by_share_for_ever() {
    let (mut node, stale) = fork_with_one_named();
    node.now = node.now.plus(30);
    assert_eq!(node.chain.tree().tip().unwrap().share.info.share_height, stale[2].info.share_height);
    let tip = node.tip();
    // The third one becomes known when the fourth main-chain share is made, which names it.
    let mut nephew = vec![stale[1].id(), stale[2].id()];
    nephew.sort_unstable();
    let nephew = naming(&mut node, &tip, nephew);
    assert_eq!(node.give(&nephew), Verdict::Deferred);
    node.give(&stale[2]);
    assert_eq!(node.tip(), nephew.id());
    assert_eq!(extend_naming(&mut node, &[]), Verdict::Accepted);
    assert_eq!(node.give(&stale[3]), Verdict::Unverified);
    assert!(node.next().info.uncles.is_empty());
    // It is checked because it is named, and is valid itself.
    assert_breaks(&extend_naming(&mut node, &[&stale[3]]), Rule::Uncles);
    assert!(node.chain.tree().contains(&stale[3].id()));
}

/// Whatever is given first, and whichever of the two has the lower id.
#[test]
fn a_share_waits_for_an_uncle_and_the_one_it_is_built_on() {
    let mut orders = std::collections::BTreeSet::new();
    for main in [3, 9] {
        for miner in 3..9 {
            let (mut with, stale) = fork(3, 2, miner);
            stale.iter().for_each(|share| assert_eq!(with.give(share), Verdict::Accepted));
            with.now = with.now.plus(30);
            let nephew = with.next();
            assert_eq!(nephew.info.uncles.len(), 2);
            orders.insert(stale[0].id() < stale[1].id());
            let known = with.main_shares();
            with.give(&nephew);
            with.extend(7);
            // A node on the same chain, and one on a branch of its own.
            let mut node = TestNode::following(&with, if main == 3 { &known } else { &known[..10] });
            node.miner = script(20);
            node.extend(main - 3);
            node.now = with.now;
            let rest = with.main_shares().split_off(node.main_ids().len().min(10));
            let mut wanted: Vec<Arc<Share>> = rest;
            while let Some(share) = wanted.pop() {
                for effect in node.effects(&share) {
                    let Effect::Request { need: Need::Share(id), .. } = effect else { continue };
                    wanted.extend(with.chain.tree().get(&id).map(|linked| Arc::clone(&linked.share)));
                }
            }
            assert_eq!(node.tip(), with.tip(), "{main} {miner}");
            assert_eq!(node.chain.waiting(), (0, 0));
        }
    }
    assert_eq!(orders.len(), 2);
}

#[test]
fn a_genesis_share_cannot_be_an_uncle() {
    let mut node = TestNode::new();
    let genesis = node.next();
    assert_eq!(node.give(&genesis), Verdict::Accepted);
    node.now = node.now.plus(30);
    let share = naming(&mut node, &genesis.id(), vec![genesis.id()]);
    assert_breaks(&node.give(&share), Rule::Uncles);
}

#[test]
fn a_share_waits_for_an_unknown_uncle() {
    let (mut with, stale) = with_stale();
    let nephew = with.next();
    let mut node = TestNode::new();
    for share in with.main_shares() {
        assert_eq!(node.give_at(&share), Verdict::Accepted);
    }
    node.now = with.now;
    let effects = node.effects(&nephew);
    assert!(effects.contains(&Effect::Request {
        need: Need::Share(stale.id()),
        share: nephew.id(),
        source: super::support::PEER
    }));
    let effects = node.effects(&stale);
    assert_eq!(super::support::verdict_on(&effects, &nephew), Verdict::Accepted);
    assert_eq!(node.tip(), nephew.id());
}

/// An uncle is built on another one, whose mutant was sent ahead. The share waits for the true one, although the uncle that it
/// lacks first is in the pool.
#[test]
fn a_share_whose_uncle_is_built_on_a_mutant_waits_for_the_true_share() {
    let common = TestNode::with_chain(10);
    let mut orders = std::collections::BTreeSet::new();
    for miner in 3..11 {
        let mut theirs = TestNode::following(&common, &common.main_shares());
        theirs.miner = script(20);
        theirs.extend(2);
        let mut other = TestNode::following(&theirs, &theirs.main_shares());
        other.miner = script(miner);
        other.extend(2);
        let stale = other.main_shares().split_off(12);
        orders.insert(stale[0].id() < stale[1].id());
        theirs.extend(3);
        theirs.now = theirs.now.max(other.now);
        stale.iter().for_each(|share| assert_eq!(theirs.give(share), Verdict::Accepted));
        theirs.extend(1);
        let branch = theirs.main_shares().split_off(10);
        assert_eq!(branch[5].info.uncles.len(), 2);
        let mut node = TestNode::following(&common, &common.main_shares());
        node.extend(5);
        node.now = theirs.now;
        branch[..5].iter().for_each(|share| drop(node.effects(share)));
        let mut mutant = (*stale[0]).clone();
        mutant.extranonce[0] ^= 1;
        for share in [&mutant, &stale[1], &branch[5]] {
            node.effects(share);
        }
        assert_ne!(node.tip(), theirs.tip());
        node.effects(&stale[0]);
        assert_eq!(node.tip(), theirs.tip(), "{miner}");
        assert_eq!(node.chain.waiting(), (0, 0));
    }
    assert_eq!(orders.len(), 2);
}

/// A chain with a stale share and another one, a height above, that names it. No share of the main chain names either.
fn with_uncle_of_an_uncle() -> (TestNode, Arc<Share>, Arc<Share>) {
    let mut node = TestNode::with_chain(10);
    let parent = node.tip();
    assert_eq!(extend_naming(&mut node, &[]), Verdict::Accepted);
    let before = node.tip();
    (0..2).for_each(|_| assert_eq!(extend_naming(&mut node, &[]), Verdict::Accepted));
    node.miner = script(2);
    let oldest = node.on(&parent);
    assert_eq!(node.give(&oldest), Verdict::Accepted);
    let uncle = naming(&mut node, &before, vec![oldest.id()]);
    assert_eq!(node.give(&uncle), Verdict::Accepted);
    (node, Arc::new(oldest), Arc::new(uncle))
}

/// Otherwise one uncle makes every node follow it through uncles of uncles, down to shares that cost next to nothing, and a node
/// that fetches the main chain with its uncles lacks some.
#[test]
fn an_uncle_names_only_uncles_that_its_nephew_or_an_ancestor_names() {
    let (mut node, oldest, uncle) = with_uncle_of_an_uncle();
    let mut both = vec![oldest.id(), uncle.id()];
    both.sort_unstable();
    assert_eq!(node.next().info.uncles, both);
    assert_breaks(&extend_naming(&mut node, &[&uncle]), Rule::Uncles);
    assert_eq!(extend_naming(&mut node, &[&oldest, &uncle]), Verdict::Accepted);

    let (mut node, oldest, uncle) = with_uncle_of_an_uncle();
    assert_eq!(extend_naming(&mut node, &[&oldest]), Verdict::Accepted);
    assert_eq!(node.next().info.uncles, [uncle.id()]);
    assert_eq!(extend_naming(&mut node, &[&uncle]), Verdict::Accepted, "an ancestor names the other one");

    let (mut node, _, uncle) = with_uncle_of_an_uncle();
    assert_eq!(extend_naming(&mut node, &[]), Verdict::Accepted);
    assert!(node.next().info.uncles.is_empty(), "the older one cannot be named any more");
    assert_breaks(&extend_naming(&mut node, &[&uncle]), Rule::Uncles);
}

#[test]
fn an_uncle_may_name_an_ancestor_of_its_nephew() {
    let mut node = TestNode::with_chain(10);
    let parent = node.tip();
    assert_eq!(extend_naming(&mut node, &[]), Verdict::Accepted);
    let ancestor = node.tip();
    (0..2).for_each(|_| assert_eq!(extend_naming(&mut node, &[]), Verdict::Accepted));
    node.miner = script(2);
    let below = node.on(&parent);
    assert_eq!(node.give(&below), Verdict::Accepted);
    let uncle = naming(&mut node, &below.id(), vec![ancestor]);
    assert_eq!(node.give(&uncle), Verdict::Accepted);
    let mut both = vec![below.id(), uncle.id()];
    both.sort_unstable();
    let next = node.next();
    assert_eq!(next.info.uncles, both);
    assert_eq!(node.give(&next), Verdict::Accepted);
}
