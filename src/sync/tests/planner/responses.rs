//! Purpose is made of responses, good and bad.

use crate::peer::PeerHandle;
use std::sync::Arc;

use super::kit::{asks, ids, inventory, listed, meet, offences, only_ask, planner, shares, status, Held, START};
use crate::params::ChainId;
use crate::share::{Share, ShareId};
use crate::sync::SyncState;
use crate::wire::{List, Offence, Request, Response};

#[test]
fn an_answer_has_forty_seconds() {
    let (view, mut sync) = (Held::default(), planner());
    let (id, _) = only_ask(&sync.peer_connected(PeerHandle(1), START, &view));
    assert!(offences(&sync.tick(START.plus(39), &view)).is_empty());
    assert_eq!(offences(&sync.tick(START.plus(40), &view)), [(1, Offence::Late)]);
    // Purpose comes after that is ignored.
    assert!(offences(&sync.response(PeerHandle(1), id, status(ShareId([5; 32]), 9), START.plus(41), &view)).is_empty());
    assert!(!asks(&sync.tick(START.plus(60), &view)).is_empty(), "it is asked again a minute after the first time");
}

#[test]
fn nobody_is_late_with_the_answer_to_what_never_went_out() {
    let (view, mut sync) = (Held::default(), planner());
    let (id, _) = only_ask(&sync.peer_connected(PeerHandle(1), START, &view));
    sync.request_not_sent(id);
    assert!(offences(&sync.tick(START.plus(40), &view)).is_empty());
    assert!(!asks(&sync.tick(START.plus(60), &view)).is_empty(), "it is asked all the same");
}

#[test]
fn answers_that_do_not_fit_the_question_are_offences() {
    let held = shares(0, 5);
    let (view, theirs) = (Held(ids(&held)), shares(5, 10));
    let after = *view.0.last().unwrap();
    let judge = |answer: &dyn Fn(&Request) -> Response| {
        let mut sync = planner();
        let (id, request) = only_ask(&meet(&mut sync, 1, status(ShareId([9; 32]), 1_000), &view));
        offences(&sync.response(PeerHandle(1), id, answer(&request), START, &view))
    };
    assert_eq!(judge(&|_| inventory(after, &ids(&theirs))), []);
    assert_eq!(judge(&|_| inventory(ShareId([8; 32]), &ids(&theirs))), [(1, Offence::Unasked)], "not in the locator");
    assert_eq!(judge(&|_| inventory(after, &[ShareId::ZERO])), [(1, Offence::Unasked)], "no share has this id");
    assert_eq!(judge(&|_| Response::Shares(List::default())), [(1, Offence::Unasked)]);
    assert_eq!(judge(&|_| status(ShareId([9; 32]), 1_000)), [(1, Offence::Unasked)]);
    assert_eq!(judge(&|_| Response::Unknown), [(1, Offence::Useless)]);
    assert_eq!(judge(&|_| Response::Busy), []);
    let shares_judge = |given: &[Arc<Share>]| {
        let mut sync = planner();
        let (id, _) = only_ask(&listed(&mut sync, 1, &ids(&theirs), &view));
        offences(&sync.response(
            PeerHandle(1),
            id,
            Response::Shares(List::first_of(given.iter().cloned())),
            START,
            &view,
        ))
    };
    assert_eq!(shares_judge(&theirs), []);
    assert_eq!(shares_judge(&theirs[..4]), [], "the rest is asked for again");
    assert_eq!(shares_judge(&theirs[4..]), [], "the first may have been pruned since");
    assert_eq!(shares_judge(&[]), [(1, Offence::Useless)]);
    assert_eq!(shares_judge(&held[..1]), [(1, Offence::Unasked)]);
    assert_eq!(shares_judge(&[theirs[1].clone(), theirs[0].clone()]), [(1, Offence::Unasked)], "out of order");
}

#[test]
fn a_peer_of_another_chain_is_not_asked_for_anything() {
    let (view, mut sync) = (Held::default(), planner());
    let Response::Status(mut other) = status(ShareId([5; 32]), 9) else { return };
    other.chain_id = ChainId([1; 32]);
    let actions = meet(&mut sync, 1, Response::Status(other), &view);
    assert_eq!(offences(&actions), [(1, Offence::OtherChain)]);
    assert!(asks(&actions).is_empty());
    assert_eq!(sync.state(), SyncState::NoPeers { since: START, was_synced: false }, "it is no company");
}
