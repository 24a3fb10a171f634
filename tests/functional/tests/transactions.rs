//! Blocks contain the transactions of the mempool.

use std::collections::HashSet;

use bitcoin::Txid;
use p2pool_test_bitcoind::{Bitcoind, Chain, MempoolFiller};
use p2pool_test_functional::audit::audit;
use p2pool_test_functional::pool::Pool;

use crate::{options, wait_block, TIMEOUT};

/// An odd number, so that the merkle tree has an unpaired leaf.
const TRANSACTIONS: usize = 22;

#[test]
fn a_block_contains_the_mempool_and_pays_its_fees() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let mut filler = MempoolFiller::new(&bitcoind, TRANSACTIONS);
    let sent: Vec<_> = (0..TRANSACTIONS).map(|_| filler.send_one(&bitcoind, 2_000)).collect();
    let pool = Pool::start(&bitcoind, options(Chain::Regtest));

    let mut session = pool.session("worker");
    let job = session.wait_job(TIMEOUT, |_| true).unwrap();
    let (submit, hash) = session.solve_for(&job, 0, &job.submit_and_block_target());
    session.submit(&submit).unwrap();
    let hash = wait_block(&bitcoind, hash);
    assert_eq!(bitcoind.tip(), hash);

    let block = bitcoind.block(&hash);
    let in_block: HashSet<Txid> = block.txdata.iter().skip(1).map(bitcoin::Transaction::compute_txid).collect();
    let sent: HashSet<Txid> = sent.iter().map(bitcoin::Transaction::compute_txid).collect();
    assert_eq!(in_block, sent);
    let paid: u64 = block.txdata[0].output.iter().map(|output| output.value.to_sat()).sum();
    assert!(paid > 50 * 100_000_000, "the coinbase pays no fees: {paid}");
    let height = bitcoind.height();
    assert_eq!(audit(&pool, &bitcoind, height..=height).blocks_that_are_shares, 1);
}
