//! Uncles and orphans against latency and the size of the pool.

use std::collections::BTreeSet;

use p2pool_core::share::ShareId;

use super::{parallel, Figure};
use crate::engine::Simulation;
use crate::scenario::Scenario;

/// Main chain shares, uncles, and shares that are neither.
pub struct Outcome {
    pub main: usize,
    pub uncles: usize,
    pub orphans: usize,
}

/// Counts what became of the shares found from a time on, at least four heights below the tip.
pub fn outcome(simulation: &Simulation, from_ms: u64) -> Outcome {
    let mut outcome = Outcome { main: 0, uncles: 0, orphans: 0 };
    let Some(tree) = simulation.hosts[0].node.as_ref().map(|node| node.tree()) else { return outcome };
    let main: BTreeSet<ShareId> = tree.main_chain().iter().map(|share| share.id).collect();
    let uncles: BTreeSet<ShareId> =
        tree.main_chain().iter().flat_map(|share| share.info().uncles.iter().copied()).collect();
    let tip = tree.tip().map_or(0, |tip| tip.share.info.share_height.0);
    for (id, record) in simulation.checks.shares.iter().filter(|(_, record)| record.found_ms >= from_ms) {
        match record.height + 4 > tip {
            true => {}
            false if main.contains(id) => outcome.main += 1,
            false if uncles.contains(id) => outcome.uncles += 1,
            false => outcome.orphans += 1,
        }
    }
    outcome
}

fn measure(nodes: usize, latency_ms: f64, hours: f64) -> Outcome {
    let mut scenario = Scenario::calm(nodes, 30, 2_000, 32.0);
    scenario.network.latency_ms = (latency_ms, latency_ms);
    scenario.network.jitter_ms = 0.1 * latency_ms;
    scenario.duration_ms = (hours * 3_600_000.0) as u64;
    scenario.quiet_ms = 60_000;
    scenario.tick_s = 5;
    let mut simulation = Simulation::new(nodes as u64 ^ latency_ms as u64, scenario);
    simulation.run_until((hours * 3_600_000.0) as u64 + 60_000);
    outcome(&simulation, 0)
}

/// Latencies of 0.1 to 5 s, pools of 10 to 1,000 nodes.
pub fn figure() -> Figure {
    let mut inputs = Vec::new();
    for (nodes, hours) in [(10, 20.0), (100, 4.0), (1_000, 0.6)] {
        for latency_ms in [100.0, 500.0, 1_000.0, 2_000.0, 5_000.0] {
            inputs.push((nodes, latency_ms, hours));
        }
    }
    // Long and short ones are mixed for the two threads.
    let outcomes = parallel(&inputs, |(nodes, latency_ms, hours)| measure(*nodes, *latency_ms, *hours));
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for ((nodes, latency_ms, _), outcome) in inputs.iter().zip(&outcomes) {
        let all = (outcome.main + outcome.uncles + outcome.orphans).max(1) as f64;
        let percent = |count: usize| {
            let part = count as f64 / all;
            format!("{:.1} ± {:.1} %", 100.0 * part, 196.0 * (part * (1.0 - part) / all).sqrt())
        };
        rows.push(vec![
            nodes.to_string(),
            format!("{:.1} s", latency_ms / 1_000.0),
            format!("{all:.0}"),
            percent(outcome.uncles),
            percent(outcome.orphans),
        ]);
        bars.push((format!("{nodes} nodes, {:.1} s", latency_ms / 1_000.0), 100.0 * outcome.uncles as f64 / all));
    }
    Figure {
        title: "Uncles and orphans",
        text: "Equal miners, shares every 30 s (also those that become uncles), latency of each connection one way; \
               messages travel several hops. Orphans are shares that are neither on the main chain nor uncles. The bars \
               are uncles in percent."
            .to_owned(),
        columns: vec!["nodes", "latency", "shares", "uncles", "orphans"],
        rows,
        bars,
    }
}
