//! Whom to ask for lists, and how many.

use super::kit::{asks, ids, inventory, listed, meet, only_ask, planner, shares, status, Held, START};
use crate::peer::PeerHandle;
use crate::share::ShareId;
use crate::sharechain::CandidateOutcome;
use crate::sync::{SyncAction, SyncState};
use crate::wire::{Locator, Request};

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
        let (id, _) = only_ask(&sync.peer_connected(PeerHandle(peer.into()), START, &view));
        let actions = sync.response(PeerHandle(peer.into()), id, status(*list.last().unwrap(), 9), START, &view);
        let Some((_, id, _)) = asks(&actions).pop() else { continue };
        let actions = sync.response(PeerHandle(peer.into()), id, inventory(ShareId::ZERO, &list), START, &view);
        opened += actions.iter().filter(|action| matches!(action, SyncAction::Open { .. })).count();
    }
    assert_eq!(opened, crate::sharechain::CANDIDATES_MAX);
}

#[test]
fn whoever_gives_lists_and_goes_keeps_nobody_elses_out() {
    let (view, mut sync) = (Held::default(), planner());
    for peer in 1..=4u32 {
        assert!(!asks(&listed(&mut sync, peer.into(), &ids(&shares(peer * 1_000, 10)), &view)).is_empty());
        sync.peer_disconnected(PeerHandle(peer.into()), START, &view);
    }
    let honest = ids(&shares(0, 10));
    let actions = listed(&mut sync, 9, &honest, &view);
    assert!(matches!(&asks(&actions)[..], [(9, _, Request::Shares { ids })] if ids[..] == honest));
    assert_eq!(actions.iter().filter(|action| matches!(action, SyncAction::Open { .. })).count(), 1);
}

#[test]
fn a_chain_that_was_refused_is_left_alone_the_longer_the_longer_it_is() {
    for (len, pause_s) in [(10, 10), (400, 26), (8_000, 330)] {
        let (view, mut sync) = (Held(ids(&shares(0, 5))), planner());
        let theirs = ids(&shares(100_000, len));
        let tip = *theirs.last().unwrap();
        let (id, _) = only_ask(&meet(&mut sync, 1, status(tip, 1_000_000), &view));
        let actions = sync.response(PeerHandle(1), id, inventory(ShareId::ZERO, &theirs), START, &view);
        let candidate = actions.iter().find_map(|action| match action {
            SyncAction::Open { candidate, joined: false } => Some(*candidate),
            _ => None,
        });
        sync.candidate_judged(candidate.unwrap(), &CandidateOutcome::NotBetter, START, &view);
        assert_eq!(sync.state(), SyncState::Synced);
        let asked_again = (1..700).find(|second| {
            let asked = asks(&sync.tick(START.plus(*second), &view));
            for (peer, id, request) in &asked {
                if *request == Request::Status {
                    sync.response(PeerHandle(*peer), *id, status(tip, 1_000_000), START.plus(*second), &view);
                }
            }
            asked.iter().any(|(.., request)| matches!(request, Request::Inventory { .. }))
        });
        assert_eq!(asked_again, Some(pause_s), "{len} shares");
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
