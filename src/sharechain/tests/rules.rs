//! Rules 1 to 6 and 8: an honest chain is accepted, and a share that breaks a rule is rejected.

use std::sync::Arc;

use bitcoin::block::Version;
use bitcoin::CompactTarget;

use super::support::{anchor, assert_breaks, grind, verdict_on, TestNode, BITS, PEER, START};
use crate::params::{ChainParams, Network};
use crate::peer::PeerHandle;
use crate::share::{Share, ShareId};
use crate::sharechain::{next_block_height_min, subsidy, Effect, Need, Rule, Source, Verdict};
use crate::units::{Bits, BlockHeight, Sats, ShareHeight, UnixTime, Work, MAX_MONEY};

/// The verdict on an edited share on the tip of a chain of ten.
#[track_caller]
fn verdict(edit: impl FnOnce(&mut Share)) -> Verdict {
    let mut node = TestNode::with_chain(10);
    let tip = node.tip();
    let share = node.edited(&tip, edit);
    node.give(&share)
}

#[test]
fn an_honest_chain_is_accepted_and_grows() {
    let mut node = TestNode::with_chain(60);
    assert_eq!(node.chain.tree().tip().unwrap().share.info.share_height, ShareHeight(59));
    assert_eq!(node.chain.tree().main_chain().len(), 60);
    let share = node.next();
    let effects = node.effects(&share);
    assert!(effects.contains(&Effect::Linked(share.id())) && effects.contains(&Effect::NewTip(share.id())));
    assert_eq!(node.give(&share), Verdict::Known);
}

#[test]
fn rule_1_form() {
    assert_breaks(&verdict(|share| share.header.version = Version::from_consensus(3)), Rule::Form);
    assert_breaks(&verdict(|share| share.header.version = Version::from_consensus(-1)), Rule::Form);
    assert_eq!(verdict(|share| share.header.version = Version::from_consensus(4)), Verdict::Accepted);
    for bits in [0, 0x2080_0001, 0x0100_0000, 0x1d00_001f] {
        assert_breaks(&verdict(|share| share.info.share_bits = Bits(bits)), Rule::Form);
    }
    // Canonical, but the work is 2^108 or more.
    let mut node = TestNode::with_chain(10);
    let tip = node.tip();
    let mut share = node.on(&tip);
    share.info.share_bits = Bits(0x0101_0000);
    assert_breaks(&node.give(&share), Rule::Form);
}

#[test]
fn rule_2_proof_of_work() {
    let mut node = TestNode::with_chain(10);
    let mut share = node.next();
    while share.info.share_bits.target().unwrap().is_met_by(&share.id().0) {
        share.header.nonce += 1;
    }
    assert_breaks(&node.give(&share), Rule::ProofOfWork);
    // Easier than the chain's easiest, though the hash meets it.
    assert_breaks(&verdict(|share| share.info.share_bits = Bits(0x2100_8000)), Rule::ProofOfWork);
}

#[test]
fn rule_4_height_work_and_target_follow_from_the_parent() {
    assert_breaks(&verdict(|share| share.info.share_height.0 += 1), Rule::Lineage);
    assert_breaks(&verdict(|share| share.info.share_height = ShareHeight(u32::MAX)), Rule::Lineage);
    assert_breaks(&verdict(|share| share.info.chain_work.0 += 1), Rule::Lineage);
    assert_breaks(&verdict(|share| share.info.chain_work = Work(u128::MAX)), Rule::Lineage);
    let harder = |share: &mut Share| {
        let work = share.info.share_bits.target().unwrap().work().unwrap();
        share.info.share_bits = Work(work.0 * 2).target().to_bits();
        let now = share.info.share_bits.target().unwrap().work().unwrap();
        share.info.chain_work.0 += now.0 - work.0;
    };
    assert_breaks(&verdict(harder), Rule::Lineage);
    let mut node = TestNode::new();
    let genesis = node.edited(&ShareId::ZERO, |share| share.info.share_height.0 = 1);
    assert_breaks(&node.give(&genesis), Rule::Lineage);
    let genesis = node.edited(&ShareId::ZERO, |share| share.info.chain_work.0 += 1);
    assert_breaks(&node.give(&genesis), Rule::Lineage);
}

#[test]
fn rule_5_time_is_after_the_median_and_not_far_before_the_parent() {
    // Ten shares, thirty seconds apart: their median time is that of the sixth, element 5 of 0..10.
    let node = TestNode::with_chain(10);
    let times: Vec<u32> = node.main_shares().iter().map(|share| share.header.time).collect();
    let median = times[5];
    assert_breaks(&verdict(|share| share.header.time = median), Rule::Time);
    assert_eq!(verdict(|share| share.header.time = median + 1), Verdict::Accepted);
    // A child may be 600 s older than its parent, but not 601 s.
    for (before_s, accepted) in [(600, true), (601, false)] {
        let mut node = TestNode::with_chain(10);
        let tip = node.tip();
        let ahead = node.now.plus(100);
        let parent = node.edited(&tip, |share| share.header.time = ahead.0 + 700);
        node.now = ahead.plus(700);
        assert_eq!(node.give(&parent), Verdict::Accepted);
        let child = node.edited(&parent.id(), |share| share.header.time = ahead.0 + 700 - before_s);
        let verdict = node.give(&child);
        if accepted {
            assert_eq!(verdict, Verdict::Accepted);
        } else {
            assert_breaks(&verdict, Rule::Time);
        }
    }
}

#[test]
fn rule_5_a_share_from_the_future_is_deferred_until_it_is_due() {
    let mut node = TestNode::with_chain(10);
    let tip = node.tip();
    let now = node.now;
    let share = node.edited(&tip, |share| share.header.time = now.plus(121).0);
    assert_eq!(node.give(&share), Verdict::Deferred);
    assert!(node.chain.tick(now).is_empty());
    let effects = node.chain.tick(now.plus(1));
    assert_eq!(verdict_on(&effects, &share), Verdict::Accepted);
    let share = node.edited(&tip, |share| share.header.time = now.plus(120).0);
    assert_eq!(node.give(&share), Verdict::Accepted);
}

#[test]
fn rule_6_an_unknown_anchor_is_requested_and_the_share_deferred() {
    let mut node = TestNode::with_chain(10);
    node.anchor = anchor(101);
    let share = node.next();
    let effects = node.effects(&share);
    let hash = node.anchor.header.block_hash();
    assert_eq!(verdict_on(&effects, &share), Verdict::Deferred);
    let request = |source| Effect::Request { need: Need::Anchor(hash), share: share.id(), source };
    assert!(effects.contains(&request(PEER)));
    let other = Source::Fetch(PeerHandle(77));
    let effects = node.chain.receive(Arc::new(share.clone()), other, node.now);
    assert_eq!(verdict_on(&effects, &share), Verdict::Known, "a deferred share is known");
    assert!(effects.contains(&request(other)), "it can be requested from the other peer as well");
    // Requested again while the share waits.
    assert_eq!(node.chain.tick(node.now), vec![request(PEER)]);
    let effects = node.chain.anchor_known(anchor(101), node.now);
    assert_eq!(verdict_on(&effects, &share), Verdict::Accepted);
}

#[test]
fn rule_6_a_share_with_an_unknown_anchor_is_dropped_after_ten_minutes_and_may_come_again() {
    let mut node = TestNode::with_chain(10);
    node.anchor = anchor(101);
    let share = node.next();
    node.give(&share);
    assert_eq!(node.chain.tick(node.now.plus(600)).len(), 1, "only another request");
    assert_eq!(verdict_on(&node.chain.tick(node.now.plus(601)), &share), Verdict::Dropped);
    assert_eq!(node.give(&share), Verdict::Deferred);
}

#[test]
fn rule_6_a_share_with_an_unknown_anchor_is_dropped_ten_minutes_after_the_clock_was_set_back() {
    let mut node = TestNode::with_chain(10);
    node.anchor = anchor(101);
    let share = node.next();
    node.give(&share);
    let set = node.now.minus(7_200);
    assert_eq!(node.chain.tick(set).len(), 1, "only another request");
    assert_eq!(node.chain.tick(set.plus(600)).len(), 1);
    assert_eq!(verdict_on(&node.chain.tick(set.plus(601)), &share), Verdict::Dropped);
}

#[test]
fn rule_6_height_bits_and_time_match_the_anchor() {
    assert_breaks(&verdict(|share| share.info.block_height.0 += 1), Rule::Anchor);
    assert_breaks(&verdict(|share| share.info.block_height.0 -= 1), Rule::Anchor);
    assert_breaks(&verdict(|share| share.header.bits = CompactTarget::from_consensus(0x207f_fffe)), Rule::Anchor);
    let mut node = TestNode::new();
    node.now = START;
    let too_old = anchor(100).median_time_past;
    let share = node.edited(&ShareId::ZERO, |share| share.header.time = too_old.0);
    assert_breaks(&node.give(&share), Rule::Anchor);
    let share = node.edited(&ShareId::ZERO, |share| share.header.time = too_old.0 + 1);
    assert_eq!(node.give(&share), Verdict::Accepted);
}

#[test]
fn rule_6_testnets_require_their_easiest_target_after_twenty_minutes() {
    for (after_s, bits, accepted) in
        [(1_200, 0x207f_ffff, true), (1_200, 0x207f_fffe, false), (1_201, 0x207f_fffe, true)]
    {
        let mut node = TestNode::new();
        let mut late = anchor(100);
        late.header.nonce = 1;
        late.next_bits_late = Some(Bits(0x207f_fffe));
        assert_eq!(late.latest_time_for(BITS), START.plus(1_200));
        assert_eq!(late.latest_time_for(Bits(0x207f_fffe)), UnixTime(u32::MAX));
        assert_eq!(anchor(100).latest_time_for(BITS), UnixTime(u32::MAX));
        node.chain.tree_mut().add_anchor(late.clone());
        node.anchor = late;
        node.now = START.plus(after_s);
        let share = node.edited(&ShareId::ZERO, |share| share.header.bits = CompactTarget::from_consensus(bits));
        assert_eq!(node.give(&share) == Verdict::Accepted, accepted, "{after_s} s, {bits:x}");
    }
}

#[test]
fn rule_6_all_networks_but_regtest_reject_shares_on_old_bitcoin_blocks() {
    let networks = [Network::Mainnet, Network::Testnet3, Network::Testnet4, Network::Signet, Network::Regtest];
    for (behind, accepted) in [(2, true), (3, false)] {
        for network in networks {
            let bound = network != Network::Regtest;
            let params = ChainParams {
                easiest_bits: BITS,
                payout_window: 20,
                retarget_window: 8,
                ..ChainParams::standard(network)
            };
            let mut node = TestNode::with(params);
            (101..=110).for_each(|height| node.chain.tree_mut().add_anchor(anchor(height)));
            node.now = START.plus(6_000);
            node.anchor = anchor(110);
            node.extend(3);
            node.anchor = anchor(110 - behind);
            let height_min = next_block_height_min(node.chain.tree());
            assert_eq!(height_min, BlockHeight(if bound { 109 } else { 0 }));
            let share = node.next();
            let verdict = node.give(&share);
            if accepted || !bound {
                assert_eq!(verdict, Verdict::Accepted);
            } else {
                assert_breaks(&verdict, Rule::Anchor);
            }
        }
    }
}

#[test]
fn rule_8_the_header_commits_to_the_coinbase_that_the_rules_require() {
    let mut node = TestNode::with_chain(10);
    let tip = node.tip();
    let mine = node.miner;
    let greedy = node.paying(&tip, |_| (), |payouts| payouts[0].amount.0 += 1);
    assert_breaks(&node.give(&greedy), Rule::Payouts);
    node.miner = super::support::script(2);
    let only_me = node.paying(
        &tip,
        |_| (),
        |payouts| {
            payouts.retain(|payout| payout.script != mine);
            payouts[0].amount = Sats(5_000_001_000);
        },
    );
    assert_breaks(&node.give(&only_me), Rule::Payouts);
    let mut mutant = node.next();
    mutant.extranonce[11] ^= 1;
    assert_breaks(&node.give(&mutant), Rule::Payouts);
    let mut mutant = node.next();
    mutant.merkle_branch.pop();
    assert_breaks(&node.give(&mutant), Rule::Payouts);
    let honest = node.next();
    assert_eq!(node.give(&honest), Verdict::Accepted);
}

#[test]
fn rule_8_the_coinbase_value_is_at_least_the_subsidy_and_at_most_21_million_btc() {
    let least = subsidy(Network::Regtest, BlockHeight(101));
    assert_eq!(verdict(|share| share.info.coinbase_value = least), Verdict::Accepted);
    assert_breaks(&verdict(|share| share.info.coinbase_value = Sats(least.0 - 1)), Rule::Payouts);
    assert_eq!(verdict(|share| share.info.coinbase_value = MAX_MONEY), Verdict::Accepted);
    assert_breaks(&verdict(|share| share.info.coinbase_value = Sats(MAX_MONEY.0 + 1)), Rule::Payouts);
}

#[test]
fn easing_is_allowed_when_due_and_rejected_before() {
    let eased = |wait_s: u32, easings: u32| {
        let mut node = TestNode::new();
        // A share every five seconds makes the target harder than the easiest.
        for _ in 0..30 {
            node.now = node.now.plus(5);
            let share = node.next();
            assert_eq!(node.give(&share), Verdict::Accepted);
        }
        let tip = node.tip();
        let samples = node.chain.tree().retarget_samples(&tip).unwrap();
        let base = crate::sharechain::difficulty::base_bits(node.chain.tree().params(), &samples);
        node.now = node.now.plus(wait_s);
        let now = node.now;
        let parent_work = node.chain.tree().tip().unwrap().share.info.chain_work;
        let bits = crate::sharechain::difficulty::eased_bits(node.chain.tree().params(), base, easings);
        let share = node.edited(&tip, |share| {
            share.header.time = now.0;
            share.info.share_bits = bits;
            share.info.chain_work = parent_work.checked_add(bits.target().unwrap().work().unwrap()).unwrap();
        });
        node.give(&grind(share))
    };
    assert_eq!(eased(600, 1), Verdict::Accepted);
    assert_eq!(eased(600, 0), Verdict::Accepted, "easing is allowed, not required");
    assert_eq!(eased(1_200, 2), Verdict::Accepted);
    assert_breaks(&eased(599, 1), Rule::Lineage);
    assert_breaks(&eased(1_199, 2), Rule::Lineage);
}
