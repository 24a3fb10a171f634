//! Tests of the operator's commands: they work over the Unix socket, and in no way over the port of browsers.

use std::io::{Read as _, Write as _};

use p2pool_core::operator::OperatorCommand;

use crate::client::{send, Client};
use crate::node::{Node, CONFIGURED_NAME};

const BAN: &str = "/command/ban?value=8.8.8.8";

/// Sends a request over the Unix socket, and returns the status and the body of the response.
fn post(node: &Node, target: &str, host: &str) -> (u16, String) {
    let mut socket = p2pool_http::connect(&node.chain_dir).unwrap();
    write!(socket, "POST {target} HTTP/1.1\r\n{host}Connection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn a_command_over_the_unix_socket_reaches_the_network_thread() {
    let node = Node::start_empty();
    let host = "Host: localhost\r\n";
    assert_eq!(post(&node, &format!("{BAN}&hours=2"), host), (200, "{\"done\":\"it is banned\"}".to_owned()));
    let command = node.commands.try_recv().unwrap();
    assert_eq!(command, OperatorCommand::Ban { subject: "8.8.8.8".to_owned(), hours: 2 });
    for (target, status, body) in [
        ("/command/unban?value=8.8.8.8", 404, "it is not banned"),
        ("/command/connect?value=/ip4", 400, "it is no multiaddr"),
        ("/command/disconnect?value=12D3", 503, "no more messages"),
    ] {
        let (code, response) = post(&node, target, host);
        assert!(code == status && response.contains(body), "{target}: {code} {response}");
        node.commands.try_recv().unwrap();
    }
    for (target, status) in [
        ("/command/ban", 404),
        ("/command/mine?value=1", 404),
        ("/api/v1/status", 404),
        ("/command/log-level?value=loud", 400),
        ("/command/log-level?value=off", 400),
        (&format!("{BAN}{}", "8".repeat(600)), 414),
    ] {
        assert_eq!(post(&node, target, host).0, status, "{target}");
    }
    assert!(node.commands.try_recv().is_err());
    assert_eq!(node.get("/api/v1/peers").status, 200);
}

#[test]
fn the_host_of_forwarded_requests_gives_no_commands() {
    let node = Node::start_empty();
    for host in ["Host: p2pool\r\n", ""] {
        assert_eq!(post(&node, BAN, host).0, 405, "{host:?}");
    }
    assert!(node.commands.try_recv().is_err());
}

#[test]
fn browsers_cannot_give_commands() {
    let node = Node::start_empty();
    for host in ["127.0.0.1", "localhost", CONFIGURED_NAME, "p2pool", "attacker.example"] {
        for method in ["POST", "PUT", "OPTIONS", "CONNECT"] {
            let request = format!("{method} {BAN} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(send(node.address, &request).status, 405, "{request}");
        }
    }
    for method in ["GET", "HEAD"] {
        let request = format!("{method} {BAN} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(send(node.address, &request).status, 404, "{request}");
    }
    // As a body, in a header, in the target, and after a request that is allowed.
    let inner = format!("POST {BAN} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let escaped = inner.replace("\r\n", "%0d%0a").replace(' ', "%20");
    for (head, status) in [
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{inner}", inner.len()), 400),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{inner}"), 400),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: a\n\n{inner}"), 400),
        (format!("GET /%20HTTP/1.1%0d%0a%0d%0a{escaped} HTTP/1.1\r\nHost: localhost\r\n\r\n"), 404),
        (format!("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n{inner}"), 404),
        (format!("POST / HTTP/1.1\r\nHost: localhost\r\nX-HTTP-Method-Override: POST\r\n\r\n{inner}"), 405),
    ] {
        let mut client = Client::connect(node.address);
        client.send(&head);
        assert_eq!(client.receive(true).unwrap().status, status, "{head}");
        if let Some(second) = client.receive(true) {
            assert_eq!(second.status, 405, "{head}");
        }
    }
    assert!(node.commands.try_recv().is_err());
}
