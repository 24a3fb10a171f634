//! How long others can keep a node from mining.

use super::kit::{ids, shares, status, Held, START};
use super::play::{Chain, Play};
use crate::share::ShareId;
use crate::sync::SyncState;
use crate::wire::Request;

const HONEST: u64 = 1;

fn held() -> Held {
    Held(ids(&shares(0, 5)))
}

/// What a peer on our own tip says.
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
    assert!(play.mining_s >= 600 - 42, "{} s", play.mining_s);
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
        assert_eq!(play.sync.state(), SyncState::Alone { since: START });
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
fn a_node_without_a_chain_starts_none_before_all_have_answered() {
    let mut play = Play::new(Held::default());
    play.run(61, |_, _| None);
    assert!(play.sync.may_start_chain());
    play.connect(1);
    assert!(!play.sync.may_start_chain());
    // However often others come and go, and however long that takes.
    for n in 2..100 {
        play.run(20, |_, _| None);
        assert!(!play.sync.may_start_chain());
        play.connect(n);
        play.disconnect(n - 1);
    }
    play.run(5, |_, _| Some((0, status(ShareId::ZERO, 0))));
    assert!(play.sync.may_start_chain(), "nobody has one");
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
    play.sync.linked(&new.tip());
    let before = play.mining_s;
    play.run(20, |_, _| None);
    assert_eq!(play.mining_s - before, 20);
}
