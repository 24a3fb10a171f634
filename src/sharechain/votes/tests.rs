use std::sync::Arc;

use super::*;
use crate::params::Network;
use crate::params::{RULES_VERSION_TEST, TEST_UNCLES_MAX};
use crate::payouts::Vote;
use crate::share::encoding::tests::longest_share;
use crate::share::{Share, ShareId};
use crate::sharechain::tests::support::*;
use crate::sharechain::{Checks, Failure, Rule, Tree, Verdict};
use crate::units::{ShareHeight, Work};

fn params() -> ChainParams {
    let activations = vec![Activation { version: RULES_VERSION_TEST, height: BlockHeight(1_000) }];
    let standard = ChainParams::standard(Network::Regtest);
    ChainParams { activations, rules_version_known: RULES_VERSION_TEST, ..standard }
}

/// The facts of a parent whose child has this height.
fn parent_of(height: u32, outputs_class: u8, rules_version: u8) -> ShareInfo {
    ShareInfo { share_height: ShareHeight(height - 1), outputs_class, rules_version, ..longest_share().info }
}

/// A ballot of 1,000 units of work, so many of which vote for a class and signal a version.
fn ballot(part: u128, outputs_class: u8, signal: u8) -> Ballot {
    let mut ballot = Ballot::default();
    ballot.add(&Vote { work: Work(part), signal, outputs_class });
    ballot.add(&Vote { work: Work(1_000 - part), signal: RULES_VERSION_FIRST, outputs_class: 0 });
    ballot
}

fn class(height: u32, before: u8, ballot: &Ballot) -> u8 {
    outputs_class(&params(), Some(&parent_of(height, before, RULES_VERSION_FIRST)), ballot)
}

#[test]
fn the_class_rises_by_one_step_at_95_per_cent() {
    assert_eq!(class(8_640, 0, &ballot(950, 3, 2)), 1);
    assert_eq!(class(8_640, 0, &ballot(949, 3, 2)), 0);
    assert_eq!(class(8_760, 1, &ballot(950, 3, 2)), 2);
    assert_eq!(class(8_760, 2, &ballot(950, 3, 2)), 3);
    assert_eq!(class(8_760, 3, &ballot(1_000, 3, 2)), 3);
}

#[test]
fn the_class_falls_by_one_step_below_90_per_cent() {
    assert_eq!(class(8_760, 2, &ballot(900, 2, 2)), 2);
    assert_eq!(class(8_760, 2, &ballot(899, 2, 2)), 1);
    assert_eq!(class(8_760, 2, &ballot(0, 2, 2)), 1);
    assert_eq!(class(8_760, 0, &ballot(0, 2, 2)), 0);
}

#[test]
fn the_class_changes_only_at_multiples_of_120_and_from_a_full_window_on() {
    let all = ballot(1_000, 3, 2);
    for height in 8_761..8_880 {
        assert_eq!(class(height, 1, &all), 1);
        assert_eq!(class(height, 1, &ballot(0, 0, 2)), 1);
    }
    assert_eq!(class(8_880, 1, &all), 2);
    assert_eq!(class(8_520, 0, &all), 0);
    assert_eq!(outputs_class(&params(), None, &all), 0);
}

fn version(block_height: u32, before: u8, ballot: &Ballot) -> u8 {
    rules_version(&params(), Some(&parent_of(9_000, 0, before)), BlockHeight(block_height), ballot)
}

#[test]
fn a_version_begins_at_its_height_with_80_per_cent() {
    let (first, later) = (RULES_VERSION_FIRST, RULES_VERSION_TEST);
    assert_eq!(version(1_000, first, &ballot(800, 0, later)), later);
    assert_eq!(version(999, first, &ballot(1_000, 0, later)), first);
    assert_eq!(version(1_000, first, &ballot(799, 0, later)), first);
    assert_eq!(version(5_031, first, &ballot(799, 0, later)), first);
}

#[test]
fn a_version_begins_without_signal_4032_blocks_later_and_never_ends() {
    let (first, later) = (RULES_VERSION_FIRST, RULES_VERSION_TEST);
    assert_eq!(version(5_032, first, &ballot(0, 0, later)), later);
    assert_eq!(version(998, later, &ballot(0, 0, later)), later);
    let genesis = |height| rules_version(&params(), None, BlockHeight(height), &Ballot::default());
    assert_eq!((genesis(5_031), genesis(5_032)), (first, later));
}

/// A node on a chain whose test version may begin at height 101, which is the next block's.
fn node_with_activation(known: u8) -> TestNode {
    TestNode::with(ChainParams {
        activations: vec![Activation { version: RULES_VERSION_TEST, height: BlockHeight(101) }],
        rules_version_known: known,
        ..super::super::tests::support::params()
    })
}

#[test]
fn a_chain_crosses_the_activation_and_credits_from_before_count() {
    let mut node = node_with_activation(RULES_VERSION_TEST);
    node.extend(5);
    let main = node.main_shares();
    let versions: Vec<u8> = main.iter().map(|share| share.info.rules_version).collect();
    assert_eq!(versions, [2, 255, 255, 255, 255], "the genesis share's parent has no window that could signal");
    let wrong = node.edited(&node.tip(), |share| share.info.rules_version = RULES_VERSION_FIRST);
    assert_breaks(&node.give(&wrong), Rule::Version);
    assert!(!Rule::Version.proves_fault(), "its sender is outdated, and no attacker");
    let tip = node.tip();
    let window = node.chain.tree_mut().window(tip, BITS).unwrap();
    assert_eq!(window.len(), 5, "the window spans both versions");
}

#[test]
fn a_version_does_not_begin_early() {
    let mut node = TestNode::with_chain(3);
    let tip = node.tip();
    let early = node.edited(&tip, |share| {
        (share.info.rules_version, share.info.signal) = (RULES_VERSION_TEST, RULES_VERSION_TEST);
    });
    let newer = Verdict::NewerRules(RULES_VERSION_TEST);
    assert_eq!(node.give(&early), newer, "its sender may be right: software that knows more");
    let mut node = node_with_activation(RULES_VERSION_TEST);
    let early = node.edited(&ShareId::ZERO, |share| share.info.rules_version = RULES_VERSION_TEST);
    assert_breaks(&node.give(&early), Rule::Lineage);
    node.extend(1);
    assert_eq!(node.main_shares()[0].info.rules_version, RULES_VERSION_FIRST);
}

#[test]
fn a_share_of_newer_rules_is_no_fault_of_its_sender() {
    let mut new = node_with_activation(RULES_VERSION_TEST);
    let mut old = node_with_activation(RULES_VERSION_FIRST);
    assert_eq!(new.chain.tree().chain_id(), old.chain.tree().chain_id(), "both are nodes of one chain");
    new.extend(2);
    let [genesis, later] = new.main_shares().try_into().unwrap();
    old.now = new.now;
    assert_eq!(old.give(&genesis), Verdict::Accepted);
    assert_eq!(old.give(&later), Verdict::NewerRules(RULES_VERSION_TEST));
}

#[test]
fn the_test_version_limits_uncles() {
    assert_eq!(crate::sharechain::rules::uncles_max(RULES_VERSION_TEST), TEST_UNCLES_MAX);
    let mut node = node_with_activation(RULES_VERSION_TEST);
    node.extend(3);
    let parent = node.main_ids()[1];
    for miner in 10..13 {
        node.miner = script(miner);
        let sibling = node.on(&parent);
        assert_eq!(node.give(&sibling), Verdict::Accepted);
    }
    node.now = node.now.plus(30);
    let next = node.next();
    assert_eq!(next.info.uncles.len(), TEST_UNCLES_MAX);
    let tip = node.tip();
    let siblings: Vec<_> = node.chain.tree().children(&parent).map(|child| child.id).collect();
    let mut uncles: Vec<_> = siblings.into_iter().filter(|id| *id != tip).collect();
    uncles.sort_unstable();
    let three = node.edited(&tip, |share| share.info.uncles = uncles.clone());
    assert_eq!(three.info.uncles.len(), 3);
    assert_breaks(&node.give(&three), Rule::Uncles);
    assert_eq!(node.give(&next), Verdict::Accepted);
}

#[test]
fn an_uncle_is_not_newer_than_its_nephew() {
    let mut node = TestNode::with(ChainParams {
        activations: vec![Activation { version: RULES_VERSION_TEST, height: BlockHeight(102) }],
        rules_version_known: RULES_VERSION_TEST,
        ..super::super::tests::support::params()
    });
    node.chain.tree_mut().add_anchor(anchor(101));
    node.extend(2);
    let parent = node.tip();
    node.extend(1);
    // A sibling of the tip on the next Bitcoin block, with which the version begins.
    let before = std::mem::replace(&mut node.anchor, anchor(101));
    node.miner = script(9);
    let uncle = node.on(&parent);
    assert_eq!(uncle.info.rules_version, RULES_VERSION_TEST);
    assert_eq!(node.give(&uncle), Verdict::Accepted);
    let tip = node.main_ids()[2];
    let newer = node.edited(&tip, |share| share.info.uncles = vec![uncle.id()]);
    assert_eq!(newer.info.rules_version, RULES_VERSION_TEST);
    node.anchor = before;
    let older = node.edited(&tip, |share| share.info.uncles = vec![uncle.id()]);
    assert_eq!(older.info.rules_version, RULES_VERSION_FIRST);
    assert_breaks(&node.give(&older), Rule::Uncles);
    assert!(node.on(&tip).info.uncles.is_empty(), "no honest share names it");
    assert_eq!(node.give(&newer), Verdict::Accepted);
}

#[test]
fn the_class_in_force_is_checked() {
    let mut node = TestNode::with(ChainParams { payout_window: 20, ..super::super::tests::support::params() });
    node.outputs_vote = 3;
    node.extend(125);
    let classes: Vec<u8> = node.main_shares().iter().map(|share| share.info.outputs_class).collect();
    assert_eq!(classes[119..=121], [0, 1, 1]);
    let tip = node.tip();
    for wrong in [0, 2] {
        let share = node.edited(&tip, |share| share.info.outputs_class = wrong);
        assert_breaks(&node.give(&share), Rule::Lineage);
    }
    let next = node.next();
    assert_eq!(node.give(&next), Verdict::Accepted);
}

/// A branch that has crossed the activation and one that has not, in any order of arrival, and back again.
#[test]
fn nodes_reorganise_across_the_activation_in_either_direction() {
    let with_activation = || {
        let mut node = TestNode::with(ChainParams {
            activations: vec![Activation { version: RULES_VERSION_TEST, height: BlockHeight(102) }],
            rules_version_known: RULES_VERSION_TEST,
            ..super::super::tests::support::params()
        });
        node.chain.tree_mut().add_anchor(anchor(101));
        node
    };
    let mut base = with_activation();
    base.extend(4);
    let branch = |block: u32, miner: u8, len: u32| {
        let mut node = with_activation();
        base.main_shares().iter().for_each(|share| assert_eq!(node.give_at(share), Verdict::Accepted));
        (node.anchor, node.miner) = (anchor(block), script(miner));
        node.extend(len);
        node.main_shares().split_off(4)
    };
    let (old, new) = (branch(100, 2, 6), branch(101, 3, 4));
    assert!(old.iter().all(|share| share.info.rules_version == RULES_VERSION_FIRST));
    assert!(new.iter().all(|share| share.info.rules_version == RULES_VERSION_TEST));
    for order in 0..2 {
        let mut node = with_activation();
        base.main_shares().iter().for_each(|share| assert_eq!(node.give_at(share), Verdict::Accepted));
        let firsts = [&old[..3], &new[..]];
        firsts[order].iter().chain(firsts[1 - order]).for_each(|share| _ = node.give_at(share));
        assert_eq!(node.tip(), new[3].id());
        old[3..].iter().for_each(|share| _ = node.give_at(share));
        assert_eq!(node.tip(), old[5].id());
        node.anchor = anchor(101);
        node.extend(1);
        let tip = node.chain.tree().tip().unwrap();
        assert_eq!(tip.share.info.rules_version, RULES_VERSION_TEST, "and across it again");
    }
}

/// A tree with the newest shares of a chain, edited.
fn base_of(node: &TestNode, kept: usize, edit: impl Fn(&mut Share)) -> Result<Tree, Failure> {
    let mut tree = Tree::new(Arc::clone(node.chain.tree().params()));
    node.chain.tree().headers().iter().for_each(|anchor| tree.add_anchor(anchor.clone()));
    let all = node.main_shares();
    for share in &all[all.len() - kept..] {
        let mut share = (**share).clone();
        edit(&mut share);
        let work = share.info.share_bits.work().unwrap();
        tree.link(Arc::new(share), work, node.now, Checks::Base)?;
    }
    Ok(tree)
}

#[test]
fn a_base_across_the_activation_is_followed_and_one_that_invents_it_is_not() {
    let mut node = node_with_activation(RULES_VERSION_TEST);
    node.extend(150);
    let tree = base_of(&node, 60, |_| ()).unwrap();
    assert!(tree.tip().unwrap().verified);
    let mut newcomer = TestNode::of(tree, node.now, node.anchor.clone());
    newcomer.extend(1);
    assert_eq!(newcomer.chain.tree().tip().unwrap().share.info.rules_version, RULES_VERSION_TEST);
    // Shares of the first version, whose copies in the base claim the later one, or signal it.
    let mut node = node_with_activation(RULES_VERSION_TEST);
    node.signal = RULES_VERSION_FIRST;
    node.extend(150);
    assert!(base_of(&node, 60, |_| ()).unwrap().tip().unwrap().verified);
    let oldest = node.main_shares()[90].info.share_height.0;
    let claims = |share: &mut Share| {
        if share.info.share_height.0 < oldest + 20 {
            (share.info.rules_version, share.info.signal) = (RULES_VERSION_TEST, RULES_VERSION_TEST);
        }
    };
    let signals = |share: &mut Share| {
        if share.info.share_height.0 < oldest + 20 {
            share.info.signal = RULES_VERSION_TEST;
        }
    };
    for forged in [base_of(&node, 60, claims), base_of(&node, 60, signals)] {
        assert!(matches!(forged.err(), Some(Failure::Broken { rule: Rule::Version, .. })));
    }
}
