//! How long others can keep a node from mining.

use super::kit::{ids, shares, status, Held, START};
use super::play::{Chain, Play};
use crate::share::ShareId;
use crate::sync::SyncState;
use crate::wire::{Request, Response};

const HONEST: u64 = 1;

fn held() -> Held {
    Held(ids(&shares(0, 5)))
}

/// Purpose a peer on our own tip says.
fn level(view: &Held) -> crate::wire::Response {
    status(*view.0.last().unwrap(), 5)
}

#[test]
fn peers_that_keep_silent_and_leave_keep_nobody_from_mining() {
    let mut play = Play::new(held());
    let ours = level(&play.view);
    play.connect(100);
    play.connect(HONEST);
    for n in 1..=180 {
        play.run(20, |peer, _| (peer == HONEST).then(|| (0, ours.clone())));
        // One comes before the other leaves.
        play.connect(100 + n);
        play.disconnect(99 + n);
    }
    assert!(play.mining_s >= 3_600 - 42, "{} s", play.mining_s);
    assert_eq!(play.offences, []);
}

#[test]
fn silent_peers_alone_are_as_good_as_none() {
    let mut play = Play::new(held());
    play.connect(100);
    for n in 1..=60 {
        play.run(10, |_, _| None);
        play.connect(100 + n);
        play.disconnect(99 + n);
    }
    assert!(play.mining_s >= 600 - 62, "{} s", play.mining_s);
    assert_eq!(play.sync.state(), SyncState::Solo { since: START });
}

#[test]
fn who_comes_and_goes_without_a_word_is_no_company() {
    // A node that is full closes each connection after the handshake; it is dialled again and again.
    for (held_chain, stays_s) in [(false, 0), (true, 0), (false, 1), (true, 1)] {
        let mut play = Play::new(if held_chain { held() } else { Held::default() });
        for n in 1..=1_800 {
            play.connect(n);
            play.run(stays_s, |_, _| None);
            play.disconnect(n);
            play.run(2 - stays_s, |_, _| None);
        }
        // A minute until it is alone; without a chain the wait for an answer besides, once in a quarter of an hour.
        let waits_s = if held_chain { 61 } else { 61 + 3 * 40 };
        assert!(play.mining_s >= 3_600 - waits_s, "chain {held_chain}, {stays_s} s: {} s", play.mining_s);
        assert!(play.mining_s <= 3_600 - 59, "it does wait: {} s", play.mining_s);
        assert_eq!(play.sync.state(), SyncState::Solo { since: START }, "chain {held_chain}, {stays_s} s");
    }
}

#[test]
fn a_minute_alone_is_counted_from_the_last_that_said_something() {
    let mut play = Play::new(Held::default());
    play.connect(HONEST);
    play.run(10, |_, request| (*request == Request::Status).then(|| (0, status(ShareId([7; 32]), 9))));
    play.disconnect(HONEST);
    let gone = play.now;
    play.run(30, |_, _| None);
    play.connect(2);
    play.run(5, |_, _| None);
    play.disconnect(2);
    play.run(24, |_, _| None);
    assert_eq!(play.sync.state(), SyncState::NoPeers { since: gone, was_synced: false });
    play.run(1, |_, _| None);
    assert_eq!(play.sync.state(), SyncState::Solo { since: gone });
}

#[test]
fn a_busy_peer_has_not_said_where_it_is() {
    for view in [Held::default(), held()] {
        let (has_chain, mut busy) = (!view.0.is_empty(), 0);
        let mut play = Play::new(view);
        play.connect(1);
        play.run(30, |_, request| {
            assert_eq!(*request, Request::Status);
            busy += 1;
            Some((0, Response::Busy))
        });
        assert!((4..=7).contains(&busy), "asked again soon: {busy} times in 30 s");
        assert_eq!(play.mining_s, 0, "chain: {has_chain}");
        // Then it has time, and a chain that is worth to be had.
        let chain = Chain::new(0, 600);
        play.run_until(10, |play| !play.delivered.is_empty(), |_, request| Some((0, chain.answer(request))));
        assert_eq!((play.mining_s, play.offences.len()), (0, 0), "chain: {has_chain}");
    }
}

#[test]
fn who_says_busy_and_no_more_is_as_good_as_silent() {
    for view in [Held::default(), held()] {
        let mut play = Play::new(view);
        play.connect(1);
        play.run(600, |_, _| Some((0, Response::Busy)));
        assert!((600 - 62..=600 - 59).contains(&play.mining_s), "{} s", play.mining_s);
        assert!(play.asked.len() < 10 + 10, "{} questions", play.asked.len());
        // Beside one that speaks it is waited for as for the silent.
        let mut play = Play::new(std::mem::take(&mut play.view));
        let ours = play.view.0.last().map_or(status(ShareId::ZERO, 0), |_| level(&play.view));
        play.connect(HONEST);
        play.connect(2);
        play.run(600, |peer, _| Some((0, if peer == HONEST { ours.clone() } else { Response::Busy })));
        assert!((600 - 42..=600 - 39).contains(&play.mining_s), "{} s", play.mining_s);
    }
}

#[test]
fn a_list_that_a_busy_peer_does_not_give_is_waited_for() {
    let mut play = Play::new(held());
    let (chain, mut lists) = (Chain::new(5, 60), 0);
    play.connect(1);
    let answer = |_, request: &Request| match request {
        Request::Inventory { .. } => {
            lists += 1;
            Some((0, Response::Busy))
        }
        _ => Some((0, chain.answer(request))),
    };
    play.run(30, answer);
    assert_eq!(play.mining_s, 0);
    assert!((4..=7).contains(&lists), "{lists} in 30 s");
}

#[test]
fn claims_keep_a_node_waiting_for_a_quarter_of_an_hour_in_all() {
    // Each claims a better chain of its own, lists what does not exist, and makes room for the next.
    let mut play = Play::new(held());
    play.connect(100);
    for n in 1..=120u8 {
        play.run(30, |peer, request| {
            let tip = ShareId([peer as u8; 32]);
            match request {
                Request::Status => Some((0, status(tip, 1_000))),
                Request::Inventory { .. } => Some((0, super::kit::inventory(ShareId::ZERO, &[tip]))),
                _ => None,
            }
        });
        play.connect(100 + u64::from(n));
        play.disconnect(99 + u64::from(n));
    }
    assert!(play.mining_s >= 3_600 - 901, "{} s", play.mining_s);
    assert!(play.mining_s < 3_600 - 890, "it does wait: {} s", play.mining_s);
}

#[test]
fn a_lone_miner_works_on_until_it_is_shown_more() {
    let chain = Chain::new(900_000, 600);
    for has_more in [true, false] {
        let mut play = Play::new(held());
        play.run(61, |_, _| None);
        assert_eq!(play.sync.state(), SyncState::Solo { since: START });
        // Silence and claims change nothing.
        (1..=3).for_each(|peer| play.connect(peer));
        let before = play.mining_s;
        play.run(29, |peer, _| (peer == 2).then(|| (0, status(ShareId([7; 32]), 1_000_000))));
        assert_eq!(play.mining_s - before, 29);
        // Shares do.
        play.connect(4);
        play.run(10, |peer, request| match request {
            _ if peer != 4 => None,
            Request::Shares { .. } if !has_more => None,
            _ => Some((0, chain.answer(request))),
        });
        assert_eq!(play.is_synced(), !has_more);
    }
}

#[test]
fn a_node_without_a_chain_starts_none_before_others_had_their_time_to_answer() {
    let mut play = Play::new(Held::default());
    play.run(61, |_, _| None);
    assert!(play.sync.may_start_chain());
    play.connect(1);
    assert!(!play.sync.may_start_chain());
    // Not before one answer's time is over, and then however often others come and go that keep silent.
    for n in 2..45 {
        play.run(20, |_, _| None);
        assert_eq!(play.sync.may_start_chain(), n >= 3, "{n}");
        play.connect(n);
        play.disconnect(n - 1);
    }
    // A quarter of an hour after the first came it is asked first once more.
    play.run(60, |_, _| None);
    assert!(play.sync.may_start_chain());
    play.disconnect(44);
    play.run(2, |_, _| None);
    play.connect(100);
    assert!(!play.sync.may_start_chain());
    play.run(5, |_, _| Some((0, status(ShareId::ZERO, 0))));
    assert!(play.sync.may_start_chain(), "nobody has one");
    play.connect(101);
    play.run(5, |_, _| Some((0, status(ShareId([7; 32]), 9))));
    assert!(!play.sync.may_start_chain(), "somebody has one");
}

#[test]
fn one_new_share_before_made_up_ones_takes_no_jobs() {
    let mut play = Play::new(held());
    let ours = level(&play.view);
    play.connect(HONEST);
    play.run(3, |_, _| Some((0, ours.clone())));
    assert!(play.is_synced());
    let new = Chain::new(5, 1);
    let list: Vec<ShareId> = new.list.iter().copied().chain((1..=200u8).map(|n| ShareId([n; 32]))).collect();
    play.connect(2);
    let after = *play.view.0.last().unwrap();
    play.run_until(
        30,
        |play| !play.delivered.is_empty(),
        |peer, request| match request {
            Request::Status if peer == 2 => Some((0, status(list[200], 1_000))),
            Request::Status => Some((0, ours.clone())),
            Request::Inventory { .. } => Some((0, super::kit::inventory(after, &list))),
            _ => Some((0, new.answer(request))),
        },
    );
    play.view.0.push(new.tip());
    play.sync.share_linked(&new.tip());
    let before = play.mining_s;
    play.run(20, |_, _| None);
    assert_eq!(play.mining_s - before, 20);
}
