//! p2pool is killed without warning, again and again, at moments of all kinds.

use std::collections::BTreeMap;
use std::time::Duration;

use p2pool_miner::mining::{Event, Settings};
use p2pool_test_bitcoind::{self as bitcoind, Bitcoind, Chain};
use p2pool_test_functional::audit::audit_blocks;
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::pool::Pool;
use serde_json::Value;

use crate::{options, EASIEST, SOON};

const KILLS: u32 = 50;
/// Answers awaited before a kill, so that each run does something; then it comes this much later at most.
const ANSWERS: usize = 2;
const DELAY_STEP: Duration = Duration::from_millis(7);
const DELAY_STEPS: u32 = 17;

#[test]
fn nothing_that_was_stored_is_lost() {
    let bitcoind = Bitcoind::start_with(bitcoind::Options {
        chain: Chain::OpTrueSignet,
        listen: false,
        // A long poll holds one until the next block, whether or not anybody waits for its answer.
        arguments: vec![format!("-rpcthreads={}", KILLS * 2)],
    });
    let mut pool = Pool::start(&bitcoind, options(Chain::OpTrueSignet));
    let miner = Miner::start(Settings {
        password: EASIEST.to_owned(),
        hash_rate_max: Some(1_000_000),
        ..settings(&pool.address(), "worker")
    });
    let mut known = BTreeMap::new();
    for kill in 0..KILLS {
        for _ in 0..ANSWERS {
            miner.wait("an answer accepted", SOON, |event| matches!(event, Event::Accepted(_)).then_some(()));
        }
        let before = shares(&pool);
        // The moment is the point here: a different one each time.
        std::thread::sleep(DELAY_STEP * (kill * 5 % DELAY_STEPS));
        pool.kill();
        let after = shares(&pool);
        assert_kept(&known, &before, kill);
        assert_kept(&before, &after, kill);
        known = after;
        pool.launch();
        assert_kept(&known, &shares(&pool), kill);
    }
    let tally = miner.stop();
    assert!(tally.accepted >= u64::from(KILLS) * 2, "{tally:?}");
    let audited = audit_blocks(&pool, &bitcoind, &[]);
    assert!(audited.shares >= known.len() as u64);
    assert!(audited.main_chain > 10, "{audited:?}");
}

/// What is stored, by id, without what may change as the chain grows.
fn shares(pool: &Pool) -> BTreeMap<String, Value> {
    let entry = |mut share: Value| (share["id"].as_str().unwrap().to_owned(), share["raw"].take());
    pool.shares().into_iter().map(entry).collect()
}

#[track_caller]
fn assert_kept(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>, kill: u32) {
    for (id, raw) in before {
        assert_eq!(after.get(id), Some(raw), "share {id} at kill {kill}");
    }
}
