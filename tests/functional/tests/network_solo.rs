//! Nodes without peers.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use p2pool_test_bitcoind::{Bitcoind, Chain};
use p2pool_test_functional::network::{bootnodes_flag, start, tip, ManualMiner, TIMEOUT};
use p2pool_test_functional::pool;

use crate::network::options;
use crate::network_clock::with_clock;

/// Time from the start until a node mines solo (README: "for a minute").
const SOLO_AFTER: Duration = Duration::from_secs(60);
const SOLO: &str = "mining solo";
const SET: &str = "system clock was set by ";

/// Adds a clock whose offset is in this file, as on a machine whose clock is set.
fn with_clock_of(file: &Path, options: pool::Options) -> pool::Options {
    with_clock(&[("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()), ("FAKETIME_NO_CACHE", "1")], options)
}

#[test]
fn a_node_without_peers_mines_solo_after_a_minute_even_if_its_clock_is_set() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let mut dead = start(&bitcoind, options(1), &[]);
    let bootnodes = bootnodes_flag(&[&dead]);
    dead.kill();
    let looking = |payee| {
        let mut options = options(payee);
        options.flags.push(bootnodes.clone());
        options
    };
    let dir = tempfile::tempdir().unwrap();
    // Two hours back, as if it was in local time; three days ahead, as if it stood while the machine was off.
    let files = ["-7200", "+259200"].map(|set| (set, dir.path().join(set)));
    files.iter().for_each(|(_, file)| fs::write(file, "+0").unwrap());

    let begun = Instant::now();
    let plain = start(&bitcoind, looking(2), &[]);
    let set: Vec<_> = files.iter().map(|(_, file)| start(&bitcoind, with_clock_of(file, looking(3)), &[])).collect();
    for ((to, file), node) in files.iter().zip(&set) {
        node.wait_log("no peer yet: work withheld", TIMEOUT);
        // Atomically: a file that is being written has no value.
        fs::write(dir.path().join("next"), to).unwrap();
        fs::rename(dir.path().join("next"), file).unwrap();
        node.wait_log(SET, TIMEOUT);
        let log = node.log();
        let set_by: i64 = log.split(SET).nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
        assert!((set_by - to.parse::<i64>().unwrap()).abs() < 10, "{set_by} s, not {to} s");
        assert!(!log.contains(SOLO) || begun.elapsed() >= SOLO_AFTER, "{log}");
    }
    plain.wait_log(SOLO, TIMEOUT);
    assert!(begun.elapsed() >= SOLO_AFTER, "after {:?}", begun.elapsed());
    for node in &set {
        node.wait_log(SOLO, TIMEOUT);
    }
    // Then there is work, and a new chain begins.
    let share = ManualMiner::at(&plain).mine(&plain);
    assert_eq!(tip(&plain), Some(share));
    for ((_, file), node) in files.iter().zip(&set) {
        // bitcoind's clock is another.
        assert!(node.log().contains("SYSTEM CLOCK IS WRONG"), "{}", node.log());
        fs::write(dir.path().join("next"), "+0").unwrap();
        fs::rename(dir.path().join("next"), file).unwrap();
        node.session("waiting").wait_job(TIMEOUT, |_| true).unwrap();
    }
}
