//! The heaviest case: more payees than a coinbase has outputs, and more transactions than fit into a block.

use p2pool_miner::job::Job;
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain, MempoolFiller};
use p2pool_test_functional::audit::audit;
use p2pool_test_functional::payees::p2tr_address;
use p2pool_test_functional::pool::Pool;

use serde_json::json;

use crate::{options, wait_block, TIMEOUT};

/// More than the rules allow as outputs.
const PAYEES: u32 = 60;
const OUTPUTS_MAX: u64 = 48;
/// Weight of the transactions offered; a block has 4,000,000.
const OFFERED_WEIGHT: u64 = 4_400_000;
const TRANSACTION_WEIGHT: u64 = 12_000;
/// Lowest weight of a full block.
const BLOCK_WEIGHT_MIN: u64 = 3_960_000;

#[test]
fn a_full_block_with_many_payees_is_valid() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    // Coins first: they need blocks.
    let mut filler = MempoolFiller::new(&bitcoind, 400);
    let mut pool = Pool::start(&bitcoind, options(Chain::Regtest));
    let mut time = None;
    for payee in 0..PAYEES {
        if payee > 0 {
            assert!(pool.terminate().success());
            pool.set_address(p2tr_address(Chain::Regtest, payee));
            pool.launch();
        }
        mine_one(&pool, &bitcoind, &mut time);
        wait_until("the share to be stored", TIMEOUT, || pool.shares().len() == payee as usize + 1);
    }

    assert!(pool.terminate().success());
    // A new miner finds the block: the finder's fee adds another payee.
    pool.set_address(p2tr_address(Chain::Regtest, PAYEES));
    filler.fill(&bitcoind, OFFERED_WEIGHT, TRANSACTION_WEIGHT);
    // bitcoind caches its template for some seconds.
    wait_until("the template to be full", TIMEOUT, || {
        let template = bitcoind.call("getblocktemplate", json!([{"rules": ["segwit"]}]));
        template["transactions"].as_array().is_some_and(|transactions| transactions.len() > 300)
    });
    pool.launch();
    let hash = mine_one(&pool, &bitcoind, &mut time);
    assert_eq!(bitcoind.tip(), hash);
    let block = bitcoind.block(&hash);
    assert!(block.weight().to_wu() > BLOCK_WEIGHT_MIN, "{}", block.weight());
    let height = bitcoind.height();
    wait_until("the last share to be stored", TIMEOUT, || pool.shares().len() == PAYEES as usize + 1);
    let audited = audit(&pool, &bitcoind, height..=height);
    assert_eq!((audited.outputs_max, audited.blocks_that_are_shares), (OUTPUTS_MAX, 1), "{audited:?}");
    assert!(block.txdata[0].output.iter().take(48).all(|output| output.script_pubkey.is_p2tr()));
}

/// Finds a share, which is a block on regtest.
///
/// Each header's time is a second after the last one, as the share period requires: shares stay as easy as possible, so all
/// payees have done the same work.
#[track_caller]
fn mine_one(pool: &Pool, bitcoind: &Bitcoind, time: &mut Option<u32>) -> bitcoin::BlockHash {
    let mut session = pool.session("worker");
    let mut job = Job::clone(&*session.wait_job(TIMEOUT, |_| true).unwrap());
    job.time = time.map_or(job.time, |time| time + 1);
    *time = Some(job.time);
    let (submit, hash) = session.solve_for(&job, 0, &job.submit_and_block_target());
    session.submit(&submit).unwrap();
    wait_block(bitcoind, hash)
}
