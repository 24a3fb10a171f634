//! What miners get while bitcoind gives no work.

use std::time::{Duration, Instant};

use p2pool_miner::session::Session;
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::pool::Pool;
use serde_json::{json, Value};

use crate::{options, TIMEOUT};

/// The shortest timeout that the node takes.
const NO_WORK_S: u64 = 45;

fn refused(pool: &Pool) -> bool {
    Session::open(&pool.address(), "p2pool-test", "worker", "x").is_err()
}

fn codes(status: &Value) -> Vec<&str> {
    status["problems"].as_array().into_iter().flatten().filter_map(|notice| notice["code"].as_str()).collect()
}

#[test]
fn miners_leave_a_node_whose_bitcoind_is_away_and_come_home_when_it_is_back() {
    let mut bitcoind = Bitcoind::start(Chain::Regtest);
    let mut options = options(Chain::Regtest);
    options.flags.push(format!("-no-work-timeout={NO_WORK_S}"));
    let pool = Pool::start(&bitcoind, options);
    let mut session = pool.session("worker");
    session.wait_job(TIMEOUT, |_| true).unwrap();
    wait_until("the metric", TIMEOUT, || pool.metric("p2pool_miners_refused") == Some(0.0));

    // An ordinary restart closes nothing.
    bitcoind.restart();
    let tip = bitcoind.mine(1)[0];
    session.wait_job(TIMEOUT, |job| job.prev_block == *AsRef::<[u8; 32]>::as_ref(&tip)).unwrap();

    bitcoind.kill();
    let killed = Instant::now();
    assert!(!refused(&pool), "there is still a job");
    wait_until("the miner to be disconnected", TIMEOUT, || session.next(Duration::from_secs(1)).is_err());
    // The template was confirmed half a minute before at the earliest.
    let elapsed = killed.elapsed();
    assert!(elapsed >= Duration::from_secs(NO_WORK_S - 31), "after {elapsed:?}");
    assert!(elapsed <= Duration::from_secs(NO_WORK_S + 30), "after {elapsed:?}");
    let is_notified =
        session.messages().iter().any(|text| text.starts_with("No work: bitcoind has sent no block template"));
    assert!(is_notified, "{:?}", session.messages());
    assert!(refused(&pool));
    pool.wait_log("miners disconnected: no valid work for ", TIMEOUT);
    wait_until("the page to say so", TIMEOUT, || {
        let status = pool.api("/api/v1/status").unwrap_or_default();
        let is_refused = status["no_work"]["refused"] == true && status["no_work"]["disconnected"] == true;
        is_refused && codes(&status).contains(&"miners_refused") && !codes(&status).contains(&"no_miner")
    });
    assert_eq!(pool.api("/api/v1/status").unwrap()["no_work"]["reason"], "no_template");
    assert_eq!(pool.metric("p2pool_miners_refused"), Some(1.0));
    assert_eq!(pool.metric("p2pool_no_work{reason=\"no_template\"}"), Some(1.0));

    bitcoind.launch();
    let mut session = pool.session("worker");
    session.wait_job(TIMEOUT, |_| true).unwrap();
    pool.wait_log("work for miners available", TIMEOUT);
    wait_until("the metric to recover", TIMEOUT, || pool.metric("p2pool_miners_refused") == Some(0.0));
    wait_until("the page to recover", TIMEOUT, || {
        pool.api("/api/v1/status").is_some_and(|all| all["no_work"].is_null())
    });
}

#[test]
fn without_a_timeout_a_miner_that_comes_before_the_first_template_stays_and_is_told() {
    let mut bitcoind = Bitcoind::start(Chain::Regtest);
    bitcoind.kill();
    let mut options = options(Chain::Regtest);
    options.flags.push("-no-work-timeout=0".to_owned());
    let pool = Pool::start(&bitcoind, options);
    let mut session = pool.session("worker");
    session.call("mining.ping", json!([])).unwrap();
    let text = "No work: bitcoind has sent no block template yet. Mining will resume automatically.";
    assert_eq!(session.messages(), [text]);
    bitcoind.launch();
    session.wait_job(TIMEOUT, |_| true).unwrap();
}
