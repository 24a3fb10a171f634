//! Rules 1 to 6 and 8, one refusal each beside the honest chain that is accepted.

use bitcoin::block::Version;
use bitcoin::CompactTarget;

use super::kit::{anchor, assert_breaks, grind, params, verdict_on, Kit, BITS, PEER, START};
use crate::params::{ChainParams, Network};
use crate::share::{Share, ShareId};
use crate::sharechain::{next_block_height_min, subsidy, Effect, Need, Rule, Verdict};
use crate::units::{Bits, BlockHeight, Sats, ShareHeight, UnixTime, Work, MAX_MONEY};

/// Gives a share on the tip of a chain of ten that differs by an edit.
#[track_caller]
fn verdict(edit: impl FnOnce(&mut Share)) -> Verdict {
    let mut kit = Kit::with_chain(10);
    let tip = kit.tip();
    let share = kit.edited(&tip, edit);
    kit.give(&share)
}

#[test]
fn an_honest_chain_is_accepted_and_grows() {
    let mut kit = Kit::with_chain(60);
    assert_eq!(kit.chain.tree().tip().unwrap().share.info.share_height, ShareHeight(59));
    assert_eq!(kit.chain.tree().main_chain().len(), 60);
    let share = kit.next();
    let effects = kit.effects(&share);
    assert!(effects.contains(&Effect::Linked(share.id())) && effects.contains(&Effect::NewTip(share.id())));
    assert_eq!(kit.give(&share), Verdict::Known);
}

#[test]
fn rule_1_form() {
    assert_breaks(&verdict(|share| share.header.version = Version::from_consensus(3)), Rule::Form);
    assert_breaks(&verdict(|share| share.header.version = Version::from_consensus(-1)), Rule::Form);
    assert_eq!(verdict(|share| share.header.version = Version::from_consensus(4)), Verdict::Accepted);
    for bits in [0, 0x2080_0001, 0x0100_0000, 0x1d00_001f] {
        assert_breaks(&verdict(|share| share.info.share_bits = Bits(bits)), Rule::Form);
    }
    // Canonical, but more work than all miners together will ever do.
    let mut kit = Kit::with_chain(10);
    let tip = kit.tip();
    let mut share = kit.on(&tip);
    share.info.share_bits = Bits(0x0101_0000);
    assert_breaks(&kit.give(&share), Rule::Form);
}

#[test]
fn rule_2_proof_of_work() {
    let mut kit = Kit::with_chain(10);
    let mut share = kit.next();
    while share.info.share_bits.target().unwrap().is_met_by(&share.id().0) {
        share.header.nonce += 1;
    }
    assert_breaks(&kit.give(&share), Rule::ProofOfWork);
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
    let mut kit = Kit::new();
    let genesis = kit.edited(&ShareId::ZERO, |share| share.info.share_height.0 = 1);
    assert_breaks(&kit.give(&genesis), Rule::Lineage);
    let genesis = kit.edited(&ShareId::ZERO, |share| share.info.chain_work.0 += 1);
    assert_breaks(&kit.give(&genesis), Rule::Lineage);
}

#[test]
fn rule_5_time_is_after_the_median_and_not_far_before_the_parent() {
    // Ten shares, thirty seconds candidate: the median of the last ten is the sixth, element 5 of 0..10.
    let kit = Kit::with_chain(10);
    let times: Vec<u32> =
        kit.chain.tree().main_chain().iter().map(|id| kit.chain.tree().get(id).unwrap().share.header.time).collect();
    let median = times[5];
    assert_breaks(&verdict(|share| share.header.time = median), Rule::Time);
    assert_eq!(verdict(|share| share.header.time = median + 1), Verdict::Accepted);
    // A parent from the future: its child may not be 601 s older.
    for (before_s, accepted) in [(600, true), (601, false)] {
        let mut kit = Kit::with_chain(10);
        let tip = kit.tip();
        let ahead = kit.now.plus(100);
        let parent = kit.edited(&tip, |share| share.header.time = ahead.0 + 700);
        kit.now = ahead.plus(700);
        assert_eq!(kit.give(&parent), Verdict::Accepted);
        let child = kit.edited(&parent.id(), |share| share.header.time = ahead.0 + 700 - before_s);
        let verdict = kit.give(&child);
        if accepted {
            assert_eq!(verdict, Verdict::Accepted);
        } else {
            assert_breaks(&verdict, Rule::Time);
        }
    }
}

#[test]
fn rule_5_a_share_from_the_future_waits_until_it_is_due() {
    let mut kit = Kit::with_chain(10);
    let tip = kit.tip();
    let now = kit.now;
    let share = kit.edited(&tip, |share| share.header.time = now.plus(121).0);
    assert_eq!(kit.give(&share), Verdict::Deferred);
    assert!(kit.chain.tick(now).is_empty());
    let effects = kit.chain.tick(now.plus(1));
    assert_eq!(verdict_on(&effects, &share), Verdict::Accepted);
    let share = kit.edited(&tip, |share| share.header.time = now.plus(120).0);
    assert_eq!(kit.give(&share), Verdict::Accepted);
}

#[test]
fn rule_6_an_unknown_bitcoin_block_is_asked_for_and_never_scored() {
    let mut kit = Kit::with_chain(10);
    kit.anchor = anchor(101);
    let share = kit.next();
    let effects = kit.effects(&share);
    let hash = kit.anchor.header.block_hash();
    assert_eq!(verdict_on(&effects, &share), Verdict::Deferred);
    assert!(effects.contains(&Effect::Ask { need: Need::Anchor(hash), source: PEER }));
    assert_eq!(kit.give(&share), Verdict::Known, "a held share is known");
    // Asked again while it waits.
    assert_eq!(kit.chain.tick(kit.now), vec![Effect::Ask { need: Need::Anchor(hash), source: PEER }]);
    let effects = kit.chain.anchor_known(anchor(101), kit.now);
    assert_eq!(verdict_on(&effects, &share), Verdict::Accepted);
}

#[test]
fn rule_6_given_up_after_ten_minutes_but_may_come_again() {
    let mut kit = Kit::with_chain(10);
    kit.anchor = anchor(101);
    let share = kit.next();
    kit.give(&share);
    assert_eq!(kit.chain.tick(kit.now.plus(600)).len(), 1, "only asked for again");
    assert_eq!(verdict_on(&kit.chain.tick(kit.now.plus(601)), &share), Verdict::Dropped);
    assert_eq!(kit.give(&share), Verdict::Deferred);
}

#[test]
fn rule_6_given_up_ten_minutes_after_the_clock_was_set_back() {
    let mut kit = Kit::with_chain(10);
    kit.anchor = anchor(101);
    let share = kit.next();
    kit.give(&share);
    let set = kit.now.minus(7_200);
    assert_eq!(kit.chain.tick(set).len(), 1, "only asked for again");
    assert_eq!(kit.chain.tick(set.plus(600)).len(), 1);
    assert_eq!(verdict_on(&kit.chain.tick(set.plus(601)), &share), Verdict::Dropped);
}

#[test]
fn rule_6_an_invalid_bitcoin_block_is_no_anchor() {
    let mut kit = Kit::with_chain(10);
    kit.anchor = anchor(101);
    let share = kit.next();
    kit.give(&share);
    let effects = kit.chain.anchor_invalid(kit.anchor.header.block_hash());
    assert_breaks(&verdict_on(&effects, &share), Rule::Anchor);
}

#[test]
fn rule_6_height_bits_and_time_fit_the_bitcoin_block() {
    assert_breaks(&verdict(|share| share.info.block_height.0 += 1), Rule::Anchor);
    assert_breaks(&verdict(|share| share.info.block_height.0 -= 1), Rule::Anchor);
    assert_breaks(&verdict(|share| share.header.bits = CompactTarget::from_consensus(0x207f_fffe)), Rule::Anchor);
    let mut kit = Kit::new();
    kit.now = START;
    let too_old = anchor(100).median_time_past;
    let share = kit.edited(&ShareId::ZERO, |share| share.header.time = too_old.0);
    assert_breaks(&kit.give(&share), Rule::Anchor);
    let share = kit.edited(&ShareId::ZERO, |share| share.header.time = too_old.0 + 1);
    assert_eq!(kit.give(&share), Verdict::Accepted);
}

#[test]
fn rule_6_testnets_ask_for_their_easiest_target_after_twenty_minutes() {
    for (after_s, bits, accepted) in
        [(1_200, 0x207f_ffff, true), (1_200, 0x207f_fffe, false), (1_201, 0x207f_fffe, true)]
    {
        let mut kit = Kit::new();
        let mut late = anchor(100);
        late.next_bits_late = Some(Bits(0x207f_fffe));
        assert_eq!(late.latest_time_for(BITS), START.plus(1_200));
        assert_eq!(late.latest_time_for(Bits(0x207f_fffe)), UnixTime(u32::MAX));
        assert_eq!(anchor(100).latest_time_for(BITS), UnixTime(u32::MAX));
        kit.chain.tree_mut().add_anchor(late.clone());
        kit.now = START.plus(after_s);
        let share = kit.edited(&ShareId::ZERO, |share| share.header.bits = CompactTarget::from_consensus(bits));
        assert_eq!(kit.give(&share) == Verdict::Accepted, accepted, "{after_s} s, {bits:x}");
    }
}

#[test]
fn rule_6_mainnet_does_not_pay_for_mining_on_old_blocks() {
    let mainnet = ChainParams {
        easiest_bits: BITS,
        payout_window: 20,
        retarget_window: 8,
        ..ChainParams::standard(Network::Mainnet)
    };
    for (behind, accepted) in [(2, true), (3, false)] {
        for (params, bound) in [(mainnet.clone(), true), (params(), false)] {
            let mut kit = Kit::with(params);
            (101..=110).for_each(|height| kit.chain.tree_mut().add_anchor(anchor(height)));
            kit.now = START.plus(6_000);
            kit.anchor = anchor(110);
            kit.extend(3);
            kit.anchor = anchor(110 - behind);
            let height_min = next_block_height_min(kit.chain.tree());
            assert_eq!(height_min, BlockHeight(if bound { 109 } else { 0 }));
            let share = kit.next();
            let verdict = kit.give(&share);
            if accepted || !bound {
                assert_eq!(verdict, Verdict::Accepted);
            } else {
                assert_breaks(&verdict, Rule::Anchor);
            }
        }
    }
}

#[test]
fn rule_8_the_header_commits_to_the_coinbase_the_rules_ask_for() {
    let mut kit = Kit::with_chain(10);
    let tip = kit.tip();
    let mine = kit.miner;
    let greedy = kit.paying(&tip, |_| (), |payouts| payouts[0].amount.0 += 1);
    assert_breaks(&kit.give(&greedy), Rule::Payouts);
    kit.miner = super::kit::script(2);
    let only_me = kit.paying(
        &tip,
        |_| (),
        |payouts| {
            payouts.retain(|payout| payout.script != mine);
            payouts[0].amount = Sats(5_000_001_000);
        },
    );
    assert_breaks(&kit.give(&only_me), Rule::Payouts);
    let mut mutant = kit.next();
    mutant.extranonce[11] ^= 1;
    assert_breaks(&kit.give(&mutant), Rule::Payouts);
    let mut mutant = kit.next();
    mutant.merkle_branch.pop();
    assert_breaks(&kit.give(&mutant), Rule::Payouts);
    let honest = kit.next();
    assert_eq!(kit.give(&honest), Verdict::Accepted);
}

#[test]
fn rule_8_the_value_is_at_least_the_subsidy_and_at_most_all_money() {
    let least = subsidy(Network::Regtest, BlockHeight(101));
    assert_eq!(verdict(|share| share.info.coinbase_value = least), Verdict::Accepted);
    assert_breaks(&verdict(|share| share.info.coinbase_value = Sats(least.0 - 1)), Rule::Payouts);
    assert_eq!(verdict(|share| share.info.coinbase_value = MAX_MONEY), Verdict::Accepted);
    assert_breaks(&verdict(|share| share.info.coinbase_value = Sats(MAX_MONEY.0 + 1)), Rule::Payouts);
}

#[test]
fn easing_is_allowed_when_due_and_refused_before() {
    let eased = |wait_s: u32, easings: u32| {
        let mut kit = Kit::new();
        // Every five seconds: harder than the easiest.
        for _ in 0..30 {
            kit.now = kit.now.plus(5);
            let share = kit.next();
            assert_eq!(kit.give(&share), Verdict::Accepted);
        }
        let tip = kit.tip();
        let retarget_samples = kit.chain.tree().retarget_samples(&tip).unwrap();
        let base = crate::sharechain::difficulty::base_target(kit.chain.tree().params(), &retarget_samples);
        kit.now = kit.now.plus(wait_s);
        let now = kit.now;
        let parent_work = kit.chain.tree().tip().unwrap().share.info.chain_work;
        let bits = crate::sharechain::difficulty::eased_bits(kit.chain.tree().params(), base, easings);
        let share = kit.edited(&tip, |share| {
            share.header.time = now.0;
            share.info.share_bits = bits;
            share.info.chain_work = parent_work.checked_add(bits.target().unwrap().work().unwrap()).unwrap();
        });
        kit.give(&grind(share))
    };
    assert_eq!(eased(600, 1), Verdict::Accepted);
    assert_eq!(eased(600, 0), Verdict::Accepted, "easing is offered, not imposed");
    assert_eq!(eased(1_200, 2), Verdict::Accepted);
    assert_breaks(&eased(599, 1), Rule::Lineage);
    assert_breaks(&eased(1_199, 2), Rule::Lineage);
}
