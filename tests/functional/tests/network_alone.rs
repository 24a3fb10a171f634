//! Nodes that find nobody.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use p2pool_test_bitcoind::{Bitcoind, Chain};
use p2pool_test_functional::network::{bootnodes_flag, start, tip, Hand, SOON};
use p2pool_test_functional::pool;

use crate::network::options;
use crate::network_clock::with_clock;

/// From its start until a node mines alone (README: "for a minute").
const ALONE_AFTER: Duration = Duration::from_secs(60);
const ALONE: &str = "mining solo";
const SET: &str = "system clock was set by ";

/// With a clock that is as far from the true one as this file says, as on a machine whose clock is set.
fn with_clock_of(file: &Path, options: pool::Options) -> pool::Options {
    with_clock(&[("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()), ("FAKETIME_NO_CACHE", "1")], options)
}

#[test]
fn a_node_that_finds_nobody_mines_alone_after_a_minute_however_its_clock_is_set_meanwhile() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let mut dead = start(&bitcoind, options(1), &[]);
    let bootnodes = bootnodes_flag(&[&dead]);
    dead.kill();
    let looking = |payee| {
        let mut options = options(payee);
        options.flags.push(bootnodes.clone());
        options
    };
    let folder = tempfile::tempdir().unwrap();
    // Two hours back, as where it was in local time; three days ahead, as where it stood while the machine was off.
    let files = ["-7200", "+259200"].map(|set| (set, folder.path().join(set)));
    files.iter().for_each(|(_, file)| fs::write(file, "+0").unwrap());

    let begun = Instant::now();
    let plain = start(&bitcoind, looking(2), &[]);
    let set: Vec<_> = files.iter().map(|(_, file)| start(&bitcoind, with_clock_of(file, looking(3)), &[])).collect();
    for ((to, file), node) in files.iter().zip(&set) {
        node.wait_log("no peer yet: work withheld", SOON);
        // At one stroke: a file that is just being written says nothing.
        fs::write(folder.path().join("next"), to).unwrap();
        fs::rename(folder.path().join("next"), file).unwrap();
        node.wait_log(SET, SOON);
        let log = node.log();
        let set_by: i64 = log.split(SET).nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
        assert!((set_by - to.parse::<i64>().unwrap()).abs() < 10, "{set_by} s, not {to}");
        assert!(!log.contains(ALONE) || begun.elapsed() >= ALONE_AFTER, "{log}");
    }
    plain.wait_log(ALONE, SOON);
    assert!(begun.elapsed() >= ALONE_AFTER, "after {:?}", begun.elapsed());
    for node in &set {
        node.wait_log(ALONE, SOON);
    }
    // Then there is work, and a chain of its own begins.
    let share = Hand::at(&plain).mine(&plain);
    assert_eq!(tip(&plain), Some(share));
    for node in &set {
        node.session("waiting").wait_job(SOON, |_| true).unwrap();
    }
}
