//! User names with an address that is not paid.

use p2pool_test_bitcoind::{wait_for, Bitcoind, Chain};
use p2pool_test_functional::payees;
use p2pool_test_functional::pool::Pool;
use serde_json::{json, Value};

use crate::{options, TIMEOUT};

fn status(pool: &Pool) -> Value {
    pool.api("/api/v1/status").unwrap_or_default()
}

#[test]
fn an_address_in_a_user_name_that_is_not_paid_is_told_and_shown() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let options = options(Chain::Regtest);
    let ours = options.address.clone();
    let pool = Pool::start(&bitcoind, options);
    let other = payees::p2tr_address(Chain::Regtest, 1);
    let mut right = pool.session(&format!("{ours}.rig"));
    let mut wrong = pool.session(&format!("{other}.rig"));
    for session in [&mut right, &mut wrong] {
        session.wait_job(TIMEOUT, |_| true).unwrap();
        session.call("mining.ping", json!([])).unwrap();
    }
    assert_eq!(right.messages(), [""; 0]);
    let text =
        format!("Your user name has another address than this node's. This pool pays only {ours}. Use {ours}.name");
    assert_eq!(wrong.messages(), [text]);
    pool.wait_log(&format!("user name of miner {other}.rig"), TIMEOUT);
    let status = wait_for("the page to say so", TIMEOUT, || {
        let status = status(&pool);
        let codes: Vec<&str> =
            status["problems"].as_array()?.iter().filter_map(|notice| notice["code"].as_str()).collect();
        codes.contains(&"unpaid_address").then_some(status)
    });
    let named: Vec<&Value> = status["miners"].as_array().unwrap().iter().map(|miner| &miner["named_address"]).collect();
    assert_eq!(named, ["other", "own"], "what needs attention comes first");
    assert_eq!(pool.metric("p2pool_workers_troubled{state=\"unpaid_address\"}"), Some(1.0));
}
