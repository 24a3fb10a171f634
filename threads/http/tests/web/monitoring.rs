//! The Grafana dashboard, the Prometheus alerts and the guide use only metrics that `/metrics` exposes.

use std::collections::{BTreeSet, HashSet};

use p2pool_core::status::{ClockStatus, RulesStatus};
use serde_json::Value;

use crate::node::{Node, STORE_FILE};

const DASHBOARD: &str = include_str!("../../../../contrib/grafana/dashboard.json");
const ALERTS: &str = include_str!("../../../../contrib/grafana/alerts.yml");
const GUIDE: &str = include_str!("../../../../contrib/docs/monitoring.md");

/// Labels that Prometheus adds.
const LABELS_OF_PROMETHEUS: [&str; 2] = ["instance", "job"];

/// A metric used in a query: its name and the labels in its selector.
type Selector = (String, BTreeSet<String>);

/// Whether a metric name may contain a character.
fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Finds all selectors in a text.
fn selectors(text: &str) -> BTreeSet<Selector> {
    let starts = |prefix| text.match_indices(prefix);
    // Other names begin like that too, such as those of packages.
    let is_metric = |(at, prefix): &(usize, &str)| {
        !text[..*at].ends_with(in_name) && text[at + prefix.len()..].starts_with(|c: char| c.is_ascii_lowercase())
    };
    starts("p2pool_")
        .chain(starts("process_"))
        .filter(is_metric)
        .map(|(at, _)| {
            let (name, rest) = text[at..].split_at(text[at..].find(|c| !in_name(c)).unwrap_or(text.len() - at));
            let labels = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(labels, _)| labels);
            let label = |one: &str| one.split(['=', '!']).next().unwrap().trim().to_owned();
            (name.to_owned(), labels.split(',').map(label).filter(|label| !label.is_empty()).collect())
        })
        .collect()
}

/// Collects the text of every expression and query in the dashboard.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" || name == "query" => found.push(text.clone()),
                    value => expressions(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

/// Returns the metrics that a node exposes, with their labels.
fn exposed() -> Vec<Selector> {
    let node = Node::start();
    node.publish(|chain| {
        chain.rules = RulesStatus { known: 2, needed: Some(3), signals: vec![(3, 60.0)] };
        chain.clock = ClockStatus { ahead_of_bitcoind_s: Some(0), ahead_of_peers_s: Some(0), fault: None };
    });
    std::fs::write(node.chain_dir.join(STORE_FILE), [0; 4096]).unwrap();
    let text = node.get("/metrics").text().to_owned();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(selectors).collect()
}

/// Returns the first selector in a text that matches nothing exposed.
fn missing(text: &str, exposed: &[Selector]) -> Option<Selector> {
    selectors(text).into_iter().find(|(name, labels)| {
        let has = |labels_there: &BTreeSet<String>| {
            labels.iter().all(|label| labels_there.contains(label) || LABELS_OF_PROMETHEUS.contains(&label.as_str()))
        };
        !exposed.iter().any(|(exposed, labels)| exposed == name && has(labels))
    })
}

#[test]
fn unknown_metrics_and_labels_are_detected() {
    let exposed = exposed();
    assert!(exposed.len() > 40, "{exposed:?}");
    let valid = "rate(p2pool_stratum_rejects_total{reason=\"stale\",instance=~\"x\"}[5m]) > p2pool_pool_hashrate";
    assert_eq!(selectors(valid).len(), 2);
    assert_eq!(missing(valid, &exposed), None);
    for invalid in ["p2pool_pool_hashrates", "p2pool_pool_hashrate{reason=\"stale\"}", "p2pool_stratum_rejects"] {
        assert!(missing(invalid, &exposed).is_some(), "{invalid}");
    }
}

#[test]
fn the_dashboard_uses_exposed_metrics() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: HashSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "panel ids are unique");
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && targets.iter().all(|target| target["expr"].is_string()), "{}", panel["title"]);
    }
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    let all = found.join("\n");
    assert!(selectors(&all).len() >= panels.len(), "each panel has a query");
    assert_eq!(missing(&all, &exposed()), None);
}

#[test]
fn the_alerts_and_the_guide_use_exposed_metrics() {
    let exposed = exposed();
    assert_eq!(missing(ALERTS, &exposed), None);
    assert!(selectors(ALERTS).len() >= 8, "the alerts have expressions");
    assert_eq!(missing(GUIDE, &exposed), None);
}
