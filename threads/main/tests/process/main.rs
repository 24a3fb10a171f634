//! The real program as a process, without bitcoind: exit status, one-line errors, log, shutdown.

mod operator;
mod service;
mod settings;
mod support;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use support::{one_line, p2pool, run, Node, ADDRESS};

/// Part of the line that the program logs when all parts are open.
const OPEN: &str = "listening for miners on";

#[test]
fn help_and_version_exit_with_status_0() {
    let home = tempfile::tempdir().unwrap();
    for word in ["-h", "-help", "--help", "help"] {
        let output = run(home.path(), &[word]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(text.contains(" -stratum-port") && text.contains("BITCOIN_RPC_PASSWORD"), "{text}");
        assert!(output.stderr.is_empty());
    }
    let output = run(home.path(), &["-version"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let commit = text.strip_prefix(concat!("p2pool ", env!("CARGO_PKG_VERSION"), " (commit ")).unwrap();
    let commit = commit.strip_suffix(")\n").unwrap();
    assert!(commit == "unknown" || commit.len() == 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
}

#[test]
fn wrong_settings_exit_with_status_2_and_one_line() {
    let home = tempfile::tempdir().unwrap();
    let mainnet = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    for (words, part) in [
        (&[][..], "no payout address"),
        (&["-adress", ADDRESS], "did you mean -address?"),
        (&["-network", "regtest", "-address", mainnet], "is a mainnet address, but -network is regtest"),
        (&["-network", "regtest", "-address", ADDRESS, "-stratum-port", "many"], "-stratum-port is \"many\""),
        (&["-network", "regtest", "-address", ADDRESS, "-rpc-user", "me"], "without -rpc-password"),
        (&["-address", mainnet, "-share-period", "1"], "-share-period is only for tests"),
        (&["export", "-network", "mars"], "-network is \"mars\""),
        (&["mine"], "unexpected word \"mine\""),
        (&["help", "minors"], "no help on \"minors\""),
    ] {
        let output = run(home.path(), words);
        let line = one_line(&output);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {line}");
        assert!(line.starts_with("p2pool: ") && line.contains(part), "{words:?}: {line}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn environment_overrides_flags() {
    let home = tempfile::tempdir().unwrap();
    let output = p2pool(home.path()).args(["-address", ADDRESS]).env("LOG_LEVEL", "loud").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(one_line(&output).contains("LOG_LEVEL is \"loud\""));
    let mut node = Node::start(home.path(), "node.log", |command| {
        command.args(["-data-dir", "flag"]).env("P2POOL_DATA_DIR", "variable");
    });
    node.await_log(OPEN);
    assert!(home.path().join("variable").is_dir() && !home.path().join("flag").exists());
}

#[test]
fn the_log_says_what_runs_and_that_it_mines_solo() {
    let home = tempfile::tempdir().unwrap();
    let mut node = Node::start(home.path(), "node.log", |command| {
        command.args(["-chain-name", "garage", "-mdns=false"]);
    });
    node.await_log(OPEN);
    // It has no way to find peers, so it does not wait a minute for them.
    for part in ["mining solo", "listening on /ip4/"] {
        node.await_log(part);
    }
    let log = node.log();
    for part in ["on regtest, chain garage (id ", ADDRESS, "regtest/.cookie (not there yet)"] {
        assert!(log.contains(part), "no {part:?} in:\n{log}");
    }
    assert!(!log.contains("INVALID"), "{log}");
    let dirs: Vec<_> = std::fs::read_dir(home.path().join(".p2pool")).unwrap().map(|dir| dir.unwrap()).collect();
    assert_eq!(dirs.len(), 1);
    assert!(dirs[0].file_name().to_str().unwrap().starts_with("regtest-"));
    assert_eq!(dirs[0].metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_warning_is_logged_for_public_signets_and_not_for_op_true() {
    let address = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";
    let home = tempfile::tempdir().unwrap();
    for (name, challenge, warned) in [("public.log", None, true), ("custom.log", Some("51"), false)] {
        let mut node = Node::start(home.path(), name, |command| {
            *command = p2pool(home.path());
            command.args(["-network", "signet", "-address", address, "-stratum-port", "0", "-p2p-port", "0"]);
            command.args(challenge.iter().flat_map(|hex| ["-signet-challenge", hex]));
            command.stderr(std::fs::File::create(home.path().join(name)).unwrap());
        });
        node.await_log(OPEN);
        assert_eq!(node.log().contains("BLOCKS FOUND HERE WILL BE INVALID"), warned, "{}", node.log());
    }
}

#[test]
fn the_password_is_never_logged() {
    let home = tempfile::tempdir().unwrap();
    // Nothing listens on this port; the level logs the most.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut node = Node::start(home.path(), "node.log", |command| {
        command.args(["-rpc-user", "somebody", "-rpc-port", &port, "-log-level", "trace"]);
        command.env("BITCOIN_RPC_PASSWORD", "correct-horse-battery");
    });
    node.await_log(OPEN);
    node.await_log("user somebody, password hidden");
    node.signal("TERM");
    node.wait();
    // Plain and encoded for HTTP basic authentication.
    for secret in ["correct-horse", "c29tZWJvZHk6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"] {
        assert!(!node.log().contains(secret), "{}", node.log());
    }
}

#[test]
fn both_signals_shut_down_within_five_seconds_without_bitcoind() {
    let home = tempfile::tempdir().unwrap();
    for signal in ["TERM", "INT"] {
        let mut node = Node::start(home.path(), "node.log", |_| ());
        node.await_log(OPEN);
        node.signal(signal);
        let (status, took) = node.wait();
        assert_eq!(status.code(), Some(0), "{}", node.log());
        assert!(took < Duration::from_secs(5), "took {took:?}:\n{}", node.log());
        assert!(node.log().contains(&format!("SIG{signal} received, shutting down")), "{}", node.log());
        assert!(node.log().trim_end().ends_with("shutdown complete"), "{}", node.log());
    }
}

#[test]
fn a_bitcoind_that_never_responds_does_not_delay_the_shutdown() {
    let home = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let mut node = Node::start(home.path(), "node.log", |command| {
        command.args(["-rpc-user", "u", "-rpc-password", "p", "-rpc-port", &port]);
    });
    node.await_log(OPEN);
    let (_connection, _) = silent.accept().unwrap();
    node.signal("TERM");
    let (status, took) = node.wait();
    assert_eq!(status.code(), Some(0), "{}", node.log());
    assert!(took < Duration::from_secs(5), "took {took:?}:\n{}", node.log());
}

#[test]
fn a_second_node_on_the_same_data_directory_is_rejected() {
    let home = tempfile::tempdir().unwrap();
    let mut first = Node::start(home.path(), "first.log", |_| ());
    first.await_log(OPEN);
    let mut second = Node::start(home.path(), "second.log", |_| ());
    let (status, _) = second.wait();
    assert_eq!(status.code(), Some(1), "{}", second.log());
    assert!(
        second
            .log()
            .contains(&format!("another p2pool uses the data directory {}/.p2pool/regtest-", home.path().display())),
        "{}",
        second.log()
    );
    let mut third = Node::start(home.path(), "third.log", |command| {
        command.args(["-chain-name", "other"]);
    });
    third.await_log(OPEN);
}

#[test]
fn a_port_in_use_is_named() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let words = ["-network", "regtest", "-address", ADDRESS, "-stratum-port", &port, "-p2p-port", "0"];
    let output = run(home.path(), &words);
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("cannot open the stratum port"), "{log}");
}

#[test]
fn export_without_a_sharechain_fails() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), &["export", "-network", "regtest"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(one_line(&output).contains("there is no sharechain in .p2pool/regtest-"));
    // A file in the place of a directory: another error than "not found", also for root.
    std::fs::write(home.path().join("file"), "").unwrap();
    let output = run(home.path(), &["export", "-network", "regtest", "-data-dir", "file"]);
    assert_eq!(output.status.code(), Some(1));
    let line = one_line(&output);
    assert!(line.contains("cannot read the sharechain in file/regtest-") && line.contains(": Not a dir"), "{line}");
}
