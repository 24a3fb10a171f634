//! Who responses for what: nobody for another's lies.

use super::kit::Held;
use super::play::{Chain, Play};
use crate::peer::PeerHandle;
use crate::share::ShareId;
use crate::sharechain::{CandidateOutcome, Rule, Source};
use crate::units::ShareHeight;
use crate::wire::{List, Offence, Request, Response};

const RULES: [Rule; 7] =
    [Rule::Form, Rule::ProofOfWork, Rule::Lineage, Rule::Time, Rule::Anchor, Rule::Uncles, Rule::Payouts];

/// Two peers fetch one chain with a base; the first gave the list, and may leave. When all is there it breaks a rule
/// by a share that the second, or whoever is told, gave.
fn judged(chain: &Chain, leaves: bool, culprit: u64, rule: Rule) -> Play {
    let mut play = Play::new(Held::default());
    play.connect(1);
    play.connect(2);
    let answer = |peer: u64, request: &Request| {
        Some((if peer == 2 && *request == Request::Status { 2 } else { 0 }, chain.answer(request)))
    };
    play.run(3, answer);
    if leaves {
        play.disconnect(1);
    }
    play.outcome =
        Some(CandidateOutcome::False { rule, why: "", source: Source::Fetch(PeerHandle(culprit)), on_base: true });
    play.run_until(60, |play| !play.finished.is_empty(), answer);
    play
}

#[test]
fn who_takes_over_a_base_is_not_blamed_for_it_and_is_asked_for_all_of_it_then() {
    let chain = Chain::new(5_000, 3_000);
    for rule in RULES {
        let mut play = judged(&chain, true, 2, rule);
        if matches!(rule, Rule::Form | Rule::ProofOfWork) {
            assert_eq!(play.offences, [(2, Offence::BrokenRule(rule))], "such a share is bad by itself");
            continue;
        }
        assert_eq!(play.offences, [], "{rule:?}");
        // From it alone, though another that has the same chain comes.
        play.delivered.clear();
        play.connect(3);
        play.run_until(60, |play| play.finished.len() == 2, |_, request| Some((0, chain.answer(request))));
        assert!(play.delivered.iter().all(|(peer, _)| *peer == 2));
        assert!(play.ids() == chain.list);
        // Now that all of it is its own it responses for it. Rules 5 and 6 can be broken by bad luck.
        let expected = if rule.proves_fault() { Offence::FalseChain } else { Offence::BrokenRule(rule) };
        assert_eq!(play.offences, [(2, expected)]);
    }
}

#[test]
fn who_gave_list_and_base_answers_for_its_own_shares_and_nobody_else() {
    let chain = Chain::new(5_000, 3_000);
    for rule in RULES {
        let own = judged(&chain, false, 1, rule);
        let on_base = rule.proves_fault() && !matches!(rule, Rule::Form | Rule::ProofOfWork);
        let expected = if on_base { Offence::FalseChain } else { Offence::BrokenRule(rule) };
        assert_eq!(own.offences, [(1, expected)], "{rule:?}");
        let helpers = judged(&chain, false, 2, rule);
        let by_itself = matches!(rule, Rule::Form | Rule::ProofOfWork);
        let expected = if by_itself { vec![(2, Offence::BrokenRule(rule))] } else { vec![] };
        assert_eq!(helpers.offences, expected, "{rule:?}");
    }
}

#[test]
fn who_takes_over_a_list_does_not_answer_for_where_it_was_said_to_start() {
    for leaves in [true, false] {
        let chain = Chain::new(5_000, 1_000);
        let mut play = Play::new(Held::default());
        play.connect(1);
        play.connect(2);
        let answer = |peer: u64, request: &Request| {
            let delay = if peer == 2 && *request == Request::Status { 2 } else { 0 };
            match (peer, chain.answer(request)) {
                (1, Response::Inventory { after, ids, more, .. }) => {
                    Some((0, Response::Inventory { after, start_height: ShareHeight(9), ids, more }))
                }
                (1, Response::Shares(_)) if leaves => None,
                (_, answer) => Some((delay, answer)),
            }
        };
        play.run(3, answer);
        if leaves {
            play.disconnect(1);
        }
        play.run_until(60, |play| !play.finished.is_empty(), answer);
        let expected = if leaves { vec![] } else { vec![(1, Offence::Unasked)] };
        assert_eq!((play.offences.clone(), play.dropped), (expected, 1));
        assert_eq!(play.lists_asked_of(2), 1, "it is asked for its own");
        assert!(play.ids().ends_with(&chain.list));
    }
}

#[test]
fn helpers_are_not_blamed_for_what_they_never_said_they_have() {
    let chain = Chain::new(0, 2_000);
    let mut list = chain.list.clone();
    list.splice(300..300, (1..=250u8).map(|n| ShareId([n; 32])));
    for unknown in [true, false] {
        let mut play = Play::new(Held::default());
        play.connect(1);
        play.connect(2);
        play.run(200, |peer, request| match (peer, request) {
            (1, Request::Inventory { .. }) => Some((
                0,
                Response::Inventory {
                    after: ShareId::ZERO,
                    start_height: ShareHeight(0),
                    ids: List::first_of(list.iter().copied()),
                    more: false,
                },
            )),
            (1, Request::Shares { .. }) => Some((20, Response::Busy)),
            (2, Request::Status) => Some((2, chain.answer(request))),
            _ => Some((
                0,
                match chain.answer(request) {
                    Response::Shares(shares) if shares.is_empty() && unknown => Response::Unknown,
                    answer => answer,
                },
            )),
        });
        assert_eq!(play.offences, []);
        assert!(play.delivered.iter().any(|(_, id)| *id == chain.tip()), "by a list of its own");
    }
}
