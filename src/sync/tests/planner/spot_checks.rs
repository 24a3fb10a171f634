//! Checks whether peers have the shares of lists that they serve.

use super::fixtures::{status, FakeChain};
use super::scenario::{is_spot_check, Chain, Scenario};
use crate::share::ShareId;
use crate::units::ShareHeight;
use crate::wire::{List, Request, Response};

/// A base of full length over a slow line, in batches of nine seconds, while peers of the same chain are connected.
#[test]
fn a_slow_sync_from_many_peers_of_one_chain_fetches_one_list() {
    let chain = Chain::new(1_000, 8_192);
    let mut scenario = Scenario::new(FakeChain::default());
    (1..=8).for_each(|peer| scenario.connect(peer));
    let took_s = scenario.run_until(
        1_000,
        |scenario| scenario.finished.len() == 1,
        |_, request| match request {
            Request::Shares { .. } if !is_spot_check(request) => Some((17, chain.response(request))),
            _ => Some((0, chain.response(request))),
        },
    );
    assert!(took_s > 250, "{took_s} s");
    let checks = scenario.requests.iter().filter(|(_, request)| is_spot_check(request)).count();
    assert!((14..=7 * took_s as usize / 60).contains(&checks), "{checks} checks in {took_s} s");
    assert_eq!((scenario.ids(), scenario.dropped), (chain.list.clone(), 0));
    let lists: usize = (1..=8).map(|peer| scenario.lists_requested_from(peer)).sum();
    assert_eq!(lists, 1, "each other peer helps");
    assert_eq!(scenario.misbehaviours, []);
}

/// Peer 1 lists the tip of the others behind shares that they lack.
#[test]
fn a_peer_that_lacks_what_it_is_to_serve_gives_its_own_list() {
    let (junk, honest) = (Chain::new(100_000, 6_000), Chain::new(1_000, 900));
    let list = [&junk.list[..], &honest.list].concat();
    let respond = |peer, request: &Request| match (peer, request) {
        (1, Request::Status) => Some((0, status(junk.tip(), 1_000_001))),
        // As all of it may be base, no other peer is asked for its shares.
        (1, Request::Inventory { .. }) => {
            let (start_height, ids) = (ShareHeight(100_000), List::first_of(list.iter().copied()));
            Some((0, Response::Inventory { after: ShareId::ZERO, start_height, ids, more: false }))
        }
        (1, Request::Shares { .. }) => Some((20, junk.response(request))),
        (_, request) => Some((5, honest.response(request))),
    };
    let mut scenario = Scenario::new(FakeChain::default());
    scenario.connect(1);
    scenario.run(5, respond);
    (2..=3).for_each(|peer| scenario.connect(peer));
    let is_delivered = |scenario: &Scenario| honest.list.iter().all(|id| scenario.ids().contains(id));
    let took_s = scenario.run_until(600, is_delivered, respond);
    assert!((55..=90).contains(&took_s), "{took_s} s");
    let lists = scenario.lists_requested_from(2) + scenario.lists_requested_from(3);
    assert_eq!(lists, 1, "the other one serves this list, which is later than the false one");
    assert_eq!((scenario.dropped, scenario.misbehaviours), (0, Vec::new()));
}

/// Peer 1 lists the chain of the others, and junk behind it that it gives slowly. The chain of the others grows.
#[test]
fn junk_behind_a_chain_does_not_occupy_its_peers() {
    let (junk, honest) = (Chain::new(100_000, 1_500), Chain::new(1_000, 2_100));
    let list = [&honest.list[..2_000], &junk.list].concat();
    let mut scenario = Scenario::new(FakeChain::default());
    let own_lists = |scenario: &Scenario| (2..=5).map(|peer| scenario.lists_requested_from(peer)).sum::<usize>();
    scenario.connect(1);
    let took_s = (0..600).find(|second| {
        if *second == 5 {
            (2..=5).for_each(|peer| scenario.connect(peer));
        }
        let tip = honest.list[2_000 + *second as usize / 30];
        scenario.run(1, |peer, request| {
            Some(match (peer, request) {
                (1, Request::Status) => (0, status(junk.tip(), 1_000_001)),
                (1, Request::Inventory { .. }) => {
                    let (start_height, ids) = (ShareHeight(1_000), List::first_of(list.iter().copied()));
                    (0, Response::Inventory { after: ShareId::ZERO, start_height, ids, more: false })
                }
                (1, Request::Shares { ids }) if junk.list.contains(&ids[0]) => (28, junk.response(request)),
                (_, Request::Status) if *second < 30 => (0, status(honest.list[1_999], 1_000_000)),
                (_, Request::Status) => (0, status(tip, 1_000_000)),
                (_, request) => (0, honest.response(request)),
            })
        });
        own_lists(&scenario) > 0
    });
    assert!(took_s.is_some_and(|took_s| took_s <= 130), "{took_s:?}");
    assert_eq!(scenario.misbehaviours, []);
}
