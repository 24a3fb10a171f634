//! How long a newcomer needs until it has the pool's chain and may mine.

use super::{parallel, Figure};
use crate::engine::Simulation;
use crate::scenario::{Fault, FaultKind, Scenario};

const NODES: usize = 3;

/// Seconds until the newcomer is synced, shares that it then has, and megabytes that it received.
fn measure(window: u32, bytes_per_s: f64) -> (f64, usize, f64) {
    // Shares come every second while the chain is made: how old a chain is does not matter to who fetches it.
    let mut scenario = Scenario::calm(NODES + 1, 1, window, 16.0);
    scenario.network.bytes_per_s = bytes_per_s;
    scenario.bitcoin.interval_s = 120.0;
    let made_ms = u64::from(2 * window + 90) * 1_000;
    scenario.hosts[NODES].is_there = false;
    scenario.faults = vec![Fault { at_ms: made_ms, kind: FaultKind::Join { host: NODES } }];
    for host in 0..NODES {
        // Then they pause: what is measured is fetching.
        let kind = FaultKind::MinersFail { host, for_ms: 7_200_000 };
        scenario.faults.push(Fault { at_ms: made_ms, kind });
    }
    scenario.duration_ms = made_ms + 7_200_000;
    let mut simulation = Simulation::new(1, scenario);
    simulation.run_until(made_ms);
    let mut at_ms = made_ms;
    while at_ms < made_ms + 7_200_000 && !simulation.is_converged() {
        at_ms += 250;
        simulation.run_until(at_ms);
    }
    let host = &simulation.hosts[NODES];
    let shares = host.node.as_ref().map_or(0, |node| node.tree().len());
    ((at_ms - made_ms) as f64 / 1_000.0, shares, host.peers.bytes.1 as f64 / 1e6)
}

/// Chains of two windows, over lines of different speed.
pub fn figure() -> Figure {
    let mut inputs = Vec::new();
    for window in [500, 2_000, 8_640] {
        for megabits in [0.5, 2.0, 10.0] {
            if window < 8_640 || megabits > 1.0 {
                inputs.push((window, megabits));
            }
        }
    }
    let runs = parallel(&inputs, |(window, megabits)| measure(*window, megabits * 125_000.0));
    let rows = inputs
        .iter()
        .zip(&runs)
        .map(|((window, megabits), (seconds, shares, megabytes))| {
            vec![
                window.to_string(),
                shares.to_string(),
                format!("{megabits}"),
                format!("{seconds:.1}"),
                format!("{megabytes:.1}"),
            ]
        })
        .collect();
    let bars =
        inputs.iter().zip(&runs).map(|((window, megabits), run)| (format!("{window}, {megabits}"), run.0)).collect();
    Figure {
        title: "A newcomer's time to sync",
        text: format!(
            "A node without a chain joins {NODES} nodes that hold two payout windows: seconds from its start until it has \
             the tip. Each connection carries so many Mbit/s each way, one way latency is 20 to 100 ms; the time to verify \
             is not counted (a turn takes no virtual time)."
        ),
        columns: vec!["window", "shares fetched", "Mbit/s per connection", "seconds", "MB received"],
        rows,
        bars,
    }
}
