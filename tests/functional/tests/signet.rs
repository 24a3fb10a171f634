//! Mining on a custom signet: shares are easier than blocks, and blocks need real work.

use std::time::Duration;

use bitcoin::BlockHash;
use p2pool_miner::mining::{Event, Settings};
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::audit::audit_blocks;
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::pool::Pool;

use crate::{options, wait_block, EASIEST};

/// About five million hashes each.
const BLOCKS: usize = 2;
/// Submits of 43,000 hashes each: on average 117 per block.
const SUBMITS: usize = 100;
/// Timeout: 15 seconds on average on an idle machine, with bad luck four times as long.
const FOUND_MAX: Duration = Duration::from_secs(300);
/// With this hash rate a share per second is seven times easier than a block, so all blocks are shares.
const HASHES_PER_S: u64 = 700_000;

#[test]
fn shares_are_found_between_blocks_and_all_blocks_are_accepted() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let pool = Pool::start(&bitcoind, options(Chain::OpTrueSignet));
    let miner = Miner::start(Settings {
        password: EASIEST.to_owned(),
        hash_rate_max: Some(HASHES_PER_S),
        ..settings(&pool.address(), "worker")
    });
    let (mut submits, mut blocks) = (0, Vec::new());
    wait_until("submits and blocks", FOUND_MAX, || {
        for event in miner.events().try_iter() {
            let Event::Accepted(share) = event else { continue };
            submits += 1;
            blocks.extend(share.is_block.then_some(share.hash));
        }
        submits >= SUBMITS && blocks.len() >= BLOCKS
    });
    miner.stop();
    // On any branch: two of the same height may be found before the job on the first.
    let blocks: Vec<BlockHash> = blocks.into_iter().map(|hash| wait_block(&bitcoind, hash)).collect();
    let audited = audit_blocks(&pool, &bitcoind, &blocks);
    assert_eq!((audited.blocks, audited.blocks_that_are_shares), (blocks.len() as u64, blocks.len() as u64));
    // The first shares of a chain are very easy.
    assert!(audited.main_chain > 2 * BLOCKS as u64, "{audited:?}");
}
