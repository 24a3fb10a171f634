//! Rule 7 and what uncles are worth.

use super::kit::{assert_breaks, script, Kit};
use crate::share::{Share, ShareId};
use crate::sharechain::{Effect, Need, Rule, Verdict};
use crate::units::{Sats, Work};

/// A chain of ten, and a stale sibling of its tip.
fn with_stale() -> (Kit, Share) {
    let mut kit = Kit::with_chain(9);
    let parent = kit.tip();
    let first = kit.on(&parent);
    kit.miner = script(2);
    let second = kit.on(&parent);
    for share in [&first, &second] {
        assert_eq!(kit.give(share), Verdict::Accepted);
    }
    let stale = if kit.tip() == first.id() { second } else { first };
    (kit, stale)
}

fn naming(kit: &mut Kit, parent: &ShareId, uncles: Vec<ShareId>) -> Share {
    kit.edited(parent, |share| share.info.uncles = uncles)
}

#[test]
fn the_next_share_names_a_stale_sibling_once_and_pays_it() {
    let (mut kit, stale) = with_stale();
    let nephew = kit.next();
    assert_eq!(nephew.info.uncles, vec![stale.id()]);
    assert_eq!(kit.give(&nephew), Verdict::Accepted);
    assert_eq!(kit.next().info.uncles, vec![], "named once");
    let tip = kit.chain.tree().tip().unwrap();
    assert_eq!(tip.share.info.chain_work, Work(2 * 11), "uncles add nothing to chain work");
    let (parent, bits) = (kit.tip(), super::kit::BITS);
    let window = kit.chain.tree_mut().window(parent, bits).unwrap();
    // Eleven shares and an uncle of two hashes each: nine tenths of two is one, the rest is the nephew's.
    assert_eq!(window.total_work(), Work(24));
    let payouts = kit.chain.tree_mut().payouts(parent, bits, Sats(5_000_000_000), script(9)).unwrap();
    assert!(payouts.iter().any(|payout| payout.script == stale.info.payout_script));
}

#[test]
fn an_uncle_is_named_up_to_three_heights_below() {
    for (more, accepted) in [(0, true), (1, true), (2, true), (3, false)] {
        let (mut kit, stale) = with_stale();
        for _ in 0..more {
            kit.now = kit.now.plus(30);
            let tip = kit.tip();
            let share = naming(&mut kit, &tip, vec![]);
            assert_eq!(kit.give(&share), Verdict::Accepted);
        }
        kit.now = kit.now.plus(30);
        assert_eq!(kit.next().info.uncles.is_empty(), !accepted);
        let tip = kit.tip();
        let share = naming(&mut kit, &tip, vec![stale.id()]);
        let verdict = kit.give(&share);
        if accepted {
            assert_eq!(verdict, Verdict::Accepted);
        } else {
            assert_breaks(&verdict, Rule::Uncles);
        }
    }
}

#[test]
fn an_uncle_is_no_ancestor_no_sibling_and_named_once() {
    let (mut kit, stale) = with_stale();
    let tip = kit.tip();
    let grandparent = kit.chain.tree().get(&tip).unwrap().share.info.parent;
    let share = naming(&mut kit, &tip, vec![grandparent]);
    assert_breaks(&kit.give(&share), Rule::Uncles);
    // A sibling as uncle would dominate honest mining.
    let share = naming(&mut kit, &grandparent, vec![stale.id()]);
    assert_breaks(&kit.give(&share), Rule::Uncles);
    let nephew = kit.next();
    assert_eq!(kit.give(&nephew), Verdict::Accepted);
    let tip = kit.tip();
    let again = naming(&mut kit, &tip, vec![stale.id()]);
    assert_breaks(&kit.give(&again), Rule::Uncles);
}

#[test]
fn an_uncle_descends_from_an_ancestor() {
    let (mut kit, stale) = with_stale();
    // A child of the stale share: its parent is no ancestor of the main chain.
    let mut other = Kit::with_chain(0);
    for id in kit.chain.tree().main_chain().to_vec() {
        let share = (*kit.chain.tree().get(&id).unwrap().share).clone();
        if share.info.parent != stale.info.parent {
            assert_eq!(other.give_at(&share), Verdict::Accepted);
        }
    }
    other.now = kit.now.plus(30);
    assert_eq!(other.give(&stale), Verdict::Accepted);
    let child = other.on(&stale.id());
    kit.now = kit.now.plus(30);
    kit.extend(2);
    assert!(matches!(kit.give(&child), Verdict::Unverified));
    let tip = kit.tip();
    let share = naming(&mut kit, &tip, vec![child.id()]);
    // It was not looked at, for its branch claims no more work; now that it is named, it is.
    assert_breaks(&kit.give(&share), Rule::Uncles);
    assert!(kit.chain.tree().contains(&child.id()));
}

#[test]
fn a_genesis_share_is_no_uncle() {
    let mut kit = Kit::new();
    let genesis = kit.next();
    assert_eq!(kit.give(&genesis), Verdict::Accepted);
    kit.now = kit.now.plus(30);
    let share = naming(&mut kit, &genesis.id(), vec![genesis.id()]);
    assert_breaks(&kit.give(&share), Rule::Uncles);
}

#[test]
fn a_share_waits_for_an_unknown_uncle() {
    let (mut with, stale) = with_stale();
    let nephew = with.next();
    let mut kit = Kit::new();
    for id in with.chain.tree().main_chain().to_vec() {
        let share = (*with.chain.tree().get(&id).unwrap().share).clone();
        assert_eq!(kit.give_at(&share), Verdict::Accepted);
    }
    kit.now = with.now;
    let effects = kit.effects(&nephew);
    assert!(effects.contains(&Effect::Ask { need: Need::Share(stale.id()), source: super::kit::PEER }));
    let effects = kit.effects(&stale);
    assert_eq!(super::kit::verdict_on(&effects, &nephew), Verdict::Accepted);
    assert_eq!(kit.tip(), nephew.id());
}
