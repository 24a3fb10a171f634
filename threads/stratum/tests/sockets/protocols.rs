//! Connections of browsers, and of other programs.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;

use crate::support::*;

#[test]
fn browsers_are_closed_without_web_threads() {
    let server = TestServer::start(Setup::default());
    for request in ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HEAD /x HTTP/1.0\r\n\r\n", "POST / HTTP/1.1\r\n"] {
        let mut connection = server.connect();
        connection.write(request.as_bytes());
        assert!(connection.is_closed());
    }
    server.wait_for_sessions(0);
}

#[test]
fn a_browser_is_passed_on_with_all_its_bytes() {
    let server = TestServer::start(Setup { web_capacity: Some(8), ..Setup::default() });
    for pieces in [
        vec!["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"],
        vec!["P", "OS", "T /x HTTP/1.0\r\n\r\nbody"],
        // The web threads respond to unknown methods.
        vec!["PROPF", "IND", " ", "/x HTTP/1.1\r\n\r\n"],
    ] {
        let mut connection = server.connect();
        for piece in &pieces {
            connection.write(piece.as_bytes());
            std::thread::yield_now();
        }
        connection.socket.shutdown(Shutdown::Write).unwrap();
        let mut browser = server.web.recv_timeout(TIMEOUT).unwrap();
        assert_eq!(browser.peer.port(), connection.socket.local_addr().unwrap().port());
        // The event loop no longer reads or closes it.
        server.wait_for_sessions(0);
        browser.socket.set_nonblocking(false).unwrap();
        let mut request = String::new();
        browser.socket.read_to_string(&mut request).unwrap();
        assert_eq!(request, pieces.concat());
        browser.socket.write_all(b"response").unwrap();
        drop(browser);
        assert_eq!(connection.rest(), "response");
    }
    // Miners are still served.
    let mut connection = server.connect();
    connection.write(b"{\"id\":1,\"method\":\"mining.ping\"}\n");
    assert_eq!(connection.response()["result"], "pong");
}

#[test]
fn browsers_are_closed_if_too_many_wait_for_the_web_threads() {
    let server = TestServer::start(Setup { web_capacity: Some(2), ..Setup::default() });
    let mut connections: Vec<TestConnection> = (0..5).map(|_| server.connect()).collect();
    for connection in &mut connections {
        connection.write(b"GET / HTTP/1.1\r\n\r\n");
    }
    wait_until("two to be passed on", || server.web.len() == 2);
    wait_until("the others to be closed", || {
        let is_closed = |connection: &mut TestConnection| {
            connection.socket.set_nonblocking(true).unwrap();
            match connection.socket.read(&mut [0]) {
                Ok(len) => len == 0,
                Err(error) => error.kind() == ErrorKind::ConnectionReset,
            }
        };
        connections.iter_mut().map(is_closed).filter(|is_closed| *is_closed).count() == 3
    });
    assert_eq!(server.web.len(), 2);
}

#[test]
fn a_miner_may_start_with_white_space() {
    let server = TestServer::start(Setup::default());
    let mut connection = server.connect();
    connection.write(b"\r\n  ");
    connection.write(b"{\"id\":1,\"method\":\"mining.ping\"}\n");
    assert_eq!(connection.response()["result"], "pong");
}

#[test]
fn other_protocols_are_closed() {
    let server = TestServer::start(Setup::default());
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"SSH-2.0-x\r\n", b"\0\0\0\0", b"[]\n"] {
        let mut connection = server.connect();
        connection.write(bytes);
        assert!(connection.is_closed());
    }
    server.wait_for_sessions(0);
}

#[test]
fn a_miner_may_close_its_side_of_the_connection_first() {
    let server = TestServer::start(Setup::default());
    let mut connection = server.connect();
    connection.socket.write_all(b"{\"id\":1,\"method\":\"mining.ping\"}\n").unwrap();
    connection.socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(connection.response()["result"], "pong");
    assert!(connection.is_closed());
    server.wait_for_sessions(0);
}
