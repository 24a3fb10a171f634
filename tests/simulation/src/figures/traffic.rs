//! Bytes that a node sends and receives.

use super::{parallel, Figure};
use crate::engine::Simulation;
use crate::scenario::Scenario;

const HOURS: u64 = 3;

/// Kilobytes received and sent per node and share, and per node and hour.
fn measure(nodes: usize) -> (f64, f64, f64) {
    let mut scenario = Scenario::calm(nodes, 30, 2_000, 32.0);
    scenario.duration_ms = HOURS * 3_600_000;
    let mut simulation = Simulation::new(1, scenario);
    simulation.run_until(HOURS * 3_600_000);
    let (sent, received) =
        simulation.hosts.iter().fold((0, 0), |sum, host| (sum.0 + host.peers.bytes.0, sum.1 + host.peers.bytes.1));
    let shares = simulation.checks.shares.len().max(1) as f64;
    let per = |bytes: u64| bytes as f64 / nodes as f64 / 1_000.0;
    (per(received) / shares, per(sent) / shares, per(received + sent) / HOURS as f64)
}

/// Pools of 10, 30 and 100 nodes.
pub fn figure() -> Figure {
    let sizes = [10usize, 30, 100];
    let runs = parallel(&sizes, |nodes| measure(*nodes));
    let rows = sizes
        .iter()
        .zip(&runs)
        .map(|(nodes, (received, sent, hour))| {
            vec![nodes.to_string(), format!("{received:.1}"), format!("{sent:.1}"), format!("{hour:.0}")]
        })
        .collect();
    Figure {
        title: "Bytes per node and share",
        text: "Shares every 30 s, eight outbound connections, real encodings and 60 bytes of framing per message: gossip, \
               what is announced and not fetched, status requests once a minute. Without libp2p's own traffic (identify, \
               ping, Kademlia, TCP/IP headers)."
            .to_owned(),
        columns: vec!["nodes", "KB received per share", "KB sent per share", "KB per node and hour"],
        rows,
        bars: Vec::new(),
    }
}
