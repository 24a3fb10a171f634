//! How long peers can keep a node from mining.

use super::fixtures::{ids, inventory, shares, status, FakeChain, START};
use super::scenario::{Chain, Scenario};
use crate::share::ShareId;
use crate::sync::SyncState;
use crate::wire::{Request, Response};

const HONEST: u64 = 1;

fn own_chain() -> FakeChain {
    FakeChain::new(ids(&shares(0, 5)))
}

/// The status of a peer with the same tip.
fn same_tip(view: &FakeChain) -> Response {
    status(*view.ids.last().unwrap(), 5)
}

#[test]
fn silent_peers_that_come_and_go_do_not_stop_mining() {
    let mut scenario = Scenario::new(own_chain());
    let ours = same_tip(&scenario.view);
    scenario.connect(100);
    scenario.connect(HONEST);
    for n in 1..=180 {
        scenario.run(20, |peer, _| (peer == HONEST).then(|| (0, ours.clone())));
        // The next one connects before the last one leaves.
        scenario.connect(100 + n);
        scenario.disconnect(99 + n);
    }
    assert!(scenario.mining_s >= 3_600 - 42, "{} s", scenario.mining_s);
    assert_eq!(scenario.misbehaviours, []);
}

#[test]
fn a_node_with_silent_peers_only_mines_solo() {
    let mut scenario = Scenario::new(own_chain());
    scenario.connect(100);
    for n in 1..=60 {
        scenario.run(10, |_, _| None);
        scenario.connect(100 + n);
        scenario.disconnect(99 + n);
    }
    assert!(scenario.mining_s >= 600 - 62, "{} s", scenario.mining_s);
    assert_eq!(scenario.sync.state(), SyncState::Solo { since: START });
}

#[test]
fn peers_that_leave_without_a_report_do_not_count() {
    // A full node closes each connection after the handshake, and is dialled again and again.
    for (has_chain, stays_s) in [(false, 0), (true, 0), (false, 1), (true, 1)] {
        let mut scenario = Scenario::new(if has_chain { own_chain() } else { FakeChain::default() });
        for n in 1..=1_800 {
            scenario.connect(n);
            scenario.run(stays_s, |_, _| None);
            scenario.disconnect(n);
            scenario.run(2 - stays_s, |_, _| None);
        }
        // It waits for a minute until it mines solo; without a chain also for a report, once in fifteen minutes.
        let waits_s = if has_chain { 61 } else { 61 + 3 * 40 };
        assert!(scenario.mining_s >= 3_600 - waits_s, "chain {has_chain}, {stays_s} s: {} s", scenario.mining_s);
        assert!(scenario.mining_s <= 3_600 - 59, "it does wait: {} s", scenario.mining_s);
        assert_eq!(scenario.sync.state(), SyncState::Solo { since: START }, "chain {has_chain}, {stays_s} s");
    }
}

#[test]
fn the_minute_until_solo_mining_starts_when_the_last_reporting_peer_leaves() {
    let mut scenario = Scenario::new(FakeChain::default());
    scenario.connect(HONEST);
    scenario.run(10, |_, request| (*request == Request::Status).then(|| (0, status(ShareId([7; 32]), 9))));
    scenario.disconnect(HONEST);
    let gone = scenario.now;
    scenario.run(30, |_, _| None);
    scenario.connect(2);
    scenario.run(5, |_, _| None);
    scenario.disconnect(2);
    scenario.run(24, |_, _| None);
    assert_eq!(scenario.sync.state(), SyncState::NoPeers { since: gone, was_synced: false });
    scenario.run(1, |_, _| None);
    assert_eq!(scenario.sync.state(), SyncState::Solo { since: gone });
}

#[test]
fn a_busy_peer_has_not_reported() {
    for view in [FakeChain::default(), own_chain()] {
        let (has_chain, mut busy) = (!view.ids.is_empty(), 0);
        let mut scenario = Scenario::new(view);
        scenario.connect(1);
        scenario.run(30, |_, request| {
            assert_eq!(*request, Request::Status);
            busy += 1;
            Some((0, Response::Busy))
        });
        assert!((4..=7).contains(&busy), "requested again soon: {busy} times in 30 s");
        assert_eq!(scenario.mining_s, 0, "chain: {has_chain}");
        // Then it responds, and has a better chain.
        let chain = Chain::new(0, 600);
        scenario.run_until(
            10,
            |scenario| !scenario.delivered.is_empty(),
            |_, request| Some((0, chain.response(request))),
        );
        assert_eq!((scenario.mining_s, scenario.misbehaviours.len()), (0, 0), "chain: {has_chain}");
    }
}

#[test]
fn a_peer_that_is_always_busy_is_treated_like_a_silent_one() {
    for view in [FakeChain::default(), own_chain()] {
        let mut scenario = Scenario::new(view);
        scenario.connect(1);
        scenario.run(600, |_, _| Some((0, Response::Busy)));
        assert!((600 - 62..=600 - 59).contains(&scenario.mining_s), "{} s", scenario.mining_s);
        assert!(scenario.requests.len() < 10 + 10, "{} requests", scenario.requests.len());
        // Beside a peer that reports it is waited for like a silent one.
        let mut scenario = Scenario::new(std::mem::take(&mut scenario.view));
        let ours = scenario.view.ids.last().map_or(status(ShareId::ZERO, 0), |_| same_tip(&scenario.view));
        scenario.connect(HONEST);
        scenario.connect(2);
        scenario.run(600, |peer, _| Some((0, if peer == HONEST { ours.clone() } else { Response::Busy })));
        assert!((600 - 42..=600 - 39).contains(&scenario.mining_s), "{} s", scenario.mining_s);
    }
}

#[test]
fn the_list_of_a_busy_peer_is_waited_for() {
    let mut scenario = Scenario::new(own_chain());
    let (chain, mut lists) = (Chain::new(5, 60), 0);
    scenario.connect(1);
    let respond = |_, request: &Request| match request {
        Request::Inventory { .. } => {
            lists += 1;
            Some((0, Response::Busy))
        }
        _ => Some((0, chain.response(request))),
    };
    scenario.run(30, respond);
    assert_eq!(scenario.mining_s, 0);
    assert!((4..=7).contains(&lists), "{lists} in 30 s");
}

#[test]
fn false_claims_delay_mining_once_and_for_a_time_that_does_not_depend_on_the_peers() {
    // Each peer claims a better chain of its own, lists shares that do not exist, and leaves when the next one comes, or a while
    // before that.
    for (view, most_s) in [(own_chain(), 300), (FakeChain::default(), 900)] {
        for gap_s in [0, 1, 20, 59] {
            let mut scenario = Scenario::new(FakeChain::new(view.ids.clone()));
            for n in 1..=120u8 {
                scenario.connect(100 + u64::from(n));
                scenario.run(60 - gap_s, |peer, request| {
                    let tip = ShareId([peer as u8; 32]);
                    match request {
                        Request::Status => Some((0, status(tip, 1_000))),
                        Request::Inventory { .. } => Some((0, inventory(ShareId::ZERO, &[tip]))),
                        _ => None,
                    }
                });
                scenario.disconnect(100 + u64::from(n));
                scenario.run(gap_s, |_, _| None);
            }
            let withheld_s = 7_200 - scenario.mining_s;
            assert!((40..=most_s + 62).contains(&withheld_s), "{most_s} s, {gap_s} s: {withheld_s} s");
            scenario.connect(300);
            let before = scenario.mining_s;
            scenario.run(900, |_, _| Some((0, status(ShareId([7; 32]), 1_000_000))));
            assert_eq!(scenario.mining_s - before, 900, "never again");
        }
    }
}

#[test]
fn a_solo_node_continues_whatever_peers_show_it() {
    let chain = Chain::new(900_000, 600);
    for has_more in [true, false] {
        let mut scenario = Scenario::new(own_chain());
        scenario.run(61, |_, _| None);
        assert_eq!(scenario.sync.state(), SyncState::Solo { since: START });
        // Silent peers and claims change nothing.
        (1..=3).for_each(|peer| scenario.connect(peer));
        let before = scenario.mining_s;
        scenario.run(29, |peer, _| (peer == 2).then(|| (0, status(ShareId([7; 32]), 1_000_000))));
        assert_eq!(scenario.mining_s - before, 29);
        // Nor do shares, before their chain is ours.
        scenario.connect(4);
        scenario.run(10, |peer, request| match request {
            _ if peer != 4 => None,
            Request::Shares { .. } if !has_more => None,
            _ => Some((0, chain.response(request))),
        });
        assert!(scenario.is_synced());
        assert_eq!(scenario.mining_s - before, 39);
    }
}

#[test]
fn a_node_without_a_chain_starts_none_before_new_peers_had_time_to_report() {
    let mut scenario = Scenario::new(FakeChain::default());
    scenario.run(61, |_, _| None);
    assert!(scenario.sync.may_start_chain());
    scenario.connect(1);
    assert!(!scenario.sync.may_start_chain());
    // Not before one response timeout, and then however many silent peers come and go.
    for n in 2..45 {
        scenario.run(20, |_, _| None);
        assert_eq!(scenario.sync.may_start_chain(), n >= 3, "{n}");
        scenario.connect(n);
        scenario.disconnect(n - 1);
    }
    // Fifteen minutes after the first came, new peers are waited for once more.
    scenario.run(60, |_, _| None);
    assert!(scenario.sync.may_start_chain());
    scenario.disconnect(44);
    scenario.run(2, |_, _| None);
    scenario.connect(100);
    assert!(!scenario.sync.may_start_chain());
    scenario.run(5, |_, _| Some((0, status(ShareId::ZERO, 0))));
    assert!(scenario.sync.may_start_chain(), "no peer has one");
    scenario.connect(101);
    scenario.run(5, |_, _| Some((0, status(ShareId([7; 32]), 9))));
    assert!(!scenario.sync.may_start_chain(), "a peer has one");
}

#[test]
fn one_new_share_before_false_ids_does_not_interrupt_mining() {
    let mut scenario = Scenario::new(own_chain());
    let ours = same_tip(&scenario.view);
    scenario.connect(HONEST);
    scenario.run(3, |_, _| Some((0, ours.clone())));
    assert!(scenario.is_synced());
    let new = Chain::new(5, 1);
    let list: Vec<ShareId> = new.list.iter().copied().chain((1..=200u8).map(|n| ShareId([n; 32]))).collect();
    scenario.connect(2);
    let after = *scenario.view.ids.last().unwrap();
    scenario.run_until(
        30,
        |scenario| !scenario.delivered.is_empty(),
        |peer, request| match request {
            Request::Status if peer == 2 => Some((0, status(list[200], 1_000))),
            Request::Status => Some((0, ours.clone())),
            Request::Inventory { .. } => Some((0, inventory(after, &list))),
            _ => Some((0, new.response(request))),
        },
    );
    scenario.view.ids.push(new.tip());
    scenario.sync.share_linked(&new.tip());
    let before = scenario.mining_s;
    scenario.run(20, |_, _| None);
    assert_eq!(scenario.mining_s - before, 20);
}
