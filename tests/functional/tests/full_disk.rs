//! The disk is full: mining continues, and the node reports shares that are not stored at the end.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use p2pool_miner::mining::Settings;
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::pool::Pool;
use serde_json::Value;

use crate::{options, EASIEST, TIMEOUT};
use small_disk::SmallDisk;

#[path = "../../../threads/chain/tests/thread/small_disk.rs"]
mod small_disk;

/// Fills a small disk.
fn fill(dir: &Path) {
    let mut filler = File::options().create(true).append(true).open(dir.join("filler")).unwrap();
    filler.write_all(&vec![1; 2 << 20]).unwrap_err();
}

#[test]
fn a_stop_with_a_full_disk_reports_the_lost_shares_and_fails() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let mut pool = Pool::start(&bitcoind, options(Chain::OpTrueSignet));
    assert_eq!(pool.terminate().code(), Some(0));
    let Some(disk) = SmallDisk::mount_or_skip(&pool.data_dir()) else { return };
    pool.launch();
    // The port is open before the store.
    wait_until("the store to be open", TIMEOUT, || pool.log().matches("listening for miners").count() == 2);
    fill(&pool.data_dir());
    let miner = Miner::start(Settings {
        password: EASIEST.to_owned(),
        hash_rate_max: Some(1_000_000),
        ..settings(&pool.address(), "worker")
    });
    wait_until("the disk to reject shares", TIMEOUT, || {
        // A file that was being written when the disk became full may have been removed.
        fill(&pool.data_dir());
        pool.log().contains("SHARES ARE NOT STORED")
    });
    wait_until("the state", TIMEOUT, || {
        let status = pool.api("/api/v1/status").unwrap_or_default();
        status["problems"].as_array().is_some_and(|all| all.iter().any(|state| state["code"] == "disk_full"))
    });
    // The chain still grows.
    let height = || pool.api("/api/v1/status").and_then(|status| status["sharechain_height"].as_u64());
    let before = height();
    wait_until("a share in memory", TIMEOUT, || height() > before);
    miner.stop();

    assert_eq!(pool.terminate().code(), Some(1));
    let log = pool.log();
    assert!(log.contains(" shares not saved, lost unless peers have them: disk of "), "{log}");
    // The stored shares are intact, and the node continues with them once there is room.
    assert!(disk.command("mount", &["-o", "remount,size=8m"]));
    let stored: Vec<Value> = pool.shares();
    pool.launch();
    assert_eq!(pool.shares(), stored);
    assert_eq!(pool.terminate().code(), Some(0));
}
