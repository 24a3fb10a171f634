//! Rule 7, and how uncles are credited.

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

#[test]
fn the_parent_of_an_uncle_is_an_ancestor() {
    let (mut node, stale) = with_stale();
    // A child of the stale share: its parent is not on the main chain.
    let mut other = TestNode::with_chain(0);
    for share in node.main_shares() {
        if share.info.parent != stale.info.parent {
            assert_eq!(other.give_at(&share), Verdict::Accepted);
        }
    }
    other.now = node.now.plus(30);
    assert_eq!(other.give(&stale), Verdict::Accepted);
    let child = other.on(&stale.id());
    node.now = node.now.plus(30);
    node.extend(2);
    assert!(matches!(node.give(&child), Verdict::Unverified));
    let tip = node.tip();
    let share = naming(&mut node, &tip, vec![child.id()]);
    // It was not checked before, because its branch claims no more work. Now it is, because it is named as an uncle.
    assert_breaks(&node.give(&share), Rule::Uncles);
    assert!(node.chain.tree().contains(&child.id()));
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
    assert!(effects.contains(&Effect::Request { need: Need::Share(stale.id()), source: super::support::PEER }));
    let effects = node.effects(&stale);
    assert_eq!(super::support::verdict_on(&effects, &nephew), Verdict::Accepted);
    assert_eq!(node.tip(), nephew.id());
}
