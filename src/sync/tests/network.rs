//! Real nodes that join, fall behind, fork and are lied to: all end on the best chain.

use std::sync::Arc;

use super::support::{
    chain, connect, copy, disconnect, mine, newcomer, node, pruned, sync_state, tip, Manner, Remote, Rng, ANCHORS,
};
use crate::node::tests_support::Cluster;
use crate::node::{Event, Report};
use crate::params::{ChainParams, Network};
use crate::peer::PeerHandle;
use crate::share::Share;
use crate::sharechain::tests_support::{params, TestNode};
use crate::sharechain::{Rule, Source, Verdict};
use crate::sync::SyncState;
use crate::units::UnixTime;
use crate::wire::Misbehaviour;

/// Gives a connected peer another chain.
fn replace(cluster: &mut Cluster, peer: u64, remote: Remote) {
    cluster.scripted.insert(PeerHandle(peer), Box::new(remote));
}

/// A peer relays a share.
fn gossip(cluster: &mut Cluster, peer: u64, share: Arc<Share>) {
    cluster.send(0, Event::ShareGossiped { peer: PeerHandle(peer), share });
    cluster.deliver();
}

/// Passes time until the node has the tip of this chain; returns how many seconds.
fn reach(cluster: &mut Cluster, seconds_max: u32, test_node: &TestNode) -> u32 {
    cluster.pass_until(seconds_max, |cluster| cluster.nodes[0].tip() == tip(test_node))
}

#[track_caller]
fn assert_only_penalised(cluster: &Cluster, peers: &[u64]) {
    let misbehaviours = &cluster.nodes[0].misbehaviours;
    assert!(misbehaviours.iter().all(|(peer, _)| peers.contains(&peer.0)), "{misbehaviours:?}");
}

#[test]
fn a_newcomer_fetches_a_whole_chain() {
    let theirs = chain(params(), 50, 1, 30);
    let mut cluster = newcomer(params(), theirs.now);
    assert!(!sync_state(&cluster).may_mine());
    connect(&mut cluster, 1, Remote::new(&theirs, Manner::Honest));
    assert_eq!(sync_state(&cluster), SyncState::Syncing);
    reach(&mut cluster, 10, &theirs);
    assert_eq!(sync_state(&cluster), SyncState::Synced);
    assert_eq!(cluster.nodes[0].tree().len(), 50);
    assert!(cluster.nodes[0].tree().shares().all(|share| share.verified));
    assert_only_penalised(&cluster, &[]);
}

#[test]
fn a_newcomer_fetches_a_pruned_chain() {
    let mut theirs = pruned(chain(params(), 300, 1, 30));
    let kept = params().shares_kept() as usize;
    assert_eq!(theirs.chain.tree().len(), kept);
    let mut cluster = newcomer(params(), theirs.now);
    connect(&mut cluster, 1, Remote::new(&theirs, Manner::Honest));
    connect(&mut cluster, 2, Remote::new(&theirs, Manner::Honest));
    reach(&mut cluster, 10, &theirs);
    assert_eq!(sync_state(&cluster), SyncState::Synced);
    assert_eq!(cluster.nodes[0].tree().len(), kept);
    let unverified = cluster.nodes[0].tree().shares().filter(|share| !share.verified).count();
    assert!(unverified <= params().payout_window as usize + 4, "{unverified} shares of the base");
    // Shares that build on it are checked like any others.
    theirs.now = cluster.nodes[0].time;
    let next = theirs.next();
    let id = next.id();
    gossip(&mut cluster, 1, Arc::new(next));
    assert_eq!(cluster.nodes[0].tip(), Some(id));
}

#[test]
fn a_node_that_was_away_catches_up_without_a_candidate_chain() {
    let theirs = chain(params(), 60, 1, 30);
    let mut cluster = node(&copy(&theirs, 20), theirs.now);
    connect(&mut cluster, 1, Remote::new(&theirs, Manner::Honest));
    reach(&mut cluster, 10, &theirs);
    assert_eq!(cluster.nodes[0].tree().len(), 60);
}

#[test]
fn a_short_branch_of_ours_gives_way_to_a_better_one() {
    let base = chain(params(), 40, 1, 30);
    let mut ours = copy(&base, 40);
    mine(&mut ours, 3, 2, 30);
    let mut theirs = copy(&base, 40);
    mine(&mut theirs, 8, 3, 30);
    let mut cluster = node(&ours, theirs.now);
    connect(&mut cluster, 1, Remote::new(&theirs, Manner::Honest));
    reach(&mut cluster, 10, &theirs);
    // The planner looks at the chain once a second.
    cluster.pass(1);
    assert_eq!(sync_state(&cluster), SyncState::Synced);
}

#[test]
fn a_lesser_branch_is_not_fetched() {
    let base = chain(params(), 40, 1, 30);
    let mut ours = copy(&base, 40);
    mine(&mut ours, 8, 2, 30);
    let mut theirs = copy(&base, 40);
    mine(&mut theirs, 3, 3, 30);
    let mut cluster = node(&ours, ours.now);
    connect(&mut cluster, 1, Remote::new(&theirs, Manner::Honest));
    cluster.pass(200);
    assert_eq!(cluster.nodes[0].tip(), tip(&ours));
    assert_eq!(sync_state(&cluster), SyncState::Synced);
    assert_eq!(cluster.nodes[0].tree().len(), 48);
}

/// Windows so long that the fork point of a fork from more than 288 shares below the tip is not pruned.
fn long() -> ChainParams {
    ChainParams { payout_window: 400, ..params() }
}

#[test]
fn a_fork_from_far_below_becomes_a_candidate_and_is_adopted_if_better() {
    let base = chain(long(), 20, 1, 30);
    let mut ours = copy(&base, 20);
    mine(&mut ours, 320, 2, 30);
    let mut theirs = copy(&base, 20);
    mine(&mut theirs, 340, 3, 30);
    assert_ne!(tip(&ours), tip(&theirs));
    let mut cluster = node(&ours, theirs.now);
    connect(&mut cluster, 1, Remote::new(&theirs, Manner::Honest));
    reach(&mut cluster, 21, &theirs);
    assert_eq!(cluster.nodes[0].tree().len(), 20 + 320 + 340, "the branch that lost is kept");
    assert_eq!(cluster.nodes[0].waiting(), (0, 0));
}

#[test]
fn a_chain_that_does_not_join_ours_is_judged_by_the_rules() {
    let stronger = chain(params(), 100, 2, 20);
    let weaker = chain(params(), 70, 3, 30);
    let now = stronger.now.max(weaker.now);
    let mut cluster = node(&copy(&weaker, 60), now);
    connect(&mut cluster, 1, Remote::new(&stronger, Manner::Honest));
    reach(&mut cluster, 10, &stronger);
    // A weaker one is not adopted, and not fetched over and over.
    let mut cluster = node(&copy(&stronger, 100), now);
    connect(&mut cluster, 1, Remote::new(&weaker, Manner::Honest));
    cluster.pass(300);
    assert_eq!(cluster.nodes[0].tip(), tip(&stronger));
    assert_eq!(sync_state(&cluster), SyncState::Synced, "mining continues meanwhile");
    // Six statuses; every twelve seconds or so a list and a batch.
    assert!(cluster.fetches < 6 + 2 * 300 / 11, "{} requests", cluster.fetches);
}

#[test]
fn a_newcomer_adopts_the_best_of_the_chains_that_peers_offer() {
    let stronger = chain(params(), 100, 2, 20);
    let weaker = chain(params(), 70, 3, 30);
    for (first, second) in [(&stronger, &weaker), (&weaker, &stronger)] {
        let mut cluster = newcomer(params(), stronger.now.max(weaker.now));
        connect(&mut cluster, 1, Remote::new(first, Manner::Honest));
        connect(&mut cluster, 2, Remote::new(second, Manner::Slow(3)));
        cluster.pass_until(30, |cluster| sync_state(cluster) == SyncState::Synced);
        assert_eq!(cluster.nodes[0].tip(), tip(&stronger));
    }
}

#[test]
fn a_slow_peer_with_another_chain_delays_a_newcomer_by_a_minute_at_most() {
    let theirs = chain(params(), 50, 1, 30);
    let mut cluster = newcomer(params(), theirs.now);
    connect(&mut cluster, 1, Remote::new(&chain(params(), 20, 2, 30), Manner::Slow(28)));
    cluster.pass(57);
    connect(&mut cluster, 2, Remote::new(&theirs, Manner::Honest));
    let waited = reach(&mut cluster, 100, &theirs);
    assert!(waited <= 62, "{waited} s");
}

#[test]
fn dishonest_peers_are_penalised_and_the_honest_chain_is_adopted() {
    let theirs = pruned(chain(params(), 150, 1, 30));
    for (manner, misbehaviour) in [
        (Manner::Mute, Some(Misbehaviour::Late)),
        (Manner::Boaster, Some(Misbehaviour::Useless)),
        (Manner::Substitute, Some(Misbehaviour::Unrequested)),
        (Manner::Empty, Some(Misbehaviour::Useless)),
        (Manner::Busy, None),
    ] {
        for manners in [[manner, Manner::Honest], [Manner::Honest, manner]] {
            let mut cluster = newcomer(params(), theirs.now);
            for (peer, manner) in (1..).zip(manners) {
                connect(&mut cluster, peer, Remote::new(&theirs, manner));
            }
            reach(&mut cluster, 400, &theirs);
            cluster.pass_until(200, |cluster| sync_state(cluster) == SyncState::Synced);
            let is_first = manners[0] == manner;
            assert_only_penalised(&cluster, &[if is_first { 1 } else { 2 }]);
            if is_first {
                let first = cluster.nodes[0].misbehaviours.first().map(|(_, misbehaviour)| *misbehaviour);
                assert_eq!(first, misbehaviour, "{manner:?}");
            }
        }
    }
}

#[test]
fn a_peer_that_forges_the_base_of_a_chain_is_penalised() {
    let theirs = pruned(chain(params(), 150, 1, 30));
    let mut cluster = newcomer(params(), theirs.now);
    connect(&mut cluster, 1, Remote::new(&theirs, Manner::Forger));
    cluster.pass(30);
    assert!(cluster.nodes[0].tree().is_empty());
    let misbehaviours = &cluster.nodes[0].misbehaviours;
    assert!(misbehaviours.contains(&(PeerHandle(1), Misbehaviour::FalseChain)), "{misbehaviours:?}");
    connect(&mut cluster, 2, Remote::new(&theirs, Manner::Honest));
    reach(&mut cluster, 60, &theirs);
    assert_only_penalised(&cluster, &[1]);
}

#[test]
fn a_helper_that_forges_single_shares_does_not_stop_a_sync() {
    let theirs = pruned(chain(long(), 900, 1, 30));
    let mut cluster = newcomer(long(), theirs.now);
    connect(&mut cluster, 1, Remote::new(&theirs, Manner::Honest));
    connect(&mut cluster, 2, Remote::new(&theirs, Manner::Forger));
    reach(&mut cluster, 400, &theirs);
    assert_only_penalised(&cluster, &[2]);
}

/// The proof of work of what they give is valid, and nothing of it proves a fault.
#[test]
fn helpers_that_change_facts_which_prove_no_fault_do_not_stop_a_sync() {
    for manner in [Manner::Newer, Manner::Orphaner, Manner::Unlucky] {
        let theirs = chain(long(), 880, 1, 30);
        for start in [newcomer(long(), theirs.now), node(&copy(&theirs, 20), theirs.now)] {
            let mut cluster = start;
            connect(&mut cluster, 1, Remote::new(&theirs, Manner::Slow(1)));
            (2..8).for_each(|peer| connect(&mut cluster, peer, Remote::new(&theirs, manner)));
            reach(&mut cluster, 200, &theirs);
            assert!(cluster.nodes[0].misbehaviours.iter().all(|(_, misbehaviour)| misbehaviour.ban_score() == 0));
        }
    }
}

#[test]
fn a_forged_share_on_our_chain_is_rejected_and_the_true_one_is_fetched_from_another_peer() {
    let theirs = chain(params(), 60, 1, 30);
    let mut cluster = node(&copy(&theirs, 20), theirs.now);
    connect(&mut cluster, 1, Remote::new(&theirs, Manner::Forger));
    cluster.pass(5);
    let is_rejected = |report: &Report| match report {
        Report::ShareVerdict { source: Source::Fetch(PeerHandle(1)), verdict, .. } => {
            matches!(verdict, Verdict::Rejected { rule: Rule::Payouts, .. })
        }
        _ => false,
    };
    assert!(cluster.nodes[0].reports.iter().any(is_rejected));
    connect(&mut cluster, 2, Remote::new(&theirs, Manner::Honest));
    reach(&mut cluster, 100, &theirs);
    assert_only_penalised(&cluster, &[1]);
}

#[test]
fn fetching_continues_with_another_peer_where_it_stopped() {
    let params = ChainParams { payout_window: 1_000, ..params() };
    let theirs = chain(params.clone(), 1_500, 1, 30);
    let mut cluster = newcomer(params, theirs.now);
    connect(&mut cluster, 1, Remote::new(&theirs, Manner::Slow(1)));
    // A status, a list, and the first two batches.
    cluster.pass(3);
    assert_ne!(cluster.nodes[0].tip(), tip(&theirs));
    disconnect(&mut cluster, 1);
    let before = cluster.fetches;
    cluster.pass(30);
    connect(&mut cluster, 2, Remote::new(&theirs, Manner::Honest));
    reach(&mut cluster, 60, &theirs);
    // A status, a list and the other four of six batches; and further statuses.
    assert!(cluster.fetches - before <= 8, "{} requests", cluster.fetches - before);
}

#[test]
fn a_missing_parent_is_fetched_from_the_peer_that_relayed_the_child() {
    let theirs = chain(params(), 40, 1, 30);
    let before = copy(&theirs, 38);
    let mut cluster = node(&before, before.now);
    connect(&mut cluster, 1, Remote::new(&before, Manner::Honest));
    cluster.pass(2);
    assert_eq!(sync_state(&cluster), SyncState::Synced);
    replace(&mut cluster, 1, Remote::new(&theirs, Manner::Honest));
    cluster.nodes[0].time = theirs.now;
    gossip(&mut cluster, 1, Arc::clone(&theirs.chain.tree().tip().unwrap().share));
    assert_eq!(cluster.nodes[0].tip(), tip(&theirs));
    assert_eq!(sync_state(&cluster), SyncState::Synced);
}

#[test]
fn shares_that_gossip_missed_are_fetched_after_the_next_status() {
    let theirs = chain(params(), 60, 1, 30);
    let before = copy(&theirs, 40);
    let mut cluster = node(&before, theirs.now);
    connect(&mut cluster, 1, Remote::new(&before, Manner::Honest));
    cluster.pass(2);
    replace(&mut cluster, 1, Remote::new(&theirs, Manner::Honest));
    let waited = reach(&mut cluster, 70, &theirs);
    assert!((50..=61).contains(&waited), "{waited} s");
}

/// After a partition only the losing side knows its stale shares. When one of its nodes names one as an uncle, nodes of the
/// other side fetch it, whether they receive the nephew by gossip or with the shares they missed.
#[test]
fn a_stale_share_of_the_losing_side_is_fetched_when_it_is_named_as_an_uncle() {
    let common = chain(params(), 30, 1, 30);
    let (mut losing, mut winning) = (copy(&common, 30), copy(&common, 30));
    mine(&mut losing, 1, 2, 30);
    mine(&mut winning, 3, 3, 30);
    let stale = losing.tip();
    winning.chain.tree().headers().iter().for_each(|anchor| losing.chain.tree_mut().add_anchor(anchor.clone()));
    for share in &winning.main_shares()[30..] {
        assert_eq!(losing.give_at(share), Verdict::Accepted);
    }
    assert_eq!(tip(&losing), tip(&winning));
    let has_stale_share = losing.chain.tree().snapshot();
    losing.now = winning.now;
    mine(&mut losing, 1, 2, 30);
    let nephew = Arc::clone(&losing.chain.tree().tip().unwrap().share);
    assert_eq!(nephew.info.uncles, [stale]);
    for is_gossiped in [true, false] {
        let mut cluster = node(&copy(&winning, 33), losing.now);
        connect(&mut cluster, 1, Remote::with_tree(has_stale_share.snapshot(), Manner::Honest, 1));
        cluster.pass(2);
        assert_eq!(sync_state(&cluster), SyncState::Synced);
        assert!(!cluster.nodes[0].tree().contains(&stale));
        replace(&mut cluster, 1, Remote::new(&losing, Manner::Honest));
        if is_gossiped {
            gossip(&mut cluster, 1, Arc::clone(&nephew));
        } else {
            reach(&mut cluster, 61, &losing);
        }
        assert_eq!(cluster.nodes[0].tip(), Some(nephew.id()), "gossiped: {is_gossiped}");
        assert!(cluster.nodes[0].tree().contains(&stale));
    }
}

#[test]
fn a_candidate_waits_for_its_bitcoin_blocks_and_is_given_up_without_them() {
    let theirs = chain(params(), 50, 1, 30);
    let start = || {
        let mut cluster = newcomer(params(), theirs.now);
        let two_blocks = ANCHORS.clone().into_iter().filter(|(_, anchor)| anchor.height.0 < 102);
        cluster.bitcoin = Some(two_blocks.collect());
        connect(&mut cluster, 1, Remote::new(&theirs, Manner::Honest));
        cluster
    };
    let mut cluster = start();
    cluster.pass(300);
    assert!(cluster.nodes[0].tree().is_empty());
    assert_eq!(sync_state(&cluster), SyncState::Syncing);
    cluster.bitcoin = Some(ANCHORS.clone());
    reach(&mut cluster, 10, &theirs);

    let mut cluster = start();
    cluster.pass(620);
    assert_eq!(sync_state(&cluster), SyncState::Synced, "no peer has a chain that can be judged");
    assert!(!cluster.nodes[0].may_start_chain(), "but one has a chain");
    assert_only_penalised(&cluster, &[]);
}

/// Peers of all manners, on the best chain, behind it, on forks of it and on chains of their own, come and go.
#[test]
fn the_best_chain_is_found_whatever_peers_do() {
    // Its shares come faster than the rules aim at, so its windows have more work than the other's.
    let best = chain(params(), 120, 1, 20);
    let other = chain(params(), 60, 9, 40);
    let mut fork = copy(&best, 100);
    mine(&mut fork, 12, 7, 20);
    let best_pruned = pruned(copy(&best, 120));
    let manners = [
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
    ];
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let start = match rng.below(4) {
            0 => copy(&best, 0),
            1 => copy(&best, 90),
            2 => copy(&fork, 108),
            _ => copy(&other, 30),
        };
        let mut cluster = node(&start, best.now);
        let chains = [&best, &best_pruned, &fork, &other];
        let honest = rng.below(4);
        for peer in 0..4 + rng.below(3) {
            let manner = if peer == honest { Manner::Honest } else { manners[rng.below(11) as usize] };
            let chain = if peer == honest { chains[rng.below(2) as usize] } else { chains[rng.below(4) as usize] };
            connect(&mut cluster, peer, Remote::with_tree(chain.chain.tree().snapshot(), manner, 100 * seed + peer));
            cluster.pass(rng.below(3) as u32);
        }
        // Some leave meanwhile.
        for _ in 0..3 {
            let peer = rng.below(7);
            if peer != honest && cluster.scripted.contains_key(&PeerHandle(peer)) {
                disconnect(&mut cluster, peer);
            }
            cluster.pass(rng.below(20) as u32);
        }
        reach(&mut cluster, 1_500, &best);
        cluster.pass(600);
        assert_eq!(cluster.nodes[0].tip(), tip(&best), "seed {seed}: it stays there");
        assert!(sync_state(&cluster).may_mine(), "seed {seed}: {:?}", sync_state(&cluster));
        let is_new = start.chain.tree().is_empty();
        let blamed: Vec<_> = cluster.nodes[0].misbehaviours.iter().filter(|(peer, _)| peer.0 == honest).collect();
        assert!(blamed.is_empty(), "seed {seed}, newcomer {is_new}: {blamed:?}");
    }
}

/// With the windows of the rules: 17,368 shares on 8,700 Bitcoin blocks, each checked as far as it can be.
#[test]
fn a_newcomer_fetches_a_pruned_chain_of_full_length() {
    let standard = ChainParams::standard(Network::Regtest);
    let kept = standard.shares_kept();
    let theirs = pruned(chain(standard.clone(), kept + 200, 1, 30));
    let mut cluster = newcomer(standard.clone(), theirs.now);
    connect(&mut cluster, 1, Remote::new(&theirs, Manner::Honest));
    // Lookups at bitcoind are limited, and this index holds one block only.
    reach(&mut cluster, 240, &theirs);
    let verified = cluster.nodes[0].tree().shares().filter(|share| share.verified).count();
    assert_eq!(cluster.nodes[0].tree().len(), kept as usize);
    assert!(verified >= standard.payout_window as usize, "{verified} verified");
    assert!(cluster.fetches < 80, "{} requests", cluster.fetches);
    assert!(cluster.nodes[0].lookups.len() < 8_800, "{} lookups", cluster.nodes[0].lookups.len());
}

#[test]
fn setting_the_clock_during_a_sync_delays_nothing_and_penalises_no_peer() {
    for set in [|now: UnixTime| now.minus(7_200), |now: UnixTime| now.plus(86_400)] {
        let theirs = pruned(chain(params(), 300, 1, 30));
        let mut cluster = newcomer(params(), theirs.now.plus(7_300));
        connect(&mut cluster, 1, Remote::new(&theirs, Manner::Slow(5)));
        connect(&mut cluster, 2, Remote::new(&theirs, Manner::Mute));
        cluster.pass(7);
        cluster.nodes[0].time = set(cluster.nodes[0].time);
        reach(&mut cluster, 90, &theirs);
        cluster.pass_until(90, |cluster| sync_state(cluster) == SyncState::Synced);
        assert_only_penalised(&cluster, &[2]);
        let misbehaviours = cluster.nodes[0].misbehaviours.len();
        assert!(misbehaviours <= 4, "{misbehaviours}, more than once a minute");
        // It mines solo a minute after all peers have left.
        disconnect(&mut cluster, 1);
        disconnect(&mut cluster, 2);
        cluster.nodes[0].time = set(cluster.nodes[0].time);
        cluster.pass(60);
        assert!(matches!(sync_state(&cluster), SyncState::Solo { .. }));
    }
}

/// A partition after a common chain: we made so many shares meanwhile, and the others a ninth more. The windows and the age step
/// are those of the rules, shortened 21.6-fold, so 133 shares are a day.
fn rejoin(ours_len: u32) {
    let params = ChainParams { age_step_s: 8_000, ..long() };
    let base = chain(params, 900, 1, 30);
    let (mut ours, mut theirs) = (copy(&base, 900), copy(&base, 900));
    mine(&mut ours, ours_len, 2, 30);
    mine(&mut theirs, ours_len * 10 / 9, 3, 27);
    let (mut ours, theirs) = (pruned(ours), pruned(theirs));
    ours.now = ours.now.max(theirs.now);
    let mut cluster = node(&ours, ours.now);
    (1..=3).for_each(|peer| connect(&mut cluster, peer, Remote::new(&theirs, Manner::Honest)));
    reach(&mut cluster, 60, &theirs);
    cluster.pass(600);
    assert_eq!(cluster.nodes[0].tip(), tip(&theirs));
    assert_eq!(sync_state(&cluster), SyncState::Synced);
    assert_only_penalised(&cluster, &[]);
}

/// The payout window is 400 shares: the one that ends at the fork is held in full, in part, or not at all, and peers share
/// more or fewer of the oldest ones that we hold.
#[test]
fn nodes_rejoin_however_long_they_were_apart() {
    [300, 350, 384, 400, 430, 463, 500, 560, 780, 900, 1_000].into_iter().for_each(rejoin);
}

/// Three honest peers, and one with a chain that a small miner made in as much time as the pool its own.
#[test]
fn a_small_miners_chain_is_not_adopted_whoever_serves_it() {
    let pool = chain(params(), 600, 1, 30);
    let mut private = chain(params(), 25, 66, 20);
    private.now = pool.now;
    mine(&mut private, 1, 66, 1);
    let mut cluster = node(&copy(&pool, 600), private.now);
    (1..=3).for_each(|peer| connect(&mut cluster, peer, Remote::new(&pool, Manner::Honest)));
    cluster.pass(5);
    connect(&mut cluster, 4, Remote::new(&private, Manner::Honest));
    cluster.pass(700);
    assert_eq!(cluster.nodes[0].tip(), tip(&pool));
    assert_eq!(sync_state(&cluster), SyncState::Synced);
    // A newcomer that meets it first follows the pool as well.
    let mut cluster = newcomer(params(), private.now);
    connect(&mut cluster, 4, Remote::new(&private, Manner::Honest));
    cluster.pass(100);
    assert_eq!(cluster.nodes[0].tip(), tip(&private));
    connect(&mut cluster, 1, Remote::new(&pool, Manner::Honest));
    reach(&mut cluster, 120, &pool);
}

/// What has no room at a node is not requested over and over.
#[test]
fn a_share_that_is_not_kept_is_not_requested_again_and_again() {
    let mut ours = chain(params(), 30, 1, 30);
    let parent = ours.main_ids()[28];
    let mut all: Vec<Share> =
        (10..30).map(|number| ours.edited(&parent, |share| share.extranonce[0] = number)).collect();
    all.sort_by_key(Share::id);
    let last = all.pop().expect("there are more");
    // The peer has not seen the others, nor our tip.
    let mut theirs = copy(&ours, 29);
    assert_eq!(theirs.give_at(&last), Verdict::Accepted);
    all.iter().for_each(|share| _ = ours.give_at(share));
    ours.extend(1);
    let mut cluster = node(&ours, ours.now);
    connect(&mut cluster, 1, Remote::new(&theirs, Manner::Honest));
    gossip(&mut cluster, 1, Arc::new(last.clone()));
    cluster.pass(600);
    assert!(!cluster.nodes[0].tree().contains(&last.id()));
    assert_eq!(sync_state(&cluster), SyncState::Synced);
    // Eleven statuses.
    assert!(cluster.fetches <= 15, "{} requests", cluster.fetches);
    assert_only_penalised(&cluster, &[]);
}

/// The losing side names both of its stale shares, the second of which is built on the first. Nodes of the other side fetch
/// both, and newcomers get them in an order in which they can be linked.
#[test]
fn a_stale_branch_of_two_is_fetched_when_it_is_named() {
    let mut ascending = [false; 2];
    for miner in 2..8 {
        let common = chain(params(), 30, 1, 30);
        let (mut losing, mut winning) = (copy(&common, 30), copy(&common, 30));
        mine(&mut losing, 2, miner, 30);
        mine(&mut winning, 3, 20, 30);
        let stale = losing.main_ids().split_off(30);
        ascending[usize::from(stale[0] < stale[1])] = true;
        winning.chain.tree().headers().iter().for_each(|anchor| losing.chain.tree_mut().add_anchor(anchor.clone()));
        winning.main_shares()[30..].iter().for_each(|share| assert_eq!(losing.give_at(share), Verdict::Accepted));
        losing.now = winning.now;
        mine(&mut losing, 1, miner, 30);
        let nephew = Arc::clone(&losing.chain.tree().tip().unwrap().share);
        assert_eq!(nephew.info.uncles.len(), 2);
        mine(&mut losing, 30, miner, 30);
        for start in [copy(&winning, 33), copy(&winning, 0)] {
            let mut cluster = node(&start, losing.now);
            connect(&mut cluster, 1, Remote::new(&losing, Manner::Honest));
            reach(&mut cluster, 10, &losing);
            assert!(stale.iter().all(|share| cluster.nodes[0].tree().contains(share)));
        }
    }
    assert_eq!(ascending, [true; 2]);
}
