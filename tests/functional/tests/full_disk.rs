//! The disk is full: miners go on, and what is not stored at the end is said aloud.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use p2pool_miner::mining::Settings;
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::pool::Pool;
use serde_json::Value;

use crate::{options, EASIEST, SOON};
use small_disk::SmallDisk;

#[path = "../../../threads/chain/tests/thread/small_disk.rs"]
mod small_disk;

/// Takes all that is left of a small disk.
fn fill(dir: &Path) {
    let mut filler = File::options().create(true).append(true).open(dir.join("filler")).unwrap();
    filler.write_all(&vec![1; 2 << 20]).unwrap_err();
}

#[test]
fn a_stop_while_the_disk_refuses_shares_says_how_many_and_is_a_failure() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let mut pool = Pool::start(&bitcoind, options(Chain::OpTrueSignet));
    assert_eq!(pool.terminate().code(), Some(0));
    let Some(disk) = SmallDisk::mount_or_skip(&pool.data_dir()) else { return };
    pool.launch();
    fill(&pool.data_dir());
    let miner = Miner::start(Settings {
        password: EASIEST.to_owned(),
        hash_rate_max: Some(1_000_000),
        ..settings(&pool.address(), "worker")
    });
    wait_until("shares to be refused", SOON, || {
        // Whatever was being written when the disk became full may have been removed since.
        fill(&pool.data_dir());
        pool.log().contains("SHARES ARE NOT STORED")
    });
    wait_until("the state to be told", SOON, || {
        let status = pool.api("/api/status").unwrap_or_default();
        status["problems"].as_array().is_some_and(|all| all.iter().any(|state| state["code"] == "disk_full"))
    });
    // The chain grows nonetheless.
    let height = || pool.api("/api/status").and_then(|status| status["sharechain_height"].as_u64());
    let before = height();
    wait_until("a share in memory", SOON, || height() > before);
    miner.stop();

    assert_eq!(pool.terminate().code(), Some(1));
    let log = pool.log();
    assert!(log.contains(" shares are not on disk, and lost unless other nodes have them: the disk of "), "{log}");
    // What was stored before is whole, and with room it goes on from there.
    assert!(disk.command("mount", &["-o", "remount,size=8m"]));
    let stored: Vec<Value> = pool.shares();
    pool.launch();
    assert_eq!(pool.shares(), stored);
    assert_eq!(pool.terminate().code(), Some(0));
}
