//! The heaviest case: more payees than a coinbase has outputs, and more transactions than fit into a block. Then the pool votes
//! for more outputs, and all are paid.

use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use p2pool_miner::job::Job;
use p2pool_miner::session::Session;
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain, MempoolFiller};
use p2pool_test_functional::audit::audit;
use p2pool_test_functional::payees::p2tr_address;
use p2pool_test_functional::pool::Pool;

use serde_json::json;

use crate::{options, wait_block, TIMEOUT};

/// More than the rules allow as outputs.
const PAYEES: u32 = 60;
const OUTPUTS_MAX: u64 = 48;
/// What the shares vote for.
const VOTE: &str = "-coinbase-outputs=146";
/// The class of payout outputs may change at heights that are multiples of this, and not below the payout window.
const CLASS_INTERVAL: u32 = 120;
const PAYOUT_WINDOW: &str = "-payout-window=119";
/// Weight of the transactions offered; a block has 4,000,000.
const OFFERED_WEIGHT: u64 = 4_400_000;
const TRANSACTION_WEIGHT: u64 = 12_000;
/// Lowest weight of a full block.
const BLOCK_WEIGHT_MIN: u64 = 3_960_000;

#[test]
fn a_full_block_with_many_payees_is_valid() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    // Coins first: they need blocks.
    let mut filler = MempoolFiller::new(&bitcoind, 400);
    let mut options = options(Chain::Regtest);
    options.flags.retain(|flag| !flag.starts_with("-payout-window"));
    options.flags.extend([VOTE, PAYOUT_WINDOW].map(str::to_owned));
    let mut pool = Pool::start(&bitcoind, options);
    let mut time = None;
    for payee in 0..PAYEES {
        if payee > 0 {
            assert!(pool.terminate().success());
            pool.set_address(p2tr_address(Chain::Regtest, payee));
            pool.launch();
        }
        mine_one(&mut pool.session("worker"), &bitcoind, &mut time, None);
        wait_until("the share to be stored", TIMEOUT, || pool.shares().len() == payee as usize + 1);
    }

    assert!(pool.terminate().success());
    // A new miner finds the block: the finder's fee adds another payee.
    pool.set_address(p2tr_address(Chain::Regtest, PAYEES));
    filler.fill(&bitcoind, OFFERED_WEIGHT, TRANSACTION_WEIGHT);
    // bitcoind caches its template for some seconds.
    wait_until("the template to be full", TIMEOUT, || {
        let template = bitcoind.call("getblocktemplate", json!([{"rules": ["segwit"]}]));
        template["transactions"].as_array().is_some_and(|transactions| transactions.len() > 300)
    });
    pool.launch();
    let mut session = pool.session("worker");
    let hash = mine_one(&mut session, &bitcoind, &mut time, None);
    assert_eq!(bitcoind.tip(), hash);
    let block = bitcoind.block(&hash);
    assert!(block.weight().to_wu() > BLOCK_WEIGHT_MIN, "{}", block.weight());
    let height = bitcoind.height();
    wait_until("the last share to be stored", TIMEOUT, || pool.shares().len() == PAYEES as usize + 1);
    let audited = audit(&pool, &bitcoind, height..=height);
    assert_eq!((audited.outputs_max, audited.blocks_that_are_shares), (OUTPUTS_MAX, 1), "{audited:?}");
    assert!(block.txdata[0].output.iter().take(48).all(|output| output.script_pubkey.is_p2tr()));

    // The window of the share at the interval's height has all payees, and only shares that vote for more outputs. Some shares
    // become uncles: a job may be older than the last share.
    let mut tip = hash;
    let mut mined = PAYEES + 1;
    while bitcoind.block(&tip).txdata[0].output.len() as u64 <= OUTPUTS_MAX + 1 {
        assert!(mined < 2 * CLASS_INTERVAL, "no block pays more after {mined} shares");
        // Two shares a second: shares are deferred whose header times run two minutes ahead of the clock.
        time = time.map(|time| time - mined % 2);
        tip = mine_one(&mut session, &bitcoind, &mut time, Some(tip));
        mined += 1;
    }
    wait_until("the last share to be stored", TIMEOUT, || pool.shares().len() == mined as usize);
    let height = bitcoind.height();
    let audited = audit(&pool, &bitcoind, height..=height);
    assert_eq!((audited.outputs_max, audited.blocks_that_are_shares), (u64::from(PAYEES), 1), "{audited:?}");
    assert_eq!(audited.main_chain, u64::from(CLASS_INTERVAL) + 1, "{audited:?}");
    let outputs = &pool.api("/api/v1/status").unwrap()["payout_outputs"];
    assert_eq!(
        (&outputs["max"], &outputs["vote"], &outputs["vote_is_fixed"]),
        (&146.into(), &146.into(), &true.into())
    );
    assert_eq!(outputs["votes"][1], json!({"outputs": 146, "work_pct": 100.0}));
    assert_eq!(pool.metric("p2pool_payout_outputs_max"), Some(146.0));
}

/// Finds a share, which is a block on regtest, on the block `tip` if it is given.
///
/// Each header's time is a second after the last one, as the share period requires: shares stay as easy as possible, so all
/// payees have done the same work.
#[track_caller]
fn mine_one(session: &mut Session, bitcoind: &Bitcoind, time: &mut Option<u32>, tip: Option<BlockHash>) -> BlockHash {
    let is_on_tip = |job: &Job| tip.is_none_or(|tip| job.prev_block == tip.to_byte_array());
    let mut job = Job::clone(&*session.wait_job(TIMEOUT, is_on_tip).unwrap());
    job.time = time.map_or(job.time, |time| time + 1);
    *time = Some(job.time);
    let (submit, hash) = session.solve_for(&job, 0, &job.submit_and_block_target());
    session.submit(&submit).unwrap();
    wait_block(bitcoind, hash)
}
