//! Candidate chains: their limits, and when they are judged. The tests of `sync` run whole nodes that fetch them.

use std::sync::Arc;

use super::support::{anchor, best_chain, script, TestNode, PEER};
use crate::peer::PeerHandle;
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

fn chain(len: u32, miner: u8) -> TestNode {
    let mut node = TestNode::new();
    node.miner = script(miner);
    node.extend(len);
    node
}

#[test]
fn the_number_of_candidates_is_limited() {
    let mut node = TestNode::new();
    for id in 0..CANDIDATES_MAX as u64 {
        assert!(node.chain.open_candidate(CandidateId(id), false, node.now).is_empty());
    }
    let one_more = node.chain.open_candidate(CandidateId(99), false, node.now);
    assert_eq!(outcomes(&one_more), [(CandidateId(99), CandidateOutcome::GivenUp)]);
    node.chain.drop_candidate(CandidateId(0));
    assert!(node.chain.open_candidate(CandidateId(99), false, node.now).is_empty());
}

#[test]
fn a_candidate_receives_at_most_half_more_shares_than_a_node_keeps() {
    let theirs = chain(10, 1);
    let shares = theirs.main_shares();
    let mut node = TestNode::new();
    node.now = theirs.now;
    node.chain.open_candidate(ID, false, node.now);
    let max = candidate_shares_max(theirs.chain.tree().params());
    for at in 0..max {
        // Each share counts, even if it was linked before.
        let effects = node.chain.receive_candidate(ID, Arc::clone(&shares[at % 10]), PEER, node.now);
        assert!(effects.is_empty(), "{effects:?}");
    }
    let effects = node.chain.receive_candidate(ID, Arc::clone(&shares[0]), PEER, node.now);
    assert_eq!(outcomes(&effects), [(ID, CandidateOutcome::GivenUp)]);
    assert!(
        node.chain.receive_candidate(ID, Arc::clone(&shares[0]), PEER, node.now).is_empty(),
        "the candidate no longer exists"
    );
}

#[test]
fn our_chain_is_unchanged_until_the_candidate_is_judged() {
    let (mut ours, theirs) = (chain(25, 1), chain(40, 2));
    let before = ours.tip();
    ours.now = theirs.now;
    ours.chain.open_candidate(ID, false, ours.now);
    for share in theirs.main_shares() {
        assert!(ours.chain.receive_candidate(ID, share, PEER, ours.now).is_empty());
    }
    assert_eq!(ours.tip(), before);
    let effects = ours.chain.finish_candidate(ID, ours.now);
    assert_eq!(outcomes(&effects), [(ID, CandidateOutcome::Adopted)]);
    assert_eq!(ours.tip(), theirs.tip());
}

#[test]
fn adoption_reports_the_shares_unlinked_and_linked() {
    let mut theirs = TestNode::new();
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
    for share in theirs.main_shares() {
        ours.chain.receive_candidate(ID, share, PEER, ours.now);
    }
    // The next share came by gossip meanwhile.
    theirs.now = ours.now;
    let next = theirs.next();
    ours.effects(&next);
    let effects = ours.chain.finish_candidate(ID, ours.now);
    assert_eq!(outcomes(&effects), [(ID, CandidateOutcome::Adopted)]);
    assert!(effects.contains(&Effect::Unlinked(left)));
    assert!(effects.contains(&Effect::NewTip(theirs.tip())));
    assert_eq!(ours.tip(), next.id(), "the next share is linked as well");
}

#[test]
fn a_share_that_breaks_a_rule_ends_the_candidate_and_names_its_sender() {
    let mut theirs = chain(5, 1);
    let shares = theirs.main_shares();
    let tip = theirs.tip();
    theirs.now = theirs.now.plus(30);
    let greedy = theirs.paying(&tip, |_| (), |payouts| payouts[0].amount.0 -= 1);
    let mut weak = (*shares[0]).clone();
    let target = weak.info.share_bits.target().unwrap();
    while target.is_met_by(&weak.id().0) {
        weak.header.nonce += 1;
    }
    for (bad, rule) in [(greedy, Rule::Payouts), (weak, Rule::ProofOfWork)] {
        let mut node = TestNode::new();
        node.now = theirs.now;
        node.chain.open_candidate(ID, false, node.now);
        for share in &shares {
            node.chain.receive_candidate(ID, Arc::clone(share), PEER, node.now);
        }
        let effects = node.chain.receive_candidate(ID, Arc::new(bad), Source::Fetch(PeerHandle(9)), node.now);
        let [(ID, CandidateOutcome::Invalid { rule: broken, source: Source::Fetch(PeerHandle(9)), on_base: false, .. })] =
            outcomes(&effects)[..]
        else {
            panic!("{effects:?}")
        };
        assert_eq!(broken, rule);
    }
}

/// A chain of shares with an anchor each.
fn on_many_blocks(count: u32) -> TestNode {
    let mut node = TestNode::new();
    for at in 0..count {
        node.now = node.now.plus(30);
        node.anchor = anchor(101 + at / 20);
        node.anchor.header.nonce = 1_000 + at;
        node.chain.tree_mut().add_anchor(node.anchor.clone());
        let share = node.next();
        node.give(&share);
    }
    node
}

#[test]
fn anchors_are_requested_a_few_at_a_time() {
    let theirs = on_many_blocks(30);
    let mut node = TestNode::new();
    node.now = theirs.now;
    node.chain.open_candidate(ID, false, node.now);
    let requests = |effects: &[Effect]| {
        effects.iter().filter(|effect| matches!(effect, Effect::Request { need: Need::Anchor(_), .. })).count()
    };
    let mut total = 0;
    for share in theirs.main_shares() {
        total += requests(&node.chain.receive_candidate(ID, share, PEER, node.now));
    }
    assert_eq!(total, 8);
    assert_eq!(requests(&node.chain.tick(node.now)), 8, "once more, in case a request was lost");
    // Each response makes room for another request.
    let first = theirs.main_shares()[0].header.prev_blockhash;
    let effects = node.chain.anchor_known(theirs.chain.tree().anchor(&first).unwrap().clone(), node.now);
    assert_eq!(requests(&effects), 1);
}

#[test]
fn a_candidate_without_progress_is_given_up() {
    let theirs = on_many_blocks(5);
    let mut node = TestNode::new();
    node.now = theirs.now;
    node.chain.open_candidate(ID, false, node.now);
    for share in theirs.main_shares() {
        node.chain.receive_candidate(ID, share, PEER, node.now);
    }
    node.chain.finish_candidate(ID, node.now);
    assert!(outcomes(&node.chain.tick(node.now.plus(600))).is_empty());
    assert_eq!(outcomes(&node.chain.tick(node.now.plus(601))), [(ID, CandidateOutcome::GivenUp)]);
}

#[test]
fn timeouts_start_again_when_the_clock_is_set_back() {
    // One candidate is complete. Another lacks an anchor, and the node waits to compare the two.
    let (theirs, stuck) = (chain(20, 1), on_many_blocks(5));
    let mut node = TestNode::new();
    node.now = theirs.now.max(stuck.now).plus(7_200);
    for (id, of) in [(ID, &theirs), (CandidateId(8), &stuck)] {
        node.chain.open_candidate(id, false, node.now);
        for share in of.main_shares() {
            node.chain.receive_candidate(id, share, PEER, node.now);
        }
        node.chain.finish_candidate(id, node.now);
    }
    let set = node.now.minus(7_200);
    assert!(outcomes(&node.chain.tick(set)).is_empty());
    assert!(outcomes(&node.chain.tick(set.plus(59))).is_empty());
    assert_eq!(outcomes(&node.chain.tick(set.plus(60))), [(ID, CandidateOutcome::Adopted)]);
    assert_eq!(outcomes(&node.chain.tick(set.plus(601))), [(CandidateId(8), CandidateOutcome::GivenUp)]);
}

#[test]
fn nothing_has_waited_longer_when_the_clock_is_set_forward() {
    let (theirs, orphans) = (on_many_blocks(5), chain(3, 1));
    let mut node = TestNode::new();
    node.now = theirs.now.max(orphans.now);
    node.chain.open_candidate(ID, false, node.now);
    for share in theirs.main_shares() {
        node.chain.receive_candidate(ID, share, PEER, node.now);
    }
    node.chain.finish_candidate(ID, node.now);
    node.give(&orphans.main_shares()[2]);
    // The machine started without a battery, and now it has the time.
    let set = node.now.plus(43_200);
    node.chain.clock_set_forward(43_200, set);
    assert!(outcomes(&node.chain.tick(set.plus(600))).is_empty());
    assert_eq!(node.chain.waiting(), (1, 0));
    assert_eq!(outcomes(&node.chain.tick(set.plus(601))), [(ID, CandidateOutcome::GivenUp)]);
    assert_eq!(node.chain.waiting(), (0, 0));
}

#[test]
fn a_newcomer_adopts_the_best_of_the_complete_candidates() {
    let plain = chain(30, 1);
    let mut strong = TestNode::new();
    strong.miner = script(2);
    for _ in 0..30 {
        strong.now = strong.now.plus(20);
        let share = strong.next();
        strong.give(&share);
    }
    for order in [[&plain, &strong], [&strong, &plain]] {
        let mut chain = Sharechain::new(Tree::new(Arc::clone(plain.chain.tree().params())));
        chain.tree_mut().headers_mut().follow(best_chain(anchor(100)));
        for (id, node) in (0..).zip(order) {
            chain.open_candidate(CandidateId(id), false, plain.now);
            for share in node.main_shares() {
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

/// A list may begin far below the fork, where the payout windows are not held any more.
#[test]
fn shares_of_ours_in_a_candidate_are_not_verified_again() {
    let mut theirs = chain(200, 1);
    let mut node = TestNode::following(&theirs, &theirs.main_shares());
    node.chain.prune();
    theirs.extend(1);
    let list = theirs.main_shares().split_off(200 - node.main_ids().len());
    node.now = theirs.now;
    node.chain.open_candidate(ID, true, node.now);
    for share in list {
        assert_eq!(node.chain.receive_candidate(ID, share, PEER, node.now), []);
    }
    let effects = node.chain.finish_candidate(ID, node.now);
    assert_eq!(outcomes(&effects), [(ID, CandidateOutcome::Adopted)]);
    assert_eq!(node.tip(), theirs.tip());
}
