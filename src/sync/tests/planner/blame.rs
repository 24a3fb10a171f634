//! Blame: no peer is penalised for another peer's lies.

use super::fixtures::{ids, shares, FakeChain};
use super::scenario::{Chain, Scenario};
use crate::peer::PeerHandle;
use crate::share::ShareId;
use crate::sharechain::{CandidateOutcome, Rule, Source};
use crate::units::ShareHeight;
use crate::wire::{List, Misbehaviour, Request, Response};

const RULES: [Rule; 7] =
    [Rule::Form, Rule::ProofOfWork, Rule::Lineage, Rule::Time, Rule::Anchor, Rule::Uncles, Rule::Payouts];

/// Two peers serve one chain with a base. The first gave the list and may leave. When the chain is complete, a share from
/// `culprit` breaks a rule.
fn judged(chain: &Chain, leaves: bool, culprit: u64, rule: Rule) -> Scenario {
    let mut scenario = Scenario::new(FakeChain::default());
    scenario.connect(1);
    scenario.connect(2);
    let respond = |peer: u64, request: &Request| {
        Some((if peer == 2 && *request == Request::Status { 2 } else { 0 }, chain.response(request)))
    };
    scenario.run(3, respond);
    if leaves {
        scenario.disconnect(1);
    }
    scenario.outcome = Some(CandidateOutcome::Invalid {
        rule,
        why: "",
        source: Source::Fetch(PeerHandle(culprit)),
        height: ShareHeight(1_000),
        on_base: true,
    });
    scenario.run_until(60, |scenario| !scenario.finished.is_empty(), respond);
    scenario
}

#[test]
fn a_peer_that_took_over_a_base_is_not_blamed_but_asked_for_all_of_it() {
    let chain = Chain::new(5_000, 3_000);
    for rule in RULES {
        let mut scenario = judged(&chain, true, 2, rule);
        if matches!(rule, Rule::Form | Rule::ProofOfWork) {
            assert_eq!(
                scenario.misbehaviours,
                [(2, Misbehaviour::BrokenRule(rule))],
                "such a share is invalid on its own"
            );
            continue;
        }
        assert_eq!(scenario.misbehaviours, [], "{rule:?}");
        // From that peer alone, although another one with the same chain connects.
        scenario.delivered.clear();
        scenario.connect(3);
        scenario.run_until(
            60,
            |scenario| scenario.finished.len() == 2,
            |_, request| Some((0, chain.response(request))),
        );
        assert!(scenario.delivered.iter().all(|(peer, _)| *peer == 2));
        assert!(scenario.ids() == chain.list);
        // It gave all of it now, so it is responsible for it. Rules 5 and 6 can be broken by bad luck.
        let expected = if rule.proves_fault() { Misbehaviour::FalseChain } else { Misbehaviour::BrokenRule(rule) };
        assert_eq!(scenario.misbehaviours, [(2, expected)]);
    }
}

#[test]
fn the_author_of_list_and_base_is_blamed_for_its_own_shares_only() {
    let chain = Chain::new(5_000, 3_000);
    for rule in RULES {
        let own = judged(&chain, false, 1, rule);
        let on_base = rule.proves_fault() && !matches!(rule, Rule::Form | Rule::ProofOfWork);
        let expected = if on_base { Misbehaviour::FalseChain } else { Misbehaviour::BrokenRule(rule) };
        assert_eq!(own.misbehaviours, [(1, expected)], "{rule:?}");
        let helpers = judged(&chain, false, 2, rule);
        let by_itself = matches!(rule, Rule::Form | Rule::ProofOfWork);
        let expected = if by_itself { vec![(2, Misbehaviour::BrokenRule(rule))] } else { vec![] };
        assert_eq!(helpers.misbehaviours, expected, "{rule:?}");
    }
}

#[test]
fn a_peer_that_took_over_a_list_is_not_blamed_for_its_stated_start() {
    for leaves in [true, false] {
        let chain = Chain::new(5_000, 1_000);
        let mut scenario = Scenario::new(FakeChain::default());
        scenario.connect(1);
        scenario.connect(2);
        let respond = |peer: u64, request: &Request| {
            let delay = if peer == 2 && *request == Request::Status { 2 } else { 0 };
            match (peer, chain.response(request)) {
                (1, Response::Inventory { after, ids, more, .. }) => {
                    Some((0, Response::Inventory { after, start_height: ShareHeight(9), ids, more }))
                }
                (1, Response::Shares(_)) if leaves => None,
                (_, response) => Some((delay, response)),
            }
        };
        scenario.run(3, respond);
        if leaves {
            scenario.disconnect(1);
        }
        scenario.run_until(60, |scenario| !scenario.finished.is_empty(), respond);
        let expected = if leaves { vec![] } else { vec![(1, Misbehaviour::Unrequested)] };
        assert_eq!((scenario.misbehaviours.clone(), scenario.dropped), (expected, 1));
        assert_eq!(scenario.lists_requested_from(2), 1, "it is asked for its own list");
        assert!(scenario.ids().ends_with(&chain.list));
    }
}

#[test]
fn helpers_are_not_blamed_for_lacking_shares_they_never_claimed() {
    let chain = Chain::new(0, 2_000);
    let mut list = chain.list.clone();
    list.splice(300..300, (1..=250u8).map(|n| ShareId([n; 32])));
    for unknown in [true, false] {
        let mut scenario = Scenario::new(FakeChain::default());
        scenario.connect(1);
        scenario.connect(2);
        scenario.run(200, |peer, request| match (peer, request) {
            (1, Request::Inventory { .. }) => Some((
                0,
                Response::Inventory {
                    after: ShareId::ZERO,
                    start_height: ShareHeight(0),
                    ids: List::first_of(list.iter().copied()),
                    more: false,
                },
            )),
            (1, Request::Shares { .. }) => Some((20, Response::Busy)),
            (2, Request::Status) => Some((2, chain.response(request))),
            _ => Some((
                0,
                match chain.response(request) {
                    Response::Shares(shares) if shares.is_empty() && unknown => Response::Unknown,
                    response => response,
                },
            )),
        });
        assert_eq!(scenario.misbehaviours, []);
        assert!(scenario.delivered.iter().any(|(_, id)| *id == chain.tip()), "by a list of its own");
    }
}

/// Whether it left its chain or never had it cannot be told apart, so a list costs the same however many batches are in flight.
#[test]
fn a_peer_without_any_share_of_its_list_is_scored_four_times() {
    for len in [10, 256, 257, 3_000] {
        let other = Chain::new(100, len);
        let mut scenario = Scenario::new(FakeChain::new(ids(&shares(0, 5))));
        scenario.connect(1);
        scenario.run(50, |_, request| match request {
            Request::Shares { .. } => Some((0, Response::Shares(List::default()))),
            request => Some((0, other.response(request))),
        });
        assert_eq!((&scenario.misbehaviours[..], scenario.dropped), (&[(1, Misbehaviour::Useless); 4][..], 1), "{len}");
    }
}
