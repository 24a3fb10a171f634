//! Chains kept candidate: their limits, and when they are judged. Whole nodes that fetch them are in the planner's tests.

use std::sync::Arc;

use super::kit::{anchor, script, Kit, PEER};
use crate::peer::PeerHandle;
use crate::share::Share;
use crate::sharechain::{
    candidate_shares_max, CandidateId, CandidateOutcome, Effect, Need, Rule, Sharechain, Source, Tree, CANDIDATES_MAX,
};

const ID: CandidateId = CandidateId(1);

fn outcomes(effects: &[Effect]) -> Vec<(CandidateId, CandidateOutcome)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::CandidateJudged { id, outcome } => Some((*id, outcome.clone())),
            _ => None,
        })
        .collect()
}

fn main_shares(kit: &Kit) -> Vec<Arc<Share>> {
    kit.chain.tree().main_chain().iter().map(|id| Arc::clone(&kit.chain.tree().get(id).unwrap().share)).collect()
}

fn chain(len: u32, miner: u8) -> Kit {
    let mut kit = Kit::new();
    kit.miner = script(miner);
    kit.extend(len);
    kit
}

#[test]
fn there_are_few_of_them() {
    let mut kit = Kit::new();
    for id in 0..CANDIDATES_MAX as u64 {
        assert!(kit.chain.open_candidate(CandidateId(id), false, kit.now).is_empty());
    }
    let one_more = kit.chain.open_candidate(CandidateId(99), false, kit.now);
    assert_eq!(outcomes(&one_more), [(CandidateId(99), CandidateOutcome::GivenUp)]);
    kit.chain.drop_candidate(CandidateId(0));
    assert!(kit.chain.open_candidate(CandidateId(99), false, kit.now).is_empty());
}

#[test]
fn each_holds_half_as_much_again_as_a_chain() {
    let theirs = chain(10, 1);
    let shares = main_shares(&theirs);
    let mut kit = Kit::new();
    kit.now = theirs.now;
    kit.chain.open_candidate(ID, false, kit.now);
    let max = candidate_shares_max(theirs.chain.tree().params());
    for at in 0..max {
        // Linked before or not: each counts.
        let effects = kit.chain.receive_candidate(ID, Arc::clone(&shares[at % 10]), PEER, kit.now);
        assert!(effects.is_empty(), "{effects:?}");
    }
    let effects = kit.chain.receive_candidate(ID, Arc::clone(&shares[0]), PEER, kit.now);
    assert_eq!(outcomes(&effects), [(ID, CandidateOutcome::GivenUp)]);
    assert!(kit.chain.receive_candidate(ID, Arc::clone(&shares[0]), PEER, kit.now).is_empty(), "it is forgotten");
}

#[test]
fn our_chain_is_not_touched_before_the_judgement() {
    let (mut ours, theirs) = (chain(25, 1), chain(40, 2));
    let before = ours.tip();
    ours.now = theirs.now;
    ours.chain.open_candidate(ID, false, ours.now);
    for share in main_shares(&theirs) {
        assert!(ours.chain.receive_candidate(ID, share, PEER, ours.now).is_empty());
    }
    assert_eq!(ours.tip(), before);
    let effects = ours.chain.finish_candidate(ID, ours.now);
    // As much work in as many shares is no reason.
    assert_eq!(outcomes(&effects), [(ID, CandidateOutcome::NotBetter)]);
    assert_eq!(ours.tip(), before);
}

#[test]
fn adoption_tells_what_is_left_and_what_is_taken() {
    let mut theirs = Kit::new();
    theirs.miner = script(2);
    for _ in 0..30 {
        theirs.now = theirs.now.plus(10);
        let share = theirs.next();
        theirs.give(&share);
    }
    let mut ours = chain(12, 1);
    let left = ours.tip();
    ours.now = ours.now.max(theirs.now);
    ours.chain.open_candidate(ID, false, ours.now);
    for share in main_shares(&theirs) {
        ours.chain.receive_candidate(ID, share, PEER, ours.now);
    }
    // What follows came by gossip meanwhile.
    theirs.now = ours.now;
    let next = theirs.next();
    ours.effects(&next);
    let effects = ours.chain.finish_candidate(ID, ours.now);
    assert_eq!(outcomes(&effects), [(ID, CandidateOutcome::Adopted)]);
    assert!(effects.contains(&Effect::Unlinked(left)));
    assert!(effects.contains(&Effect::NewTip(theirs.tip())));
    assert_eq!(ours.tip(), next.id(), "and is taken with it");
}

#[test]
fn a_share_that_breaks_a_rule_ends_it_and_names_its_sender() {
    let mut theirs = chain(5, 1);
    let shares = main_shares(&theirs);
    let tip = theirs.tip();
    theirs.now = theirs.now.plus(30);
    let greedy = theirs.paying(&tip, |_| (), |payouts| payouts[0].amount.0 -= 1);
    let mut weak = (*shares[0]).clone();
    let target = weak.info.share_bits.target().unwrap();
    while target.is_met_by(&weak.id().0) {
        weak.header.nonce += 1;
    }
    for (bad, rule) in [(greedy, Rule::Payouts), (weak, Rule::ProofOfWork)] {
        let mut kit = Kit::new();
        kit.now = theirs.now;
        kit.chain.open_candidate(ID, false, kit.now);
        for share in &shares {
            kit.chain.receive_candidate(ID, Arc::clone(share), PEER, kit.now);
        }
        let effects = kit.chain.receive_candidate(ID, Arc::new(bad), Source::Fetch(PeerHandle(9)), kit.now);
        let [(ID, CandidateOutcome::False { rule: broken, source: Source::Fetch(PeerHandle(9)), on_base: false, .. })] =
            outcomes(&effects)[..]
        else {
            panic!("{effects:?}")
        };
        assert_eq!(broken, rule);
    }
}

/// Shares on a Bitcoin block each.
fn on_many_blocks(count: u32) -> Kit {
    let mut kit = Kit::new();
    for at in 0..count {
        kit.now = kit.now.plus(30);
        kit.anchor = anchor(101 + at / 20);
        kit.anchor.header.nonce = 1_000 + at;
        kit.chain.tree_mut().add_anchor(kit.anchor.clone());
        let share = kit.next();
        kit.give(&share);
    }
    kit
}

#[test]
fn bitcoin_blocks_are_asked_for_a_few_at_a_time() {
    let theirs = on_many_blocks(30);
    let mut kit = Kit::new();
    kit.now = theirs.now;
    kit.chain.open_candidate(ID, false, kit.now);
    let asked = |effects: &[Effect]| {
        effects.iter().filter(|effect| matches!(effect, Effect::Ask { need: Need::Anchor(_), .. })).count()
    };
    let mut total = 0;
    for share in main_shares(&theirs) {
        total += asked(&kit.chain.receive_candidate(ID, share, PEER, kit.now));
    }
    assert_eq!(total, 8);
    assert_eq!(asked(&kit.chain.tick(kit.now)), 8, "once more, in case the question was lost");
    // Every answer makes room for one more question.
    let first = main_shares(&theirs)[0].header.prev_blockhash;
    let effects = kit.chain.anchor_known(theirs.chain.tree().anchor(&first).unwrap().clone(), kit.now);
    assert_eq!(asked(&effects), 1);
}

#[test]
fn a_chain_on_an_invalid_bitcoin_block_is_false() {
    let theirs = on_many_blocks(5);
    let mut kit = Kit::new();
    kit.now = theirs.now;
    kit.chain.open_candidate(ID, false, kit.now);
    for share in main_shares(&theirs) {
        kit.chain.receive_candidate(ID, share, PEER, kit.now);
    }
    let effects = kit.chain.anchor_invalid(main_shares(&theirs)[3].header.prev_blockhash);
    assert!(
        matches!(outcomes(&effects)[..], [(ID, CandidateOutcome::False { rule: Rule::Anchor, .. })]),
        "{effects:?}"
    );
}

#[test]
fn a_chain_that_does_not_get_on_is_given_up() {
    let theirs = on_many_blocks(5);
    let mut kit = Kit::new();
    kit.now = theirs.now;
    kit.chain.open_candidate(ID, false, kit.now);
    for share in main_shares(&theirs) {
        kit.chain.receive_candidate(ID, share, PEER, kit.now);
    }
    kit.chain.finish_candidate(ID, kit.now);
    assert!(outcomes(&kit.chain.tick(kit.now.plus(600))).is_empty());
    assert_eq!(outcomes(&kit.chain.tick(kit.now.plus(601))), [(ID, CandidateOutcome::GivenUp)]);
}

#[test]
fn where_the_clock_is_set_back_nothing_waits_until_it_is_there_again() {
    // One chain is whole; another, which lacks a Bitcoin block, is waited for to be compared with it.
    let (theirs, stuck) = (chain(20, 1), on_many_blocks(5));
    let mut kit = Kit::new();
    kit.now = theirs.now.max(stuck.now).plus(7_200);
    for (id, of) in [(ID, &theirs), (CandidateId(8), &stuck)] {
        kit.chain.open_candidate(id, false, kit.now);
        for share in main_shares(of) {
            kit.chain.receive_candidate(id, share, PEER, kit.now);
        }
        kit.chain.finish_candidate(id, kit.now);
    }
    let set = kit.now.minus(7_200);
    assert!(outcomes(&kit.chain.tick(set)).is_empty());
    assert!(outcomes(&kit.chain.tick(set.plus(59))).is_empty());
    assert_eq!(outcomes(&kit.chain.tick(set.plus(60))), [(ID, CandidateOutcome::Adopted)]);
    assert_eq!(outcomes(&kit.chain.tick(set.plus(601))), [(CandidateId(8), CandidateOutcome::GivenUp)]);
}

#[test]
fn a_newcomer_takes_the_best_of_what_is_whole_at_once() {
    let plain = chain(30, 1);
    let mut strong = Kit::new();
    strong.miner = script(2);
    for _ in 0..30 {
        strong.now = strong.now.plus(20);
        let share = strong.next();
        strong.give(&share);
    }
    for order in [[&plain, &strong], [&strong, &plain]] {
        let mut chain = Sharechain::new(Tree::new(Arc::clone(plain.chain.tree().params())));
        chain.tree_mut().add_anchor(anchor(100));
        for (id, kit) in (0..).zip(order) {
            chain.open_candidate(CandidateId(id), false, plain.now);
            for share in main_shares(kit) {
                chain.receive_candidate(CandidateId(id), share, PEER, plain.now);
            }
        }
        for id in 0..2 {
            assert!(chain.finish_candidate(CandidateId(id), plain.now).is_empty());
        }
        let effects = chain.tick(plain.now);
        assert_eq!(outcomes(&effects).len(), 2);
        assert_eq!(chain.tree().tip().unwrap().id, strong.tip());
    }
}
