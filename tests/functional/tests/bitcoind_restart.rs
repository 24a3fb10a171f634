//! bitcoind is killed while miners work, and restarts.

use p2pool_miner::session::Session;
use p2pool_test_bitcoind::{Bitcoind, Chain};
use p2pool_test_functional::pool::Pool;

use crate::{options, wait_block, TIMEOUT};

#[test]
fn a_block_found_without_bitcoind_is_submitted_after_its_restart() {
    let mut bitcoind = Bitcoind::start(Chain::Regtest);
    let mut pool = Pool::start(&bitcoind, options(Chain::Regtest));
    let mut session = pool.session("worker");
    let first = mine_one(&mut session, &bitcoind);

    let job = session.wait_job(TIMEOUT, |job| job.prev_block == first).unwrap();
    let (submit, hash) = session.solve_for(&job, 0, &job.submit_and_block_target());
    bitcoind.flush();
    bitcoind.kill();
    session.submit(&submit).unwrap();
    // Miners stay connected, and p2pool keeps running.
    session.call("mining.ping", serde_json::json!([])).unwrap();
    assert_eq!(pool.ended(), None);

    // It restarts with another cookie.
    bitcoind.launch();
    wait_block(&bitcoind, hash);
    let job = session.wait_job(TIMEOUT, |job| job.prev_block == hash).unwrap();
    assert!(job.clean);
    mine_one(&mut session, &bitcoind);
    assert_eq!(bitcoind.height(), 3);
    assert!(pool.terminate().success());
}

#[test]
fn p2pool_may_start_before_bitcoind() {
    let mut bitcoind = Bitcoind::start(Chain::Regtest);
    bitcoind.kill();
    let pool = Pool::start(&bitcoind, options(Chain::Regtest));
    // Miners are refused, so that they use their backup pools.
    assert!(Session::open(&pool.address(), "p2pool-test", "worker", "x").is_err());
    pool.wait_log("refused: no work: bitcoind has sent no block template yet", TIMEOUT);
    bitcoind.launch();
    mine_one(&mut pool.session("worker"), &bitcoind);
    assert_eq!(bitcoind.height(), 1);
}

/// Finds a block on the newest job; returns its hash in internal byte order.
#[track_caller]
fn mine_one(session: &mut Session, bitcoind: &Bitcoind) -> [u8; 32] {
    let job = session.wait_job(TIMEOUT, |_| true).unwrap();
    let (submit, hash) = session.solve_for(&job, 1_000, &job.submit_and_block_target());
    session.submit(&submit).unwrap();
    wait_block(bitcoind, hash);
    hash
}
