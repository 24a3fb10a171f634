//! Measures a network of real nodes on this machine and prints the figures.
//!
//! `propagation`: nodes with a miner each find shares; how fast do they spread, what becomes of them, what goes over the
//! wire. `sync`: a fresh node fetches a long chain from one other node.
//!
//! The program under test is the `p2pool` built beside this one, or the one that `P2POOL_EXE` names.
#![allow(clippy::panic, reason = "a measurement that cannot go on says why and ends")]

mod chain;
mod propagation;
mod quantiles;
mod sync;

use argh::FromArgs;

/// Measures a network of real nodes on this machine and prints the figures.
#[derive(FromArgs)]
struct Arguments {
    #[argh(subcommand)]
    what: What,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum What {
    Propagation(propagation::Plan),
    Sync(sync::Plan),
}

fn main() {
    let arguments: Arguments = argh::from_env();
    match arguments.what {
        What::Propagation(plan) => propagation::measure(&plan),
        What::Sync(plan) => sync::measure(&plan),
    }
}

/// How busy this machine is: its load averages over 1, 5 and 15 minutes.
fn load_averages() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
