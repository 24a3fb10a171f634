//! A clock that was ahead: what was linked then waits until it is due.

use std::sync::Arc;

use super::support::{anchor, anchor_at, best_chain, params, TestNode, PEER, START};
use crate::params::ChainParams;
use crate::peer::PeerHandle;
use crate::share::{Share, ShareId};
use crate::sharechain::{CandidateId, CandidateOutcome, Effect, Need, Source, Tree, Verdict, AHEAD_MAX_S};
use crate::units::UnixTime;

const HALF_DAY_S: u32 = 43_200;

/// A node whose clock was half a day ahead for the last shares of its chain, and is right now. Returns it before it has
/// noticed.
fn put_right(before: u32, ahead: u32) -> TestNode {
    let mut node = TestNode::with_chain(before);
    let right = node.now;
    node.now = right.plus(HALF_DAY_S);
    node.extend(ahead);
    node.now = right;
    node
}

/// What a second's passing does while the clock is known to be right.
fn follow_clock(node: &mut TestNode) -> Vec<Effect> {
    let mut effects = node.chain.take_early(node.now);
    effects.extend(node.chain.tick(node.now));
    effects
}

fn linked(effects: &[Effect]) -> Vec<ShareId> {
    let id = |effect: &Effect| if let Effect::Linked(id) = effect { Some(*id) } else { None };
    effects.iter().filter_map(id).collect()
}

#[test]
fn shares_from_the_future_wait_when_the_clock_is_put_right_and_come_back_when_they_are_due() {
    let mut node = put_right(10, 5);
    let ids = node.main_ids();
    let future = node.main_shares().split_off(10);
    let last_due = future[4].time().minus(AHEAD_MAX_S);
    let effects = follow_clock(&mut node);
    assert_eq!(effects, [Effect::Early { shares: 5, tip: Some(ids[9]), last_due }, Effect::NewTip(ids[9])]);
    assert_eq!((node.main_ids(), node.chain.waiting()), (ids[..10].to_vec(), (5, 0)));
    assert_eq!(node.give(&future[0]), Verdict::Known);
    assert_eq!(follow_clock(&mut node), []);
    // The pool goes on from the last good share and names none of the others.
    node.extend(3);
    let shares = node.main_shares();
    assert_eq!((shares.len(), shares[10].info.parent), (13, ids[9]));
    assert!(shares.iter().all(|share| share.info.uncles.is_empty()));
    assert!(shares[12].time() < UnixTime(future[0].header.time));
    // Each comes back at its time. Together they have more work.
    node.now = future[0].time().minus(AHEAD_MAX_S + 1);
    assert_eq!(follow_clock(&mut node), []);
    for at in 0..5 {
        node.now = future[at].time().minus(AHEAD_MAX_S);
        assert_eq!(linked(&follow_clock(&mut node)), [ids[10 + at]]);
    }
    assert_eq!((node.main_ids(), node.chain.waiting()), (ids, (0, 0)));
}

#[test]
fn a_step_that_leaves_all_shares_within_the_bound_changes_nothing() {
    let mut node = TestNode::with_chain(5);
    let (tip, now) = (node.tip(), node.now);
    for back_s in [0, 1, AHEAD_MAX_S] {
        node.now = now.minus(back_s);
        assert_eq!(follow_clock(&mut node), []);
    }
    node.now = now.minus(AHEAD_MAX_S + 1);
    follow_clock(&mut node);
    assert_eq!((node.tip() == tip, node.chain.waiting()), (false, (1, 0)), "a second more");
    node.now = now;
    follow_clock(&mut node);
    assert_eq!((node.tip(), node.chain.waiting()), (tip, (0, 0)));
}

#[test]
fn uncles_from_the_future_wait_with_the_shares_that_name_them_and_are_not_named_again() {
    let mut node = TestNode::with_chain(6);
    let (tip, right) = (node.tip(), node.now);
    node.extend(1);
    let present = node.tip();
    // Two stale shares with a time far ahead, one of them named.
    node.now = right.plus(HALF_DAY_S);
    let named = node.on(&tip);
    let unnamed = node.edited(&tip, |share| share.extranonce = [4; 12]);
    node.now = right.plus(30);
    let nephew = {
        // Its own time is right.
        node.now = named.time();
        assert_eq!(node.give(&named), Verdict::Accepted);
        node.now = right.plus(60);
        let share = node.edited(&present, |_| ());
        node.now = named.time();
        assert_eq!(node.give(&unnamed), Verdict::Accepted);
        assert_eq!(node.give(&share), Verdict::Accepted);
        share
    };
    assert_eq!((node.tip(), &nephew.info.uncles[..]), (nephew.id(), &[named.id()][..]));
    node.now = right.plus(60);
    let effects = follow_clock(&mut node);
    assert!(matches!(effects[0], Effect::Early { shares: 3, tip, .. } if tip == Some(present)), "{effects:?}");
    let next = node.next();
    assert_eq!((next.info.parent, &next.info.uncles[..]), (present, &[][..]));
    assert_eq!(node.give(&next), Verdict::Accepted);
    // The uncle of the nephew comes first, though it is not its ancestor.
    node.now = named.time();
    let back = linked(&follow_clock(&mut node));
    assert_eq!(back.len(), 3);
    assert_eq!(back[2], nephew.id());
}

#[test]
fn a_branch_that_is_not_from_the_future_becomes_the_main_chain() {
    let mut node = TestNode::with_chain(6);
    let (fork, right) = (node.tip(), node.now);
    node.extend(1);
    let present = node.tip();
    let now = node.now;
    let mut at = fork;
    node.now = right.plus(HALF_DAY_S);
    for _ in 0..3 {
        let share = node.on(&at);
        assert_eq!(node.give(&share), Verdict::Accepted);
        at = share.id();
    }
    assert_eq!(node.tip(), at);
    node.now = now;
    follow_clock(&mut node);
    assert_eq!((node.tip(), node.chain.tree().len()), (present, 7));
}

#[test]
fn a_chain_that_is_wholly_from_the_future_gives_way_to_a_new_one_and_is_compared_when_it_is_due() {
    for (since, is_better) in [(2, true), (6, false)] {
        let mut node = TestNode::new();
        let right = node.now;
        node.now = right.plus(HALF_DAY_S);
        node.extend(4);
        let future = node.main_ids();
        node.now = right;
        let effects = follow_clock(&mut node);
        assert!(matches!(effects[..], [Effect::Early { shares: 4, tip: None, .. }]), "{effects:?}");
        assert!(node.chain.tree().is_empty());
        node.extend(since);
        let present = node.main_ids();
        assert_eq!(node.chain.tree().main_chain()[0].info().share_height.0, 0);
        node.now = right.plus(HALF_DAY_S + 120);
        assert_eq!(linked(&follow_clock(&mut node)), future);
        assert_eq!(node.main_ids(), if is_better { future } else { present });
    }
}

#[test]
fn a_pruned_chain_that_is_wholly_from_the_future_comes_back_with_the_siblings_of_its_oldest_share() {
    let mut node = TestNode::with_chain(6);
    let parent = node.tip();
    node.extend(1);
    for number in 10..14 {
        let stale = node.edited(&parent, |share| share.extranonce = [number; 12]);
        assert_eq!(node.give(&stale), Verdict::Accepted);
    }
    let kept = node.chain.tree().params().shares_kept();
    node.extend(kept - 1);
    node.chain.prune();
    let (ids, len, now) = (node.main_ids(), node.chain.tree().len(), node.now);
    assert_eq!((ids.len(), len), (kept as usize, kept as usize + 4));
    // A clock without a battery.
    node.now = UnixTime(0);
    follow_clock(&mut node);
    assert!(node.chain.tree().is_empty());
    node.now = now;
    let effects = follow_clock(&mut node);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Unlinked(_))));
    assert_eq!((node.main_ids(), node.chain.tree().len()), (ids, len));
}

#[test]
fn pruning_keeps_the_bitcoin_blocks_that_waiting_shares_build_on() {
    let mut node = TestNode::with_chain(6);
    let right = node.now;
    let side = anchor_at(100, START.plus(7));
    node.chain.tree_mut().add_anchor(side.clone());
    let best = std::mem::replace(&mut node.anchor, side.clone());
    node.now = right.plus(HALF_DAY_S);
    node.extend(2);
    let tip = node.tip();
    (node.now, node.anchor) = (right, best);
    follow_clock(&mut node);
    assert!(node.chain.prune().is_empty());
    assert!(node.chain.tree().headers().is_named(&side.header.block_hash()));
    node.now = right.plus(HALF_DAY_S + 60);
    follow_clock(&mut node);
    assert_eq!(node.tip(), tip);
    // Those that nothing can build on any more are dropped, from the store too.
    node.now = right;
    follow_clock(&mut node);
    let kept = node.chain.tree().params().shares_kept();
    node.extend(kept + 20);
    assert_eq!((node.chain.prune().contains(&tip), node.chain.waiting()), (true, (0, 0)));
}

#[test]
fn the_bitcoin_time_of_an_anchor_that_runs_ahead_makes_no_share_wait() {
    let mut tree = Tree::new(Arc::new(params()));
    // The median time past is half a day ahead, as on testnet4.
    let ahead = anchor_at(100, START.plus(HALF_DAY_S + 3_600));
    tree.headers_mut().follow(best_chain(ahead.clone()));
    let mut node = TestNode::of(tree, START, ahead.clone());
    let share = node.edited(&ShareId::ZERO, |share| share.header.time = ahead.median_time_past.plus(1).0);
    assert_eq!(node.give(&share), Verdict::Accepted);
    assert_eq!(follow_clock(&mut node), []);
    assert_eq!(node.tip(), share.id());
}

#[test]
fn an_orphan_from_the_future_asks_for_nothing_before_it_is_due() {
    let mut other = put_right(3, 2);
    other.now = other.now.plus(2 * HALF_DAY_S);
    let shares = other.main_shares();
    let mut node = TestNode::following(&other, &shares[..3]);
    let effects = node.effects(&shares[4]);
    assert!(effects.iter().all(|effect| matches!(effect, Effect::Verdict { verdict: Verdict::Deferred, .. })));
    let is_request = |effect: &Effect| matches!(effect, Effect::Request { .. });
    for _ in 0..700 {
        node.now = node.now.plus(1);
        assert!(!node.chain.tick(node.now).iter().any(is_request));
    }
    assert_eq!(node.chain.waiting(), (1, 0), "nor is it dropped");
    node.now = shares[4].time();
    let request = Effect::Request { need: Need::Share(shares[3].id()), share: shares[4].id(), source: PEER };
    assert!(node.chain.tick(node.now).contains(&request));
}

/// What becomes of a chain that is fetched beside that of a node whose clock is right.
fn fetch(node: &mut TestNode, shares: &[Arc<Share>]) -> CandidateOutcome {
    let (id, source) = (CandidateId(1), Source::Fetch(PeerHandle(9)));
    node.chain.open_candidate(id, false, node.now);
    for share in shares {
        node.chain.receive_candidate(id, Arc::clone(share), source, node.now);
    }
    let mut effects = node.chain.finish_candidate(id, node.now);
    effects.extend(node.chain.tick(node.now));
    let outcome = |effect: &Effect| match effect {
        Effect::CandidateJudged { outcome, .. } => Some(outcome.clone()),
        _ => None,
    };
    effects.iter().find_map(outcome).expect("it is judged at once")
}

/// A node without shares that knows the same Bitcoin blocks.
fn newcomer(params: ChainParams) -> TestNode {
    let mut node = TestNode::with(params);
    node.chain.tree_mut().headers_mut().follow(best_chain(anchor(100)));
    node.now = START.plus(300);
    node
}

#[test]
fn a_fetched_chain_is_judged_without_what_is_from_the_future() {
    let long = ChainParams { payout_window: 20, ..params() };
    let mut node = newcomer(long.clone());
    assert_eq!(fetch(&mut node, &put_right(4, 3).main_shares()), CandidateOutcome::Adopted);
    assert_eq!(node.main_ids().len(), 4);
    let mut node = newcomer(long);
    assert_eq!(fetch(&mut node, &put_right(0, 3).main_shares()), CandidateOutcome::NotDue);
    assert!(node.chain.tree().is_empty());
}
