//! Mining on a signet of its own: shares are easier than blocks, and blocks need real work.

use p2pool_miner::mining::{Event, Settings};
use p2pool_test_bitcoind::{Bitcoind, Chain};
use p2pool_test_functional::audit::audit;
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::pool::Pool;

use crate::{options, wait_block, EASIEST};

/// Some five million hashes each.
const BLOCKS: u64 = 2;
/// A share a second is then seven times easier than a block, so none of the blocks misses the share target.
const HASHES_PER_S: u64 = 700_000;

#[test]
fn shares_come_between_blocks_and_all_blocks_are_taken() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let pool = Pool::start(&bitcoind, options(Chain::OpTrueSignet));
    let mut miner = Miner::start(Settings {
        password: EASIEST.to_owned(),
        hash_rate_max: Some(HASHES_PER_S),
        blocks: Some(BLOCKS),
        ..settings(&pool.address(), "worker")
    });
    let tally = miner.join();
    assert_eq!(tally.blocks, BLOCKS);
    assert!(tally.accepted > 10 * BLOCKS, "{tally:?}");
    for event in miner.events().try_iter() {
        if let Event::Accepted(share) = event {
            if share.is_block {
                wait_block(&bitcoind, share.hash);
            }
        }
    }
    let audited = audit(&pool, &bitcoind, 1..=bitcoind.height());
    assert!(audited.blocks >= BLOCKS, "{audited:?}");
    assert_eq!(audited.blocks_that_are_shares, audited.blocks);
    assert!(audited.main_chain > 2 * audited.blocks, "{audited:?}");
}
