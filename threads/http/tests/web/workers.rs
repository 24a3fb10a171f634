//! Tests of the lists of miners: silent ones, those that are gone, and their order.

use std::sync::Arc;

use p2pool_core::status::{MinerStatus, MinersStatus, NoWorkStatus};
use p2pool_core::stratum::NamedAddress;
use p2pool_core::work::NoWork;
use serde_json::{json, Value};

use crate::node::{miner, now, Node};

fn publish(node: &Node, miners: Vec<MinerStatus>) {
    node.sources.miners.store(Arc::new(MinersStatus { time: now(), miners, ..MinersStatus::default() }));
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|miner| miner["worker"].as_str().unwrap()).collect()
}

fn notice<'a>(status: &'a Value, code: &str) -> Option<&'a str> {
    status["problems"].as_array().unwrap().iter().find(|notice| notice["code"] == code)?["text"].as_str()
}

/// 107 sessions, of which the four weakest have been silent for four minutes.
fn farm() -> Vec<MinerStatus> {
    let one = |number: u32| {
        let is_silent = number > 103;
        MinerStatus {
            silent_s: is_silent.then_some(240),
            credited: if is_silent { f64::from(number) } else { 1e6 },
            ..miner(&format!("rig-{number}"), if is_silent { 0.0 } else { 1e12 + f64::from(number) })
        }
    };
    (1..=107).map(one).collect()
}

#[test]
fn silent_miners_come_first_in_a_list_that_is_cut() {
    let node = Node::start();
    publish(&node, farm());
    let status = node.wait_for("the miners", |status| status["miner_count"] == 107);
    let listed = names(&status["miners"]);
    assert_eq!(listed.len(), 100);
    assert_eq!(listed[..5], ["rig-107", "rig-106", "rig-105", "rig-104", "rig-103"]);
    let silent = status["miners"].as_array().unwrap().iter().filter(|miner| miner["silent_secs"] == 240);
    assert_eq!(silent.clone().count(), 4);
    assert!(silent.clone().all(|miner| miner["needs_attention"] == true));
    assert_eq!(status["silent_count"], 4);
    assert_eq!(notice(&status, "miners_silent"), Some("Connected, but silent: rig-107, rig-106, rig-105 and 1 more."));
    assert_eq!(status["state"]["code"], "miners_silent", "all is not well");
    assert_eq!(node.metric("p2pool_workers_troubled{state=\"silent\"}"), Some(4.0));
    assert_eq!(node.json("/api/v1/miners")["miners"].as_array().unwrap().len(), 107);
    assert_eq!(node.get("/healthz").status, 200);
}

#[test]
fn strangers_that_connect_and_do_nothing_displace_no_real_miner() {
    let node = Node::start();
    let mut miners = farm();
    let invented = |number: u32| MinerStatus {
        silent_s: Some(9_000),
        accepted: 0,
        credited: 0.0,
        last_share: None,
        ..miner(&format!("invented-{number}"), 0.0)
    };
    miners.extend((0..800).map(invented));
    publish(&node, miners);
    let status = node.wait_for("the miners", |status| status["miner_count"] == 907);
    let listed = names(&status["miners"]);
    assert_eq!(listed.len(), 100);
    assert_eq!(listed[..4], ["rig-107", "rig-106", "rig-105", "rig-104"], "the real ones are named first");
    assert_eq!(listed.iter().filter(|name| name.starts_with("rig-")).count(), 54);
    let text = notice(&status, "miners_silent").unwrap();
    assert_eq!(text, "Connected, but silent: rig-107, rig-106, rig-105 and 801 more.");
}

#[test]
fn a_user_name_with_an_address_that_is_not_paid_is_a_problem() {
    let node = Node::start();
    let wrong = MinerStatus { named_address: NamedAddress::Mistyped, ..miner("bc1qmistyped.rig", 1e12) };
    publish(&node, vec![miner("right", 2e12), wrong]);
    let status = node.wait_for("the problem", |status| status["problems"].as_array().unwrap().len() == 1);
    assert_eq!(
        notice(&status, "unpaid_address"),
        Some("The user name has an address that is not paid: bc1qmistyped.rig.")
    );
    let miners = &status["miners"];
    assert_eq!((&miners[0]["named_address"], &miners[0]["needs_attention"]), (&json!("mistyped"), &json!(true)));
    assert_eq!((&miners[1]["named_address"], &miners[1]["needs_attention"]), (&json!("none"), &json!(false)));
    assert_eq!(node.metric("p2pool_workers_troubled{state=\"unpaid_address\"}"), Some(1.0));
}

#[test]
fn miners_that_exceed_a_limit_are_a_problem_for_some_minutes() {
    let node = Node::start();
    let reached = |ago_s| {
        let limit_reached = Some((now().minus(ago_s), "the limit of 1000 connections is reached".to_owned()));
        let miners = vec![miner("one", 1e12)];
        node.sources.miners.store(Arc::new(MinersStatus {
            time: now(),
            miners,
            limit_reached,
            ..MinersStatus::default()
        }));
    };
    reached(500);
    let status = node.wait_for("the problem", |status| status["problems"][0]["code"] == "miners_limit");
    assert_eq!(notice(&status, "miners_limit"), Some("Miners are refused: the limit of 1000 connections is reached."));
    reached(601);
    node.wait_for("its end", |status| status["problems"].as_array().unwrap().is_empty());
}

#[test]
fn refused_miners_are_reported_with_the_reason() {
    let node = Node::start();
    let refused = |why, closes| {
        let no_work = Some(NoWorkStatus { why, since: now().minus(100), refuses: true, closes });
        node.sources.miners.store(Arc::new(MinersStatus { time: now(), no_work, ..MinersStatus::default() }));
    };
    node.publish(|chain| (chain.job, chain.no_work) = (None, Some(NoWork::BitcoindBehind)));
    refused(NoWork::BitcoindBehind, false);
    let status = node.wait_for("the refusal", |status| status["no_work"]["refused"] == true);
    assert_eq!(
        (&status["no_work"]["reason"], &status["no_work"]["disconnected"]),
        (&json!("bitcoind_behind"), &json!(false))
    );
    assert_eq!(
        notice(&status, "miners_refused"),
        Some("Miners that connect are refused until there is work: bitcoind is behind the pool.")
    );
    assert_eq!(status["state"]["code"], "no_work", "the cause comes first");
    assert_eq!(notice(&status, "no_miner"), None, "no operator should point a miner here now");
    assert_eq!(node.metric("p2pool_miners_refused"), Some(1.0));
    assert_eq!(node.metric("p2pool_no_work{reason=\"bitcoind_behind\"}"), Some(1.0));
    refused(NoWork::NoTemplate, true);
    let status = node.wait_for("the end of sessions", |status| status["no_work"]["disconnected"] == true);
    assert!(notice(&status, "miners_refused").unwrap().starts_with("Miners are disconnected and refused"));
    publish(&node, Vec::new());
    let status = node.wait_for("work", |status| status["no_work"].is_null());
    assert_eq!(
        (notice(&status, "miners_refused"), notice(&status, "no_miner")),
        (None, Some("No miner is connected."))
    );
    assert_eq!(node.metric("p2pool_miners_refused"), Some(0.0));
}

/// A session may have 64 workers, and a name of 128 bytes takes twice as many if all of them are escaped.
#[test]
fn strangers_with_thousands_of_workers_leave_the_list_of_miners_usable() {
    let node = Node::start();
    let quotes: Arc<str> = "\"".repeat(128).into();
    let invented =
        MinerStatus { user_agent: Arc::clone(&quotes), silent_s: Some(200), credited: 0.0, ..miner(&quotes, 0.0) };
    let mut miners = vec![invented; 64_000];
    miners.extend(farm());
    publish(&node, miners);
    node.wait_for("the miners", |status| status["miner_count"] == 64_107);
    let response = node.get("/api/v1/miners");
    assert_eq!(response.status, 200);
    let listed: Value = serde_json::from_slice(&response.body).unwrap();
    let names = names(&listed["miners"]);
    assert_eq!((&listed["count"], names[0]), (&json!(64_107), "rig-107"));
    assert_eq!(names.iter().filter(|name| name.starts_with("rig-")).count(), 107);
}
