//! Shares that wait: byte limits, second genesis shares, old parents.

use bitcoin::hashes::Hash as _;
use bitcoin::TxMerkleNode;

use super::support::{assert_breaks, grind, params, script, verdict_on, TestNode, PEER};
use crate::bytes::tagged_hash;
use crate::params::UNCLE_DEPTH_MAX;
use crate::peer::PeerHandle;
use crate::share::{Share, ShareId};
use crate::sharechain::{Effect, Need, Rule, Source, Verdict, AHEAD_MAX_S};

#[test]
fn an_unknown_parent_is_requested_and_then_both_are_linked() {
    let mut ahead = TestNode::with_chain(10);
    let mut node = TestNode::new();
    let all = ahead.main_shares();
    for share in &all[..9] {
        assert_eq!(node.give_at(share), Verdict::Accepted);
    }
    ahead.extend(1);
    node.now = ahead.now;
    let child = (*ahead.chain.tree().tip().unwrap().share).clone();
    let effects = node.effects(&child);
    assert_eq!(verdict_on(&effects, &child), Verdict::Deferred);
    assert!(effects.contains(&Effect::Request { need: Need::Share(all[9].id()), share: child.id(), source: PEER }));
    let effects = node.effects(&all[9]);
    assert_eq!(verdict_on(&effects, &child), Verdict::Accepted);
    assert_eq!(node.tip(), child.id());
}

#[test]
fn a_mutant_sent_ahead_does_not_shadow_the_true_share() {
    let mut node = TestNode::with_chain(10);
    let share = node.next();
    let mut mutant = share.clone();
    mutant.info.payout_script = script(66);
    assert_eq!(mutant.id(), share.id());
    assert_breaks(&node.give(&mutant), Rule::Payouts);
    assert_eq!(node.give(&mutant), Verdict::Known, "a rejected copy is not checked twice");
    assert_eq!(node.give(&share), Verdict::Accepted);
}

#[test]
fn a_mutant_that_waits_does_not_shadow_the_true_share() {
    let mut ahead = TestNode::with_chain(10);
    let parent = ahead.next();
    let mut node = TestNode::with_chain(0);
    for share in ahead.main_shares() {
        node.give_at(&share);
    }
    ahead.give(&parent);
    ahead.now = ahead.now.plus(30);
    node.now = ahead.now;
    let child = ahead.next();
    let mut mutant = child.clone();
    mutant.extranonce[0] ^= 1;
    assert_eq!(node.give(&mutant), Verdict::Deferred);
    assert_eq!(node.give(&child), Verdict::Deferred);
    let effects = node.effects(&parent);
    assert_breaks(&verdict_on(&effects, &mutant), Rule::Payouts);
    assert_eq!(verdict_on(&effects, &child), Verdict::Accepted);
}

#[test]
fn shares_that_become_due_are_linked_in_order_of_arrival() {
    let mut node = TestNode::with_chain(10);
    let (tip, now) = (node.tip(), node.now);
    // Siblings, of which the first to arrive is due last.
    let shares: Vec<Share> = (1..=8)
        .map(|number| {
            node.miner = script(number);
            node.now = now.plus(2 * AHEAD_MAX_S - u32::from(number));
            node.on(&tip)
        })
        .collect();
    node.now = now;
    for share in &shares {
        assert_eq!(node.give(share), Verdict::Deferred);
    }
    let effects = node.chain.tick(now.plus(AHEAD_MAX_S));
    let linked = effects.iter().filter_map(|effect| match effect {
        Effect::Linked(id) => Some(*id),
        _ => None,
    });
    assert!(linked.eq(shares.iter().map(Share::id)));
}

#[test]
fn a_second_genesis_is_checked_only_with_more_work() {
    let mut ours = TestNode::with_chain(30);
    let mut theirs = TestNode::new();
    theirs.miner = script(2);
    theirs.extend(32);
    let branch = theirs.main_shares();
    ours.now = theirs.now;
    for share in &branch[..30] {
        assert_eq!(ours.give(share), Verdict::Unverified);
    }
    assert_eq!(ours.chain.waiting(), (0, 30));
    // The thirty-first claims more work, so that the chain is checked. It has more recent work than ours.
    ours.give(&branch[30]);
    assert_eq!(ours.tip(), branch[30].id());
    assert_eq!(ours.give(&branch[31]), Verdict::Accepted);
    assert_eq!(ours.chain.waiting(), (0, 0));
}

#[test]
fn a_young_chain_is_replaced_by_a_separate_one_with_more_work() {
    let mut ours = TestNode::with_chain(3);
    let mut theirs = TestNode::new();
    theirs.miner = script(2);
    // Faster, so harder: more work in as many shares.
    for _ in 0..18 {
        theirs.now = theirs.now.plus(3);
        let share = theirs.next();
        assert_eq!(theirs.give(&share), Verdict::Accepted);
    }
    ours.now = ours.now.max(theirs.now);
    let mut last = Verdict::Unverified;
    let shares = theirs.main_shares();
    for share in &shares {
        last = ours.give(share);
    }
    assert_eq!(last, Verdict::Accepted);
    assert_eq!(ours.tip(), theirs.tip());
    assert_eq!(ours.chain.tree().len(), shares.len());
}

#[test]
fn a_branch_on_an_old_parent_waits_for_more_work() {
    let mut node = TestNode::with_chain(1);
    let genesis = node.tip();
    let old_child = node.on(&genesis);
    let mut longer = TestNode::with_chain(0);
    longer.give_at(&(*node.chain.tree().get(&genesis).unwrap().share).clone());
    node.extend(UNCLE_DEPTH_MAX);
    assert_eq!(
        node.give(&share_by(&mut longer, &genesis, 3)),
        Verdict::Accepted,
        "the oldest parent that is recent enough"
    );
    node.extend(1);
    assert_eq!(node.give(&old_child), Verdict::Unverified);
}

fn share_by(node: &mut TestNode, parent: &ShareId, miner: u8) -> Share {
    node.miner = script(miner);
    node.now = node.now.plus(30);
    node.on(parent)
}

/// A copy of a share with another header.
pub fn numbered(share: &Share, number: u32) -> Share {
    let mut share = share.clone();
    share.header.merkle_root = TxMerkleNode::from_byte_array(tagged_hash(b"test/root", &number.to_le_bytes()));
    grind(share)
}

#[test]
fn floods_stay_within_the_byte_limits() {
    // Second genesis shares wait unverified: at most 2 MiB per peer and 16 MiB in all.
    let mut node = TestNode::with_chain(2);
    let mut seen = std::collections::HashSet::new();
    let template = node.edited(&ShareId::ZERO, |share| share.merkle_branch = vec![[5; 32]; 16]);
    for number in 0..40_000u32 {
        let share = numbered(&template, number);
        seen.insert(share.digest());
        node.give_from(&share, Source::Fetch(PeerHandle(u64::from(number / 4_000))));
    }
    assert_eq!(seen.len(), 40_000);
    let (_, unverified) = node.chain.waiting();
    // 1,536 bytes and 16 hashes each.
    let each = 1_536 + 16 * 32;
    assert!(unverified * each <= 16 << 20, "{unverified} shares");
    assert!(unverified > 8_000, "{unverified} shares");
    let mut node = TestNode::with_chain(2);
    for number in 0..4_000u32 {
        node.give(&numbered(&template, number));
    }
    assert!(node.chain.waiting().1 * each <= 2 << 20);
    // The same limits hold for orphans.
    let mut orphan = template.clone();
    orphan.info.parent = ShareId([9; 32]);
    for number in 0..4_000u32 {
        orphan.extranonce[..4].copy_from_slice(&number.to_le_bytes());
        node.give(&orphan);
    }
    let (deferred, _) = node.chain.waiting();
    assert!(deferred * each <= 2 << 20 && deferred > 1_000, "{deferred} shares");
    assert!(node.chain.tick(node.now.plus(601)).len() >= deferred, "all expire");
    assert_eq!(node.chain.waiting().0, 0);
}

#[test]
fn forged_claims_of_work_are_rejected_and_removed() {
    let mut node = TestNode::with_chain(300);
    let first = node.main_ids()[0];
    let forged = node.edited(&first, |share| share.info.chain_work.0 = u128::from(u64::MAX));
    assert_breaks(&node.give(&forged), Rule::Lineage);
    let second_genesis = node.edited(&ShareId::ZERO, |share| share.info.chain_work.0 = u128::from(u64::MAX));
    assert_breaks(&node.give(&second_genesis), Rule::Lineage);
    assert_eq!(node.chain.waiting(), (0, 0));
    assert_eq!(node.chain.tree().params().payout_window, params().payout_window);
    node.extend(1);
}
