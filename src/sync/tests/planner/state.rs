//! Whether miners get jobs.

use super::kit::{asks, ids, listed, meet, only_ask, params, planner, shares, status, Held, START};
use crate::peer::PeerHandle;
use crate::share::ShareId;
use crate::sync::{Route, Sync, SyncAction, SyncState};
use crate::wire::{List, Request, Response};

#[test]
fn a_node_without_peers_mines_alone_after_a_minute() {
    let (view, mut sync) = (Held::default(), planner());
    assert!(sync.tick(START.plus(59), &view).is_empty());
    assert!(!sync.state().may_mine() && !sync.may_start_chain());
    let actions = sync.tick(START.plus(60), &view);
    assert_eq!(actions, [SyncAction::State(SyncState::Solo { since: START })]);
    assert!(sync.state().may_mine() && sync.may_start_chain());
    // Whoever comes then may have a better chain: first that is found out.
    let actions = sync.peer_connected(PeerHandle(1), START.plus(70), &view);
    assert!(actions.contains(&SyncAction::State(SyncState::Syncing)));
    let (id, _) = only_ask(&actions);
    sync.response(PeerHandle(1), id, status(ShareId::ZERO, 0), START.plus(71), &view);
    assert_eq!(sync.state(), SyncState::Synced);
    assert!(sync.may_start_chain(), "nobody has a chain");
}

#[test]
fn a_node_that_cannot_find_others_mines_alone_at_once_and_no_longer_than_it_runs() {
    let (view, mut sync) = (Held::default(), Sync::solo(&params(), START));
    assert_eq!(sync.tick(START, &view), [SyncAction::State(SyncState::Solo { since: START })]);
    assert!(sync.state().may_mine() && sync.may_start_chain());
    // One that found it may come back.
    let (id, _) = only_ask(&sync.peer_connected(PeerHandle(1), START.plus(5), &view));
    sync.response(PeerHandle(1), id, status(ShareId([5; 32]), 9), START.plus(6), &view);
    sync.peer_disconnected(PeerHandle(1), START.plus(10), &view);
    sync.tick(START.plus(69), &view);
    assert_eq!(sync.state(), SyncState::NoPeers { since: START.plus(10), was_synced: false });
    sync.tick(START.plus(70), &view);
    assert_eq!(sync.state(), SyncState::Solo { since: START.plus(10) });
}

#[test]
fn a_level_node_goes_on_mining_when_its_peers_leave() {
    let (view, mut sync) = (Held(ids(&shares(0, 5))), planner());
    let tip = *view.0.last().unwrap();
    assert!(asks(&meet(&mut sync, 1, status(tip, 5), &view)).is_empty());
    assert_eq!(sync.state(), SyncState::Synced);
    sync.peer_disconnected(PeerHandle(1), START.plus(5), &view);
    assert_eq!(sync.state(), SyncState::NoPeers { since: START.plus(5), was_synced: true });
    assert!(sync.state().may_mine());
    // Back within the minute, nothing is lost.
    let (id, _) = only_ask(&sync.peer_connected(PeerHandle(1), START.plus(50), &view));
    assert!(sync.state().may_mine());
    sync.response(PeerHandle(1), id, status(tip, 5), START.plus(51), &view);
    assert_eq!(sync.state(), SyncState::Synced);
}

#[test]
fn no_chain_is_started_beside_one_that_a_peer_reports() {
    let (view, mut sync) = (Held::default(), planner());
    meet(&mut sync, 1, status(ShareId([5; 32]), 9), &view);
    assert!(!sync.may_start_chain());
    sync.peer_disconnected(PeerHandle(1), START.plus(1), &view);
    sync.tick(START.plus(61), &view);
    assert!(sync.may_start_chain(), "it is gone");
}

#[test]
fn made_up_lists_take_no_jobs_from_a_level_node_but_valid_shares_do() {
    let ours = shares(0, 5);
    let (view, mut sync) = (Held(ids(&ours)), planner());
    meet(&mut sync, 1, status(*view.0.last().unwrap(), 5), &view);
    let (theirs, mut view) = (shares(5, 600), view);
    let actions = listed(&mut sync, 2, &ids(&theirs), &view);
    assert_eq!(sync.state(), SyncState::Synced);
    let (_, id, request) = asks(&actions).remove(0);
    let Request::Shares { ids: asked } = request else { panic!("{request:?}") };
    let given = theirs.iter().filter(|share| asked.contains(&share.id())).cloned();
    let actions = sync.response(PeerHandle(2), id, Response::Shares(List::first_of(given)), START, &view);
    assert!(actions
        .iter()
        .any(|action| matches!(action, SyncAction::Deliver { route: Route::Tree, peer: PeerHandle(2), .. })));
    assert_eq!(sync.state(), SyncState::Synced);
    for id in asked.iter() {
        view.0.push(*id);
        sync.share_linked(id);
    }
    sync.tick(START.plus(1), &view);
    assert_eq!(sync.state(), SyncState::Syncing);
}

#[test]
fn a_chain_that_comes_drop_by_drop_keeps_nobody_from_mining_for_ever() {
    let (view, mut sync) = (Held(ids(&shares(0, 5))), planner());
    let theirs = shares(5, 10_000);
    let mut asked = asks(&listed(&mut sync, 1, &ids(&theirs)[..8_000], &view));
    for second in 1..1_000 {
        let now = START.plus(second);
        assert_eq!(sync.state() == SyncState::Synced, second > 900, "after {second} s");
        asked.extend(asks(&sync.tick(now, &view)));
        // One share of each batch, as late as the time for responses allows.
        if second % 25 == 0 {
            for (peer, id, request) in std::mem::take(&mut asked) {
                let response = match request {
                    Request::Shares { ids } => {
                        Response::Shares(List::first_of(theirs.iter().filter(|share| share.id() == ids[0]).cloned()))
                    }
                    _ => status(theirs[7_999].id(), 1_000_000),
                };
                asked.extend(asks(&sync.response(PeerHandle(peer), id, response, now, &view)));
            }
        }
    }
}
