//! Tests of the metrics; alerts and dashboards depend on their names.

use std::collections::{BTreeMap, BTreeSet};

use p2pool_core::share::ShareId;

use crate::node::{Node, STORE_FILE};

/// Parses values by name with labels, and kinds by name.
fn parse(text: &str) -> (BTreeMap<String, f64>, BTreeMap<String, String>) {
    let (mut values, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(kinds.insert(name.to_owned(), kind.to_owned()), None, "duplicate {name}");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(values.insert(name.to_owned(), value.parse().unwrap()), None, "duplicate {name}");
        }
    }
    (values, kinds)
}

#[test]
fn metrics_have_their_names_and_kinds() {
    let node = Node::start();
    let response = node.get("/metrics");
    assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let (values, kinds) = parse(response.text());
    for name in [
        "p2pool_sharechain_height",
        "p2pool_miners_connected",
        "p2pool_peers_connected",
        "p2pool_peers_subscribed",
        "p2pool_peer_unread_bytes",
        "p2pool_gossip_mesh_peers{topic=\"shares\"}",
        "p2pool_gossip_mesh_peers{topic=\"blocks\"}",
        "p2pool_peers_by_direction{direction=\"inbound\"}",
        "p2pool_peer_netgroups{direction=\"outbound\"}",
        "p2pool_identity_duplicated",
        "p2pool_share_difficulty",
        "p2pool_pool_hashrate",
        "p2pool_local_hashrate",
        "p2pool_uptime_seconds",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
        "p2pool_reachable",
        "p2pool_relays",
        "p2pool_relayed_for",
        "p2pool_peers_relayed",
        "p2pool_peers_punched",
    ] {
        let family = name.split('{').next().unwrap();
        assert_eq!(kinds.get(family).map(String::as_str), Some("gauge"), "{name}");
        assert!(values.contains_key(name), "{name}");
    }
    for name in [
        "p2pool_stratum_shares_accepted_total",
        "p2pool_stratum_shares_rejected_total",
        "p2pool_blocks_found_total",
        "p2pool_peer_connections_replaced_total",
        "p2pool_peer_reconnects_total",
        "p2pool_peer_misbehaviours_total",
        "p2pool_peer_bans_total",
        "p2pool_peer_evictions_total",
        "p2pool_peer_connections_refused_total{reason=\"banned\"}",
        "p2pool_peer_connections_refused_total{reason=\"full\"}",
        "p2pool_gossip_messages_total{event=\"announced\",topic=\"shares\"}",
        "p2pool_gossip_messages_total{event=\"rejected\",topic=\"blocks\"}",
        "p2pool_block_submissions_total{result=\"success\"}",
        "p2pool_block_submissions_total{result=\"rejected\"}",
        "p2pool_block_submissions_total{result=\"failed\"}",
        "p2pool_peer_block_submissions_total{result=\"rejected\"}",
        "p2pool_p2p_bytes_total{direction=\"in\"}",
        "p2pool_p2p_bytes_total{direction=\"out\"}",
        "process_cpu_seconds_total",
    ] {
        let family = name.split('{').next().unwrap();
        assert_eq!(kinds.get(family).map(String::as_str), Some("counter"), "{name}");
        assert!(values.contains_key(name), "{name}");
    }
    for name in ["p2pool_stratum_submit_latency_seconds", "p2pool_stratum_job_fanout_seconds"] {
        assert_eq!(kinds.get(name).map(String::as_str), Some("histogram"), "{name}");
        assert!(values.contains_key(&format!("{name}_bucket{{le=\"+Inf\"}}")), "{name}");
    }
    assert_eq!(values[concat!("p2pool_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}")], 1.0);
}

#[test]
fn the_process_is_measured() {
    let node = Node::start();
    let (values, _) = parse(node.get("/metrics").text());
    let now = f64::from(crate::node::now().0);
    assert!((1e6..1e11).contains(&values["process_resident_memory_bytes"]), "{values:?}");
    // Standard input, output and error, and the node's sockets.
    assert!((4.0..=values["process_max_fds"]).contains(&values["process_open_fds"]), "{values:?}");
    assert!((now - 600.0..=now).contains(&values["process_start_time_seconds"]), "{values:?}");
    assert!(values["process_cpu_seconds_total"] < 600.0 * 64.0, "{values:?}");
}

#[test]
fn metrics_show_the_current_values() {
    let node = Node::start();
    let metrics = &node.sources.metrics;
    metrics.shares_accepted.inc_by(5);
    metrics.shares_rejected.stale.inc_by(2);
    metrics.shares_rejected.low_difficulty.inc();
    metrics.blocks_found.inc();
    metrics.own_blocks.accepted.inc();
    metrics.peer_blocks.accepted.inc_by(4);
    metrics.rpc_errors.inc_by(9);
    metrics.stratum_bytes_in.inc_by(1_000);
    metrics.submit_latency.observe(0.000_08);
    metrics.submit_latency.observe(3.0);
    let (values, _) = parse(node.get("/metrics").text());
    let tree = node.recording.tree();
    // Shares of side chains that the main chain names, and all others.
    let named: BTreeSet<ShareId> = tree.main_chain().iter().flat_map(|share| share.info().uncles.clone()).collect();
    let side = tree.shares().filter(|node| !tree.is_main(node));
    let (uncles, uncredited): (Vec<ShareId>, Vec<ShareId>) =
        side.map(|node| node.id).partition(|id| named.contains(id));
    assert!(
        !uncles.is_empty() && !uncredited.is_empty() && uncles.len() != uncredited.len(),
        "{uncles:?}, {uncredited:?}"
    );
    for (name, value) in [
        ("p2pool_stratum_shares_accepted_total", 5.0),
        ("p2pool_stratum_shares_rejected_total", 3.0),
        ("p2pool_stratum_rejects_total{reason=\"stale\"}", 2.0),
        ("p2pool_stratum_rejects_total{reason=\"duplicate\"}", 0.0),
        ("p2pool_blocks_found_total", 1.0),
        ("p2pool_block_submissions_total{result=\"success\"}", 1.0),
        ("p2pool_peer_block_submissions_total{result=\"success\"}", 4.0),
        ("p2pool_rpc_errors_total", 9.0),
        ("p2pool_stratum_bytes_total{direction=\"in\"}", 1_000.0),
        ("p2pool_miners_connected", 2.0),
        ("p2pool_local_hashrate", 1.5e12),
        ("p2pool_peers_by_direction{direction=\"inbound\"}", 1.0),
        ("p2pool_peers_by_direction{direction=\"outbound\"}", 1.0),
        // The peers have private addresses.
        ("p2pool_peer_netgroups{direction=\"inbound\"}", 0.0),
        ("p2pool_sharechain_height", f64::from(tree.tip().unwrap().share.info.share_height.0)),
        ("p2pool_sharechain_shares", tree.len() as f64),
        ("p2pool_sharechain_uncles", uncles.len() as f64),
        ("p2pool_sharechain_uncredited", uncredited.len() as f64),
        ("p2pool_stratum_submit_latency_seconds_bucket{le=\"0.00005\"}", 0.0),
        ("p2pool_stratum_submit_latency_seconds_bucket{le=\"0.0001\"}", 1.0),
        ("p2pool_stratum_submit_latency_seconds_bucket{le=\"2\"}", 1.0),
        ("p2pool_stratum_submit_latency_seconds_bucket{le=\"+Inf\"}", 2.0),
        ("p2pool_stratum_submit_latency_seconds_count", 2.0),
        ("p2pool_stratum_submit_latency_seconds_sum", 3.00008),
    ] {
        assert_eq!(values.get(name), Some(&value), "{name}");
    }
}

#[test]
fn unknown_values_are_omitted() {
    let node = Node::start_empty();
    let (values, _) = parse(node.get("/metrics").text());
    assert!(!values.contains_key("p2pool_template_age_seconds") && !values.contains_key("p2pool_store_bytes"));
    std::fs::write(node.chain_dir.join(STORE_FILE), [0; 4096]).unwrap();
    node.sources.metrics.template_time_s.set(crate::node::now().0.into());
    let (values, _) = parse(node.get("/metrics").text());
    assert!(values["p2pool_template_age_seconds"] < 5.0);
    assert_eq!(values["p2pool_store_bytes"], 4096.0);
}
