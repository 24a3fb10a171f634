//! Shares that wait: budgets, second genesis shares, old parents.

use bitcoin::hashes::Hash as _;
use bitcoin::TxMerkleNode;

use super::kit::{assert_breaks, grind, params, script, verdict_on, Kit, PEER};
use crate::bytes::tagged_hash;
use crate::params::UNCLE_DEPTH_MAX;
use crate::peer::PeerHandle;
use crate::share::{Share, ShareId};
use crate::sharechain::{Effect, Need, Rule, Source, Verdict};

#[test]
fn an_unknown_parent_is_asked_for_and_then_both_are_taken() {
    let mut ahead = Kit::with_chain(10);
    let mut kit = Kit::new();
    let all: Vec<Share> = ahead
        .chain
        .tree()
        .main_chain()
        .to_vec()
        .iter()
        .map(|id| (*ahead.chain.tree().get(id).unwrap().share).clone())
        .collect();
    for share in &all[..9] {
        assert_eq!(kit.give_at(share), Verdict::Accepted);
    }
    ahead.extend(1);
    kit.now = ahead.now;
    let child = (*ahead.chain.tree().tip().unwrap().share).clone();
    let effects = kit.effects(&child);
    assert_eq!(verdict_on(&effects, &child), Verdict::Deferred);
    assert!(effects.contains(&Effect::Ask { need: Need::Share(all[9].id()), source: PEER }));
    let effects = kit.effects(&all[9]);
    assert_eq!(verdict_on(&effects, &child), Verdict::Accepted);
    assert_eq!(kit.tip(), child.id());
}

#[test]
fn a_mutant_sent_ahead_does_not_shadow_the_true_share() {
    let mut kit = Kit::with_chain(10);
    let share = kit.next();
    let mut mutant = share.clone();
    mutant.info.payout_script = script(66);
    assert_eq!(mutant.id(), share.id());
    assert_breaks(&kit.give(&mutant), Rule::Payouts);
    assert_eq!(kit.give(&mutant), Verdict::Known, "a refused copy costs nothing twice");
    assert_eq!(kit.give(&share), Verdict::Accepted);
}

#[test]
fn a_mutant_that_waits_does_not_shadow_the_true_share() {
    let mut ahead = Kit::with_chain(10);
    let parent = ahead.next();
    let mut kit = Kit::with_chain(0);
    for id in ahead.chain.tree().main_chain().to_vec() {
        kit.give_at(&(*ahead.chain.tree().get(&id).unwrap().share).clone());
    }
    ahead.give(&parent);
    ahead.now = ahead.now.plus(30);
    kit.now = ahead.now;
    let child = ahead.next();
    let mut mutant = child.clone();
    mutant.extranonce[0] ^= 1;
    assert_eq!(kit.give(&mutant), Verdict::Deferred);
    assert_eq!(kit.give(&child), Verdict::Deferred);
    let effects = kit.effects(&parent);
    assert_breaks(&verdict_on(&effects, &mutant), Rule::Payouts);
    assert_eq!(verdict_on(&effects, &child), Verdict::Accepted);
}

#[test]
fn a_second_genesis_is_looked_at_only_with_more_work() {
    let mut ours = Kit::with_chain(30);
    let mut theirs = Kit::new();
    theirs.miner = script(2);
    theirs.extend(32);
    let branch: Vec<Share> = theirs
        .chain
        .tree()
        .main_chain()
        .to_vec()
        .iter()
        .map(|id| (*theirs.chain.tree().get(id).unwrap().share).clone())
        .collect();
    ours.now = theirs.now;
    for share in &branch[..30] {
        assert_eq!(ours.give(share), Verdict::Unverified);
    }
    assert_eq!(ours.chain.waiting(), (0, 30));
    let before = ours.tip();
    // The thirty-first claims more: both have a full window, theirs holds no more work in it, so it is not adopted.
    assert_eq!(ours.give(&branch[30]), Verdict::Unverified);
    assert_eq!(ours.give(&branch[31]), Verdict::Unverified);
    assert_eq!(ours.tip(), before);
    assert_eq!(ours.chain.waiting(), (0, 32));
}

#[test]
fn a_young_chain_gives_way_to_an_older_one_with_more_work() {
    let mut ours = Kit::with_chain(3);
    let mut theirs = Kit::new();
    theirs.miner = script(2);
    // Faster, so harder: more work in as many shares.
    for _ in 0..18 {
        theirs.now = theirs.now.plus(3);
        let share = theirs.next();
        assert_eq!(theirs.give(&share), Verdict::Accepted);
    }
    ours.now = ours.now.max(theirs.now);
    let mut last = Verdict::Unverified;
    let ids = theirs.chain.tree().main_chain().to_vec();
    for id in &ids {
        last = ours.give(&(*theirs.chain.tree().get(id).unwrap().share).clone());
    }
    // Compared over as many shares as both have; ours has three of two hashes each.
    assert_eq!(last, Verdict::Accepted);
    assert_eq!(ours.tip(), theirs.tip());
    assert_eq!(ours.chain.tree().len(), ids.len());
}

#[test]
fn a_branch_off_the_main_chain_long_ago_waits_for_more_work() {
    let mut kit = Kit::with_chain(1);
    let genesis = kit.tip();
    let old_child = kit.on(&genesis);
    let mut longer = Kit::with_chain(0);
    longer.give_at(&(*kit.chain.tree().get(&genesis).unwrap().share).clone());
    kit.extend(UNCLE_DEPTH_MAX);
    assert_eq!(kit.give(&kit_variant(&mut longer, &genesis, 3)), Verdict::Accepted, "the last one near enough");
    kit.extend(1);
    assert_eq!(kit.give(&old_child), Verdict::Unverified);
}

fn kit_variant(kit: &mut Kit, parent: &ShareId, miner: u8) -> Share {
    kit.miner = script(miner);
    kit.now = kit.now.plus(30);
    kit.on(parent)
}

/// A share with a header of its own.
pub fn numbered(share: &Share, number: u32) -> Share {
    let mut share = share.clone();
    share.header.merkle_root = TxMerkleNode::from_byte_array(tagged_hash(b"test/root", &number.to_le_bytes()));
    grind(share)
}

#[test]
fn floods_stay_within_the_budgets() {
    // Genesis shares of a chain that has one: each waits, unverified, 2 MiB a peer and 16 MiB in all.
    let mut kit = Kit::with_chain(2);
    let mut seen = std::collections::HashSet::new();
    let template = kit.edited(&ShareId::ZERO, |share| share.merkle_branch = vec![[5; 32]; 16]);
    for number in 0..40_000u32 {
        let share = numbered(&template, number);
        seen.insert(share.digest());
        kit.give_from(&share, Source::Fetch(PeerHandle(u64::from(number / 4_000))));
    }
    assert_eq!(seen.len(), 40_000);
    let (_, unverified) = kit.chain.waiting();
    // 1,536 bytes and 16 hashes each.
    let each = 1_536 + 16 * 32;
    assert!(unverified * each <= 16 << 20, "{unverified} shares");
    assert!(unverified > 8_000, "{unverified} shares");
    let mut kit = Kit::with_chain(2);
    for number in 0..4_000u32 {
        kit.give(&numbered(&template, number));
    }
    assert!(kit.chain.waiting().1 * each <= 2 << 20);
    // Orphans likewise.
    let mut orphan = template.clone();
    orphan.info.parent = ShareId([9; 32]);
    for number in 0..4_000u32 {
        orphan.extranonce[..4].copy_from_slice(&number.to_le_bytes());
        kit.give(&orphan);
    }
    let (held, _) = kit.chain.waiting();
    assert!(held * each <= 2 << 20 && held > 1_000, "{held} shares");
    assert!(kit.chain.tick(kit.now.plus(601)).len() >= held, "all given up in time");
    assert_eq!(kit.chain.waiting().0, 0);
}

#[test]
fn forged_claims_of_work_are_found_out_and_removed() {
    let mut kit = Kit::with_chain(300);
    let first = *kit.chain.tree().main_chain().first().unwrap();
    let forged = kit.edited(&first, |share| share.info.chain_work.0 = u128::from(u64::MAX));
    assert_breaks(&kit.give(&forged), Rule::Lineage);
    let second_genesis = kit.edited(&ShareId::ZERO, |share| share.info.chain_work.0 = u128::from(u64::MAX));
    assert_breaks(&kit.give(&second_genesis), Rule::Lineage);
    assert_eq!(kit.chain.waiting(), (0, 0));
    assert_eq!(kit.chain.tree().params().payout_window, params().payout_window);
    kit.extend(1);
}
