//! Lists that hold parts of honest ones.

use super::fixtures::{ids, inventory, shares, status, FakeChain};
use super::scenario::{Chain, Delayed, Scenario};
use crate::share::ShareId;
use crate::sharechain::CandidateOutcome;
use crate::units::ShareHeight;
use crate::wire::{List, Request, Response};

const PAGE: usize = 8_192;

/// What a stranger responds that gives this list, and the shares of it that are its own, at a rate that is no misbehaviour.
fn stranger(list: &[ShareId], start: u32, own: &[&Chain], request: &Request) -> Delayed {
    Some(match request {
        Request::Status => (0, status(*list.last().unwrap(), 1_000_001)),
        Request::Inventory { locator } => {
            let from = match &locator[..] {
                [last] => list.iter().position(|id| id == last).map_or(0, |at| at + 1),
                _ => 0,
            };
            let after = if from == 0 { ShareId::ZERO } else { list[from - 1] };
            let (start_height, ids) = (ShareHeight(start), List::first_of(list[from..].iter().copied().take(PAGE)));
            (0, Response::Inventory { after, start_height, ids, more: list.len() > from + PAGE })
        }
        Request::Shares { ids } => {
            let given = ids.iter().filter_map(|id| {
                own.iter().find_map(|chain| match chain.response(&Request::Shares { ids: List::first_of([*id]) }) {
                    Response::Shares(shares) => shares.first().cloned(),
                    _ => None,
                })
            });
            (38, Response::Shares(List::first_of(given)))
        }
        other => panic!("{other:?}"),
    })
}

fn is_whole(scenario: &Scenario, chain: &Chain) -> bool {
    let ids: std::collections::HashSet<ShareId> = scenario.ids().into_iter().collect();
    chain.list.iter().all(|id| ids.contains(id))
}

/// Seconds until an honest chain is fetched from eight peers, when a stranger's list has begun.
fn seconds_beside(honest: &Chain, outcome: Option<CandidateOutcome>, stranger: impl Fn(&Request) -> Delayed) -> u32 {
    let respond = |peer, request: &Request| match peer {
        1 => stranger(request),
        _ => Some((0, honest.response(request))),
    };
    let mut scenario = Scenario::new(FakeChain::default());
    scenario.outcome = outcome;
    scenario.connect(1);
    scenario.run(5, respond);
    (2..=9).for_each(|peer| scenario.connect(peer));
    scenario.run_until(3_600, |scenario| is_whole(scenario, honest), respond)
}

/// The next page of an honest list continues a share that is on the stranger's list as well.
#[test]
fn a_list_of_several_pages_is_fetched_whole_beside_a_list_that_repeats_it() {
    let (junk, honest) = (Chain::new(100_000, 6_000), Chain::new(1_000, 9_000));
    let list = [&junk.list[..], &honest.list].concat();
    let took_s = seconds_beside(&honest, None, |request| stranger(&list, 100_000, &[&junk], request));
    assert!(took_s < 300, "{took_s} s");
}

/// The tip of the honest peers comes first, and is delivered first.
#[test]
fn a_tip_in_front_of_junk_does_not_occupy_its_peers() {
    let (junk, honest) = (Chain::new(100_000, 8_000), Chain::new(1_000, 900));
    let list = [&[honest.tip()], &junk.list[..]].concat();
    let not_better = Some(CandidateOutcome::NotBetter);
    let took_s = seconds_beside(&honest, not_better, |request| stranger(&list, 1_899, &[&honest, &junk], request));
    assert!(took_s < 120, "{took_s} s");
}

/// Honest peers connect one after the other, while one list of junk is served.
#[test]
fn honest_peers_that_come_later_serve_the_honest_list() {
    let (junk, honest) = (Chain::new(100_000, 6_000), Chain::new(1_000, 6_000));
    let list = [&junk.list[..], &honest.list].concat();
    let respond = |peer, request: &Request| match (peer, request) {
        (1, request) => stranger(&list, 100_000, &[&junk], request),
        (_, Request::Shares { ids }) if ids.len() > 8 => Some((20, honest.response(request))),
        (_, request) => Some((0, honest.response(request))),
    };
    let mut scenario = Scenario::new(FakeChain::default());
    scenario.connect(1);
    scenario.run(5, respond);
    scenario.connect(2);
    scenario.run(90, respond);
    scenario.connect(3);
    scenario.connect(4);
    scenario.run(30, respond);
    scenario.connect(5);
    scenario.run_until(3_600, |scenario| is_whole(scenario, &honest), respond);
    let own: std::collections::HashSet<ShareId> = honest.list.iter().copied().collect();
    let fetched = scenario.ids().iter().filter(|id| own.contains(id)).count();
    let lists: Vec<usize> = (2..=5).map(|peer| scenario.lists_requested_from(peer)).collect();
    assert_eq!((fetched, lists), (6_000, vec![1, 0, 0, 0]));
}

/// Strangers give the honest tip alone, which is an orphan then, and claim another one.
#[test]
fn strangers_that_list_the_tip_alone_do_not_keep_a_node_from_the_shares_below() {
    let own = ids(&shares(0, 5));
    let honest = Chain::new(5, 300);
    let respond = |peer: u64, request: &Request| match (peer >= 100, request) {
        (true, Request::Status) => Some((0, status(ShareId([peer as u8; 32]), 1_000_001))),
        (true, Request::Inventory { .. }) => Some((0, inventory(own[4], &[honest.tip()]))),
        (true, request) => Some((20, honest.response(request))),
        (false, Request::Inventory { .. }) => Some((2, inventory(own[4], &honest.list))),
        (false, request) => Some((1, honest.response(request))),
    };
    for (strangers, peers) in [(1, 1), (2, 1), (2, 8), (6, 8)] {
        let mut scenario = Scenario::new(FakeChain::new(own.clone()));
        (100..100 + strangers).for_each(|peer| {
            scenario.connect(peer);
            scenario.run(1, respond);
        });
        (1..=peers).for_each(|peer| scenario.connect(peer));
        let is_done = |scenario: &Scenario| scenario.ids().contains(&honest.list[0]);
        let took_s = scenario.run_until(300, is_done, respond);
        assert!(took_s <= 60, "{strangers} strangers, {peers} peers: {took_s} s");
        assert_eq!(scenario.misbehaviours, []);
    }
}

/// The lists continue our chain, lack the first honest share, and have a fifth of junk, less than a peer may lack.
#[test]
fn short_lists_that_lack_a_share_do_not_replace_those_of_others() {
    let own = ids(&shares(0, 5));
    let honest = Chain::new(5, 300);
    let after = own[4];
    let junk: Vec<Chain> = (0..60).map(|number| Chain::new(100_000 + 100 * number, 76)).collect();
    let respond = |peer: u64, request: &Request| match (peer.checked_sub(100), request) {
        (None, Request::Inventory { .. }) => Some((0, inventory(after, &honest.list))),
        (None, request) => Some((0, honest.response(request))),
        (Some(number), Request::Inventory { .. }) => {
            let (front, tip) = junk[number as usize].list.split_at(75);
            Some((0, inventory(after, &[front, &honest.list[1..], tip].concat())))
        }
        (Some(number), request) => {
            let own = &junk[number as usize];
            stranger(&own.list, 0, &[own, &honest], request)
        }
    };
    for gap_s in [20, 45] {
        let mut scenario = Scenario::new(FakeChain::new(own.clone()));
        (0..2).for_each(|number| {
            scenario.connect(100 + number);
            scenario.run(gap_s, respond);
        });
        (1..=8).for_each(|peer| scenario.connect(peer));
        let reached = (2..8).find(|number| {
            scenario.connect(100 + number);
            scenario.run(gap_s, respond);
            scenario.ids().contains(&honest.list[0])
        });
        assert!(reached.is_some(), "one stranger in {gap_s} s, six of them");
    }
}

/// Strangers list the tip of the others alone, one after the other.
#[test]
fn strangers_that_list_the_tip_in_turn_do_not_pause_its_peers_again_and_again() {
    let own = ids(&shares(0, 5));
    let honest = Chain::new(5, 300);
    // Strangers, how many of them are connected at once, and seconds between two of their lists.
    for (strangers, connected, gap_s) in [(15, 15, 5), (20, 20, 4), (200, 1, 4), (300, 2, 2)] {
        let mut scenario = Scenario::new(FakeChain::new(own.clone()));
        let mut last_list_s = 0;
        let mut next = 100;
        let took_s = (0..600).find(|second| {
            while next < 100 + strangers && (next < 100 + connected || second % gap_s == 0) {
                if next >= 100 + connected {
                    scenario.disconnect(next - connected);
                }
                scenario.connect(next);
                next += 1;
                if next > 100 + connected {
                    break;
                }
            }
            if *second == 20 {
                (1..=8).for_each(|peer| scenario.connect(peer));
            }
            scenario.run(1, |peer, request| {
                Some(match request {
                    Request::Status if peer >= 100 => (0, status(ShareId([(peer % 251) as u8; 32]), 1_000_001)),
                    Request::Inventory { .. } if peer >= 100 => {
                        last_list_s = (second + 1).max(last_list_s + gap_s);
                        (last_list_s - second - 1, inventory(own[4], &[honest.tip()]))
                    }
                    Request::Inventory { .. } => (0, inventory(own[4], &honest.list)),
                    request => (0, honest.response(request)),
                })
            });
            scenario.ids().contains(&honest.list[0])
        });
        assert!(
            took_s.is_some_and(|took_s| took_s <= 20 + 90),
            "{strangers} strangers, {connected} at once: {took_s:?}"
        );
        assert_eq!(scenario.misbehaviours, []);
    }
}

/// Our bitcoind lacks the Bitcoin blocks that they name, or our clock is slow. New shares come every 30 s.
#[test]
fn shares_that_are_not_linked_are_fetched_less_and_less_often() {
    let own = ids(&shares(0, 5));
    let honest = Chain::new(5, 200);
    let mut scenario = Scenario::new(FakeChain::new(own.clone()));
    let lists = |scenario: &Scenario| (1..=8).map(|peer| scenario.lists_requested_from(peer)).sum::<usize>();
    let respond_with = |len: usize, request: &Request| {
        let list = &honest.list[..len];
        Some(match request {
            Request::Status => (0, status(list[len - 1], 1_000_000 + len as u128)),
            Request::Inventory { locator } => {
                let at = locator.iter().find_map(|id| list.iter().position(|listed| listed == id));
                let (after, from) = at.map_or((own[4], 0), |at| (list[at], at + 1));
                (0, inventory(after, &list[from..]))
            }
            request => (0, honest.response(request)),
        })
    };
    (1..=8).for_each(|peer| scenario.connect(peer));
    for len in 150..190 {
        scenario.run(30, |_, request| respond_with(len, request));
    }
    assert!((24..=40).contains(&lists(&scenario)), "{} lists in 20 minutes", lists(&scenario));
    // All is linked. A share that gossip misses is fetched soon.
    scenario.view.ids.extend(&honest.list[..190]);
    let before = lists(&scenario);
    let is_done = |scenario: &Scenario| scenario.ids().contains(&honest.list[194]);
    assert!(scenario.run_until(120, is_done, |_, request| respond_with(195, request)) <= 62);
    assert_eq!(lists(&scenario), before + 1);
    // What is not linked again is requested as often as the first time.
    scenario.view.ids.extend(&honest.list[190..195]);
    scenario.run(200, |_, request| respond_with(196, request));
    assert!((16..=26).contains(&(lists(&scenario) - before)), "{} lists", lists(&scenario) - before);
    // They are requested again when bitcoind has caught up.
    scenario.view.may_adopt = false;
    scenario.run(600, |_, request| respond_with(197, request));
    let mut lists_in = |seconds| {
        let before = lists(&scenario);
        scenario.run(seconds, |_, request| respond_with(197, request));
        scenario.view.may_adopt = true;
        lists(&scenario) - before
    };
    assert_eq!([lists_in(60), lists_in(10), lists_in(60)], [0, 8, 0]);
}

/// Its tip is another one each time when its list has come, as near the tip of a pool whose shares come fast.
#[test]
fn a_peer_whose_lists_lack_the_tip_that_it_reported_is_asked_once_a_minute() {
    let own = ids(&shares(0, 5));
    let honest = Chain::new(5, 100);
    let mut scenario = Scenario::new(FakeChain::new(own.clone()));
    scenario.connect(1);
    let mut statuses = 0;
    for len in 10..40 {
        scenario.run(30, |_, request| {
            let at = |listed: &[ShareId], id: &ShareId| listed.iter().position(|other| other == id);
            Some(match request {
                Request::Status => {
                    statuses += 1;
                    (0, status(ShareId([statuses; 32]), 1_000_000))
                }
                Request::Inventory { locator } => {
                    let found = locator.iter().find_map(|id| at(&honest.list, id));
                    let (after, from) = found.map_or((own[4], 0), |at| (honest.list[at], at + 1));
                    (0, inventory(after, &honest.list[from.min(len)..len]))
                }
                request => (0, honest.response(request)),
            })
        });
        // All that it gave is linked.
        let linked = scenario.ids().iter().filter_map(|id| honest.list.iter().position(|other| other == id)).max();
        scenario.view.ids = [&own[..], &honest.list[..linked.map_or(0, |at| at + 1)]].concat();
    }
    assert!((13..=16).contains(&scenario.lists_requested_from(1)), "{} lists", scenario.lists_requested_from(1));
}
