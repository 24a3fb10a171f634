//! What is wrong, and whether a watchdog is told.

use std::sync::Arc;

use p2pool_core::params::{ChainParams, Network};
use p2pool_core::sharechain::Tree;
use p2pool_core::status::{BitcoindError, BitcoindStatus, LooksBy, MinersStatus, PeersStatus, SyncProgress};
use p2pool_core::sync::SyncState;
use p2pool_core::work::NoWork;
use serde_json::Value;

use crate::node::{job, miner, now, Node};

fn health(node: &Node) -> (u16, Value) {
    let answer = node.get("/healthz");
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

fn metric(node: &Node, name: &str) -> String {
    let text = node.get("/metrics").text().to_owned();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    line.rsplit_once(' ').unwrap().1.to_owned()
}

fn look_by(node: &Node, looks_by: LooksBy) {
    node.sources.peers.store(Arc::new(PeersStatus { looks_by, ..PeersStatus::default() }));
}

fn codes(status: &Value) -> Vec<&str> {
    status["problems"].as_array().unwrap().iter().map(|state| state["code"].as_str().unwrap()).collect()
}

#[test]
fn a_node_at_work_is_healthy() {
    let node = Node::start();
    assert_eq!(health(&node), (200, serde_json::json!({"healthy": true, "reasons": []})));
    let status = node.json("/api/status");
    assert_eq!(codes(&status), [""; 0]);
    assert_eq!((&status["state"]["code"], &status["state"]["level"]), (&"ok".into(), &"ok".into()));
}

#[test]
fn a_node_without_work_is_not() {
    let node = Node::start_empty();
    let (status, health) = health(&node);
    assert_eq!((status, &health["healthy"]), (503, &false.into()));
    assert_eq!(health["reasons"], serde_json::json!(["bitcoind has given no work yet."]));
    assert_eq!(codes(&node.json("/api/status")), ["no_work_yet", "no_miner"]);
}

#[test]
fn old_work_is_no_work() {
    let node = Node::start();
    node.sources.metrics.template_time_s.set(i64::from(now().0) - 100);
    assert_eq!(health(&node).0, 200);
    node.sources.metrics.template_time_s.set(i64::from(now().0) - 130);
    let (status, health) = health(&node);
    assert_eq!((status, &health["reasons"][0]), (503, &"The last work is 2\u{a0}min old.".into()));
}

#[test]
fn what_bitcoind_lacks_is_told_in_its_own_words() {
    let node = Node::start();
    let error = Some(BitcoindError::Unreachable("Connection refused".to_owned()));
    node.sources.bitcoind.store(Arc::new(BitcoindStatus { error, since: now().minus(30) }));
    // The last work is still good for a moment.
    assert_eq!(health(&node).0, 200);
    let status = node.json("/api/status");
    assert_eq!(
        (&status["state"]["code"], &status["state"]["level"]),
        (&"bitcoind_unreachable".into(), &"warning".into())
    );
    node.publish(|chain| chain.job = None);
    let (status, health) = health(&node);
    let reason = health["reasons"][0].as_str().unwrap();
    assert!(status == 503 && reason.starts_with("bitcoind cannot be reached: Connection refused"), "{reason}");
    let status = node.wait_for("an error", |status| status["state"]["level"] == "error");
    assert_eq!(status["state"]["code"], "bitcoind_unreachable");
    assert_eq!(status["state"]["since"].as_u64().unwrap(), u64::from(node.sources.bitcoind.load().since.0));
    assert!(!status["state"]["advice"].as_str().unwrap().is_empty());
}

/// What is published while there is a template, and no job for this reason.
fn without_job(node: &Node, sync: SyncState, no_work: NoWork) {
    node.publish(|chain| (chain.job, chain.sync, chain.no_work) = (None, sync, Some(no_work)));
}

#[test]
fn a_node_that_fetches_the_chain_is_not_healthy() {
    let node = Node::start();
    without_job(&node, SyncState::Syncing, NoWork::Syncing);
    let (status, answer) = health(&node);
    assert_eq!(
        (status, &answer["reasons"][0]),
        (503, &"The sharechain is being compared with that of other nodes.".into())
    );
    node.publish(|chain| chain.syncing = Some(SyncProgress { have: 430, want: 1_000 }));
    let (status, answer) = health(&node);
    assert_eq!(
        (status, &answer["reasons"]),
        (503, &serde_json::json!(["The sharechain is being fetched: 43\u{a0}% of 1\u{202f}000 shares."]))
    );
    assert_eq!(codes(&node.json("/api/status")), ["syncing"]);
}

#[test]
fn a_fresh_node_says_that_it_looks_for_others_first() {
    let node = Node::start();
    let since = now().minus(20);
    without_job(&node, SyncState::NoPeers { since, was_synced: false }, NoWork::NoPeers);
    let status = node.json("/api/status");
    assert_eq!(codes(&status), ["waiting_for_peers"]);
    let state = &status["state"];
    assert_eq!((&state["level"], &state["since"]), (&"error".into(), &since.0.into()));
    assert!(state["text"].as_str().unwrap().starts_with("Looking for other nodes: there is no work for miners yet"));
    assert!(state["advice"].as_str().unwrap().contains("after a minute without any"), "{state}");
    assert_eq!(health(&node).0, 503);
}

#[test]
fn mining_alone_is_a_warning_with_advice_and_a_metric() {
    let node = Node::start();
    look_by(&node, LooksBy { bootnodes: true, ..LooksBy::default() });
    let metrics = || ["p2pool_mining_solo", "p2pool_synced"].map(|name| metric(&node, name));
    assert_eq!(metrics(), ["0", "1"]);
    node.publish(|chain| chain.sync = SyncState::Solo { since: now().minus(90) });
    assert_eq!(metrics(), ["1", "0"]);
    let status = node.json("/api/status");
    assert_eq!((codes(&status), &status["state"]["level"]), (vec!["alone"], &"warning".into()));
    assert!(status["state"]["text"].as_str().unwrap().contains("Mining alone"));
    assert!(status["state"]["advice"].as_str().unwrap().contains("those in -bootnodes run"));
    assert_eq!(health(&node).0, 200, "miners have work");
}

#[test]
fn what_a_lone_node_is_advised_fits_how_it_looks_for_others() {
    let none = LooksBy::default();
    for (looks_by, level, words) in [
        (none, "info", "Nothing is needed if that is intended"),
        (LooksBy { mdns: true, ..none }, "warning", "Others elsewhere are not looked for"),
        (LooksBy { mdns: true, known: true, ..none }, "warning", "none of the nodes known from before answers"),
        (LooksBy { mdns: true, known: true, bootnodes: true }, "warning", "those in -bootnodes run"),
    ] {
        let node = Node::start();
        node.publish(|chain| chain.sync = SyncState::Solo { since: now() });
        look_by(&node, looks_by);
        let state = node.json("/api/status")["state"].clone();
        assert_eq!((&state["code"], &state["level"]), (&"alone".into(), &level.into()), "{looks_by:?}");
        assert!(state["advice"].as_str().unwrap().contains(words), "{state}");
        assert!(state["text"].as_str().unwrap().starts_with("Mining alone: "), "{state}");
    }
}

#[test]
fn without_work_nobody_mines_alone() {
    for (bootnodes, text) in [(true, "No other node can be reached."), (false, "This node looks for no others.")] {
        let node = Node::start_empty();
        node.publish(|chain| chain.sync = SyncState::Solo { since: now() });
        look_by(&node, LooksBy { bootnodes, ..LooksBy::default() });
        let status = node.json("/api/status");
        assert_eq!(status["state"]["code"], "no_work_yet");
        let problems = status["problems"].as_array().unwrap();
        let alone = problems.iter().find(|state| state["code"] == "alone").unwrap();
        assert_eq!(alone["text"], text);
    }
}

#[test]
fn the_last_peer_gone_is_told_before_the_node_mines_alone() {
    let node = Node::start();
    node.publish(|chain| chain.sync = SyncState::NoPeers { since: now(), was_synced: true });
    assert_eq!(codes(&node.json("/api/status")), ["peers_gone"]);
    assert_eq!(health(&node).0, 200, "miners go on");
}

#[test]
fn a_bitcoind_behind_the_pool_is_named() {
    let node = Node::start();
    without_job(&node, SyncState::Synced, NoWork::BitcoindBehind);
    let reason = health(&node).1["reasons"][0].clone();
    assert!(reason.as_str().unwrap().contains("bitcoind is behind the blocks"), "{reason}");
}

/// bitcoind's clock mostly is this machine's own: only other nodes can tell.
#[test]
fn a_clock_that_other_nodes_find_wrong_is_told() {
    for (ahead_s, words) in
        [(600, "10\u{a0}min behind those of the other nodes"), (-90, "90\u{a0}s ahead of those of the other")]
    {
        let node = Node::start();
        node.publish(|chain| chain.clock_ahead_s = Some(ahead_s));
        let status = node.json("/api/status");
        assert_eq!(codes(&status), ["clock_off"]);
        assert!(status["state"]["text"].as_str().unwrap().contains(words), "{status}");
        assert!(status["state"]["advice"].as_str().unwrap().contains("NTP"));
    }
    let node = Node::start();
    node.publish(|chain| chain.clock_ahead_s = Some(60));
    assert_eq!(codes(&node.json("/api/status")), [""; 0]);
}

#[test]
fn lesser_problems_are_told_and_leave_a_node_healthy() {
    let node = Node::start();
    let mut too_small = miner("attic", 1e12);
    too_small.coinbase_too_large = true;
    node.sources.miners.store(Arc::new(MinersStatus { time: now(), miners: vec![too_small] }));
    let recording = &node.recording;
    let late = job(&recording.tree(), recording.scripts[0], now().minus(600));
    node.publish(|chain| chain.job = Some(late));
    let status = node.json("/api/status");
    assert_eq!(codes(&status), ["clock_off", "firmware_too_small"]);
    let texts = status["problems"].to_string();
    assert!(texts.contains("This machine's clock is 10\u{a0}min ahead of bitcoind's."), "{texts}");
    assert!(texts.contains("Miner attic has firmware"), "{texts}");
    assert_eq!(health(&node).0, 200);
}

/// Miners go on, and what they find counts: but it is for the owner to make room.
#[test]
fn a_disk_that_refuses_shares_is_a_warning_and_not_healthy() {
    let node = Node::start();
    assert_eq!(metric(&node, "p2pool_store_failing"), "0");
    node.publish(|chain| chain.unsaved = true);
    let status = node.json("/api/status");
    assert_eq!((codes(&status), &status["state"]["level"]), (vec!["disk_full"], &"warning".into()));
    let (code, health) = health(&node);
    let reason = health["reasons"][0].as_str().unwrap();
    assert!(code == 503 && reason.starts_with("The disk refuses to store shares"), "{reason}");
    assert_eq!(metric(&node, "p2pool_store_failing"), "1");
}

#[test]
fn a_signet_that_needs_signatures_is_named() {
    let node = Node::start();
    let signet = Tree::new(Arc::new(ChainParams::standard(Network::Signet)));
    node.publish(|chain| chain.tree = Arc::new(signet));
    assert!(codes(&node.json("/api/status")).contains(&"signet_unsigned"));
}
