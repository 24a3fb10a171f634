//! bitcoind is killed while miners work, and comes back.

use p2pool_test_bitcoind::{Bitcoind, Chain};
use p2pool_test_functional::pool::Pool;

use crate::{options, wait_block, SOON};

#[test]
fn a_block_found_while_bitcoind_is_away_is_handed_over_when_it_is_back() {
    let mut bitcoind = Bitcoind::start(Chain::Regtest);
    let mut pool = Pool::start(&bitcoind, options(Chain::Regtest));
    let mut session = pool.session("worker");
    let first = mine_one(&mut session, &bitcoind);

    let job = session.wait_job(SOON, |job| job.prev_block == first).unwrap();
    let (answer, hash) = session.solve_for(&job, 0, &job.submit_and_block_target());
    bitcoind.flush();
    bitcoind.kill();
    session.submit(&answer).unwrap();
    // Miners are not sent away, and p2pool does not end.
    session.call("mining.ping", serde_json::json!([])).unwrap();
    assert_eq!(pool.ended(), None);

    // It comes back with another cookie.
    bitcoind.launch();
    wait_block(&bitcoind, hash);
    let job = session.wait_job(SOON, |job| job.prev_block == hash).unwrap();
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
    let mut session = pool.session("worker");
    assert!(session.job().is_none());
    bitcoind.launch();
    mine_one(&mut session, &bitcoind);
    assert_eq!(bitcoind.height(), 1);
}

/// Finds a block on the newest job; returns its hash as headers hold it.
#[track_caller]
fn mine_one(session: &mut p2pool_miner::session::Session, bitcoind: &Bitcoind) -> [u8; 32] {
    let job = session.wait_job(SOON, |_| true).unwrap();
    let (answer, hash) = session.solve_for(&job, 1_000, &job.submit_and_block_target());
    session.submit(&answer).unwrap();
    wait_block(bitcoind, hash);
    hash
}
