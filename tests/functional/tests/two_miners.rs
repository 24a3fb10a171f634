//! Two miners with different difficulties.

use p2pool_miner::session::{Error, Rejection};
use p2pool_test_bitcoind::{Bitcoind, Chain};
use p2pool_test_functional::pool::Pool;

use crate::{options, TIMEOUT};

/// Both are below that of the easiest share of a signet (1 / 65,536), so neither is lowered to it.
const EASY: f64 = 0.000_010;
const HARD: f64 = 0.000_014;
const LOW_DIFFICULTY: i64 = 23;

#[test]
fn each_miner_has_its_own_difficulty() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let pool = Pool::start(&bitcoind, options(Chain::OpTrueSignet));
    let open = |difficulty: f64| {
        let password = format!("d={difficulty}");
        let mut session = pool.session_with("worker", &password);
        let job = session.wait_job(TIMEOUT, |job| job.difficulty == difficulty).unwrap();
        (session, job)
    };
    let (mut easy, easy_job) = open(EASY);
    let (mut hard, hard_job) = open(HARD);
    assert_ne!(easy.extranonce1(), hard.extranonce1(), "both miners search the same space");

    for round in 0..3 {
        // Enough for one and too little for the other.
        let (easy_target, hard_target, block_target) = (easy_job.target(), hard_job.target(), hard_job.block_target());
        let between = |hash: &[u8; 32]| easy_target.is_met_by(hash) && !hard_target.is_met_by(hash);
        let (submit, _) = easy.solve(&easy_job, round, between);
        easy.submit(&submit).unwrap();
        let (submit, _) = hard.solve(&hard_job, round, between);
        let rejected = hard.submit(&submit);
        assert!(matches!(rejected, Err(Error::Rejected(Rejection { code: LOW_DIFFICULTY, .. }))), "{rejected:?}");
        // A block, which one of eighty is, would make both jobs stale.
        let no_block = |hash: &[u8; 32]| hard_target.is_met_by(hash) && !block_target.is_met_by(hash);
        let (submit, _) = hard.solve(&hard_job, round + 100, no_block);
        hard.submit(&submit).unwrap();
    }
}
