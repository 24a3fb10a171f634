//! A hash that meets Bitcoin's target is a block, whatever else is wrong with the answer.

use p2pool_miner::session::{Error, Rejection};
use p2pool_test_bitcoind::{wait_for, Bitcoind, Chain};
use p2pool_test_functional::pool::Pool;
use serde_json::Value;

use crate::{options, wait_block, SOON};

/// Difficulty of a regtest block: two hashes.
const EASIEST_BLOCK: f64 = 4.66e-10;

const STALE: i64 = 21;
const DUPLICATE: i64 = 22;
const LOW_DIFFICULTY: i64 = 23;

#[track_caller]
fn refusal(result: Result<(), Error>) -> i64 {
    match result {
        Err(Error::Rejected(Rejection { code, .. })) => code,
        other => panic!("expected a refusal, not {other:?}"),
    }
}

/// What the node lists of a block, as soon as it has a certain status. Its share, if it is one, does not matter.
fn wait_listed(pool: &Pool, hash: &str, status: &str) -> Value {
    wait_for("the block to be listed", SOON, || {
        let blocks = pool.api("/api/blocks")?["blocks"].as_array()?.clone();
        blocks.into_iter().find(|block| block["hash"] == hash && block["status"] == status)
    })
}

#[test]
fn a_block_on_a_stale_job_reaches_bitcoind() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let pool = Pool::start(&bitcoind, options(Chain::Regtest));
    let mut session = pool.session("worker");
    let old = session.wait_job(SOON, |_| true).unwrap();
    let (answer, hash) = session.solve_for(&old, 0, &old.submit_and_block_target());
    let rival = bitcoind.mine(1)[0];
    session.wait_job(SOON, |job| job.prev_block != old.prev_block).unwrap();

    assert_eq!(refusal(session.submit(&answer)), STALE);
    let hash = wait_block(&bitcoind, hash);
    // It lost the race for its height, and bitcoind still took it.
    assert_eq!(bitcoind.tip(), rival);
    let block = bitcoind.call("getblock", serde_json::json!([hash.to_string()]));
    assert_eq!((&block["height"], &block["confirmations"]), (&1.into(), &(-1).into()));
    // It never became a share, and is shown all the same.
    let listed = wait_listed(&pool, &hash.to_string(), "orphaned");
    assert_eq!((&listed["ours"], &listed["share_height"], &listed["height"]), (&true.into(), &Value::Null, &1.into()));
    assert_eq!((&listed["time"], &listed["value"]), (&block["time"], &5_000_000_000_u64.into()));
}

#[test]
fn a_block_below_the_share_target_reaches_bitcoind() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let mut options = options(Chain::Regtest);
    // However busy the machine is, these shares come too fast, which makes them harder than Bitcoin's blocks.
    options.flags.retain(|flag| !flag.starts_with("-share-period="));
    options.flags.push("-share-period=30".to_owned());
    let pool = Pool::start(&bitcoind, options);
    let mut session = pool.session("worker");
    let job = loop {
        let job = session.wait_job(SOON, |_| true).unwrap();
        if job.difficulty > 100.0 * EASIEST_BLOCK {
            break job;
        }
        let (answer, hash) = session.solve_for(&job, 0, &job.submit_and_block_target());
        session.submit(&answer).unwrap();
        session.wait_job(SOON, |job| job.prev_block == hash).unwrap();
    };
    let height = bitcoind.height();

    let (block_target, target) = (job.block_target(), job.target());
    let (answer, hash) = session.solve(&job, 0, |hash| block_target.is_met_by(hash) && !target.is_met_by(hash));
    assert_eq!(refusal(session.submit(&answer)), LOW_DIFFICULTY);
    let hash = wait_block(&bitcoind, hash);
    assert_eq!((bitcoind.tip(), bitcoind.height()), (hash, height + 1));
    let listed = wait_listed(&pool, &hash.to_string(), "confirmed");
    assert_eq!(
        (&listed["ours"], &listed["share_height"], &listed["confirmations"]),
        (&true.into(), &Value::Null, &1.into())
    );
    wait_for("it to be the last block", SOON, || {
        (pool.api("/api/status")?["last_block_found_hash"] == hash.to_string()).then_some(())
    });
    // The same once more is no second block.
    assert!([DUPLICATE, STALE, LOW_DIFFICULTY].contains(&refusal(session.submit(&answer))));
    assert_eq!(bitcoind.height(), height + 1);
}
