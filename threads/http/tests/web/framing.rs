//! Tests of malformed requests and misbehaving clients.

use std::time::{Duration, Instant};

use crate::client::{get, send, Client};
use crate::node::{Node, CONFIGURED_NAME};

/// A response takes a millisecond; this is for a busy machine, and shorter than any timeout of the relay.
const SOON: Duration = Duration::from_secs(3);
/// For what takes up to 15 seconds, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(25);

fn with_headers(lines: &[&str]) -> String {
    format!(
        "GET /api/v1/peers HTTP/1.1\r\nHost: 127.0.0.1\r\n{}\r\n",
        lines.iter().map(|line| format!("{line}\r\n")).collect::<String>()
    )
}

#[test]
fn smuggled_requests_get_one_error_and_no_other_response() {
    let node = Node::start_empty();
    let second = "GET /api/v1/miners HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    for (headers, body) in [
        (vec!["Content-Length: 44"], second),
        (vec!["Content-Length: 99999999999"], ""),
        (vec!["Content-Length: 18446744073709551616"], ""),
        (vec!["Content-Length: -1"], ""),
        (vec!["Content-Length: 0", "Content-Length: 44"], second),
        (vec!["Content-Length: 0,44"], second),
        (vec!["Content-Length : 44"], second),
        (vec!["Content-Length:\u{b}44"], second),
        (vec!["Transfer-Encoding: chunked"], "0\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
        (vec!["Transfer-Encoding: xchunked"], second),
        (vec!["Transfer-Encoding: chunked", "Content-Length: 4"], "0\r\n\r\n"),
        (vec!["Transfer-Encoding:\u{b}chunked"], "0\r\n\r\n"),
        (vec!["X: a\r\n Transfer-Encoding: chunked"], second),
        (vec!["X: a\n\nGET /api/v1/miners HTTP/1.1"], ""),
        (vec!["Host: localhost"], ""),
        (vec!["Expect: 100-continue"], ""),
        (vec!["Upgrade: h2c", "Connection: Upgrade"], ""),
        (vec!["Connection: upgrade"], ""),
    ] {
        let mut client = Client::connect(node.address);
        client.send(format!("{}{body}", with_headers(&headers)));
        let response = client.receive(true).unwrap();
        assert_eq!((response.status, response.header("connection")), (400, Some("close")), "{headers:?}");
        assert!(!response.error().is_empty());
        assert!(client.is_closed(), "{headers:?}: a second response");
    }
    // The node still works.
    assert_eq!(node.get("/api/v1/peers").status, 200);
}

#[test]
fn each_refusal_has_its_status() {
    let node = Node::start_empty();
    let many: String = (0..80).map(|n| format!("X-{n}: 1\r\n")).collect();
    for (request, status) in [
        ("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhello".to_owned(), 405),
        ("OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_owned(), 405),
        ("DELETE /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_owned(), 405),
        ("PROPFIND /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\nDepth: 1\r\n\r\n".to_owned(), 405),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\nHost: 127.0.0.1\n\n".to_owned(), 400),
        ("GET / HTTP/3.0\r\nHost: 127.0.0.1\r\n\r\n".to_owned(), 505),
        (format!("GET /{} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "a".repeat(9_000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{many}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {}", "a".repeat(9_000)), 431),
    ] {
        let response = send(node.address, &request);
        assert_eq!(response.status, status, "{request:?}");
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.header("allow"), (status == 405).then_some("GET, HEAD"));
        assert!(!response.error().is_empty());
    }
}

#[test]
fn only_allowed_host_names_are_served() {
    let node = Node::start_empty();
    let status = |host: &str| {
        let request = format!("GET /api/v1/peers HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        send(node.address, &request).status
    };
    for host in ["127.0.0.1:3333", "[::1]:3333", "10.0.0.7", "localhost", "LocalHost:80", CONFIGURED_NAME] {
        assert_eq!(status(host), 200, "{host}");
    }
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(status(machine.trim()), 200);
    for host in ["evil.example", "127.0.0.1.evil.example", "sub.pool.example.org", "localhost.evil.example:3333", ""] {
        assert_eq!(status(host), 421, "{host}");
    }
}

#[test]
fn slow_clients_time_out_without_delaying_others() {
    let node = Node::start_empty();
    let start = Instant::now();
    let mut slow: Vec<Client> = (0..31).map(|_| Client::connect(node.address)).collect();
    for client in &mut slow {
        client.send("GET /api/v1/peers HTTP/1.1\r\nHost: 127.");
    }
    let good = Instant::now();
    assert_eq!(node.get("/api/v1/peers").status, 200);
    assert!(good.elapsed() < SOON, "{:?}", good.elapsed());
    // Another byte after one second does not extend the timeout of five seconds.
    std::thread::sleep(Duration::from_secs(1));
    for client in &mut slow {
        assert!(client.try_send(b"0"));
    }
    for client in &mut slow {
        assert_eq!(client.receive(true).unwrap().status, 408);
        assert!(client.is_closed());
    }
    let took = start.elapsed();
    assert!((Duration::from_secs(5)..TIMEOUT).contains(&took), "{took:?}");
}

#[test]
fn a_flood_of_connections_evicts_its_own() {
    let node = Node::start_empty();
    let mut flood: Vec<Client> = (0..200)
        .map(|_| {
            let mut client = Client::connect(node.address);
            client.try_send(b"GET / HT");
            client
        })
        .collect();
    for _ in 0..10 {
        let good = Instant::now();
        assert_eq!(node.get("/api/v1/peers").status, 200);
        assert!(good.elapsed() < SOON, "{:?}", good.elapsed());
    }
    // The oldest is evicted first.
    assert!(flood[0].is_closed());
    // The connection of this request is one of them.
    let open = node.metric("p2pool_web_connections").unwrap();
    assert!((1.0..=32.0).contains(&open), "{open} connections");
    assert!(node.metric("p2pool_web_limit_reached_total").unwrap() > 0.0);
}

#[test]
fn silent_clients_are_closed_without_a_response() {
    let node = Node::start_empty();
    let start = Instant::now();
    let mut silent = Client::connect(node.address);
    assert!(silent.is_closed());
    assert!((Duration::from_secs(4)..TIMEOUT).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn requests_may_be_pipelined_and_arrive_byte_by_byte() {
    let node = Node::start_empty();
    let mut client = Client::connect(node.address);
    let one = "GET /api/v1/peers HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    client.send(one.repeat(20));
    for _ in 0..20 {
        let response = client.receive(true).unwrap();
        assert_eq!((response.status, response.header("connection")), (200, Some("keep-alive")));
    }
    for byte in one.bytes() {
        client.send([byte]);
    }
    assert_eq!(client.receive(true).unwrap().status, 200);
    client.send("HEAD /api/v1/peers HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    let head = client.receive(false).unwrap();
    assert!(head.header("content-length").unwrap().parse::<usize>().unwrap() > 10);
    // HTTP/1.0 has no keep-alive.
    client.send("GET /api/v1/peers HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
    assert_eq!(client.receive(true).unwrap().header("connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn an_idle_connection_is_kept_for_15_seconds() {
    let node = Node::start_empty();
    let mut client = Client::connect(node.address);
    client.send("GET /api/v1/peers HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert_eq!(client.receive(true).unwrap().status, 200);
    let start = Instant::now();
    assert!(client.is_closed());
    assert!((Duration::from_secs(14)..TIMEOUT).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn clients_that_do_not_read_do_not_delay_others() {
    let node = Node::start();
    let mut greedy: Vec<Client> = (0..31).map(|_| Client::connect(node.address)).collect();
    for client in &mut greedy {
        // Far more responses than socket buffers hold.
        client.try_send("GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(100).as_bytes());
    }
    for _ in 0..20 {
        let good = Instant::now();
        assert_eq!(get(node.address, "/api/v1/peers").status, 200);
        assert!(good.elapsed() < SOON, "{:?}", good.elapsed());
    }
}
