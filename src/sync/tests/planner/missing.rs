//! Missing shares that others need.

use super::kit::{asks, ids, meet, offences, only_ask, planner, shares, status, Held, START};
use crate::peer::PeerHandle;
use crate::share::ShareId;
use crate::sharechain::Source;
use crate::sync::{Route, SyncAction};
use crate::wire::{List, Offence, Request, Response};

#[test]
fn single_shares_are_asked_of_the_sender_first_then_of_two_others() {
    let (view, mut sync) = (Held(ids(&shares(0, 5))), planner());
    for peer in 1..=5 {
        meet(&mut sync, peer, status(view.0[4], 5), &view);
    }
    let wanted = ShareId([7; 32]);
    let mut asked = Vec::new();
    let mut actions = sync.share_missing(wanted, Source::Fetch(PeerHandle(4)), START, &view);
    assert!(
        asks(&sync.share_missing(wanted, Source::Fetch(PeerHandle(3)), START, &view)).is_empty(),
        "it is looked for already"
    );
    while let Some((peer, id, request)) = asks(&actions).pop() {
        assert_eq!(request, Request::Shares { ids: List::first_of([wanted]) });
        asked.push(peer);
        actions = sync.response(PeerHandle(peer), id, Response::Shares(List::default()), START, &view);
    }
    assert_eq!(asked, [4, 1, 2]);
    assert!(asks(&sync.share_missing(wanted, Source::Fetch(PeerHandle(4)), START.plus(29), &view)).is_empty());
    sync.tick(START.plus(30), &view);
    assert_eq!(
        asks(&sync.share_missing(wanted, Source::Fetch(PeerHandle(4)), START.plus(30), &view)).len(),
        1,
        "after a pause again"
    );
    assert!(sync.share_missing(view.0[0], Source::Local, START, &view).is_empty(), "what is held is not needed");
}

#[test]
fn floods_of_missing_parents_ask_little() {
    let (view, mut sync) = (Held(ids(&shares(0, 5))), planner());
    meet(&mut sync, 1, status(view.0[4], 5), &view);
    let mut asked = Vec::new();
    for n in 0..10_000u32 {
        let mut id = [1; 32];
        id[..4].copy_from_slice(&n.to_le_bytes());
        asked.extend(asks(&sync.share_missing(ShareId(id), Source::Fetch(PeerHandle(1)), START, &view)));
    }
    let missing = asked.iter().filter(|(.., request)| matches!(request, Request::Shares { .. })).count();
    assert_eq!(missing, 4);
    assert_eq!(asked.len() - missing, 1, "a piece of its chain is missing: where is it?");
}

#[test]
fn a_single_answer_is_what_was_asked_for() {
    let (view, mut sync) = (Held(ids(&shares(0, 5))), planner());
    meet(&mut sync, 1, status(view.0[4], 5), &view);
    let wanted = shares(50, 2);
    let (id, _) = only_ask(&sync.share_missing(wanted[0].id(), Source::Fetch(PeerHandle(1)), START, &view));
    let actions = sync.response(PeerHandle(1), id, Response::Shares(List::first_of([wanted[1].clone()])), START, &view);
    assert_eq!(offences(&actions), [(1, Offence::Unasked)]);
    let (id, _) = only_ask(&sync.share_missing(wanted[1].id(), Source::Local, START.plus(10), &view));
    let actions =
        sync.response(PeerHandle(1), id, Response::Shares(List::first_of([wanted[1].clone()])), START.plus(10), &view);
    let delivered = SyncAction::Deliver { route: Route::Tree, peer: PeerHandle(1), shares: vec![wanted[1].clone()] };
    assert_eq!(actions, [delivered]);
}
