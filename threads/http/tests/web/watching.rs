//! The Grafana dashboard and the Prometheus alerts ask for what `/metrics` really has.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use crate::node::{Node, STORE_FILE};

const DASHBOARD: &str = include_str!("../../../../contrib/grafana/dashboard.json");
const ALERTS: &str = include_str!("../../../../contrib/grafana/alerts.yml");
const README: &str = include_str!("../../../../README.md");

/// Labels that Prometheus adds to whatever it reads.
const LABELS_OF_PROMETHEUS: [&str; 2] = ["instance", "job"];

/// A series asked for: its name, and the labels by which it is picked.
type Asked = (String, BTreeSet<String>);

/// Whether a character may stand in a metric's name.
fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Every series named in a text, wherever it stands in it.
fn asked(text: &str) -> BTreeSet<Asked> {
    let starts = text.match_indices("p2pool_").map(|(at, _)| at);
    let whole = starts.filter(|at| !text[..*at].ends_with(in_name));
    whole
        .map(|at| {
            let (name, rest) = text[at..].split_at(text[at..].find(|c| !in_name(c)).unwrap_or(text.len() - at));
            let picked = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(picked, _)| picked);
            let label = |one: &str| one.split(['=', '!']).next().unwrap().trim().to_owned();
            (name.to_owned(), picked.split(',').map(label).filter(|label| !label.is_empty()).collect())
        })
        .collect()
}

/// The text of every expression and query in the dashboard.
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

/// What a node with work, miners and a stored chain exposes: names, each with its labels.
fn exposed() -> Vec<Asked> {
    let node = Node::start();
    std::fs::write(node.chain_dir.join(STORE_FILE), [0; 4096]).unwrap();
    let text = node.get("/metrics").text().to_owned();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(asked).collect()
}

/// The first thing asked for that is not exposed.
fn missing(text: &str, exposed: &[Asked]) -> Option<Asked> {
    asked(text).into_iter().find(|(name, labels)| {
        let has = |labels_there: &BTreeSet<String>| {
            labels.iter().all(|label| labels_there.contains(label) || LABELS_OF_PROMETHEUS.contains(&label.as_str()))
        };
        !exposed.iter().any(|(exposed, labels)| exposed == name && has(labels))
    })
}

#[test]
fn what_is_asked_for_is_found_and_what_is_not_there_is_noticed() {
    let exposed = exposed();
    assert!(exposed.len() > 40, "{exposed:?}");
    let fine = "rate(p2pool_stratum_rejects_total{reason=\"stale\",instance=~\"x\"}[5m]) > p2pool_pool_hashrate";
    assert_eq!(asked(fine).len(), 2);
    assert_eq!(missing(fine, &exposed), None);
    for wrong in ["p2pool_pool_hashrates", "p2pool_pool_hashrate{reason=\"stale\"}", "p2pool_stratum_rejects"] {
        assert!(missing(wrong, &exposed).is_some(), "{wrong}");
    }
}

#[test]
fn the_dashboard_shows_what_the_node_exposes() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: HashSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has a number of its own");
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && targets.iter().all(|target| target["expr"].is_string()), "{}", panel["title"]);
    }
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    let all = found.join("\n");
    assert!(asked(&all).len() >= panels.len(), "the panels show something");
    assert_eq!(missing(&all, &exposed()), None);
}

#[test]
fn the_alerts_and_the_readme_speak_of_what_the_node_exposes() {
    let exposed = exposed();
    assert_eq!(missing(ALERTS, &exposed), None);
    assert!(asked(ALERTS).len() >= 8, "the alerts watch something");
    assert_eq!(missing(README, &exposed), None);
}
