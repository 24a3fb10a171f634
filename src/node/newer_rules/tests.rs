use super::*;
use crate::params::{Activation, RULES_VERSION_FIRST, RULES_VERSION_TEST};
use crate::share::Share;
use crate::sharechain::tests_support::{anchor, best_chain, params, TestNode};
use crate::sharechain::Verdict;

/// A node on a chain whose test version may begin with its second share.
fn node(known: u8) -> TestNode {
    TestNode::with(ChainParams {
        activations: vec![Activation { version: RULES_VERSION_TEST, height: BlockHeight(101) }],
        rules_version_known: known,
        ..params()
    })
}

/// A node whose software is new, with a first share of the first version and `newer` of the test version, and one whose
/// software is old, with the first share.
fn new_and_old(newer: u32) -> (TestNode, TestNode) {
    let (mut new, mut old) = (node(RULES_VERSION_TEST), node(RULES_VERSION_FIRST));
    new.extend(1 + newer);
    let first: Share = (*new.main_shares()[0]).clone();
    assert_eq!(old.give_at(&first), Verdict::Accepted);
    old.now = new.now;
    (new, old)
}

fn envelopes(of: &mut TestNode, above: u8, after: &ShareId) -> Vec<Arc<Envelope>> {
    match NewerRules::default().respond(of.chain.tree_mut(), above, after) {
        Response::Envelopes(envelopes) => envelopes.into_vec(),
        other => panic!("{other:?}"),
    }
}

fn newest(of: &mut TestNode) -> Vec<Arc<Envelope>> {
    envelopes(of, RULES_VERSION_FIRST, &ShareId::ZERO)
}

#[test]
fn a_node_is_outdated_when_newer_shares_have_more_work_than_it_can_verify() {
    let (mut new, mut old) = new_and_old(2);
    let mut rules = NewerRules::default();
    let newest = newest(&mut new);
    assert_eq!(newest.len(), 2);
    rules.receive(&newest[..1], old.chain.tree()).unwrap();
    assert!(!rules.judge(old.chain.tree_mut()), "one share against one");
    // A share counts once.
    rules.receive(&newest[..1], old.chain.tree()).unwrap();
    assert!(!rules.judge(old.chain.tree_mut()));
    rules.receive(&newest[1..], old.chain.tree()).unwrap();
    assert!(rules.judge(old.chain.tree_mut()));
    assert_eq!(rules.needed(), Some(RULES_VERSION_TEST));
    assert!(!rules.judge(old.chain.tree_mut()), "a change is reported once");
}

#[test]
fn software_that_knows_the_version_is_not_outdated() {
    let (mut new, _) = new_and_old(4);
    let newest = newest(&mut new);
    let mut rules = NewerRules::default();
    rules.receive(&newest, new.chain.tree()).unwrap();
    assert!(!rules.judge(new.chain.tree_mut()));
    assert_eq!(rules.table().len, 0);
}

#[test]
fn less_than_half_of_the_work_in_the_window_stops_nobody() {
    // The old node's window: one share signals the new version, two do not.
    let (mut new, mut old) = new_and_old(4);
    old.extend(2);
    let mut rules = NewerRules::default();
    rules.receive(&newest(&mut new), old.chain.tree()).unwrap();
    assert!(!rules.judge(old.chain.tree_mut()), "four shares against three");
    // The same against a chain whose finders know it.
    let (_, mut old) = new_and_old(0);
    old.signal = RULES_VERSION_TEST;
    old.extend(2);
    rules.receive(&newest(&mut new), old.chain.tree()).unwrap();
    assert!(rules.judge(old.chain.tree_mut()));
}

#[test]
fn a_node_without_a_chain_is_outdated_by_any_newer_share() {
    let (mut new, _) = new_and_old(1);
    let mut old = node(RULES_VERSION_FIRST);
    let mut rules = NewerRules::default();
    assert!(!rules.judge(old.chain.tree_mut()));
    rules.receive(&newest(&mut new), old.chain.tree()).unwrap();
    assert!(rules.judge(old.chain.tree_mut()));
}

#[test]
fn a_node_stays_outdated_until_it_verifies_more_work() {
    let (mut new, mut old) = new_and_old(4);
    let mut rules = NewerRules::default();
    rules.receive(&newest(&mut new), old.chain.tree()).unwrap();
    assert!(rules.judge(old.chain.tree_mut()));
    old.signal = RULES_VERSION_TEST;
    old.extend(3);
    assert!(!rules.judge(old.chain.tree_mut()), "four shares against four");
    old.extend(1);
    assert!(rules.judge(old.chain.tree_mut()));
    assert_eq!(rules.needed(), None);
}

#[test]
fn only_shares_on_the_newest_six_blocks_count() {
    let (mut new, mut old) = new_and_old(4);
    let newest = newest(&mut new);
    let follow = |old: &mut TestNode, height| {
        let now = old.now;
        old.chain.tree_mut().add_anchor(anchor(100));
        old.chain.follow_best_chain(best_chain(anchor(height)), now);
    };
    let mut rules = NewerRules::default();
    follow(&mut old, 105);
    rules.receive(&newest, old.chain.tree()).unwrap();
    assert!(rules.judge(old.chain.tree_mut()));
    follow(&mut old, 106);
    assert!(!rules.judge(old.chain.tree_mut()), "nothing against nothing: it stays outdated");
    assert_eq!((rules.needed(), rules.table().len), (Some(RULES_VERSION_TEST), 0));
    let mut late = NewerRules::default();
    late.receive(&newest, old.chain.tree()).unwrap();
    assert_eq!(late.table().len, 0);
    assert!(!late.judge(old.chain.tree_mut()));
}

#[test]
fn an_invalid_envelope_is_an_error_and_does_not_count() {
    let (mut new, old) = new_and_old(1);
    let other_chain = TestNode::with(ChainParams { chain_name: "other".into(), ..params() });
    let newest = newest(&mut new);
    let mut rules = NewerRules::default();
    assert_eq!(rules.receive(&newest, other_chain.chain.tree()), Err(EnvelopeError::Commitment));
    assert_eq!(rules.table().len, 0);
    rules.receive(&newest, old.chain.tree()).unwrap();
    assert_eq!(rules.table().len, 1);
}

#[test]
fn the_newest_shares_above_a_version_are_served_once_each() {
    let (mut new, _) = new_and_old(6);
    let ids = new.main_ids();
    let served = |envelopes: Vec<Arc<Envelope>>| -> Vec<ShareId> {
        envelopes.iter().map(|envelope| ShareId::of(&envelope.header)).collect()
    };
    let newest_first: Vec<ShareId> = ids.iter().rev().copied().collect();
    assert_eq!(served(newest(&mut new)), newest_first[..4]);
    assert_eq!(served(envelopes(&mut new, RULES_VERSION_FIRST, &newest_first[2])), newest_first[..2]);
    assert_eq!(served(envelopes(&mut new, RULES_VERSION_TEST, &ShareId::ZERO)), []);
    let (mut new, _) = new_and_old(1);
    assert_eq!(newest(&mut new).len(), 1, "the first share has the first version");
    // Envelopes of the first version are the same.
    assert_eq!(envelopes(&mut new, 0, &ShareId::ZERO).len(), 2);
    let mut rules = NewerRules::default();
    for _ in 0..9 {
        rules.respond(new.chain.tree_mut(), 0, &ShareId::ZERO);
        assert_eq!(rules.served.len(), 2);
    }
    new.extend(9);
    rules.respond(new.chain.tree_mut(), 0, &ShareId::ZERO);
    assert_eq!(rules.served.len(), ENVELOPES_MAX);
}

#[test]
fn shares_that_are_counted_are_bounded() {
    let old = node(RULES_VERSION_FIRST);
    let mut rules = NewerRules::default();
    let hash = anchor(100).header.block_hash();
    for number in 0..PROVEN_MAX as u32 + 10 {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_le_bytes());
        let proven = ProvenWork { id: ShareId(id), rules_version: 9, anchor: hash, work: Work(u128::from(number) + 1) };
        rules.proven.insert(proven.id, proven);
    }
    rules.receive(&[], old.chain.tree()).unwrap();
    assert_eq!(rules.table().len, PROVEN_MAX);
    assert!(rules.proven.values().all(|proven| proven.work.0 > 10), "those with the most work are kept");
}

#[test]
fn peers_are_asked_in_turn() {
    let params = params();
    let peers = [PeerHandle(3), PeerHandle(5), PeerHandle(8)];
    let mut rules = NewerRules::default();
    let mut now = SteadyTime::default();
    let mut asked = Vec::new();
    for _ in 0..60 {
        if let Some((peer, request)) = rules.due(&peers, &params, now) {
            assert_eq!(request, Request::Envelopes { above: RULES_VERSION_FIRST, after: ShareId::ZERO });
            asked.push(peer.0);
        }
        now = now.plus(1);
    }
    assert_eq!(asked, [3, 5, 8, 3]);
    assert_eq!(rules.due(&[], &params, now.plus(60)), None);
}

/// One share of newer rules does not keep a pool from beginning.
#[test]
fn a_node_without_a_chain_is_outdated_only_as_long_as_there_is_newer_work() {
    let (mut new, _) = new_and_old(1);
    let mut old = node(RULES_VERSION_FIRST);
    let mut rules = NewerRules::default();
    rules.receive(&newest(&mut new), old.chain.tree()).unwrap();
    assert!(rules.judge(old.chain.tree_mut()));
    let now = old.now;
    old.chain.tree_mut().add_anchor(anchor(100));
    old.chain.follow_best_chain(best_chain(anchor(106)), now);
    assert!(rules.judge(old.chain.tree_mut()));
    assert_eq!(rules.needed(), None);
}
