//! The planner alone, against a chain that exists in numbers only: limits, states, and what it makes of bad answers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::world::Rng;
use crate::params::{ChainId, ChainParams, Network};
use crate::share::encoding::tests::longest_share;
use crate::share::{Share, ShareId};
use crate::sharechain::{ApartOutcome, Source};
use crate::sync::{PeerId, RequestId, Route, Sync, SyncAction, SyncState, View};
use crate::units::{ShareHeight, UnixTime, Work};
use crate::wire::{Agent, List, Locator, Offence, PeerStatus, Request, Response};

const START: UnixTime = UnixTime(1_700_000_000);

/// What we hold.
#[derive(Default)]
struct Held(Vec<ShareId>);

impl View for Held {
    fn holds(&self, id: &ShareId) -> bool {
        self.0.contains(id)
    }

    fn tip(&self) -> Option<(ShareId, Work)> {
        self.0.last().map(|tip| (*tip, Work(self.0.len() as u128)))
    }

    fn locator(&self) -> Vec<ShareId> {
        crate::sync::serve::locator_of(&self.0)
    }

    fn below_tip(&self, id: &ShareId) -> Option<u32> {
        self.0.iter().rev().position(|held| held == id).map(|below| below as u32)
    }
}

/// Shares that differ in their headers; nobody looks at their work.
fn shares(from: u32, count: u32) -> Vec<Arc<Share>> {
    (from..from + count)
        .map(|height| {
            let mut share = longest_share();
            share.header.nonce = height;
            share.info.share_height = ShareHeight(height);
            Arc::new(share)
        })
        .collect()
}

fn ids(shares: &[Arc<Share>]) -> Vec<ShareId> {
    shares.iter().map(|share| share.id()).collect()
}

fn params() -> ChainParams {
    ChainParams::standard(Network::Regtest)
}

fn planner() -> Sync {
    Sync::new(&params(), START)
}

fn status(tip: ShareId, work: u128) -> Response {
    Response::Status(PeerStatus {
        chain_id: params().chain_id(),
        tip,
        share_height: ShareHeight(0),
        chain_work: Work(work),
        oldest_height: ShareHeight(0),
        clock: START,
        agent: Agent::default(),
    })
}

fn inventory(after: ShareId, ids: &[ShareId]) -> Response {
    let ids = List::first_of(ids.iter().copied());
    Response::Inventory { after, start_height: ShareHeight(0), ids, more: false }
}

/// All that was asked.
fn asks(actions: &[SyncAction]) -> Vec<(PeerId, RequestId, Request)> {
    actions
        .iter()
        .filter_map(|action| match action {
            SyncAction::Ask { peer, id, request } => Some((*peer, *id, request.clone())),
            _ => None,
        })
        .collect()
}

fn only_ask(actions: &[SyncAction]) -> (RequestId, Request) {
    match asks(actions).as_slice() {
        [(_, id, request)] => (*id, request.clone()),
        other => panic!("one question expected, got {other:?}"),
    }
}

fn offences(actions: &[SyncAction]) -> Vec<(PeerId, Offence)> {
    actions
        .iter()
        .filter_map(|action| match action {
            SyncAction::Penalize { peer, offence } => Some((*peer, *offence)),
            _ => None,
        })
        .collect()
}

/// A peer that said where it is; what the planner asks then.
fn meet(sync: &mut Sync, peer: PeerId, said: Response, view: &Held) -> Vec<SyncAction> {
    let (id, request) = only_ask(&sync.peer_up(peer, START, view));
    assert_eq!(request, Request::Status);
    sync.response(peer, id, said, START, view)
}

/// A peer whose list was taken; the batches asked for.
fn listed(sync: &mut Sync, peer: PeerId, list: &[ShareId], view: &Held) -> Vec<SyncAction> {
    let (id, request) = only_ask(&meet(sync, peer, status(*list.last().unwrap(), 1_000_000), view));
    assert!(matches!(request, Request::Inventory { .. }));
    let after = view.0.last().copied().unwrap_or_default();
    sync.response(peer, id, inventory(after, list), START, view)
}

/// A chain of the standard length from three peers, one of which has pruned as the rules let it: all in order, within
/// the limits, the base from one peer alone.
#[test]
fn a_full_chain_is_planned_within_bounds() {
    let params = params();
    let (first, count) = (5_000, params.shares_kept());
    let all = shares(first, count);
    let list = ids(&all);
    let by_id: HashMap<ShareId, Arc<Share>> = list.iter().copied().zip(all.iter().cloned()).collect();
    let (view, mut sync, mut rng) = (Held::default(), planner(), Rng::new(7));
    let mut now = START;
    let mut under_way: Vec<(PeerId, RequestId, Request)> = Vec::new();
    let (mut delivered, mut finished) = (Vec::new(), false);
    let (mut served, mut served_base): (BTreeMap<PeerId, usize>, HashSet<PeerId>) = Default::default();
    let mut came = 0;
    let mut actions: Vec<SyncAction> = (1..=3).flat_map(|peer| sync.peer_up(peer, now, &view)).collect();
    while !finished {
        for action in actions.drain(..) {
            match action {
                SyncAction::Ask { peer, id, request } => under_way.push((peer, id, request)),
                SyncAction::Deliver { route, shares, .. } => {
                    assert!(matches!(route, Route::Apart(_)));
                    delivered.extend(shares.iter().map(|share| share.id()));
                }
                SyncAction::Finish(_) => finished = true,
                SyncAction::Open { joined, .. } => assert!(!joined),
                SyncAction::Progress(_) | SyncAction::State(_) => {}
                other => panic!("{other:?}"),
            }
        }
        let of_batch = |(_, _, request): &&(PeerId, RequestId, Request)| matches!(request, Request::Shares { .. });
        for peer in 1..=3 {
            let batches = under_way.iter().filter(of_batch).filter(|(of, ..)| *of == peer).count();
            assert!(batches <= 2, "{batches} batches asked of one peer");
        }
        assert!(came - delivered.len() <= 16 * 256, "{} shares wait for their turn", came - delivered.len());
        if under_way.is_empty() {
            now = now.plus(1);
            actions = sync.tick(now, &view);
            continue;
        }
        let (peer, id, request) = under_way.swap_remove(rng.below(under_way.len() as u64) as usize);
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
        actions = sync.response(peer, id, response, now, &view);
    }
    assert_eq!(delivered, list, "each once, oldest first");
    assert_eq!(served_base.len(), 1, "whoever serves the base answers for it alone");
    assert!(served.values().all(|count| *count > 1_000), "all help with the rest: {served:?}");
}

#[test]
fn a_node_without_peers_mines_alone_after_a_minute() {
    let (view, mut sync) = (Held::default(), planner());
    assert!(sync.tick(START.plus(59), &view).is_empty());
    assert!(!sync.state().may_mine() && !sync.may_start_chain());
    let actions = sync.tick(START.plus(60), &view);
    assert_eq!(actions, [SyncAction::State(SyncState::Alone { since: START })]);
    assert!(sync.state().may_mine() && sync.may_start_chain());
    // Whoever comes then may have a better chain: first that is found out.
    let actions = sync.peer_up(1, START.plus(70), &view);
    assert!(actions.contains(&SyncAction::State(SyncState::Syncing)));
    let (id, _) = only_ask(&actions);
    sync.response(1, id, status(ShareId::ZERO, 0), START.plus(71), &view);
    assert_eq!(sync.state(), SyncState::Synced);
    assert!(sync.may_start_chain(), "nobody has a chain");
}

#[test]
fn a_level_node_goes_on_mining_when_its_peers_leave() {
    let (view, mut sync) = (Held(ids(&shares(0, 5))), planner());
    let tip = *view.0.last().unwrap();
    assert!(asks(&meet(&mut sync, 1, status(tip, 5), &view)).is_empty());
    assert_eq!(sync.state(), SyncState::Synced);
    sync.peer_down(1, START.plus(5), &view);
    assert_eq!(sync.state(), SyncState::NoPeers { since: START.plus(5), level: true });
    assert!(sync.state().may_mine());
    // Back within the minute, nothing is lost.
    sync.peer_up(1, START.plus(50), &view);
    assert_eq!(sync.state(), SyncState::Synced);
}

#[test]
fn no_chain_is_started_beside_one_that_a_peer_reports() {
    let (view, mut sync) = (Held::default(), planner());
    meet(&mut sync, 1, status(ShareId([5; 32]), 9), &view);
    assert!(!sync.may_start_chain());
    sync.peer_down(1, START.plus(1), &view);
    sync.tick(START.plus(61), &view);
    assert!(sync.may_start_chain(), "it is gone");
}

#[test]
fn made_up_lists_take_no_jobs_from_a_level_node_but_valid_shares_do() {
    let ours = shares(0, 5);
    let (view, mut sync) = (Held(ids(&ours)), planner());
    meet(&mut sync, 1, status(*view.0.last().unwrap(), 5), &view);
    let (theirs, mut view) = (shares(5, 600), view);
    let actions = listed(&mut sync, 2, &ids(&theirs), &view);
    assert_eq!(sync.state(), SyncState::Synced);
    let (_, id, request) = asks(&actions).remove(0);
    let Request::Shares { ids: asked } = request else { panic!("{request:?}") };
    let given = theirs.iter().filter(|share| asked.contains(&share.id())).cloned();
    let actions = sync.response(2, id, Response::Shares(List::first_of(given)), START, &view);
    assert!(actions.iter().any(|action| matches!(action, SyncAction::Deliver { route: Route::Chain, peer: 2, .. })));
    assert_eq!(sync.state(), SyncState::Synced);
    for id in asked.iter() {
        view.0.push(*id);
        sync.linked(id);
    }
    sync.tick(START.plus(1), &view);
    assert_eq!(sync.state(), SyncState::Syncing);
}

#[test]
fn an_answer_has_thirty_seconds() {
    let (view, mut sync) = (Held::default(), planner());
    let (id, _) = only_ask(&sync.peer_up(1, START, &view));
    assert!(offences(&sync.tick(START.plus(29), &view)).is_empty());
    assert_eq!(offences(&sync.tick(START.plus(30), &view)), [(1, Offence::Late)]);
    // What comes after that is ignored.
    assert!(offences(&sync.response(1, id, status(ShareId([5; 32]), 9), START.plus(31), &view)).is_empty());
    assert!(!asks(&sync.tick(START.plus(60), &view)).is_empty(), "it is asked again a minute after the first time");
}

#[test]
fn what_one_does_not_give_another_is_asked_for() {
    let (view, mut sync) = (Held(ids(&shares(0, 5))), planner());
    let theirs = ids(&shares(5, 100));
    let batch = asks(&listed(&mut sync, 1, &theirs, &view)).remove(0);
    assert!(asks(&meet(&mut sync, 2, status(*theirs.last().unwrap(), 1_000_000), &view)).is_empty(), "it is under way");
    let actions = sync.failed(batch.1, START.plus(1), &view);
    let (id, request) = only_ask(&actions);
    assert_eq!((asks(&actions)[0].0, &request), (2, &batch.2), "the same of the other");
    // Answers by whom it was not asked of, or to what was not asked, change nothing.
    assert!(sync.response(1, id, Response::Shares(List::default()), START.plus(1), &view).is_empty());
    assert!(sync.response(2, RequestId(999), Response::Busy, START.plus(1), &view).is_empty());
}

#[test]
fn answers_that_do_not_fit_the_question_are_offences() {
    let held = shares(0, 5);
    let (view, theirs) = (Held(ids(&held)), shares(5, 10));
    let after = *view.0.last().unwrap();
    let judge = |answer: &dyn Fn(&Request) -> Response| {
        let mut sync = planner();
        let (id, request) = only_ask(&meet(&mut sync, 1, status(ShareId([9; 32]), 1_000), &view));
        offences(&sync.response(1, id, answer(&request), START, &view))
    };
    assert_eq!(judge(&|_| inventory(after, &ids(&theirs))), []);
    assert_eq!(judge(&|_| inventory(ShareId([8; 32]), &ids(&theirs))), [(1, Offence::Unasked)], "not in the locator");
    assert_eq!(judge(&|_| inventory(after, &[ShareId::ZERO])), [(1, Offence::Unasked)], "no share has this id");
    assert_eq!(judge(&|_| Response::Shares(List::default())), [(1, Offence::Unasked)]);
    assert_eq!(judge(&|_| status(ShareId([9; 32]), 1_000)), [(1, Offence::Unasked)]);
    assert_eq!(judge(&|_| Response::Unknown), [(1, Offence::Useless)]);
    assert_eq!(judge(&|_| Response::Busy), []);
    let shares_judge = |given: &[Arc<Share>]| {
        let mut sync = planner();
        let (id, _) = only_ask(&listed(&mut sync, 1, &ids(&theirs), &view));
        offences(&sync.response(1, id, Response::Shares(List::first_of(given.iter().cloned())), START, &view))
    };
    assert_eq!(shares_judge(&theirs), []);
    assert_eq!(shares_judge(&theirs[..4]), [], "the rest is asked for again");
    assert_eq!(shares_judge(&theirs[4..]), [], "the first may have been pruned since");
    assert_eq!(shares_judge(&[]), [(1, Offence::Useless)]);
    assert_eq!(shares_judge(&held[..1]), [(1, Offence::Unasked)]);
    assert_eq!(shares_judge(&[theirs[1].clone(), theirs[0].clone()]), [(1, Offence::Unasked)], "out of order");
}

#[test]
fn a_peer_of_another_chain_is_not_asked_for_anything() {
    let (view, mut sync) = (Held::default(), planner());
    let Response::Status(mut other) = status(ShareId([5; 32]), 9) else { return };
    other.chain_id = ChainId([1; 32]);
    let actions = meet(&mut sync, 1, Response::Status(other), &view);
    assert_eq!(offences(&actions), [(1, Offence::OtherChain)]);
    assert!(asks(&actions).is_empty());
    assert_eq!(sync.state(), SyncState::Synced);
}

#[test]
fn lists_are_asked_of_two_peers_at_once_and_peers_on_one_tip_once() {
    let (view, mut sync) = (Held::default(), planner());
    let tip = |n: u8| status(ShareId([n; 32]), 9);
    assert_eq!(asks(&meet(&mut sync, 1, tip(1), &view)).len(), 1);
    assert_eq!(asks(&meet(&mut sync, 2, tip(1), &view)).len(), 0, "the same tip");
    assert_eq!(asks(&meet(&mut sync, 3, tip(3), &view)).len(), 1);
    assert_eq!(asks(&meet(&mut sync, 4, tip(4), &view)).len(), 0, "two are under way");
}

#[test]
fn plans_are_few_and_a_peer_leads_one() {
    let (view, mut sync) = (Held::default(), planner());
    let mut opened = 0;
    for peer in 1..=8u32 {
        let list = ids(&shares(peer * 1_000, 10));
        let (id, _) = only_ask(&sync.peer_up(peer.into(), START, &view));
        let actions = sync.response(peer.into(), id, status(*list.last().unwrap(), 9), START, &view);
        let Some((_, id, _)) = asks(&actions).pop() else { continue };
        let actions = sync.response(peer.into(), id, inventory(ShareId::ZERO, &list), START, &view);
        opened += actions.iter().filter(|action| matches!(action, SyncAction::Open { .. })).count();
    }
    assert_eq!(opened, crate::sharechain::APART_MAX);
}

#[test]
fn a_chain_that_was_refused_is_left_alone_the_longer_the_longer_it_is() {
    for (len, pause_s) in [(10, 10), (400, 26), (8_000, 330)] {
        let (view, mut sync) = (Held(ids(&shares(0, 5))), planner());
        let theirs = ids(&shares(100_000, len));
        let tip = *theirs.last().unwrap();
        let (id, _) = only_ask(&meet(&mut sync, 1, status(tip, 1_000_000), &view));
        let actions = sync.response(1, id, inventory(ShareId::ZERO, &theirs), START, &view);
        let apart = actions.iter().find_map(|action| match action {
            SyncAction::Open { apart, joined: false } => Some(*apart),
            _ => None,
        });
        sync.judged(apart.unwrap(), &ApartOutcome::NotBetter, START, &view);
        assert_eq!(sync.state(), SyncState::Synced);
        let asked_again = (1..700).find(|second| {
            let asked = asks(&sync.tick(START.plus(*second), &view));
            for (peer, id, request) in &asked {
                if *request == Request::Status {
                    sync.response(*peer, *id, status(tip, 1_000_000), START.plus(*second), &view);
                }
            }
            asked.iter().any(|(.., request)| matches!(request, Request::Inventory { .. }))
        });
        assert_eq!(asked_again, Some(pause_s), "{len} shares");
    }
}

#[test]
fn a_chain_that_comes_drop_by_drop_keeps_nobody_from_mining_for_ever() {
    let (view, mut sync) = (Held(ids(&shares(0, 5))), planner());
    let theirs = shares(5, 10_000);
    let mut asked = asks(&listed(&mut sync, 1, &ids(&theirs)[..8_000], &view));
    for second in 1..1_000 {
        let now = START.plus(second);
        assert_eq!(sync.state() == SyncState::Synced, second > 900, "after {second} s");
        asked.extend(asks(&sync.tick(now, &view)));
        // One share of each batch, as late as the time for answers allows.
        if second % 25 == 0 {
            for (peer, id, request) in std::mem::take(&mut asked) {
                let response = match request {
                    Request::Shares { ids } => {
                        Response::Shares(List::first_of(theirs.iter().filter(|share| share.id() == ids[0]).cloned()))
                    }
                    _ => status(theirs[7_999].id(), 1_000_000),
                };
                asked.extend(asks(&sync.response(peer, id, response, now, &view)));
            }
        }
    }
}

#[test]
fn single_shares_are_asked_of_the_sender_first_then_of_two_others() {
    let (view, mut sync) = (Held(ids(&shares(0, 5))), planner());
    for peer in 1..=5 {
        meet(&mut sync, peer, status(view.0[4], 5), &view);
    }
    let wanted = ShareId([7; 32]);
    let mut asked = Vec::new();
    let mut actions = sync.need(wanted, Source::Peer(4), START, &view);
    assert!(asks(&sync.need(wanted, Source::Peer(3), START, &view)).is_empty(), "it is looked for already");
    while let Some((peer, id, request)) = asks(&actions).pop() {
        assert_eq!(request, Request::Shares { ids: List::first_of([wanted]) });
        asked.push(peer);
        actions = sync.response(peer, id, Response::Shares(List::default()), START, &view);
    }
    assert_eq!(asked, [4, 1, 2]);
    assert!(asks(&sync.need(wanted, Source::Peer(4), START.plus(29), &view)).is_empty());
    sync.tick(START.plus(30), &view);
    assert_eq!(asks(&sync.need(wanted, Source::Peer(4), START.plus(30), &view)).len(), 1, "after a pause again");
    assert!(sync.need(view.0[0], Source::Local, START, &view).is_empty(), "what is held is not needed");
}

#[test]
fn floods_of_missing_parents_ask_little() {
    let (view, mut sync) = (Held(ids(&shares(0, 5))), planner());
    meet(&mut sync, 1, status(view.0[4], 5), &view);
    let mut asked = Vec::new();
    for n in 0..10_000u32 {
        let mut id = [1; 32];
        id[..4].copy_from_slice(&n.to_le_bytes());
        asked.extend(asks(&sync.need(ShareId(id), Source::Peer(1), START, &view)));
    }
    let singles = asked.iter().filter(|(.., request)| matches!(request, Request::Shares { .. })).count();
    assert_eq!(singles, 4);
    assert_eq!(asked.len() - singles, 1, "a piece of its chain is missing: where is it?");
}

#[test]
fn a_single_answer_is_what_was_asked_for() {
    let (view, mut sync) = (Held(ids(&shares(0, 5))), planner());
    meet(&mut sync, 1, status(view.0[4], 5), &view);
    let wanted = shares(50, 2);
    let (id, _) = only_ask(&sync.need(wanted[0].id(), Source::Peer(1), START, &view));
    let actions = sync.response(1, id, Response::Shares(List::first_of([wanted[1].clone()])), START, &view);
    assert_eq!(offences(&actions), [(1, Offence::Unasked)]);
    let (id, _) = only_ask(&sync.need(wanted[1].id(), Source::Local, START.plus(10), &view));
    let actions = sync.response(1, id, Response::Shares(List::first_of([wanted[1].clone()])), START.plus(10), &view);
    let delivered = SyncAction::Deliver { route: Route::Chain, peer: 1, shares: vec![wanted[1].clone()] };
    assert_eq!(actions, [delivered]);
}

#[test]
fn progress_has_a_rate_and_an_estimate() {
    let (view, mut sync) = (Held(ids(&shares(0, 5))), planner());
    let theirs = shares(5, 600);
    let actions = listed(&mut sync, 1, &ids(&theirs), &view);
    for (peer, id, request) in asks(&actions) {
        let Request::Shares { ids } = request else { panic!("{request:?}") };
        let given = theirs.iter().filter(|share| ids.contains(&share.id())).cloned();
        sync.response(peer, id, Response::Shares(List::first_of(given)), START.plus(2), &view);
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

/// What a planner says of our clock when its peers' are so far ahead of ours; and once more a second later.
fn clock_off(peers_ahead_s: &[i64]) -> [Option<i64>; 2] {
    let (view, mut sync) = (Held::default(), planner());
    for (peer, ahead_s) in (1..).zip(peers_ahead_s) {
        let Response::Status(mut said) = status(ShareId::ZERO, 0) else { unreachable!() };
        said.clock = UnixTime((i64::from(START.0) + ahead_s) as u32);
        meet(&mut sync, peer, Response::Status(said), &view);
    }
    [1, 2].map(|at| {
        sync.tick(START.plus(at), &view).into_iter().find_map(|action| match action {
            SyncAction::ClockOff { ahead_s } => Some(ahead_s),
            _ => None,
        })
    })
}

#[test]
fn a_wrong_clock_is_told_by_the_median_of_others_once_in_a_while() {
    assert_eq!(clock_off(&[5_000, -61, -70]), [Some(-61), None]);
    assert_eq!(clock_off(&[600, 601, 599, 602]), [Some(600), None]);
    assert_eq!(clock_off(&[0, 60, -60]), [None, None]);
}

#[test]
fn few_peers_or_half_of_them_cannot_blame_our_clock() {
    for ahead_s in [&[][..], &[600], &[600, 600], &[600, 0, 0], &[600, 600, 0, 0], &[-600, -600, 600, 1]] {
        assert_eq!(clock_off(ahead_s), [None, None], "{ahead_s:?}");
    }
}

#[test]
fn locators_of_the_longest_chains_fit() {
    let list: Vec<ShareId> = ids(&shares(0, 40_000));
    let locator = crate::sync::serve::locator_of(&list);
    assert_eq!(locator[..10], list.iter().rev().take(10).copied().collect::<Vec<_>>()[..]);
    let depth = |id: &ShareId| list.iter().rev().position(|other| other == id).unwrap();
    assert_eq!(locator[10..14].iter().map(depth).collect::<Vec<_>>(), [11, 15, 23, 39]);
    assert_eq!(locator.last(), list.first());
    assert!(Locator::try_from([locator.clone(), locator.clone()].concat()).is_ok(), "that of a plan and of ours");
    assert_eq!(crate::sync::serve::locator_of(&[]), []);
    assert_eq!(crate::sync::serve::locator_of(&list[..1]), list[..1]);
}
