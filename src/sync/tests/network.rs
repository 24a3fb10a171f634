//! Nodes that join, fall behind, fork and are lied to end on the best chain.

use crate::peer::PeerHandle;
use std::sync::Arc;

use super::world::{chain, copy, mine, pruned, Manner, Remote, Rng, World};
use crate::params::ChainParams;
use crate::sharechain::tests_support::{params, Kit};
use crate::sharechain::{Rule, Sharechain, Source, Verdict};
use crate::sync::SyncState;
use crate::units::UnixTime;
use crate::wire::Offence;

/// A node that starts with this chain.
fn node(kit: Kit) -> World {
    let now = kit.now;
    World::new(kit.chain, now, 1)
}

fn newcomer(kit: &Kit) -> World {
    World::newcomer(kit.now, 1)
}

fn tip(kit: &Kit) -> crate::share::ShareId {
    kit.tip()
}

#[test]
fn a_newcomer_takes_a_whole_chain() {
    let theirs = chain(params(), 50, 1, 30);
    let mut world = newcomer(&theirs);
    assert!(!world.sync.state().may_mine());
    world.connect(1, Remote::new(&theirs, Manner::Honest));
    assert_eq!(world.sync.state(), SyncState::Syncing);
    world.run_until(10, |world| world.tip() == tip(&theirs));
    assert_eq!(world.sync.state(), SyncState::Synced);
    assert_eq!(world.chain.tree().len(), 50);
    assert!(world.chain.tree().shares().all(|node| node.verified));
    assert!(world.offences.is_empty(), "{:?}", world.offences);
}

#[test]
fn a_newcomer_takes_a_chain_that_was_pruned_long_ago() {
    let theirs = pruned(chain(params(), 300, 1, 30));
    let kept = params().shares_kept() as usize;
    assert_eq!(theirs.chain.tree().len(), kept);
    let mut world = newcomer(&theirs);
    world.connect(1, Remote::new(&theirs, Manner::Honest));
    world.connect(2, Remote::new(&theirs, Manner::Honest));
    world.run_until(10, |world| world.tip() == tip(&theirs));
    assert_eq!(world.sync.state(), SyncState::Synced);
    assert_eq!(world.chain.tree().len(), kept);
    let unverified = world.chain.tree().shares().filter(|node| !node.verified).count();
    assert!(unverified <= params().payout_window as usize + 4, "{unverified} shares of the base");
    // Purpose is built on it is judged as any other share.
    let mut theirs = theirs;
    theirs.now = world.now;
    let next = theirs.next();
    let effects = world.chain.receive(Arc::new(next.clone()), Source::Fetch(PeerHandle(1)), world.now);
    world.take(effects);
    assert_eq!(world.tip(), next.id());
}

#[test]
fn a_node_that_was_away_catches_up_directly() {
    let theirs = chain(params(), 60, 1, 30);
    let mut world = node(copy(&theirs, 20));
    world.now = theirs.now;
    world.connect(1, Remote::new(&theirs, Manner::Honest));
    world.run_until(10, |world| world.tip() == tip(&theirs));
    assert_eq!(world.chain.tree().len(), 60);
}

#[test]
fn a_short_branch_of_ours_gives_way_to_a_better_one() {
    let base = chain(params(), 40, 1, 30);
    let mut ours = copy(&base, 40);
    mine(&mut ours, 3, 2, 30);
    let mut theirs = copy(&base, 40);
    mine(&mut theirs, 8, 3, 30);
    let mut world = node(ours);
    world.now = theirs.now;
    world.connect(1, Remote::new(&theirs, Manner::Honest));
    world.run_until(10, |world| world.tip() == tip(&theirs));
    assert_eq!(world.sync.state(), SyncState::Synced);
}

#[test]
fn a_lesser_branch_is_left_alone() {
    let base = chain(params(), 40, 1, 30);
    let mut ours = copy(&base, 40);
    mine(&mut ours, 8, 2, 30);
    let mut theirs = copy(&base, 40);
    mine(&mut theirs, 3, 3, 30);
    let before = tip(&ours);
    let mut world = node(ours);
    world.connect(1, Remote::new(&theirs, Manner::Honest));
    world.run(200);
    assert_eq!(world.tip(), before);
    assert_eq!(world.sync.state(), SyncState::Synced);
    assert_eq!(world.chain.tree().len(), 48, "nothing of it was fetched");
}

/// Windows so long that a fork from below the last 288 shares is held.
fn long() -> ChainParams {
    ChainParams { payout_window: 400, ..params() }
}

#[test]
fn a_fork_from_far_below_is_kept_apart_and_taken_if_better() {
    let base = chain(long(), 20, 1, 30);
    let mut ours = copy(&base, 20);
    mine(&mut ours, 320, 2, 30);
    let mut theirs = copy(&base, 20);
    mine(&mut theirs, 340, 3, 30);
    let mut world = node(ours);
    world.now = theirs.now;
    let before = world.tip();
    world.connect(1, Remote::new(&theirs, Manner::Honest));
    world.run(1);
    assert_ne!(before, tip(&theirs));
    world.run_until(20, |world| world.tip() == tip(&theirs));
    assert_eq!(world.chain.tree().len(), 20 + 320 + 340, "the branch that lost is still there");
    assert_eq!(world.chain.waiting(), (0, 0));
}

#[test]
fn a_chain_that_does_not_join_ours_is_judged_by_the_rules() {
    let stronger = chain(params(), 100, 2, 20);
    let weaker = chain(params(), 70, 3, 30);
    let mut world = node(copy(&weaker, 60));
    world.now = stronger.now.max(weaker.now);
    world.connect(1, Remote::new(&stronger, Manner::Honest));
    world.run_until(10, |world| world.tip() == tip(&stronger));
    // The other way round nothing moves, and it is not fetched over and over.
    let mut world = node(copy(&stronger, 100));
    world.now = stronger.now.max(weaker.now);
    world.connect(1, Remote::new(&weaker, Manner::Honest));
    world.run(300);
    assert_eq!(world.tip(), tip(&stronger));
    assert_eq!(world.sync.state(), SyncState::Synced, "work goes on meanwhile");
    // Six statuses; every twelve seconds or so a list and a batch.
    assert!(world.requests < 6 + 2 * 300 / 11, "{} requests", world.requests);
}

#[test]
fn a_newcomer_compares_what_it_is_offered() {
    let stronger = chain(params(), 100, 2, 20);
    let weaker = chain(params(), 70, 3, 30);
    for first in [&stronger, &weaker] {
        let second = if std::ptr::eq(first, &stronger) { &weaker } else { &stronger };
        let mut world = World::newcomer(stronger.now.max(weaker.now), 1);
        world.connect(1, Remote::new(first, Manner::Honest));
        world.connect(2, Remote::new(second, Manner::Slow(3)));
        world.run_until(30, |world| world.sync.state() == SyncState::Synced);
        assert_eq!(world.tip(), tip(&stronger));
    }
}

#[test]
fn a_slow_stranger_keeps_a_newcomer_waiting_no_longer_than_a_minute() {
    let theirs = chain(params(), 50, 1, 30);
    let mut world = newcomer(&theirs);
    world.connect(1, Remote::new(&chain(params(), 20, 2, 30), Manner::Slow(28)));
    world.run(57);
    world.connect(2, Remote::new(&theirs, Manner::Honest));
    let waited = world.run_until(100, |world| world.tip() == tip(&theirs));
    assert!(waited <= 62, "{waited} s");
}

#[test]
fn liars_are_found_out_and_the_honest_chain_is_taken() {
    let theirs = pruned(chain(params(), 150, 1, 30));
    for (manner, offence) in [
        (Manner::Mute, Some(Offence::Late)),
        (Manner::Boaster, Some(Offence::Useless)),
        (Manner::Substitute, Some(Offence::Unasked)),
        (Manner::Empty, Some(Offence::Useless)),
        (Manner::Busy, None),
    ] {
        for liar_first in [true, false] {
            let mut world = newcomer(&theirs);
            let (liar, honest) = if liar_first { (1, 2) } else { (2, 1) };
            world.connect(1, Remote::new(&theirs, if liar == 1 { manner } else { Manner::Honest }));
            world.connect(2, Remote::new(&theirs, if liar == 2 { manner } else { Manner::Honest }));
            world.run_until(400, |world| world.tip() == tip(&theirs));
            world.run_until(200, |world| world.sync.state() == SyncState::Synced);
            assert!(world.offences.iter().all(|(peer, _)| *peer != honest), "{manner:?}: {:?}", world.offences);
            if liar_first {
                assert_eq!(world.offences.first().map(|(_, offence)| *offence), offence, "{manner:?}");
            }
        }
    }
}

#[test]
fn who_forges_the_base_of_a_chain_is_blamed_for_it() {
    let theirs = pruned(chain(params(), 150, 1, 30));
    let mut world = newcomer(&theirs);
    world.connect(1, Remote::new(&theirs, Manner::Forger));
    world.run(30);
    assert!(world.chain.tree().is_empty());
    assert!(world.offences.contains(&(1, Offence::FalseChain)), "{:?}", world.offences);
    world.connect(2, Remote::new(&theirs, Manner::Honest));
    world.run_until(60, |world| world.tip() == tip(&theirs));
    assert!(world.offences.iter().all(|(peer, _)| *peer == 1));
}

#[test]
fn who_forges_single_shares_of_anothers_chain_gets_nowhere_for_long() {
    let theirs = pruned(chain(long(), 900, 1, 30));
    let mut world = World::new(Sharechain::new(Kit::with(long()).chain.tree().snapshot()), theirs.now, 1);
    world.connect(1, Remote::new(&theirs, Manner::Honest));
    world.connect(2, Remote::new(&theirs, Manner::Forger));
    world.run_until(400, |world| world.tip() == tip(&theirs));
    assert!(world.offences.iter().all(|(peer, _)| *peer == 2), "{:?}", world.offences);
}

#[test]
fn a_forged_share_on_our_own_chain_is_its_senders_fault_alone() {
    let theirs = chain(params(), 60, 1, 30);
    let mut world = node(copy(&theirs, 20));
    world.now = theirs.now;
    world.connect(1, Remote::new(&theirs, Manner::Forger));
    world.run(5);
    assert!(world.verdicts.iter().any(|verdict| matches!(
        verdict,
        (Source::Fetch(PeerHandle(1)), Verdict::Rejected { rule: Rule::Payouts, .. })
    )));
    world.connect(2, Remote::new(&theirs, Manner::Honest));
    world.run_until(100, |world| world.tip() == tip(&theirs));
}

#[test]
fn fetching_goes_on_where_it_stopped_when_its_source_disappears() {
    let theirs = chain(ChainParams { payout_window: 1_000, ..params() }, 1_500, 1, 30);
    let chain = Sharechain::new(Kit::with(ChainParams { payout_window: 1_000, ..params() }).chain.tree().snapshot());
    let mut world = World::new(chain, theirs.now, 1);
    world.connect(1, Remote::new(&theirs, Manner::Slow(1)));
    // Status, list, and the first two batches.
    world.run(3);
    assert!(world.tip() != tip(&theirs));
    world.disconnect(1);
    let before = world.requests;
    world.run(30);
    world.connect(2, Remote::new(&theirs, Manner::Honest));
    world.run_until(60, |world| world.tip() == tip(&theirs));
    // Of six batches the first two are not fetched again: a status, a list and four batches, and status schedule.
    assert!(world.requests - before <= 8, "{} requests", world.requests - before);
}

#[test]
fn a_missing_parent_is_fetched_from_whoever_sent_the_child() {
    let theirs = chain(params(), 40, 1, 30);
    let mut world = node(copy(&theirs, 38));
    world.connect(1, Remote::new(&copy(&theirs, 38), Manner::Honest));
    world.run(2);
    assert_eq!(world.sync.state(), SyncState::Synced);
    world.peers.insert(1, Remote::new(&theirs, Manner::Honest));
    world.now = theirs.now;
    let newest = theirs.chain.tree().tip().unwrap();
    let effects = world.chain.receive(Arc::clone(&newest.share), Source::Fetch(PeerHandle(1)), world.now);
    world.take(effects);
    world.settle();
    assert_eq!(world.tip(), tip(&theirs));
    assert_eq!(world.sync.state(), SyncState::Synced);
}

#[test]
fn what_gossip_missed_comes_with_the_next_round() {
    let theirs = chain(params(), 60, 1, 30);
    let mut world = node(copy(&theirs, 40));
    world.now = theirs.now;
    world.connect(1, Remote::new(&copy(&theirs, 40), Manner::Honest));
    world.run(2);
    world.peers.insert(1, Remote::new(&theirs, Manner::Honest));
    let waited = world.run_until(70, |world| world.tip() == tip(&theirs));
    assert!((50..=61).contains(&waited), "{waited} s");
}

/// After a partition only the losing side knows its stale shares. When one of its nodes names one as an uncle, those of
/// the other side fetch it, whether they hear of the nephew or find it when they ask for what they missed.
#[test]
fn a_stale_share_of_the_losing_side_comes_to_the_others_when_it_is_named() {
    let common = chain(params(), 30, 1, 30);
    let (mut losing, mut winning) = (copy(&common, 30), copy(&common, 30));
    mine(&mut losing, 1, 2, 30);
    mine(&mut winning, 3, 3, 30);
    let stale = tip(&losing);
    winning.chain.tree().anchors().for_each(|anchor| losing.chain.tree_mut().add_anchor(anchor.clone()));
    for id in &winning.chain.tree().main_chain()[30..] {
        let share = (*winning.chain.tree().get(id).unwrap().share).clone();
        assert_eq!(losing.give_at(&share), Verdict::Accepted);
    }
    assert_eq!(tip(&losing), tip(&winning));
    let before = Remote::new(&losing, Manner::Honest);
    losing.now = winning.now;
    mine(&mut losing, 1, 2, 30);
    let nephew = Arc::clone(&losing.chain.tree().tip().unwrap().share);
    assert_eq!(nephew.info.uncles, [stale]);
    for has_reported in [true, false] {
        let mut world = node(copy(&winning, 33));
        world.now = losing.now;
        world.connect(1, Remote { tree: before.tree.snapshot(), manner: Manner::Honest });
        world.run(2);
        assert_eq!(world.sync.state(), SyncState::Synced);
        assert!(!world.chain.tree().contains(&stale));
        world.peers.insert(1, Remote::new(&losing, Manner::Honest));
        if has_reported {
            let effects = world.chain.receive(Arc::clone(&nephew), Source::Fetch(PeerHandle(1)), world.now);
            world.take(effects);
            world.settle();
        } else {
            world.run_until(61, |world| world.tip() == nephew.id());
        }
        assert_eq!(world.tip(), nephew.id(), "heard: {has_reported}");
        assert!(world.chain.tree().contains(&stale));
    }
}

#[test]
fn a_chain_waits_for_bitcoin_blocks_and_is_given_up_without() {
    let theirs = chain(params(), 50, 1, 30);
    let mut world = newcomer(&theirs);
    world.known_anchors = Some(2);
    world.connect(1, Remote::new(&theirs, Manner::Honest));
    world.run(300);
    assert!(world.chain.tree().is_empty());
    assert_eq!(world.sync.state(), SyncState::Syncing);
    world.known_anchors = None;
    world.run_until(10, |world| world.tip() == tip(&theirs));

    let mut world = newcomer(&theirs);
    world.known_anchors = Some(2);
    world.connect(1, Remote::new(&theirs, Manner::Honest));
    world.run(620);
    assert_eq!(world.sync.state(), SyncState::Synced, "nothing is to be had for now");
    assert!(!world.sync.may_start_chain(), "but there is a chain");
    assert!(world.offences.is_empty(), "bad luck is no offence");
}

/// Peers with all manners, on the best chain, behind it, on forks of it and on chains of their own, that come and go.
#[test]
fn whatever_the_peers_do_the_best_chain_is_found() {
    // Faster than asked for, so that its windows have more work than the other's.
    let best = chain(params(), 120, 1, 20);
    let other = chain(params(), 60, 9, 40);
    let mut fork = copy(&best, 100);
    mine(&mut fork, 12, 7, 20);
    let best_tip = tip(&best);
    let (best_pruned, manners) = (
        pruned(copy(&best, 120)),
        [
            Manner::Honest,
            Manner::Slow(2),
            Manner::Slow(20),
            Manner::Lossy(30),
            Manner::Lossy(70),
            Manner::Mute,
            Manner::Boaster,
            Manner::Substitute,
            Manner::Forger,
            Manner::Empty,
            Manner::Busy,
        ],
    );
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let start = match rng.below(4) {
            0 => copy(&best, 0),
            1 => copy(&best, 90),
            2 => copy(&fork, 108),
            _ => copy(&other, 30),
        };
        let is_new = start.chain.tree().is_empty();
        let mut world = World::new(start.chain, best.now, seed);
        let chains = [&best, &best_pruned, &fork, &other];
        let honest = rng.below(4);
        for peer in 0..4 + rng.below(3) {
            let manner = if peer == honest { Manner::Honest } else { manners[rng.below(11) as usize] };
            let chain = if peer == honest { chains[rng.below(2) as usize] } else { chains[rng.below(4) as usize] };
            world.connect(peer, Remote::new(chain, manner));
            world.run(rng.below(3) as u32);
        }
        // Some leave, one comes back, while all this goes on.
        for _ in 0..3 {
            let peer = rng.below(7);
            if peer != honest && world.peers.contains_key(&peer) {
                world.disconnect(peer);
            }
            world.run(rng.below(20) as u32);
        }
        world.run_until(1_500, |world| world.tip() == best_tip);
        world.run(600);
        assert_eq!(world.tip(), best_tip, "seed {seed}: it stays there");
        assert!(world.sync.state().may_mine(), "seed {seed}: {:?}", world.sync);
        let blamed: Vec<_> = world.offences.iter().filter(|(peer, _)| *peer == honest).collect();
        assert!(blamed.is_empty(), "seed {seed}, newcomer {is_new}: {blamed:?}");
    }
}

/// With the windows of the rules: 17,368 shares on 8,700 Bitcoin blocks, each checked as far as it can be.
#[test]
fn a_newcomer_takes_a_pruned_chain_of_full_length() {
    let standard = ChainParams::standard(crate::params::Network::Regtest);
    let kept = standard.shares_kept();
    let theirs = pruned(chain(standard.clone(), kept + 200, 1, 30));
    let mut world = World::new(Sharechain::new(Kit::with(standard.clone()).chain.tree().snapshot()), theirs.now, 1);
    world.connect(1, Remote::new(&theirs, Manner::Honest));
    world.run_until(10, |world| world.tip() == tip(&theirs));
    let verified = world.chain.tree().shares().filter(|node| node.verified).count();
    assert_eq!(world.chain.tree().len(), kept as usize);
    assert!(verified >= standard.payout_window as usize, "{verified} verified");
    assert!(world.requests < 80, "{} requests", world.requests);
}

#[test]
fn a_clock_that_is_set_while_a_chain_is_fetched_stops_nothing_and_blames_nobody() {
    for set in [|now: UnixTime| now.minus(7_200), |now: UnixTime| now.plus(86_400)] {
        let theirs = pruned(chain(params(), 300, 1, 30));
        let mut world = World::newcomer(theirs.now.plus(7_300), 1);
        world.connect(1, Remote::new(&theirs, Manner::Slow(5)));
        world.connect(2, Remote::new(&theirs, Manner::Mute));
        world.run(7);
        world.now = set(world.now);
        world.run_until(90, |world| world.tip() == tip(&theirs));
        world.run_until(90, |world| world.sync.state() == SyncState::Synced);
        assert!(world.offences.iter().all(|(peer, _)| *peer == 2), "{:?}", world.offences);
        assert!(world.offences.len() <= 4, "once a minute: {:?}", world.offences);
        // Alone it mines on, a minute after all have gone.
        world.disconnect(1);
        world.disconnect(2);
        world.now = set(world.now);
        world.run(60);
        assert!(matches!(world.sync.state(), SyncState::Solo { .. }));
    }
}
