//! Propagation, uncles and traffic in pools of a thousand nodes and more.

use super::uncles::outcome;
use super::Figure;
use crate::engine::Simulation;
use crate::scenario::Scenario;

/// Time after which all nodes have their connections, and time for the last shares to arrive.
const SETTLING_MS: u64 = 120_000;
const ARRIVAL_MS: u64 = 60_000;
const PERIOD_S: u32 = 30;

/// What a pool gave.
pub struct Scale {
    pub shares: usize,
    /// Pairs of a share and a node that does not have it.
    pub missing: usize,
    /// Milliseconds from a share's find until another node had it, and until all had it; sorted.
    pub to_another_ms: Vec<u64>,
    pub to_all_ms: Vec<u64>,
    pub uncles: f64,
    pub orphans: f64,
    /// Per node and share: copies of gossip received, messages and bytes received.
    pub copies: f64,
    pub messages: f64,
    pub bytes: f64,
    /// Connections of a node on which it gets messages at once.
    pub mesh: f64,
}

/// Runs a pool of real nodes. Latencies are those of `p2pool-network-figures scale`: 10 to 150 ms one way.
pub fn measure(nodes: usize, minutes: u64) -> Scale {
    let mut scenario = Scenario::calm(nodes, PERIOD_S, 2_000, 32.0);
    scenario.network.latency_ms = (10.0, 150.0);
    scenario.duration_ms = SETTLING_MS + minutes * 60_000;
    scenario.quiet_ms = ARRIVAL_MS;
    scenario.tick_s = 5;
    let mut simulation = Simulation::new(nodes as u64, scenario);
    simulation.run_until(SETTLING_MS);
    let before = counts(&simulation);
    simulation.run_until(SETTLING_MS + minutes * 60_000 + ARRIVAL_MS);
    let after = counts(&simulation);
    let (mut to_another_ms, mut to_all_ms, mut missing) = (Vec::new(), Vec::new(), 0);
    let records = simulation.checks.shares.values();
    let records: Vec<_> = records.filter(|record| record.found_ms >= SETTLING_MS).collect();
    for record in &records {
        let times = record.linked_ms.values().map(|at_ms| at_ms.saturating_sub(record.found_ms));
        to_all_ms.extend(times.clone().max());
        let others = record.linked_ms.iter().filter(|(host, _)| **host != record.host);
        to_another_ms.extend(others.map(|(_, at_ms)| at_ms.saturating_sub(record.found_ms)));
        missing += nodes - record.linked_ms.len();
    }
    to_another_ms.sort_unstable();
    to_all_ms.sort_unstable();
    let outcome = outcome(&simulation, SETTLING_MS);
    let part = |count: usize| count as f64 / (outcome.main + outcome.uncles + outcome.orphans).max(1) as f64;
    let per_share =
        |number: usize| (after[number] - before[number]) as f64 / nodes as f64 / records.len().max(1) as f64;
    Scale {
        shares: records.len(),
        missing,
        to_another_ms,
        to_all_ms,
        uncles: part(outcome.uncles),
        orphans: part(outcome.orphans),
        copies: per_share(0),
        messages: per_share(1),
        bytes: per_share(2),
        mesh: (0..nodes).map(|host| simulation.mesh_size(host)).sum::<usize>() as f64 / nodes as f64,
    }
}

/// Copies, messages and bytes that all nodes have received.
fn counts(simulation: &Simulation) -> [u64; 3] {
    let peers = || simulation.hosts.iter().map(|host| &host.peers);
    [
        peers().map(|peers| peers.copies).sum(),
        peers().map(|peers| peers.messages.1).sum(),
        peers().map(|peers| peers.bytes.1).sum(),
    ]
}

/// Returns a quantile of sorted times in seconds.
fn quantile_s(times_ms: &[u64], permille: usize) -> f64 {
    let rank = (times_ms.len() * permille).div_ceil(1_000).max(1);
    times_ms.get(rank - 1).copied().unwrap_or_default() as f64 / 1_000.0
}

/// Pools of 100, 1,000 and 10,000 nodes.
pub fn figure() -> Figure {
    let row = |(nodes, minutes): (usize, u64)| {
        let scale = measure(nodes, minutes);
        vec![
            nodes.to_string(),
            scale.shares.to_string(),
            format!("{:.2} s", quantile_s(&scale.to_another_ms, 500)),
            format!("{:.2} s", quantile_s(&scale.to_another_ms, 990)),
            format!("{:.2} s", quantile_s(&scale.to_all_ms, 500)),
            format!("{:.2} s", quantile_s(&scale.to_all_ms, 1_000)),
            scale.missing.to_string(),
            format!("{:.1} %", 100.0 * scale.uncles),
            format!("{:.1} %", 100.0 * scale.orphans),
            format!("{:.1}", scale.copies),
            format!("{:.1}", scale.messages),
            format!("{:.1}", scale.bytes / 1_000.0),
        ]
    };
    Figure {
        title: "Propagation in large pools",
        text: "Real nodes with equal miners, shares every 30 s, 10 to 150 ms of latency one way on each connection, eight outbound \
               connections, a mesh of eight; the first two minutes do not count. The time that a turn takes is not part of it. \
               Copies, messages and bytes are those received per node and share, with status requests, without libp2p's own."
            .to_owned(),
        columns: vec![
            "nodes", "shares", "to another node, median", "p99", "to all nodes, median", "most", "not received", "uncles",
            "orphans", "copies", "messages", "KB",
        ],
        rows: [(100, 120), (1_000, 60), (10_000, 30)].into_iter().map(row).collect(),
        bars: Vec::new(),
    }
}
