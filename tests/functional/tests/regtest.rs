//! Mining on regtest, from its first block on: every answer is a Bitcoin block.

use p2pool_miner::mining::{Event, Settings};
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::audit::audit;
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::pool::Pool;
use std::time::{Duration, Instant};

use crate::{options, wait_block, SOON};

/// Past height 16, where BIP-0034 heights begin to be pushed as bytes.
const HEIGHT: u32 = 24;
/// Enough for many blocks a second while shares are as easy as can be, and for one a second once they are not.
const HASHES_PER_S: u64 = 100;
/// A new Bitcoin tip must reach the miners well under a second after bitcoind has it.
const TIP_DELAY_MAX: Duration = Duration::from_millis(900);

#[test]
fn every_block_is_taken_and_pays_as_the_rules_say() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let mut pool = Pool::start(&bitcoind, options(Chain::Regtest));
    let miner = Miner::start(Settings { hash_rate_max: Some(HASHES_PER_S), ..settings(&pool.address(), "worker") });
    let mut blocks = Vec::new();
    wait_until("blocks to be mined", SOON, || {
        let accepted = miner.events().try_iter().filter_map(|event| match event {
            // The difficulty of shares is rounded down: one answer of 700 is just none of the blocks.
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
fn a_new_tip_is_new_work_at_once() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let pool = Pool::start(&bitcoind, options(Chain::Regtest));
    let mut session = pool.session("worker");
    let mut delays = Vec::new();
    for _ in 0..5 {
        session.wait_job(SOON, |_| true).unwrap();
        let tip = bitcoind.mine(1)[0];
        let start = Instant::now();
        let hash: [u8; 32] = *tip.as_ref();
        let job = session.wait_job(SOON, |job| job.prev_block == hash).unwrap();
        delays.push(start.elapsed());
        assert!(job.clean, "work on an old tip is worthless");
    }
    delays.sort();
    // What another program on the machine does to one or two of them is not seen.
    assert!(delays[2] < TIP_DELAY_MAX, "{delays:?}");
}
