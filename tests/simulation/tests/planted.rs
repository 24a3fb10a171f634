//! Each invariant is seen to catch a deliberate bug, and holds in the same pool without it.

use p2pool_test_simulation::engine::Simulation;
use p2pool_test_simulation::hostile::Manner;
use p2pool_test_simulation::invariants::{Invariant, PlantedBug};
use p2pool_test_simulation::scenario::{Fault, FaultKind, Scenario};

/// Six nodes on slow lines, so that there are uncles, and shares of other nodes that come late.
fn pool() -> Scenario {
    let mut scenario = Scenario::calm(6, 10, 120, 32.0);
    scenario.network.latency_ms = (100.0, 1_500.0);
    scenario.bitcoin.work = 32 * 40;
    scenario.bitcoin.bitcoinds = 2;
    scenario.duration_ms = 30 * 60_000;
    scenario.quiet_ms = 180_000;
    scenario
}

fn with_faults(kinds: Vec<FaultKind>) -> Scenario {
    let mut scenario = pool();
    let faults = kinds.into_iter().enumerate();
    scenario.faults = faults.map(|(at, kind)| Fault { at_ms: (at as u64 + 3) * 240_000, kind }).collect();
    scenario
}

fn with_hostile(manner: Manner) -> Scenario {
    let mut scenario = pool();
    let mut host = scenario.hosts[0].clone();
    host.manner = Some(manner);
    host.miners.clear();
    scenario.hosts.push(host);
    scenario
}

/// Runs a scenario with and without a bug. The bug must be found as a violation of this invariant.
fn finds(scenario: Scenario, bug: PlantedBug, invariant: Invariant) {
    let mut sound = Simulation::new(7, scenario.clone());
    assert!(sound.run().violations.is_empty(), "without the bug: {}", sound.checks.violations[0]);
    let mut broken = Simulation::new(7, scenario);
    broken.planted = Some(bug);
    assert!(broken.run().has_violated(invariant), "{bug:?} was not found: {:?}", broken.checks.violations);
}

#[test]
fn nodes_that_neither_announce_nor_ask_are_found_not_to_converge() {
    finds(pool(), PlantedBug::SkipAnnouncements, Invariant::Convergence);
}

#[test]
fn lost_commits_are_found_by_a_crash() {
    let crash = FaultKind::Crash { host: 1, after_steps: 2, down_ms: 30_000 };
    finds(with_faults(vec![crash]), PlantedBug::DropCommits, Invariant::Durability);
}

#[test]
fn relaying_before_the_verdict_is_found_by_bans_of_honest_nodes() {
    finds(with_hostile(Manner::BreaksRules), PlantedBug::RelayBeforeVerdict, Invariant::NoHonestBan);
}

#[test]
fn jobs_without_uncles_are_found_by_shares_left_out() {
    finds(pool(), PlantedBug::NameNoUncles, Invariant::NoShareLeftOut);
}

#[test]
fn miners_without_new_jobs_are_found() {
    finds(pool(), PlantedBug::WithholdWork, Invariant::WorkAvailable);
}

#[test]
fn jobs_of_the_future_are_found() {
    finds(pool(), PlantedBug::DateAhead, Invariant::PresentTimes);
}

#[test]
fn peers_that_are_never_forgotten_are_found_by_the_size_of_a_table() {
    let restarts =
        vec![FaultKind::Restart { host: 1, down_ms: 10_000 }, FaultKind::Restart { host: 2, down_ms: 10_000 }];
    finds(with_faults(restarts), PlantedBug::ForgetDisconnects, Invariant::TableBounds);
}

#[test]
fn messages_that_are_kept_for_ever_are_found_by_the_size_of_a_table() {
    let mut scenario = with_hostile(Manner::FloodsOrphans);
    scenario.duration_ms = 13 * 60_000;
    finds(scenario, PlantedBug::KeepWaiting, Invariant::TableBounds);
}

#[test]
fn a_turn_without_a_bound_is_found() {
    finds(pool(), PlantedBug::RepeatGossip, Invariant::StepCost);
}

#[test]
fn own_shares_that_break_a_rule_are_found() {
    finds(pool(), PlantedBug::SpoilOwnShares, Invariant::OwnShareValid);
}

#[test]
fn transactions_that_are_not_given_are_found_by_blocks_that_stay_incomplete() {
    let mut scenario = pool();
    scenario.bitcoin.transactions_per_s = 0.1;
    scenario.bitcoin.transactions_lacking = 0.2;
    finds(scenario, PlantedBug::KeepTransactions, Invariant::BlockRelayed);
}

#[test]
fn lost_blocks_are_found() {
    finds(pool(), PlantedBug::LoseBlocks, Invariant::BlockReachesBitcoind);
}
