//! A recorded chain, in order, shuffled and with mutants: the sharechain has the model's verdicts and tip.

use std::sync::Arc;

use bitcoin::block::Header;
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::share::{PayoutScript, Share, ShareId};
use p2pool_core::sharechain::bitcoin_difficulty::PeriodStart;
use p2pool_core::sharechain::{Anchor, Effect, RecentTimes, Rule, Sharechain, Source, Tree, Verdict};
use p2pool_core::units::{Bits, BlockHeight, UnixTime};
use serde::Deserialize;

use crate::fields::{bits, hash_from_display, hex, read, script, ParamsFields};

#[derive(Deserialize)]
struct ChainVector {
    params: ParamsFields,
    chain_id: String,
    now: u32,
    tip: String,
    scripts: Vec<String>,
    anchors: Vec<AnchorFields>,
    shares: Vec<RecordedShare>,
    mutants: Vec<Mutant>,
}

#[derive(Deserialize)]
struct AnchorFields {
    hash: String,
    header: String,
    height: u32,
    median_time_past: u32,
    next_bits: String,
}

#[derive(Deserialize)]
struct RecordedShare {
    id: String,
    raw: String,
    verdict: String,
    tip_then: String,
    payouts: Vec<(usize, u64)>,
}

#[derive(Deserialize)]
struct Mutant {
    why: String,
    /// Number of recorded shares received before it.
    after: usize,
    raw: String,
    verdict: String,
    rule: Option<u8>,
}

impl ChainVector {
    fn read() -> Self {
        let vector: Self = read("chain.json");
        assert!(vector.shares.len() >= 60 && vector.mutants.len() >= 70);
        assert_eq!(vector.params.params().chain_id().to_string(), vector.chain_id);
        vector
    }

    fn params(&self) -> ChainParams {
        self.params.params()
    }

    fn now(&self) -> UnixTime {
        UnixTime(self.now)
    }

    fn tip(&self) -> Option<ShareId> {
        Some(ShareId(hash_from_display(&self.tip)))
    }

    /// A sharechain with the recorded anchors and no shares.
    fn empty(&self) -> Sharechain {
        let mut chain = Sharechain::new(Tree::new(Arc::new(self.params())));
        for anchor in &self.anchors {
            let header: Header = bitcoin::consensus::deserialize(&hex(&anchor.header)).unwrap();
            assert_eq!(header.block_hash().to_string(), anchor.hash);
            let times = RecentTimes::new([UnixTime(anchor.median_time_past)]);
            let bits = bits(&anchor.next_bits);
            let period_start = PeriodStart { time: UnixTime(header.time), bits };
            let anchor = Anchor::new(Network::Regtest, header, BlockHeight(anchor.height), times, period_start, bits);
            chain.anchor_known(anchor, self.now());
        }
        chain
    }

    fn after(&self, count: usize) -> Sharechain {
        let mut chain = self.empty();
        for share in &self.shares[..count] {
            receive(&mut chain, share.share(), self.now());
        }
        chain
    }
}

impl RecordedShare {
    fn share(&self) -> Share {
        let share = Share::decode(&hex(&self.raw)).unwrap();
        assert_eq!(share.id().to_string(), self.id);
        share
    }
}

/// Receives a share and returns the last verdict on it.
fn receive(chain: &mut Sharechain, share: Share, now: UnixTime) -> Verdict {
    let digest = share.digest();
    let effects = chain.receive(std::sync::Arc::new(share), Source::Fetch(p2pool_core::peer::PeerHandle(1)), now);
    let verdict_in = |effect: Effect| match effect {
        Effect::Verdict { digest: of, verdict, .. } if of == digest => Some(verdict),
        _ => None,
    };
    effects.into_iter().rev().find_map(verdict_in).expect("every share gets a verdict")
}

/// The verdict and the rule as the vectors write them.
fn outcome(verdict: &Verdict) -> (&'static str, Option<u8>) {
    match verdict {
        Verdict::Accepted => ("accepted", None),
        Verdict::Known => ("known", None),
        Verdict::Deferred => ("deferred", None),
        Verdict::Unverified => ("unverified", None),
        Verdict::Dropped | Verdict::NewerRules(_) => ("dropped", None),
        Verdict::Rejected { rule, .. } => ("rejected", Some(*rule as u8)),
    }
}

fn tip(chain: &Sharechain) -> Option<ShareId> {
    chain.tree().tip().map(|tip| tip.id)
}

#[test]
fn shares_in_order_get_the_models_verdicts_and_tips() {
    let vector = ChainVector::read();
    let mut chain = vector.empty();
    for recorded in &vector.shares {
        let verdict = receive(&mut chain, recorded.share(), vector.now());
        assert_eq!(outcome(&verdict).0, recorded.verdict, "{}", recorded.id);
        assert_eq!(tip(&chain), Some(ShareId(hash_from_display(&recorded.tip_then))), "after {}", recorded.id);
        let again = receive(&mut chain, recorded.share(), vector.now());
        assert_eq!(again, Verdict::Known, "{} received again", recorded.id);
    }
    assert_eq!(tip(&chain), vector.tip());
    assert_eq!(chain.tree().len(), vector.shares.len());
    assert_eq!(chain.waiting(), (0, 0));
}

/// In any order the tip is the same, and its chain is complete.
#[test]
fn shuffled_shares_lead_to_the_same_tip() {
    let vector = ChainVector::read();
    for seed in 0..50 {
        let mut chain = vector.empty();
        let mut order: Vec<&RecordedShare> = vector.shares.iter().collect();
        shuffle(&mut order, seed);
        for recorded in order {
            receive(&mut chain, recorded.share(), vector.now());
        }
        assert_eq!(tip(&chain), vector.tip(), "order {seed}");
        let tip = chain.tree().tip().unwrap();
        assert_eq!(chain.tree().main_chain().len(), tip.share.info.share_height.0 as usize + 1, "order {seed}");
    }
}

/// A Fisher-Yates shuffle with a linear congruential generator.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15) | 1;
    for i in (1..items.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(i, (state >> 33) as usize % (i + 1));
    }
}

#[test]
fn payouts_match_the_model() {
    let vector = ChainVector::read();
    let scripts: Vec<PayoutScript> = vector.scripts.iter().map(|text| script(text)).collect();
    let mut chain = vector.after(vector.shares.len());
    for recorded in &vector.shares {
        let share = recorded.share();
        let (header_bits, info) = (Bits(share.header.bits.to_consensus()), &share.info);
        let paid = chain.tree_mut().payouts(info, header_bits).unwrap();
        let paid: Vec<_> = paid.iter().map(|payout| (payout.script, payout.amount.0)).collect();
        let expected: Vec<_> = recorded.payouts.iter().map(|(payee, amount)| (scripts[*payee], *amount)).collect();
        assert_eq!(paid, expected, "{}", recorded.id);
    }
}

#[test]
fn mutants_are_rejected_by_the_rule_they_break() {
    let vector = ChainVector::read();
    for mutant in &vector.mutants {
        let expected = (mutant.verdict.as_str(), mutant.rule);
        let mut chain = vector.after(mutant.after);
        let before = tip(&chain);
        let Ok(share) = Share::decode(&hex(&mutant.raw)) else {
            assert_eq!(expected, ("rejected", Some(Rule::Form as u8)), "{}", mutant.why);
            continue;
        };
        let verdict = receive(&mut chain, share, vector.now());
        assert_eq!(outcome(&verdict), expected, "{}: {verdict:?}", mutant.why);
        if mutant.verdict != "accepted" {
            assert_eq!(tip(&chain), before, "{}", mutant.why);
        }
    }
}

/// Every validity rule has a mutant that breaks it, and there are accepted shares at the rules' limits.
#[test]
fn every_rule_has_a_mutant() {
    let vector = ChainVector::read();
    for rule in [1, 2, 4, 5, 6, 7, 8] {
        assert!(vector.mutants.iter().any(|mutant| mutant.rule == Some(rule)), "rule {rule}");
    }
    let count = |verdict: &str| vector.mutants.iter().filter(|mutant| mutant.verdict == verdict).count();
    assert!(count("accepted") >= 15 && count("deferred") >= 3 && count("unverified") >= 1);
}

/// A copy of each share with another extranonce, received first, is rejected and does not shadow the original.
#[test]
fn copies_received_first_are_harmless() {
    let vector = ChainVector::read();
    let mut chain = vector.empty();
    for recorded in &vector.shares {
        let share = recorded.share();
        let mut copy = share.clone();
        copy.extranonce[11] ^= 1;
        let verdict = receive(&mut chain, copy, vector.now());
        assert!(matches!(outcome(&verdict), ("rejected", Some(8)) | ("unverified", None)), "{verdict:?}");
        let verdict = receive(&mut chain, share, vector.now());
        assert_eq!(outcome(&verdict).0, recorded.verdict, "{}", recorded.id);
        assert_eq!(tip(&chain), Some(ShareId(hash_from_display(&recorded.tip_then))), "after {}", recorded.id);
    }
    assert_eq!(tip(&chain), vector.tip());
}
