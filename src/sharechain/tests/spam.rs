//! Shares that cost next to nothing to make (rules, section 5, spam).

use super::pools::numbered;
use super::support::{assert_breaks, grind, script, TestNode, BITS};
use crate::params::{Activation, ChainParams, Network, RULES_VERSION_TEST};
use crate::peer::PeerHandle;
use crate::share::{Share, ShareId, ShareInfo};
use crate::sharechain::{Rule, Source, Verdict};
use crate::units::{Bits, BlockHeight, ShareHeight};

#[test]
fn eased_shares_on_an_old_parent_stay_unverified() {
    let params = ChainParams { payout_window: 400, retarget_window: 8, ..ChainParams::standard(Network::Regtest) };
    let mut node = TestNode::with(params);
    for at in 0..400 {
        // Faster at first, so that the target can be eased.
        node.now = node.now.plus(if at < 12 { 10 } else { 30 });
        let share = node.next();
        assert_eq!(node.give(&share), Verdict::Accepted);
    }
    let tip = node.chain.tree().tip().unwrap();
    let (tip_work, height) = (tip.work, tip.share.info.share_height.0);
    let old = node.chain.tree().main_at(ShareHeight(height - 280)).unwrap().id;
    let before = node.chain.tree().len();
    for number in 0..50u32 {
        let share = node.edited(&old, |share| share.extranonce[..4].copy_from_slice(&number.to_le_bytes()));
        assert!(share.info.share_bits.target().unwrap().work().unwrap().0 * 8 < tip_work.0, "hardly any work");
        assert_eq!(node.give(&share), Verdict::Unverified);
    }
    assert_eq!(node.chain.tree().len(), before);
}

#[test]
fn few_copies_of_one_header_are_kept_from_one_peer() {
    let mut node = TestNode::with_chain(30);
    let old = node.chain.tree().main_at(ShareHeight(3)).unwrap().id;
    let share = node.on(&old);
    let copy = |number: u8| {
        let mut copy = share.clone();
        copy.extranonce[0] ^= number;
        copy
    };
    for number in 1..=4 {
        assert_eq!(node.give_from(&copy(number), Source::Fetch(PeerHandle(1))), Verdict::Unverified);
    }
    assert_eq!(node.give_from(&copy(5), Source::Fetch(PeerHandle(1))), Verdict::Dropped);
    // The true share from another peer is still kept.
    assert_eq!(node.give_from(&share, Source::Fetch(PeerHandle(2))), Verdict::Unverified);
    assert_eq!(node.chain.waiting(), (0, 5));
}

#[test]
fn a_netgroup_gets_no_more_room_by_reconnecting() {
    let mut node = TestNode::with_chain(2);
    let orphan = node.edited(&ShareId::ZERO, |share| share.merkle_branch = vec![[5; 32]; 16]);
    let flood = |node: &mut TestNode, netgroup: u32, from: u32| {
        for number in from..from + 8_000 {
            let source = Source::Fetch(PeerHandle::new(netgroup, u64::from(number / 1_000)));
            node.give_from(&numbered(&orphan, number), source);
        }
        node.chain.waiting().1
    };
    let of_one = flood(&mut node, 7, 0);
    assert!((1_000..8_000).contains(&of_one), "{of_one} shares");
    let of_two = flood(&mut node, 8, 8_000);
    assert!(of_two > of_one * 19 / 10, "another netgroup has as much room: {of_one}, then {of_two}");
    // Peers of our own network belong to no netgroup.
    assert!(flood(&mut node, 0, 16_000) > of_two + of_one);
}

/// A share may only take room among the unverified with true claims, as far as they can be checked without moving the payout
/// window.
#[test]
fn false_claims_on_a_share_that_is_held_are_rejected_before_they_take_room() {
    let params = ChainParams { network: Network::Testnet4, easiest_bits: BITS, ..super::support::params() };
    let mut node = TestNode::with(params);
    node.extend(30);
    let old = node.chain.tree().main_at(ShareHeight(20)).unwrap().id;
    let edits: [fn(&mut ShareInfo); 8] = [
        |info| info.share_height.0 += 1,
        |info| info.chain_work.0 += 1,
        |info| info.chain_work.0 -= 1,
        |info| info.base_bits = Bits(0x2070_0000),
        |info| {
            info.share_bits = Bits(0x2070_0000);
            info.chain_work.0 += info.share_bits.work().unwrap().0 - BITS.work().unwrap().0;
        },
        |info| info.outputs_class = 1,
        |info| info.rules_version = 1,
        |info| info.block_height.0 += 1,
    ];
    let tip = node.tip();
    node.chain.tree_mut().window(tip, BITS).unwrap();
    for (at, edit) in edits.into_iter().enumerate() {
        let mut share = node.on(&old);
        edit(&mut share.info);
        // The window is at the tip again before the share arrives.
        node.chain.tree_mut().window(tip, BITS).unwrap();
        let verdict = node.give(&grind(share));
        assert_breaks(&verdict, [Rule::Lineage, Rule::Version, Rule::Anchor][at.saturating_sub(5).min(2)]);
        assert_eq!(node.chain.tree().current_window().newest(), Some(tip), "the window has not moved");
    }
    // A second genesis share has no parent to compare with.
    let mut genesis = node.on(&ShareId::ZERO);
    genesis.info.chain_work.0 += 1;
    assert_breaks(&node.give(&grind(genesis)), Rule::Lineage);
    assert_eq!(node.chain.waiting(), (0, 0));
    // What is not due is deferred: a share could claim any easing otherwise.
    node.now = node.now.plus(20 * 600);
    let ahead = node.on(&old);
    node.now = node.now.minus(20 * 600);
    assert_eq!(node.give(&ahead), Verdict::Deferred);
    let honest = node.on(&old);
    assert_eq!(node.give(&honest), Verdict::Unverified);
    assert_eq!(node.chain.waiting(), (1, 1));
}

/// Votes in a window that is not at hand may decide for these facts, so only rule 8's turn shows that they are false.
#[test]
fn what_the_window_decides_need_only_be_possible_among_the_unverified() {
    let params = ChainParams {
        activations: vec![Activation { version: RULES_VERSION_TEST, height: BlockHeight(90) }],
        rules_version_known: RULES_VERSION_TEST,
        ..super::support::params()
    };
    let mut node = TestNode::with(params);
    node.extend(140);
    // Votes may change the class at this height, and the version at any.
    let parent = node.chain.tree().main_at(ShareHeight(119)).unwrap().id;
    let mut stated = |version: u8, class: u8| {
        let mut share = node.on(&parent);
        (share.info.rules_version, share.info.signal, share.info.outputs_class) = (version, 255, class);
        node.give(&grind(share))
    };
    let now = stated(255, 0);
    assert_eq!(now, Verdict::Unverified);
    assert_eq!(stated(255, 1), Verdict::Unverified);
    assert_breaks(&stated(255, 2), Rule::Lineage);
    assert_breaks(&stated(254, 0), Rule::Version);
}

/// A node, and another one with a better branch that leaves eight shares below the node's tip.
fn better_branch() -> (TestNode, TestNode) {
    let mut ours = TestNode::with_chain(30);
    let mut theirs = TestNode::following(&ours, &ours.main_shares());
    theirs.miner = script(2);
    ours.extend(8);
    for _ in 0..12 {
        theirs.now = theirs.now.plus(20);
        let share = theirs.next();
        assert_eq!(theirs.give(&share), Verdict::Accepted);
    }
    ours.now = theirs.now.max(ours.now);
    (ours, theirs)
}

/// Gives a node copies of a share, more than the pool has room for, from ten peers of five netgroups. Returns the last verdict.
fn flood(node: &mut TestNode, share: &Share) -> Verdict {
    let verdicts = (0..12_500u32).map(|number| {
        let peer = number / 1_250;
        let source = Source::Fetch(PeerHandle::new(peer / 2 + 1, u64::from(peer)));
        node.give_from(&numbered(share, number), source)
    });
    verdicts.last().expect("there are some")
}

/// Claims just below the tip's, of less than a second of one miner's work, once kept a better branch out.
#[test]
fn forged_claims_do_not_keep_a_better_branch_out() {
    let (mut ours, theirs) = better_branch();
    let tip_work = ours.chain.tree().tip().unwrap().share.info.chain_work;
    let old = ours.main_ids()[20];
    let mut forged = ours.on(&old);
    forged.info.chain_work.0 = tip_work.0 - 1;
    assert_breaks(&flood(&mut ours, &forged), Rule::Lineage);
    assert_eq!(ours.chain.waiting(), (0, 0));
    // On a share that is unverified itself, a claim cannot be checked. It takes no room from other netgroups.
    let root = ours.on(&old);
    assert_eq!(ours.give_from(&root, Source::Fetch(PeerHandle::new(1, 0))), Verdict::Unverified);
    forged.info.parent = root.id();
    flood(&mut ours, &forged);
    assert!(ours.chain.waiting().1 > 8_000);
    theirs.main_shares()[30..].iter().for_each(|share| _ = ours.give(share));
    assert_eq!(ours.tip(), theirs.tip());
}

fn copy(share: &Share, number: u32) -> Share {
    let mut copy = share.clone();
    copy.extranonce[..4].copy_from_slice(&number.to_le_bytes());
    copy
}

/// Forged parents put any number of shares above an unverified one, and each copy of it makes the node look at them again.
#[test]
fn a_copy_of_an_unverified_share_costs_a_bounded_walk_through_the_pool() {
    let mut node = TestNode::with_chain(30);
    let old = node.main_ids()[10];
    let root = node.on(&old);
    assert_eq!(node.give(&root), Verdict::Unverified);
    let mut child = node.on(&old);
    child.info.parent = root.id();
    let child = grind(child);
    for number in 0..2_000u32 {
        let source = Source::Fetch(PeerHandle::new(1, u64::from(number / 4)));
        assert_eq!(node.give_from(&copy(&child, number), source), Verdict::Unverified);
    }
    assert_eq!(node.chain.waiting(), (0, 2_001));
    assert_eq!(node.chain.unverified.descendants(&root.id()).len(), 1_024);
}

#[test]
fn a_share_of_an_old_version_is_known_when_it_comes_again() {
    let mut node = TestNode::with_chain(30);
    for height in [29, 27, 20] {
        let parent = node.main_ids()[height];
        let old = node.edited(&parent, |share| share.info.rules_version = 1);
        assert_breaks(&node.give(&old), Rule::Version);
        assert_eq!(node.give(&old), Verdict::Known);
    }
}

/// A share of an unknown version is not held against its sender, but its work is checked.
#[test]
fn a_share_of_an_unknown_version_without_work_is_rejected() {
    let mut node = TestNode::with_chain(3);
    let mut share = node.next();
    (share.info.rules_version, share.info.signal) = (200, 200);
    let target = share.info.share_bits.target().unwrap();
    while target.is_met_by(&share.id().0) {
        share.header.nonce += 1;
    }
    assert_breaks(&node.give(&share), Rule::ProofOfWork);
    assert_eq!(node.give(&grind(share)), Verdict::NewerRules(200));
}
