//! Which peers are asked for lists, and how many.

use super::fixtures::{
    give_list, ids, introduce, inventory, only_request, params, planner, requests, shares, status, FakeChain, START,
};
use crate::peer::PeerHandle;
use crate::share::ShareId;
use crate::sharechain::{candidate_shares_max, CandidateOutcome};
use crate::sync::{SyncAction, SyncState};
use crate::wire::{List, Locator, Request, Response};

use super::scenario::{Chain, Scenario};

#[test]
fn two_lists_are_requested_at_once_and_one_per_tip() {
    let (view, mut sync) = (FakeChain::default(), planner());
    let tip = |n: u8| status(ShareId([n; 32]), 9);
    assert_eq!(requests(&introduce(&mut sync, 1, tip(1), &view)).len(), 1);
    assert_eq!(requests(&introduce(&mut sync, 2, tip(1), &view)).len(), 0, "the same tip");
    assert_eq!(requests(&introduce(&mut sync, 3, tip(3), &view)).len(), 1);
    assert_eq!(requests(&introduce(&mut sync, 4, tip(4), &view)).len(), 0, "two are in flight");
}

#[test]
fn the_number_of_plans_is_bounded() {
    let (view, mut sync) = (FakeChain::default(), planner());
    let mut opened = 0;
    for peer in 1..=8u32 {
        let list = ids(&shares(peer * 1_000, 10));
        let (id, _) = only_request(&sync.peer_connected(PeerHandle(peer.into()), START, &view));
        let actions = sync.response(PeerHandle(peer.into()), id, status(*list.last().unwrap(), 9), START, &view);
        let Some((_, id, _)) = requests(&actions).pop() else { continue };
        let actions = sync.response(PeerHandle(peer.into()), id, inventory(ShareId::ZERO, &list), START, &view);
        opened += actions.iter().filter(|action| matches!(action, SyncAction::Open { .. })).count();
    }
    assert_eq!(opened, crate::sharechain::CANDIDATES_MAX);
}

#[test]
fn peers_that_give_lists_and_leave_do_not_occupy_the_plans() {
    let (view, mut sync) = (FakeChain::default(), planner());
    for peer in 1..=4u32 {
        assert!(!requests(&give_list(&mut sync, peer.into(), &ids(&shares(peer * 1_000, 10)), &view)).is_empty());
        sync.peer_disconnected(PeerHandle(peer.into()), START, &view);
    }
    let honest = ids(&shares(0, 10));
    let actions = give_list(&mut sync, 9, &honest, &view);
    assert!(matches!(&requests(&actions)[..], [(9, _, Request::Shares { ids })] if ids[..] == honest));
    assert_eq!(actions.iter().filter(|action| matches!(action, SyncAction::Open { .. })).count(), 1);
}

#[test]
fn a_chain_that_was_not_adopted_is_ignored_in_proportion_to_its_length() {
    for (len, pause_s) in [(10, 10), (400, 26), (8_000, 330)] {
        let (view, mut sync) = (FakeChain::new(ids(&shares(0, 5))), planner());
        let theirs = ids(&shares(100_000, len));
        let tip = *theirs.last().unwrap();
        let (id, _) = only_request(&introduce(&mut sync, 1, status(tip, 1_000_000), &view));
        let actions = sync.response(PeerHandle(1), id, inventory(ShareId::ZERO, &theirs), START, &view);
        let candidate = actions.iter().find_map(|action| match action {
            SyncAction::Open { candidate, joined: false } => Some(*candidate),
            _ => None,
        });
        sync.candidate_judged(candidate.unwrap(), &CandidateOutcome::NotBetter, START);
        sync.advance(START, &view);
        assert_eq!(sync.state(), SyncState::Synced);
        let requested_again = (1..700).find(|second| {
            let sent = requests(&sync.tick(START.plus(*second), &view));
            for (peer, id, request) in &sent {
                if *request == Request::Status {
                    sync.response(PeerHandle(*peer), *id, status(tip, 1_000_000), START.plus(*second), &view);
                }
            }
            sent.iter().any(|(.., request)| matches!(request, Request::Inventory { .. }))
        });
        assert_eq!(requested_again, Some(pause_s), "{len} shares");
    }
}

#[test]
fn two_locators_of_the_longest_chains_fit_in_a_request() {
    let list: Vec<ShareId> = ids(&shares(0, 40_000));
    let locator = crate::sync::serve::locator_of(&list, |id| *id);
    assert_eq!(locator[..10], list.iter().rev().take(10).copied().collect::<Vec<_>>()[..]);
    let depth = |id: &ShareId| list.iter().rev().position(|other| other == id).unwrap();
    assert_eq!(locator[10..14].iter().map(depth).collect::<Vec<_>>(), [11, 15, 23, 39]);
    assert_eq!(locator.last(), list.first());
    assert!(
        Locator::try_from([locator.clone(), locator.clone()].concat()).is_ok(),
        "one of a plan and one of our chain"
    );
    assert_eq!(crate::sync::serve::locator_of(&[], |id: &ShareId| *id), []);
    assert_eq!(crate::sync::serve::locator_of(&list[..1], |id| *id), list[..1]);
}

/// Four strangers claim chains, and are busy when their lists are requested: each says so as late as is not penalised.
#[test]
fn busy_strangers_do_not_take_all_requests_for_lists() {
    let honest = Chain::new(0, 300);
    let mut scenario = Scenario::new(FakeChain::default());
    (1..=5).for_each(|peer| scenario.connect(peer));
    scenario.run(3_600, |peer, request| match (peer, request) {
        (5, request) => Some((0, honest.response(request))),
        (_, Request::Status) => Some((0, status(ShareId([peer as u8; 32]), 1_000_000))),
        _ => Some((37, Response::Busy)),
    });
    assert!(scenario.lists_requested_from(5) > 0, "the honest peer's list was never requested");
}

/// One peer lists as many shares as a list may have. None of them is ever linked.
#[test]
fn a_list_of_full_length_that_is_not_linked_is_fetched_as_seldom_as_another() {
    let own = ids(&shares(0, 5));
    let ids_max = candidate_shares_max(&params()) as u32;
    let [shorter, full] = [ids_max - 1, ids_max].map(|len| {
        let junk = Chain::new(5, len);
        let mut scenario = Scenario::new(FakeChain::new(own.clone()));
        scenario.connect(1);
        scenario.run(900, |_, request| match (request, junk.response(request)) {
            (_, Response::Inventory { after: ShareId::ZERO, start_height, ids, more }) => {
                Some((0, Response::Inventory { after: own[4], start_height, ids, more }))
            }
            (_, response) => Some((0, response)),
        });
        scenario.delivered.len()
    });
    assert!(full <= shorter + 10, "{full} shares, and {shorter} of a list that is shorter by one");
}

/// The whole chain of the others, and behind it a share on a Bitcoin block that does not exist: it is not judged for ten minutes.
#[test]
fn a_list_that_is_not_judged_does_not_occupy_its_helpers() {
    let (honest, junk) = (Chain::new(0, 30), Chain::new(100_000, 1));
    let mut scenario = Scenario::new(FakeChain::default());
    let respond = |peer: u64, request: &Request| match peer {
        1 => Some((0, honest.response_with_junk(&junk.list, request))),
        _ => Some((1, honest.response(request))),
    };
    let respond = |peer: u64, request: &Request| match request {
        Request::Shares { ids } if peer == 1 && ids.contains(&junk.tip()) => {
            let Response::Shares(given) = honest.response(request) else { panic!("a response with shares") };
            let Response::Shares(last) = junk.response(request) else { panic!("a response with shares") };
            Some((0, Response::Shares(List::first_of(given.iter().chain(&*last).cloned()))))
        }
        _ => respond(peer, request),
    };
    scenario.connect(1);
    scenario.run(5, respond);
    (2..=5).for_each(|peer| scenario.connect(peer));
    let own_lists = |scenario: &Scenario| (2..=5).map(|peer| scenario.lists_requested_from(peer)).sum::<usize>();
    let took_s = scenario.run_until(600, |scenario| own_lists(scenario) > 0, respond);
    assert!((290..=310).contains(&took_s), "{took_s} s");
    scenario.run(30, respond);
    assert_eq!(
        (scenario.finished.len(), scenario.misbehaviours),
        (2, Vec::new()),
        "the honest chain is judged as well"
    );
}
