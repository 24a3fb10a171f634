//! Mining on regtest, from its first block on: every answer is a Bitcoin block.

use p2pool_miner::mining::{Event, Settings};
use p2pool_test_bitcoind::{Bitcoind, Chain};
use p2pool_test_functional::audit::audit;
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::pool::Pool;
use std::time::{Duration, Instant};

use crate::{options, wait_block, EASIEST, SOON};

/// Past height 16, where BIP-0034 heights begin to be pushed as bytes.
const BLOCKS: u64 = 24;
/// A new Bitcoin tip must reach the miners well under a second after bitcoind has it.
const TIP_DELAY_MAX: Duration = Duration::from_millis(900);

#[test]
fn every_block_is_taken_and_pays_as_the_rules_say() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let mut pool = Pool::start(&bitcoind, options(Chain::Regtest));
    let mut miner = Miner::start(Settings {
        password: EASIEST.to_owned(),
        hash_rate_max: Some(200_000),
        blocks: Some(BLOCKS),
        ..settings(&pool.address(), "worker")
    });
    let tally = miner.join();
    assert_eq!(tally.blocks, BLOCKS);

    let mut found = 0;
    for event in miner.events().try_iter() {
        if let Event::Accepted(share) = event {
            assert!(share.is_block, "on regtest whatever a session may answer is a block");
            wait_block(&bitcoind, share.hash);
            found += 1;
        }
    }
    assert!(found >= BLOCKS);
    assert!(bitcoind.height() >= 17, "height {}", bitcoind.height());

    let audited = audit(&pool, &bitcoind, 1..=bitcoind.height());
    assert_eq!(audited.blocks, u64::from(bitcoind.height()));
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
    for round in 0..5 {
        session.wait_job(SOON, |_| true).unwrap();
        let tip = bitcoind.mine(1)[0];
        let start = Instant::now();
        let hash: [u8; 32] = *tip.as_ref();
        let job = session.wait_job(SOON, |job| job.prev_block == hash).unwrap();
        assert!(start.elapsed() < TIP_DELAY_MAX, "round {round}: {:?}", start.elapsed());
        assert!(job.clean, "work on an old tip is worthless");
    }
}
