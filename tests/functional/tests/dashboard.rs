//! Compares dashboard and API with bitcoind and the stored sharechain.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use p2pool_miner::mining::Settings;
use p2pool_test_bitcoind::{wait_for, wait_until, Bitcoind, Chain};
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::pool::Pool;
use serde_json::{json, Value};

use crate::{options, TIMEOUT};

const HASHES_PER_S: u64 = 100;

/// Sends a request on a connection of its own; returns status and body.
fn get(pool: &Pool, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(pool.address()).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn json_at(pool: &Pool, path: &str) -> Value {
    let (status, body) = get(pool, path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn hashes(value: &Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(|item| item["hash"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_api_agrees_with_bitcoind_and_the_store() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let mut pool = Pool::start(&bitcoind, options(Chain::Regtest));
    wait_until("work", TIMEOUT, || get(&pool, "/healthz").0 == 200);
    let miner =
        Miner::start(Settings { hash_rate_max: Some(HASHES_PER_S), ..settings(&pool.address(), "<b>garage</b>") });
    wait_until("blocks to be mined", TIMEOUT, || bitcoind.height() >= 12);
    let status = wait_for("the miner in the API", TIMEOUT, || {
        let status = json_at(&pool, "/api/v1/status");
        (status["miners"][0]["shares"].as_u64() > Some(0)).then_some(status)
    });
    assert_eq!(status["miners"][0]["worker"], "<b>garage</b>");
    assert!(miner.stop().blocks > 0);

    // The tree is published every two seconds, confirmations are requested a few at a time, and the last blocks may not
    // have reached store and bitcoind yet.
    let (shares, blocks) = wait_for("all shares and blocks in the API, and all blocks confirmed", TIMEOUT, || {
        let document = json_at(&pool, "/api/v1/blocks");
        let blocks = document["blocks"].clone();
        let is_complete = document["found_since_start"] == hashes(&blocks).len();
        let is_open = blocks.as_array()?.iter().any(|block| block["status"] == "submitted");
        let shares: BTreeSet<String> =
            pool.shares().iter().map(|share| share["id"].as_str().unwrap().to_owned()).collect();
        let is_shown = json_at(&pool, "/api/v1/status")["share_count"] == shares.len();
        (is_complete && !is_open && is_shown).then_some((shares, blocks))
    });
    let metrics = get(&pool, "/metrics").1;
    let store_bytes = metrics.lines().find_map(|line| line.strip_prefix("p2pool_store_bytes "));
    assert!(store_bytes.is_some_and(|bytes| bytes.parse::<f64>().unwrap() > 0.0), "{store_bytes:?} in:\n{metrics}");
    assert!(metrics.lines().any(|line| line == "p2pool_mining_solo 1"), "{metrics}");
    let found = hashes(&blocks);
    assert!(found.is_superset(&shares), "on regtest each share is a block: {found:?}, {shares:?}");
    let mut orphaned = 0;
    for block in blocks.as_array().unwrap() {
        let facts = bitcoind.call("getblockheader", json!([block["hash"]]));
        assert_eq!((&block["height"], &block["time"]), (&facts["height"], &facts["time"]));
        let is_confirmed = facts["confirmations"].as_i64().unwrap() > 0;
        assert_eq!(block["status"], if is_confirmed { "confirmed" } else { "orphaned" });
        orphaned += u32::from(!is_confirmed);
        assert_eq!(block["share_height"].is_null(), !shares.contains(block["hash"].as_str().unwrap()));
        if block["share_height"].is_null() {
            continue;
        }
        // The payouts that the page shows are those of the coinbase that bitcoind has.
        let share = json_at(&pool, &format!("/api/v1/share/{}", block["hash"].as_str().unwrap()));
        let coinbase = bitcoind.call("getblock", json!([block["hash"], 2]))["tx"][0].clone();
        let outputs: Vec<(String, u64)> = coinbase["vout"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|output| Some((output["scriptPubKey"]["address"].as_str()?.to_owned(), sats(&output["value"]))))
            .collect();
        let payouts: Vec<(String, u64)> = share["payouts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|payout| (payout["address"].as_str().unwrap().to_owned(), payout["amount"].as_u64().unwrap()))
            .collect();
        assert_eq!(payouts, outputs);
    }
    println!("{} blocks of {} shares, {orphaned} orphaned", found.len(), shares.len());
    assert!(pool.terminate().success());

    // After a restart the node knows its blocks before any request.
    pool.launch();
    assert_eq!(hashes(&json_at(&pool, "/api/v1/blocks")["blocks"]), found);
    assert!(!json_at(&pool, "/api/v1/history?window=1d")["points"].as_array().unwrap().is_empty());
}

/// Converts an amount in bitcoins to satoshis.
fn sats(value: &Value) -> u64 {
    (value.as_f64().unwrap() * 1e8).round() as u64
}

#[test]
fn an_unreachable_bitcoind_is_reported() {
    let mut bitcoind = Bitcoind::start(Chain::Regtest);
    let pool = Pool::start(&bitcoind, options(Chain::Regtest));
    wait_until("work", TIMEOUT, || get(&pool, "/healthz").0 == 200);
    bitcoind.kill();
    let state = wait_for("the state", TIMEOUT, || {
        let state = json_at(&pool, "/api/v1/status")["state"].clone();
        (state["code"] == "bitcoind_unreachable").then_some(state)
    });
    let text = state["text"].as_str().unwrap();
    assert!(
        text.starts_with("bitcoind cannot be reached: ") && text.contains("The newest block template is "),
        "{text}"
    );
    assert!(state["advice"].as_str().unwrap().contains("server=1") && state["since"].is_u64(), "{state}");
    bitcoind.launch();
    wait_until("the state to recover", TIMEOUT, || {
        json_at(&pool, "/api/v1/status")["state"]["code"] != "bitcoind_unreachable"
    });
}
