//! p2pool is killed (SIGKILL) repeatedly, at various moments.

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

use crate::{options, EASIEST, TIMEOUT};

const KILLS: u32 = 50;
/// Submits to wait for before a kill, so that each run does something; the kill follows after a varying delay.
const SUBMITS: usize = 2;
const DELAY_STEP: Duration = Duration::from_millis(7);
const DELAY_STEPS: u32 = 17;
/// At each such kill, an accepted share is given time to be stored: milliseconds, or seconds on a busy machine.
const STORED_EVERY: u32 = 17;
const STORE_DELAY_MAX: Duration = Duration::from_secs(5);

#[test]
fn stored_shares_survive_kills() {
    let bitcoind = Bitcoind::start_with(bitcoind::Options {
        chain: Chain::OpTrueSignet,
        listen: false,
        // A long poll occupies one until the next block, even if its caller has gone.
        arguments: vec![format!("-rpcthreads={}", KILLS * 2)],
    });
    let mut pool = Pool::start(&bitcoind, options(Chain::OpTrueSignet));
    let miner = Miner::start(Settings {
        password: EASIEST.to_owned(),
        hash_rate_max: Some(1_000_000),
        ..settings(&pool.address(), "worker")
    });
    let wait_accepted = || {
        miner.wait("an accepted submit", TIMEOUT, |event| matches!(event, Event::Accepted(_)).then_some(()));
    };
    // Two submits on the very first job are two genesis shares, of which the rules keep one; this is settled from the third share on.
    wait_accepted();
    wait_until("three shares", TIMEOUT, || pool.shares().iter().any(|share| share["share_height"] == 2));
    let mut known = BTreeMap::new();
    for kill in 0..KILLS {
        for _ in 0..SUBMITS {
            wait_accepted();
        }
        let stored = (kill % STORED_EVERY == STORED_EVERY - 1).then(|| wait_stored(&miner, &pool));
        let before = shares(&pool);
        // A different moment each time.
        std::thread::sleep(DELAY_STEP * (kill * 5 % DELAY_STEPS));
        pool.kill();
        let after = shares(&pool);
        assert_kept(&known, &before, kill);
        assert_kept(&before, &after, kill);
        if let Some(id) = stored {
            assert!(after.contains_key(&id), "accepted share {id} at kill {kill}");
        }
        known = after;
        pool.launch();
        assert_kept(&known, &shares(&pool), kill);
    }
    let totals = miner.stop();
    assert!(totals.accepted >= u64::from(KILLS) * 2, "{totals:?}");
    let audited = audit_blocks(&pool, &bitcoind, &[]);
    assert!(audited.shares >= known.len() as u64);
    assert!(audited.main_chain > 10, "{audited:?}");
}

/// Waits for an accepted submit that is certainly a share, and for the time that storing it takes.
fn wait_stored(miner: &Miner, pool: &Pool) -> String {
    // Submits accepted by the previous process may be lost.
    miner.events().try_iter().for_each(drop);
    loop {
        let target = sure_target(pool);
        let hash = miner.wait("an accepted share", TIMEOUT, |event| match event {
            Event::Accepted(share) if target.is_met_by(&share.hash) => Some(share.hash),
            _ => None,
        });
        std::thread::sleep(STORE_DELAY_MAX);
        // Now its parent is stored too, which may be harder than the shares before.
        if sure_target(pool).is_met_by(&hash) {
            return ShareId(hash).to_string();
        }
    }
}

/// Returns a target that makes a submit a share on any stored share: none is more than four times as hard as its parent
/// (rules, section 6).
fn sure_target(pool: &Pool) -> Target {
    let bits = |share: &Value| Bits(u32::from_str_radix(share["share_bits"].as_str().unwrap(), 16).unwrap());
    let work = |share: Value| bits(&share).target().unwrap().work().unwrap();
    let hardest = pool.shares().into_iter().map(work).max().unwrap();
    Work(hardest.0 * 4).target()
}

/// Returns the stored shares by id.
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
