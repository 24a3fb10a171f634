//! Lists and leaders: a peer that spoils a list, or serves it slowly, does not delay the others for long.

use super::fixtures::{status, FakeChain};
use super::scenario::{Chain, Scenario};
use crate::share::ShareId;
use crate::sharechain::CandidateOutcome;
use crate::wire::{List, Request, Response};

const LIAR: u64 = 1;
const HONEST: u64 = 2;

fn junk(count: u8) -> Vec<ShareId> {
    (1..=count).map(|n| ShareId([n; 32])).collect()
}

#[test]
fn only_the_leader_extends_its_list() {
    for start in [0, 5_000] {
        let (chain, junk) = (Chain::new(start, 6_000), junk(1));
        let mut scenario = Scenario::new(FakeChain::default());
        scenario.connect(1);
        scenario.run(5, |_, request| Some((0, chain.response(request))));
        scenario.connect(2);
        let waited = scenario.run_until(
            300,
            |scenario| !scenario.finished.is_empty(),
            |peer, request| {
                Some((0, if peer == 1 { chain.response(request) } else { chain.response_with_junk(&junk, request) }))
            },
        );
        assert!(waited < 60, "{waited} s");
        assert!(scenario.ids() == chain.list, "each once, in order, and no more");
        assert_eq!((scenario.dropped, &scenario.misbehaviours), (0, &Vec::new()));
    }
}

#[test]
fn a_list_is_cut_to_what_the_next_leader_has() {
    // The leader itself lists junk behind the end, in the second case more than a batch of it.
    for count in [1, 200] {
        for start in [0, 5_000] {
            let (chain, junk) = (Chain::new(start, 3_000), junk(count));
            let mut scenario = Scenario::new(FakeChain::default());
            scenario.connect(LIAR);
            scenario.connect(HONEST);
            let waited = scenario.run_until(
                600,
                |scenario| !scenario.finished.is_empty(),
                |peer, request| {
                    let is_liar = peer == LIAR;
                    // The liar comes first.
                    let delay = u32::from(!is_liar && *request == Request::Status) * 3;
                    let response = match is_liar {
                        true => chain.response_with_junk(&junk, request),
                        false => chain.response(request),
                    };
                    Some((delay, response))
                },
            );
            assert!(waited < 150, "{waited} s");
            assert!(scenario.ids() == chain.list);
            assert_eq!(scenario.dropped, 0);
            assert!(scenario.misbehaviours.iter().all(|(peer, _)| *peer == LIAR), "{:?}", scenario.misbehaviours);
        }
    }
}

#[test]
fn failing_helpers_neither_end_a_plan_nor_delay_it() {
    let chain = Chain::new(0, 6_000);
    let mut scenario = Scenario::new(FakeChain::default());
    scenario.connect(20);
    scenario.run(4, |_, request| Some((0, chain.response(request))));
    (1..=8).for_each(|peer| scenario.connect(peer));
    let waited = scenario.run_until(
        600,
        |scenario| !scenario.finished.is_empty(),
        |peer, request| match request {
            // As late as is not penalised.
            Request::Shares { .. } if peer != 20 => Some((28, Response::Busy)),
            _ => Some((u32::from(peer == 20), chain.response(request))),
        },
    );
    assert!(waited < 240, "{waited} s");
    assert!(scenario.ids() == chain.list);
    assert_eq!((scenario.dropped, scenario.misbehaviours.len()), (0, 0));
}

#[test]
fn a_leader_that_serves_a_base_drop_by_drop_is_replaced() {
    // This many slow peers lead, one after the other, before the honest one.
    for dripping in [1, 3] {
        let chain = Chain::new(5_000, 17_368);
        let honest = dripping + 1;
        let mut scenario = Scenario::new(FakeChain::default());
        (1..=honest).for_each(|peer| scenario.connect(peer));
        let waited = scenario.run_until(
            1_000,
            |scenario| !scenario.finished.is_empty(),
            |peer, request| match peer < honest {
                true => chain.drip(request),
                false => Some((1, chain.response(request))),
            },
        );
        assert!(waited < 100 * dripping as u32 + 200, "{waited} s");
        assert!(scenario.ids() == chain.list, "what was fetched is kept");
        assert_eq!((scenario.dropped, scenario.misbehaviours.len()), (0, 0));
        let by_honest = scenario.delivered.iter().filter(|(peer, _)| *peer == honest).count();
        assert!(by_honest > 17_000, "{by_honest}");
    }
}

#[test]
fn a_slow_leader_without_helpers_keeps_the_lead() {
    let chain = Chain::new(5_000, 600);
    let mut scenario = Scenario::new(FakeChain::default());
    scenario.connect(1);
    // 20 shares of each batch in 20 s: a quarter of the lowest acceptable rate.
    let respond = |_, request: &Request| match request {
        Request::Shares { ids } => {
            Some((20, chain.response(&Request::Shares { ids: List::first_of(ids.iter().take(20).copied()) })))
        }
        _ => Some((0, chain.response(request))),
    };
    scenario.run_until(700, |scenario| !scenario.finished.is_empty(), respond);
    assert!(scenario.ids() == chain.list);
    assert_eq!(scenario.dropped, 0);
}

#[test]
fn a_list_that_is_served_drop_by_drop_is_replaced_by_another_peers() {
    let chain = Chain::new(0, 3_000);
    let mut scenario = Scenario::new(FakeChain::default());
    scenario.outcome = Some(CandidateOutcome::NotBetter);
    scenario.connect(LIAR);
    scenario.connect(HONEST);
    let all = |scenario: &Scenario| scenario.delivered.iter().any(|(_, id)| *id == chain.tip());
    let waited = scenario.run_until(600, all, |peer, request| match (peer, request) {
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
        (LIAR, _) => Some((0, chain.response(request))),
        (_, Request::Status) => Some((3, chain.response(request))),
        _ => Some((1, chain.response(request))),
    });
    assert!(waited < 250, "{waited} s");
}

#[test]
fn a_page_that_does_not_continue_the_list_ends_it() {
    let chain = Chain::new(0, 10);
    let mut scenario = Scenario::new(FakeChain::default());
    scenario.connect(1);
    scenario.run(100, |_, request| {
        Some((
            0,
            match request {
                Request::Inventory { .. } => Response::Inventory {
                    after: ShareId::ZERO,
                    start_height: Default::default(),
                    ids: List::first_of(chain.list.iter().copied()),
                    more: true,
                },
                _ => chain.response(request),
            },
        ))
    });
    assert_eq!((scenario.finished.len(), scenario.lists_requested_from(1)), (1, 2), "the next page was requested once");
}

#[test]
fn four_slow_peers_do_not_occupy_all_plans() {
    let chains: Vec<Chain> = (0..4).map(|n| Chain::new(100_000 + 10_000 * n, 2_000)).collect();
    let honest = Chain::new(5_000, 3_000);
    let mut scenario = Scenario::new(FakeChain::default());
    (0..4).for_each(|peer| scenario.connect(peer));
    let respond = |peer: u64, request: &Request| match chains.get(peer as usize) {
        Some(chain) => chain.drip(request),
        None => Some((0, honest.response(request))),
    };
    scenario.run(5, respond);
    scenario.connect(9);
    let all = |scenario: &Scenario| scenario.delivered.iter().any(|(_, id)| *id == honest.tip());
    let waited = scenario.run_until(1_000, all, respond);
    assert!((250..400).contains(&waited), "{waited} s");
    assert_eq!(scenario.dropped, 1, "one plan was dropped");
    let of_honest: Vec<ShareId> = scenario.delivered.iter().filter(|(peer, _)| *peer == 9).map(|(_, id)| *id).collect();
    assert!(of_honest == honest.list);
}
