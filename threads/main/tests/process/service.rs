//! The program as a service: its notifications of systemd, and as a user that has not all rights.

use std::fs::Permissions;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use p2pool_test_bitcoind::skip;

use crate::support::{Node, TIMEOUT};

/// Watchdog's timeout: four times a little more than the time between two publications of the stratum thread, 3 s.
const WATCHDOG_US: u32 = 16_000_000;
/// A user of every system that owns nothing.
const NOBODY: u32 = 65_534;

/// Returns the next notification.
fn received(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 1_000];
    let len = manager.recv(&mut buffer).expect("a notification");
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

fn bind(path: &Path) -> UnixDatagram {
    let manager = UnixDatagram::bind(path).expect("a socket");
    manager.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    manager
}

#[test]
fn systemd_is_notified_when_the_node_is_ready_while_it_works_and_when_it_stops() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("notify");
    let manager = bind(&socket);
    let mut node = Node::start(home.path(), "node.log", |command| {
        command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", WATCHDOG_US.to_string());
    });
    assert_eq!(received(&manager), "READY=1");
    assert!(node.log().contains("listening for miners on"), "{}", node.log());
    assert_eq!(received(&manager), "WATCHDOG=1");
    node.signal("TERM");
    let last = loop {
        match received(&manager).as_str() {
            "WATCHDOG=1" => {}
            other => break other.to_owned(),
        }
    };
    assert_eq!(last, "STOPPING=1");
    assert!(node.wait().0.success());
}

#[test]
fn a_node_that_does_not_start_is_not_ready() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("notify");
    let manager = bind(&socket);
    for (flag, value, status) in [("-data-dir", "/dev/null/data", 1), ("-share-period", "never", 2)] {
        let mut node = Node::start(home.path(), "node.log", |command| {
            command.args([flag, value]).env("NOTIFY_SOCKET", &socket);
        });
        assert_eq!(node.wait().0.code(), Some(status), "{}", node.log());
    }
    manager.set_nonblocking(true).unwrap();
    assert!(manager.recv(&mut [0; 10]).is_err(), "it was notified");
}

#[test]
fn the_directory_that_keeps_the_node_from_the_cookie_is_named() {
    let home = tempfile::tempdir().unwrap();
    let bitcoin = home.path().join("bitcoin/.bitcoin");
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&bitcoin).unwrap();
    let program = home.path().join("p2pool");
    std::fs::copy(env!("CARGO_BIN_EXE_p2pool"), &program).unwrap();
    let chmod = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    chmod(home.path(), 0o777);
    let cookie = bitcoin.join(".cookie");
    std::fs::write(&cookie, "user:password").unwrap();
    if std::os::unix::fs::chown(&cookie, Some(0), Some(0)).is_err() {
        return skip("root");
    }
    // As on a stock Debian, with rpccookieperms=all: the home directory of bitcoind's user is closed, at two places.
    chmod(&cookie, 0o644);
    let start = |name: &str| {
        Node::start_program(&program, home.path(), name, |command| {
            command.args(["-mdns=false", "-data-dir", name, "-rpc-cookie-file"]).arg(&cookie).uid(NOBODY).gid(NOBODY);
        })
    };
    let dirs = [home.path().join("bitcoin"), bitcoin];
    for (number, closed) in dirs.iter().enumerate() {
        dirs.iter().for_each(|dir| chmod(dir, if dir == closed { 0o700 } else { 0o755 }));
        let mut node = start(&format!("{number}"));
        node.await_log(&format!(
            "{}: Permission denied, because the directory {} is closed",
            cookie.display(),
            closed.display()
        ));
        node.await_log("rpccookiefile=");
    }
    dirs.iter().for_each(|dir| chmod(dir, 0o755));
    chmod(&cookie, 0o600);
    let mut node = start("own");
    node.await_log(&format!("{}: Permission denied", cookie.display()));
    assert!(!node.log().contains("is closed"), "{}", node.log());
    chmod(&cookie, 0o644);
    let mut node = start("open");
    node.await_log("cannot be reached");
}
