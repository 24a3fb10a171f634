//! Mining on regtest from the first block on: every submit is a block.

use p2pool_miner::mining::{Event, Settings};
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::audit::audit;
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::pool::Pool;
use std::time::{Duration, Instant};

use crate::{options, wait_block, TIMEOUT};

/// Above height 16, where BIP-0034 heights are pushed as bytes.
const HEIGHT: u32 = 24;
/// Enough for many blocks per second while shares are as easy as possible, and for one per second afterwards.
const HASHES_PER_S: u64 = 100;
/// Longest time from bitcoind's new tip to the job.
const TIP_DELAY_MAX: Duration = Duration::from_millis(900);

#[test]
fn every_block_is_accepted_and_its_payouts_follow_the_rules() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let mut pool = Pool::start(&bitcoind, options(Chain::Regtest));
    let miner = Miner::start(Settings { hash_rate_max: Some(HASHES_PER_S), ..settings(&pool.address(), "worker") });
    let mut blocks = Vec::new();
    wait_until("blocks to be mined", TIMEOUT, || {
        let accepted = miner.events().try_iter().filter_map(|event| match event {
            // The difficulty of shares is rounded down: one submit of 700 narrowly misses the block target.
            Event::Accepted(share) => share.is_block.then_some(share.hash),
            _ => None,
        });
        blocks.extend(accepted);
        blocks.len() >= HEIGHT as usize && bitcoind.height() >= HEIGHT
    });
    miner.stop();
    for hash in blocks {
        wait_block(&bitcoind, hash);
    }

    let audited = audit(&pool, &bitcoind, 1..=bitcoind.height());
    assert!(audited.blocks_that_are_shares > 0 && audited.main_chain > 1, "{audited:?}");

    let cookie = std::fs::read_to_string(bitcoind.cookie_file()).unwrap();
    let password = cookie.split_once(':').unwrap().1;
    assert!(!pool.log().contains(password), "the RPC password is in the log");
    assert!(pool.terminate().success());
}

#[test]
fn a_new_tip_gives_a_job_at_once() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let pool = Pool::start(&bitcoind, options(Chain::Regtest));
    let mut session = pool.session("worker");
    let mut delays = Vec::new();
    for _ in 0..5 {
        session.wait_job(TIMEOUT, |_| true).unwrap();
        let tip = bitcoind.mine(1)[0];
        let start = Instant::now();
        let hash: [u8; 32] = *tip.as_ref();
        let job = session.wait_job(TIMEOUT, |job| job.prev_block == hash).unwrap();
        delays.push(start.elapsed());
        assert!(job.clean, "jobs on the old tip are stale");
    }
    delays.sort();
    // The median: another program on the machine may delay one or two.
    assert!(delays[2] < TIP_DELAY_MAX, "{delays:?}");
}
