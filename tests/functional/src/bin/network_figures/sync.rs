//! Measures how fast a new node fetches a long chain from one peer.

use std::time::{Duration, Instant, SystemTime};

use argh::FromArgs;
use p2pool_core::units::UnixTime;
use p2pool_test_bitcoind::{wait_for, wait_until, Bitcoind, Chain};
use p2pool_test_functional::journal::{entries, Event};
use p2pool_test_functional::network::{share_count, start, TIMEOUT};
use p2pool_test_functional::payees;
use p2pool_test_functional::pool::Options;

use crate::{chain, load_averages, resident_memory};

/// Timeout of the fetch.
const SYNC_TIMEOUT: Duration = Duration::from_secs(1_800);

/// a new node fetches a long chain from one peer; prints how long that takes
#[derive(FromArgs)]
#[argh(subcommand, name = "sync")]
pub struct Plan {
    /// shares of the chain (default 17280, two payout windows)
    #[argh(option, default = "17280")]
    shares: u32,
}

pub fn measure(plan: &Plan) {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let options = |payee| Options {
        address: payees::p2tr_address(Chain::Regtest, payee),
        flags: vec!["-log-level=debug".to_owned()],
        environment: Vec::new(),
    };
    let mut server = start(&bitcoind, options(1_000), &[]);
    assert!(server.terminate().success());
    let begun = Instant::now();
    let end = UnixTime::from(SystemTime::now()).minus(60);
    chain::write(&bitcoind, &server, chain::params(Chain::Regtest), plan.shares, end);
    println!("{} shares made in {:.1} s", plan.shares, begun.elapsed().as_secs_f64());
    server.launch();
    wait_until("the chain to be loaded", TIMEOUT, || share_count(&server) == u64::from(plan.shares));

    println!("load at the start: {}", load_averages());
    let started = Instant::now();
    let new = start(&bitcoind, options(1_001), &[&server]);
    let when = |wanted: &Event| {
        let entries = entries(&new.log());
        entries.iter().find(|entry| entry.event == *wanted).map(|entry| entry.at_us)
    };
    let synced_us = wait_for("the new node to be synced", SYNC_TIMEOUT, || when(&Event::Synced));
    let connected_us = when(&Event::Connected).unwrap_or(synced_us);
    wait_until("all shares in the API", TIMEOUT, || share_count(&new) == u64::from(plan.shares));
    let seen_s = started.elapsed().as_secs_f64();
    // Metrics are updated every two seconds.
    std::thread::sleep(Duration::from_secs(3));
    let bytes_in = new.metric("p2pool_p2p_bytes_total{direction=\"in\"}").unwrap_or_default();
    let seconds = (synced_us - connected_us) as f64 / 1e6;
    println!(
        "{} shares from one peer in {seconds:.2} s, from connected to synced: {:.0} per second, {:.0} bytes each",
        plan.shares,
        f64::from(plan.shares) / seconds,
        bytes_in / f64::from(plan.shares)
    );
    println!("in its API, which is updated every two seconds, {seen_s:.1} s after the start of the process");
    for (name, node) in [("server", &server), ("new node", &new)] {
        println!("RSS of the {name}: {}", resident_memory(node));
    }
    println!("load at the end: {}", load_averages());
}
