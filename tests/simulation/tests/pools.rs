//! Pools drawn from seeds: every invariant holds in all of them.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;

use p2pool_test_simulation::engine::Simulation;
use p2pool_test_simulation::scenario::{Fault, FaultKind, Scenario, CLOCK_JUMPS_MS};

/// Seeds of small pools.
const SMALL: u64 = 200;
/// Seeds that found something once.
const FOUND: [u64; 1] = [40_352];

/// Runs a pool; what was wrong, and how to see it again.
fn run(kind: &str, seed: u64) -> Option<String> {
    let wrong = catch_unwind(|| {
        let scenario = if kind == "small" { Scenario::small(seed) } else { Scenario::large(seed) };
        let mut simulation = Simulation::new(seed, scenario);
        let violations = &simulation.run().violations;
        violations.first().map(|first| format!("{} violations, first {first}", violations.len()))
    });
    let wrong = wrong.unwrap_or_else(|_| Some("a panic, printed above".to_owned()))?;
    Some(format!("{wrong}\n  replay: cargo run --release -p p2pool-test-simulation -- {kind} {seed} trace"))
}

/// Runs pools on two threads.
fn run_all(kind: &str, seeds: &[u64]) {
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    if let Some(failure) = run(kind, *seed) {
                        failures.lock().expect("no thread panics with it").push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no thread panics with it");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn small_pools_keep_every_invariant() {
    run_all("small", &(0..SMALL).chain(FOUND).collect::<Vec<_>>());
}

#[test]
fn large_pools_keep_every_invariant() {
    run_all("large", &[1, 2]);
}

/// A clock is set by hours while the node runs, and set right twenty minutes later, with a tenth of the hash rate and with more
/// than half of it. If bitcoind's clock is another, the node has no work meanwhile; if it is the same, its shares wait until they
/// are due, also with the node itself.
#[test]
fn a_clock_that_is_set_by_hours_breaks_nothing() {
    for by_ms in CLOCK_JUMPS_MS {
        for (part, is_bitcoinds_clock) in [(0.1, false), (0.6, false), (0.1, true), (0.6, true)] {
            let mut scenario = Scenario::calm(6, 10, 120, 32.0);
            let all: f64 = scenario.hosts.iter().map(|host| host.miners[0].hash_rate).sum();
            scenario.hosts.iter_mut().for_each(|host| host.miners[0].hash_rate = all * (1.0 - part) / 5.0);
            scenario.hosts[2].miners[0].hash_rate = all * part;
            scenario.hosts[2].is_bitcoinds_clock = is_bitcoinds_clock;
            let fault = |at_ms: u64, by_ms: i64| Fault { at_ms, kind: FaultKind::SetClock { host: 2, by_ms } };
            scenario.faults = vec![fault(600_000, by_ms), fault(1_800_000, -by_ms)];
            let mut simulation = Simulation::new(7, scenario);
            let violations = &simulation.run().violations;
            assert!(violations.is_empty(), "{by_ms} ms, {part} of the hash rate: {}", violations[0]);
        }
    }
}

/// When each half of a network has as many peers as it wants, a bootnode still rejoins them (seed `large 40150`).
#[test]
fn halves_that_have_enough_peers_find_each_other_again() {
    let mut scenario = Scenario::calm(24, 10, 120, 32.0);
    scenario.network.outbound = 3;
    let groups = (0..24).map(|host| 1 << (host % 2)).collect();
    scenario.faults = vec![Fault { at_ms: 600_000, kind: FaultKind::Partition { groups, for_ms: 600_000 } }];
    scenario.duration_ms = 1_500_000;
    let mut simulation = Simulation::new(7, scenario);
    let violations = &simulation.run().violations;
    assert!(violations.is_empty(), "{}", violations[0]);
}

/// Two runs of a seed are the same run. The core's hash maps have other keys in each.
#[test]
fn a_seed_replays_exactly() {
    for seed in [1, 5, 9] {
        let fingerprint = || {
            let mut simulation = Simulation::new(seed, Scenario::small(seed));
            simulation.run();
            (simulation.fingerprint_so_far(), simulation.steps)
        };
        assert_eq!(fingerprint(), fingerprint(), "seed {seed}");
    }
}
