//! A hash that meets Bitcoin's target is a block, even if the submit is rejected.

use p2pool_miner::session::{Error, Rejection};
use p2pool_test_bitcoind::{wait_for, Bitcoind, Chain};
use p2pool_test_functional::pool::Pool;
use serde_json::Value;

use crate::{options, wait_block, TIMEOUT};

/// Difficulty of a regtest block: two hashes.
const EASIEST_BLOCK: f64 = 4.66e-10;

const STALE: i64 = 21;
const DUPLICATE: i64 = 22;
const LOW_DIFFICULTY: i64 = 23;

#[track_caller]
fn error_code(result: Result<(), Error>) -> i64 {
    match result {
        Err(Error::Rejected(Rejection { code, .. })) => code,
        other => panic!("expected an error, not {other:?}"),
    }
}

/// Waits until the API lists a block with this status, whether or not it is a share.
fn wait_listed(pool: &Pool, hash: &str, status: &str) -> Value {
    wait_for("the block in the API", TIMEOUT, || {
        let blocks = pool.api("/api/v1/blocks")?["blocks"].as_array()?.clone();
        blocks.into_iter().find(|block| block["hash"] == hash && block["status"] == status)
    })
}

#[test]
fn a_block_on_a_stale_job_reaches_bitcoind() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let pool = Pool::start(&bitcoind, options(Chain::Regtest));
    let mut session = pool.session("worker");
    let old = session.wait_job(TIMEOUT, |_| true).unwrap();
    let (submit, hash) = session.solve_for(&old, 0, &old.submit_and_block_target());
    let rival = bitcoind.mine(1)[0];
    session.wait_job(TIMEOUT, |job| job.prev_block != old.prev_block).unwrap();

    assert_eq!(error_code(session.submit(&submit)), STALE);
    let hash = wait_block(&bitcoind, hash);
    // It lost the race for its height, and bitcoind still accepted it.
    assert_eq!(bitcoind.tip(), rival);
    let block = bitcoind.call("getblock", serde_json::json!([hash.to_string()]));
    assert_eq!((&block["height"], &block["confirmations"]), (&1.into(), &(-1).into()));
    // It is no share, and is listed all the same.
    let listed = wait_listed(&pool, &hash.to_string(), "orphaned");
    assert_eq!((&listed["ours"], &listed["share_height"], &listed["height"]), (&true.into(), &Value::Null, &1.into()));
    assert_eq!((&listed["time"], &listed["value"]), (&block["time"], &5_000_000_000_u64.into()));
}

#[test]
fn a_block_below_the_share_target_reaches_bitcoind() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let mut options = options(Chain::Regtest);
    // These shares come too fast even on a busy machine, so they get harder than blocks.
    options.flags.retain(|flag| !flag.starts_with("-share-period="));
    options.flags.push("-share-period=30".to_owned());
    let pool = Pool::start(&bitcoind, options);
    let mut session = pool.session("worker");
    let job = loop {
        let job = session.wait_job(TIMEOUT, |_| true).unwrap();
        if job.difficulty > 100.0 * EASIEST_BLOCK {
            break job;
        }
        let (submit, hash) = session.solve_for(&job, 0, &job.submit_and_block_target());
        session.submit(&submit).unwrap();
        session.wait_job(TIMEOUT, |job| job.prev_block == hash).unwrap();
    };
    let height = bitcoind.height();

    let (block_target, target) = (job.block_target(), job.target());
    let (submit, hash) = session.solve(&job, 0, |hash| block_target.is_met_by(hash) && !target.is_met_by(hash));
    assert_eq!(error_code(session.submit(&submit)), LOW_DIFFICULTY);
    let hash = wait_block(&bitcoind, hash);
    assert_eq!((bitcoind.tip(), bitcoind.height()), (hash, height + 1));
    let listed = wait_listed(&pool, &hash.to_string(), "confirmed");
    assert_eq!(
        (&listed["ours"], &listed["share_height"], &listed["confirmations"]),
        (&true.into(), &Value::Null, &1.into())
    );
    wait_for("the block to be the last one", TIMEOUT, || {
        (pool.api("/api/v1/status")?["last_block_found_hash"] == hash.to_string()).then_some(())
    });
    // The same submit is not a second block.
    assert!([DUPLICATE, STALE, LOW_DIFFICULTY].contains(&error_code(session.submit(&submit))));
    assert_eq!(bitcoind.height(), height + 1);
}
