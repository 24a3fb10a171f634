//! Nodes with wrong clocks, and with clocks that step while they run.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use p2pool_test_bitcoind::{self as bitcoind, wait_for, wait_until, Bitcoind, Chain};
use p2pool_test_functional::network::{start, status, tip, wait_connected, wait_tip, ManualMiner, TIMEOUT};
use p2pool_test_functional::pool::{self, Pool};

use crate::network::options;

/// Warning of a node whose clock differs from those of its peers.
const WARNING: &str = "system clock is off";
/// Alarm of a node whose miners get no work because of its clock.
const ALARM: &str = "SYSTEM CLOCK IS WRONG";
/// An RTC in local time.
const HALF_DAY_S: i64 = 43_200;

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

/// A clock that a test sets while the node runs.
struct StepClock {
    folder: tempfile::TempDir,
}

impl StepClock {
    fn new(ahead_s: i64) -> Self {
        let clock = Self { folder: tempfile::tempdir().unwrap() };
        clock.set(ahead_s);
        clock
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("time")
    }

    /// Sets how far it is ahead of the right time.
    fn set(&self, ahead_s: i64) {
        replace(&self.path(), &format!("{ahead_s:+}s"));
    }

    fn of(&self, options: pool::Options) -> pool::Options {
        let path = self.path();
        with_clock(&[("FAKETIME_TIMESTAMP_FILE", path.to_str().unwrap()), ("FAKETIME_NO_CACHE", "1")], options)
    }

    /// Starts a bitcoind with this clock.
    fn bitcoind(&self) -> Bitcoind {
        let options = bitcoind::Options { chain: Chain::OpTrueSignet, listen: false, arguments: Vec::new() };
        Bitcoind::start_in(options, self.of(crate::network::options(1)).environment)
    }
}

/// Writes a file that a process may read at any moment.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}

fn has_problem(node: &Pool, code: &str, level: &str) -> bool {
    let problems = status(node)["problems"].as_array().cloned().unwrap_or_default();
    problems.iter().any(|problem| problem["code"] == code && problem["level"] == level)
}

/// Whether the health check fails, which has no document for this client then.
fn is_unhealthy(node: &Pool) -> bool {
    node.api("/healthz").is_none()
}

fn wait_alarm(node: &Pool) {
    wait_until("no work for the clock's sake", TIMEOUT, || has_problem(node, "clock_off", "error"));
    assert!(is_unhealthy(node) && node.log().contains(ALARM), "{}", node.log());
    assert_eq!(node.metric("p2pool_clock_wrong"), Some(1.0));
}

fn wait_right(node: &Pool) {
    wait_until("the clock to be right", TIMEOUT, || node.metric("p2pool_clock_wrong") == Some(0.0));
}

#[test]
fn a_node_with_a_wrong_clock_has_no_work_and_its_peers_go_on() {
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
    let behind_s: i64 = line.split(" is off: ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    // Half a minute of tolerance for the round trip on a busy machine.
    assert!((570..=630).contains(&behind_s) && line.contains("behind the peers'"), "{line}");
    wait_alarm(&late);
    let problem = wait_for("the problem in the API", TIMEOUT, || {
        let problems = status(&late)["problems"].as_array()?.clone();
        problems.into_iter().find(|problem| problem["code"] == "clock_off")
    });
    assert!(problem["text"].as_str().unwrap().contains("behind bitcoind's clock"), "{problem}");
    // The peers continue without a warning.
    miner.mine(&first);
    for node in [&first, &second, &third] {
        assert!(!node.log().contains(WARNING) && !node.log().contains(ALARM), "{}", node.log());
        assert!(!status(node)["problems"].to_string().contains("clock_off"));
    }
}

#[test]
fn steps_of_the_clock_at_the_start_and_while_running_stop_the_work_until_it_is_right() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let clock = StepClock::new(0);
    let mut node = start(&bitcoind, clock.of(options(1)), &[]);
    let mut miner = ManualMiner::at(&node);
    miner.mine(&node);
    for step_s in [-7_200, -1, 1, 7_200, HALF_DAY_S, 259_200] {
        let is_wrong = i64::abs(step_s) > 120;
        let before = tip(&node);
        clock.set(step_s);
        if is_wrong {
            wait_alarm(&node);
        } else {
            miner.mine(&node);
        }
        clock.set(0);
        wait_right(&node);
        assert!(!is_wrong || tip(&node) == before, "{step_s}: no share is moved");
        miner.mine(&node);

        let before = tip(&node);
        assert!(node.terminate().success());
        clock.set(step_s);
        node.launch();
        if is_wrong {
            wait_alarm(&node);
        }
        clock.set(0);
        wait_right(&node);
        assert_eq!(tip(&node), before, "{step_s}");
        miner = ManualMiner::at(&node);
        miner.mine(&node);
    }
}

/// The fault as it was seen, on one machine: bitcoind has the same clock, so shares are found and accepted.
#[test]
fn a_clock_that_was_half_a_day_ahead_with_bitcoinds_does_not_stop_the_pool_when_it_is_put_right() {
    let clock = StepClock::new(0);
    let bitcoind = clock.bitcoind();
    let mut node = start(&bitcoind, clock.of(options(1)), &[]);
    let mut miner = ManualMiner::at(&node);
    miner.mine(&node);
    let good = miner.mine(&node);
    clock.set(HALF_DAY_S);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let ahead_s = u64::try_from(HALF_DAY_S).unwrap() - 600;
    wait_until("jobs of the wrong time", TIMEOUT, || u64::from(miner.newest_job().time) > now + ahead_s);
    let future: Vec<String> = (0..3).map(|_| miner.mine(&node)).collect();
    assert_eq!(status(&node)["share_count"], 5);

    clock.set(0);
    node.wait_log("3 shares are from the future", TIMEOUT);
    wait_right(&node);
    assert_eq!(tip(&node).as_deref(), Some(&good[..]));
    let share = miner.mine(&node);
    let parent = node.api(&format!("/api/v1/share/{share}")).unwrap();
    assert!(parent.to_string().contains(&good) && !parent.to_string().contains(&future[2]), "{parent}");
    assert!(!is_unhealthy(&node));

    // Another node gets work at once, and its shares reach this one.
    let newcomer = start(&bitcoind, options(2), &[&node]);
    wait_tip(&[&newcomer], &share);
    let theirs = ManualMiner::at(&newcomer).mine(&newcomer);
    wait_tip(&[&node], &theirs);

    // Nothing is lost, and a restart finds the same.
    assert!(node.terminate().success());
    assert_eq!(node.shares().len(), 7);
    node.launch();
    wait_tip(&[&node], &theirs);
    let share = ManualMiner::at(&node).mine(&node);
    wait_tip(&[&newcomer], &share);
}

/// One machine with both clocks half a day ahead, three peers whose clocks are right, and Bitcoin blocks that are.
#[test]
fn peers_and_bitcoins_blocks_stop_a_node_whose_bitcoind_has_the_same_wrong_clock() {
    let clock = StepClock::new(0);
    let bitcoind = clock.bitcoind();
    bitcoind.mine(1);
    let nodes = [options(1), options(2), options(4)].map(|options| start(&bitcoind, options, &[]));
    let address = nodes.each_ref();
    clock.set(HALF_DAY_S);
    let wrong = start(&bitcoind, clock.of(options(3)), &address);
    wrong.wait_log("the peers', and Bitcoin's newest block", TIMEOUT);
    wait_alarm(&wrong);
    clock.set(0);
    wait_right(&wrong);
    ManualMiner::at(&wrong).mine(&wrong);
}
