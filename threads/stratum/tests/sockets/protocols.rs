//! Clients that are no miners.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;

use crate::support::*;

#[test]
fn without_web_threads_a_browser_is_closed() {
    let node = Node::start(Setup::default());
    for request in ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HEAD /x HTTP/1.0\r\n\r\n", "POST / HTTP/1.1\r\n"] {
        let mut client = node.connect();
        client.write(request.as_bytes());
        assert!(client.is_closed());
    }
    node.wait_for_sessions(0);
}

#[test]
fn a_browser_is_handed_over_with_every_byte_it_sent() {
    let node = Node::start(Setup { web_capacity: Some(8), ..Setup::default() });
    for pieces in [
        vec!["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"],
        vec!["P", "OS", "T /x HTTP/1.0\r\n\r\nbody"],
        // A method that nobody here knows gets its answer from the web threads.
        vec!["PROPF", "IND", " ", "/x HTTP/1.1\r\n\r\n"],
    ] {
        let mut client = node.connect();
        for piece in &pieces {
            client.write(piece.as_bytes());
            std::thread::yield_now();
        }
        client.socket.shutdown(Shutdown::Write).unwrap();
        let mut browser = node.web.recv_timeout(PATIENCE).unwrap();
        assert_eq!(browser.peer.port(), client.socket.local_addr().unwrap().port());
        // It belongs to whoever has it now: this thread's loop neither reads nor closes it.
        node.wait_for_sessions(0);
        browser.socket.set_nonblocking(false).unwrap();
        let mut request = String::new();
        browser.socket.read_to_string(&mut request).unwrap();
        assert_eq!(request, pieces.concat());
        browser.socket.write_all(b"answer").unwrap();
        drop(browser);
        assert_eq!(client.rest(), "answer");
    }
    // Miners are served as before.
    let mut client = node.connect();
    client.write(b"{\"id\":1,\"method\":\"mining.ping\"}\n");
    assert_eq!(client.answer()["result"], "pong");
}

#[test]
fn browsers_beyond_what_the_web_threads_take_are_closed() {
    let node = Node::start(Setup { web_capacity: Some(2), ..Setup::default() });
    let mut clients: Vec<Client> = (0..5).map(|_| node.connect()).collect();
    for client in &mut clients {
        client.write(b"GET / HTTP/1.1\r\n\r\n");
    }
    wait_until("two to be handed over", || node.web.len() == 2);
    wait_until("the others to be closed", || {
        let is_closed = |client: &mut Client| {
            client.socket.set_nonblocking(true).unwrap();
            match client.socket.read(&mut [0]) {
                Ok(len) => len == 0,
                Err(error) => error.kind() == ErrorKind::ConnectionReset,
            }
        };
        clients.iter_mut().map(is_closed).filter(|is_closed| *is_closed).count() == 3
    });
    assert_eq!(node.web.len(), 2);
}

#[test]
fn a_miner_may_begin_with_white_space() {
    let node = Node::start(Setup::default());
    let mut client = node.connect();
    client.write(b"\r\n  ");
    client.write(b"{\"id\":1,\"method\":\"mining.ping\"}\n");
    assert_eq!(client.answer()["result"], "pong");
}

#[test]
fn anything_else_is_closed() {
    let node = Node::start(Setup::default());
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"SSH-2.0-x\r\n", b"\0\0\0\0", b"[]\n"] {
        let mut client = node.connect();
        client.write(bytes);
        assert!(client.is_closed());
    }
    node.wait_for_sessions(0);
}

#[test]
fn a_client_may_close_its_side_first() {
    let node = Node::start(Setup::default());
    let mut client = node.connect();
    client.socket.write_all(b"{\"id\":1,\"method\":\"mining.ping\"}\n").unwrap();
    client.socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.answer()["result"], "pong");
    assert!(client.is_closed());
    node.wait_for_sessions(0);
}
