//! Silent workers, and workers that do not come back.
//!
//! The test waits for minutes, so its name comes first: the others run beside it.

use std::fs;
use std::time::Duration;

use p2pool_miner::mining::Settings;
use p2pool_test_bitcoind::{wait_for, wait_until, Bitcoind, Chain};
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::pool::Pool;
use serde_json::{json, Value};

use crate::{options, TIMEOUT};

/// Timeout for what the node reports after three minutes of silence, and after five of absence.
const REPORT_TIMEOUT: Duration = Duration::from_secs(420);

fn status(pool: &Pool) -> Value {
    pool.api("/api/v1/status").unwrap_or_default()
}

#[test]
fn silent_workers_and_those_that_do_not_return_after_a_restart_are_reported() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let mut pool = Pool::start(&bitcoind, options(Chain::Regtest));
    let start = |name| Miner::start(Settings { hash_rate_max: Some(100), ..settings(&pool.address(), name) });
    let (stays, leaves) = (start("stays"), start("leaves"));
    wait_until("both to submit", TIMEOUT, || {
        let status = status(&pool);
        status["miners"].as_array().is_some_and(|all| all.iter().filter(|miner| miner["shares"] != 0).count() == 2)
    });
    leaves.stop();
    assert!(pool.terminate().success());
    let stored = fs::read_dir(pool.data_dir()).unwrap().flatten().map(|dir| dir.path().join("history/workers.jsonl"));
    let stored: String = stored.filter_map(|file| fs::read_to_string(file).ok()).collect();
    assert!(stored.contains("\"leaves\"") && stored.contains("\"stays\""), "{stored}");

    pool.launch();
    let silent = pool.session_with("silent", "d=1");
    wait_until("the other to return", TIMEOUT, || status(&pool)["miner_count"] == 2);
    assert_eq!(status(&pool)["gone_miners"], json!([]), "it has time to return");
    let found = wait_for("the silent one to be reported", REPORT_TIMEOUT, || {
        let status = status(&pool);
        (status["silent_count"] == 1).then_some(status)
    });
    assert_eq!((&found["miners"][0]["worker"], &found["miners"][1]["worker"]), (&json!("silent"), &json!("stays")));
    assert!(found["miners"][0]["silent_secs"].as_u64() > Some(180) && found["miners"][1]["silent_secs"].is_null());
    let notice = found["problems"].as_array().unwrap().iter().find(|notice| notice["code"] == "miners_silent").unwrap();
    assert_eq!(notice["text"], "Connected, but silent: silent.");
    assert_eq!(pool.metric("p2pool_workers_troubled{state=\"silent\"}"), Some(1.0));

    let gone = wait_for("the worker to be gone", REPORT_TIMEOUT, || {
        let gone = status(&pool)["gone_miners"].clone();
        (gone != json!([])).then_some(gone)
    });
    assert_eq!((&gone[0]["worker"], &gone[0]["needs_attention"]), (&json!("leaves"), &json!(false)), "it was a trial");
    assert_eq!(gone.as_array().unwrap().len(), 1);
    assert!(gone[0]["gone_secs"].as_u64().unwrap() >= 300 && gone[0]["last_share_time"].is_u64(), "{gone}");
    assert_eq!(pool.metric("p2pool_workers_troubled{state=\"retired\"}"), Some(1.0));
    drop((stays, silent));
}
