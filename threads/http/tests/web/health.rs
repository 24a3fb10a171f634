//! Tests of the notices and the health check.

use std::sync::Arc;

use p2pool_core::params::{ChainParams, Network};
use p2pool_core::sharechain::Tree;
use p2pool_core::status::{
    BitcoindError, BitcoindStatus, ClockFault, ClockStatus, ClockWitness, MinersStatus, PeerDiscovery, PeersStatus,
    RulesStatus,
};
use p2pool_core::sync::{Progress, SyncState};
use p2pool_core::work::NoWork;
use serde_json::Value;

use crate::node::{miner, now, Node};

pub fn health(node: &Node) -> (u16, Value) {
    let response = node.get("/healthz");
    (response.status, response.json())
}

fn set_discovery(node: &Node, discovery: PeerDiscovery) {
    node.sources.peers.store(Arc::new(PeersStatus { discovery, ..PeersStatus::default() }));
}

pub fn codes(status: &Value) -> Vec<&str> {
    status["problems"].as_array().unwrap().iter().map(|state| state["code"].as_str().unwrap()).collect()
}

#[test]
fn a_working_node_is_healthy() {
    let node = Node::start();
    assert_eq!(health(&node), (200, serde_json::json!({"healthy": true, "reasons": []})));
    let status = node.json("/api/v1/status");
    assert_eq!(codes(&status), [""; 0]);
    assert_eq!((&status["state"]["code"], &status["state"]["level"]), (&"ok".into(), &"ok".into()));
}

#[test]
fn a_node_without_work_is_unhealthy() {
    let node = Node::start_empty();
    let (status, health) = health(&node);
    assert_eq!((status, &health["healthy"]), (503, &false.into()));
    assert_eq!(health["reasons"], serde_json::json!(["No block template from bitcoind yet."]));
    assert_eq!(codes(&node.json("/api/v1/status")), ["no_work_yet", "no_miner"]);
}

#[test]
fn a_node_with_an_old_template_is_unhealthy() {
    let node = Node::start();
    node.sources.metrics.template_time_s.set(i64::from(now().0) - 100);
    assert_eq!(health(&node).0, 200);
    node.sources.metrics.template_time_s.set(i64::from(now().0) - 130);
    let (status, health) = health(&node);
    assert_eq!((status, &health["reasons"][0]), (503, &"The newest block template is 2\u{a0}min old.".into()));
    // The operator may want miners to leave earlier.
    node.sources.metrics.template_time_s.set(i64::from(now().0) - 100);
    node.publish(|chain| (chain.job, chain.no_work) = (None, Some(NoWork::NoTemplate)));
    let status = node.wait_for("the notice", |status| status["template_age_secs"].as_u64() < Some(120));
    assert_eq!(codes(&status), ["template_old"]);
}

#[test]
fn errors_of_bitcoind_are_warnings_until_the_job_is_gone() {
    let node = Node::start();
    let error = Some(BitcoindError::Unreachable("Connection refused".to_owned()));
    node.sources.bitcoind.store(Arc::new(BitcoindStatus {
        error,
        since: now().minus(30),
        ..BitcoindStatus::default()
    }));
    // The current job is still good for a while.
    assert_eq!(health(&node).0, 200);
    let status = node.json("/api/v1/status");
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

/// Publishes that there is no job although there is a template.
fn without_job(node: &Node, sync: SyncState, no_work: NoWork) {
    node.publish(|chain| (chain.job, chain.sync, chain.no_work) = (None, sync, Some(no_work)));
}

#[test]
fn a_syncing_node_is_unhealthy() {
    let node = Node::start();
    without_job(&node, SyncState::Syncing, NoWork::Syncing);
    let (status, response) = health(&node);
    assert_eq!((status, &response["reasons"][0]), (503, &"Comparing the sharechain with those of peers.".into()));
    node.publish(|chain| chain.syncing = Some(Progress { done: 430, total: 1_000, rate_per_s: 1.0, eta_s: Some(570) }));
    let (status, response) = health(&node);
    assert_eq!(
        (status, &response["reasons"]),
        (503, &serde_json::json!(["Downloading the sharechain: 43\u{a0}% of 1\u{202f}000 shares."]))
    );
    assert_eq!(codes(&node.json("/api/v1/status")), ["syncing"]);
}

#[test]
fn a_new_node_waits_for_peers() {
    let node = Node::start();
    let since = now().minus(20);
    without_job(&node, SyncState::NoPeers { since, was_synced: false }, NoWork::NoPeers);
    let status = node.json("/api/v1/status");
    assert_eq!(codes(&status), ["waiting_for_peers"]);
    let state = &status["state"];
    assert_eq!((&state["level"], &state["since"]), (&"error".into(), &since.0.into()));
    assert!(state["text"].as_str().unwrap().starts_with("No peer yet: there is no work for miners"));
    assert!(state["advice"].as_str().unwrap().contains("after a minute without any"), "{state}");
    assert_eq!(health(&node).0, 503);
}

#[test]
fn mining_solo_is_a_warning_with_advice_and_a_metric() {
    let node = Node::start();
    set_discovery(&node, PeerDiscovery { bootnodes: true, ..PeerDiscovery::default() });
    let metrics = || ["p2pool_mining_solo", "p2pool_synced"].map(|name| node.metric(name).unwrap());
    assert_eq!(metrics(), [0.0, 1.0]);
    node.publish(|chain| chain.sync = SyncState::Solo { since: now().minus(90) });
    assert_eq!(metrics(), [1.0, 0.0]);
    let status = node.json("/api/v1/status");
    assert_eq!((codes(&status), &status["state"]["level"]), (vec!["solo"], &"warning".into()));
    assert!(status["state"]["text"].as_str().unwrap().contains("Mining solo"));
    assert!(status["state"]["advice"].as_str().unwrap().contains("the nodes in -bootnodes are running"));
    assert_eq!(health(&node).0, 200, "miners have work");
}

#[test]
fn advice_for_a_solo_node_depends_on_its_peer_discovery() {
    let none = PeerDiscovery::default();
    for (discovery, level, words) in [
        (none, "info", "No action is needed if that is intended"),
        (PeerDiscovery { mdns: true, ..none }, "warning", "Nodes elsewhere are not searched for"),
        (PeerDiscovery { mdns: true, known: true, ..none }, "warning", "none of the known peers responds"),
        (PeerDiscovery { mdns: true, known: true, bootnodes: true }, "warning", "the nodes in -bootnodes are running"),
    ] {
        let node = Node::start();
        node.publish(|chain| chain.sync = SyncState::Solo { since: now() });
        set_discovery(&node, discovery);
        let state = node.json("/api/v1/status")["state"].clone();
        assert_eq!((&state["code"], &state["level"]), (&"solo".into(), &level.into()), "{discovery:?}");
        assert!(state["advice"].as_str().unwrap().contains(words), "{state}");
        assert!(state["text"].as_str().unwrap().starts_with("Mining solo: "), "{state}");
    }
}

#[test]
fn without_a_job_the_text_does_not_say_mining_solo() {
    for (bootnodes, text) in [(true, "No peer can be reached."), (false, "This node does not look for peers.")] {
        let node = Node::start_empty();
        node.publish(|chain| chain.sync = SyncState::Solo { since: now() });
        set_discovery(&node, PeerDiscovery { bootnodes, ..PeerDiscovery::default() });
        let status = node.json("/api/v1/status");
        assert_eq!(status["state"]["code"], "no_work_yet");
        let problems = status["problems"].as_array().unwrap();
        let solo = problems.iter().find(|state| state["code"] == "solo").unwrap();
        assert_eq!(solo["text"], text);
    }
}

#[test]
fn losing_the_last_peer_is_a_warning_before_mining_solo() {
    let node = Node::start();
    node.publish(|chain| chain.sync = SyncState::NoPeers { since: now(), was_synced: true });
    assert_eq!(codes(&node.json("/api/v1/status")), ["peers_gone"]);
    assert_eq!(health(&node).0, 200, "miners keep working");
}

#[test]
fn a_bitcoind_behind_the_pool_is_reported() {
    let node = Node::start();
    without_job(&node, SyncState::Synced, NoWork::BitcoindBehind);
    let reason = health(&node).1["reasons"][0].clone();
    assert!(reason.as_str().unwrap().contains("bitcoind is behind the blocks"), "{reason}");
}

#[test]
fn a_clock_that_differs_from_the_peers_is_reported() {
    for (ahead_s, words) in
        [(-600, "10\u{a0}min behind its peers' clocks"), (90, "90\u{a0}s ahead of its peers' clocks")]
    {
        let node = Node::start();
        node.publish(|chain| chain.clock.ahead_of_peers_s = Some(ahead_s));
        let status = node.json("/api/v1/status");
        assert_eq!(codes(&status), ["clock_off"]);
        assert!(status["state"]["text"].as_str().unwrap().contains(words), "{status}");
        assert!(status["state"]["advice"].as_str().unwrap().contains("NTP"));
    }
    let node = Node::start();
    node.publish(|chain| chain.clock.ahead_of_peers_s = Some(60));
    assert_eq!(codes(&node.json("/api/v1/status")), [""; 0]);
}

#[test]
fn a_clock_so_wrong_that_miners_get_no_work_is_an_error() {
    let witnesses = [
        (43_200, ClockWitness::Bitcoind, "12\u{a0}h ahead of bitcoind's clock"),
        (43_200, ClockWitness::Peers, "12\u{a0}h ahead of its peers' clocks and Bitcoin's newest block"),
        (43_200, ClockWitness::Blocks, "12\u{a0}h ahead of Bitcoin's newest block"),
        (-43_200, ClockWitness::Blocks, "12\u{a0}h behind the median time of Bitcoin's newest blocks"),
    ];
    for (ahead_s, witness, words) in witnesses {
        let node = Node::start();
        assert_eq!(node.metric("p2pool_clock_wrong"), Some(0.0));
        without_job(&node, SyncState::Synced, NoWork::ClockOff);
        let fault = Some(ClockFault { ahead_s, witness });
        node.publish(|chain| {
            chain.clock = ClockStatus { ahead_of_bitcoind_s: Some(43_200), ahead_of_peers_s: None, fault }
        });
        let (code, body) = health(&node);
        let reason = body["reasons"][0].as_str().unwrap();
        assert!(code == 503 && reason.contains(words) && reason.contains("no work for miners"), "{reason}");
        let status = node.json("/api/v1/status");
        assert_eq!((codes(&status), &status["state"]["level"]), (vec!["clock_off"], &"error".into()));
        assert_eq!(node.metric("p2pool_clock_wrong"), Some(1.0));
        assert_eq!(node.metric("p2pool_clock_ahead_seconds{of=\"bitcoind\"}"), Some(43_200.0));
        assert_eq!(node.metric("p2pool_clock_ahead_seconds{of=\"peers\"}"), None, "unknown");
    }
}

#[test]
fn an_outdated_node_is_unhealthy_and_one_that_will_be_is_warned() {
    let with = |needed, signals: &[(u8, f64)]| {
        let node = Node::start();
        node.publish(|chain| chain.rules = RulesStatus { known: 3, needed, signals: signals.to_vec() });
        let status = node.json("/api/v1/status");
        (node, status)
    };
    assert_eq!(codes(&with(None, &[(3, 100.0), (4, 49.9)]).1), [""; 0]);
    let (node, status) = with(None, &[(3, 100.0), (4, 50.0)]);
    assert_eq!(codes(&status), ["update_due"]);
    assert_eq!(status["rules"]["signals"][1], serde_json::json!({"version": 4, "work_pct": 50.0}));
    assert_eq!(health(&node).0, 200);
    let (node, status) = with(Some(4), &[(4, 60.0)]);
    assert_eq!(codes(&status), ["outdated"]);
    assert_eq!((&status["rules"]["known"], &status["rules"]["needed"]), (&3.into(), &4.into()));
    let (code, body) = health(&node);
    assert_eq!(code, 503);
    assert!(body["reasons"][0].as_str().unwrap().contains("follows version 4 of the rules"), "{body}");
    let metrics = node.get("/metrics");
    for line in [
        "p2pool_rules_version_known 3",
        "p2pool_rules_version_needed 4",
        "p2pool_rules_version_signalled{version=\"4\"} 0.6",
        "p2pool_rules_unsupported_signalled 0.6",
    ] {
        assert!(metrics.text().contains(line), "{line}");
    }
}

#[test]
fn minor_problems_leave_a_node_healthy() {
    let node = Node::start();
    let mut too_small = miner("attic", 1e12);
    too_small.coinbase_too_large = true;
    node.sources.miners.store(Arc::new(MinersStatus {
        time: now(),
        miners: vec![too_small],
        ..MinersStatus::default()
    }));
    node.publish(|chain| chain.clock.ahead_of_bitcoind_s = Some(600));
    let status = node.json("/api/v1/status");
    assert_eq!(codes(&status), ["clock_off", "firmware_too_small"]);
    let texts = status["problems"].to_string();
    assert!(texts.contains("This machine's clock is 10\u{a0}min ahead of bitcoind's clock."), "{texts}");
    assert!(texts.contains("is known to support: attic."), "{texts}");
    assert_eq!(health(&node).0, 200);
}

#[test]
fn a_failing_store_is_a_warning_but_unhealthy() {
    let node = Node::start();
    assert_eq!(node.metric("p2pool_store_failing"), Some(0.0));
    node.publish(|chain| chain.unsaved = true);
    let status = node.json("/api/v1/status");
    assert_eq!((codes(&status), &status["state"]["level"]), (vec!["disk_full"], &"warning".into()));
    let (code, health) = health(&node);
    let reason = health["reasons"][0].as_str().unwrap();
    assert!(code == 503 && reason.starts_with("Shares cannot be stored"), "{reason}");
    assert_eq!(node.metric("p2pool_store_failing"), Some(1.0));
}

#[test]
fn a_signet_with_signed_blocks_is_reported() {
    let node = Node::start();
    let signet = Tree::new(Arc::new(ChainParams::standard(Network::Signet)));
    node.publish(|chain| chain.tree = Arc::new(signet));
    assert!(codes(&node.json("/api/v1/status")).contains(&"signet_unsigned"));
}
