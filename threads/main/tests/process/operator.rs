//! `p2pool ban`, `unban`, `connect`, `disconnect` and `log-level` against running nodes.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use crate::support::{one_line, run, Node, TIMEOUT};

/// Runs a command for the node that has its data here; returns its exit status, standard output and standard error.
fn command(home: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let output = run(home, &[words, &["-network", "regtest"]].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Returns a document of the node's API.
fn document(home: &Path, word: &str) -> Value {
    let (status, text, error) = command(home, &[word, "-json"]);
    assert_eq!(status, Some(0), "{error}");
    serde_json::from_str(&text).expect("JSON")
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn start(home: &Path) -> Node {
    let mut node = Node::start(home, "node.log", |command| {
        command.args(["-mdns=false", "-p2p-bind", "127.0.0.1:0"]);
    });
    node.await_log("listening for miners on");
    node
}

/// Returns the port and the id of a node.
fn port_and_id(home: &Path) -> (String, String) {
    let address = || document(home, "peers")["listening"][0].as_str().map(str::to_owned);
    wait_until("the node to listen", || address().is_some());
    let address = address().expect("an address");
    let parts: Vec<&str> = address.split('/').collect();
    (parts[4].to_owned(), parts[6].to_owned())
}

#[test]
fn the_operator_connects_bans_and_disconnects_peers() {
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (home, other) = (homes[0].path(), homes[1].path());
    let nodes = [start(home), start(other)];
    let (port, id) = port_and_id(other);
    let connected = || document(home, "peers")["count"] == 1;
    let address = format!("127.0.0.1:{port}");
    let (status, text, _) = command(home, &["connect", &address]);
    assert_eq!((status, text), (Some(0), format!("/ip4/127.0.0.1/tcp/{port} is dialled once\n")));
    wait_until("the connection", connected);
    assert_eq!(command(home, &["disconnect", &id]).0, Some(0));
    wait_until("the end of the connection", || !connected());

    let (status, text, _) = command(home, &["ban", &id, "-hours", "2", "-json"]);
    assert_eq!((status, text), (Some(0), format!("{{\"done\":\"{id} is banned for 2 h\"}}\n")));
    wait_until("the ban", || document(home, "bans")["banned"] == 1);
    let (_, table, _) = command(home, &["bans"]);
    assert!(table.contains(&id) && table.contains("by the operator"), "{table}");
    assert_eq!(command(home, &["connect", &address]).0, Some(0));
    wait_until("the refusal", || nodes[0].log().contains(&format!("tcp/{port} not connected for the operator")));
    assert_eq!(command(home, &["unban", &id]).0, Some(0));
    wait_until("the end of the ban", || document(home, "bans")["banned"] == 0);
    assert_eq!(command(home, &["connect", &address]).0, Some(0));
    wait_until("the connection", connected);

    for (words, status, part) in [
        (&["unban", id.as_str()][..], 1, "is not banned"),
        (&["ban", "192.168.1.5"], 1, "own network"),
        (&["ban", "somebody"], 1, "neither a peer id nor an IP address"),
        (&["ban", "8.8.8.8", "-hours", "100000"], 1, "1 to 8784 hours"),
        (&["ban", "8.8.8.8", "-hours", "many"], 2, "-hours needs the command ban, and a number"),
        (&["unban", "8.8.8.8", "-hours", "1"], 2, "-hours needs the command ban"),
        (&["ban"], 2, "ban needs <peer|address>"),
        (&["ban", "8.8.8.8", "9.9.9.9"], 2, "unexpected word"),
        (&["connect", "nowhere"], 2, "is not <host:port|multiaddr>"),
        (&["connect", "/ip4/nowhere"], 1, "no multiaddr"),
        (&["disconnect", "8.8.8.8"], 1, "no peer id"),
        (&["ban", "8.8.8.8&hours=1"], 2, "is not <peer|address>"),
    ] {
        let output = run(home, &[words, &["-network", "regtest"]].concat());
        let line = one_line(&output);
        assert_eq!(output.status.code(), Some(status), "{words:?}: {line}");
        assert!(line.starts_with("p2pool: ") && line.contains(part), "{words:?}: {line}");
    }
}

#[test]
fn the_log_level_changes_while_the_node_runs() {
    let home = tempfile::tempdir().unwrap();
    let mut node = start(home.path());
    assert!(!node.log().contains(" DEBUG "), "{}", node.log());
    let (status, text, _) = command(home.path(), &["log-level", "trace"]);
    assert_eq!((status, &*text), (Some(0), "the log level is trace until the next start\n"));
    node.await_log("log level changed from info to trace: by the operator");
    node.await_log(" DEBUG ");
    assert_eq!(command(home.path(), &["log-level", "error"]).0, Some(0));
    node.await_log("log level changed from trace to error: by the operator");
    let (status, _, error) = command(home.path(), &["log-level", "loud"]);
    assert!(status == Some(1) && error.contains("no log level"), "{error}");
}

#[test]
fn a_command_without_a_running_node_exits_with_status_2() {
    let home = tempfile::tempdir().unwrap();
    let (status, _, error) = command(home.path(), &["ban", "8.8.8.8"]);
    assert!(status == Some(2) && error.contains("no node runs"), "{error}");
}
