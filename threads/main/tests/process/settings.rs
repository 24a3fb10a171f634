//! The settings file, where browsers connect, and `p2pool health`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::support::{one_line, run, Node, TIMEOUT};

#[test]
fn a_settings_file_in_the_data_directory_is_read() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join(".p2pool");
    std::fs::create_dir(&dir).unwrap();
    let file = dir.join("p2pool.toml");
    std::fs::write(&file, "chain-name = 'from-the-file'\nstratum-prot = 3334\n").unwrap();
    let mut node = Node::start(home.path(), "node.log", |command| {
        command.env_remove("P2POOL_CONFIG").env("P2POOL_MDNS", "false").env("P2POOL_MDSN", "false");
    });
    node.await_log("listening for miners on");
    for part in [
        "chain from-the-file (id ",
        &format!("data directory {}/regtest-", dir.display()),
        "settings file .p2pool/p2pool.toml",
        "unknown setting \"stratum-prot\" in .p2pool/p2pool.toml ignored; did you mean stratum-port?",
        "unknown environment variable \"P2POOL_MDSN\" ignored; did you mean P2POOL_MDNS?",
    ] {
        assert!(node.log().contains(part), "no {part:?} in:\n{}", node.log());
    }
}

#[test]
fn a_new_sharechain_beside_an_older_one_is_warned_of() {
    let home = tempfile::tempdir().unwrap();
    let mut node = Node::start(home.path(), "first.log", |_| ());
    node.await_log("listening for miners on");
    assert!(!node.log().contains("new sharechain"), "{}", node.log());
    let elsewhere = home.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let mut node = Node::start(home.path(), "second.log", |command| {
        command.current_dir(&elsewhere);
    });
    node.await_log("listening for miners on");
    let hint = format!("give -data-dir {} to go on with it", home.path().join(".p2pool").display());
    assert!(node.log().contains(&hint), "{}", node.log());
}

/// Requests the health over HTTP; the response is empty if the connection is closed.
fn response(address: SocketAddr) -> String {
    let mut socket = TcpStream::connect(address).expect("the node listens");
    socket.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    write!(socket, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("a request");
    let mut text = String::new();
    // A close with unread bytes is a reset.
    drop(socket.read_to_string(&mut text));
    text
}

/// Returns a port that is free now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Starts a node; returns it with its port for miners.
fn start(home: &std::path::Path, web_bind: &str) -> (Node, u16) {
    let port = free_port();
    let mut node = Node::start(home, "node.log", |command| {
        let bind = [("STRATUM_BIND", "127.0.0.1"), ("STRATUM_PORT", &port.to_string()), ("WEB_BIND", web_bind)];
        command.envs(bind.map(|(name, value)| (format!("P2POOL_{name}"), value.to_owned())));
    });
    node.await_log("listening for miners on");
    (node, port)
}

#[test]
fn the_dashboard_may_have_an_address_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let web = SocketAddr::from(([127, 0, 0, 2], free_port()));
    let (mut node, port) = start(home.path(), &web.to_string());
    node.await_log(&format!("dashboard: http://{web}/"));
    assert!(response(web).starts_with("HTTP/1.1 503 "), "it has no template");
    assert_eq!(response(SocketAddr::from(([127, 0, 0, 1], port))), "", "miners only");
    TcpStream::connect(("127.0.0.2", port)).unwrap_err();
}

#[test]
fn the_dashboard_can_be_off() {
    let home = tempfile::tempdir().unwrap();
    let (mut node, port) = start(home.path(), "off");
    node.await_log("dashboard, API and metrics are off");
    assert_eq!(response(SocketAddr::from(([127, 0, 0, 1], port))), "");
    let output = run(home.path(), &["health", "-network", "regtest"]);
    assert_eq!(output.status.code(), Some(1), "it can be asked all the same");
}

#[test]
fn a_running_node_can_be_asked() {
    let home = tempfile::tempdir().unwrap();
    let (mut node, _) = start(home.path(), "");
    let ask = |words: &[&str]| {
        let output = run(home.path(), &[words, &["-network", "regtest"]].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, text) = ask(&["health"]);
    assert!(status == Some(1) && text.starts_with("not healthy\n") && text.contains("template"), "{text}");
    let (status, text) = ask(&["health", "-json"]);
    assert!(status == Some(1) && text.starts_with('{') && text.contains("\"healthy\":false"), "{text}");
    for (word, part) in [
        ("status", "chain         main on regtest\n"),
        ("miners", "worker  hash rate"),
        ("peers", "address  direction"),
        ("bans", "peer or address  state"),
        ("shares", "0 shares, the latest:\nheight  age"),
        ("payouts", "address  payout"),
        ("blocks", "height  status"),
    ] {
        let (status, text) = ask(&[word]);
        assert!(status == Some(0) && text.contains(part), "{word}: {text}");
        let (status, text) = ask(&[word, "--json"]);
        assert!(status == Some(0) && serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{word}: {text}");
    }
    node.signal("TERM");
    node.wait();
    let output = run(home.path(), &["status", "-network", "regtest"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(one_line(&output).contains("no node runs with its data in .p2pool/regtest-"));
}
