//! Lists and leads: whoever spoils a list, or is slow with it, keeps nobody from the shares for long.

use super::kit::{status, Held};
use super::play::{Chain, Play};
use crate::share::ShareId;
use crate::sharechain::CandidateOutcome;
use crate::wire::{List, Request, Response};

const LIAR: u64 = 1;
const HONEST: u64 = 2;

fn junk(count: u8) -> Vec<ShareId> {
    (1..=count).map(|n| ShareId([n; 32])).collect()
}

#[test]
fn nobody_adds_to_the_list_of_another() {
    for start in [0, 5_000] {
        let (chain, junk) = (Chain::new(start, 6_000), junk(1));
        let mut play = Play::new(Held::default());
        play.connect(1);
        play.run(5, |_, request| Some((0, chain.answer(request))));
        play.connect(2);
        let waited = play.run_until(
            300,
            |play| !play.finished.is_empty(),
            |peer, request| {
                Some((0, if peer == 1 { chain.answer(request) } else { chain.answer_with_junk(&junk, request) }))
            },
        );
        assert!(waited < 60, "{waited} s");
        assert!(play.ids() == chain.list, "each once, in order, and no more");
        assert_eq!((play.dropped, &play.offences), (0, &Vec::new()));
    }
}

#[test]
fn a_list_ends_where_the_next_leader_s_shares_end() {
    // Junk behind the end, more than a batch of it, given by the leader itself.
    for count in [1, 200] {
        for start in [0, 5_000] {
            let (chain, junk) = (Chain::new(start, 3_000), junk(count));
            let mut play = Play::new(Held::default());
            play.connect(LIAR);
            play.connect(HONEST);
            let waited = play.run_until(
                600,
                |play| !play.finished.is_empty(),
                |peer, request| {
                    let is_liar = peer == LIAR;
                    // It is there first.
                    let delay = u32::from(!is_liar && *request == Request::Status) * 3;
                    let answer = if is_liar { chain.answer_with_junk(&junk, request) } else { chain.answer(request) };
                    Some((delay, answer))
                },
            );
            assert!(waited < 150, "{waited} s");
            assert!(play.ids() == chain.list);
            assert_eq!(play.dropped, 0);
            assert!(play.offences.iter().all(|(peer, _)| *peer == LIAR), "{:?}", play.offences);
        }
    }
}

#[test]
fn helpers_that_fail_neither_end_a_plan_nor_hold_it_up() {
    let chain = Chain::new(0, 6_000);
    let mut play = Play::new(Held::default());
    play.connect(20);
    play.run(4, |_, request| Some((0, chain.answer(request))));
    (1..=8).for_each(|peer| play.connect(peer));
    let waited = play.run_until(
        600,
        |play| !play.finished.is_empty(),
        |peer, request| match request {
            // As late as possible.
            Request::Shares { .. } if peer != 20 => Some((28, Response::Busy)),
            _ => Some((u32::from(peer == 20), chain.answer(request))),
        },
    );
    assert!(waited < 240, "{waited} s");
    assert!(play.ids() == chain.list);
    assert_eq!((play.dropped, play.offences.len()), (0, 0));
}

#[test]
fn whoever_gives_a_base_drop_by_drop_loses_the_lead() {
    // So many drip, one after the other, and lead before the honest one comes.
    for dripping in [1, 3] {
        let chain = Chain::new(5_000, 17_368);
        let honest = dripping + 1;
        let mut play = Play::new(Held::default());
        (1..=honest).for_each(|peer| play.connect(peer));
        let waited = play.run_until(
            1_000,
            |play| !play.finished.is_empty(),
            |peer, request| match peer < honest {
                true => chain.drip(request),
                false => Some((1, chain.answer(request))),
            },
        );
        assert!(waited < 100 * dripping as u32 + 200, "{waited} s");
        assert!(play.ids() == chain.list, "what was fetched is kept");
        assert_eq!((play.dropped, play.offences.len()), (0, 0));
        let by_honest = play.delivered.iter().filter(|(peer, _)| *peer == honest).count();
        assert!(by_honest > 17_000, "{by_honest}");
    }
}

#[test]
fn a_slow_leader_without_another_goes_on() {
    let chain = Chain::new(5_000, 600);
    let mut play = Play::new(Held::default());
    play.connect(1);
    // 20 shares of each batch in 20 s: a quarter of the slowest rate.
    let answer = |_, request: &Request| match request {
        Request::Shares { ids } => {
            Some((20, chain.answer(&Request::Shares { ids: List::first_of(ids.iter().take(20).copied()) })))
        }
        _ => Some((0, chain.answer(request))),
    };
    play.run_until(700, |play| !play.finished.is_empty(), answer);
    assert!(play.ids() == chain.list);
    assert_eq!(play.dropped, 0);
}

#[test]
fn a_list_that_comes_drop_by_drop_is_fetched_from_others() {
    let chain = Chain::new(0, 3_000);
    let mut play = Play::new(Held::default());
    play.outcome = Some(CandidateOutcome::NotBetter);
    play.connect(LIAR);
    play.connect(HONEST);
    let all = |play: &Play| play.delivered.iter().any(|(_, id)| *id == chain.tip());
    let waited = play.run_until(600, all, |peer, request| match (peer, request) {
        (LIAR, Request::Inventory { locator }) => {
            let after = locator.first().copied();
            let at = after.map_or(0, |after| chain.list.iter().position(|id| *id == after).unwrap() + 1);
            let page = Response::Inventory {
                after: after.unwrap_or_default(),
                start_height: Default::default(),
                ids: List::first_of([chain.list[at]]),
                more: true,
            };
            Some((if at == 0 { 0 } else { 25 }, page))
        }
        (LIAR, Request::Status) => Some((0, status(ShareId([9; 32]), 9))),
        (LIAR, _) => Some((0, chain.answer(request))),
        (_, Request::Status) => Some((3, chain.answer(request))),
        _ => Some((1, chain.answer(request))),
    });
    assert!(waited < 250, "{waited} s");
}

#[test]
fn a_page_that_does_not_go_on_ends_the_list() {
    let chain = Chain::new(0, 10);
    let mut play = Play::new(Held::default());
    play.connect(1);
    play.run(100, |_, request| {
        Some((
            0,
            match request {
                Request::Inventory { .. } => Response::Inventory {
                    after: ShareId::ZERO,
                    start_height: Default::default(),
                    ids: List::first_of(chain.list.iter().copied()),
                    more: true,
                },
                _ => chain.answer(request),
            },
        ))
    });
    assert_eq!((play.finished.len(), play.lists_asked_of(1)), (1, 2), "asked for what follows once");
}

#[test]
fn four_who_drip_lists_of_their_own_do_not_hold_all_places() {
    let chains: Vec<Chain> = (0..4).map(|n| Chain::new(100_000 + 10_000 * n, 2_000)).collect();
    let honest = Chain::new(5_000, 3_000);
    let mut play = Play::new(Held::default());
    (0..4).for_each(|peer| play.connect(peer));
    let answer = |peer: u64, request: &Request| match chains.get(peer as usize) {
        Some(chain) => chain.drip(request),
        None => Some((0, honest.answer(request))),
    };
    play.run(5, answer);
    play.connect(9);
    let all = |play: &Play| play.delivered.iter().any(|(_, id)| *id == honest.tip());
    let waited = play.run_until(1_000, all, answer);
    assert!((250..400).contains(&waited), "{waited} s");
    assert_eq!(play.dropped, 1, "one made way");
    let of_honest: Vec<ShareId> = play.delivered.iter().filter(|(peer, _)| *peer == 9).map(|(_, id)| *id).collect();
    assert!(of_honest == honest.list);
}
