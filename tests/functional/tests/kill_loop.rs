//! p2pool is killed without warning, again and again, at moments of all kinds.

use std::collections::BTreeMap;
use std::time::Duration;

use p2pool_core::share::ShareId;
use p2pool_core::units::{Bits, Target, Work};
use p2pool_miner::mining::{Event, Settings};
use p2pool_test_bitcoind::{self as bitcoind, wait_until, Bitcoind, Chain};
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
/// Before so many kills one, a share that a miner was told of is given its way to the disk: milliseconds, seconds on
/// a machine that is busy with other tests.
const TOLD_EVERY: u32 = 17;
const WAY_TO_DISK: Duration = Duration::from_secs(5);

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
    let wait_accepted = || {
        miner.wait("an answer accepted", SOON, |event| matches!(event, Event::Accepted(_)).then_some(()));
    };
    // Two answers to the very first job are two first shares, of which the rules keep one; from the third on that is settled.
    wait_accepted();
    wait_until("the chain to be under way", SOON, || pool.shares().iter().any(|share| share["share_height"] == 2));
    let mut known = BTreeMap::new();
    for kill in 0..KILLS {
        for _ in 0..ANSWERS {
            wait_accepted();
        }
        let told = (kill % TOLD_EVERY == TOLD_EVERY - 1).then(|| wait_told(&miner, &pool));
        let before = shares(&pool);
        // The moment is the point here: a different one each time.
        std::thread::sleep(DELAY_STEP * (kill * 5 % DELAY_STEPS));
        pool.kill();
        let after = shares(&pool);
        assert_kept(&known, &before, kill);
        assert_kept(&before, &after, kill);
        if let Some(id) = told {
            assert!(after.contains_key(&id), "share {id}, which its miner was told is taken, at kill {kill}");
        }
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

/// Awaits that a miner is told of an answer that is a share beyond doubt, and that it has had its time.
fn wait_told(miner: &Miner, pool: &Pool) -> String {
    // Of what was answered by the process before, some may be lost.
    miner.events().try_iter().for_each(drop);
    loop {
        let target = sure_target(pool);
        let hash = miner.wait("a share accepted", SOON, |event| match event {
            Event::Accepted(share) if target.is_met_by(&share.hash) => Some(share.hash),
            _ => None,
        });
        std::thread::sleep(WAY_TO_DISK);
        // By now the share that it was built on is stored as well; it may be harder than those before.
        if sure_target(pool).is_met_by(&hash) {
            return ShareId(hash).to_string();
        }
    }
}

/// What is a share on whatever is stored: none is more than four times as hard as its parent (rules, section 6).
fn sure_target(pool: &Pool) -> Target {
    let bits = |share: &Value| Bits(u32::from_str_radix(share["share_bits"].as_str().unwrap(), 16).unwrap());
    let work = |share: Value| bits(&share).target().unwrap().work().unwrap();
    let hardest = pool.shares().into_iter().map(work).max().unwrap();
    Work(hardest.0 * 4).target()
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
