//! A node whose clock is wrong.

use std::path::PathBuf;

use p2pool_test_bitcoind::{wait_for, Bitcoind, Chain};
use p2pool_test_functional::network::{start, status, wait_connected, Hand, SOON};
use p2pool_test_functional::pool;

use crate::network::options;

/// What a node says whose clock differs from the others'.
const COMPLAINT: &str = "system clock is off";

/// Debian's package libfaketime, wherever its architecture's folder is.
fn libfaketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut files = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    files.find(|file| file.exists()).expect("libfaketime is not installed: apt-get install libfaketime")
}

/// With a clock that libfaketime's variables tell; only the time of day, for timers go by another clock.
pub fn with_clock(variables: &[(&str, &str)], options: pool::Options) -> pool::Options {
    let library = libfaketime();
    let always = [("LD_PRELOAD", library.to_str().unwrap()), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let all = always.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    pool::Options { environment: all.collect(), ..options }
}

/// Ten minutes slow.
fn slow(options: pool::Options) -> pool::Options {
    with_clock(&[("FAKETIME", "-600s")], options)
}

#[test]
fn a_node_whose_clock_is_wrong_is_told_and_the_others_are_not() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let first = start(&bitcoind, options(1), &[]);
    let second = start(&bitcoind, options(2), &[&first]);
    let third = start(&bitcoind, options(4), &[&first]);
    wait_connected(&[&first, &second, &third]);
    let mut hand = Hand::at(&first);
    hand.mine(&first);
    for node in [&first, &second, &third] {
        node.wait_log("synced with", SOON);
    }

    let late = start(&bitcoind, slow(options(3)), &[&first]);
    // Three others: fewer could not tell whose clock is wrong.
    wait_connected(&[&first, &second, &third, &late]);
    late.wait_log(COMPLAINT, SOON);
    let log = late.log();
    let line = log.lines().find(|line| line.contains(COMPLAINT)).unwrap();
    let ahead_s: i64 = line.split("agree on a time ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    // Half a minute for the roads there and back, on a machine that is busy with other tests.
    assert!((570..=630).contains(&ahead_s), "{line}");
    // The page says so as well.
    let told = wait_for("the page to tell", SOON, || {
        let problems = status(&late)["problems"].as_array()?.clone();
        problems.into_iter().find(|problem| problem["code"] == "clock_off")
    });
    assert!(told["text"].as_str().unwrap().contains("behind those of the other nodes"), "{told}");
    // The others go on, and nobody tells them that it is they who are wrong.
    hand.mine(&first);
    for node in [&first, &second, &third] {
        assert!(!node.log().contains(COMPLAINT), "{}", node.log());
        assert!(!status(node)["problems"].to_string().contains("clock_off"));
    }
}
