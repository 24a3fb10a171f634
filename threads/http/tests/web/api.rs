//! Tests of the JSON documents against the sharechain that they describe.

use std::sync::Arc;

use p2pool_core::payouts::Window;
use p2pool_core::share::{PayoutScript, ShareId};
use p2pool_core::status::{BanKind, PeersStatus, ReachStatus, Reachability};
use p2pool_core::sync::SyncState;
use p2pool_core::units::Sats;
use p2pool_core::work::NoWork;
use serde_json::{json, Value};

use crate::client::send;
use crate::node::{ban, job, job_with_value, now, Node};

/// Field names that existing programs depend on.
const STATUS_NAMES: [&str; 31] = [
    "share_count",
    "miner_count",
    "peer_count",
    "difficulty",
    "target_bits",
    "tip_hash",
    "tip_miner",
    "tip_time",
    "recent_shares",
    "miner_weights",
    "network",
    "stratum_port",
    "p2p_port",
    "share_target_time_secs",
    "pplns_window_size",
    "uptime_secs",
    "pool_hashrate",
    "local_hashrate",
    "last_block_found_time",
    "last_block_found_hash",
    "est_time_to_block",
    "history",
    "our_address",
    "payout_entries",
    "coinbase_value",
    "tree_shares",
    "our_peer_id",
    "peers",
    "miners",
    "state",
    "problems",
];

fn unused_script() -> PayoutScript {
    PayoutScript::new(&[&[0x00, 0x14][..], &[0xaa; 20]].concat()).unwrap()
}

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[track_caller]
fn assert_has(value: &Value, required: &[&str]) {
    let names = names(value);
    for name in required {
        assert!(names.contains(name), "{name} is missing among {names:?}");
    }
}

#[test]
fn the_status_has_all_fields() {
    let node = Node::start();
    let status = node.wait_for("a sample", |status| !status["history"].as_array().unwrap().is_empty());
    assert_has(&status, &STATUS_NAMES);
    assert_has(&status["recent_shares"][0], &["hash", "miner", "timestamp", "is_block"]);
    assert_has(&status["history"][0], &["t", "ph", "lh"]);
    assert_has(&status["payout_entries"][0], &["address", "amount", "pct"]);
    assert_has(&status["tree_shares"][0], &["hash", "prev_share_hash", "miner", "timestamp", "is_block", "main_chain"]);
    assert_has(&status["peers"][0], &["id", "latency_us", "address"]);
    assert_has(
        &status["miners"][0],
        &["worker", "hashrate", "difficulty", "shares", "last_share_time", "connected_secs"],
    );
    assert_eq!((&status["our_peer_id"], &status["peer_count"]), (&"12D3KooWC".into(), &2.into()));
}

#[test]
fn the_status_describes_the_sharechain() {
    let node = Node::start();
    let tree = node.recording.tree();
    let (status, tip) = (node.json("/api/v1/status"), tree.tip().unwrap());
    assert_eq!(status["share_count"], tree.len());
    assert_eq!(status["tip_hash"], tip.id.to_string());
    assert_eq!(status["sharechain_height"], tip.share.info.share_height.0);
    assert_eq!(status["target_bits"], node.sources.chain.load().job.as_ref().unwrap().info.share_bits.to_string());
    assert_eq!(status["network"], "regtest");
    assert_eq!((&status["miner_count"], &status["local_hashrate"]), (&2.into(), &1.5e12.into()));
    let recent = status["recent_shares"].as_array().unwrap();
    let newest: Vec<ShareId> = tree.main_chain().iter().rev().take(30).map(|share| share.id).collect();
    assert_eq!(recent.len(), newest.len());
    assert!(recent.iter().zip(&newest).all(|(share, id)| share["hash"] == id.to_string()));
    // Side chains are included, and each share has its parent.
    let listed = status["tree_shares"].as_array().unwrap();
    assert!(listed.iter().any(|share| share["main_chain"] == false));
    for share in listed {
        let node = tree.shares().find(|node| share["hash"] == node.id.to_string()).unwrap();
        assert_eq!(share["prev_share_hash"], node.share.info.parent.to_string());
        assert_eq!(share["main_chain"], tree.is_main(node));
    }
    let uncles =
        tree.shares().filter(|node| tree.is_main(node)).flat_map(|node| node.share.info.uncles.clone()).count();
    assert!(uncles > 0);
    assert_eq!(status["uncle_count"], uncles);
    assert_eq!(status["uncredited_count"], tree.len() - tree.main_chain().len() - uncles);
}

#[test]
fn payouts_add_up() {
    let node = Node::start();
    let (status, payouts) = (node.json("/api/v1/status"), node.json("/api/v1/payouts"));
    let value = status["coinbase_value"].as_u64().unwrap();
    for document in [&status, &payouts] {
        let entries = document["payout_entries"].as_array().unwrap();
        assert_eq!(entries.iter().map(|entry| entry["amount"].as_u64().unwrap()).sum::<u64>(), value);
        let percent: f64 = entries.iter().map(|entry| entry["pct"].as_f64().unwrap()).sum();
        assert!((percent - 100.0).abs() < 1e-6, "{percent}");
    }
    let ours =
        status["payout_entries"].as_array().unwrap().iter().find(|entry| entry["address"] == status["our_address"]);
    assert_eq!(status["our_payout"], ours.unwrap()["amount"]);
    let weights: f64 = status["miner_weights"].as_object().unwrap().values().map(|part| part.as_f64().unwrap()).sum();
    assert!((weights - 1.0).abs() < 1e-9, "{weights}");
    assert_eq!(payouts["window_shares"], node.recording.params.payout_window);
}

#[test]
fn the_votes_for_payout_outputs_are_shown() {
    let node = Node::start();
    let (status, payouts) = (node.json("/api/v1/status"), node.json("/api/v1/payouts"));
    let outputs = &status["payout_outputs"];
    assert_eq!(*outputs, payouts["payout_outputs"]);
    assert_eq!(
        (&outputs["max"], &outputs["vote"], &outputs["vote_is_fixed"]),
        (&48.into(), &146.into(), &false.into())
    );
    let bitaxe = json!({"name": "bitaxe", "outputs": 146, "work_pct": 99.5, "counts": true});
    let unknown = json!({"name": "unknown firmware", "outputs": 48, "work_pct": 0.5, "counts": false});
    assert_eq!(outputs["firmware"], json!([bitaxe, unknown]));
    // Of the recorded shares in the window, each votes for class 0.
    let votes = outputs["votes"].as_array().unwrap().iter();
    let votes: Vec<_> =
        votes.map(|votes| (votes["outputs"].as_u64().unwrap(), votes["work_pct"].as_f64().unwrap())).collect();
    assert_eq!(votes, [(48, 100.0), (146, 0.0), (366, 0.0), (1_000, 0.0)]);
    assert_eq!(node.metric("p2pool_payout_outputs_max"), Some(48.0));
    assert_eq!(node.metric("p2pool_payout_outputs_vote"), Some(146.0));
    assert_eq!(node.metric("p2pool_payout_outputs_votes{outputs=\"48\"}"), Some(1.0));
    assert_eq!(node.metric("p2pool_payout_outputs_votes{outputs=\"1000\"}"), Some(0.0));
}

#[test]
fn a_block_of_another_node_pays_us_the_same_without_the_fee() {
    let node = Node::start();
    let (tree, ours, other) = (node.recording.tree(), node.recording.scripts[0], unused_script());
    // With the last value, what is left beside the fee is dust, so the finder gets everything.
    for (value, is_paid) in
        [(None, true), (Some(Sats(200_000)), true), (Some(Sats(50_000)), true), (Some(Sats(545)), false)]
    {
        let job = job_with_value(value, &tree, ours, now());
        let value = job.info.coinbase_value;
        let mut window = Window::new(&node.recording.params);
        window.move_to(job.info.parent, job.template.bits, &tree).unwrap();
        let theirs = window.payouts(value, other, 0);
        let expected = theirs.iter().find(|payout| payout.script == ours).map_or(0, |payout| payout.amount.0);
        node.publish(|chain| chain.job = Some(job));
        let shown = node.json("/api/v1/payouts");
        assert_eq!(shown["our_amount_without_fee"], expected, "value {value:?}");
        assert_eq!(expected > 0, is_paid, "value {value:?}");
        let fee = shown["our_amount"].as_u64().unwrap() - expected;
        let expected_fee = value.0 * 5 / 1_000;
        assert_eq!(
            fee,
            if !is_paid {
                value.0
            } else if expected_fee < 546 {
                0
            } else {
                expected_fee
            }
        );
    }
    let status = Node::start().json("/api/v1/status");
    let (with, without) = (status["our_payout"].as_u64().unwrap(), status["our_payout_without_fee"].as_u64().unwrap());
    assert_eq!(with - without, status["coinbase_value"].as_u64().unwrap() * 5 / 1_000);
}

#[test]
fn the_finder_of_a_pools_first_block_gets_everything() {
    let node = Node::start_empty();
    let job = job(&node.recording.empty_tree(), node.recording.scripts[0], now());
    let value = job.info.coinbase_value.0;
    node.publish(|chain| chain.job = Some(job));
    let payouts = node.json("/api/v1/payouts");
    assert_eq!((&payouts["our_amount"], &payouts["our_amount_without_fee"]), (&value.into(), &0.into()));
}

#[test]
fn our_weight_is_that_of_our_address() {
    let node = Node::start();
    let (status, payouts) = (node.json("/api/v1/status"), node.json("/api/v1/payouts"));
    let ours = status["our_address"].as_str().unwrap();
    assert!(status["our_weight_fraction"].as_f64().unwrap() > 0.0);
    assert_eq!(status["our_weight_fraction"], status["miner_weights"][ours]);
    assert_eq!(payouts["our_weight_fraction"], status["our_weight_fraction"]);
}

#[test]
fn the_window_is_null_while_unknown_and_zero_when_empty() {
    let node = Node::start_empty();
    let since = now();
    for (sync, window) in [
        (SyncState::NoPeers { since, was_synced: false }, Value::Null),
        (SyncState::Syncing, Value::Null),
        (SyncState::NoPeers { since, was_synced: true }, 0.into()),
        (SyncState::Solo { since }, 0.into()),
        (SyncState::Synced, 0.into()),
    ] {
        node.publish(|chain| chain.sync = sync);
        let payouts = node.json("/api/v1/payouts");
        assert_eq!(payouts["window_shares"], window, "{sync:?}");
        assert_eq!(payouts["our_weight_fraction"].is_null(), window.is_null(), "{sync:?}");
        assert_eq!(payouts["window_work"].is_null(), window.is_null(), "{sync:?}");
    }
    node.publish(|chain| chain.no_work = Some(NoWork::Syncing));
    let status = node.json("/api/v1/status");
    assert_eq!((&status["window_shares"], &status["our_weight_fraction"]), (&Value::Null, &Value::Null));
    assert_eq!(status["state"]["code"], "no_work_yet");

    // A pruned chain whose window is incomplete.
    let whole = node.recording.tree();
    let mut pruned = node.recording.empty_tree();
    let newest = whole.main_chain().iter().rev().take(3).rev();
    newest.for_each(|linked| pruned.restore(Arc::clone(&linked.share), false));
    node.publish(|chain| (chain.tree, chain.no_work) = (Arc::new(pruned), None));
    assert_eq!(node.json("/api/v1/payouts")["window_shares"], Value::Null);
}

#[test]
fn payouts_of_each_share_equal_those_of_the_model() {
    let node = Node::start();
    let (recording, network) = (&node.recording, node.recording.params.network);
    let mut compared = 0;
    // In both directions, so the window moves back and forth and across forks.
    for recorded in recording.shares.iter().rev().chain(&recording.shares) {
        let share = node.json(&format!("/api/v1/share/{}", recorded.id));
        assert_eq!(share["hash"], recorded.id);
        let shown: Vec<(String, u64)> = share["payouts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["address"].as_str().unwrap().to_owned(), entry["amount"].as_u64().unwrap()))
            .collect();
        let expected: Vec<(String, u64)> = recorded
            .payouts
            .iter()
            .map(|(script, amount)| (recording.scripts[*script].to_address(network), *amount))
            .collect();
        assert_eq!(shown, expected, "{}", recorded.id);
        compared += 1;
    }
    assert!(compared >= 120, "{compared}");
}

#[test]
fn a_share_links_to_its_relatives() {
    let node = Node::start();
    let tree = node.recording.tree();
    let nephew = tree.shares().find(|node| tree.is_main(node) && !node.share.info.uncles.is_empty()).unwrap();
    let shown = node.json(&format!("/api/v1/share/{}", nephew.id));
    assert_eq!(shown["info"]["parent"], nephew.share.info.parent.to_string());
    let uncle = shown["info"]["uncles"][0].as_str().unwrap();
    let uncle = node.json(&format!("/api/v1/share/{uncle}"));
    assert_eq!(uncle["named_by"], nephew.id.to_string());
    assert_eq!((&uncle["main_chain"], &uncle["confirmations"]), (&false.into(), &Value::Null));
    let parent = node.json(&format!("/api/v1/share/{}", nephew.share.info.parent));
    assert!(parent["children"].as_array().unwrap().contains(&nephew.id.to_string().into()));
    let genesis = node.json(&format!("/api/v1/share/{}", tree.main_chain()[0].id));
    assert_eq!(genesis["info"]["parent"], Value::Null);
    assert_eq!(genesis["confirmations"], tree.main_chain().len() - 1);
    assert_eq!(nephew.share.header.merkle_root.to_string(), shown["header"]["merkle_root"].as_str().unwrap());
}

#[test]
fn untrusted_text_is_not_altered() {
    let node = Node::start();
    let response = node.get("/api/v1/miners");
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    let miners = response.json();
    let miner = miners["miners"].as_array().unwrap().iter().find(|miner| miner["hashrate"] == 5e11).unwrap();
    assert_eq!(miner["worker"], "<img src=x onerror=alert(1)>");
    assert_eq!((&miner["rejected"], &miner["rejected_by_reason"]["stale"]), (&3.into(), &2.into()));
}

#[test]
fn errors_are_json() {
    let node = Node::start_empty();
    for (path, status) in [
        ("/nothing", 404),
        ("/api/", 404),
        ("/api/status", 404),
        ("/api/v1/status/", 404),
        ("/../etc/passwd", 404),
        ("/api/v1/share/", 400),
        ("/api/v1/share/zz", 400),
        (&format!("/api/v1/share/{}", "g".repeat(64)), 400),
        (&format!("/api/v1/share/{}", "0".repeat(65)), 400),
        (&format!("/api/v1/share/{}", "0".repeat(64)), 404),
        ("/api/v1/history?window=1y", 400),
    ] {
        let response = node.get(path);
        assert_eq!((response.status, response.header("content-type")), (status, Some("application/json")), "{path}");
        assert!(!response.error().is_empty());
    }
}

#[test]
fn a_path_without_the_version_is_an_error_that_names_the_description() {
    let node = Node::start_empty();
    assert!(node.get("/api/status").error().contains("/api/v1/openapi.json"));
    assert_eq!(node.get("/api/v1/openapi.json").status, 200);
}

#[test]
fn every_response_has_security_headers() {
    let node = Node::start_empty();
    for path in ["/", "/api/v1/status", "/nothing", "/metrics"] {
        let response = node.get(path);
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(response.header("set-cookie"), None);
        assert_eq!(response.header("access-control-allow-origin"), None);
    }
}

#[test]
fn an_unchanged_file_is_not_sent_again() {
    let node = Node::start_empty();
    let page = node.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let etag = page.header("etag").unwrap();
    let with_etag =
        |etag: &str| format!("GET / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {etag}\r\nConnection: close\r\n\r\n");
    let unchanged = send(node.address, &with_etag(etag));
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(send(node.address, &with_etag("\"other\"")).body, page.body);
}

#[test]
fn all_files_of_the_dashboard_are_served() {
    let node = Node::start_empty();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let response = node.get(&format!("/{}", if name == "index.html" { "" } else { name }));
        let kind = match path.extension().unwrap().to_str().unwrap() {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("{other}"),
        };
        assert_eq!((response.status, response.header("content-type")), (200, Some(kind)), "{name}");
        assert_eq!(response.body, std::fs::read(&path).unwrap(), "{name}");
        assert_eq!(response.header("cache-control"), Some("no-cache"));
    }
}

#[test]
fn head_has_the_headers_of_get() {
    let node = Node::start_empty();
    for path in ["/", "/api/v1/peers", "/nothing"] {
        let get = node.get(path);
        let head = format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let head = send(node.address, &head);
        assert_eq!((head.status, head.body.len()), (get.status, 0));
        assert_eq!(head.header("content-length"), get.header("content-length"));
    }
}

#[test]
fn shares_are_the_latest_of_the_main_chain_and_those_that_pay_this_node() {
    let node = Node::start();
    let (tree, document) = (node.recording.tree(), node.json("/api/v1/shares"));
    let listed = document["shares"].as_array().unwrap();
    let main: Vec<String> = tree.main_chain().iter().rev().take(50).map(|node| node.id.to_string()).collect();
    assert_eq!(listed.iter().map(|share| share["hash"].as_str().unwrap()).collect::<Vec<_>>(), main);
    assert!(listed.iter().all(|share| share["state"] == "main"));
    let own = tree.shares().filter(|share| share.info().payout_script == node.recording.scripts[0]).count();
    assert_eq!((&document["own_count"], own > 0), (&own.into(), true));
    for share in document["own"].as_array().unwrap() {
        let detail = node.json(&format!("/api/v1/share/{}", share["hash"].as_str().unwrap()));
        assert_eq!(
            (&share["ours"], &share["miner"], &share["work"]),
            (&true.into(), &detail["miner"], &detail["work"])
        );
        let expected = match (detail["main_chain"] == true, detail["named_by"].is_string()) {
            (true, _) => "main",
            (false, true) => "uncle",
            (false, false) => "uncredited",
        };
        assert_eq!(share["state"], expected);
    }
}

#[test]
fn the_status_says_which_chain_fits() {
    let node = Node::start();
    let status = node.json("/api/v1/status");
    let (local, pool) = (status["local_hashrate"].as_f64().unwrap(), status["pool_hashrate"].as_f64().unwrap());
    let own = status["chain_fit"]["own_shares_per_window"].as_f64().unwrap();
    let window = f64::from(node.recording.params.payout_window);
    let part = local / pool.max(local);
    assert!((0.5..=1.0).contains(&(own / (window * part))), "{status}");
    let empty = Node::start_empty();
    assert_eq!(empty.json("/api/v1/status")["chain_fit"]["own_shares_per_window"], Value::Null);
}

#[test]
fn bans_have_a_reason_and_an_end_and_the_status_lists_few() {
    let node = Node::start();
    let bans = node.json("/api/v1/bans");
    assert_eq!((&bans["banned"], bans["bans"].as_array().unwrap().len()), (&1.into(), 2));
    let first = &bans["bans"][0];
    assert_eq!((&first["subject"], &first["reason"]), (&"12D3KooWD".into(), &"gave a false chain".into()));
    let end = i64::from(now().0) + first["remaining_secs"].as_i64().unwrap();
    assert!((first["until"].as_i64().unwrap() - end).abs() < 5, "{first}");
    assert_eq!(bans["bans"][1]["state"], "graylisted");
    assert_eq!(node.json("/api/v1/peers")["banned"], 1);

    let node = Node::start_empty();
    let bans = (0..100).map(|n| ban(&format!("203.0.113.{n}"), BanKind::Banned, "spam", 100)).collect();
    node.sources.peers.store(Arc::new(PeersStatus { bans, ..PeersStatus::default() }));
    let status = node.json("/api/v1/status");
    assert_eq!((&status["ban_count"], status["bans"].as_array().unwrap().len()), (&100.into(), 20));
    assert_eq!(node.json("/api/v1/bans")["bans"].as_array().unwrap().len(), 100);
}

#[test]
fn the_status_says_how_others_get_through_and_what_to_do() {
    let node = Node::start();
    let reach = |reachability, relays, has_proxy, port| {
        let reach = ReachStatus { reachability, relays, has_proxy, port, ..ReachStatus::default() };
        node.sources.peers.store(Arc::new(PeersStatus { reach, ..PeersStatus::default() }));
        let peers = node.get("/api/v1/peers").json();
        (peers["reach"]["state"].as_str().unwrap().to_owned(), peers["reach"]["advice"].as_str().unwrap().to_owned())
    };
    assert_eq!(node.get("/api/v1/status").json()["reach"], node.get("/api/v1/peers").json()["reach"]);
    for (reachability, relays, has_proxy, port, state, advice) in [
        (Reachability::Unknown, 0, false, 9171, "unknown", "Not found out"),
        (Reachability::Reachable, 0, false, 9171, "reachable", "can connect"),
        (Reachability::Relayed, 1, false, 9171, "relayed", "through 1 peer. To be reachable, forward TCP port 9171"),
        (Reachability::OutboundOnly, 0, false, 9171, "outbound_only", "forward TCP port 9171"),
        (Reachability::OutboundOnly, 0, true, 9171, "outbound_only", "-onion-address"),
        (Reachability::OutboundOnly, 0, false, 0, "outbound_only", "-no-listen"),
    ] {
        let (shown, text) = reach(reachability, relays, has_proxy, port);
        assert_eq!(shown, state);
        assert!(text.contains(advice), "{text}");
    }
}
