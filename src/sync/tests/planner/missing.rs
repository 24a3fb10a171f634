//! Single missing shares.

use super::fixtures::{
    give_list, ids, introduce, misbehaviours, only_request, planner, requests, shares, status, FakeChain, START,
};
use crate::peer::PeerHandle;
use crate::share::ShareId;
use crate::sharechain::Source;
use crate::sync::{Route, SyncAction};
use crate::wire::{List, Misbehaviour, Request, Response};

#[test]
fn a_missing_share_is_requested_from_the_sender_first_then_from_two_others() {
    let (view, mut sync) = (FakeChain::new(ids(&shares(0, 5))), planner());
    for peer in 1..=5 {
        introduce(&mut sync, peer, status(view.ids[4], 5), &view);
    }
    let wanted = ShareId([7; 32]);
    let mut requested = Vec::new();
    let mut actions = sync.share_missing(wanted, Source::Fetch(PeerHandle(4)), START, &view);
    assert!(
        requests(&sync.share_missing(wanted, Source::Fetch(PeerHandle(3)), START, &view)).is_empty(),
        "it is requested already"
    );
    while let Some((peer, id, request)) = requests(&actions).pop() {
        assert_eq!(request, Request::Shares { ids: List::first_of([wanted]) });
        requested.push(peer);
        actions = sync.response(PeerHandle(peer), id, Response::Shares(List::default()), START, &view);
    }
    assert_eq!(requested, [4, 1, 2]);
    assert!(requests(&sync.share_missing(wanted, Source::Fetch(PeerHandle(4)), START.plus(29), &view)).is_empty());
    sync.tick(START.plus(30), &view);
    assert_eq!(
        requests(&sync.share_missing(wanted, Source::Fetch(PeerHandle(4)), START.plus(30), &view)).len(),
        1,
        "again after a pause"
    );
    assert!(sync.share_missing(view.ids[0], Source::Local, START, &view).is_empty(), "it is not missing");
}

/// The list may never be fetched to its end.
#[test]
fn a_missing_share_on_a_list_is_requested_alone_after_five_minutes() {
    let (view, mut sync) = (FakeChain::new(ids(&shares(0, 5))), planner());
    introduce(&mut sync, 1, status(view.ids[4], 5), &view);
    let list = ids(&shares(100, 2_000));
    give_list(&mut sync, 2, &list, &view);
    let wanted = *list.last().unwrap();
    let mut is_requested = |after_s| {
        let sent = sync.share_missing(wanted, Source::Fetch(PeerHandle(1)), START.plus(after_s), &view);
        requests(&sent).iter().any(|(.., request)| *request == Request::Shares { ids: List::first_of([wanted]) })
    };
    assert_eq!([0, 299, 300].map(&mut is_requested), [false, false, true]);
}

#[test]
fn a_flood_of_missing_parents_causes_few_requests() {
    let (view, mut sync) = (FakeChain::new(ids(&shares(0, 5))), planner());
    introduce(&mut sync, 1, status(view.ids[4], 5), &view);
    let mut requested = Vec::new();
    for n in 0..10_000u32 {
        let mut id = [1; 32];
        id[..4].copy_from_slice(&n.to_le_bytes());
        requested.extend(requests(&sync.share_missing(ShareId(id), Source::Fetch(PeerHandle(1)), START, &view)));
    }
    let missing = requested.iter().filter(|(.., request)| matches!(request, Request::Shares { .. })).count();
    assert_eq!(missing, 4);
    assert_eq!(requested.len() - missing, 1, "a piece of its chain is missing, so its status is requested");
}

#[test]
fn a_share_that_was_given_and_waits_is_not_requested_each_second() {
    let (view, mut sync) = (FakeChain::new(ids(&shares(0, 5))), planner());
    for peer in 1..=2 {
        introduce(&mut sync, peer, status(view.ids[4], 5), &view);
    }
    let wanted = shares(50, 1).remove(0);
    let (id, sender) = (wanted.id(), Source::Fetch(PeerHandle(1)));
    let (request, _) = only_request(&sync.share_missing(id, sender, START, &view));
    sync.response(PeerHandle(1), request, Response::Shares(List::first_of([wanted])), START, &view);
    // It is not due, or waits for its own parent, and what waits for it goes on requesting it.
    for after_s in 1..30 {
        sync.tick(START.plus(after_s), &view);
        let asked = requests(&sync.share_missing(id, sender, START.plus(after_s), &view));
        assert!(asked.iter().all(|(.., request)| *request == Request::Status), "{after_s} s: {asked:?}");
    }
    sync.share_rejected(&id, sender, START.plus(29));
    let asked = requests(&sync.advance(START.plus(29), &view));
    let asked: Vec<u64> = asked.into_iter().map(|(peer, ..)| peer).collect();
    assert_eq!(asked, [2], "a forged copy was rejected, and the other peer may have the true one");
}

#[test]
fn another_share_than_the_missing_one_is_penalised() {
    let (view, mut sync) = (FakeChain::new(ids(&shares(0, 5))), planner());
    introduce(&mut sync, 1, status(view.ids[4], 5), &view);
    let wanted = shares(50, 2);
    let (id, _) = only_request(&sync.share_missing(wanted[0].id(), Source::Fetch(PeerHandle(1)), START, &view));
    let actions = sync.response(PeerHandle(1), id, Response::Shares(List::first_of([wanted[1].clone()])), START, &view);
    assert_eq!(misbehaviours(&actions), [(1, Misbehaviour::Unrequested)]);
    let (id, _) = only_request(&sync.share_missing(wanted[1].id(), Source::Local, START.plus(10), &view));
    let actions =
        sync.response(PeerHandle(1), id, Response::Shares(List::first_of([wanted[1].clone()])), START.plus(10), &view);
    let delivered = SyncAction::Deliver { route: Route::Tree, peer: PeerHandle(1), shares: vec![wanted[1].clone()] };
    assert_eq!(actions, [delivered]);
}
