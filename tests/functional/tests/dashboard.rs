//! What the node shows of itself, against what bitcoind and the stored sharechain say.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use p2pool_miner::mining::Settings;
use p2pool_test_bitcoind::{wait_for, wait_until, Bitcoind, Chain};
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::pool::Pool;
use serde_json::{json, Value};

use crate::{options, SOON};

const HASHES_PER_S: u64 = 100;
/// Browsers that a node takes at once.
const BROWSERS: usize = 32;
/// Round trips that are compared.
const PINGS: usize = 400;

/// One request on a connection of its own: status and body.
fn get(pool: &Pool, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(pool.address()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
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
fn what_is_shown_is_what_bitcoind_and_the_store_have() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let mut pool = Pool::start(&bitcoind, options(Chain::Regtest));
    wait_until("work", SOON, || get(&pool, "/healthz").0 == 200);
    let miner =
        Miner::start(Settings { hash_rate_max: Some(HASHES_PER_S), ..settings(&pool.address(), "<b>garage</b>") });
    wait_until("blocks to be mined", SOON, || bitcoind.height() >= 12);
    let status = wait_for("the miner to be shown", SOON, || {
        let status = json_at(&pool, "/api/status");
        (status["miners"][0]["shares"].as_u64() > Some(0)).then_some(status)
    });
    assert_eq!(status["miners"][0]["worker"], "<b>garage</b>");
    assert!(miner.stop().blocks > 0);

    // The tree is published every two seconds, blocks are asked about a few at a time.
    let shares: BTreeSet<String> = pool.shares().iter().map(|share| share["id"].as_str().unwrap().to_owned()).collect();
    wait_until("all shares to be shown", SOON, || json_at(&pool, "/api/status")["share_count"] == shares.len());
    let metrics = get(&pool, "/metrics").1;
    let store_bytes = metrics.lines().find_map(|line| line.strip_prefix("p2pool_store_bytes "));
    assert!(store_bytes.is_some_and(|bytes| bytes.parse::<f64>().unwrap() > 0.0), "{store_bytes:?} in:\n{metrics}");
    assert!(metrics.lines().any(|line| line == "p2pool_mining_alone 1"), "{metrics}");
    let blocks = wait_for("all blocks to be confirmed", SOON, || {
        let blocks = json_at(&pool, "/api/blocks")["blocks"].clone();
        let open = |block: &Value| block["status"] == "submitted";
        (!blocks.as_array().unwrap().iter().any(open)).then_some(blocks)
    });
    let found = hashes(&blocks);
    assert!(found.is_superset(&shares), "on regtest each share is a block: {found:?}, {shares:?}");
    assert_eq!(found.len() as u64, json_at(&pool, "/api/blocks")["found_since_start"].as_u64().unwrap());
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
        let share = json_at(&pool, &format!("/api/share/{}", block["hash"].as_str().unwrap()));
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

    // A node that starts anew knows its blocks before it has asked anybody.
    pool.launch();
    assert_eq!(hashes(&json_at(&pool, "/api/blocks")["blocks"]), found);
    assert!(!json_at(&pool, "/api/history?window=1d")["points"].as_array().unwrap().is_empty());
}

/// bitcoind writes amounts as decimal bitcoins.
fn sats(value: &Value) -> u64 {
    (value.as_f64().unwrap() * 1e8).round() as u64
}

#[test]
fn a_missing_bitcoind_is_told_in_plain_words() {
    let mut bitcoind = Bitcoind::start(Chain::Regtest);
    let pool = Pool::start(&bitcoind, options(Chain::Regtest));
    wait_until("work", SOON, || get(&pool, "/healthz").0 == 200);
    bitcoind.kill();
    let state = wait_for("the state to be told", SOON, || {
        let state = json_at(&pool, "/api/status")["state"].clone();
        (state["code"] == "bitcoind_unreachable").then_some(state)
    });
    let text = state["text"].as_str().unwrap();
    assert!(text.starts_with("bitcoind cannot be reached: ") && text.contains("The last work is "), "{text}");
    assert!(state["advice"].as_str().unwrap().contains("server=1") && state["since"].is_u64(), "{state}");
    bitcoind.launch();
    wait_until("the state to be good again", SOON, || {
        json_at(&pool, "/api/status")["state"]["code"] != "bitcoind_unreachable"
    });
}

#[test]
fn browsers_do_not_slow_miners() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let pool = Pool::start(&bitcoind, options(Chain::Regtest));
    wait_until("work", SOON, || get(&pool, "/healthz").0 == 200);
    let alone = median_ping(&pool);
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let browsers: Vec<_> = (0..BROWSERS)
        .map(|_| {
            let (stop, answers, address) = (Arc::clone(&stop), Arc::clone(&answers), pool.address());
            std::thread::spawn(move || poll_status(&address, &stop, &answers))
        })
        .collect();
    wait_until("all browsers to have an answer", SOON, || answers.load(Ordering::Relaxed) >= BROWSERS as u64);
    let together = median_ping(&pool);
    stop.store(true, Ordering::Relaxed);
    for browser in browsers {
        browser.join().unwrap();
    }
    println!("median ping alone {alone:?}, beside {BROWSERS} browsers {together:?}");
    // Each browser asks ten times as often as the page. Far above both medians, far below what a miner would notice.
    assert!(together < alone + Duration::from_millis(20), "{alone:?} alone, {together:?} beside {BROWSERS} browsers");
}

/// A browser that asks twice a second until told to stop.
fn poll_status(address: &str, stop: &AtomicBool, answers: &AtomicU64) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut buffer = vec![0; 1 << 20];
    while !stop.load(Ordering::Relaxed) {
        socket.write_all(b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !is_whole(&answer) {
            let len = socket.read(&mut buffer).unwrap();
            assert!(len > 0, "a browser was cut off");
            answer.extend_from_slice(&buffer[..len]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
        answers.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Whether an answer has all the bytes that it announces.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head_len) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&answer[..head_len]).unwrap();
    let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    answer.len() == head_len + 4 + len.parse::<usize>().unwrap()
}

/// What a question of a miner's takes, typically.
fn median_ping(pool: &Pool) -> Duration {
    let mut socket = TcpStream::connect(pool.address()).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut buffer = [0; 1_024];
    let mut latencies: Vec<Duration> = (0..PINGS)
        .map(|_| {
            let asked = Instant::now();
            socket.write_all(b"{\"id\":1,\"method\":\"mining.ping\",\"params\":[]}\n").unwrap();
            assert!(socket.read(&mut buffer).unwrap() > 0);
            let latency = asked.elapsed();
            // As miners do: not as fast as possible.
            std::thread::sleep(Duration::from_millis(5));
            latency
        })
        .collect();
    latencies.sort();
    latencies[PINGS / 2]
}
