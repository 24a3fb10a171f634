//! Measures a network of real nodes, or one node, on this machine and prints the figures.
//!
//! `propagation`: nodes with a miner each find shares; measures latency, uncles and orphans, and traffic. `scale`: the
//! same with many nodes in networks of their own, latency, NAT, kills and hostile peers. `sync`: a new node fetches a long chain
//! from one peer. `footprint`: what one node needs, start time, memory and writes.
//!
//! The program under test is the `p2pool` of the same profile, or the one in `P2POOL_EXE`.
#![allow(clippy::panic, reason = "a measurement fails by panicking, with a message")]

mod chain;
mod footprint;
mod propagation;
mod quantiles;
mod scale;
mod sync;

use argh::FromArgs;
use p2pool_test_functional::pool::Pool;

/// Measures a network of real nodes on this machine and prints the figures.
#[derive(FromArgs)]
struct Arguments {
    #[argh(subcommand)]
    measurement: Measurement,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Measurement {
    Propagation(propagation::Plan),
    Scale(scale::Plan),
    Sync(sync::Plan),
    Footprint(footprint::Plan),
}

fn main() {
    let arguments: Arguments = argh::from_env();
    match arguments.measurement {
        Measurement::Propagation(plan) => propagation::measure(&plan),
        Measurement::Scale(plan) => scale::measure(&plan),
        Measurement::Sync(plan) => sync::measure(&plan),
        Measurement::Footprint(plan) => footprint::measure(&plan),
    }
}

/// Returns this machine's load averages over 1, 5 and 15 minutes.
fn load_averages() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Returns the resident memory of a node as text.
fn resident_memory(node: &Pool) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (private, files) = node.resident_bytes();
    format!("{:.1} MiB, {:.1} of it mapped files", mib(private + files), mib(files))
}
