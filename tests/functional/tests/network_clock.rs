//! A node with a wrong clock.

use std::path::PathBuf;

use p2pool_test_bitcoind::{wait_for, Bitcoind, Chain};
use p2pool_test_functional::network::{start, status, wait_connected, ManualMiner, TIMEOUT};
use p2pool_test_functional::pool;

use crate::network::options;

/// Warning of a node whose clock differs from those of its peers.
const WARNING: &str = "system clock is off";

/// Finds the library of Debian's package libfaketime.
fn libfaketime() -> PathBuf {
    let dirs = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut files = dirs.map(|dir| dir.path().join("faketime/libfaketime.so.1"));
    files.find(|file| file.exists()).expect("libfaketime is not installed: apt-get install libfaketime")
}

/// Adds a system clock as libfaketime's variables say; timers use another clock.
pub fn with_clock(variables: &[(&str, &str)], options: pool::Options) -> pool::Options {
    let library = libfaketime();
    let always = [("LD_PRELOAD", library.to_str().unwrap()), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let all = always.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    pool::Options { environment: all.collect(), ..options }
}

/// Adds a clock that is ten minutes behind.
fn slow(options: pool::Options) -> pool::Options {
    with_clock(&[("FAKETIME", "-600s")], options)
}

#[test]
fn a_node_with_a_wrong_clock_warns_and_its_peers_do_not() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let first = start(&bitcoind, options(1), &[]);
    let second = start(&bitcoind, options(2), &[&first]);
    let third = start(&bitcoind, options(4), &[&first]);
    wait_connected(&[&first, &second, &third]);
    let mut miner = ManualMiner::at(&first);
    miner.mine(&first);
    for node in [&first, &second, &third] {
        node.wait_log("synced with", TIMEOUT);
    }

    let late = start(&bitcoind, slow(options(3)), &[&first]);
    // Three peers are needed to determine whose clock is wrong.
    wait_connected(&[&first, &second, &third, &late]);
    late.wait_log(WARNING, TIMEOUT);
    let log = late.log();
    let line = log.lines().find(|line| line.contains(WARNING)).unwrap();
    let ahead_s: i64 = line.split("agree on a time ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    // Half a minute of tolerance for the round trip on a busy machine.
    assert!((570..=630).contains(&ahead_s), "{line}");
    // The API reports it too.
    let problem = wait_for("the problem in the API", TIMEOUT, || {
        let problems = status(&late)["problems"].as_array()?.clone();
        problems.into_iter().find(|problem| problem["code"] == "clock_off")
    });
    assert!(problem["text"].as_str().unwrap().contains("behind its peers' clocks"), "{problem}");
    // The peers continue without a warning.
    miner.mine(&first);
    for node in [&first, &second, &third] {
        assert!(!node.log().contains(WARNING), "{}", node.log());
        assert!(!status(node)["problems"].to_string().contains("clock_off"));
    }
}
