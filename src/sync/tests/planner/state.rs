//! The sync state.

use super::fixtures::{
    give_list, ids, introduce, only_request, params, planner, requests, shares, status, FakeChain, Planner, START,
};
use crate::peer::PeerHandle;
use crate::share::ShareId;
use crate::sync::{Route, Sync, SyncAction, SyncState};
use crate::wire::{List, Request, Response};

#[test]
fn a_node_without_peers_mines_solo_after_a_minute() {
    let (view, mut sync) = (FakeChain::default(), planner());
    assert!(sync.tick(START.plus(59), &view).is_empty());
    assert!(!sync.state().may_mine() && !sync.may_start_chain());
    let actions = sync.tick(START.plus(60), &view);
    assert_eq!(actions, [SyncAction::State(SyncState::Solo { since: START })]);
    assert!(sync.state().may_mine() && sync.may_start_chain());
    // A peer that connects then may have a better chain, so mining waits for its report.
    let actions = sync.peer_connected(PeerHandle(1), START.plus(70), &view);
    assert!(actions.contains(&SyncAction::State(SyncState::Syncing)));
    let (id, _) = only_request(&actions);
    sync.response(PeerHandle(1), id, status(ShareId::ZERO, 0), START.plus(71), &view);
    assert_eq!(sync.state(), SyncState::Synced);
    assert!(sync.may_start_chain(), "no peer has a chain");
}

#[test]
fn a_node_without_ways_to_find_peers_mines_solo_at_once() {
    let (view, mut sync) = (FakeChain::default(), Planner(Sync::solo(&params(), START)));
    assert_eq!(sync.tick(START, &view), [SyncAction::State(SyncState::Solo { since: START })]);
    assert!(sync.state().may_mine() && sync.may_start_chain());
    // A peer that found it may come back, so it waits after that peer has left.
    let (id, _) = only_request(&sync.peer_connected(PeerHandle(1), START.plus(5), &view));
    sync.response(PeerHandle(1), id, status(ShareId([5; 32]), 9), START.plus(6), &view);
    sync.peer_disconnected(PeerHandle(1), START.plus(10), &view);
    sync.tick(START.plus(69), &view);
    assert_eq!(sync.state(), SyncState::NoPeers { since: START.plus(10), was_synced: false });
    sync.tick(START.plus(70), &view);
    assert_eq!(sync.state(), SyncState::Solo { since: START.plus(10) });
}

#[test]
fn a_synced_node_continues_mining_when_its_peers_leave() {
    let (view, mut sync) = (FakeChain::new(ids(&shares(0, 5))), planner());
    let tip = *view.ids.last().unwrap();
    assert!(requests(&introduce(&mut sync, 1, status(tip, 5), &view)).is_empty());
    assert_eq!(sync.state(), SyncState::Synced);
    sync.peer_disconnected(PeerHandle(1), START.plus(5), &view);
    assert_eq!(sync.state(), SyncState::NoPeers { since: START.plus(5), was_synced: true });
    assert!(sync.state().may_mine());
    // The peer comes back within the minute: mining was not interrupted.
    let (id, _) = only_request(&sync.peer_connected(PeerHandle(1), START.plus(50), &view));
    assert!(sync.state().may_mine());
    sync.response(PeerHandle(1), id, status(tip, 5), START.plus(51), &view);
    assert_eq!(sync.state(), SyncState::Synced);
}

#[test]
fn no_chain_is_started_while_a_peer_reports_one() {
    let (view, mut sync) = (FakeChain::default(), planner());
    introduce(&mut sync, 1, status(ShareId([5; 32]), 9), &view);
    assert!(!sync.may_start_chain());
    sync.peer_disconnected(PeerHandle(1), START.plus(1), &view);
    sync.tick(START.plus(61), &view);
    assert!(sync.may_start_chain(), "the peer has left");
}

#[test]
fn neither_lists_nor_valid_shares_of_a_longer_chain_interrupt_mining() {
    let ours = shares(0, 5);
    let (view, mut sync) = (FakeChain::new(ids(&ours)), planner());
    introduce(&mut sync, 1, status(*view.ids.last().unwrap(), 5), &view);
    let (theirs, mut view) = (shares(5, 600), view);
    let actions = give_list(&mut sync, 2, &ids(&theirs), &view);
    assert_eq!(sync.state(), SyncState::Synced);
    let (_, id, request) = requests(&actions).remove(0);
    let Request::Shares { ids: requested } = request else { panic!("{request:?}") };
    let given = theirs.iter().filter(|share| requested.contains(&share.id())).cloned();
    let actions = sync.response(PeerHandle(2), id, Response::Shares(List::first_of(given)), START, &view);
    assert!(actions
        .iter()
        .any(|action| matches!(action, SyncAction::Deliver { route: Route::Tree, peer: PeerHandle(2), .. })));
    assert_eq!(sync.state(), SyncState::Synced);
    for id in requested.iter() {
        view.ids.push(*id);
        sync.share_linked(id);
    }
    sync.tick(START.plus(1), &view);
    assert_eq!(sync.state(), SyncState::Synced, "work is on what was linked, and the rest comes within seconds");
}

#[test]
fn a_chain_that_is_served_drop_by_drop_delays_mining_for_five_minutes_at_most() {
    let (view, mut sync) = (FakeChain::new(ids(&shares(0, 5))), planner());
    let theirs = shares(5, 10_000);
    let mut in_flight = requests(&give_list(&mut sync, 1, &ids(&theirs)[..8_000], &view));
    for second in 1..1_000 {
        let now = START.plus(second);
        assert_eq!(sync.state() == SyncState::Synced, second > 300, "after {second} s");
        in_flight.extend(requests(&sync.tick(now, &view)));
        // One share of each batch, as late as is not penalised.
        if second % 25 == 0 {
            for (peer, id, request) in std::mem::take(&mut in_flight) {
                let response = match request {
                    Request::Shares { ids } => {
                        Response::Shares(List::first_of(theirs.iter().filter(|share| share.id() == ids[0]).cloned()))
                    }
                    _ => status(theirs[7_999].id(), 1_000_000),
                };
                in_flight.extend(requests(&sync.response(PeerHandle(peer), id, response, now, &view)));
            }
        }
    }
}
