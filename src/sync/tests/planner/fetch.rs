//! Fetching one list from several peers.

use crate::peer::{PeerHandle, RequestId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::fixtures::{
    give_list, ids, introduce, inventory, only_request, params, planner, requests, shares, status, FakeChain, START,
};
use super::scenario::{Chain, Scenario};
use crate::share::{Share, ShareId};
use crate::sync::tests::support::Rng;
use crate::sync::{Route, SyncAction};
use crate::units::ShareHeight;
use crate::wire::{List, Request, Response};

/// A pruned chain of full length from three peers: all shares in order, within the limits, the base from one peer alone.
#[test]
fn a_full_chain_is_fetched_in_order_and_within_bounds() {
    let params = params();
    let (first, count) = (5_000, params.shares_kept());
    let all = shares(first, count);
    let list = ids(&all);
    let by_id: HashMap<ShareId, Arc<Share>> = list.iter().copied().zip(all.iter().cloned()).collect();
    let (view, mut sync, mut rng) = (FakeChain::default(), planner(), Rng::new(7));
    let mut now = START;
    let mut in_flight: Vec<(u64, RequestId, Request)> = Vec::new();
    let (mut delivered, mut finished) = (Vec::new(), false);
    let (mut served, mut served_base): (BTreeMap<u64, usize>, HashSet<u64>) = Default::default();
    let mut came = 0;
    let mut actions: Vec<SyncAction> =
        (1..=3).flat_map(|peer| sync.peer_connected(PeerHandle(peer), now, &view)).collect();
    while !finished {
        for action in actions.drain(..) {
            match action {
                SyncAction::Request { peer, id, request } => in_flight.push((peer.0, id, request)),
                SyncAction::Deliver { route, shares, .. } => {
                    assert!(matches!(route, Route::Candidate(_)));
                    delivered.extend(shares.iter().map(|share| share.id()));
                }
                SyncAction::Finish(_) => finished = true,
                SyncAction::Open { joined, .. } => assert!(!joined),
                SyncAction::Progress(_) | SyncAction::State(_) => {}
                other => panic!("{other:?}"),
            }
        }
        let of_batch = |(_, _, request): &&(u64, RequestId, Request)| matches!(request, Request::Shares { .. });
        for peer in 1..=3 {
            let batches = in_flight.iter().filter(of_batch).filter(|(of, ..)| *of == peer).count();
            assert!(batches <= 2, "{batches} batches requested from one peer");
        }
        assert!(came - delivered.len() <= 16 * 256, "{} shares received out of order", came - delivered.len());
        if in_flight.is_empty() {
            now = now.plus(1);
            actions = sync.tick(now, &view);
            continue;
        }
        let (peer, id, request) = in_flight.swap_remove(rng.below(in_flight.len() as u64) as usize);
        let response = match request {
            Request::Status => status(*list.last().unwrap(), 1_000_000),
            Request::Inventory { locator } => {
                let page = 8_192;
                let from = locator.iter().find_map(|id| list.iter().position(|other| other == id).map(|at| at + 1));
                let (after, from) = (from.map(|at| list[at - 1]).unwrap_or_default(), from.unwrap_or(0));
                Response::Inventory {
                    after,
                    start_height: ShareHeight(first + from as u32),
                    ids: List::first_of(list[from..].iter().copied()),
                    more: list.len() - from > page,
                }
            }
            Request::Shares { ids } => {
                assert!(ids.len() <= 256);
                came += ids.len();
                *served.entry(peer).or_default() += ids.len();
                let height = by_id[&ids[0]].info.share_height.0;
                if height < first + params.payout_window {
                    served_base.insert(peer);
                }
                Response::Shares(List::first_of(ids.iter().map(|id| Arc::clone(&by_id[id]))))
            }
            other => panic!("{other:?}"),
        };
        actions = sync.response(PeerHandle(peer), id, response, now, &view);
    }
    assert_eq!(delivered, list, "each once, oldest first");
    assert_eq!(served_base.len(), 1, "one peer serves the whole base");
    assert!(served.values().all(|count| *count > 1_000), "all help with the rest: {served:?}");
}

#[test]
fn a_batch_that_one_peer_fails_to_give_is_requested_from_another() {
    let (view, mut sync) = (FakeChain::new(ids(&shares(0, 5))), planner());
    let theirs = ids(&shares(5, 100));
    let batch = requests(&give_list(&mut sync, 1, &theirs, &view)).remove(0);
    assert!(
        requests(&introduce(&mut sync, 2, status(*theirs.last().unwrap(), 1_000_000), &view)).is_empty(),
        "it is in flight"
    );
    let actions = sync.request_failed(batch.1, START.plus(1), &view);
    let (id, request) = only_request(&actions);
    assert_eq!((requests(&actions)[0].0, &request), (2, &batch.2), "the same batch from the other");
    // Responses from another peer, or to no request, change nothing.
    assert!(sync.response(PeerHandle(1), id, Response::Shares(List::default()), START.plus(1), &view).is_empty());
    assert!(sync.response(PeerHandle(2), RequestId(999), Response::Busy, START.plus(1), &view).is_empty());
}

#[test]
fn progress_has_a_rate_and_an_estimate() {
    let (view, mut sync) = (FakeChain::new(ids(&shares(0, 5))), planner());
    let theirs = shares(5, 600);
    let actions = give_list(&mut sync, 1, &ids(&theirs), &view);
    for (peer, id, request) in requests(&actions) {
        let Request::Shares { ids } = request else { panic!("{request:?}") };
        let given = theirs.iter().filter(|share| ids.contains(&share.id())).cloned();
        sync.response(PeerHandle(peer), id, Response::Shares(List::first_of(given)), START.plus(2), &view);
    }
    let reported = sync.tick(START.plus(4), &view).into_iter().find_map(|action| match action {
        SyncAction::Progress(progress) => Some(progress),
        _ => None,
    });
    let progress = reported.unwrap();
    assert_eq!((progress.done, progress.total, progress.rate_per_s, progress.eta_s), (512, 600, 128.0, Some(1)));
    let again = sync.tick(START.plus(5), &view);
    assert!(!again.iter().any(|action| matches!(action, SyncAction::Progress(_))), "not every second");
}

/// Chain work says little of a chain that does not leave ours lately, and nearly all peers were once on a branch that did.
#[test]
fn a_peer_that_left_a_lesser_branch_for_another_chain_is_asked_for_that() {
    let (ours, branch, other) = (ids(&shares(0, 5)), ids(&shares(50, 1))[0], Chain::new(100, 10));
    let mut scenario = Scenario::new(FakeChain::new(ours.clone()));
    scenario.connect(1);
    scenario.run(700, |_, request| match request {
        Request::Status => Some((0, status(branch, 3))),
        _ => Some((0, inventory(ours[2], &[branch]))),
    });
    assert_eq!((scenario.delivered.len(), scenario.lists_requested_from(1)), (0, 2), "once in ten minutes");
    scenario.run(125, |_, request| match request {
        Request::Status => Some((0, status(other.tip(), 4))),
        request => Some((0, other.response(request))),
    });
    assert_eq!(scenario.ids(), other.list);
}
