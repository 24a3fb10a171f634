//! Mining on a signet of its own: shares are easier than blocks, and blocks need real work.

use std::time::Duration;

use bitcoin::BlockHash;
use p2pool_miner::mining::{Event, Settings};
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::audit::audit_blocks;
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::pool::Pool;

use crate::{options, wait_block, EASIEST};

/// Some five million hashes each.
const BLOCKS: usize = 2;
/// Answers of 43,000 hashes each: 117 times as many as blocks, but for luck, so it takes some of both.
const ANSWERS: usize = 100;
/// Until both are there, on average a quarter of a minute on an idle machine; luck may have it four times as long.
const FOUND_MAX: Duration = Duration::from_secs(300);
/// A share a second is then seven times easier than a block, so none of the blocks misses the share target.
const HASHES_PER_S: u64 = 700_000;

#[test]
fn shares_come_between_blocks_and_all_blocks_are_taken() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let pool = Pool::start(&bitcoind, options(Chain::OpTrueSignet));
    let miner = Miner::start(Settings {
        password: EASIEST.to_owned(),
        hash_rate_max: Some(HASHES_PER_S),
        ..settings(&pool.address(), "worker")
    });
    let (mut answers, mut blocks) = (0, Vec::new());
    wait_until("answers and blocks to be found", FOUND_MAX, || {
        for event in miner.events().try_iter() {
            let Event::Accepted(share) = event else { continue };
            answers += 1;
            blocks.extend(share.is_block.then_some(share.hash));
        }
        answers >= ANSWERS && blocks.len() >= BLOCKS
    });
    miner.stop();
    // Wherever they are: two of one height may have been found before the pool had told of the first.
    let blocks: Vec<BlockHash> = blocks.into_iter().map(|hash| wait_block(&bitcoind, hash)).collect();
    let audited = audit_blocks(&pool, &bitcoind, &blocks);
    assert_eq!((audited.blocks, audited.blocks_that_are_shares), (blocks.len() as u64, blocks.len() as u64));
    // The first shares of a chain are so easy that the answers alone are more of them.
    assert!(audited.main_chain > 2 * BLOCKS as u64, "{audited:?}");
}
