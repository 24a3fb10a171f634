//! How long nodes need to agree again after a partition.

use super::{mean_and_error, parallel, shown, Figure};
use crate::engine::Simulation;
use crate::scenario::{Fault, FaultKind, Scenario};

const NODES: usize = 10;
const SEEDS: [u64; 4] = [1, 2, 3, 4];
/// Before the partition.
const BEFORE_MS: u64 = 1_800_000;
/// After it, at most.
const AFTER_MS: u64 = 3_600_000;

/// Seconds from the end of a partition until all tips were equal, and shares of the side that lost.
fn measure(seed: u64, minutes: u64) -> (f64, f64) {
    let mut scenario = Scenario::calm(NODES, 30, 2_000, 32.0);
    let for_ms = minutes * 60_000;
    let groups = (0..NODES).map(|host| 1 + u8::from(host >= NODES / 2)).collect();
    scenario.faults = vec![Fault { at_ms: BEFORE_MS, kind: FaultKind::Partition { groups, for_ms } }];
    scenario.duration_ms = BEFORE_MS + for_ms + 2 * AFTER_MS;
    let mut simulation = Simulation::new(seed, scenario);
    let end_ms = BEFORE_MS + for_ms;
    simulation.run_until(end_ms);
    let found = simulation.checks.shares.len();
    let mut at_ms = end_ms;
    while at_ms < end_ms + AFTER_MS && !simulation.is_converged() {
        at_ms += 500;
        simulation.run_until(at_ms);
    }
    let kept = simulation.hosts[0].node.as_ref().map_or(0, |node| node.tree().main_chain().len());
    ((at_ms - end_ms) as f64 / 1_000.0, found.saturating_sub(kept) as f64)
}

/// Partitions of one minute to twelve hours.
pub fn figure() -> Figure {
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for minutes in [1, 10, 60, 180, 720] {
        let runs = parallel(&SEEDS, |seed| measure(*seed, minutes));
        let seconds: Vec<f64> = runs.iter().map(|run| run.0).collect();
        let most = seconds.iter().copied().fold(0.0, f64::max);
        let left = mean_and_error(&runs.iter().map(|run| run.1).collect::<Vec<_>>()).0;
        rows.push(vec![
            format!("{minutes} min"),
            shown(mean_and_error(&seconds)),
            format!("{most:.1}"),
            format!("{left:.0}"),
        ]);
        bars.push((format!("{minutes} min"), most));
    }
    Figure {
        title: "Convergence after a partition",
        text: format!(
            "{NODES} nodes in two halves that mine on, shares every 30 s, {} seeds: seconds from the end of the partition \
             until all nodes have one tip (they have to find each other first: nodes dial every 3 s).",
            SEEDS.len()
        ),
        columns: vec!["partition", "seconds (mean ± 95 %)", "most", "shares off the main chain"],
        rows,
        bars,
    }
}
