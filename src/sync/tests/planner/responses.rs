//! Valid and invalid responses.

use crate::peer::PeerHandle;
use std::sync::Arc;

use super::fixtures::{
    give_list, ids, introduce, inventory, misbehaviours, only_request, planner, requests, shares, status, FakeChain,
    START,
};
use crate::params::ChainId;
use crate::share::{Share, ShareId};
use crate::sync::SyncState;
use crate::wire::{List, Misbehaviour, Request, Response};

#[test]
fn a_request_times_out_after_forty_seconds() {
    let (view, mut sync) = (FakeChain::default(), planner());
    let (id, _) = only_request(&sync.peer_connected(PeerHandle(1), START, &view));
    assert!(misbehaviours(&sync.tick(START.plus(39), &view)).is_empty());
    assert_eq!(misbehaviours(&sync.tick(START.plus(40), &view)), [(1, Misbehaviour::Late)]);
    // A response after that is ignored.
    assert!(
        misbehaviours(&sync.response(PeerHandle(1), id, status(ShareId([5; 32]), 9), START.plus(41), &view)).is_empty()
    );
    assert!(
        !requests(&sync.tick(START.plus(60), &view)).is_empty(),
        "requested again a minute after the first request"
    );
}

#[test]
fn no_peer_is_penalised_for_a_request_that_was_not_sent() {
    let (view, mut sync) = (FakeChain::default(), planner());
    let (id, _) = only_request(&sync.peer_connected(PeerHandle(1), START, &view));
    sync.request_not_sent(id);
    assert!(misbehaviours(&sync.tick(START.plus(40), &view)).is_empty());
    assert!(!requests(&sync.tick(START.plus(60), &view)).is_empty(), "requested again all the same");
}

#[test]
fn responses_that_do_not_fit_the_request_are_penalised() {
    let ours = shares(0, 5);
    let (view, theirs) = (FakeChain::new(ids(&ours)), shares(5, 10));
    let after = *view.ids.last().unwrap();
    let judge = |respond: &dyn Fn(&Request) -> Response| {
        let mut sync = planner();
        let (id, request) = only_request(&introduce(&mut sync, 1, status(ShareId([9; 32]), 1_000), &view));
        misbehaviours(&sync.response(PeerHandle(1), id, respond(&request), START, &view))
    };
    assert_eq!(judge(&|_| inventory(after, &ids(&theirs))), []);
    assert_eq!(
        judge(&|_| inventory(ShareId([8; 32]), &ids(&theirs))),
        [(1, Misbehaviour::Unrequested)],
        "not in the locator"
    );
    assert_eq!(
        judge(&|_| inventory(after, &[ShareId::ZERO])),
        [(1, Misbehaviour::Unrequested)],
        "no share has this id"
    );
    assert_eq!(judge(&|_| Response::Shares(List::default())), [(1, Misbehaviour::Unrequested)]);
    assert_eq!(judge(&|_| status(ShareId([9; 32]), 1_000)), [(1, Misbehaviour::Unrequested)]);
    assert_eq!(judge(&|_| Response::Unknown), [(1, Misbehaviour::Useless)]);
    assert_eq!(judge(&|_| Response::Busy), []);
    let shares_judge = |given: &[Arc<Share>]| {
        let mut sync = planner();
        let (id, _) = only_request(&give_list(&mut sync, 1, &ids(&theirs), &view));
        misbehaviours(&sync.response(
            PeerHandle(1),
            id,
            Response::Shares(List::first_of(given.iter().cloned())),
            START,
            &view,
        ))
    };
    assert_eq!(shares_judge(&theirs), []);
    assert_eq!(shares_judge(&theirs[..4]), [], "the rest is requested again");
    assert_eq!(shares_judge(&theirs[4..]), [], "the first may have been pruned since");
    assert_eq!(shares_judge(&[]), [(1, Misbehaviour::Useless)]);
    assert_eq!(shares_judge(&ours[..1]), [(1, Misbehaviour::Unrequested)]);
    assert_eq!(shares_judge(&[theirs[1].clone(), theirs[0].clone()]), [(1, Misbehaviour::Unrequested)], "out of order");
}

#[test]
fn nothing_is_requested_from_a_peer_on_another_chain() {
    let (view, mut sync) = (FakeChain::default(), planner());
    let Response::Status(mut other) = status(ShareId([5; 32]), 9) else { return };
    other.chain_id = ChainId([1; 32]);
    let actions = introduce(&mut sync, 1, Response::Status(other), &view);
    assert_eq!(misbehaviours(&actions), [(1, Misbehaviour::OtherChain)]);
    assert!(requests(&actions).is_empty());
    assert_eq!(sync.state(), SyncState::NoPeers { since: START, was_synced: false }, "it does not count as a peer");
}
